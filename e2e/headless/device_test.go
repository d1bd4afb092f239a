//go:build e2e && linux

package headless

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/demo"
)

// TestHeadlessDevice: the person signs in on another device, on oidc-provider's own pages, with the code that the
// terminal shows: on a machine without a browser, or because they chose so in the question.
func TestHeadlessDevice(t *testing.T) {
	t.Parallel()
	t.Run("at the start", func(t *testing.T) { t.Parallel(); signInByDevice(t, []string{"--browser", "device"}, "a\n") })
	t.Run("in the question", func(t *testing.T) { t.Parallel(); signInByDevice(t, []string{"--browser", "false"}, "v\na\n") })
}

func signInByDevice(t *testing.T, flags []string, answer string) {
	h := rig.New(t)
	issuer := h.Issuer("--device")
	server := rig.NewServer(t, issuer)
	app, screen := onTerminal(h, h.AppCommand(flags...))
	h.Ready(app)

	asked := h.Start(rig.Program(t, "vk"), "token", server.URL)
	screen.asks("headless.test wants to use")
	screen.types(answer)
	screen.shows("open this page in a browser on any device:\n\n")
	page := screen.shows("\n\nand enter this code there: ")
	code := screen.shows("\n")
	if page != issuer.URL+"/device" {
		t.Fatalf("the terminal shows the page %q", page)
	}
	enterCode(t, page, "wrong-code", "The code you entered is incorrect")
	enterCode(t, page, code, "Sign-in Success")
	if status := asked.Wait(); status != 0 {
		t.Fatalf("exit code %d: %s\n%s", status, asked.Err.String(), screen.output.String())
	}
	server.CallTool(strings.TrimSpace(asked.Out.String()))

	rig.Until(t, "the issuer tells of it", func() bool {
		return len(issuer.Happened(func(e rig.Event) bool {
			return e.Event == "token" && strings.HasSuffix(e.GrantType, ":device_code") && e.OK
		})) == 1
	})
	grants := h.Grants()
	if len(grants) != 1 || !grants[0].Renewable {
		t.Errorf("grants %+v", grants)
	}
	for _, e := range issuer.Happened(func(e rig.Event) bool { return e.Event == "secret" }) {
		if strings.Contains(screen.output.String(), e.Value) {
			t.Errorf("the terminal shows a %s", e.Kind)
		}
	}
}

// enterCode is the person on the other device, until a page has no form, or is the first one again.
func enterCode(t *testing.T, page, code, want string) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var said []string
	b := demo.Browser{Transport: transport, Answer: func(_ context.Context, p *demo.Page) (url.Values, error) {
		said = append(said, strings.Join(p.Lines, " "))
		if strings.Contains(said[len(said)-1], want) {
			return nil, context.Canceled
		}
		values := p.Form.Values
		for name := range p.Form.Texts {
			values.Set(name, map[string]string{"user_code": code, "login": "ann", "password": "secret"}[name])
		}
		return values, nil
	}}
	last, err := b.Open(t.Context(), page)
	if last != nil {
		said = append(said, strings.Join(last.Lines, " "))
	}
	if !strings.Contains(strings.Join(said, "\n"), want) {
		t.Fatalf("no page says %q: %v\n%s", want, err, strings.Join(said, "\n"))
	}
}
