package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// TestBoundTokensAreProven: each request carries a proof of its own, and one that the server wants again with its nonce
// is sent again without the broker being asked for another token.
func TestBoundTokensAreProven(t *testing.T) {
	key, err := dpop.New()
	if err != nil {
		t.Fatal(err)
	}
	var bodies, ids []string
	address := server(t, func(w http.ResponseWriter, r *http.Request) {
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP "); !ok || token != canary {
			t.Errorf("authorized by %q", r.Header.Get("Authorization"))
		}
		proofs := r.Header.Values("DPoP")
		if len(proofs) != 1 {
			t.Fatalf("%d proofs", len(proofs))
		}
		parsed, err := jwt.ParseSigned(proofs[0], []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := parsed.Claims(parsed.Headers[0].JSONWebKey, &claims); err != nil {
			t.Fatal(err)
		}
		if claims["htm"] != r.Method || claims["htu"] != "http://"+r.Host+"/mcp" || claims["ath"] == nil {
			t.Errorf("proof %v for %s", claims, r.Method)
		}
		ids = append(ids, claims["jti"].(string))
		if claims["nonce"] != "n1" {
			w.Header().Set("DPoP-Nonce", "n1")
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body := make([]byte, r.ContentLength)
		r.Body.Read(body)
		bodies = append(bodies, string(body))
	})
	asked := 0
	r := newRig(t, Config{Token: func(_ context.Context, _ *peer.Peer, req localapi.TokenRequest, _ func(error)) (*localapi.Token, error) {
		asked++
		return &localapi.Token{AccessToken: secret.New(canary), TokenType: dpop.TokenType, Resource: req.Resource, Binding: key}, nil
	}})
	for _, body := range []string{`{"n":1}`, `{"n":2}`} {
		if resp, said := r.do("POST", at(address), body, "DPoP", "of the host"); resp.StatusCode != http.StatusOK || resp.Header.Get("DPoP-Nonce") != "" {
			t.Errorf("%d %v %s", resp.StatusCode, resp.Header, said)
		}
	}
	if !slices.Equal(bodies, []string{`{"n":1}`, `{"n":2}`}) || asked != 2 || len(ids) != 3 {
		t.Errorf("bodies %q, %d tokens asked for, %d requests", bodies, asked, len(ids))
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != 3 {
		t.Error("a proof was used twice")
	}
}
