//go:build e2e && linux

package desktop

import (
	"testing"
	"time"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/localapi"
)

func TestAHostGetsFreshTokensAfterARestartAndThroughRotation(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.Issuer("--access-ttl", "2")
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	last := a.letIn(d.VK("token", server.URL), d.Browser())

	a.Stop()
	a = d.valetkey()
	token := d.VK("token", server.URL).Must()
	if token == last {
		t.Error("the token outlived the restart: it was written somewhere")
	}
	server.CallTool(token)
	for range 5 {
		last = token
		rig.Until(t, "a new token", func() bool { token = d.VK("token", server.URL).Must(); return token != last })
		server.CallTool(token)
	}
	if n := len(issuer.Refreshes()); n < 6 {
		t.Errorf("%d refreshes, want 6 or more", n)
	}
	a.noPage()
	a.noWindow()
	if n := issuer.SignIns(); n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
}

// TestAKillInMidRefreshCostsAtMostOneSignIn kills the program at different moments after the issuer has rotated the refresh
// token. Only if that was before the keychain had it may the person have to sign in, and nothing else is lost then.
func TestAKillInMidRefreshCostsAtMostOneSignIn(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	person := d.Browser()
	a.letIn(d.VK("token", server.URL), person)

	const rounds, step = 12, 3 * time.Millisecond
	lost := 0
	for round := range rounds {
		delay := time.Duration(round) * step
		a.crash()
		a = d.valetkey()
		before := len(issuer.Refreshes())
		d.VK("token", server.URL, "--no-interaction")
		rig.Until(t, "a refresh", func() bool { return len(issuer.Refreshes()) > before })
		for end := issuer.Refreshes()[before].At.Add(delay); time.Now().Before(end); {
			// sleeping is too coarse for this
		}
		a.crash()
		a.waitAlone()

		a = d.valetkey()
		got := d.VK("token", server.URL, "--no-interaction")
		code := got.Wait()
		grants := d.Grants()
		if len(grants) != 1 || len(grants[0].Consents) != 1 {
			t.Fatalf("killed %v after a refresh: the record was harmed: %+v", delay, grants)
		}
		switch code {
		case 0:
			continue
		case localapi.ExitCode(localapi.ErrSignInRequired):
			lost++
			t.Logf("killed %v after the issuer's answer: the person must sign in again", delay)
		default:
			t.Fatalf("killed %v after a refresh: exit code %d\n%s", delay, code, got.Err.String())
		}
		asked := d.VK("token", server.URL)
		w := d.window(titleQuestion)
		w.focus()
		w.waitArmed("allow")
		w.photo("sign-in-again")
		w.click("allow")
		person.SignIn(a.page())
		server.CallTool(asked.Must())
	}
	t.Logf("%d of %d kills within %v of the issuer's answer cost a sign-in", lost, rounds, (rounds-1)*step)
	if lost > rounds/4 {
		t.Errorf("%d of %d kills cost a sign-in: the new refresh token is written too late", lost, rounds)
	}
	if n := issuer.Registrations(); n != 1 {
		t.Errorf("%d registrations, want 1", n)
	}
}
