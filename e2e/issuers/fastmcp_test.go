//go:build e2e && linux

package issuers

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

// newFastMCP starts peers/fastmcp_issuer.py on a port; its arguments are those after the port.
func newFastMCP(h *rig.Place, port int, args ...string) (server string) {
	h.T.Helper()
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	cmd := h.Command(rig.Peer(h.T, "more/.venv/bin/python"), append([]string{rig.Peer(h.T, "more/fastmcp_issuer.py"), fmt.Sprint(port)}, args...)...)
	p := h.Run(cmd)
	answers(h, p, base+"/mcp")
	return base + "/mcp"
}

// answers waits until a program answers at url, whatever it says.
func answers(h *rig.Place, p *rig.Process, url string) {
	h.T.Helper()
	client := &http.Client{Timeout: rig.Patience}
	defer client.CloseIdleConnections()
	rig.Until(h.T, url+" answers", func() bool {
		if !p.Running() {
			h.T.Fatalf("it ended\n%s%s", p.Out.String(), p.Err.String())
		}
		resp, err := client.Get(url)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

// passThrough is the person at an issuer whose page asks nothing.
func passThrough(b *rig.Browser, page string) {
	b.Do("open the issuer's page", chromedp.Navigate(page))
	b.At("the callback page", func(url string) bool { return strings.Contains(url, "/callback?") })
	b.Text("body")
}

// fastMCPLife leads the life up to its end, and returns the token that worked last.
func fastMCPLife(t *testing.T, l *life) (token string) {
	l.renewed(l.begin(), "notes:read")
	l.holds("notes:read")
	// FastMCP hides a tool that needs more, and sends no challenge for it: a host has to ask for the scope.
	if err := rig.CallWith(l.server, l.VK("token", l.server).Must(), l.writes.name, l.writes.arguments); err == nil {
		t.Error("a token for reading is good for writing")
	}
	l.signingIn(func() { token = l.VK("token", "--scope", "notes:read", "--scope", "notes:write", l.server).Must() })
	if err := rig.CallWith(l.server, token, l.writes.name, l.writes.arguments); err != nil {
		t.Fatal(err)
	}
	l.holds("notes:read", "notes:write")
	l.renewed(token, "notes:read", "notes:write")
	return l.VK("token", l.server).Must()
}

// TestLifeAtFastMCP leads a grant's life at each kind of sign-in that FastMCP has.
func TestLifeAtFastMCP(t *testing.T) {
	t.Run("its own issuer", func(t *testing.T) {
		h := rig.New(t)
		l := newLife(h, rig.Everyone)
		l.server = newFastMCP(h, rig.FreePort(t), "own")
		l.issuer, l.through = strings.TrimSuffix(l.server, "mcp"), func(page string) { passThrough(l.person, page) }
		token := fastMCPLife(t, l)
		if said := l.end(); said != "" {
			t.Errorf("vk forget says %s", said)
		}
		if rig.CallWith(l.server, token, l.reads.name, l.reads.arguments) == nil {
			t.Error("the server still takes the token")
		}
	})
	t.Run("its proxy in front of another issuer", func(t *testing.T) {
		h := rig.New(t)
		port := rig.FreePort(t)
		i := h.Issuer("--client", fmt.Sprintf(`{"client_id": "fastmcp", "client_secret": "proxied", "redirect_uris": ["http://127.0.0.1:%d/auth/callback"],
			"grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"]}`, port))
		l := newLife(h, rig.Everyone)
		l.server = newFastMCP(h, port, "proxy", i.URL, "fastmcp", "proxied")
		i.Secret = "proxied"
		l.issuer = strings.TrimSuffix(l.server, "mcp")
		l.through = func(page string) {
			const allow = `button[value=approve]`
			l.person.Do("open FastMCP's page", chromedp.Navigate(page), chromedp.WaitVisible(chromedp.CSS(allow)))
			l.person.Photo("fastmcp-question")
			l.person.Do("allow at FastMCP", chromedp.Click(chromedp.CSS(allow)))
			l.person.ThroughPages()
		}
		fastMCPLife(t, l)
		if got := l.narrowed("notes:read"); len(got) != 1 {
			t.Errorf("a token for notes:read is for %q", got)
		}
		for _, e := range i.Refreshes() {
			if !e.OK {
				t.Errorf("a refresh was refused at the issuer behind: %s", e.Error)
			}
		}
		if said := l.end(); said != "" {
			t.Errorf("vk forget says %s", said)
		}
		if code := i.Redeem(t, i.RefreshToken(t)); code != "invalid_grant" {
			t.Errorf("the refresh token is still good at the issuer behind: it answers %q", code)
		}
	})
	t.Run("the tokens of another issuer", func(t *testing.T) {
		h := rig.New(t)
		i := h.Issuer()
		l := newLife(h, rig.Everyone)
		l.server = newFastMCP(h, rig.FreePort(t), "remote", i.URL)
		l.issuer = i.URL
		fastMCPLife(t, l)
		if got := l.narrowed("notes:read"); len(got) != 1 {
			t.Errorf("a token for notes:read is for %q", got)
		}
		l.end()
		if code := i.Redeem(t, i.RefreshToken(t)); code != "invalid_grant" {
			t.Errorf("the refresh token is still good at the issuer: it answers %q", code)
		}
	})
}

// TestLifeAtTheTypeScriptSDK leads a grant's life at the demo issuer of the TypeScript SDK, which approves by itself, names
// itself with a slash at the end, gives no refresh token and revokes nothing.
func TestLifeAtTheTypeScriptSDK(t *testing.T) {
	h := rig.New(t)
	server, issuer := rig.FreePort(t), rig.FreePort(t)
	cmd := h.Command(rig.Node(t), rig.Peer(t, "more/node_modules/@modelcontextprotocol/sdk/dist/esm/examples/server/simpleStreamableHttp.js"), "--oauth", "--oauth-strict")
	cmd.Env = append(cmd.Env, fmt.Sprintf("MCP_PORT=%d", server), fmt.Sprintf("MCP_AUTH_PORT=%d", issuer))
	l := newLife(h, rig.Everyone)
	l.server, l.issuer = fmt.Sprintf("http://localhost:%d/mcp", server), fmt.Sprintf("http://localhost:%d/", issuer)
	l.reads, l.through = tool{"greet", map[string]any{"name": "Ann"}}, func(page string) { passThrough(l.person, page) }
	p := h.Run(cmd)
	answers(h, p, l.server)
	answers(h, p, l.issuer)

	first := l.begin()
	l.holds("mcp:tools")
	if again := l.VK("token", l.server).Must(); again != first {
		t.Error("another token while the first is good")
	}
	client := l.Client()
	defer client.Close()
	refused := localapi.TokenRequest{Resource: l.server, Refused: secret.New(first).SHA256(), Interaction: localapi.InteractionNone}
	if _, err := client.Token(t.Context(), refused); localapi.ExitCode(err) != localapi.ExitCode(localapi.ErrSignInRequired) {
		t.Errorf("without a refresh token: %v", err)
	}
	var second *localapi.Token
	var err error
	l.signingIn(func() {
		refused.Interaction = localapi.InteractionAuto
		second, err = client.Token(t.Context(), refused)
	})
	if err != nil || second.AccessToken.Reveal() == first {
		t.Fatalf("after the second sign-in: %v", err)
	}
	l.works(second.AccessToken.Reveal())
	if said := l.end(); !strings.Contains(said, "did not take the sign-in back (it has no revocation endpoint)") {
		t.Errorf("vk forget says %s", said)
	}
	l.works(second.AccessToken.Reveal()) // as was said
}
