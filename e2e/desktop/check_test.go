//go:build e2e && linux

package desktop

import (
	"strings"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

// TestTokensOfAnIssuerAreChecked: oidc-provider's tokens, verified with the keys it publishes, and told about in words.
func TestTokensOfAnIssuerAreChecked(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	person := d.Browser()

	asked := d.VK("token", server.URL)
	w := d.window(titleQuestion)
	w.focus()
	w.waitArmed("allow")
	w.click("allow-more")
	w.click("allow-always")
	w.waitGone()
	person.SignIn(a.page())
	token := asked.Must()
	server.CallTool(token)

	said := d.VK("token", "--explain", server.URL).Must()
	rig.Contains(t, "vk token --explain", said, []string{"all five checks passed", "signature: right", "expiry: right", "audience: right", "issuer: right", "scope: right"})
	if strings.Contains(said, token) || strings.Contains(said, strings.Split(token, ".")[1]) {
		t.Error("the token is among the words")
	}
}

// TestTheWindowAcceptsAnAudience: a token that was made out to somebody else stays, until the person says otherwise.
func TestTheWindowAcceptsAnAudience(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.Issuer("--audience", "account")
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	person := d.Browser()

	asked := d.VK("token", server.URL)
	w := d.window(titleQuestion)
	w.focus()
	w.waitArmed("allow")
	w.click("allow-more")
	w.click("allow-always")
	w.waitGone()
	person.SignIn(a.page())
	w = d.window(titleQuestion)
	w.photo("quirk")
	if !asked.Running() {
		t.Fatal("the token left before the person was asked")
	}
	d.VK("token", "--no-interaction", server.URL).Fails(9, "audience account", "the quirk audience")
	w.focus()
	w.waitArmed("allow")
	w.click("allow")
	w.waitGone()
	if token := asked.Must(); strings.Count(token, ".") != 2 {
		t.Errorf("this is no JWT: %d bytes", len(token))
	}
	rig.Contains(t, "vk token --explain", d.VK("token", "--explain", server.URL).Must(), []string{
		"handed out: you accepted what is wrong with it", "audience: wrong, but you accepted it", "expected  " + server.URL, "found     account",
	})
}
