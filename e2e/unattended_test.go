//go:build e2e && linux

package e2e

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

	"github.com/valetkey/valetkey/internal/demo"
)

// setClient has vk set a client as args say, with stdin, and the person agree to it at the terminal. It returns what they
// were asked.
func setClient(t *testing.T, h *headless, screen *headlessScreen, stdin string, args ...string) (question string) {
	t.Helper()
	cmd := h.command(program(t, "vk"), append([]string{"client"}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	set := h.run(cmd)
	question = screen.asks("e2e.test asks to set the client ID for")
	screen.types("y\n")
	if code := set.wait(); code != 0 || !strings.HasPrefix(set.out.String(), "client ID ") {
		t.Fatalf("exit code %d\n%s%s\n%s", code, set.out.String(), set.err.String(), screen.output.String())
	}
	return question
}

// tokenFor has vk ask for a token, and the person agree to it at the terminal.
func tokenFor(t *testing.T, h *headless, screen *headlessScreen, server *mcpServer) (token, question string) {
	t.Helper()
	asked := h.run(h.command(program(t, "vk"), "token", "--scope", "notes:read", server.url))
	question = screen.asks("e2e.test wants to use")
	screen.types("a\n")
	if code := asked.wait(); code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, asked.err.String(), screen.output.String())
	}
	return strings.TrimSpace(asked.out.String()), question
}

// again has vk get another token without the person, after the first one has run out.
func again(t *testing.T, h *headless, screen *headlessScreen, server *mcpServer, first string) {
	t.Helper()
	headlessWait(t, "there is another token", func() bool {
		next := h.run(h.command(program(t, "vk"), "token", "--no-interaction", "--min-valid", "3s", "--scope", "notes:read", server.url))
		if code := next.wait(); code != 0 {
			t.Fatalf("exit code %d\n%s\n%s", code, next.err.String(), screen.output.String())
		}
		token := strings.TrimSpace(next.out.String())
		if token != first {
			server.callTool(token)
		}
		return token != first
	})
}

// keepsSecrets looks whether anything that must stay between an issuer and us is on the terminal.
func keepsSecrets(t *testing.T, screen *headlessScreen, secrets []string, issuers ...*issuer) {
	t.Helper()
	for _, i := range issuers {
		for _, e := range i.happened(func(e event) bool { return e.Event == "secret" }) {
			secrets = append(secrets, e.Value)
		}
	}
	for _, s := range secrets {
		if strings.Contains(screen.output.String(), s) {
			t.Errorf("the terminal shows the secret %.8s…", s)
		}
	}
}

// unattendedClient is the metadata of a client that nobody signs in with.
func unattendedClient(t *testing.T, more map[string]any) string {
	t.Helper()
	for name, value := range map[string]any{"client_id": "robot", "redirect_uris": []string{}, "response_types": []string{}} {
		if more[name] == nil {
			more[name] = value
		}
	}
	doc, err := json.Marshal(more)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
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
			h := newHeadless(t)
			way.client["grant_types"] = []string{"client_credentials"}
			i := h.newIssuer("--access-ttl", "8", "--client", unattendedClient(t, way.client))
			server := newMCPServer(t, i)
			app, screen := h.runOnTerminal(h.appCommand("--browser", "false"))
			h.ready(app)
			args := []string{server.url, "--client-id", "robot", "--grant-type", "client_credentials", way.flag}
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
			server.callTool(token)
			again(t, h, screen, server, token)
			if g := h.grants()[0]; !g.Renewable || g.Registration.ClientID != "robot" || i.signIns()+i.registrations() != 0 {
				t.Errorf("grant %+v, %d sign-ins, %d registrations", g, i.signIns(), i.registrations())
			}
			keepsSecrets(t, screen, []string{words, "PRIVATE KEY"}, i)
		})
	}
}

// TestWorkloadIdentity: the platform writes a JWT to a file and renews it; oidc-provider gives tokens for it.
func TestWorkloadIdentity(t *testing.T) {
	t.Parallel()
	h := newHeadless(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	platform := newPlatform(t, key)
	i := h.newIssuer("--access-ttl", "8", "--believes", platform, "--client", unattendedClient(t, map[string]any{
		"grant_types": []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "token_endpoint_auth_method": "none"}))
	server := newMCPServer(t, i)
	identity := func(life time.Duration) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "p1"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jwt.Signed(signer).Claims(jwt.Claims{Issuer: platform, Subject: "workload-7", Audience: jwt.Audience{i.url}, ID: rand.Text(),
			Expiry: jwt.NewNumericDate(time.Now().Add(life))}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	app, screen := h.runOnTerminal(h.appCommand("--browser", "false"))
	h.ready(app)

	none := h.run(h.command(program(t, "vk"), "client", server.url, "--client-id", "robot", "--assertion-file", "identity"))
	screen.asks("e2e.test asks to set the client ID for")
	screen.types("y\n")
	if code := none.wait(); code != 2 || !strings.Contains(none.err.String(), h.path("identity")) {
		t.Errorf("a file that is not there: exit code %d, %s", code, none.err.String())
	}
	expired, fresh := identity(-time.Hour), identity(time.Hour)
	h.write("identity", expired+"\n")
	if question := setClient(t, h, screen, "", server.url, "--client-id", "robot", "--assertion-file", "identity"); !strings.Contains(question, h.path("identity")) || !strings.Contains(question, i.url) {
		t.Errorf("asked:\n%s", question)
	}
	asked := h.run(h.command(program(t, "vk"), "token", "--scope", "notes:read", server.url))
	screen.asks("e2e.test wants to use")
	screen.types("a\n")
	if code := asked.wait(); code != 7 || !strings.Contains(asked.err.String(), "invalid_grant") {
		t.Errorf("with an identity that ran out: exit code %d, %s", code, asked.err.String())
	}
	h.write("identity", fresh+"\n")
	token, _ := tokenFor(t, h, screen, server)
	server.callTool(token)
	again(t, h, screen, server, token)
	keepsSecrets(t, screen, []string{expired, fresh}, i)
}

// newPlatform serves the key that a platform signs identities with, as an issuer does.
func newPlatform(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	listener := listenHere(t)
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
	h := newHeadless(t)
	const here, there = "the secret here", "the secret there"
	enterprise := h.newIssuer("--vouches", "robot", "--client", clientJSON(t, map[string]any{
		"client_id": "at-work", "client_secret": there, "token_endpoint_auth_method": "client_secret_basic",
		"grant_types": []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"}}))
	i := h.newIssuer("--access-ttl", "8", "--believes", enterprise.url, "--client", unattendedClient(t, map[string]any{
		"client_secret": here, "token_endpoint_auth_method": "client_secret_basic", "grant_types": []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"}}))
	server := newMCPServer(t, i)
	pages := hearPages(t, h.dir)
	app, screen := h.runOnTerminal(h.appCommand("--browser", "sh "+h.write("open-page", opener)))
	h.ready(app)

	question := setClient(t, h, screen, here+"\n"+there+"\n", server.url, "--client-id", "robot", "--secret-stdin",
		"--enterprise", enterprise.url, "--enterprise-client-id", "at-work", "--enterprise-secret-stdin")
	if !strings.Contains(question, "Your enterprise at "+enterprise.url+" speaks for you") {
		t.Errorf("asked:\n%s", question)
	}
	asked := h.run(h.command(program(t, "vk"), "token", "--scope", "notes:read", server.url))
	screen.asks("e2e.test wants to use")
	screen.types("a\n")
	select {
	case page := <-pages:
		if !strings.HasPrefix(page, enterprise.url) {
			t.Fatalf("the page is %s", page)
		}
		signInAt(t, page)
	case <-time.After(headlessPatience):
		t.Fatalf("no page opened\n%s", screen.output.String())
	}
	if code := asked.wait(); code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, asked.err.String(), screen.output.String())
	}
	token := strings.TrimSpace(asked.out.String())
	server.callTool(token)
	again(t, h, screen, server, token)
	if g := h.grants()[0]; g.Registration.Enterprise != enterprise.url || !g.Renewable || i.signIns() != 0 || enterprise.signIns() != 1 {
		t.Errorf("grant %+v, %d sign-ins here, %d there", g, i.signIns(), enterprise.signIns())
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
