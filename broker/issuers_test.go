package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
)

// choosing is a person who says yes and chooses an issuer.
func choosing(issuer string) func(context.Context, face.Question) (face.Answer, error) {
	return func(ctx context.Context, q face.Question) (face.Answer, error) {
		a, err := always(ctx, q)
		a.Issuer = issuer
		return a, err
	}
}

// TestThePersonChoosesTheIssuer: of several issuers they are shown all that can be used, one is proposed, and theirs is
// taken; it is proposed from then on, and another choice replaces it.
func TestThePersonChoosesTheIssuer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		second := h.world.AddIssuer("https://login.example.net")
		h.world.AddServer("https://two.example.com/mcp", issuerID, "https://broken.example", second.ID())
		both := []string{issuerID, second.ID()}
		h.person = choosing(second.ID())
		h.open()
		defer func() { h.broker.Close() }()
		request := localapi.TokenRequest{Resource: "https://two.example.com/mcp"}
		token, err := h.broker.Token(t.Context(), host("claude"), request)
		if err != nil || token.Issuer != second.ID() {
			t.Fatalf("token %+v, %v", token, err)
		}
		q := h.questions()[0]
		if q.Issuer != issuerID || !slices.Equal(q.Issuers, both) || !strings.Contains(strings.Join(q.Notes, ""), "2 issuers") {
			t.Errorf("question %+v", q)
		}
		if n := h.issuer.Count("/register") + h.issuer.Count("/authorize"); n != 0 {
			t.Errorf("%d requests to the other issuer", n)
		}

		// The sign-in ends; the next question proposes the same issuer.
		time.Sleep(2 * time.Hour)
		second.Fault("/token", oauthtest.Times(1, oauthtest.OAuthError(400, "invalid_grant", "gone")))
		h.person = choosing("")
		if token, err = h.broker.Token(t.Context(), host("claude"), request); err != nil || token.Issuer != second.ID() {
			t.Fatalf("token %+v, %v", token, err)
		}
		if last := h.questions()[1]; last.Issuer != second.ID() || len(last.Issuers) != 2 {
			t.Errorf("question %+v", last)
		}

		// Another choice replaces the sign-in there was.
		h.person = choosing(issuerID)
		if grant, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: request.Resource}); err != nil || grant.Issuer != issuerID {
			t.Fatalf("grant %+v, %v", grant, err)
		}
		if grants, _ := h.broker.Grants(t.Context(), nil); len(grants.Grants) != 1 || second.Count("/revoke") == 0 {
			t.Errorf("%d grants, %d revocations", len(grants.Grants), second.Count("/revoke"))
		}

		h.person = choosing("https://evil.example") // a face does not offer it, and the head does not take it
		if _, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: request.Resource}); !errors.Is(err, localapi.ErrDiscovery) {
			t.Errorf("err = %v", err)
		}
	})
}

// TestKnownIssuerThatIsAway: another issuer does not slip into the place of the one the person signed in to.
func TestKnownIssuerThatIsAway(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		other := h.world.AddIssuer("https://login.example.net")
		h.mustToken(host("claude"))
		h.world.AddServer("https://two.example.com/mcp", other.ID(), issuerID)
		h.person = forbidden(t)
		time.Sleep(time.Hour) // past what is cached
		h.issuer.Fault(demo.MetadataPath, oauthtest.Status(http.StatusServiceUnavailable))
		_, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: "https://two.example.com/mcp"})
		if !errors.Is(err, localapi.ErrUnavailable) || other.Count("/authorize") != 0 {
			t.Errorf("err = %v", err)
		}
	})
}

// TestNotes: what is odd about a server's metadata is said before the browser opens.
func TestNotes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h *house)
		want   string
	}{
		"prefix": {func(h *house) {
			h.server.Metadata(func(doc map[string]any) { doc["resource"] = "https://mcp.example.com" })
		}, "speaks for all of https://mcp.example.com"},
		"unlisted": {func(h *house) {
			h.issuer.Metadata(func(doc map[string]any) { doc["protected_resources"] = []string{"https://else.example"} })
		}, "this one is not on it"},
		"client ID for another issuer": {func(h *house) {
			req := localapi.RegistrationRequest{Resource: serverURL, Sent: client.Send(client.Client{ClientID: "desk-1"})}
			if _, err := h.broker.Register(h.t.Context(), host("vk"), req); err != nil {
				h.t.Fatal(err)
			}
			other := h.world.AddIssuer("https://login.example.net")
			h.server.Metadata(func(doc map[string]any) { doc["authorization_servers"] = []string{other.ID()} })
			time.Sleep(time.Hour) // past what is cached
		}, "You entered a client ID for this server at " + issuerID + ". The server now names another issuer, so it is not used."},
		"nothing": {func(*house) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				c.change(h)
				h.person = no
				h.token(host("claude"))
				asked := h.questions()
				notes := strings.Join(asked[len(asked)-1].Notes, " ")
				if !strings.Contains(notes, c.want) || c.want == "" && notes != "" {
					t.Errorf("notes %q, want %q", notes, c.want)
				}
			})
		})
	}
}

// TestIssuerForgotUs: a registration that the issuer no longer knows is made anew; the person's own is not replaced.
func TestIssuerForgotUs(t *testing.T) {
	for _, code := range []string{"invalid_client", "unauthorized_client"} {
		t.Run(code, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				h.mustToken(host("claude"))
				time.Sleep(2 * time.Hour)
				h.issuer.Fault("/token", oauthtest.Times(1, oauthtest.OAuthError(401, code, "who?")))
				h.mustToken(host("claude"))
				p := pages(h.issuer)
				if h.issuer.Count("/register") != 2 || len(p) != 2 || p[0].Get("client_id") == p[1].Get("client_id") {
					t.Errorf("%d registrations, %d pages", h.issuer.Count("/register"), len(p))
				}
			})
		})
	}
	t.Run("the person's own", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			h := newHouse(t, oauthtest.StaticClients(demo.Client{ID: "desk-1", Secret: secret.New("s3cret"), RedirectURIs: oauthflow.RedirectURIs()})).open()
			defer func() { h.broker.Close() }()
			req := localapi.RegistrationRequest{Resource: serverURL, Sent: client.Send(client.Client{ClientID: "desk-1", Secret: secret.New("s3cret")})}
			if _, err := h.broker.Register(t.Context(), host("vk"), req); err != nil {
				t.Fatal(err)
			}
			h.mustToken(host("claude"))
			time.Sleep(2 * time.Hour)
			h.issuer.Fault("/token", oauthtest.Times(1, oauthtest.OAuthError(401, "invalid_client", "who?")))
			h.mustToken(host("claude"))
			if p := pages(h.issuer); len(p) != 2 || p[1].Get("client_id") != "desk-1" || h.issuer.Count("/register") != 0 {
				t.Errorf("%d pages, %d registrations", len(p), h.issuer.Count("/register"))
			}
		})
	})
}

// TestExpiredRegistration: a client secret that has run out is not used again (RFC 7591 §3.2.1), until then it is.
func TestExpiredRegistration(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, oauthtest.AuthMethod("client_secret_basic")).open()
		defer func() { h.broker.Close() }()
		h.issuer.Fault("/register", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			var doc map[string]any
			if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
				t.Error(err)
			}
			doc["client_secret_expires_at"] = time.Now().Add(30 * time.Minute).Unix()
			w.WriteHeader(rec.Code)
			json.NewEncoder(w).Encode(doc)
		})
		for i, want := range []int{1, 1, 2} {
			address := "https://mcp" + strconv.Itoa(i) + ".example.com/mcp"
			h.world.AddServer(address, issuerID)
			if _, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: address}); err != nil {
				t.Fatal(err)
			}
			if n := h.issuer.Count("/register"); n != want {
				t.Errorf("after %d minutes: %d registrations, want %d", 20*i, n, want)
			}
			time.Sleep(20 * time.Minute)
		}
	})
}

// TestEndedSignInEndsItsTokens: invalid_grant may be a revocation, so tokens that would live on are dropped too (REV-5).
func TestEndedSignInEndsItsTokens(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.mustToken(host("claude"))
		time.Sleep(50 * time.Minute)
		h.issuer.Fault("/token", oauthtest.OAuthError(400, "invalid_grant", "revoked"))
		if !h.mustToken(host("claude")).AccessToken.Equal(first.AccessToken) { // and it is renewed beside
			t.Error("another token than the one that lives")
		}
		synctest.Wait()
		token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionNone})
		if !errors.Is(err, localapi.ErrSignInRequired) {
			t.Errorf("token %+v, err %v", token, err)
		}
		if n := len(h.broker.tokens.Access(h.broker.ledger.Grants()[0])); n != 0 {
			t.Errorf("%d tokens are still in memory", n)
		}
	})
}
