//go:build e2e && linux

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/valetkey/valetkey/localapi"
)

// newFastMCP starts peers/fastmcp_issuer.py on a port; its arguments are those after the port.
func (h *headless) newFastMCP(port int, args ...string) (server string) {
	h.t.Helper()
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	cmd := h.command(peer(h.t, ".venv/bin/python"), append([]string{peer(h.t, "fastmcp_issuer.py"), fmt.Sprint(port)}, args...)...)
	p := h.run(cmd)
	h.answers(p, base+"/mcp")
	return base + "/mcp"
}

// answers waits until a program answers at url, whatever it says.
func (h *headless) answers(p *headlessProcess, url string) {
	h.t.Helper()
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	headlessWait(h.t, url+" answers", func() bool {
		if !p.running() {
			h.t.Fatalf("it ended\n%s%s", p.out.String(), p.err.String())
		}
		resp, err := client.Get(url)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

// passThrough is the person at an issuer whose page asks nothing.
func (b *chromium) passThrough(page string) {
	b.t.Helper()
	b.do("open the issuer's page", chromedp.Navigate(page))
	b.at("the callback page", func(url string) bool { return strings.Contains(url, "/callback?") })
	b.text("body")
}

// fastMCPLife leads the life up to its end, and returns the token that worked last.
func fastMCPLife(t *testing.T, l *life) (token string) {
	l.renewed(l.begin(), "notes:read")
	l.holds("notes:read")
	// FastMCP hides a tool that needs more, and sends no challenge for it: a host has to ask for the scope.
	if err := callWith(l.server, l.must("token", l.server), l.writes.name, l.writes.arguments); err == nil {
		t.Error("a token for reading is good for writing")
	}
	l.signingIn(func() { token, _, _ = l.vk("token", "--scope", "notes:read", "--scope", "notes:write", l.server) })
	if err := callWith(l.server, token, l.writes.name, l.writes.arguments); err != nil {
		t.Fatal(err)
	}
	l.holds("notes:read", "notes:write")
	l.renewed(token, "notes:read", "notes:write")
	return l.must("token", l.server)
}

// TestLifeAtFastMCP leads a grant's life at each kind of sign-in that FastMCP has.
func TestLifeAtFastMCP(t *testing.T) {
	t.Run("its own issuer", func(t *testing.T) {
		h := newHeadless(t)
		l := newLife(h, headlessEveryone)
		l.server = h.newFastMCP(freePort(t), "own")
		l.issuer, l.through = strings.TrimSuffix(l.server, "mcp"), l.person.passThrough
		token := fastMCPLife(t, l)
		if said := l.end(); said != "" {
			t.Errorf("vk forget says %s", said)
		}
		if callWith(l.server, token, l.reads.name, l.reads.arguments) == nil {
			t.Error("the server still takes the token")
		}
	})
	t.Run("its proxy in front of another issuer", func(t *testing.T) {
		h := newHeadless(t)
		port := freePort(t)
		i := h.newIssuer("--client", fmt.Sprintf(`{"client_id": "fastmcp", "client_secret": "proxied", "redirect_uris": ["http://127.0.0.1:%d/auth/callback"],
			"grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"]}`, port))
		l := newLife(h, headlessEveryone)
		l.server = h.newFastMCP(port, "proxy", i.url, "fastmcp", "proxied")
		i.secret = "proxied"
		l.issuer = strings.TrimSuffix(l.server, "mcp")
		l.through = func(page string) {
			const allow = `button[value=approve]`
			l.person.do("open FastMCP's page", chromedp.Navigate(page), chromedp.WaitVisible(chromedp.CSS(allow)))
			l.person.photo("fastmcp-question")
			l.person.do("allow at FastMCP", chromedp.Click(chromedp.CSS(allow)))
			l.person.throughPages()
		}
		fastMCPLife(t, l)
		if got := l.narrowed("notes:read"); len(got) != 1 {
			t.Errorf("a token for notes:read is for %q", got)
		}
		for _, e := range i.refreshes() {
			if !e.OK {
				t.Errorf("a refresh was refused at the issuer behind: %s", e.Error)
			}
		}
		if said := l.end(); said != "" {
			t.Errorf("vk forget says %s", said)
		}
		if code := i.redeem(t, i.refreshToken(t)); code != "invalid_grant" {
			t.Errorf("the refresh token is still good at the issuer behind: it answers %q", code)
		}
	})
	t.Run("the tokens of another issuer", func(t *testing.T) {
		h := newHeadless(t)
		i := h.newIssuer()
		l := newLife(h, headlessEveryone)
		l.server = h.newFastMCP(freePort(t), "remote", i.url)
		l.issuer = i.url
		fastMCPLife(t, l)
		if got := l.narrowed("notes:read"); len(got) != 1 {
			t.Errorf("a token for notes:read is for %q", got)
		}
		l.end()
		if code := i.redeem(t, i.refreshToken(t)); code != "invalid_grant" {
			t.Errorf("the refresh token is still good at the issuer: it answers %q", code)
		}
	})
}

// TestLifeAtTheTypeScriptSDK leads a grant's life at the demo issuer of the TypeScript SDK, which approves by itself, names
// itself with a slash at the end, gives no refresh token and revokes nothing.
func TestLifeAtTheTypeScriptSDK(t *testing.T) {
	h := newHeadless(t)
	server, issuer := freePort(t), freePort(t)
	cmd := h.command(node(t), peer(t, "node_modules/@modelcontextprotocol/sdk/dist/esm/examples/server/simpleStreamableHttp.js"), "--oauth", "--oauth-strict")
	cmd.Env = append(cmd.Env, fmt.Sprintf("MCP_PORT=%d", server), fmt.Sprintf("MCP_AUTH_PORT=%d", issuer))
	l := newLife(h, headlessEveryone)
	l.server, l.issuer = fmt.Sprintf("http://localhost:%d/mcp", server), fmt.Sprintf("http://localhost:%d/", issuer)
	l.reads, l.through = tool{"greet", map[string]any{"name": "Ann"}}, l.person.passThrough
	p := h.run(cmd)
	h.answers(p, l.server)
	h.answers(p, l.issuer)

	first := l.begin()
	l.holds("mcp:tools")
	if again := l.must("token", l.server); again != first {
		t.Error("another token while the first is good")
	}
	client := l.client()
	defer client.Close()
	refused := localapi.TokenRequest{Resource: l.server, Refused: headlessSum(first), Interaction: localapi.InteractionNone}
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
