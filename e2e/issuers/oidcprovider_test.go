//go:build e2e && linux

package issuers

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

// TestLifeAtOIDCProvider leads a grant's life at oidc-provider once for each way to be a client there.
func TestLifeAtOIDCProvider(t *testing.T) {
	t.Run("registered dynamically", func(t *testing.T) {
		h := rig.New(t)
		i := h.Issuer()
		oidcProviderLife(t, newLife(h, rig.Everyone), i, "")
		if n := i.Registrations(); n != 1 {
			t.Errorf("%d registrations, want 1", n)
		}
	})
	t.Run("with a client ID and a secret", func(t *testing.T) {
		h := rig.New(t)
		const id, secret = "written-down", "a secret / with: signs"
		i := h.Issuer("--client", rig.ClientJSON(t, map[string]any{
			"client_id": id, "client_secret": secret, "token_endpoint_auth_method": "client_secret_basic",
		}))
		i.Secret = secret
		h.Write("secret", secret+"\n")
		oidcProviderLife(t, newLife(h, withClient(i.URL, id, "secret")), i, id)
	})
	t.Run("with a client ID only", func(t *testing.T) {
		h := rig.New(t)
		const id = "written-down"
		i := h.Issuer("--client", rig.ClientJSON(t, map[string]any{"client_id": id, "token_endpoint_auth_method": "none"}))
		oidcProviderLife(t, newLife(h, withClient(i.URL, id, "")), i, id)
	})
	t.Run("with a metadata document", func(t *testing.T) {
		h := rig.New(t)
		var id string
		fetched := 0
		site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fetched++
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, rig.ClientJSON(t, map[string]any{"client_id": id, "token_endpoint_auth_method": "none"}))
		}))
		defer site.Close()
		id = site.URL + "/client.json"
		ca := h.Write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw})))
		i := h.IssuerWith([]string{"NODE_EXTRA_CA_CERTS=" + ca}, "--documents")
		oidcProviderLife(t, newLife(h, rig.Everyone, "--client-metadata-url", id), i, id)
		if n := i.Registrations(); n != 0 || fetched == 0 {
			t.Errorf("%d registrations, and the document was fetched %d times", n, fetched)
		}
	})
}

// withClient is a policy that allows everything and knows a client at an issuer.
func withClient(issuer, id, secretFile string) string {
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
func oidcProviderLife(t *testing.T, l *life, i *rig.Issuer, client string) {
	l.issuer, l.server = i.URL, rig.NewServer(t, i).URL
	l.renewed(l.begin(), "notes:read")
	l.holds("notes:read")
	before := i.RefreshToken(t)
	l.stepUp()
	l.holds("notes:read", "notes:write")
	if got := l.narrowed("notes:read"); len(got) != 1 {
		t.Errorf("a token for notes:read is for %q", got)
	}
	l.renewed(l.VK("token", l.server).Must(), "notes:read", "notes:write") // with the refresh token that the narrowing left
	if n := len(i.Refreshes()); n != 3 {
		t.Errorf("%d refreshes, want 3", n)
	}
	last := i.RefreshToken(t)
	if last.RefreshToken == before.RefreshToken || client != "" && last.ClientID != client {
		t.Errorf("the refresh token of client %q after the step-up, which must be a new one of %q", last.ClientID, client)
	}
	for _, e := range i.Refreshes() {
		if !e.OK {
			t.Errorf("a refresh was refused: %s", e.Error)
		}
	}
	if n := i.SignIns(); n != 2 {
		t.Errorf("%d sign-ins, want one and one for the wider scope", n)
	}
	if said := l.end(); said != "" {
		t.Errorf("vk forget says %s", said)
	}
	revoked := i.Happened(func(e rig.Event) bool { return e.Event == "revocation" && e.OK })
	if !slices.ContainsFunc(revoked, func(e rig.Event) bool { return e.Hint == "refresh_token" }) {
		t.Errorf("revoked was %+v, and no refresh token", revoked)
	}
	if code := i.Redeem(t, last); code != "invalid_grant" {
		t.Errorf("the refresh token is still good at the issuer: it answers %q", code)
	}
}
