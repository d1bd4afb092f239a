//go:build e2e && linux

package desktop

import (
	"image"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

func TestThePersonForgetsAServerByMouse(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	a.letIn(d.VK("token", server.URL), d.Browser())
	token := issuer.RefreshToken(t)

	d.Host(rig.Program(t, "valetkey")).Must() // opens the window
	w := d.window(titleMain)
	w.focus()
	ready := func() bool { // a dot beside the server's name
		at := w.place("forget-ask")
		return has(w.look(), image.Rect(0, at.Min.Y, at.Min.X, at.Max.Y), colorReady)
	}
	rig.Until(t, "the server is in the window", ready)
	w.photo("main-before-forget")
	w.click("forget-ask")
	w.waitColored("forget", colorDanger)
	w.photo("main-forget")
	w.click("forget")
	rig.Until(t, "the grant is gone", func() bool { return len(d.Grants()) == 0 })
	rig.Until(t, "the issuer has revoked", func() bool {
		return len(issuer.Happened(func(e rig.Event) bool { return e.Event == "revocation" && e.OK })) > 0
	})
	if code := issuer.Redeem(t, token); code != "invalid_grant" {
		t.Errorf("the refresh token is still good at the issuer: it answers %q", code)
	}
	if found := d.output("secret-tool", "search", "--all", "service", "valetkey"); strings.Contains(found, "attribute.username = grant-") {
		t.Errorf("the keychain still has a grant:\n%s", found)
	}
	rig.Until(t, "the server is off the window", func() bool { return !w.has("forget-ask") && !ready() })
	w.photo("main-forgotten")
	d.VK("token", server.URL, "--no-interaction").Fails(4, "nobody signed in")
}
