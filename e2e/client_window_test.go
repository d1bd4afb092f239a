//go:build e2e && linux

package e2e

import "testing"

// Where things are in the main window while it has no server, and in a question whose yes is short.
var (
	spotHaveClient  = spot{322, 311}
	spotByItself    = spot{270, 388}
	spotShortSignIn = spot{-58, -34}
)

// TestAClientIsTypedIntoTheWindow: the person adds a server with the keyboard, together with a client that gets tokens by
// itself. No browser opens.
func TestAClientIsTypedIntoTheWindow(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	const words = "hidden-words"
	issuer := d.newIssuer("--client", unattendedClient(t, map[string]any{"client_secret": words, "grant_types": []string{"client_credentials"}}))
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	d.call(program(t, "valetkey")).must() // opens the window
	w := d.window(titleMain)
	w.focus()
	types := func(text string) { d.must("xdotool", "type", "--delay", "20", text) }
	w.click(spotHaveClient)
	w.findFilled("the tick of the first kind", colorPrimary, 4, 4)
	types(server.url)
	w.click(spotByItself)
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
	ask.waitArmed(spotSignInEnd)
	ask.photo("client-question")
	ask.click(spotShortSignIn)
	until(t, "the server is there", func() bool { return len(a.grants()) == 1 })
	g := a.grants()[0]
	if g.Registration == nil || g.Registration.ClientID != "robot" || g.Registration.GrantType != "client_credentials" || !g.Renewable {
		t.Errorf("grant %+v", g)
	}
	a.noPage()
	until(t, "the issuer tells of the token", func() bool {
		return len(issuer.happened(func(e event) bool { return e.Event == "token" && e.GrantType == "client_credentials" && e.OK })) == 1
	})
	w.focus()
	w.photo("client-set")
}
