package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/valetkey/valetkey/internal/secret"
)

// claims are a proof's, checked against the key it carries.
type claims struct {
	jwt.Claims
	Method  string `json:"htm"`
	Address string `json:"htu"`
	Token   string `json:"ath"`
	Nonce   string `json:"nonce"`
}

func check(t *testing.T, proof string) (claims, jose.Header) {
	t.Helper()
	parsed, err := jwt.ParseSigned(proof, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	head := parsed.Headers[0]
	if head.JSONWebKey == nil || !head.JSONWebKey.IsPublic() || head.ExtraHeaders["typ"] != "dpop+jwt" {
		t.Fatalf("header %+v", head)
	}
	var c claims
	if err := parsed.Claims(head.JSONWebKey, &c); err != nil {
		t.Fatal(err)
	}
	return c, head
}

func newKey(t *testing.T) *Key {
	t.Helper()
	k, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestProof(t *testing.T) {
	k := newKey(t)
	token := secret.New("at")
	proof, err := k.Proof("POST", "https://u:p@mcp.example.com/mcp?tenant=7#x", token, "")
	if err != nil {
		t.Fatal(err)
	}
	c, head := check(t, proof)
	sum := sha256.Sum256([]byte("at"))
	if c.Method != "POST" || c.Address != "https://mcp.example.com/mcp" || c.Token != base64.RawURLEncoding.EncodeToString(sum[:]) || c.Nonce != "" {
		t.Errorf("claims %+v", c)
	}
	if age := time.Since(c.IssuedAt.Time()); age < -time.Second || age > 2*time.Second || c.ID == "" {
		t.Errorf("made %v ago, id %q", age, c.ID)
	}
	if strings.Contains(proof, "at.") || head.KeyID != "" {
		t.Errorf("header %+v", head)
	}

	content, err := base64.RawURLEncoding.DecodeString(strings.Split(proof, ".")[1])
	var all map[string]any
	if err != nil || json.Unmarshal(content, &all) != nil || !slices.Equal(slices.Sorted(maps.Keys(all)), []string{"ath", "htm", "htu", "iat", "jti"}) {
		t.Errorf("claims %s, %v", content, err) // XDP-7: no content_digest among them
	}

	again, _ := k.Proof("POST", "https://mcp.example.com/mcp", token, "")
	if d, _ := check(t, again); d.ID == c.ID {
		t.Error("two proofs have one jti")
	}
	bare, _ := k.Proof("POST", "https://issuer.example.com/token", secret.Text{}, "n1")
	if d, _ := check(t, bare); d.Token != "" || d.Nonce != "n1" {
		t.Errorf("without a token: %+v", d)
	}
}

func TestSignPutsOneProof(t *testing.T) {
	k := newKey(t)
	req, _ := http.NewRequest("GET", "https://mcp.example.com/mcp", nil)
	req.Header.Set("Authorization", "Bearer old")
	for range 2 {
		if err := k.Sign(req, secret.New("at")); err != nil {
			t.Fatal(err)
		}
	}
	if got := req.Header.Values("DPoP"); len(got) != 1 || req.Header.Get("Authorization") != "DPoP at" {
		t.Errorf("%d proofs, %q", len(got), req.Header.Get("Authorization"))
	}
}

func TestNonces(t *testing.T) {
	k := newKey(t)
	heard := func(address string, status int, nonce, challenge, code string) bool {
		req, _ := http.NewRequest("POST", address, nil)
		h := http.Header{}
		if nonce != "" {
			h.Set("DPoP-Nonce", nonce)
		}
		if challenge != "" {
			h.Set("WWW-Authenticate", challenge)
		}
		return k.Again(&http.Response{StatusCode: status, Header: h, Request: req}, code)
	}
	nonce := func(address string) string {
		proof, err := k.Proof("POST", address, secret.Text{}, "")
		if err != nil {
			t.Fatal(err)
		}
		c, _ := check(t, proof)
		return c.Nonce
	}
	const server, issuer = "https://mcp.example.com/mcp", "https://issuer.example.com/token"
	for name, test := range map[string]struct {
		again, want bool
	}{
		"a server that wants one":            {heard(server, 401, "s1", `DPoP error="use_dpop_nonce"`, ""), true},
		"a server that turns the token down": {heard(server, 401, "s1", `DPoP error="invalid_token"`, ""), false},
		"a server that wants one, says none": {heard(server, 401, "", `DPoP error="use_dpop_nonce"`, ""), false},
		"an issuer that wants one":           {heard(issuer, 400, "i1", "", "use_dpop_nonce"), true},
		"an issuer with another error":       {heard(issuer, 400, "i1", "", "invalid_grant"), false},
		"one that could split a header":      {heard(server, 401, "a b", `DPoP error="use_dpop_nonce"`, ""), false},
		"one without end":                    {heard(server, 401, strings.Repeat("n", 2000), `DPoP error="use_dpop_nonce"`, ""), false},
	} {
		if test.again != test.want {
			t.Errorf("%s: sent again %v", name, test.again)
		}
	}
	if nonce(server) != "s1" || nonce(issuer) != "i1" || nonce("https://other.example.com/") != "" {
		t.Errorf("kept %q, %q, %q", nonce(server), nonce(issuer), nonce("https://other.example.com/"))
	}
	if heard(server, 200, "s2", "", "") || nonce("https://MCP.example.com/else") != "s2" {
		t.Errorf("a nonce on a good answer: %q", nonce(server))
	}
	for i := range 100 {
		heard("https://h"+string(rune('a'+i%26))+string(rune('a'+i/26))+".example.com/", 200, "x", "", "")
	}
	if len(k.nonces) > maxOrigins {
		t.Errorf("%d origins are kept", len(k.nonces))
	}
}

func TestKeysAreKept(t *testing.T) {
	k := newKey(t)
	text, err := k.Text()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(text)
	if err != nil || !back.private.Equal(k.private) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "canary", "Y2FuYXJ5", text.Reveal()[:40]} {
		if _, err := Parse(secret.New(bad)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
