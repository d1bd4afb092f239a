package oauthtest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/secret"
)

const (
	issuerID  = "https://issuer.example.com"
	serverURL = "https://mcp.example.com/mcp"
	verifier  = "a-verifier-of-at-least-forty-three-characters-in-all"
)

// party is a minimal OAuth client: just enough to walk the flow by hand.
type party struct {
	t        *testing.T
	w        *World
	issuer   *Issuer
	client   *http.Client
	id       string
	redirect string
}

func newParty(t *testing.T, opts ...IssuerOption) *party {
	w := NewWorld(t)
	p := &party{t: t, w: w, issuer: w.AddIssuer(issuerID, opts...), client: &http.Client{Transport: w.RoundTripper()}}
	return p
}

func (p *party) register() {
	p.t.Helper()
	body := `{"client_name":"Test","application_type":"native","redirect_uris":["http://127.0.0.1/callback"],` +
		`"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"]}`
	resp, err := p.client.Post(issuerID+demo.RegisterPath, "application/json", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	p.id, _ = p.json(resp, http.StatusCreated)["client_id"].(string)
	if p.id == "" {
		p.t.Fatal("registration without client_id")
	}
}

func (p *party) authURL(scope string) string {
	sum := sha256.Sum256([]byte(verifier))
	return issuerID + demo.AuthorizePath + "?" + url.Values{
		"response_type": {"code"}, "client_id": {p.id}, "redirect_uri": {p.redirect}, "state": {"s-1"}, "scope": {scope},
		"resource": {serverURL}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}.Encode()
}

// signIn walks the browser through and returns what came to the callback.
func (p *party) signIn(scope string) url.Values {
	p.t.Helper()
	redirect, wait := p.w.callback()
	p.redirect = redirect
	if err := p.w.Browser(p.t.Context(), p.authURL(scope)); err != nil {
		p.t.Fatal(err)
	}
	return wait()
}

func (p *party) token(want int, form url.Values) map[string]any {
	p.t.Helper()
	form.Set("client_id", p.id)
	resp, err := p.client.PostForm(issuerID+demo.TokenPath, form)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.json(resp, want)
}

func (p *party) exchange(want int, code string) map[string]any {
	p.t.Helper()
	return p.token(want, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier},
		"redirect_uri": {p.redirect}, "resource": {serverURL}})
}

func (p *party) renew(want int, refresh any) map[string]any {
	p.t.Helper()
	s, _ := refresh.(string)
	return p.token(want, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s}, "resource": {serverURL}})
}

func (p *party) json(resp *http.Response, want int) map[string]any {
	p.t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.StatusCode != want {
		p.t.Fatalf("HTTP %d, want %d: %s", resp.StatusCode, want, body)
	}
	out := map[string]any{}
	if err := json.Unmarshal(body, &out); err != nil {
		p.t.Fatalf("%v in %s", err, body)
	}
	return out
}

func (p *party) call(s *Server, token any) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, s.at(""), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if text, _ := token.(string); text != "" {
		req.Header.Set("Authorization", "Bearer "+text)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("WWW-Authenticate")
}

func TestWholeFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t)
		server := p.w.AddServer(serverURL, issuerID)
		server.require("files:read")
		if status, challenge := p.call(server, nil); status != 401 ||
			challenge != `Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp", scope="files:read"` {
			t.Fatalf("without a token: %d %s", status, challenge)
		}
		p.register()
		q := p.signIn("files:read offline_access")
		if q.Get("state") != "s-1" || q.Get("iss") != issuerID || q.Get("code") == "" {
			t.Fatalf("callback: %v", q)
		}
		first := p.exchange(200, q.Get("code"))
		if first["token_type"] != "Bearer" || first["scope"] != "files:read offline_access" || first["expires_in"] != 600.0 {
			t.Errorf("answer: %v", first)
		}
		if status, _ := p.call(server, first["access_token"]); status != 200 {
			t.Errorf("with a token: %d", status)
		}
		server.require("files:write")
		if status, challenge := p.call(server, first["access_token"]); status != 403 || !strings.Contains(challenge, `error="insufficient_scope", scope="files:write"`) {
			t.Errorf("without the scope: %d %s", status, challenge)
		}
		server.require()
		time.Sleep(11 * time.Minute) // virtual
		if status, challenge := p.call(server, first["access_token"]); status != 401 || !strings.Contains(challenge, `error="invalid_token"`) {
			t.Errorf("expired: %d %s", status, challenge)
		}
		second := p.renew(200, first["refresh_token"])
		if status, _ := p.call(server, second["access_token"]); status != 200 {
			t.Errorf("after the refresh: %d", status)
		}
		if got := p.renew(400, first["refresh_token"])["error"]; got != "invalid_grant" {
			t.Errorf("replay: %v", got)
		}
		if got := p.renew(400, second["refresh_token"])["error"]; got != "invalid_grant" {
			t.Errorf("a replay must take the whole grant with it: %v", got)
		}
		if status, _ := p.call(server, second["access_token"]); status != 401 {
			t.Errorf("a replay must take the access tokens with it: %d", status)
		}
		if n := p.issuer.Count(demo.TokenPath); n != 4 {
			t.Errorf("token requests: %d", n)
		}
		if got := p.issuer.Requests("/token")[1].Get("resource"); got != serverURL {
			t.Errorf("noted resource: %q", got)
		}
	})
}

func TestBrowser(t *testing.T) {
	for _, tt := range []struct {
		name    string
		opts    []IssuerOption
		account string
		decline bool
		want    map[string]string
	}{
		{"offered account", nil, "bob", false, map[string]string{"state": "s-1", "iss": issuerID, "error": ""}},
		{"typed account", nil, "carol", false, map[string]string{"state": "s-1", "iss": issuerID, "error": ""}},
		{"cancelled", nil, "alice", true, map[string]string{"error": "access_denied", "state": "s-1", "iss": issuerID, "code": ""}},
		{"no iss", []IssuerOption{Iss("")}, "alice", false, map[string]string{"iss": "", "state": "s-1"}},
		{"wrong iss and state", []IssuerOption{Iss("https://evil.example"), State("x")}, "alice", false, map[string]string{"iss": "https://evil.example", "state": "x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newParty(t, tt.opts...)
			p.register()
			p.w.Account, p.w.Decline = tt.account, tt.decline
			q := p.signIn("files:read")
			for name, want := range tt.want {
				if got := q.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if tt.decline {
				return
			}
			access, ok := p.issuer.Inspect(p.exchange(200, q.Get("code"))["access_token"].(string))
			if !ok || access.Account != tt.account {
				t.Errorf("signed in as %q (%v), want %q", access.Account, ok, tt.account)
			}
		})
	}
}

func TestBrowserTellsAnIssuersRefusal(t *testing.T) {
	p := newParty(t)
	p.id = "nobody"
	err := p.w.Browser(t.Context(), p.authURL("files:read"))
	if err == nil || !strings.Contains(err.Error(), "not registered") {
		t.Errorf("got %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name  string
		opts  []IssuerOption
		check func(t *testing.T, p *party, answer map[string]any)
	}{
		{"no refresh tokens", []IssuerOption{NoRefresh()}, func(t *testing.T, _ *party, a map[string]any) {
			if a["refresh_token"] != nil {
				t.Error("there is one")
			}
		}},
		{"no rotation", []IssuerOption{NoRotation()}, func(t *testing.T, p *party, a map[string]any) {
			for range 2 {
				if again := p.renew(200, a["refresh_token"]); again["refresh_token"] != nil {
					t.Error("it rotated")
				}
			}
		}},
		{"opaque", []IssuerOption{Opaque()}, func(t *testing.T, p *party, a map[string]any) {
			token := a["access_token"].(string)
			if _, ok := p.issuer.Inspect(token); !ok || strings.Contains(token, ".") {
				t.Errorf("token %q, known %v", token, ok)
			}
		}},
		{"wider scopes", []IssuerOption{WiderScopes("files:write")}, func(t *testing.T, _ *party, a map[string]any) {
			if a["scope"] != "files:read files:write offline_access" {
				t.Errorf("scope %v", a["scope"])
			}
		}},
		{"narrower scopes", []IssuerOption{NarrowerScopes("files:read")}, func(t *testing.T, _ *party, a map[string]any) {
			if a["scope"] != "files:read" || a["refresh_token"] == nil {
				t.Errorf("scope %v, refresh token %v", a["scope"], a["refresh_token"] != nil)
			}
		}},
		{"short lives", []IssuerOption{AccessTTL(time.Minute), RefreshTTL(time.Hour)}, func(t *testing.T, p *party, a map[string]any) {
			if a["expires_in"] != 60.0 {
				t.Errorf("expires_in %v", a["expires_in"])
			}
			time.Sleep(time.Hour) // virtual
			p.renew(400, a["refresh_token"])
		}},
		{"other audience", []IssuerOption{Audience("https://other.example")}, func(t *testing.T, p *party, a map[string]any) {
			if status, _ := p.call(p.w.AddServer(serverURL, issuerID), a["access_token"]); status != 401 {
				t.Errorf("HTTP %d", status)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newParty(t, tt.opts...)
				p.register()
				tt.check(t, p, p.exchange(200, p.signIn("files:read offline_access").Get("code")))
			})
		})
	}
}

func TestStaticClientsAndDocuments(t *testing.T) {
	w := NewWorld(t)
	i := w.AddIssuer(issuerID, ClientDocuments(), StaticClients(demo.Client{
		ID: "pre", Secret: secret.New("s3cret/+"), RedirectURIs: []string{"http://127.0.0.1/callback"},
	}))
	client := &http.Client{Transport: w.RoundTripper()}
	resp, err := client.Post(issuerID+demo.RegisterPath, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("registration: HTTP %d", resp.StatusCode)
	}
	const document = "https://client.example/valetkey.json"
	w.Handle("https://client.example", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		writeJSON(rw, 200, map[string]any{"client_id": document, "client_name": "Doc", "redirect_uris": []string{"http://127.0.0.1/callback"}})
	}))
	p := &party{t: t, w: w, issuer: i, client: client, id: document}
	if q := p.signIn("files:read"); p.exchange(200, q.Get("code"))["access_token"] == nil {
		t.Error("no token for a client ID metadata document")
	}
	if n := w.count(document); n != 1 {
		t.Errorf("document fetched %d times", n)
	}
	p.id = "pre"
	code := p.signIn("files:read").Get("code")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuerID+demo.TokenPath, strings.NewReader(url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {p.redirect}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("pre", url.QueryEscape("s3cret/+"))
	if resp, err = client.Do(req); err != nil {
		t.Fatal(err)
	}
	p.json(resp, 200)
}

func TestMetadataEdits(t *testing.T) {
	w := NewWorld(t)
	i := w.AddIssuer(issuerID + "/tenant")
	s := w.AddServer(serverURL, i.ID())
	client := &http.Client{Transport: w.RoundTripper()}
	get := func(address, member string) any {
		t.Helper()
		resp, err := client.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		return (&party{t: t}).json(resp, 200)[member]
	}
	at := issuerID + demo.MetadataPath + "/tenant"
	if got := get(at, "issuer"); got != i.ID() {
		t.Errorf("issuer %v", got)
	}
	i.Metadata(func(m map[string]any) { m["issuer"] = "https://evil.example" })
	if got := get(at, "issuer"); got != "https://evil.example" {
		t.Errorf("edited issuer %v", got)
	}
	i.Metadata(nil)
	if got := get(at, "token_endpoint"); got != issuerID+"/tenant/token" {
		t.Errorf("token_endpoint %v", got)
	}
	s.Metadata(func(m map[string]any) { m["resource"] = "https://other.example" })
	if got := get(s.MetadataURL(), "resource"); got != "https://other.example" {
		t.Errorf("edited resource %v", got)
	}
	if i.Count(demo.MetadataPath) != 3 || s.Count(ResourcePath) != 1 || w.count(at) != 3 {
		t.Errorf("counts %d %d %d", i.Count(demo.MetadataPath), s.Count(ResourcePath), w.count(at))
	}
	s.Challenge("")
	if status, challenge := (&party{t: t, client: client}).call(s, nil); status != 401 || challenge != "" {
		t.Errorf("%d %q", status, challenge)
	}
}

func TestRefuse(t *testing.T) {
	p := newParty(t)
	s := p.w.AddServer(serverURL, issuerID)
	p.register()
	token := p.exchange(200, p.signIn("files:read").Get("code"))["access_token"]
	if status, _ := p.call(s, token); status != 200 {
		t.Fatalf("HTTP %d", status)
	}
	s.Refuse(token.(string))
	if status, _ := p.call(s, token); status != 401 {
		t.Errorf("refused token: HTTP %d", status)
	}
}

func TestUnknownOriginCannotBeDialled(t *testing.T) {
	client := &http.Client{Transport: NewWorld(t).RoundTripper()}
	_, err := client.Get("https://nowhere.example/")
	var dns *net.DNSError
	if !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("got %v", err)
	}
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t)
		p.register()
		refresh := p.exchange(200, p.signIn("files:read offline_access").Get("code"))["refresh_token"]
		post := func(ctx context.Context) (*http.Response, error) {
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh.(string)}, "client_id": {p.id}}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuerID+"/token", strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return p.client.Do(req)
		}

		p.issuer.Fault("/token", Hang())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := post(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("hang: %v after %v", err, time.Since(start))
		}
		p.issuer.Fault("/token", Dropped())
		if _, err := post(t.Context()); err == nil {
			t.Error("a dropped connection gave an answer")
		}
		p.issuer.Fault("/token", Times(1, Status(503)))
		resp, err := post(t.Context())
		if err != nil || resp.StatusCode != 503 {
			t.Fatalf("%v %v", resp, err)
		}
		resp.Body.Close()
		p.issuer.Fault("/token", Body(`{"access_token":`))
		if resp, err = post(t.Context()); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v %v", resp, err)
		}
		resp.Body.Close()

		p.issuer.Fault("/token", Slow(5*time.Second))
		start = time.Now()
		if resp, err = post(t.Context()); err != nil {
			t.Fatal(err)
		}
		refresh = p.json(resp, 200)["refresh_token"]
		if time.Since(start) != 5*time.Second {
			t.Errorf("slow took %v", time.Since(start))
		}

		p.issuer.Fault("/token", Lost())
		if _, err := post(t.Context()); err == nil {
			t.Error("a lost answer arrived")
		}
		p.issuer.Fault("/token", nil)
		if resp, err = post(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := p.json(resp, 400)["error"]; got != "invalid_grant" {
			t.Errorf("after a lost answer: %v; the issuer must have rotated", got)
		}
	})
}

// A handler that streams is seen piece by piece, and learns when its reader goes away.
func TestStreaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorld(t)
		gone := make(chan struct{})
		w.Handle("https://mcp.example.com", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			defer close(gone)
			rw.(http.Flusher).Flush()
			_, _ = io.WriteString(rw, "one")
			<-r.Context().Done()
		}))
		resp, err := (&http.Client{Transport: w.RoundTripper()}).Get("https://mcp.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 3)
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "one" {
			t.Errorf("%q %v", buf, err)
		}
		resp.Body.Close()
		<-gone
	})
}

// The browser runs beside the program, and a program that gives up takes it along.
func TestOpenBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t)
		p.register()
		redirect, wait := p.w.callback()
		p.redirect = redirect
		if err := p.w.OpenBrowser(t.Context(), p.authURL("files:read")); err != nil {
			t.Fatal(err)
		}
		if q := wait(); q.Get("code") == "" {
			t.Errorf("callback: %v", q)
		}

		p.issuer.Fault(demo.AuthorizePath, Hang())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := p.w.Browser(ctx, p.authURL("files:read")); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("a page that never comes: %v after %v", err, time.Since(start))
		}
	})
}

func TestSlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParty(t)
		p.register()
		refresh := p.exchange(200, p.signIn("files:read offline_access").Get("code"))["refresh_token"]
		p.issuer.Fault("/token", SlowAnswer(time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh.(string)}, "client_id": {p.id}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuerID+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if _, err := p.client.Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		p.issuer.Fault("/token", OAuthError(http.StatusTooManyRequests, "slow_down", "later"))
		if got := p.renew(http.StatusTooManyRequests, refresh)["error"]; got != "slow_down" {
			t.Errorf("got %v", got)
		}
		p.issuer.Fault("/token", nil)
		p.renew(400, refresh) // the issuer had rotated before the answer was late
	})
}
