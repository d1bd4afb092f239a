//go:build e2e && linux

package e2e

import (
	"strings"
	"testing"

	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
)

// TestHeadlessAudience: a server whose tokens are made out to another is refused, and let in by the person at the terminal.
func TestHeadlessAudience(t *testing.T) {
	t.Parallel()
	const other = "https://other.example.com"
	h := newHeadless(t)
	site := newHeadlessSite(t, func(c *demo.IssuerConfig) { c.Audience = other }, nil)
	app, screen := h.runOnTerminal(h.command(program(t, "valetkey-headless"), "--headless", "--keystore", "memory", "--state-dir", h.path("state"),
		"--browser", program(t, "vkdemo")+" browser --yes"))
	h.ready(app)

	refused := make(chan struct{})
	go func() {
		defer close(refused)
		h.fails(9, []string{"is not handed out", "audience " + other + ", expected " + site.server, "the quirk audience"}, "token", site.server)
	}()
	screen.asks("e2e.test wants to use")
	screen.types("a\n")
	question := screen.asks("Something is wrong with the tokens for")
	for _, words := range []string{"audience " + other, "expected " + site.server, "Note: Tokens made out to “" + other + "” are handed out"} {
		if !strings.Contains(question, words) {
			t.Errorf("the question does not say %q:\n%s", words, question)
		}
	}
	screen.types("d\n")
	<-refused
	h.fails(9, []string{"audience " + other}, "token", site.server) // a no holds, and is not asked about again
	out := h.must("token", "--explain", site.server)
	for _, words := range []string{"is wrong", "signature: right", "audience: WRONG", "expected  " + site.server, "found     " + other} {
		if !strings.Contains(out, words) {
			t.Errorf("vk token --explain does not say %q:\n%s", words, out)
		}
	}
	if asked := screen.rest(); strings.Contains(asked, "QUESTION") {
		t.Errorf("asked again:\n%s", asked)
	}

	// After a new sign-in the next program that needs it has the person asked anew, and this time they accept it.
	signedIn := make(chan struct{})
	go func() {
		defer close(signedIn)
		h.must("signin", site.server)
	}()
	screen.asks("e2e.test asks you to sign in")
	screen.types("y\n")
	<-signedIn
	two := h.run(h.command(h.copyOf("vkdemo", "two"), "host", "--server", site.server))
	screen.asks("two wants to use")
	screen.types("o\n")
	screen.asks("Something is wrong with the tokens for")
	screen.types("y\n")
	headlessWait(t, "the quirk is kept", func() bool { return len(h.grants()[0].Quirks) == 1 })
	two.kill() // it is about to learn that the server refuses such a token too
	h.must("token", "--no-interaction", site.server)
	if g := h.grants(); len(g) != 1 || len(g[0].Quirks) != 1 || g[0].Quirks[0].Value != other || g[0].Check.Result != localapi.CheckAccepted {
		t.Errorf("%+v", g)
	}
}
