//go:build e2e && linux

package headless

import (
	"strings"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
)

// TestHeadlessAudience: a server whose tokens are made out to another is refused, and let in by the person at the terminal.
func TestHeadlessAudience(t *testing.T) {
	t.Parallel()
	const other = "https://other.example.com"
	h := rig.New(t)
	site := newDemoSite(t, func(c *demo.IssuerConfig) { c.Audience = other }, nil)
	app, screen := onTerminal(h, h.Command(rig.Program(t, "valetkey"), "--headless", "--keystore", "memory", "--state-dir", h.Path("state"),
		"--browser", rig.Program(t, "vkdemo")+" browser --yes"))
	h.Ready(app)

	refused := make(chan struct{})
	go func() {
		defer close(refused)
		h.VK("token", site.server).Fails(9, "is not handed out", "audience "+other+", expected "+site.server, "the quirk audience")
	}()
	screen.asks("headless.test wants to use")
	screen.types("a\n")
	question := screen.asks("Something is wrong with the tokens for")
	for _, words := range []string{"audience " + other, "expected " + site.server, "Note: Tokens made out to “" + other + "” are handed out"} {
		if !strings.Contains(question, words) {
			t.Errorf("the question does not say %q:\n%s", words, question)
		}
	}
	screen.types("d\n")
	<-refused
	h.VK("token", site.server).Fails(9, "audience "+other) // a no holds, and is not asked about again
	out := h.VK("token", "--explain", site.server).Must()
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
		h.VK("signin", site.server).Must()
	}()
	screen.asks("headless.test asks you to sign in")
	screen.types("y\n")
	<-signedIn
	two := h.Start(h.CopyOf("vkdemo", "two"), "host", "--server", site.server)
	screen.asks("two wants to use")
	screen.types("o\n")
	screen.asks("Something is wrong with the tokens for")
	screen.types("y\n")
	rig.Until(t, "the quirk is kept", func() bool { return len(h.Grants()[0].Quirks) == 1 })
	two.Kill() // it is about to learn that the server refuses such a token too
	h.VK("token", "--no-interaction", site.server).Must()
	if g := h.Grants(); len(g) != 1 || len(g[0].Quirks) != 1 || g[0].Quirks[0].Value != other || g[0].Check.Result != localapi.CheckAccepted {
		t.Errorf("%+v", g)
	}
}
