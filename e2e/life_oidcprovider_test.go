//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/valetkey/valetkey/oauthflow"
)

// TestLifeAtOIDCProvider leads a grant's life at oidc-provider once for each way to be a client there.
func TestLifeAtOIDCProvider(t *testing.T) {
	t.Run("registered dynamically", func(t *testing.T) {
		h := newHeadless(t)
		i := h.newIssuer()
		oidcProviderLife(t, newLife(h, headlessEveryone), i, "")
		if n := i.registrations(); n != 1 {
			t.Errorf("%d registrations, want 1", n)
		}
	})
	t.Run("with a client ID and a secret", func(t *testing.T) {
		h := newHeadless(t)
		const id, secret = "written-down", "a secret / with: signs"
		i := h.newIssuer("--client", clientJSON(t, map[string]any{
			"client_id": id, "client_secret": secret, "token_endpoint_auth_method": "client_secret_basic",
		}))
		i.secret = secret
		h.write("secret", secret+"\n")
		oidcProviderLife(t, newLife(h, headlessClient(i.url, id, "secret")), i, id)
	})
	t.Run("with a client ID only", func(t *testing.T) {
		h := newHeadless(t)
		const id = "written-down"
		i := h.newIssuer("--client", clientJSON(t, map[string]any{"client_id": id, "token_endpoint_auth_method": "none"}))
		oidcProviderLife(t, newLife(h, headlessClient(i.url, id, "")), i, id)
	})
	t.Run("with a metadata document", func(t *testing.T) {
		h := newHeadless(t)
		var id string
		fetched := 0
		site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fetched++
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, clientJSON(t, map[string]any{"client_id": id, "token_endpoint_auth_method": "none"}))
		}))
		defer site.Close()
		id = site.URL + "/client.json"
		ca := h.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw})))
		i := h.newIssuerWith([]string{"NODE_EXTRA_CA_CERTS=" + ca}, "--documents")
		oidcProviderLife(t, newLife(h, headlessEveryone, "--client-metadata-url", id), i, id)
		if n := i.registrations(); n != 0 || fetched == 0 {
			t.Errorf("%d registrations, and the document was fetched %d times", n, fetched)
		}
	})
}

// clientJSON is client metadata (RFC 7591 §2) as a person would enter it.
func clientJSON(t testing.TB, more map[string]any) string {
	t.Helper()
	more["client_name"], more["application_type"] = "Valet Key", "native"
	more["redirect_uris"] = oauthflow.RedirectURIs()
	more["response_types"] = []string{"code"}
	if more["grant_types"] == nil {
		more["grant_types"] = []string{"authorization_code", "refresh_token"}
	}
	doc, err := json.Marshal(more)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// headlessClient is a policy that allows everything and knows a client at an issuer.
func headlessClient(issuer, id, secretFile string) string {
	client := map[string]string{"issuer": issuer, "client_id": id}
	if secretFile != "" {
		client["client_secret_file"] = secretFile
	}
	policy, err := json.Marshal(map[string]any{
		"consents": []any{map[string]any{"host": "*", "resource": "*", "scopes": []string{"*"}}},
		"clients":  []any{client},
	})
	if err != nil {
		panic(err) // of strings there is none
	}
	return string(policy)
}

// oidcProviderLife leads the life; client is the client ID it must be led with, "" for any.
func oidcProviderLife(t *testing.T, l *life, i *issuer, client string) {
	l.issuer, l.server = i.url, newMCPServer(t, i).url
	l.renewed(l.begin(), "notes:read")
	l.holds("notes:read")
	before := i.refreshToken(t)
	l.stepUp()
	l.holds("notes:read", "notes:write")
	if got := l.narrowed("notes:read"); len(got) != 1 {
		t.Errorf("a token for notes:read is for %q", got)
	}
	l.renewed(l.must("token", l.server), "notes:read", "notes:write") // with the refresh token that the narrowing left
	if n := len(i.refreshes()); n != 3 {
		t.Errorf("%d refreshes, want 3", n)
	}
	last := i.refreshToken(t)
	if last.RefreshToken == before.RefreshToken || client != "" && last.ClientID != client {
		t.Errorf("the refresh token of client %q after the step-up, which must be a new one of %q", last.ClientID, client)
	}
	for _, e := range i.refreshes() {
		if !e.OK {
			t.Errorf("a refresh was refused: %s", e.Error)
		}
	}
	if n := i.signIns(); n != 2 {
		t.Errorf("%d sign-ins, want one and one for the wider scope", n)
	}
	if said := l.end(); said != "" {
		t.Errorf("vk forget says %s", said)
	}
	revoked := i.happened(func(e event) bool { return e.Event == "revocation" && e.OK })
	if !slices.ContainsFunc(revoked, func(e event) bool { return e.Hint == "refresh_token" }) {
		t.Errorf("revoked was %+v, and no refresh token", revoked)
	}
	if code := i.redeem(t, last); code != "invalid_grant" {
		t.Errorf("the refresh token is still good at the issuer: it answers %q", code)
	}
}
