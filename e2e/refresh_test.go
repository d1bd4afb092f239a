//go:build e2e && linux

package e2e

import (
	"testing"
	"time"

	"github.com/valetkey/valetkey/localapi"
)

func TestAHostGetsFreshTokensAfterARestartAndThroughRotation(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.newIssuer("--access-ttl", "2")
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	last := a.letIn(a.vk("token", server.url), d.browser())

	a.stop()
	a = d.valetkey()
	token := a.vk("token", server.url).must()
	if token == last {
		t.Error("the token outlived the restart: it was written somewhere")
	}
	server.callTool(token)
	for range 5 {
		last = token
		until(t, "a new token", func() bool { token = a.vk("token", server.url).must(); return token != last })
		server.callTool(token)
	}
	if n := len(issuer.refreshes()); n < 6 {
		t.Errorf("%d refreshes, want 6 or more", n)
	}
	a.noPage()
	a.noWindow()
	if n := issuer.signIns(); n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
}

// TestAKillInMidRefreshCostsAtMostOneSignIn kills the program at different moments after the issuer has rotated the refresh
// token. Only if that was before the keychain had it may the person have to sign in, and nothing else is lost then.
func TestAKillInMidRefreshCostsAtMostOneSignIn(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.newIssuer()
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	person := d.browser()
	a.letIn(a.vk("token", server.url), person)

	const rounds, step = 12, 3 * time.Millisecond
	lost := 0
	for round := range rounds {
		delay := time.Duration(round) * step
		a.crash()
		a = d.valetkey()
		before := len(issuer.refreshes())
		a.vk("token", server.url, "--no-interaction")
		until(t, "a refresh", func() bool { return len(issuer.refreshes()) > before })
		for end := issuer.refreshes()[before].at.Add(delay); time.Now().Before(end); {
			// sleeping is too coarse for this
		}
		a.crash()
		a.waitAlone()

		a = d.valetkey()
		got := a.vk("token", server.url, "--no-interaction").wait()
		grants := a.grants()
		if len(grants) != 1 || len(grants[0].Consents) != 1 {
			t.Fatalf("killed %v after a refresh: the record was harmed: %+v", delay, grants)
		}
		switch got.code {
		case 0:
			continue
		case localapi.ExitCode(localapi.ErrSignInRequired):
			lost++
			t.Logf("killed %v after the issuer's answer: the person must sign in again", delay)
		default:
			t.Fatalf("killed %v after a refresh: exit code %d\n%s", delay, got.code, got.err)
		}
		asked := a.vk("token", server.url)
		w := d.window(titleQuestion)
		w.focus()
		w.waitArmed(spotSignInEnd)
		w.photo("sign-in-again")
		w.click(spotSignIn)
		person.signIn(a.page())
		server.callTool(asked.must())
	}
	t.Logf("%d of %d kills within %v of the issuer's answer cost a sign-in", lost, rounds, (rounds-1)*step)
	if lost > rounds/4 {
		t.Errorf("%d of %d kills cost a sign-in: the new refresh token is written too late", lost, rounds)
	}
	if n := issuer.registrations(); n != 1 {
		t.Errorf("%d registrations, want 1", n)
	}
}
