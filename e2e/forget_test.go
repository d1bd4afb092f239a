//go:build e2e && linux

package e2e

import (
	"strings"
	"testing"
)

func TestThePersonForgetsAServerByMouse(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.newIssuer()
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	a.letIn(a.vk("token", server.url), d.browser())
	token := issuer.refreshToken(t)

	d.call(program(t, "valetkey")).must() // opens the window
	w := d.window(titleMain)
	w.focus()
	until(t, "the server is in the window", func() bool { return w.shows(spotServerIsReady, colorReady) })
	w.photo("main-before-forget")
	w.click(spotForget)
	sure := w.find("the question whether to forget", colorDanger)
	w.photo("main-forget")
	w.click(sure)
	until(t, "the grant is gone", func() bool { return len(a.grants()) == 0 })
	until(t, "the issuer has revoked", func() bool {
		return len(issuer.happened(func(e event) bool { return e.Event == "revocation" && e.OK })) > 0
	})
	if code := issuer.redeem(t, token); code != "invalid_grant" {
		t.Errorf("the refresh token is still good at the issuer: it answers %q", code)
	}
	if found := d.output("secret-tool", "search", "--all", "service", "valetkey"); strings.Contains(found, "attribute.username = grant-") {
		t.Errorf("the keychain still has a grant:\n%s", found)
	}
	until(t, "the server is off the window", func() bool { return !w.shows(spotServerIsReady, colorReady) })
	w.photo("main-forgotten")
	a.vk("token", server.url, "--no-interaction").fails(4, "nobody signed in")
}
