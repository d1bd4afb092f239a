package demo

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/valetkey/valetkey/internal/secret"
)

const (
	testIssuer   = "https://issuer.example.com/tenant"
	testResource = "https://mcp.example.com/mcp"
	testRedirect = "http://127.0.0.1:4711/callback"
	testVerifier = "a-verifier-of-at-least-forty-three-characters-in-all"
)

// bench calls an issuer's handler directly.
type bench struct {
	*testing.T
	*Issuer
}

func newBench(t *testing.T, edit func(*IssuerConfig)) bench {
	t.Helper()
	cfg := IssuerConfig{
		ID: testIssuer, Accounts: []string{"alice", "bob"},
		Scopes: map[string]string{"notes:read": "Read your notes", "notes:write": "Write notes"},
		Clients: []Client{
			{ID: "public", Name: "Public", RedirectURIs: []string{"http://127.0.0.1/callback"}},
			{ID: "other", RedirectURIs: []string{"http://127.0.0.1/callback"}},
			{ID: "basic", Secret: secret.New("a:b/+ %"), RedirectURIs: []string{"https://app.example/cb"}},
			{ID: "post", Secret: secret.New("p"), AuthMethod: authPost, RedirectURIs: []string{"https://app.example/cb"}},
		},
	}
	if edit != nil {
		edit(&cfg)
	}
	i, err := NewIssuer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return bench{t, i}
}

func (b bench) do(method, path, kind, body string, headers ...string) *httptest.ResponseRecorder {
	b.Helper()
	r := httptest.NewRequestWithContext(b.T.Context(), method, path, strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for n := 0; n+1 < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	rec := httptest.NewRecorder()
	b.ServeHTTP(rec, r)
	return rec
}

func (b bench) form(path string, values url.Values, headers ...string) *httptest.ResponseRecorder {
	b.Helper()
	return b.do(http.MethodPost, "/tenant"+path, "application/x-www-form-urlencoded", values.Encode(), headers...)
}

func decode(t *testing.T, rec *httptest.ResponseRecorder, want int) map[string]any {
	t.Helper()
	out := map[string]any{}
	if rec.Code != want {
		t.Fatalf("HTTP %d, want %d: %s", rec.Code, want, rec.Body)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil {
		t.Fatalf("%v in %s", err, rec.Body)
	}
	return out
}

func authQuery(edits ...string) url.Values {
	sum := sha256.Sum256([]byte(testVerifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {"public"}, "redirect_uri": {testRedirect}, "state": {"s-1"},
		"scope": {"notes:read notes:write offline_access"}, "resource": {testResource},
		"code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	for n := 0; n+1 < len(edits); n += 2 {
		q.Del(edits[n])
		if edits[n+1] != "" {
			q[edits[n]] = strings.Split(edits[n+1], "|")
		}
	}
	return q
}

// authorize opens the sign-in page and answers it; it returns the query that goes back to the client.
func (b bench) authorize(edits ...string) url.Values {
	b.Helper()
	rec := b.do(http.MethodGet, "/tenant/authorize?"+authQuery(edits...).Encode(), "", "")
	page, err := parsePage(rec.Body, &url.URL{Scheme: "https", Host: "issuer.example.com", Path: "/tenant/authorize"})
	if err != nil || page.Form == nil {
		b.Fatalf("HTTP %d, no form: %v", rec.Code, page)
	}
	values := page.Form.Values
	values.Set("answer", "allow")
	rec = b.form("/authorize", values)
	to, err := url.Parse(rec.Header().Get("Location"))
	if rec.Code != http.StatusSeeOther || err != nil {
		b.Fatalf("HTTP %d %v: %s", rec.Code, err, rec.Body)
	}
	return to.Query()
}

func tokenForm(edits ...string) url.Values {
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {"public"}, "code_verifier": {testVerifier},
		"redirect_uri": {testRedirect}, "resource": {testResource}}
	for n := 0; n+1 < len(edits); n += 2 {
		form.Del(edits[n])
		if edits[n+1] != "" {
			form[edits[n]] = strings.Split(edits[n+1], "|")
		}
	}
	return form
}

func (b bench) signIn() map[string]any {
	b.Helper()
	return decode(b.T, b.form("/token", tokenForm("code", b.authorize().Get("code"))), 200)
}

func TestIssuerIdentifier(t *testing.T) {
	for id, good := range map[string]bool{
		"https://issuer.example.com": true, "https://issuer.example.com/a/": true, "http://127.0.0.1:80": true, "http://[::1]:1": true,
		"http://localhost": true, "http://issuer.example.com": false, "https://a.example?x=1": false, "https://a.example?": false,
		"https://a.example#x": false, "issuer": false, "": false, "https://u@a.example": false, "https://a.example/{x}": false,
	} {
		if _, err := NewIssuer(IssuerConfig{ID: id}); (err == nil) != good {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	b := newBench(t, nil)
	doc := decode(t, b.do("GET", "/.well-known/oauth-authorization-server/tenant", "", ""), 200)
	for name, want := range map[string]string{
		"issuer": testIssuer, "authorization_endpoint": testIssuer + "/authorize", "token_endpoint": testIssuer + "/token",
		"registration_endpoint": testIssuer + "/register", "revocation_endpoint": testIssuer + "/revoke", "jwks_uri": testIssuer + "/jwks",
	} {
		if doc[name] != want {
			t.Errorf("%s = %v, want %s", name, doc[name], want)
		}
	}
	lists, _ := json.Marshal([]any{doc["scopes_supported"], doc["code_challenge_methods_supported"], doc["grant_types_supported"],
		doc["authorization_response_iss_parameter_supported"], doc["client_id_metadata_document_supported"]})
	if want := `[["notes:read","notes:write","offline_access"],["S256"],["authorization_code","refresh_token"],true,false]`; string(lists) != want {
		t.Errorf("got  %s\nwant %s", lists, want)
	}
	b = newBench(t, func(c *IssuerConfig) { c.NoRegistration, c.NoRefresh = true, true })
	doc = decode(t, b.do("GET", "/.well-known/oauth-authorization-server/tenant", "", ""), 200)
	if _, ok := doc["registration_endpoint"]; ok || strings.Contains(doc["scopes_supported"].([]any)[0].(string), "offline") {
		t.Errorf("metadata promises too much: %v", doc)
	}
	if rec := b.do("POST", "/tenant/register", "application/json", "{}"); rec.Code != 404 {
		t.Errorf("registration: HTTP %d", rec.Code)
	}
}

func TestRegistration(t *testing.T) {
	b := newBench(t, nil)
	for _, tt := range []struct{ name, body, want string }{
		{"native", `{"application_type":"native","redirect_uris":["http://127.0.0.1/cb","http://[::1]/cb","http://localhost:1/cb"],"token_endpoint_auth_method":"none"}`, ""},
		{"web", `{"redirect_uris":["https://app.example/cb"]}`, ""},
		{"loopback without native", `{"redirect_uris":["http://127.0.0.1/cb"]}`, "invalid_redirect_uri"},
		{"http elsewhere", `{"application_type":"native","redirect_uris":["http://app.example/cb"]}`, "invalid_redirect_uri"},
		{"scheme of its own", `{"application_type":"native","redirect_uris":["javascript:alert(1)"]}`, "invalid_redirect_uri"},
		{"fragment", `{"redirect_uris":["https://app.example/cb#"]}`, "invalid_redirect_uri"},
		{"no redirect URI", `{"application_type":"native"}`, "invalid_redirect_uri"},
		{"strange type", `{"application_type":"tv","redirect_uris":["https://app.example/cb"]}`, "invalid_client_metadata"},
		{"strange method", `{"redirect_uris":["https://app.example/cb"],"token_endpoint_auth_method":"private_key_jwt"}`, "invalid_client_metadata"},
		{"other grant type", `{"redirect_uris":["https://app.example/cb"],"grant_types":["client_credentials"]}`, "invalid_client_metadata"},
		{"hidden letters in the name", `{"redirect_uris":["https://app.example/cb"],"client_name":"a\u202eb"}`, "invalid_client_metadata"},
		{"not JSON", `redirect_uris=x`, "invalid_client_metadata"},
		{"too large", `{"client_name":"` + strings.Repeat("x", maxBody) + `"}`, "invalid_client_metadata"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := b.do("POST", "/tenant/register", "application/json", tt.body)
			if tt.want != "" {
				if got := decode(t, rec, 400); got["error"] != tt.want {
					t.Errorf("got %v", got)
				}
				return
			}
			doc := decode(t, rec, 201)
			_, hasSecret := doc["client_secret"]
			if _, expires := doc["client_secret_expires_at"]; doc["client_id"] == "" || hasSecret == (doc["token_endpoint_auth_method"] == "none") || expires != hasSecret {
				t.Errorf("got %v", doc)
			}
		})
	}
}

func TestRegistrationManagement(t *testing.T) {
	b := newBench(t, func(c *IssuerConfig) { c.AuthMethods = []string{authPost} })
	doc := decode(t, b.do("POST", "/tenant/register", "application/json",
		`{"application_type":"native","redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"}`), 201)
	if doc["token_endpoint_auth_method"] != authPost || doc["client_secret"] == nil {
		t.Errorf("the issuer's own method is not in the answer: %v", doc)
	}
	at, _ := url.Parse(doc["registration_client_uri"].(string))
	if rec := b.do("DELETE", at.Path, "", "", "Authorization", "Bearer wrong"); rec.Code != 401 {
		t.Errorf("wrong token: HTTP %d", rec.Code)
	}
	for _, want := range []int{204, 401} {
		if rec := b.do("DELETE", at.Path, "", "", "Authorization", "Bearer "+doc["registration_access_token"].(string)); rec.Code != want {
			t.Errorf("delete: HTTP %d, want %d", rec.Code, want)
		}
	}
	if rec := b.do("GET", "/tenant/authorize?"+authQuery("client_id", doc["client_id"].(string)).Encode(), "", ""); rec.Code != 400 {
		t.Errorf("a deleted client may still ask: HTTP %d", rec.Code)
	}
}

func TestAuthorizeRefusals(t *testing.T) {
	b := newBench(t, nil)
	for _, tt := range []struct {
		name  string
		edits []string
		want  string // error code in the redirect; "" means a page and no redirect
	}{
		{"unknown client", []string{"client_id", "x"}, ""},
		{"no client", []string{"client_id", ""}, ""},
		{"foreign redirect", []string{"redirect_uri", "https://evil.example/callback"}, ""},
		{"other path", []string{"redirect_uri", "http://127.0.0.1:4711/other"}, ""},
		{"https instead of http", []string{"redirect_uri", "https://127.0.0.1:4711/callback"}, ""},
		{"localhost is not the address", []string{"redirect_uri", "http://localhost:4711/callback"}, ""},
		{"userinfo trick", []string{"redirect_uri", "http://127.0.0.1@evil.example/callback"}, ""},
		{"no PKCE", []string{"code_challenge", ""}, "invalid_request"},
		{"plain PKCE", []string{"code_challenge_method", "plain"}, "invalid_request"},
		{"short challenge", []string{"code_challenge", "YWJj"}, "invalid_request"},
		{"token in the redirect", []string{"response_type", "token"}, "unsupported_response_type"},
		{"prompt none", []string{"prompt", "none"}, "login_required"},
		{"relative resource", []string{"resource", "/mcp"}, "invalid_target"},
		{"resource with fragment", []string{"resource", testResource + "#x"}, "invalid_target"},
		{"two resources", []string{"resource", testResource + "|https://b.example"}, "invalid_target"},
		{"unknown scope", []string{"scope", "notes:read admin"}, "invalid_scope"},
		{"parameter twice", []string{"scope", "notes:read|notes:write"}, "invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := b.do("GET", "/tenant/authorize?"+authQuery(tt.edits...).Encode(), "", "")
			to, err := url.Parse(rec.Header().Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if rec.Code != 400 || to.String() != "" {
					t.Errorf("HTTP %d to %q", rec.Code, to)
				}
				return
			}
			q := to.Query()
			if rec.Code != 303 || to.Host != "127.0.0.1:4711" || q.Get("error") != tt.want || q.Get("state") != "s-1" || q.Get("iss") != testIssuer || q.Has("code") {
				t.Errorf("HTTP %d to %s", rec.Code, to)
			}
		})
	}
}

func TestExactRedirects(t *testing.T) {
	b := newBench(t, func(c *IssuerConfig) { c.ExactRedirects = true })
	if rec := b.do("GET", "/tenant/authorize?"+authQuery().Encode(), "", ""); rec.Code != 400 {
		t.Errorf("another port: HTTP %d", rec.Code)
	}
	if rec := b.do("GET", "/tenant/authorize?"+authQuery("redirect_uri", "http://127.0.0.1/callback").Encode(), "", ""); rec.Code != 200 {
		t.Errorf("as registered: HTTP %d", rec.Code)
	}
}

func TestSignInPage(t *testing.T) {
	const name = `<script>alert("x")</script>`
	b := newBench(t, func(c *IssuerConfig) { c.Clients[0].Name = name })
	rec := b.do("GET", "/tenant/authorize?"+authQuery("login_hint", "carol").Encode(), "", "")
	body := rec.Body.String()
	csp := rec.Header().Get("Content-Security-Policy")
	_, style, _ := strings.Cut(body, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	if style == "" || !strings.Contains(csp, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("the policy does not let the style through: %s", csp)
	}
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("%s is missing in %s", want, csp)
		}
	}
	if strings.Contains(body, "<script") || rec.Header().Get("Cache-Control") != "no-store" || rec.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers %v, script %v", rec.Header(), strings.Contains(body, "<script"))
	}
	page, err := parsePage(strings.NewReader(body), &url.URL{Scheme: "https", Host: "issuer.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(page.Lines, "\n")
	for _, want := range []string{name, "mcp.example.com", testResource, "Read your notes notes:read", "offline_access", "127.0.0.1:4711"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not on the page:\n%s", want, text)
		}
	}
	if got := page.Form.Choices["account"]; !slices.Equal(got, []string{"carol", "alice", "bob"}) || page.Form.Values.Get("account") != "carol" {
		t.Errorf("accounts %v, preset %q", got, page.Form.Values.Get("account"))
	}
	if len(page.Form.Buttons) != 2 || page.Form.Buttons[0].Text != "Sign in and allow" || page.Form.Buttons[1].Text != "Cancel" {
		t.Errorf("buttons %v", page.Form.Buttons)
	}
}

func TestSignInAnswers(t *testing.T) {
	b := newBench(t, nil)
	open := func() url.Values {
		t.Helper()
		rec := b.do("GET", "/tenant/authorize?"+authQuery().Encode(), "", "")
		page, err := parsePage(rec.Body, &url.URL{Scheme: "https", Host: "issuer.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		return page.Form.Values
	}
	values := open()
	values.Set("answer", "allow")
	values.Del("account")
	if rec := b.form("/authorize", values); rec.Code != 422 || !strings.Contains(rec.Body.String(), `role="alert"`) {
		t.Errorf("nobody: HTTP %d", rec.Code)
	}
	values.Set("account", "alice")
	if rec := b.form("/authorize", values); rec.Code != 303 || rec.Header().Get("Location") == "" {
		t.Errorf("on the second try: HTTP %d", rec.Code)
	}
	if rec := b.form("/authorize", values); rec.Code != 400 || rec.Header().Get("Location") != "" {
		t.Errorf("answered twice: HTTP %d", rec.Code)
	}
	values = open()
	if rec := b.form("/authorize", values); !strings.Contains(rec.Header().Get("Location"), "error=access_denied") {
		t.Errorf("no button: HTTP %d to %q; only a pressed button allows", rec.Code, rec.Header().Get("Location"))
	}
}

func TestExchange(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edits []string
		want  string
	}{
		{"good", nil, ""},
		{"no resource", []string{"resource", ""}, ""},
		{"wrong verifier", []string{"code_verifier", strings.Repeat("x", 43)}, "invalid_grant"},
		{"no verifier", []string{"code_verifier", ""}, "invalid_grant"},
		{"other redirect", []string{"redirect_uri", "http://127.0.0.1:4712/callback"}, "invalid_grant"},
		{"no redirect", []string{"redirect_uri", ""}, "invalid_grant"},
		{"other resource", []string{"resource", "https://b.example"}, "invalid_target"},
		{"other client", []string{"client_id", "other"}, "invalid_grant"},
		{"unknown client", []string{"client_id", "nobody"}, "invalid_client"},
		{"wrong code", []string{"code", "x"}, "invalid_grant"},
		{"verifier twice", []string{"code_verifier", testVerifier + "|x"}, "invalid_request"},
		{"other grant type", []string{"grant_type", "password"}, "unsupported_grant_type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil)
			form := tokenForm(append([]string{"code", b.authorize().Get("code")}, tt.edits...)...)
			rec := b.form("/token", form)
			if rec.Header().Get("Cache-Control") != "no-store" {
				t.Error("the answer may be cached")
			}
			if tt.want == "" {
				if got := decode(t, rec, 200); got["access_token"] == "" || got["refresh_token"] == "" {
					t.Errorf("got %v", got)
				}
				return
			}
			status := 400
			if tt.want == "invalid_client" {
				status = 401
			}
			if got := decode(t, rec, status)["error"]; got != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
}

func TestCodeIsSingleUse(t *testing.T) {
	b := newBench(t, nil)
	form := tokenForm("code", b.authorize().Get("code"))
	first := decode(t, b.form("/token", form), 200)
	if _, ok := b.Inspect(first["access_token"].(string)); !ok {
		t.Fatal("the token is not known")
	}
	if got := decode(t, b.form("/token", form), 400)["error"]; got != "invalid_grant" {
		t.Errorf("replay: %v", got)
	}
	if _, ok := b.Inspect(first["access_token"].(string)); ok {
		t.Error("a replayed code leaves its token valid")
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {"public"}, "refresh_token": {first["refresh_token"].(string)}}
	decode(t, b.form("/token", refresh), 400)

	form = tokenForm("code", b.authorize().Get("code"), "code_verifier", strings.Repeat("x", 43))
	decode(t, b.form("/token", form), 400)
	form.Set("code_verifier", testVerifier)
	if rec := b.form("/token", form); rec.Code != 400 {
		t.Errorf("a code that met a wrong verifier is still good: HTTP %d", rec.Code)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		code := b.authorize().Get("code")
		time.Sleep(codeTTL)
		decode(t, b.form("/token", tokenForm("code", code)), 400)

		first := b.signIn()
		time.Sleep(10 * time.Minute)
		if _, ok := b.Inspect(first["access_token"].(string)); ok {
			t.Error("the access token outlives its expiry")
		}
		renew := func(token any, want int) map[string]any {
			t.Helper()
			return decode(t, b.form("/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"public"}, "refresh_token": {token.(string)}}), want)
		}
		second := renew(first["refresh_token"], 200)
		time.Sleep(30*24*time.Hour - time.Second)
		third := renew(second["refresh_token"], 200)
		time.Sleep(30 * 24 * time.Hour)
		renew(third["refresh_token"], 400)

		values := url.Values{}
		rec := b.do("GET", "/tenant/authorize?"+authQuery().Encode(), "", "")
		if page, err := parsePage(rec.Body, &url.URL{Scheme: "https", Host: "x"}); err == nil {
			values = page.Form.Values
		}
		time.Sleep(pendingTTL)
		values.Set("answer", "allow")
		if rec := b.form("/authorize", values); rec.Code != 400 || !strings.Contains(rec.Body.String(), "This sign-in is over") {
			t.Errorf("an old page was answered with HTTP %d", rec.Code)
		}
	})
}

func TestClientAuthentication(t *testing.T) {
	basic := func(id, value string) []string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(value))
		return []string{"Authorization", r.Header.Get("Authorization")}
	}
	for _, tt := range []struct {
		name, client string
		edits        []string
		headers      []string
		want         int
	}{
		{"basic", "basic", []string{"client_id", ""}, basic("basic", "a:b/+ %"), 200},
		{"basic, client_id repeated", "basic", []string{"client_id", "basic"}, basic("basic", "a:b/+ %"), 200},
		{"basic, other client_id", "basic", []string{"client_id", "post"}, basic("basic", "a:b/+ %"), 401},
		{"basic, wrong secret", "basic", []string{"client_id", ""}, basic("basic", "x"), 401},
		{"basic client without secret", "basic", []string{"client_id", "basic"}, nil, 401},
		{"basic client by post", "basic", []string{"client_id", "basic", "client_secret", "a:b/+ %"}, nil, 401},
		{"both ways", "basic", []string{"client_id", "basic", "client_secret", "a:b/+ %"}, basic("basic", "a:b/+ %"), 401},
		{"post", "post", []string{"client_id", "post", "client_secret", "p"}, nil, 200},
		{"post, wrong secret", "post", []string{"client_id", "post", "client_secret", "q"}, nil, 401},
		{"public with a secret", "public", []string{"client_secret", "x"}, nil, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil)
			redirect := "https://app.example/cb"
			if tt.client == "public" {
				redirect = testRedirect
			}
			code := b.authorize("client_id", tt.client, "redirect_uri", redirect).Get("code")
			rec := b.form("/token", tokenForm(append([]string{"code", code, "redirect_uri", redirect}, tt.edits...)...), tt.headers...)
			answer := decode(t, rec, tt.want)
			if tt.want == 401 && (answer["error"] != "invalid_client" || (rec.Header().Get("WWW-Authenticate") == "") != (tt.headers == nil)) {
				t.Errorf("got %v, challenge %q", answer, rec.Header().Get("WWW-Authenticate"))
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	b := newBench(t, nil)
	renew := func(token any, edits ...string) *httptest.ResponseRecorder {
		t.Helper()
		return b.form("/token", tokenForm(append([]string{"grant_type", "refresh_token", "refresh_token", token.(string)}, edits...)...))
	}
	first := b.signIn()
	for _, tt := range []struct {
		name, want string
		edits      []string
	}{
		{"wider", "invalid_scope", []string{"scope", "notes:read admin"}},
		{"other resource", "invalid_target", []string{"resource", "https://b.example"}},
		{"other client", "invalid_grant", []string{"client_id", "other"}},
	} {
		if got := decode(t, renew(first["refresh_token"], tt.edits...), 400)["error"]; got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	second := decode(t, renew(first["refresh_token"], "scope", "notes:read"), 200) // none of the refusals used it up
	if second["scope"] != "notes:read" || second["refresh_token"] == first["refresh_token"] {
		t.Errorf("narrower: %v", second["scope"])
	}
	third := decode(t, renew(second["refresh_token"]), 200)
	if third["scope"] != "notes:read notes:write offline_access" {
		t.Errorf("a narrower token narrowed the grant: %v", third["scope"])
	}
	decode(t, renew(first["refresh_token"]), 400)
	decode(t, renew(third["refresh_token"]), 400) // the replay took the grant
}

func TestRefreshTokenIsForThoseWhoAsk(t *testing.T) {
	b := newBench(t, nil)
	for scope, want := range map[string]bool{"notes:read": false, "notes:read offline_access": true, "": true} {
		answer := decode(t, b.form("/token", tokenForm("code", b.authorize("scope", scope).Get("code"))), 200)
		if got := answer["refresh_token"] != nil; got != want {
			t.Errorf("scope %q: refresh token %v", scope, got)
		}
	}
}

func TestRevoke(t *testing.T) {
	b := newBench(t, nil)
	alive := func(answer map[string]any) bool {
		_, ok := b.Inspect(answer["access_token"].(string))
		return ok
	}
	revoke := func(token any, client string) int {
		return b.form("/revoke", url.Values{"token": {token.(string)}, "client_id": {client}}).Code
	}
	one, two := b.signIn(), b.signIn()
	if code := revoke(one["refresh_token"], "other"); code != 400 || !alive(one) {
		t.Errorf("another client's revocation: HTTP %d, alive %v", code, alive(one))
	}
	if code := revoke(one["refresh_token"], "public"); code != 200 || alive(one) {
		t.Errorf("refresh token: HTTP %d, access token alive %v", code, alive(one))
	}
	if code := revoke(two["access_token"], "public"); code != 200 || alive(two) {
		t.Errorf("access token: HTTP %d, alive %v", code, alive(two))
	}
	decode(t, b.form("/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"public"}, "refresh_token": {two["refresh_token"].(string)}}), 200)
	if code := revoke("unknown", "public"); code != 200 {
		t.Errorf("unknown token: HTTP %d", code)
	}
	if code := revoke("unknown", "nobody"); code != 401 {
		t.Errorf("unknown client: HTTP %d", code)
	}
}

func TestAccessTokenIsRFC9068(t *testing.T) {
	b := newBench(t, nil)
	token := b.signIn()["access_token"].(string)
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(b.do("GET", "/tenant/jwks", "", "").Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 || !set.Keys[0].IsPublic() || parsed.Headers[0].KeyID != set.Keys[0].KeyID || parsed.Headers[0].ExtraHeaders["typ"] != "at+jwt" {
		t.Errorf("head %v, keys %d", parsed.Headers[0], len(set.Keys))
	}
	got := map[string]any{}
	if err := parsed.Claims(set.Keys[0].Key, &got); err != nil {
		t.Fatal(err)
	}
	if got["iss"] != testIssuer || got["sub"] != "alice" || got["aud"] != testResource || got["client_id"] != "public" ||
		got["scope"] != "notes:read notes:write offline_access" || got["jti"] == "" || got["exp"].(float64)-got["iat"].(float64) != 600 {
		t.Errorf("claims %v", got)
	}
}

func TestTokenWithoutResourceOpensNothingElse(t *testing.T) {
	b := newBench(t, nil)
	answer := decode(t, b.form("/token", tokenForm("code", b.authorize("resource", "").Get("code"), "resource", "")), 200)
	if access, ok := b.Inspect(answer["access_token"].(string)); !ok || access.Audience != testIssuer {
		t.Errorf("audience %q", access.Audience)
	}
}

func TestClientDocuments(t *testing.T) {
	const id = "https://client.example/doc.json"
	good := `{"client_id":"` + id + `","client_name":"Doc","redirect_uris":["http://127.0.0.1/callback"],"grant_types":["authorization_code","refresh_token"]}`
	for _, tt := range []struct {
		name, doc string
		err       error
		want      int
	}{
		{"good", good, nil, 200},
		{"unreachable", "", errors.New("down"), 400},
		{"other client_id", strings.Replace(good, "doc.json", "other.json", 1), nil, 400},
		{"no name", strings.Replace(good, `"Doc"`, `""`, 1), nil, 400},
		{"shared secret", strings.Replace(good, `"client_name"`, `"token_endpoint_auth_method":"client_secret_post","client_name"`, 1), nil, 400},
		{"no JSON", "<html>", nil, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, func(c *IssuerConfig) {
				c.FetchDocument = func(_ context.Context, address string) ([]byte, error) {
					if address != id {
						t.Errorf("fetched %s", address)
					}
					return []byte(tt.doc), tt.err
				}
			})
			if rec := b.do("GET", "/tenant/authorize?"+authQuery("client_id", id).Encode(), "", ""); rec.Code != tt.want {
				t.Fatalf("HTTP %d", rec.Code)
			}
			if tt.want == 200 {
				decode(t, b.form("/token", tokenForm("code", b.authorize("client_id", id).Get("code"), "client_id", id)), 200)
			}
		})
	}
}

func TestTableForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := newTable[int](2)
		tab.put("a", 1, time.Minute)
		tab.put("b", 2, time.Hour)
		tab.put("a", 3, time.Minute) // replaces, and makes no room
		tab.put("c", 4, time.Hour)   // a ends first
		if _, ok := tab.get("a"); ok || len(tab.rows) != 2 {
			t.Errorf("rows %v", tab.rows)
		}
		if v, ok := tab.get("b"); !ok || v != 2 {
			t.Errorf("b = %d, %v", v, ok)
		}
		time.Sleep(time.Hour)
		if _, ok := tab.get("b"); ok {
			t.Error("b outlives its end")
		}
		tab.put("d", 5, time.Hour)
		if len(tab.rows) != 1 {
			t.Errorf("the expired rows are still there: %v", tab.rows)
		}
	})
}
