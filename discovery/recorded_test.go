package discovery

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRecordedShapes reads the metadata of issuers in use, with their names replaced. docs/issuers.md says where each is
// from: keycloak and fastmcp were answers to us, the others stand in public documentation.
func TestRecordedShapes(t *testing.T) {
	const tenant = "11111111-2222-3333-4444-555555555555"
	tests := []struct {
		file, id, at string
		is           error
		registers    bool
		revokes      bool
		offline      bool // lists offline_access
		unlisted     bool // does not say that it checks PKCE
	}{
		{"keycloak.json", "https://keycloak.example.com/realms/notes", "https://keycloak.example.com/.well-known/oauth-authorization-server/realms/notes", nil, true, true, true, false},
		{"fastmcp.json", "https://mcp.example.com/", "https://mcp.example.com/.well-known/oauth-authorization-server", nil, true, true, false, false},
		{"auth0.json", "https://tenant.auth0.com/", "https://tenant.auth0.com/.well-known/openid-configuration", nil, true, true, true, false},
		{"auth0.json", "https://tenant.auth0.com", "https://tenant.auth0.com/.well-known/openid-configuration", ErrMismatch, false, false, false, false},
		{"google.json", "https://accounts.google.com", "https://accounts.google.com/.well-known/openid-configuration", nil, false, true, false, false},
		{"okta.json", "https://org.okta.com/oauth2/default", "https://org.okta.com/.well-known/oauth-authorization-server/oauth2/default", nil, true, true, true, false},
		{"okta.json", "https://org.okta.com/oauth2/default", "https://org.okta.com/oauth2/default/.well-known/openid-configuration", nil, true, true, true, false},
		{"scalekit.json", "https://env.scalekit.com/resources/res_1", "https://env.scalekit.com/.well-known/oauth-authorization-server/resources/res_1", nil, true, false, false, false},
		{"scalekit.json", "https://env.scalekit.com/resources/res_1", "https://env.scalekit.com/resources/res_1/.well-known/oauth-authorization-server", nil, true, false, false, false},
		{"github.json", "https://github.com/login/oauth", "https://github.com/.well-known/oauth-authorization-server/login/oauth", nil, false, false, false, false},
		{"entra.json", "https://login.microsoftonline.com/" + tenant + "/v2.0", "https://login.microsoftonline.com/" + tenant + "/v2.0/.well-known/openid-configuration", nil, false, false, true, true},
		{"entra-common.json", "https://login.microsoftonline.com/common/v2.0", "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration", ErrMismatch, false, false, false, false},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.file+" "+tt.id, func(t *testing.T) {
			body, err := os.ReadFile(filepath.Join("testdata", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			seen[tt.file] = true
			_, c := newWeb(map[string]answer{"GET " + tt.at: doc(string(body))})
			i, err := c.Issuer(background, mcp, tt.id)
			check(t, err, tt.is)
			if err != nil {
				return
			}
			offline := false
			for _, s := range i.Scopes {
				offline = offline || s == "offline_access"
			}
			if i.ID != tt.id || i.metadataURL != tt.at || i.AuthorizationEndpoint == "" || i.TokenEndpoint == "" {
				t.Errorf("issuer %+v", i)
			}
			if (i.RegistrationEndpoint != "") != tt.registers || (i.RevocationEndpoint != "") != tt.revokes || offline != tt.offline || i.PKCEUnlisted != tt.unlisted {
				t.Errorf("registers, revokes, offline_access, PKCE unlisted: %q, %q, %v, %v", i.RegistrationEndpoint, i.RevocationEndpoint, offline, i.PKCEUnlisted)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != len(seen) {
		t.Errorf("%d of %d recorded shapes were read, %v", len(seen), len(files), err)
	}
}
