//go:build e2e && linux

package e2e

import (
	"strings"
	"testing"
)

// TestTokensOfAnIssuerAreChecked: oidc-provider's tokens, verified with the keys it publishes, and told about in words.
func TestTokensOfAnIssuerAreChecked(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.newIssuer()
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	person := d.browser()

	asked := a.vk("token", server.url)
	w := d.window(titleQuestion)
	w.focus()
	w.waitArmed(spotAllowOnceEnd)
	w.click(spotAllowMore)
	w.click(spotAlways)
	w.waitGone()
	person.signIn(a.page())
	token := asked.must()
	server.callTool(token)

	said := a.vk("token", "--explain", server.url).must()
	contains(t, "vk token --explain", said, []string{"all five checks passed", "signature: right", "expiry: right", "audience: right", "issuer: right", "scope: right"})
	if strings.Contains(said, token) || strings.Contains(said, strings.Split(token, ".")[1]) {
		t.Error("the token is among the words")
	}
}

// TestTheWindowAcceptsAnAudience: a token that was made out to somebody else stays, until the person says otherwise.
func TestTheWindowAcceptsAnAudience(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.newIssuer("--audience", "account")
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	person := d.browser()

	asked := a.vk("token", server.url)
	w := d.window(titleQuestion)
	w.focus()
	w.waitArmed(spotAllowOnceEnd)
	w.click(spotAllowMore)
	w.click(spotAlways)
	w.waitGone()
	person.signIn(a.page())
	w = d.window(titleQuestion)
	w.photo("quirk")
	if !asked.pending() {
		t.Fatal("the token left before the person was asked")
	}
	a.vk("token", "--no-interaction", server.url).fails(9, "audience account", "the quirk audience")
	w.focus()
	w.waitArmed(spotSignInEnd)
	w.click(spotSignIn)
	w.waitGone()
	if token := asked.must(); strings.Count(token, ".") != 2 {
		t.Errorf("this is no JWT: %d bytes", len(token))
	}
	contains(t, "vk token --explain", a.vk("token", "--explain", server.url).must(), []string{
		"handed out as you accepted it", "audience: not right, and accepted by you", "expected  " + server.url, "found     account",
	})
}
