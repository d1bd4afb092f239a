package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// site is an issuer and a server on real loopback ports.
type site struct {
	*testing.T
	issuer   *Issuer
	server   string // the resource
	keyLoads atomic.Int32
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{T: t}
	issuerAt, serverAt := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	issuer, err := NewIssuer(IssuerConfig{ID: "http://" + issuerAt.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	s.issuer, s.server = issuer, "http://"+serverAt.Listener.Addr().String()+"/mcp"
	handler, err := NewServer(ServerConfig{Resource: s.server, Issuer: issuer.ID(), client: issuerAt.Client()})
	if err != nil {
		t.Fatal(err)
	}
	issuerAt.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == JWKSPath {
			s.keyLoads.Add(1)
		}
		issuer.ServeHTTP(w, r)
	})
	serverAt.Config.Handler = handler
	issuerAt.Start()
	serverAt.Start()
	t.Cleanup(issuerAt.Close)
	t.Cleanup(serverAt.Close)
	return s
}

// token signs claims; a nil edit gives a token that is good for reading.
func (s *site) token(issuer *Issuer, edit func(map[string]any)) string {
	s.Helper()
	now := time.Now()
	c := map[string]any{"iss": s.issuer.ID(), "sub": "alice", "aud": s.server, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"jti": random(), "client_id": "c", "scope": "notes:read offline_access"}
	if edit != nil {
		edit(c)
	}
	issuer.mu.Lock()
	defer issuer.mu.Unlock()
	signed, err := issuer.sign(c)
	if err != nil {
		s.Fatal(err)
	}
	return signed
}

// bearerClient sends a token with each request and notes the last refusal.
type bearerClient struct {
	token   string
	refusal *http.Response
}

func (b *bearerClient) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if b.token != "" {
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	resp, err := testTransport.RoundTrip(r)
	if err == nil && resp.StatusCode >= 400 && b.refusal == nil {
		b.refusal = resp
	}
	return resp, err
}

var testTransport = &http.Transport{DisableKeepAlives: true}

func (s *site) connect(b *bearerClient) (*mcp.ClientSession, error) {
	return mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(s.Context(), &mcp.StreamableClientTransport{
		Endpoint: s.server, HTTPClient: &http.Client{Transport: b}, DisableStandaloneSSE: true, MaxRetries: -1}, nil)
}

func TestServerLetsGoodTokensIn(t *testing.T) {
	s := newSite(t)
	b := &bearerClient{token: s.token(s.issuer, nil)}
	session, err := s.connect(b)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	answer, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "list_notes", Arguments: map[string]any{}})
	if err != nil || answer.IsError {
		t.Fatalf("list_notes: %v %v", answer, err)
	}
	raw, _ := json.Marshal(answer.StructuredContent)
	var list NoteList
	if err := json.Unmarshal(raw, &list); err != nil || list.Account != "alice" || len(list.Notes) != 3 {
		t.Errorf("notes: %s %v", raw, err)
	}
	answer, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami", Arguments: map[string]any{}})
	if err != nil || !strings.Contains(answer.Content[0].(*mcp.TextContent).Text, "You are alice") {
		t.Errorf("whoami: %v %v", answer, err)
	}

	// Writing needs more than this token has: 403 with what would do.
	if _, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "add_note", Arguments: map[string]any{"text": "x"}}); err == nil {
		t.Fatal("add_note worked without its scope")
	}
	want := map[string]string{"error": "insufficient_scope", "scope": "notes:read notes:write"}
	checkChallenge(t, b.refusal, 403, want)

	writer, err := s.connect(&bearerClient{token: s.token(s.issuer, func(c map[string]any) { c["scope"] = "notes:read notes:write" })})
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	answer, err = writer.CallTool(t.Context(), &mcp.CallToolParams{Name: "add_note", Arguments: map[string]any{"text": "Buy string"}})
	if err != nil || answer.IsError || !strings.Contains(answer.Content[0].(*mcp.TextContent).Text, "4 notes") {
		t.Errorf("add_note: %v %v", answer, err)
	}
	if n := s.keyLoads.Load(); n != 1 {
		t.Errorf("keys were fetched %d times, want once", n)
	}
}

func TestServerRefusals(t *testing.T) {
	s := newSite(t)
	stranger, err := NewIssuer(IssuerConfig{ID: s.issuer.ID()}) // the same name, another key
	if err != nil {
		t.Fatal(err)
	}
	good := s.token(s.issuer, nil)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	claim := func(name string, value any) string {
		return s.token(s.issuer, func(c map[string]any) {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		})
	}
	for _, tt := range []struct {
		name, token, code, description string
		status                         int
	}{
		{"none", "", "", "", 401},
		{"expired", claim("exp", time.Now().Add(-time.Second).Unix()), "invalid_token", "the token has expired", 401},
		{"without end", claim("exp", nil), "invalid_token", "the token lacks exp or sub", 401},
		{"not yet", claim("nbf", time.Now().Add(time.Hour).Unix()), "invalid_token", "the token is not valid now", 401},
		{"wrong audience", claim("aud", "https://other.example/mcp"), "invalid_token", "the token is for another audience", 401},
		{"audience is a prefix", claim("aud", strings.TrimSuffix(s.server, "/mcp")), "invalid_token", "the token is for another audience", 401},
		{"no audience", claim("aud", nil), "invalid_token", "the token is for another audience", 401},
		{"wrong issuer", claim("iss", "https://other.example"), "invalid_token", "the token is from another issuer", 401},
		{"no issuer", claim("iss", nil), "invalid_token", "the token is from another issuer", 401},
		{"stranger's key", s.token(stranger, nil), "invalid_token", "the signature is not the issuer's", 401},
		{"stranger's key, known kid", withKid(t, s), "invalid_token", "the signature is not the issuer's", 401},
		{"changed claims", head + "." + strings.Replace(payload, payload[:8], "eyJhdWQi", 1) + "x." + signature, "invalid_token", "", 401},
		{"unsigned", unsigned(payload), "invalid_token", "the token is not a signed JWT", 401},
		{"not an access token", idToken(t, s), "invalid_token", "the JWT is not an access token", 401},
		{"no JWT", "opaque", "invalid_token", "the token is not a signed JWT", 401},
		{"no scope", claim("scope", "offline_access"), "insufficient_scope", "this needs a wider scope", 403},
		{"half a scope", claim("scope", "notes:read:all"), "insufficient_scope", "this needs a wider scope", 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &bearerClient{token: tt.token}
			session, err := s.connect(b)
			if err == nil {
				session.Close()
				t.Fatal("the server let it in")
			}
			want := map[string]string{"error": tt.code, "scope": "notes:read",
				"resource_metadata": strings.TrimSuffix(s.server, "/mcp") + ResourcePath + "/mcp"}
			if tt.description != "" {
				want["error_description"] = tt.description
			}
			checkChallenge(t, b.refusal, tt.status, want)
		})
	}
}

func checkChallenge(t *testing.T, resp *http.Response, status int, want map[string]string) {
	t.Helper()
	if resp == nil || resp.StatusCode != status {
		t.Fatalf("got %v, want HTTP %d", resp, status)
	}
	challenges, err := oauthex.ParseWWWAuthenticate(resp.Header.Values("WWW-Authenticate"))
	if err != nil || len(challenges) != 1 || challenges[0].Scheme != "bearer" {
		t.Fatalf("challenge %v: %v", resp.Header["Www-Authenticate"], err)
	}
	for name, value := range want {
		if got := challenges[0].Params[name]; got != value {
			t.Errorf("%s = %q, want %q", name, got, value)
		}
	}
}

// withKid signs with a stranger's key under the kid of the real one.
func withKid(t *testing.T, s *site) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := &Issuer{keys: []signingKey{{signer: signer(t, private, s.issuer.keys[0].public.KeyID, "at+jwt")}}}
	return s.token(forged, nil)
}

// idToken is signed by the issuer and right in every claim, but it says that it is something else.
func idToken(t *testing.T, s *site) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := signingKey{jose.JSONWebKey{Key: private.Public(), KeyID: "id"}, signer(t, private, "id", "JWT")}
	s.issuer.mu.Lock()
	s.issuer.keys = append([]signingKey{key}, s.issuer.keys...)
	s.issuer.mu.Unlock()
	return s.token(&Issuer{keys: []signingKey{key}}, nil)
}

func signer(t *testing.T, key *ecdsa.PrivateKey, kid, kind string) jose.Signer {
	t.Helper()
	out, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(kind)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func unsigned(payload string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + payload + "."
}

func TestServerMetadata(t *testing.T) {
	s := newSite(t)
	origin := strings.TrimSuffix(s.server, "/mcp")
	doc, err := oauthex.GetProtectedResourceMetadata(t.Context(), origin+ResourcePath+"/mcp", s.server, &http.Client{Transport: testTransport})
	if err != nil {
		t.Fatal(err)
	}
	if doc.AuthorizationServers[0] != s.issuer.ID() || strings.Join(doc.ScopesSupported, " ") != "notes:read notes:write" || doc.ResourceName != "Demo notes" {
		t.Errorf("got %+v", doc)
	}
	resp, err := (&http.Client{Transport: testTransport}).Get(origin + ResourcePath)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("the root's metadata: HTTP %d", resp.StatusCode)
	}
}

// After a rotation the server meets a kid it does not know and fetches the keys again; invented kids do not make it
// fetch without end, and keys that cannot be had are no fault of the token.
func TestServerKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{T: t, server: testResource}
		issuer, err := NewIssuer(IssuerConfig{ID: testIssuer})
		if err != nil {
			t.Fatal(err)
		}
		s.issuer = issuer
		stranger, err := NewIssuer(IssuerConfig{ID: testIssuer})
		if err != nil {
			t.Fatal(err)
		}
		down := false
		transport := roundTrip(func(r *http.Request) (*http.Response, error) {
			if down {
				return nil, &net.OpError{Op: "dial", Err: errors.New("down")}
			}
			if r.URL.Path == "/tenant"+JWKSPath {
				s.keyLoads.Add(1)
			}
			rec := httptest.NewRecorder()
			issuer.ServeHTTP(rec, httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.Path, nil))
			return rec.Result(), nil
		})
		v := &verifier{issuer: testIssuer, resource: testResource, client: &http.Client{Transport: transport}}
		check := func(what string, token string, good bool, loads int32) {
			t.Helper()
			if _, err := v.verify(context.Background(), token); (err == nil) != good || s.keyLoads.Load() != loads {
				t.Errorf("%s: %v, keys fetched %d times, want %d", what, err, s.keyLoads.Load(), loads)
			}
		}
		down = true
		if _, err := v.verify(context.Background(), s.token(issuer, nil)); !errors.Is(err, errKeys) {
			t.Errorf("without keys: %v", err)
		}
		down = false
		check("first", s.token(issuer, nil), true, 1)
		check("second", s.token(issuer, nil), true, 1)
		old := s.token(issuer, nil)
		if err := issuer.rotateKey(); err != nil {
			t.Fatal(err)
		}
		check("rotated", s.token(issuer, nil), true, 2)
		check("signed before the rotation", old, true, 2)
		check("invented kid at once", s.token(stranger, nil), false, 2)
		time.Sleep(missPause)
		check("invented kid later", s.token(stranger, nil), false, 3)
		check("invented kid again", s.token(stranger, nil), false, 3)
		time.Sleep(keysTTL)
		check("old keys", s.token(issuer, nil), true, 4)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestServerAnswersUnavailableWithoutKeys(t *testing.T) {
	s := newSite(t)
	token := s.token(s.issuer, nil)
	handler, err := NewServer(ServerConfig{Resource: s.server, Issuer: s.issuer.ID(), jwksURL: s.issuer.ID() + "/nothing"})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/mcp", strings.NewReader("{}"))
	r.Header.Set("Authorization", "Bearer "+token)
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, r)
	if rec.Code != 503 || rec.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("HTTP %d, challenge %q", rec.Code, rec.Header().Get("WWW-Authenticate"))
	}
}

func TestNeededScopes(t *testing.T) {
	s := &server{cfg: ServerConfig{scopes: []string{"notes:read"}}}
	for body, want := range map[string]string{
		`{"method":"tools/list"}`:                                                  "notes:read",
		`{"method":"tools/call","params":{"name":"add_note"}}`:                     "notes:read notes:write",
		`{"method":"tools/call","params":{"name":"whoami"}}`:                       "notes:read",
		`[{"method":"ping"},{"method":"tools/call","params":{"name":"add_note"}}]`: "notes:read notes:write",
		`{"method":"prompts/get","params":{"name":"add_note"}}`:                    "notes:read",
		`not json`: "notes:read",
		``:         "notes:read",
	} {
		if got := strings.Join(s.needed([]byte(body)), " "); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}

func TestServerConfig(t *testing.T) {
	for _, cfg := range []ServerConfig{
		{Resource: "http://mcp.example.com/mcp", Issuer: testIssuer}, {Resource: "/mcp", Issuer: testIssuer},
		{Resource: testResource + "#x", Issuer: testIssuer}, {Resource: testResource + "?x", Issuer: testIssuer}, {Resource: testResource},
	} {
		if _, err := NewServer(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
