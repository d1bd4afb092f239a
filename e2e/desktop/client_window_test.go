//go:build e2e && linux

package desktop

import (
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

// TestAClientIsTypedIntoTheWindow: the person adds a server with the keyboard, together with a client that gets tokens by
// itself. No browser opens.
func TestAClientIsTypedIntoTheWindow(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	const words = "hidden-words"
	issuer := d.Issuer("--client", rig.UnattendedClient(t, map[string]any{"client_secret": words, "grant_types": []string{"client_credentials"}}))
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	d.Host(rig.Program(t, "valetkey")).Must() // opens the window
	w := d.window(titleMain)
	w.focus()
	types := func(text string) { d.must("xdotool", "type", "--delay", "20", text) }
	w.click("add\nclient")
	w.waitColored("client-kind-0", colorPrimary) // its tick
	types(server.URL)
	w.click("client-kind-1")
	d.key("Tab", "Tab", "Tab") // over the other kinds
	types("robot")
	d.key("Tab")
	types(words)
	w.photo("client-typed")
	d.key("Tab", "Tab", "Tab", "Tab") // over the key's file and ID, and the way back
	w.photo("client-to-sign-in")
	d.key("space")

	ask := d.window(titleQuestion)
	ask.focus()
	ask.waitArmed("allow")
	ask.photo("client-question")
	ask.click("allow")
	rig.Until(t, "the server is there", func() bool { return len(d.Grants()) == 1 })
	g := d.Grants()[0]
	if g.Registration == nil || g.Registration.ClientID != "robot" || g.Registration.GrantType != "client_credentials" || !g.Renewable {
		t.Errorf("grant %+v", g)
	}
	a.noPage()
	rig.Until(t, "the issuer tells of the token", func() bool {
		return len(issuer.Happened(func(e rig.Event) bool { return e.Event == "token" && e.GrantType == "client_credentials" && e.OK })) == 1
	})
	w.focus()
	w.photo("client-set")
}
