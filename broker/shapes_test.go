package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/quirk"
)

// shape is an issuer that publishes what discovery/testdata has of one in use, with the endpoints of the double in place
// of its own, and behaves as its maker documents. docs/issuers.md names the sources.
type shape struct {
	file   string // in discovery/testdata
	at     string // where it publishes it
	client string // the secret of the client that is registered there by hand; "-" for none; "" when it registers by itself
	opts   []oauthtest.IssuerOption
	bend   func(h *house) // how else it differs from the double; nil: not at all
}

// newShapeHouse is a house whose issuer has the shape s, and a person who always says yes and knows the client ID.
func newShapeHouse(t *testing.T, s shape) *house {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "discovery", "testdata", s.file))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	id := doc["issuer"].(string)
	for member, path := range map[string]string{
		"authorization_endpoint": demo.AuthorizePath, "token_endpoint": demo.TokenPath, "registration_endpoint": demo.RegisterPath,
		"revocation_endpoint": demo.RevocationPath, "jwks_uri": demo.JWKSPath,
	} {
		if doc[member] != nil {
			doc[member] = strings.TrimSuffix(id, "/") + path
		}
	}
	published, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	opts := []oauthtest.IssuerOption{oauthtest.AccessTTL(time.Hour), oauthtest.Iss("")} // none of them announces iss
	if s.client != "" {
		registered := demo.Client{ID: "desk-1", RedirectURIs: oauthflow.RedirectURIs()}
		if s.client != "-" {
			registered.Secret = secret.New(s.client)
		}
		opts = append(opts, oauthtest.StaticClients(registered))
	}
	h := &house{t: t, world: oauthtest.NewWorld(t), store: keystore.NewMemory()}
	h.issuer = h.world.AddIssuer(id, append(opts, s.opts...)...)
	h.server = h.world.AddServer(serverURL, id)
	h.issuer.Fault(demo.MetadataPath, oauthtest.Status(http.StatusNotFound))
	h.world.Fault(s.at, oauthtest.Body(string(published)))
	h.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
		if q.Kind != face.KindClientID {
			return always(ctx, q)
		}
		a := face.Answer{Answered: true, Allow: true, ClientID: "desk-1"}
		if s.client != "-" {
			a.ClientSecret = secret.New(s.client)
		}
		return a, nil
	}
	if s.bend != nil {
		s.bend(h)
	}
	return h.open()
}

// kinds are those of the questions since the last call.
func (h *house) kinds() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var kinds []string
	for _, q := range h.asked {
		kinds = append(kinds, q.Kind)
	}
	h.asked = nil
	return strings.Join(kinds, " ")
}

// deaf passes over the resource, as issuers do that know no RFC 8707.
func deaf(h *house) {
	for _, path := range []string{demo.AuthorizePath, demo.TokenPath} {
		h.issuer.Fault(path, withoutResource)
	}
}

func withoutResource(w http.ResponseWriter, r *http.Request, next http.Handler) {
	q := r.URL.Query()
	q.Del("resource")
	r.URL.RawQuery = q.Encode()
	r.ParseForm()
	r.Form.Del("resource")
	r.PostForm.Del("resource")
	next.ServeHTTP(w, r)
}

// gitHub answers as GitHub does: refusals under its own names and with HTTP 200, scopes with commas, and as life says of
// when a token ends.
func gitHub(life map[string]any) func(h *house) {
	return func(h *house) {
		deaf(h)
		h.issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			rec := httptest.NewRecorder()
			withoutResource(rec, r, next)
			var answer map[string]any
			if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
				h.t.Error(err)
			}
			if code, refused := answer["error"].(string); refused {
				own := map[string]string{"invalid_grant": "bad_verification_code", "invalid_client": "incorrect_client_credentials"}
				answer = map[string]any{"error": own[code], "error_description": "as GitHub says it", "error_uri": "https://docs.github.com"}
				if r.PostFormValue("grant_type") == "refresh_token" && code == "invalid_grant" {
					answer["error"] = "bad_refresh_token"
				}
			} else {
				delete(answer, "expires_in")
				answer["token_type"] = "bearer"
				answer["scope"] = strings.ReplaceAll(answer["scope"].(string), " ", ",")
				for name, value := range life {
					answer[name] = value
				}
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			json.NewEncoder(w).Encode(answer)
		})
	}
}

func closed(status int) func(h *house) {
	return func(h *house) {
		deaf(h)
		h.issuer.Fault(demo.RegisterPath, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			w.Write([]byte(`{"errorCode":"E0000005","errorSummary":"Invalid session"}`))
		})
	}
}

const (
	oktaAt       = "https://org.okta.com/.well-known/oauth-authorization-server/oauth2/default"
	oktaOpenIDAt = "https://org.okta.com/oauth2/default/.well-known/openid-configuration"
	auth0At      = "https://tenant.auth0.com/.well-known/openid-configuration"
	scalekitAt   = "https://env.scalekit.com/resources/res_1/.well-known/oauth-authorization-server"
	entraAt      = "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0/.well-known/openid-configuration"
	googleAt     = "https://accounts.google.com/.well-known/openid-configuration"
	gitHubAt     = "https://github.com/.well-known/oauth-authorization-server/login/oauth"

	century = 100 * 365 * 24 * time.Hour
)

var scalekitAudience = []string{"res_1", serverURL}

// TestShapesLive lives one life at an issuer of each shape: a first token, one after it ran out, one for a wider scope,
// and forgetting. Nothing of it depends on the issuer's name.
func TestShapesLive(t *testing.T) {
	const read, write = "repo", "read:user"
	for name, c := range map[string]struct {
		shape
		asked     string // the kinds of the first questions
		auth      string // how our client authenticates
		offline   bool   // offline_access is asked for
		check     string // what is found in the tokens
		after     string // two hours later: "refreshed", "sign-in" or "the same"
		signIns   int    // in the whole life
		revokes   bool
		registers int
	}{
		"Okta, 401": {
			shape: shape{file: "okta.json", at: oktaAt, client: "-", opts: []oauthtest.IssuerOption{oauthtest.Audience(serverURL)}, bend: closed(http.StatusUnauthorized)},
			asked: "consent client_id", auth: "none", offline: true, check: localapi.CheckVerified, after: "refreshed", signIns: 2, revokes: true, registers: 1,
		},
		"Okta, 403, at the place it had before": {
			shape: shape{file: "okta.json", at: oktaOpenIDAt, client: "-", opts: []oauthtest.IssuerOption{oauthtest.Audience(serverURL)}, bend: closed(http.StatusForbidden)},
			asked: "consent client_id", auth: "none", offline: true, check: localapi.CheckVerified, after: "refreshed", signIns: 2, revokes: true, registers: 1,
		},
		"Entra": {
			shape: shape{file: "entra.json", at: entraAt, client: "-", opts: []oauthtest.IssuerOption{oauthtest.Audience("desk-1")}},
			asked: "consent quirk client_id quirk", auth: "none", offline: true, check: localapi.CheckAccepted, after: "refreshed", signIns: 2,
		},
		"Auth0, with the profile": {
			shape: shape{file: "auth0.json", at: auth0At, opts: []oauthtest.IssuerOption{oauthtest.Iss("https://tenant.auth0.com/")}},
			asked: "consent", auth: "none", offline: true, check: localapi.CheckVerified, after: "refreshed", signIns: 2, revokes: true, registers: 1,
		},
		"Auth0, named without its slash": {
			shape: shape{file: "auth0.json", at: auth0At, bend: func(h *house) {
				h.server.Metadata(func(doc map[string]any) { doc["authorization_servers"] = []string{"https://tenant.auth0.com"} })
			}},
			asked: "consent quirk", auth: "none", offline: true, check: localapi.CheckVerified, after: "refreshed", signIns: 2, revokes: true, registers: 1,
		},
		"Auth0, with a default audience": {
			shape: shape{file: "auth0.json", at: auth0At, opts: []oauthtest.IssuerOption{oauthtest.Audience(otherAudience)}, bend: deaf},
			asked: "consent quirk", auth: "none", offline: true, check: localapi.CheckAccepted, after: "refreshed", signIns: 2, revokes: true, registers: 1,
		},
		"Scalekit": {
			shape: shape{file: "scalekit.json", at: scalekitAt, opts: []oauthtest.IssuerOption{oauthtest.Claims(map[string]any{"aud": scalekitAudience})}},
			asked: "consent", auth: "none", check: localapi.CheckVerified, after: "sign-in", signIns: 3, registers: 1,
		},
		"Scalekit, tokens of the environment": {
			shape: shape{file: "scalekit.json", at: scalekitAt, opts: []oauthtest.IssuerOption{oauthtest.Claims(map[string]any{"aud": scalekitAudience, "iss": "https://env.scalekit.com"})}},
			asked: "consent quirk", auth: "none", check: localapi.CheckAccepted, after: "sign-in", signIns: 3, registers: 1,
		},
		"Google, a desktop app": {
			shape: shape{file: "google.json", at: googleAt, client: "s3cret", opts: []oauthtest.IssuerOption{oauthtest.Opaque(), oauthtest.FreeRefresh(), oauthtest.NoRotation()}, bend: deaf},
			asked: "consent client_id", auth: "basic", check: localapi.CheckOpaque, after: "refreshed", signIns: 2, revokes: true,
		},
		"Google, a web app": {
			shape: shape{file: "google.json", at: googleAt, client: "s3cret", opts: []oauthtest.IssuerOption{oauthtest.Opaque()}, bend: deaf},
			asked: "consent client_id", auth: "basic", check: localapi.CheckOpaque, after: "sign-in", signIns: 3, revokes: true,
		},
		"GitHub, an OAuth app": {
			shape: shape{file: "github.json", at: gitHubAt, client: "s3cret", opts: []oauthtest.IssuerOption{oauthtest.Opaque(), oauthtest.AccessTTL(century)}, bend: gitHub(nil)},
			asked: "consent client_id", auth: "basic", check: localapi.CheckOpaque, after: "the same", signIns: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newShapeHouse(t, c.shape)
				defer func() { h.broker.Close() }()
				quiet := localapi.TokenRequest{Resource: serverURL, Scopes: []string{read}, Interaction: localapi.InteractionNone}

				first := h.mustToken(host("claude"), read)
				if kinds := h.kinds(); kinds != c.asked || h.browsers != 1 {
					t.Errorf("asked %q, %d browsers", kinds, h.browsers)
				}
				if first.Scope != read || first.Issuer != h.issuer.ID() || h.grant().Check.Result != c.check {
					t.Errorf("the host got scope %q of %s, checked %s", first.Scope, first.Issuer, h.grant().Check.Result)
				}

				time.Sleep(2 * time.Hour)
				second, err := h.broker.Token(t.Context(), host("claude"), quiet)
				switch c.after {
				case "the same":
					if err != nil || !second.AccessToken.Equal(first.AccessToken) {
						t.Errorf("later: %v", err)
					}
				case "refreshed":
					if err != nil || second.AccessToken.Equal(first.AccessToken) || h.refreshes() != 1 {
						t.Errorf("later: %v, %d refreshes", err, h.refreshes())
					}
				default:
					if !errors.Is(err, localapi.ErrSignInRequired) || h.refreshes() != 0 || h.grant().Renewable {
						t.Errorf("later: %v, %d refreshes", err, h.refreshes())
					}
					h.mustToken(host("claude"), read)
					if kinds := h.kinds(); kinds != face.KindSignIn {
						t.Errorf("asked %q", kinds)
					}
				}

				challenge := `Bearer error="insufficient_scope", scope="` + write + `", resource_metadata="` + h.server.MetadataURL() + `"`
				wide, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Challenges: []string{challenge}})
				if err != nil || wide.Scope != write+" "+read {
					t.Fatalf("step-up: %+v, %v", wide, err)
				}
				if kinds := h.kinds(); kinds != face.KindConsent || h.browsers != c.signIns {
					t.Errorf("step-up asked %q, %d browsers", kinds, h.browsers)
				}
				quiet.Scopes = []string{write, read}
				if again, err := h.broker.Token(t.Context(), host("claude"), quiet); err != nil || !again.AccessToken.Equal(wide.AccessToken) {
					t.Errorf("after the step-up: %v", err)
				}

				forgotten, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL})
				if err != nil || len(forgotten.Grants) != 1 || (len(forgotten.NotRevoked) == 0) != c.revokes {
					t.Fatalf("forgotten %+v, %v", forgotten, err)
				}
				if !c.revokes && (!strings.Contains(forgotten.NotRevoked[0], "no revocation endpoint") || !strings.Contains(forgotten.NotRevoked[0], "its own page")) {
					t.Errorf("not revoked: %q", forgotten.NotRevoked)
				}
				if (h.issuer.Count(demo.RevocationPath) > 0) != c.revokes || h.issuer.Count(demo.RegisterPath) != c.registers {
					t.Errorf("%d revocations, %d registrations", h.issuer.Count(demo.RevocationPath), h.issuer.Count(demo.RegisterPath))
				}
				h.sent(c.auth, c.offline)
			})
		})
	}
}

// sent holds what went to the issuer to what every issuer is sent: the resource, PKCE, and our client in one way.
func (h *house) sent(auth string, offline bool) {
	h.t.Helper()
	for _, page := range pages(h.issuer) {
		if page.Get("resource") != serverURL || page.Get("code_challenge_method") != "S256" || slices.Contains(strings.Fields(page.Get("scope")), ledger.OfflineAccess) != offline {
			h.t.Errorf("the page was asked for with %v", page)
		}
	}
	for _, r := range h.issuer.Seen(demo.TokenPath) {
		_, _, basic := (&http.Request{Header: r.Header}).BasicAuth()
		if r.Values.Get("resource") != serverURL || basic != (auth == "basic") || r.Values.Has("client_id") == basic || r.Values.Has("client_secret") {
			h.t.Errorf("%s: Basic %v, form %v", r.Values.Get("grant_type"), basic, r.Values)
		}
	}
}

// refuse reports a token as refused, as a host does, and returns what comes next.
func (h *house) refuse(token *localapi.Token) (*localapi.Token, error) {
	return h.broker.Token(h.t.Context(), host("claude"), localapi.TokenRequest{
		Resource: serverURL, Scopes: strings.Fields(token.Scope), Refused: token.AccessToken.SHA256(),
		Challenges: []string{`Bearer error="invalid_token", resource_metadata="` + h.server.MetadataURL() + `"`},
	})
}

// TestAuth0WithoutItsProfile: the token is opaque and for nobody, which nothing here can see. The server turns it down;
// that costs one refresh and one sign-in, and no loop.
func TestAuth0WithoutItsProfile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newShapeHouse(t, shape{file: "auth0.json", at: auth0At, opts: []oauthtest.IssuerOption{oauthtest.Opaque()}, bend: deaf})
		defer func() { h.broker.Close() }()
		token := h.mustToken(host("claude"), "read")
		if kinds := h.kinds(); kinds != face.KindConsent || h.grant().Check.Result != localapi.CheckOpaque || h.good(token) != http.StatusUnauthorized {
			t.Fatalf("asked %q, checked %s", kinds, h.grant().Check.Result)
		}
		for _, asks := range []string{"", face.KindSignIn, ""} {
			next, err := h.refuse(token)
			if err != nil || next.AccessToken.Equal(token.AccessToken) {
				t.Fatalf("after a refusal: %v", err)
			}
			if kinds := h.kinds(); kinds != asks {
				t.Errorf("asked %q, want %q", kinds, asks)
			}
			token = next
		}
		if h.browsers != 2 || h.refreshes() != 2 {
			t.Errorf("%d browsers, %d refreshes", h.browsers, h.refreshes())
		}
	})
}

// TestAudienceOfAnotherServer: what the person is told of a token that Auth0 made out to its default audience, and what
// the host gets when they do not accept it.
func TestAudienceOfAnotherServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newShapeHouse(t, shape{file: "auth0.json", at: auth0At, opts: []oauthtest.IssuerOption{oauthtest.Audience(otherAudience)}, bend: deaf})
		defer func() { h.broker.Close() }()
		h.person = onQuirks(no)
		if _, err := h.token(host("claude"), "read"); !errors.Is(err, localapi.ErrAudience) {
			t.Fatalf("err = %v", err)
		}
		q := h.questions()[1]
		if q.Kind != face.KindQuirk || q.Quirk.Name != quirk.Audience || q.Quirk.Value != otherAudience || !strings.Contains(strings.Join(q.Notes, ""), otherAudience) {
			t.Errorf("question %+v", q)
		}
	})
}

// TestTokenThatNamesAnotherIssuer: the person is asked about it only when a key of the issuer it came from signed it.
func TestTokenThatNamesAnotherIssuer(t *testing.T) {
	const environment = "https://env.scalekit.com"
	s := shape{file: "scalekit.json", at: scalekitAt, opts: []oauthtest.IssuerOption{oauthtest.Claims(map[string]any{"iss": environment})}}
	for name, c := range map[string]struct {
		keys  oauthtest.FaultFunc
		asked string
		hint  string
	}{
		"its keys vouch for it": {nil, "consent quirk", "accept the quirk issuer"},
		"keys out of reach":     {oauthtest.Status(http.StatusServiceUnavailable), "consent", "switch the checks off"},
		"other keys":            {oauthtest.Body(`{"keys":[]}`), "consent", "switch the checks off"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newShapeHouse(t, s)
				defer func() { h.broker.Close() }()
				h.issuer.Fault(demo.JWKSPath, c.keys)
				h.person = onQuirks(no)
				_, err := h.token(host("claude"), "read")
				if e := (*localapi.Error)(nil); !errors.Is(err, localapi.ErrIssuer) || !errors.As(err, &e) || !strings.Contains(e.Message, environment) || !strings.Contains(e.Hint, c.hint) {
					t.Errorf("%v", err)
				}
				for _, q := range h.questions() {
					if q.Kind == face.KindQuirk && (q.Quirk.Name != quirk.Issuer || q.Quirk.Value != environment) {
						t.Errorf("asked about %+v", q.Quirk)
					}
				}
				if kinds := h.kinds(); kinds != c.asked {
					t.Errorf("asked %q", kinds)
				}
			})
		})
	}
}

// TestGitHubAppRefused: a refresh token of a GitHub App that has run out is refused under GitHub's own name and with HTTP
// 200, and leads to a sign-in as any other.
func TestGitHubAppRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		life := map[string]any{"expires_in": 28800, "refresh_token": "ghr_out", "refresh_token_expires_in": 15897600, "scope": ""}
		h := newShapeHouse(t, shape{file: "github.json", at: gitHubAt, client: "s3cret", opts: []oauthtest.IssuerOption{oauthtest.Opaque()}, bend: gitHub(life)})
		defer func() { h.broker.Close() }()
		if first := h.mustToken(host("claude"), "repo"); first.Scope != "repo" || time.Until(first.ExpiresAt).Round(time.Minute) != 8*time.Hour {
			t.Errorf("token %+v", first)
		}
		h.kinds()
		time.Sleep(9 * time.Hour)
		h.mustToken(host("claude"), "repo")
		if kinds := h.kinds(); kinds != face.KindSignIn || h.refreshes() != 1 || h.browsers != 2 {
			t.Errorf("asked %q after %d refreshes and %d browsers", kinds, h.refreshes(), h.browsers)
		}
	})
}

// TestScopesThatNobodyAskedFor: GitHub then gives those that it gave before. The list counts as one scope, which the
// person is shown, and the token is of use.
func TestScopesThatNobodyAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		life := map[string]any{"scope": "repo,read:user"}
		h := newShapeHouse(t, shape{file: "github.json", at: gitHubAt, client: "s3cret", opts: []oauthtest.IssuerOption{oauthtest.Opaque()}, bend: gitHub(life)})
		defer func() { h.broker.Close() }()
		h.server.Metadata(func(doc map[string]any) { delete(doc, "scopes_supported") })
		if token := h.mustToken(host("claude")); token.Scope != "repo,read:user" {
			t.Errorf("scope %q", token.Scope)
		}
		if kinds := h.kinds(); kinds != "consent client_id consent" {
			t.Errorf("asked %q", kinds)
		}
	})
}

// TestTokenWithoutEnd: a token that does not run out is kept in memory only, as every other, so a restart costs a sign-in.
func TestTokenWithoutEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newShapeHouse(t, shape{file: "github.json", at: gitHubAt, client: "s3cret", opts: []oauthtest.IssuerOption{oauthtest.Opaque(), oauthtest.AccessTTL(century)}, bend: gitHub(nil)})
		h.mustToken(host("claude"), "repo")
		h.restart()
		defer func() { h.broker.Close() }()
		_, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionNone})
		if !errors.Is(err, localapi.ErrSignInRequired) || !strings.Contains(err.Error(), "no token is left") {
			t.Errorf("err = %v", err)
		}
		if g := h.grant(); g.State != localapi.StateSignIn || !strings.Contains(g.Problem, "No token is left") {
			t.Errorf("%s: %s", g.State, g.Problem)
		}
	})
}

// TestWrongSecretAtGitHub: the person learns where to enter it again.
func TestWrongSecretAtGitHub(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newShapeHouse(t, shape{file: "github.json", at: gitHubAt, client: "s3cret", bend: gitHub(nil)})
		defer func() { h.broker.Close() }()
		knows := h.person
		h.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
			a, err := knows(ctx, q)
			a.ClientSecret = secret.Text{}
			return a, err
		}
		_, err := h.token(host("claude"), "repo")
		if e := (*localapi.Error)(nil); !errors.Is(err, localapi.ErrIssuer) || !errors.As(err, &e) || !strings.Contains(e.Hint, "vk client "+serverURL) {
			t.Fatalf("%v", err)
		}
		req := localapi.RegistrationRequest{Resource: serverURL, Sent: client.Send(client.Client{ClientID: "desk-1", Secret: secret.New("s3cret")})}
		if _, err := h.broker.Register(t.Context(), host("vk"), req); err != nil {
			t.Fatal(err)
		}
		h.mustToken(host("claude"), "repo")
	})
}
