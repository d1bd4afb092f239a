package policy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/policy"
	"github.com/valetkey/valetkey/quirk"
)

// keptPolicy is the policy file of 2026-11-29, where nobody else may change it or read what it names.
func keptPolicy(t *testing.T) *policy.File {
	t.Helper()
	from, to := filepath.Join("testdata", "kept", "2026-11-29"), t.TempDir()
	for _, name := range []string{"policy.json", "secret", "key.pem", "identity.jwt"} {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p, err := policy.Load(filepath.Join(to, "policy.json"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestKeptPolicyDecides: a policy file of an earlier day decides as it did then.
func TestKeptPolicyDecides(t *testing.T) {
	const mcp, odd, old = "https://mcp.example.com/mcp", "https://odd.example.com/mcp", "https://old.example.com/mcp"
	p := keptPolicy(t)
	consent := func(host, resource string, scopes ...string) face.Question {
		base, _, _ := strings.Cut(host, "#")
		q := face.Question{Kind: face.KindConsent, Host: peer.Host{Key: host, Base: base, Name: "n"}, Server: resource, Resource: resource}
		for _, s := range scopes {
			q.Scopes = append(q.Scopes, face.Scope{Name: s, Checked: true})
		}
		return q
	}
	unpublished := func(q face.Question) face.Question {
		q.Unpublished, q.Issuer = true, "https://old.example.com"
		return q
	}
	asks := func(host, name, value string) face.Question {
		q := consent(host, odd)
		q.Kind, q.Quirk = face.KindQuirk, &quirk.Quirk{Name: name, Value: value}
		return q
	}
	for name, c := range map[string]struct {
		q      face.Question
		scopes string // of a yes
		lacks  string // of a no
	}{
		"two consents add up":     {consent("exe:/usr/bin/claude", mcp, "files:read", "files:write"), "files:read files:write", ""},
		"what is not covered":     {consent("exe:/usr/bin/claude", mcp, "files:read", "admin"), "files:read", ""},
		"with its hash":           {consent("exe:/home/me/bin/x#00ff", mcp, "admin"), "admin", ""},
		"with another hash":       {consent("exe:/home/me/bin/x#0000", mcp, "admin"), "", "the consents there for exe:/home/me/bin/x#0000 and https://mcp.example.com/mcp cover none"},
		"any resource":            {consent("exe:/usr/bin/cursor", "https://else.example.com/", "files:read", "admin"), "files:read", ""},
		"any host, no scope":      {consent("exe:/usr/bin/any", "https://public.example.com/"), "", ""},
		"nothing is covered":      {consent("exe:/usr/bin/any", "https://public.example.com/", "admin"), "", "cover none of the scopes"},
		"names no issuer":         {unpublished(consent("script:/usr/bin/tool", old, "a")), "a", ""},
		"names no issuer, unsaid": {unpublished(consent("exe:/usr/bin/cursor", old, "files:read")), "", "without_metadata"},
		"audience":                {asks("exe:/usr/bin/claude", "audience", "api://fake"), "", ""},
		"another audience":        {asks("exe:/usr/bin/claude", "audience", "api://else"), "", `has the quirk "audience=api://else"`},
		"issuer":                  {asks("exe:/usr/bin/claude", "issuer", "https://other.example.org"), "", ""},
		"issuer-slash":            {asks("exe:/usr/bin/claude", "issuer-slash", ""), "", ""},
		"no-resource":             {asks("exe:/usr/bin/claude", "no-resource", ""), "", ""},
		"pkce-unlisted":           {asks("exe:/usr/bin/claude", "pkce-unlisted", ""), "", ""},
		"unchecked":               {asks("exe:/usr/bin/claude", "unchecked", ""), "", ""},
		"unchecked, another host": {asks("exe:/usr/bin/cursor", "unchecked", ""), "", `has the quirk "unchecked"`},
	} {
		t.Run(name, func(t *testing.T) {
			answer, rule, decided := p.DecideAlone(c.q)
			if c.lacks != "" {
				if !decided || answer.Allow || !strings.Contains(rule, c.lacks) {
					t.Errorf("%+v, %q, want a no that says %q", answer, rule, c.lacks)
				}
				if _, _, decided := p.Decide(c.q); decided {
					t.Error("the person is not asked")
				}
				return
			}
			if !decided || !answer.Allow || answer.Mode != localapi.ModeOnce || strings.Join(answer.Scopes, " ") != c.scopes {
				t.Errorf("%+v, %q, want a yes for %q", answer, rule, c.scopes)
			}
		})
	}
	settings := p.Settings(odd)
	want := []quirk.Quirk{{Name: "parameters", Value: "access_type=offline&prompt=login"}, {Name: "dpop"}}
	if !slices.Equal(settings, want) {
		t.Errorf("settings %+v, want %+v", settings, want)
	}
	if settings := p.Settings(mcp); !slices.Equal(settings, []quirk.Quirk{{Name: "parameters", Value: "audience=fake"}}) {
		t.Errorf("settings elsewhere %+v", settings)
	}
}

// TestKeptPolicyClients: the clients of a policy file of an earlier day are what they were then.
func TestKeptPolicyClients(t *testing.T) {
	const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	p := keptPolicy(t)
	key, err := os.ReadFile("testdata/kept/2026-11-29/key.pem")
	if err != nil {
		t.Fatal(err)
	}
	jwt, err := os.ReadFile("testdata/kept/2026-11-29/identity.jwt")
	if err != nil {
		t.Fatal(err)
	}
	pem, assertion := string(key), strings.TrimSpace(string(jwt))
	type parts struct{ id, secret, key, keyID, grantType, assertion, endpoint, idToken string }
	seen := func(e client.Enterprise) parts {
		return parts{e.ClientID, e.Secret.Reveal(), e.Key.Reveal(), e.KeyID, e.GrantType, e.Assertion.Reveal(), e.TokenEndpoint, e.IDToken.Reveal()}
	}
	for name, want := range map[string]struct{ here, there parts }{
		"public":   {here: parts{id: "fake-public-client"}},
		"secret":   {here: parts{id: "fake-client-1", secret: "fake-client-secret"}},
		"key":      {here: parts{id: "fake-client-2", key: pem, keyID: "fake-key-id"}},
		"robot":    {here: parts{id: "fake-client-3", secret: "fake-client-secret", grantType: "client_credentials"}},
		"workload": {here: parts{id: "fake-client-4", grantType: jwtBearer, assertion: assertion}},
		"company": {parts{id: "fake-client-5", secret: "fake-client-secret", grantType: jwtBearer},
			parts{id: "fake-client-there", secret: "fake-client-secret", endpoint: "https://idp.example.org/token", idToken: assertion}},
		"office": {parts{id: "fake-client-6", grantType: jwtBearer}, parts{id: "fake-client-there", key: pem, keyID: "fake-key-id-there"}},
	} {
		got, ok := p.Client("https://" + name + ".example.com")
		if !ok || seen(client.Enterprise{Client: got}) != want.here || (got.Enterprise != nil) != (want.there != parts{}) {
			t.Errorf("%s: %+v, %v", name, got, ok)
			continue
		}
		if got.Enterprise != nil && (seen(*got.Enterprise) != want.there || got.Enterprise.Issuer != "https://idp.example.org") {
			t.Errorf("%s: there %+v", name, *got.Enterprise)
		}
		if name == "workload" && !strings.HasSuffix(got.AssertionFile, "identity.jwt") {
			t.Errorf("%s: the file is %q", name, got.AssertionFile)
		}
	}
	if _, ok := p.Client("https://mcp.example.com"); ok {
		t.Error("a client that is not there")
	}
}
