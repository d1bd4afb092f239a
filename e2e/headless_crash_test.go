//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
)

// keychain starts a session bus and an unlocked gnome-keyring on it, for this test alone.
func (h *headless) keychain() {
	h.t.Helper()
	h.bus = "unix:path=" + h.path("bus")
	bus := h.run(h.command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address="+h.bus))
	var conn *dbus.Conn
	headlessWait(h.t, "a session bus", func() (up bool) {
		if !bus.running() {
			h.t.Fatalf("dbus-daemon: %s", bus.err.String())
		}
		var err error
		conn, err = dbus.Connect(h.bus)
		return err == nil
	})
	h.t.Cleanup(func() { conn.Close() })
	cmd := h.command("gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets")
	cmd.Stdin = strings.NewReader("correct horse")
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+h.dir)
	keyring := h.run(cmd)
	headlessWait(h.t, "a keychain", func() (owned bool) {
		if !keyring.running() {
			h.t.Fatalf("gnome-keyring-daemon: %s", keyring.err.String())
		}
		err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&owned)
		return err == nil && owned
	})
}

// headlessYes is a person who allows everything for always: it reads the app's output and types into its input.
type headlessYes struct {
	headlessOutput
	typed io.WriteCloser
}

func (y *headlessYes) Write(b []byte) (int, error) {
	switch { // a prompt is written at once
	case bytes.Contains(b, []byte("Your answer (d, o, ")):
		io.WriteString(y.typed, "a\n")
	case bytes.Contains(b, []byte("Your answer (d, y")):
		io.WriteString(y.typed, "y\n")
	}
	return y.headlessOutput.Write(b)
}

// allowing starts an app whose person allows everything for always.
func (h *headless) allowing(flags ...string) *headlessProcess {
	h.t.Helper()
	in, typed, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { typed.Close() })
	cmd := h.appCommand(flags...)
	cmd.Stdin, cmd.Stdout = in, &headlessYes{typed: typed}
	p := h.run(cmd)
	in.Close()
	h.ready(p)
	return p
}

// headlessCrashes is what a Valet Key that is killed again and again must not forget.
type headlessCrashes struct {
	*headless
	site    *headlessSite
	random  *rand.Rand
	there   bool // the grant was
	allowed bool // so was the consent
	again   int  // how often the person had to sign in again
}

// TestHeadlessCrash kills Valet Key at random points of sign-ins and refreshes, with a real keychain. It always starts
// again, keeps the grant and the consent, and gets tokens without a browser; only where the issuer had taken a refresh
// token whose successor was not written yet, the person has to sign in again.
func TestHeadlessCrash(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := &headlessCrashes{headless: newHeadless(t), site: newHeadlessSite(t, nil, nil), random: rand.New(rand.NewPCG(seed, 0))}
	c.keychain()
	for round := range 15 {
		app := c.allowing("--keystore", "keychain")
		c.remembers(round)
		c.strike(round, app)
		if strings.Contains(app.err.String(), "panic") || strings.Contains(app.err.String(), "level=ERROR") {
			t.Errorf("round %d: %s", round, app.err.String())
		}
	}
	if !c.allowed || c.again == 0 {
		t.Errorf("nothing was there to be lost: allowed %v, signed in again %d times", c.allowed, c.again)
	}
	t.Logf("signed in again after %d of 15 crashes; %d refreshes, %d sign-ins", c.again, c.site.refreshes(), c.site.signIns())
}

// remembers looks whether all is there that was there before the crash.
func (c *headlessCrashes) remembers(round int) {
	c.t.Helper()
	grants := c.grants()
	switch {
	case len(grants) > 1, c.there && len(grants) == 0:
		c.t.Fatalf("round %d: %d grants", round, len(grants))
	case c.allowed && (len(grants[0].Consents) != 1 || len(grants[0].Consents[0].Scopes) != 2):
		c.t.Fatalf("round %d: the consent is gone: %+v", round, grants[0])
	}
	if c.there = len(grants) == 1; !c.allowed {
		return
	}
	signIns := c.site.signIns()
	err := c.call(localapi.InteractionNone, demo.ScopeRead)
	switch {
	case errors.Is(err, localapi.ErrSignInRequired):
		c.again++
		if g := c.grants()[0]; g.State != localapi.StateSignIn || len(g.Consents) != 1 {
			c.t.Errorf("round %d: %+v", round, g)
		}
		if err := c.call(localapi.InteractionAuto, demo.ScopeRead); err != nil {
			c.t.Errorf("round %d: sign in again: %v", round, err)
		}
	case err != nil:
		c.t.Errorf("round %d: %v", round, err)
	case c.site.signIns() != signIns:
		c.t.Errorf("round %d: a browser was opened without need", round)
	}
}

// call asks for a token as a host, and checks that it is good.
func (c *headlessCrashes) call(interaction string, scopes ...string) error {
	client := c.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), headlessPatience)
	defer cancel()
	token, err := client.Token(ctx, localapi.TokenRequest{Resource: c.site.server, Scopes: scopes, Interaction: interaction})
	if err != nil {
		return err
	}
	if _, alive := c.site.inspect(token.AccessToken.Reveal()); !alive {
		c.t.Error("a dead token was handed out")
	}
	return nil
}

// work is what Valet Key is killed in: a first sign-in until there was one, then refreshes and, now and then, another
// sign-in.
func (c *headlessCrashes) work(round int) (done chan struct{}) {
	done = make(chan struct{})
	allowed := c.allowed
	go func() {
		defer close(done)
		if allowed && round%5 == 0 {
			client := c.client()
			defer client.Close()
			ctx, cancel := context.WithTimeout(context.Background(), headlessPatience)
			defer cancel()
			client.SignIn(ctx, localapi.SignInRequest{Resource: c.site.server})
			return
		}
		if c.call(localapi.InteractionAuto, demo.ScopeRead, demo.ScopeWrite) == nil {
			c.allowed, c.there = true, true
		}
		c.call(localapi.InteractionNone, demo.ScopeWrite)
	}()
	return done
}

// strike kills app in the middle of its work: at any time, shortly after the issuer has done its part, or when it has and
// its answer is still on the way, so that what it issued is lost for certain. Round 3 comes to its end.
func (c *headlessCrashes) strike(round int, app *headlessProcess) {
	c.t.Helper()
	within := func(d time.Duration) <-chan time.Time { return time.After(time.Duration(c.random.Int64N(int64(d)))) }
	issued, held := make(chan struct{}, 16), make(chan struct{})
	c.site.onWork(func(r *http.Request) {
		if r.URL.Path == demo.TokenPath {
			issued <- struct{}{}
			if round%3 == 2 {
				<-held
			}
		}
	})
	done := c.work(round)
	switch {
	case round == 3:
		<-done
	case round%3 == 0:
		<-within(200 * time.Millisecond)
	default:
		select {
		case <-issued:
		case <-done:
			c.t.Errorf("round %d: the issuer was not asked for a token", round)
		}
		if round%3 == 1 {
			<-within(50 * time.Millisecond)
		}
	}
	if round%2 == 0 {
		app.Process.Kill() // what it started goes on
		app.wait()
	} else {
		app.kill()
	}
	close(held)
	<-done
	c.site.onWork(nil)
}
