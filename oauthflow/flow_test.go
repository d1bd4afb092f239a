package oauthflow

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
)

const (
	issuerID    = "https://issuer.example.com/tenant"
	serverURL   = "https://mcp.example.com/mcp"
	documentURL = "https://valetkey.example.com/client.json"
)

// rig is one issuer, the request for it, and a flow whose parts a test may change before it starts.
type rig struct {
	t      *testing.T
	world  *oauthtest.World
	issuer *oauthtest.Issuer
	cfg    Config
	req    Request
	urls   []string // opened
}

func newRig(t *testing.T, opts ...oauthtest.IssuerOption) *rig {
	w := oauthtest.NewWorld(t)
	r := &rig{t: t, world: w, issuer: w.AddIssuer(issuerID, opts...)}
	r.cfg = Config{
		HTTP:       worldOnly(r, serverURL),
		Open:       w.OpenBrowser,
		OnPage:     func(_ Request, page Page) { r.urls = append(r.urls, page.URL) },
		ClientName: "Valet Key", SoftwareVersion: "1.2.3",
	}
	r.req = Request{
		Server: serverURL, ServerName: "Example Files", Resource: serverURL, Scopes: []string{"files:read", "offline_access"},
		Issuer: &discovery.Issuer{
			ID:                    issuerID,
			AuthorizationEndpoint: issuerID + demo.AuthorizePath,
			TokenEndpoint:         issuerID + demo.TokenPath,
			RegistrationEndpoint:  issuerID + demo.RegisterPath,
			RevocationEndpoint:    issuerID + demo.RevocationPath,
			AuthMethods:           []string{"none", "client_secret_basic", "client_secret_post"},
			IssParameter:          true,
		},
	}
	return r
}

// worldOnly gives clients for the given servers, and fails the test for any other.
func worldOnly(r *rig, servers ...string) func(context.Context, string) (*http.Client, error) {
	return func(_ context.Context, server string) (*http.Client, error) {
		if !slices.Contains(servers, server) {
			r.t.Errorf("a client for %s was asked for", server)
		}
		return &http.Client{Transport: r.world.RoundTripper()}, nil
	}
}

func (r *rig) flow() *Flow { return New(r.cfg) }

func (r *rig) signIn() (client.Client, *Tokens) {
	r.t.Helper()
	reg, tokens, err := r.flow().SignIn(r.t.Context(), r.req)
	if err != nil {
		r.t.Fatal(err)
	}
	return reg, tokens
}

// one returns the one request for a path.
func (r *rig) one(path string) url.Values {
	r.t.Helper()
	all := r.issuer.Requests(path)
	if len(all) != 1 {
		r.t.Fatalf("%d requests for %s, want 1", len(all), path)
	}
	return all[0]
}

// page returns what the nth sign-in page was opened with.
func (r *rig) page(n int) url.Values {
	r.t.Helper()
	var pages []url.Values
	for _, seen := range r.issuer.Seen(demo.AuthorizePath) {
		if seen.Method == http.MethodGet {
			pages = append(pages, seen.Values)
		}
	}
	if len(pages) <= n {
		r.t.Fatalf("%d sign-in pages, want more than %d", len(pages), n)
	}
	return pages[n]
}

func (r *rig) want(values url.Values, name, want string) {
	r.t.Helper()
	if got := values[name]; len(got) != 1 || got[0] != want {
		r.t.Errorf("%s = %q, want %q", name, got, want)
	}
}

func TestWholeLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		reg, tokens := r.signIn()

		asked := r.one(demo.RegisterPath)
		r.want(asked, "application_type", "native")
		r.want(asked, "token_endpoint_auth_method", "none")
		r.want(asked, "response_types", "code")
		r.want(asked, "client_name", "Valet Key")
		r.want(asked, "software_version", "1.2.3")
		if got := asked["grant_types"]; !slices.Equal(got, []string{"authorization_code", "refresh_token"}) {
			t.Errorf("grant_types %q", got)
		}
		for _, uri := range RedirectURIs() {
			if !slices.Contains(asked["redirect_uris"], uri) {
				t.Errorf("%s is not registered", uri)
			}
		}
		if reg.Source != client.SourceDynamic || reg.Issuer != issuerID || reg.AuthMethod != "none" || !reg.Secret.Empty() ||
			reg.ManagementToken.Empty() || !strings.HasPrefix(reg.ManagementURI, issuerID) || len(reg.RedirectURIs) < len(callbackPorts) {
			t.Errorf("registration %+v", reg)
		}

		seen := r.page(0)
		r.want(seen, "response_type", "code")
		r.want(seen, "client_id", reg.ClientID)
		r.want(seen, "code_challenge_method", "S256")
		r.want(seen, "resource", serverURL)
		r.want(seen, "scope", "files:read offline_access")
		r.want(seen, "prompt", "consent")
		if len(seen.Get("state")) < 22 || !slices.Contains(reg.RedirectURIs, seen.Get("redirect_uri")) {
			t.Errorf("state %q, redirect_uri %q", seen.Get("state"), seen.Get("redirect_uri"))
		}
		posted := r.one(demo.TokenPath)
		r.want(posted, "grant_type", "authorization_code")
		r.want(posted, "redirect_uri", seen.Get("redirect_uri"))
		r.want(posted, "client_id", reg.ClientID)
		r.want(posted, "resource", serverURL)
		if n := len(posted.Get("code_verifier")); n != 43 {
			t.Errorf("a verifier of %d characters", n)
		}
		if got := r.issuer.Seen(demo.TokenPath)[0].Header.Get("Accept"); got != "application/json" {
			t.Errorf("Accept: %q", got)
		}
		if tokens.Access.Empty() || tokens.Refresh.Empty() || tokens.kind != "Bearer" ||
			!slices.Equal(tokens.Scopes, []string{"files:read", "offline_access"}) || time.Until(tokens.Expiry).Round(time.Second) != 10*time.Minute {
			t.Errorf("tokens %+v", tokens)
		}

		r.req.Registration, r.req.Scopes = reg, []string{"files:read"}
		fresh, err := r.flow().Refresh(t.Context(), r.req, tokens.Refresh)
		if err != nil {
			t.Fatal(err)
		}
		refreshed := r.issuer.Requests(demo.TokenPath)[1]
		r.want(refreshed, "grant_type", "refresh_token")
		r.want(refreshed, "resource", serverURL)
		r.want(refreshed, "scope", "files:read")
		r.want(refreshed, "client_id", reg.ClientID)
		if fresh.Refresh.Empty() || fresh.Refresh.Equal(tokens.Refresh) || !slices.Equal(fresh.Scopes, []string{"files:read"}) {
			t.Errorf("refreshed: %+v", fresh)
		}

		if err := r.flow().Revoke(t.Context(), r.req, []secret.Text{fresh.Refresh}, []secret.Text{fresh.Access}); err != nil {
			t.Fatal(err)
		}
		revoked := r.issuer.Requests(demo.RevocationPath)
		if len(revoked) != 2 || revoked[0].Get("token_type_hint") != "refresh_token" || revoked[1].Get("token_type_hint") != "access_token" {
			t.Errorf("revocations: %d", len(revoked))
		}
		_, err = r.flow().Refresh(t.Context(), r.req, fresh.Refresh)
		var refused *Error
		if !errors.As(err, &refused) || refused.Code != "invalid_grant" || refused.Step != "refresh" || errors.Is(err, ErrUnavailable) {
			t.Errorf("after revocation: %v", err)
		}
	})
}

// TestNothingIsUsedTwice: each sign-in has a state, a verifier and a challenge of its own, long enough not to be guessed.
func TestNothingIsUsedTwice(t *testing.T) {
	r := newRig(t)
	seen := map[string]bool{}
	for n := range 3 {
		r.signIn()
		page, posted := r.page(n), r.issuer.Requests(demo.TokenPath)[n]
		sum := sha256.Sum256([]byte(posted.Get("code_verifier")))
		r.want(page, "code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
		for _, once := range []string{page.Get("state"), page.Get("code_challenge"), posted.Get("code_verifier")} {
			if len(once) < 22 || seen[once] {
				t.Errorf("sign-in %d: %q was used before or is short", n, once)
			}
			seen[once] = true
		}
	}
}

// TestExpiryCountsSleep: a time that carries the monotonic clock would make a token live on while the computer sleeps.
func TestExpiryCountsSleep(t *testing.T) {
	r := newRig(t)
	if _, tokens := r.signIn(); tokens.Expiry.IsZero() || tokens.Expiry != tokens.Expiry.Round(0) {
		t.Errorf("expires %v", tokens.Expiry)
	}
}

// TestClientMetadataDocument: the document to publish lists the addresses we come back to and holds no secret.
func TestClientMetadataDocument(t *testing.T) {
	raw, err := os.ReadFile("../docs/client-metadata.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	var uris []any
	for _, uri := range RedirectURIs() {
		uris = append(uris, uri)
	}
	for name, want := range map[string]any{
		"redirect_uris": uris, "grant_types": []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"},
		"token_endpoint_auth_method": "none", "application_type": "native", "client_name": "Valet Key",
	} {
		if !reflect.DeepEqual(doc[name], want) {
			t.Errorf("%s is %v, want %v", name, doc[name], want)
		}
	}
	if id, _ := doc["client_id"].(string); !strings.HasPrefix(id, "https://") || len(raw) > 5<<10 || strings.Contains(string(raw), "secret") || doc["jwks"] != nil {
		t.Errorf("%s", raw)
	}
}

func TestScopesAndPrompt(t *testing.T) {
	for _, c := range []struct {
		scopes        []string
		selectAccount bool
		scope, prompt []string
	}{
		{nil, false, nil, nil},
		{[]string{"a", "b"}, false, []string{"a b"}, nil},
		{nil, true, nil, []string{"select_account"}},
		{[]string{"a", "offline_access"}, true, []string{"a offline_access"}, []string{"select_account consent"}},
	} {
		r := newRig(t)
		r.req.Scopes, r.req.SelectAccount = c.scopes, c.selectAccount
		r.signIn()
		got := r.page(0)
		if !slices.Equal(got["scope"], c.scope) || !slices.Equal(got["prompt"], c.prompt) {
			t.Errorf("%v, %v: scope %q, prompt %q", c.scopes, c.selectAccount, got["scope"], got["prompt"])
		}
	}
}

func TestAuthMethods(t *testing.T) {
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			r := newRig(t, oauthtest.AuthMethod(method))
			reg, tokens := r.signIn()
			if reg.AuthMethod != method || reg.Secret.Empty() != (method == "none") {
				t.Fatalf("registration %+v", reg)
			}
			r.req.Registration = reg
			if _, err := r.flow().Refresh(t.Context(), r.req, tokens.Refresh); err != nil {
				t.Fatal(err)
			}
			for i, seen := range r.issuer.Seen(demo.TokenPath) {
				basic := seen.Header.Get("Authorization") != ""
				if basic != (method == "client_secret_basic") || seen.Values.Has("client_secret") != (method == "client_secret_post") {
					t.Errorf("request %d authenticates otherwise", i)
				}
			}
		})
	}
}

// RFC 6749 §2.3.1: id and secret are form-encoded each before they are joined.
func TestBasicIsFormEncoded(t *testing.T) {
	r := newRig(t)
	id, hard := "id with space:and colon", secret.New("s%c ret+é:")
	r.req.Registration = client.Client{Issuer: issuerID, ClientID: id, Secret: hard, AuthMethod: methodBasic, Source: client.SourcePreRegistered}
	r.issuer.Fault(demo.TokenPath, oauthtest.Body(`{"access_token":"at","token_type":"bearer"}`))
	if _, err := r.flow().Refresh(t.Context(), r.req, secret.New("rt")); err != nil {
		t.Fatal(err)
	}
	_, encoded, _ := strings.Cut(r.issuer.Seen(demo.TokenPath)[0].Header.Get("Authorization"), " ")
	got, err := base64.StdEncoding.DecodeString(encoded)
	if want := "id+with+space%3Aand+colon:s%25c+ret%2B%C3%A9%3A"; err != nil || string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDenied(t *testing.T) {
	r := newRig(t)
	r.world.Decline = true
	reg, tokens, err := r.flow().SignIn(t.Context(), r.req)
	var refused *Error
	if !errors.As(err, &refused) || refused.Step != "sign-in" || refused.Code != "access_denied" || refused.status != 0 || tokens != nil {
		t.Errorf("%v", err)
	}
	if reg.ClientID == "" {
		t.Error("the registration is lost")
	}
}

func TestAbandoned(t *testing.T) {
	t.Run("time", func(t *testing.T) {
		for _, c := range []struct{ set, want time.Duration }{{0, 5 * time.Minute}, {time.Minute, time.Minute}, {time.Hour, 10 * time.Minute}} {
			synctest.Test(t, func(t *testing.T) {
				noBrowser := errors.New("no browser found")
				var told []any
				f := New(Config{
					timeout: c.set, Open: func(context.Context, string) error { return noBrowser },
					OnUnopened: func(req Request, url string, err error) { told = append(told, req.Server, url, err, time.Now()) },
				})
				start := time.Now()
				_, err := f.wait(t.Context(), Request{Server: "s"}, &pending{answers: make(chan answer, 1)}, func(context.Context) (string, time.Duration, error) {
					return "https://issuer.example.com/", 0, nil
				})
				if !slices.Equal(told, []any{"s", "https://issuer.example.com/", noBrowser, start}) {
					t.Errorf("told %v", told)
				}
				if took := time.Since(start); took != c.want || !errors.Is(err, ErrAbandoned) || !errors.Is(err, noBrowser) ||
					!strings.Contains(err.Error(), "no answer came within "+c.want.String()) {
					t.Errorf("after %v: %v", took, err)
				}
			})
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		r.cfg.Open = func(context.Context, string) error { cancel(); return nil }
		_, _, err := r.flow().SignIn(ctx, r.req)
		if !errors.Is(err, ErrAbandoned) || !errors.Is(err, context.Canceled) || err.Error() != ErrAbandoned.Error()+": it was cancelled" {
			t.Errorf("%v", err)
		}
	})
	t.Run("cancelled in the registration", func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		r.issuer.Fault(demo.RegisterPath, func(_ http.ResponseWriter, req *http.Request, _ http.Handler) {
			cancel()
			<-req.Context().Done()
		})
		if _, _, err := r.flow().SignIn(ctx, r.req); !errors.Is(err, ErrAbandoned) {
			t.Errorf("%v", err)
		}
	})
}

// A browser that could not be opened does not end the wait: the person copies the URL.
func TestCopiedURL(t *testing.T) {
	r := newRig(t)
	opened := make(chan struct{})
	r.cfg.Open = func(context.Context, string) error { close(opened); return errors.New("no browser found") }
	var browser sync.WaitGroup
	r.cfg.OnPage = func(_ Request, page Page) {
		browser.Go(func() {
			<-opened
			if err := r.world.Browser(t.Context(), page.URL); err != nil {
				t.Error(err)
			}
		})
	}
	r.signIn()
	browser.Wait()
}

func TestPortsAreReleased(t *testing.T) {
	r := newRig(t)
	r.signIn()
	back, err := url.Parse(r.page(0).Get("redirect_uri"))
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", back.Host); err == nil {
		conn.Close()
		t.Errorf("%s is still open", back.Host)
	}
}

func TestOtherIssuersRegistration(t *testing.T) {
	r := newRig(t)
	r.req.Registration = client.Client{Issuer: "https://other.example.com", ClientID: "c", Secret: secret.New("s"), Source: client.SourcePreRegistered}
	if _, _, err := r.flow().SignIn(t.Context(), r.req); !errors.Is(err, ErrNoRegistration) {
		t.Errorf("sign-in: %v", err)
	}
	if _, err := r.flow().Refresh(t.Context(), r.req, secret.New("rt")); !errors.Is(err, ErrNoRegistration) {
		t.Errorf("refresh: %v", err)
	}
	if err := r.flow().Revoke(t.Context(), r.req, []secret.Text{secret.New("rt")}, nil); !errors.Is(err, ErrNoRegistration) {
		t.Errorf("revoke: %v", err)
	}
	if n := r.issuer.Count(demo.TokenPath) + r.issuer.Count(demo.RevocationPath) + r.issuer.Count(demo.AuthorizePath); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestRevokeSaysWhatIsLeft(t *testing.T) {
	r := newRig(t)
	reg, tokens := r.signIn()
	r.req.Registration = reg
	r.issuer.Fault(demo.RevocationPath, oauthtest.Times(1, oauthtest.Status(503)))
	refresh, access := []secret.Text{tokens.Refresh}, []secret.Text{tokens.Access, secret.New("another")}
	err := r.flow().Revoke(t.Context(), r.req, refresh, access)
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "refresh token not revoked") || strings.Contains(err.Error(), "access token") {
		t.Errorf("%v", err)
	}
	refuse := func(hint, code string) {
		r.issuer.Fault(demo.RevocationPath, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			if all := r.issuer.Requests(demo.RevocationPath); all[len(all)-1].Get("token_type_hint") == hint {
				oauthtest.OAuthError(http.StatusBadRequest, code, "not this")(w, req, next)
				return
			}
			next.ServeHTTP(w, req)
		})
	}
	// RFC 7009 §2.2.1: an issuer may let access tokens run out. What it says of a refresh token counts.
	refuse("access_token", "unsupported_token_type")
	if err := r.flow().Revoke(t.Context(), r.req, refresh, access); err != nil {
		t.Errorf("an issuer that revokes no access tokens: %v", err)
	}
	refuse("refresh_token", "unsupported_token_type")
	if err := r.flow().Revoke(t.Context(), r.req, refresh, access); err == nil || errors.Is(err, ErrOutlives) {
		t.Errorf("an issuer that revokes no refresh tokens: %v", err)
	}
	refuse("access_token", "unauthorized_client")
	before := r.issuer.Count(demo.RevocationPath)
	err = r.flow().Revoke(t.Context(), r.req, refresh, access)
	var refused *Error
	if !errors.Is(err, ErrOutlives) || !errors.As(err, &refused) || refused.Code != "unauthorized_client" {
		t.Errorf("%v", err)
	}
	if n := r.issuer.Count(demo.RevocationPath) - before; n != 3 {
		t.Errorf("%d revocations, want 3", n)
	}
	if err = r.flow().Revoke(t.Context(), r.req, nil, access); err == nil || errors.Is(err, ErrOutlives) {
		t.Errorf("where there is no refresh token: %v", err)
	}
	r.req.Issuer.RevocationEndpoint = ""
	err = r.flow().Revoke(t.Context(), r.req, refresh, access)
	if !errors.Is(err, errNoRevocation) || !strings.Contains(err.Error(), "refresh token") || !strings.Contains(err.Error(), "access token") {
		t.Errorf("%v", err)
	}
	if err := r.flow().Revoke(t.Context(), r.req, nil, nil); err != nil {
		t.Errorf("nothing to revoke: %v", err)
	}
}

// Servers on the Python SDK up to 2.3.0 want the parameter of a client that has no secret.
func TestRevokeWithAnEmptySecret(t *testing.T) {
	r := newRig(t)
	reg, tokens := r.signIn()
	r.req.Registration = reg
	r.issuer.Fault(demo.RevocationPath, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		req.ParseForm()
		if secret, sent := req.PostForm["client_secret"]; sent && len(secret) == 1 && secret[0] == "" {
			req.PostForm.Del("client_secret")
			req.Form.Del("client_secret")
			next.ServeHTTP(w, req)
			return
		}
		oauthtest.OAuthError(http.StatusBadRequest, "invalid_request", "client_secret: Field required")(w, req, next)
	})
	if err := r.flow().Revoke(t.Context(), r.req, []secret.Text{tokens.Refresh}, []secret.Text{tokens.Access}); err != nil {
		t.Fatal(err)
	}
	if n := r.issuer.Count(demo.RevocationPath); n != 4 {
		t.Errorf("%d revocations, want two for each token", n)
	}
}

// No error text holds a secret, and no code or verifier either.
func TestErrorsHoldNoSecret(t *testing.T) {
	for name, echo := range map[string]func(http.ResponseWriter, *http.Request){ // debugging issuers
		"in the body": func(w http.ResponseWriter, req *http.Request) { io.Copy(w, req.Body) },
		"in words": func(w http.ResponseWriter, req *http.Request) {
			raw, _ := io.ReadAll(req.Body)
			form, _ := url.ParseQuery(string(raw))
			user, password, _ := req.BasicAuth()
			json.NewEncoder(w).Encode(map[string]string{"error": form.Get("code"), "error_description": fmt.Sprint(string(raw), form, user, password)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{methodPost, methodBasic} {
				r := newRig(t)
				reg, tokens := r.signIn()
				reg.AuthMethod, reg.Secret = method, secret.New("hunter 2%")
				r.req.Registration = reg
				r.issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
					w.WriteHeader(400)
					echo(w, req)
				})
				clean := func(err error, secrets ...string) {
					t.Helper()
					for _, s := range append(secrets, "hunter") {
						if s == "" || err == nil || strings.Contains(err.Error(), s) {
							t.Errorf("%s: %q in %v", method, s, err)
						}
					}
				}
				_, err := r.flow().Refresh(t.Context(), r.req, tokens.Refresh)
				clean(err, tokens.Refresh.Reveal())
				_, _, err = r.flow().SignIn(t.Context(), r.req)
				posted := r.issuer.Requests(demo.TokenPath)
				last := posted[len(posted)-1]
				clean(err, last.Get("code"), last.Get("code_verifier"))
			}
		})
	}
}

// TestPKCEUnlisted: no page opens, and nobody is registered, at an issuer that does not say that it checks PKCE, unless the
// person accepted that. PKCE is used there all the same.
func TestPKCEUnlisted(t *testing.T) {
	r := newRig(t)
	r.req.Issuer.PKCEUnlisted = true
	if _, _, err := r.flow().SignIn(t.Context(), r.req); !errors.Is(err, ErrPKCEUnlisted) || len(r.urls) != 0 || r.issuer.Count(demo.RegisterPath) != 0 {
		t.Errorf("%v, %d pages", err, len(r.urls))
	}
	r.req.PKCEUnlisted = true
	r.signIn()
	r.want(r.page(0), "code_challenge_method", "S256")
}

// TestParameters: they are added, and change nothing that is ours.
func TestParameters(t *testing.T) {
	r := newRig(t)
	r.req.Scopes = []string{"a", "offline_access"}
	r.req.Parameters = url.Values{"audience": {"https://api.example.com"}, "prompt": {"login consent"}, "state": {"theirs"}, "redirect_uri": {"https://evil.example"}, "resource": {"https://evil.example"}}
	r.signIn()
	page := r.page(0)
	r.want(page, "audience", "https://api.example.com")
	r.want(page, "prompt", "consent login")
	r.want(page, "resource", r.req.Resource)
	if page.Get("state") == "theirs" || strings.Contains(page.Get("redirect_uri"), "evil") {
		t.Errorf("ours were changed: %v", page)
	}
	if sent := r.one(demo.TokenPath); sent.Has("audience") {
		t.Error("they went to the token endpoint too")
	}

	r = newRig(t)
	r.issuer.Fault(demo.TokenPath, granting)
	r.req.Registration = client.Client{Issuer: issuerID, ClientID: "machine", Secret: secret.New("s"), GrantType: client.GrantClientCredentials}
	r.req.Parameters = url.Values{"audience": {"https://api.example.com"}, "grant_type": {"password"}}
	r.signIn()
	sent := r.one(demo.TokenPath)
	r.want(sent, "audience", "https://api.example.com")
	r.want(sent, "grant_type", client.GrantClientCredentials)
}
