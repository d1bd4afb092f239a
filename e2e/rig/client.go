//go:build linux

package rig

import (
	"encoding/json"
	"testing"

	"github.com/valetkey/valetkey/oauthflow"
)

// ClientJSON is client metadata (RFC 7591 §2) as a person would enter it at an issuer.
func ClientJSON(t testing.TB, more map[string]any) string {
	t.Helper()
	return clientJSON(t, more, map[string]any{
		"client_name": "Valet Key", "application_type": "native", "redirect_uris": oauthflow.RedirectURIs(), "response_types": []string{"code"},
		"grant_types": []string{"authorization_code", "refresh_token"},
	})
}

// UnattendedClient is the metadata of a client that nobody signs in with.
func UnattendedClient(t testing.TB, more map[string]any) string {
	t.Helper()
	return clientJSON(t, more, map[string]any{"client_id": "robot", "redirect_uris": []string{}, "response_types": []string{}})
}

func clientJSON(t testing.TB, client, usual map[string]any) string {
	t.Helper()
	for name, value := range usual {
		if client[name] == nil {
			client[name] = value
		}
	}
	doc, err := json.Marshal(client)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}
