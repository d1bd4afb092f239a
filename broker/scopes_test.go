package broker

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/localapi"
)

// pages are the authorization requests that reached i.
func pages(i *oauthtest.Issuer) (all []url.Values) {
	for _, seen := range i.Seen("/authorize") {
		if seen.Method == "GET" {
			all = append(all, seen.Values)
		}
	}
	return all
}

// TestScopesAskedFor is Algorithm 5 for a first sign-in: the challenge, else the server's metadata, else nothing, and
// offline_access where the issuer itself lists it, but never alone.
func TestScopesAskedFor(t *testing.T) {
	published := []string{"files:read", "files:write"}
	for name, c := range map[string]struct {
		challenge string // its scope parameter; "": none
		server    []string
		issuer    []string
		want      []string // the scope parameter
	}{
		"challenge":                              {"x:one", published, nil, []string{"x:one"}},
		"challenge outside of the metadata":      {"other other2", published, []string{"more"}, []string{"other other2"}},
		"blank challenge":                        {" ", published, nil, []string{"files:read files:write"}},
		"metadata":                               {"", published, nil, []string{"files:read files:write"}},
		"neither":                                {"", nil, nil, nil},
		"not the issuer's list":                  {"", nil, []string{"all", "admin"}, nil},
		"issuer knows offline_access":            {"x:one", published, []string{"offline_access"}, []string{"x:one offline_access"}},
		"offline_access alone is not asked":      {"", nil, []string{"offline_access"}, nil},
		"the server's offline_access counts not": {"", []string{"a", "offline_access"}, []string{"a"}, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHouse(t)
				h.server.Metadata(func(doc map[string]any) { doc["scopes_supported"] = c.server })
				h.issuer.Metadata(func(doc map[string]any) { doc["scopes_supported"] = c.issuer })
				if c.challenge != "" {
					h.server.Challenge(`Bearer scope="` + c.challenge + `", resource_metadata="` + h.server.MetadataURL() + `"`)
				}
				h.open()
				defer func() { h.broker.Close() }()
				h.mustToken(host("claude"))
				if got := pages(h.issuer); len(got) != 1 || !slices.Equal(got[0]["scope"], c.want) {
					t.Errorf("%d pages, scope %q, want %q", len(got), got[0]["scope"], c.want)
				}
			})
		})
	}
}

// TestSignInAgainAsksForAllBefore: what was requested before is requested again with what is new (SCP-5), whoever it was
// for.
func TestSignInAgainAsksForAllBefore(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.mustToken(host("claude"), "read")
		h.mustToken(host("cursor"), "write")
		token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{
			Resource: serverURL, Refused: first.AccessToken.SHA256(),
			Challenges: []string{`Bearer error="insufficient_scope", scope="admin"`},
		})
		if err != nil || token.Scope != "admin read" {
			t.Fatalf("token %+v, %v", token, err)
		}
		var asked []string
		for _, p := range pages(h.issuer) {
			asked = append(asked, strings.TrimSuffix(p.Get("scope"), " offline_access"))
		}
		if want := []string{"read", "read write", "admin read write"}; !slices.Equal(asked, want) {
			t.Errorf("asked for %q, want %q", asked, want)
		}
	})
}

// TestIssuerThatChoosesTheScopes: where the server names none, the issuer may fill in its own (RFC 6749 §3.3). The person
// is shown them, once, and no host gets them without that.
func TestIssuerThatChoosesTheScopes(t *testing.T) {
	chooses := func(t *testing.T) *house {
		h := newHouse(t, oauthtest.WiderScopes("standard")).open()
		h.server.Metadata(func(doc map[string]any) { delete(doc, "scopes_supported") })
		return h
	}
	bubble(t, func(t *testing.T) {
		h := chooses(t)
		defer func() { h.broker.Close() }()
		first := h.mustToken(host("claude"))
		asked := h.questions()
		if len(asked) != 2 || len(asked[0].Scopes) != 0 || len(asked[1].Scopes) != 1 || !strings.Contains(asked[1].Why, "chose these scopes itself") {
			t.Errorf("%+v", asked)
		}
		if first.Scope != "standard" || h.refreshes() != 0 || h.browsers != 1 {
			t.Errorf("scope %q after %d refreshes and %d browsers", first.Scope, h.refreshes(), h.browsers)
		}
		h.person = forbidden(t)
		time.Sleep(2 * time.Hour)
		if again := h.mustToken(host("claude")); again.Scope != "standard" || h.refreshes() != 1 {
			t.Errorf("scope %q after %d refreshes", again.Scope, h.refreshes())
		}
	})
	bubble(t, func(t *testing.T) {
		h := chooses(t)
		defer func() { h.broker.Close() }()
		h.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
			if len(q.Scopes) > 0 {
				return no(ctx, q)
			}
			return always(ctx, q)
		}
		if _, err := h.token(host("claude")); !errors.Is(err, localapi.ErrConsentDenied) {
			t.Errorf("err = %v", err)
		}
	})
}

// TestIssuerThatGivesLess: what it does not give is not asked for again at once, and what it gives is used (STP-5, SCP-8).
func TestIssuerThatGivesLess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, oauthtest.NarrowerScopes("read")).open()
		defer func() { h.broker.Close() }()
		first := h.mustToken(host("claude"), "read", "write")
		stepUp := localapi.TokenRequest{
			Resource: serverURL, Refused: first.AccessToken.SHA256(),
			Challenges: []string{`Bearer error="insufficient_scope", scope="write"`},
		}
		for range 3 {
			token, err := h.broker.Token(t.Context(), host("claude"), stepUp)
			if err != nil || token.Scope != "read" || !token.AccessToken.Equal(first.AccessToken) {
				t.Fatalf("token %+v, %v", token, err)
			}
		}
		if h.browsers != 1 {
			t.Errorf("%d browsers, want 1", h.browsers)
		}
		time.Sleep(10 * time.Minute)
		if _, err := h.broker.Token(t.Context(), host("claude"), stepUp); err != nil || h.browsers != 2 {
			t.Errorf("after a while: %d browsers, %v", h.browsers, err)
		}
	})
}

// TestIssuerGivesUpAScope: what was asked for before and is not known any more does not stand in the way; what is asked
// for now and not known is told (TOK-15).
func TestIssuerGivesUpAScope(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("cursor"), "old")
		first := h.mustToken(host("claude"), "read")
		h.issuer.Fault("/authorize", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			q := r.URL.Query()
			if !slices.Contains(strings.Fields(q.Get("scope")), "old") {
				next.ServeHTTP(w, r)
				return
			}
			back := url.Values{"error": {"invalid_scope"}, "state": {q.Get("state")}, "iss": {issuerID}}
			http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
		})
		demand := func(scope string) (*localapi.Token, error) {
			return h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{
				Resource: serverURL, Refused: first.AccessToken.SHA256(),
				Challenges: []string{`Bearer error="insufficient_scope", scope="` + scope + `"`},
			})
		}
		token, err := demand("write")
		if err != nil || token.Scope != "read write" || h.browsers != 4 || h.issuer.Count("/register") != 1 {
			t.Fatalf("token %+v, %d browsers, %d registrations, %v", token, h.browsers, h.issuer.Count("/register"), err)
		}
		if got := h.broker.ledger.Grants()[0].Record().Requested; !slices.Equal(got, []string{"read", "write"}) {
			t.Errorf("it will ask for %q again", got)
		}
		// The last page is without offline_access, which may have been what the issuer did not know.
		if _, err := demand("old"); !errors.Is(err, localapi.ErrIssuer) || h.browsers != 6 {
			t.Errorf("%v after %d browsers", err, h.browsers)
		}
	})
}

// TestResourceIsSentAsPublished: the server's own spelling goes to the issuer byte for byte, however ours would look.
func TestResourceIsSentAsPublished(t *testing.T) {
	for _, published := range []string{"https://MCP.example.com:443/mcp", "https://mcp.example.com/", "https://mcp.example.com"} {
		inHouse(t, func(t *testing.T, h *house) {
			h.server.Metadata(func(doc map[string]any) { doc["resource"] = published })
			token := h.mustToken(host("claude"))
			time.Sleep(2 * time.Hour)
			h.mustToken(host("claude"))
			sent := append(pages(h.issuer), h.issuer.Requests("/token")...)
			if len(sent) != 3 || token.Resource != published {
				t.Errorf("%s: %d requests, a token for %s", published, len(sent), token.Resource)
			}
			for _, r := range sent {
				if !slices.Equal(r["resource"], []string{published}) {
					t.Errorf("%s was sent as %q with %s", published, r["resource"], strings.Join(r["grant_type"], ""))
				}
			}
		})
	}
}

// TestConcessionsInAnotherOrder: what was conceded first is not asked for again with what is conceded next.
func TestConcessionsInAnotherOrder(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.issuer.Metadata(func(doc map[string]any) {
			doc["scopes_supported"] = []string{"old", "read", "write", ledger.OfflineAccess}
		})
		h.mustToken(host("cursor"), "old")
		first := h.mustToken(host("claude"), "read")
		var asked []string
		h.issuer.Fault("/authorize", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			q := r.URL.Query()
			if r.Method != http.MethodGet || !q.Has("scope") {
				next.ServeHTTP(w, r)
				return
			}
			asked = append(asked, q.Get("scope"))
			refused := ""
			switch scopes := strings.Fields(q.Get("scope")); {
			case slices.Contains(scopes, ledger.OfflineAccess):
				refused = "not_allowed"
			case slices.Contains(scopes, "old"):
				refused = "invalid_scope"
			default:
				next.ServeHTTP(w, r)
				return
			}
			back := url.Values{"error": {refused}, "state": {q.Get("state")}, "iss": {issuerID}}
			http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
		})
		token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{
			Resource: serverURL, Refused: first.AccessToken.SHA256(), Challenges: []string{`Bearer error="insufficient_scope", scope="write"`},
		})
		if err != nil || token.Scope != "read write" || !slices.Equal(asked[:3], []string{"old read write offline_access", "old read write", "read write"}) {
			t.Errorf("%+v, %v after asking for %q", token, err, asked)
		}
	})
}
