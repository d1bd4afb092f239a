//go:build e2e && linux

package headless

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
)

// boundServer is an MCP server that takes only tokens that are bound to a key (RFC 9449): the demo's behind a door of its own,
// which looks at each proof and wants a nonce in it.
type boundServer struct {
	t     *testing.T
	url   string
	inner http.Handler

	mu     sync.Mutex
	seen   map[string]bool // proofs
	passed int
}

const serverNonce = "nonce-of-the-server"

func newBoundServer(t *testing.T, i *rig.Issuer) *boundServer {
	t.Helper()
	listener := rig.Listen(t)
	s := &boundServer{t: t, url: rig.ServerURL(listener), seen: map[string]bool{}}
	var err error
	if s.inner, err = demo.NewServer(demo.ServerConfig{Resource: s.url, Issuer: i.URL}); err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: s, ReadHeaderTimeout: rig.Patience}
	go web.Serve(listener)
	t.Cleanup(func() { web.Close() })
	return s
}

// ServeHTTP implements http.Handler.
func (s *boundServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/.well-known/") {
		s.metadata(w, r)
		return
	}
	token, bound := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP ")
	if !bound { // a bearer of a bound token, or nobody
		s.refuse(w, "")
		return
	}
	if code := s.check(r, token); code != "" {
		s.refuse(w, code)
		return
	}
	r.Header.Set("Authorization", "Bearer "+token) // for the other five checks
	s.inner.ServeHTTP(w, r)
}

func (s *boundServer) metadata(w http.ResponseWriter, r *http.Request) {
	inner := httptest.NewRecorder()
	s.inner.ServeHTTP(inner, r)
	var doc map[string]any
	if json.Unmarshal(inner.Body.Bytes(), &doc) != nil {
		w.WriteHeader(inner.Code)
		return
	}
	doc["dpop_bound_access_tokens_required"], doc["dpop_signing_alg_values_supported"] = true, []string{"ES256"}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(doc)
}

func (s *boundServer) refuse(w http.ResponseWriter, code string) {
	challenge := `DPoP algs="ES256", scope="notes:read", resource_metadata="` + strings.TrimSuffix(s.url, "/mcp") + `/.well-known/oauth-protected-resource/mcp"`
	if code != "" {
		challenge += `, error="` + code + `"`
	}
	w.Header().Set("DPoP-Nonce", serverNonce)
	w.Header().Set("WWW-Authenticate", challenge)
	w.WriteHeader(http.StatusUnauthorized)
}

// check is RFC 9449 §4.3 and §7.1, and says which error it comes to.
func (s *boundServer) check(r *http.Request, token string) (code string) {
	const bad = "invalid_dpop_proof"
	proofs := r.Header.Values("DPoP")
	if len(proofs) != 1 {
		return bad
	}
	proof, err := jwt.ParseSigned(proofs[0], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || proof.Headers[0].JSONWebKey == nil || !proof.Headers[0].JSONWebKey.IsPublic() || proof.Headers[0].ExtraHeaders["typ"] != "dpop+jwt" {
		return bad
	}
	key := proof.Headers[0].JSONWebKey
	var claims struct {
		ID     string           `json:"jti"`
		Method string           `json:"htm"`
		URL    string           `json:"htu"`
		At     *jwt.NumericDate `json:"iat"`
		Token  string           `json:"ath"`
		Nonce  string           `json:"nonce"`
	}
	sum := sha256.Sum256([]byte(token))
	err = proof.Claims(key, &claims)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil, claims.ID == "", s.seen[claims.ID], claims.Method != r.Method, claims.URL != s.url, claims.At == nil,
		time.Since(claims.At.Time()).Abs() > time.Minute, claims.Token != base64.RawURLEncoding.EncodeToString(sum[:]):
		return bad
	case claims.Nonce != serverNonce:
		return "use_dpop_nonce"
	}
	s.seen[claims.ID] = true
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	parts := strings.Split(token, ".")
	if err != nil || len(parts) != 3 {
		return "invalid_token"
	}
	var access struct {
		Binding struct {
			Key string `json:"jkt"`
		} `json:"cnf"`
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(body, &access) != nil || access.Binding.Key != base64.RawURLEncoding.EncodeToString(thumbprint) {
		return "invalid_token"
	}
	s.passed++
	return ""
}

// TestBoundTokens: a host behind vk bridge uses a server that takes only tokens bound to a key. oidc-provider binds them, and
// the refresh token too, and wants nonces; so does the server. The host knows nothing of it.
func TestBoundTokens(t *testing.T) {
	t.Parallel()
	h := rig.New(t)
	i := h.Issuer("--access-ttl", "8", "--nonces")
	server := newBoundServer(t, i)
	opener, pages := h.Opener()
	h.App("--policy", h.Write("policy.json", rig.Everyone), "--browser", opener)

	opened := make(chan struct{})
	go func() {
		defer close(opened)
		signInAt(t, <-pages)
	}()
	host, err := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil).Connect(t.Context(),
		&mcp.CommandTransport{Command: h.Command(rig.Program(t, "vk"), "bridge", server.url)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	answers := func() {
		t.Helper()
		if answer, err := host.CallTool(t.Context(), &mcp.CallToolParams{Name: "list_notes", Arguments: map[string]any{}}); err != nil || answer.IsError {
			t.Fatalf("%v, %+v", err, answer)
		}
	}
	answers()
	<-opened
	before := server.count()
	time.Sleep(8 * time.Second) // the token runs out
	answers()
	if n := server.count(); before == 0 || n <= before {
		t.Errorf("%d proofs were good, then %d", before, n)
	}
	rig.Until(t, "the issuer tells of the refresh", func() bool { return len(i.Refreshes()) > 0 })
	for _, e := range i.Happened(func(e rig.Event) bool { return e.Event == "token" && e.OK }) {
		if e.TokenType != "DPoP" {
			t.Errorf("the issuer gave a token of the type %q", e.TokenType)
		}
	}
	if n := i.SignIns(); n != 1 {
		t.Errorf("%d sign-ins", n)
	}
	if g := h.Grants()[0]; !g.Bound || !g.Bindable {
		t.Errorf("grant %+v", g)
	}
	h.VK("token", server.url).Fails(2, "bound to a key (DPoP)", "proof")

	// A host may send the request itself. The proof is for one POST there, and without it the token is of no use.
	client := h.Client()
	defer client.Close()
	token, err := client.Token(t.Context(), localapi.TokenRequest{Resource: server.url, Proof: &localapi.Proof{Method: http.MethodPost, URL: server.url, Nonce: serverNonce}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		scheme string
		good   bool
	}{{"Bearer", false}, {token.TokenType, true}, {token.TokenType, false}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.url, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", test.scheme+" "+token.AccessToken.Reveal())
		req.Header.Set("DPoP", token.DPoP)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if good := resp.StatusCode != http.StatusUnauthorized; good != test.good {
			t.Errorf("%s: HTTP %d", test.scheme, resp.StatusCode)
		}
	}
}

func (s *boundServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.passed
}
