package broker

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
)

// proofOf is the key that a proof was made with, and its claims.
func proofOf(t *testing.T, proof string) (thumbprint string, claims map[string]any) {
	t.Helper()
	parsed, err := jwt.ParseSigned(proof, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatalf("proof %q: %v", proof, err)
	}
	if err := parsed.Claims(parsed.Headers[0].JSONWebKey, &claims); err != nil {
		t.Fatal(err)
	}
	sum, err := parsed.Headers[0].JSONWebKey.Thumbprint(5)
	if err != nil {
		t.Fatal(err)
	}
	return string(sum), claims
}

// bound is a house whose server takes bound tokens only. Its issuer wants a nonce first; keys are those it saw.
func bound(t *testing.T) (h *house, keys *[]string) {
	h, keys = newHouse(t), new([]string)
	h.server.Metadata(func(m map[string]any) { m["dpop_bound_access_tokens_required"] = true })
	h.issuer.Metadata(func(m map[string]any) { m["dpop_signing_alg_values_supported"] = []string{"ES256"} })
	h.issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		key, claims := proofOf(t, r.Header.Get("DPoP"))
		if claims["htu"] != issuerID+demo.TokenPath || claims["htm"] != "POST" || claims["ath"] != nil {
			t.Errorf("proof %v", claims)
		}
		w.Header().Set("DPoP-Nonce", "n1")
		if claims["nonce"] != "n1" {
			oauthtest.OAuthError(400, "use_dpop_nonce", "x")(w, r, next)
			return
		}
		*keys = append(*keys, key)
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answer.Code)
		w.Write(bytes.Replace(answer.Body.Bytes(), []byte(`"Bearer"`), []byte(`"DPoP"`), 1))
	})
	return h.open(), keys
}

func TestBoundTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, keys := bound(t)
		request := localapi.TokenRequest{Resource: serverURL, Scopes: []string{"files:read"}}
		if _, err := h.broker.Token(t.Context(), host("claude"), request); !errors.Is(err, localapi.ErrBadRequest) {
			t.Errorf("without a request to prove: %v", err)
		}
		request.Proof = &localapi.Proof{Method: "POST", URL: serverURL + "?a=b", Nonce: "s1"}
		token, err := h.broker.Token(t.Context(), host("claude"), request)
		if err != nil {
			t.Fatal(err)
		}
		key, claims := proofOf(t, token.DPoP)
		if token.TokenType != "DPoP" || token.Binding != nil || key != (*keys)[0] || claims["htu"] != serverURL || claims["nonce"] != "s1" || claims["ath"] == nil {
			t.Errorf("%s, key as at the issuer %v, claims %v", token.TokenType, key == (*keys)[0], claims)
		}

		h.restart()
		time.Sleep(2 * time.Hour)
		again, err := h.broker.Token(t.Context(), host("claude"), request)
		if err != nil {
			t.Fatal(err)
		}
		if key, _ := proofOf(t, again.DPoP); again.AccessToken.Equal(token.AccessToken) || key != (*keys)[0] || len(*keys) != 2 || (*keys)[1] != key {
			t.Errorf("after a refresh: %d requests, keys differ", len(*keys))
		}
		for _, elsewhere := range []string{"https://evil.example.com/mcp", "https://mcp.example.com/mcpx", "https://mcp.example.com/", "://"} {
			request.Proof = &localapi.Proof{Method: "POST", URL: elsewhere}
			if _, err := h.broker.Token(t.Context(), host("claude"), request); !errors.Is(err, localapi.ErrBadRequest) {
				t.Errorf("a proof for %s: %v", elsewhere, err)
			}
		}

		forwarded, err := h.broker.Forward(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Scopes: []string{"files:read"}}, nil)
		if err != nil || forwarded.Binding == nil || forwarded.TokenType != "DPoP" {
			t.Errorf("for the gateway: %+v, %v", forwarded, err)
		}
		h.broker.Close()
	})
}

// An issuer that answers with a bearer token takes the binding away; such a token must not be used.
func TestABearerTokenIsNoBoundToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.server.Metadata(func(m map[string]any) { m["dpop_bound_access_tokens_required"] = true })
		h.open()
		_, err := h.token(host("claude"), "files:read")
		if !errors.Is(err, oauthflow.ErrTokenType) {
			t.Errorf("%v", err)
		}
		if grants, _ := h.broker.Grants(t.Context(), host("claude")); len(grants.Grants) != 0 {
			t.Errorf("kept %+v", grants.Grants)
		}
		h.broker.Close()
	})
}

func TestAnIssuerWithoutOurAlgorithm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.server.Metadata(func(m map[string]any) { m["dpop_bound_access_tokens_required"] = true })
		h.issuer.Metadata(func(m map[string]any) { m["dpop_signing_alg_values_supported"] = []string{"EdDSA"} })
		h.open()
		if _, err := h.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrDiscovery) || h.browsers != 0 {
			t.Errorf("%v, %d pages", err, h.browsers)
		}
		h.broker.Close()
	})
}

// A server that takes both kinds of tokens gives bound ones to the person who wants them, from then on.
func TestBoundTokensByChoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, keys := bound(t)
		h.server.Metadata(func(m map[string]any) { m["dpop_signing_alg_values_supported"] = []string{"ES256"} })
		ask := localapi.SignInRequest{Resource: serverURL, Quirks: []string{"dpop"}}
		grant, err := h.broker.SignIn(t.Context(), host("vk"), ask)
		if err != nil || !grant.Bound || !grant.Bindable || len(*keys) != 1 {
			t.Fatalf("%+v, %v, %d keys", grant, err, len(*keys))
		}
		if q := h.questions()[0]; !strings.Contains(strings.Join(q.Notes, ""), "DPoP") {
			t.Errorf("the question does not say it: %q", q.Notes)
		}
		ask.Quirks = nil
		if grant, err = h.broker.SignIn(t.Context(), host("vk"), ask); err != nil || !grant.Bound || len(*keys) != 2 {
			t.Errorf("the next sign-in: %+v, %v", grant, err)
		}
		h.server.Metadata(nil)
		time.Sleep(25 * time.Hour) // what is known of the server runs out
		if _, err := h.broker.SignIn(t.Context(), host("vk"), ask); !errors.Is(err, localapi.ErrDiscovery) || h.browsers != 2 {
			t.Errorf("at a server that takes none: %v, %d pages", err, h.browsers)
		}
		h.broker.Close()
	})
}
