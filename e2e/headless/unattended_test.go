//go:build e2e && linux

package headless

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/demo"
)

// setClient has vk set a client as args say, with stdin, and the person agree to it at the terminal. It returns what they
// were asked.
func setClient(t *testing.T, h *rig.Place, screen *terminal, stdin string, args ...string) (question string) {
	t.Helper()
	cmd := h.Command(rig.Program(t, "vk"), append([]string{"client"}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	set := h.Run(cmd)
	question = screen.asks("headless.test asks to set the client ID for")
	screen.types("y\n")
	if code := set.Wait(); code != 0 || !strings.HasPrefix(set.Out.String(), "client ID ") {
		t.Fatalf("exit code %d\n%s%s\n%s", code, set.Out.String(), set.Err.String(), screen.output.String())
	}
	return question
}

// tokenFor has vk ask for a token, and the person agree to it at the terminal.
func tokenFor(t *testing.T, h *rig.Place, screen *terminal, server *rig.Server) (token, question string) {
	t.Helper()
	asked := h.Start(rig.Program(t, "vk"), "token", "--scope", "notes:read", server.URL)
	question = screen.asks("headless.test wants to use")
	screen.types("a\n")
	if code := asked.Wait(); code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, asked.Err.String(), screen.output.String())
	}
	return strings.TrimSpace(asked.Out.String()), question
}

// again has vk get another token without the person, after the first one has run out.
func again(t *testing.T, h *rig.Place, screen *terminal, server *rig.Server, first string) {
	t.Helper()
	rig.Until(t, "there is another token", func() bool {
		next := h.Start(rig.Program(t, "vk"), "token", "--no-interaction", "--min-valid", "3s", "--scope", "notes:read", server.URL)
		if code := next.Wait(); code != 0 {
			t.Fatalf("exit code %d\n%s\n%s", code, next.Err.String(), screen.output.String())
		}
		token := strings.TrimSpace(next.Out.String())
		if token != first {
			server.CallTool(token)
		}
		return token != first
	})
}

// keepsSecrets looks whether anything that must stay between an issuer and us is on the terminal.
func keepsSecrets(t *testing.T, screen *terminal, secrets []string, issuers ...*rig.Issuer) {
	t.Helper()
	for _, i := range issuers {
		for _, e := range i.Happened(func(e rig.Event) bool { return e.Event == "secret" }) {
			secrets = append(secrets, e.Value)
		}
	}
	for _, s := range secrets {
		if strings.Contains(screen.output.String(), s) {
			t.Errorf("the terminal shows the secret %.8s…", s)
		}
	}
}

// TestClientThatGetsTokensByItself at oidc-provider: with a secret, and with a private key, set with vk client. No browser is
// there.
func TestClientThatGetsTokensByItself(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	const words = "a secret / with: signs"
	for name, way := range map[string]struct {
		client map[string]any
		flag   string
		stdin  string
	}{
		"secret": {map[string]any{"client_secret": words, "token_endpoint_auth_method": "client_secret_basic"}, "--secret-stdin", words + "\n"},
		"key": {map[string]any{"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
			"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}}},
			"--key-stdin", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := rig.New(t)
			way.client["grant_types"] = []string{"client_credentials"}
			i := h.Issuer("--access-ttl", "8", "--client", rig.UnattendedClient(t, way.client))
			server := rig.NewServer(t, i)
			app, screen := onTerminal(h, h.AppCommand("--browser", "false"))
			h.Ready(app)
			args := []string{server.URL, "--client-id", "robot", "--grant-type", "client_credentials", way.flag}
			if name == "key" {
				args = append(args, "--key-id", "k1")
			}
			if question := setClient(t, h, screen, way.stdin, args...); !strings.Contains(question, "gets tokens by itself") {
				t.Errorf("asked:\n%s", question)
			}
			token, question := tokenFor(t, h, screen, server)
			if strings.Contains(question, "Then you sign in") || !strings.Contains(question, "No page opens") {
				t.Errorf("asked:\n%s", question)
			}
			server.CallTool(token)
			again(t, h, screen, server, token)
			if g := h.Grants()[0]; !g.Renewable || g.Registration.ClientID != "robot" || i.SignIns()+i.Registrations() != 0 {
				t.Errorf("grant %+v, %d sign-ins, %d registrations", g, i.SignIns(), i.Registrations())
			}
			keepsSecrets(t, screen, []string{words, "PRIVATE KEY"}, i)
		})
	}
}

// TestWorkloadIdentity: the platform writes a JWT to a file and renews it; oidc-provider gives tokens for it.
func TestWorkloadIdentity(t *testing.T) {
	t.Parallel()
	h := rig.New(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	platform := newPlatform(t, key)
	i := h.Issuer("--access-ttl", "8", "--believes", platform, "--client", rig.UnattendedClient(t, map[string]any{
		"grant_types": []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "token_endpoint_auth_method": "none"}))
	server := rig.NewServer(t, i)
	identity := func(life time.Duration) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "p1"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jwt.Signed(signer).Claims(jwt.Claims{Issuer: platform, Subject: "workload-7", Audience: jwt.Audience{i.URL}, ID: rand.Text(),
			Expiry: jwt.NewNumericDate(time.Now().Add(life))}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	app, screen := onTerminal(h, h.AppCommand("--browser", "false"))
	h.Ready(app)

	none := h.Start(rig.Program(t, "vk"), "client", server.URL, "--client-id", "robot", "--assertion-file", "identity")
	screen.asks("headless.test asks to set the client ID for")
	screen.types("y\n")
	if code := none.Wait(); code != 2 || !strings.Contains(none.Err.String(), h.Path("identity")) {
		t.Errorf("a file that is not there: exit code %d, %s", code, none.Err.String())
	}
	expired, fresh := identity(-time.Hour), identity(time.Hour)
	h.Write("identity", expired+"\n")
	if question := setClient(t, h, screen, "", server.URL, "--client-id", "robot", "--assertion-file", "identity"); !strings.Contains(question, h.Path("identity")) || !strings.Contains(question, i.URL) {
		t.Errorf("asked:\n%s", question)
	}
	asked := h.Start(rig.Program(t, "vk"), "token", "--scope", "notes:read", server.URL)
	screen.asks("headless.test wants to use")
	screen.types("a\n")
	if code := asked.Wait(); code != 7 || !strings.Contains(asked.Err.String(), "invalid_grant") {
		t.Errorf("with an identity that ran out: exit code %d, %s", code, asked.Err.String())
	}
	h.Write("identity", fresh+"\n")
	token, _ := tokenFor(t, h, screen, server)
	server.CallTool(token)
	again(t, h, screen, server, token)
	keepsSecrets(t, screen, []string{expired, fresh}, i)
}

// newPlatform serves the key that a platform signs identities with, as an issuer does.
func newPlatform(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	listener := rig.Listen(t)
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "p1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(keys)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return "http://" + listener.Addr().String()
}

// TestEnterprise: the person signs in once to their enterprise's issuer, in a browser, and it speaks for them at the
// server's. Both are oidc-provider.
func TestEnterprise(t *testing.T) {
	t.Parallel()
	h := rig.New(t)
	const here, there = "the secret here", "the secret there"
	enterprise := h.Issuer("--vouches", "robot", "--client", rig.ClientJSON(t, map[string]any{
		"client_id": "at-work", "client_secret": there, "token_endpoint_auth_method": "client_secret_basic",
		"grant_types": []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"}}))
	i := h.Issuer("--access-ttl", "8", "--believes", enterprise.URL, "--client", rig.UnattendedClient(t, map[string]any{
		"client_secret": here, "token_endpoint_auth_method": "client_secret_basic", "grant_types": []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"}}))
	server := rig.NewServer(t, i)
	opener, pages := h.Opener()
	app, screen := onTerminal(h, h.AppCommand("--browser", opener))
	h.Ready(app)

	question := setClient(t, h, screen, here+"\n"+there+"\n", server.URL, "--client-id", "robot", "--secret-stdin",
		"--enterprise", enterprise.URL, "--enterprise-client-id", "at-work", "--enterprise-secret-stdin")
	if !strings.Contains(question, "Your enterprise at "+enterprise.URL+" speaks for you") {
		t.Errorf("asked:\n%s", question)
	}
	asked := h.Start(rig.Program(t, "vk"), "token", "--scope", "notes:read", server.URL)
	screen.asks("headless.test wants to use")
	screen.types("a\n")
	select {
	case page := <-pages:
		if !strings.HasPrefix(page, enterprise.URL) {
			t.Fatalf("the page is %s", page)
		}
		signInAt(t, page)
	case <-time.After(rig.Patience):
		t.Fatalf("no page opened\n%s", screen.output.String())
	}
	if code := asked.Wait(); code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, asked.Err.String(), screen.output.String())
	}
	token := strings.TrimSpace(asked.Out.String())
	server.CallTool(token)
	again(t, h, screen, server, token)
	if g := h.Grants()[0]; g.Registration.Enterprise != enterprise.URL || !g.Renewable || i.SignIns() != 0 || enterprise.SignIns() != 1 {
		t.Errorf("grant %+v, %d sign-ins here, %d there", g, i.SignIns(), enterprise.SignIns())
	}
	keepsSecrets(t, screen, []string{here, there}, i, enterprise)
}

// signInAt is the person in a browser, from a sign-in page to the page that Valet Key answers with.
func signInAt(t *testing.T, page string) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	b := demo.Browser{Transport: transport, Answer: func(_ context.Context, p *demo.Page) (url.Values, error) {
		values := p.Form.Values
		for name := range p.Form.Texts {
			values.Set(name, map[string]string{"login": "ann", "password": "secret"}[name])
		}
		return values, nil
	}}
	if _, err := b.Open(t.Context(), page); err != nil {
		t.Fatal(err)
	}
}
