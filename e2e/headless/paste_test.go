//go:build e2e && linux

package headless

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/demo"
)

// farAway is the network of another computer, from which the issuer can be reached and no callback.
type farAway struct {
	http.Transport
	endedOn string
}

// RoundTrip implements http.RoundTripper.
func (f *farAway) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/callback" {
		f.endedOn = r.URL.String()
		return nil, errors.New("connection refused")
	}
	return f.Transport.RoundTrip(r)
}

// TestHeadlessPaste: Valet Key runs on a machine that the person reaches by its terminal only, and their browser on
// another one. They take the page there by hand, and the address it ends on back.
func TestHeadlessPaste(t *testing.T) {
	t.Parallel()
	h := rig.New(t)
	issuer := h.Issuer()
	server := rig.NewServer(t, issuer)
	app, screen := onTerminal(h, h.AppCommand("--browser", "print"))
	h.Ready(app)

	asked := h.Start(rig.Program(t, "vk"), "token", server.URL)
	screen.asks("headless.test wants to use")
	screen.types("a\n")
	screen.shows("open this page in a browser:\n\n")
	page := screen.shows("\n\n")
	there := &farAway{}
	defer there.CloseIdleConnections()
	b := demo.Browser{Transport: there, Answer: func(_ context.Context, p *demo.Page) (url.Values, error) {
		for name := range p.Form.Texts {
			p.Form.Values.Set(name, map[string]string{"login": "ann", "password": "secret"}[name])
		}
		return p.Form.Values, nil
	}}
	if _, err := b.Open(t.Context(), page); err == nil || there.endedOn == "" {
		t.Fatalf("the browser ended on %q: %v", there.endedOn, err)
	}

	// Another question is not held up, and is no place to paste to.
	const prompt = "Paste that page's whole address here, to sign in to "
	screen.shows(prompt)
	other := h.Start(h.CopyOf("vk", "other"), "token", server.URL)
	screen.asks("other wants to use")
	screen.types(there.endedOn + "\n")
	screen.shows("That is none of the choices.")
	screen.types("d\n")
	screen.shows("Denied.")
	other.Wait()

	screen.shows(prompt)
	address, err := url.Parse(there.endedOn)
	if err != nil {
		t.Fatal(err)
	}
	screen.types(address.Query().Get("code") + "\n")
	screen.shows("That was not taken: this is not the whole address")
	screen.shows(prompt)
	screen.types(strings.Replace(there.endedOn, "state=", "state=x", 1) + "\n")
	screen.shows("That was not taken: this address belongs to another sign-in")
	screen.shows(prompt)
	screen.types(there.endedOn + "\n")
	screen.shows("The sign-in goes on with this address.")
	if code := asked.Wait(); code != 0 {
		t.Fatalf("exit code %d: %s\n%s", code, asked.Err.String(), screen.output.String())
	}
	server.CallTool(strings.TrimSpace(asked.Out.String()))
}
