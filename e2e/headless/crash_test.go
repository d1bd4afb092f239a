//go:build e2e && linux

package headless

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

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
)

// yesSayer is a person who allows everything for always: it reads the app's output and types into its input.
type yesSayer struct {
	rig.Output
	typed io.WriteCloser
}

func (y *yesSayer) Write(b []byte) (int, error) {
	switch { // a prompt is written at once
	case bytes.Contains(b, []byte("Your answer (d, o, ")):
		io.WriteString(y.typed, "a\n")
	case bytes.Contains(b, []byte("Your answer (d, y")):
		io.WriteString(y.typed, "y\n")
	}
	return y.Output.Write(b)
}

// allowing starts an app whose person allows everything for always.
func allowing(h *rig.Place, flags ...string) *rig.Process {
	h.T.Helper()
	in, typed, err := os.Pipe()
	if err != nil {
		h.T.Fatal(err)
	}
	h.T.Cleanup(func() { typed.Close() })
	cmd := h.AppCommand(flags...)
	cmd.Stdin, cmd.Stdout = in, &yesSayer{typed: typed}
	p := h.Run(cmd)
	in.Close()
	h.Ready(p)
	return p
}

// crashes is what a Valet Key that is killed again and again must not forget.
type crashes struct {
	*rig.Place
	site    *demoSite
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
	c := &crashes{Place: rig.New(t), site: newDemoSite(t, nil, nil), random: rand.New(rand.NewPCG(seed, 0))}
	c.Keyring(c.SessionBus(), "correct horse")
	for round := range 15 {
		app := allowing(c.Place, "--keystore", "keychain")
		c.remembers(round)
		c.strike(round, app)
		if strings.Contains(app.Err.String(), "panic") || strings.Contains(app.Err.String(), "level=ERROR") {
			t.Errorf("round %d: %s", round, app.Err.String())
		}
	}
	if !c.allowed || c.again == 0 {
		t.Errorf("nothing was there to be lost: allowed %v, signed in again %d times", c.allowed, c.again)
	}
	t.Logf("signed in again after %d of 15 crashes; %d refreshes, %d sign-ins", c.again, c.site.refreshes(), c.site.signIns())
}

// remembers looks whether all is there that was there before the crash.
func (c *crashes) remembers(round int) {
	c.T.Helper()
	grants := c.Grants()
	switch {
	case len(grants) > 1, c.there && len(grants) == 0:
		c.T.Fatalf("round %d: %d grants", round, len(grants))
	case c.allowed && (len(grants[0].Consents) != 1 || len(grants[0].Consents[0].Scopes) != 2):
		c.T.Fatalf("round %d: the consent is gone: %+v", round, grants[0])
	}
	if c.there = len(grants) == 1; !c.allowed {
		return
	}
	signIns := c.site.signIns()
	err := c.call(localapi.InteractionNone, demo.ScopeRead)
	switch {
	case errors.Is(err, localapi.ErrSignInRequired):
		c.again++
		if g := c.Grants()[0]; g.State != localapi.StateSignIn || len(g.Consents) != 1 {
			c.T.Errorf("round %d: %+v", round, g)
		}
		if err := c.call(localapi.InteractionAuto, demo.ScopeRead); err != nil {
			c.T.Errorf("round %d: sign in again: %v", round, err)
		}
	case err != nil:
		c.T.Errorf("round %d: %v", round, err)
	case c.site.signIns() != signIns:
		c.T.Errorf("round %d: a browser was opened without need", round)
	}
}

// call asks for a token as a host, and checks that it is good.
func (c *crashes) call(interaction string, scopes ...string) error {
	client := c.Client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	token, err := client.Token(ctx, localapi.TokenRequest{Resource: c.site.server, Scopes: scopes, Interaction: interaction})
	if err != nil {
		return err
	}
	if _, alive := c.site.inspect(token.AccessToken.Reveal()); !alive {
		c.T.Error("a dead token was handed out")
	}
	return nil
}

// work is what Valet Key is killed in: a first sign-in until there was one, then refreshes and, now and then, another
// sign-in.
func (c *crashes) work(round int) (done chan struct{}) {
	done = make(chan struct{})
	allowed := c.allowed
	go func() {
		defer close(done)
		if allowed && round%5 == 0 {
			client := c.Client()
			defer client.Close()
			ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
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
func (c *crashes) strike(round int, app *rig.Process) {
	c.T.Helper()
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
			c.T.Errorf("round %d: the issuer was not asked for a token", round)
		}
		if round%3 == 1 {
			<-within(50 * time.Millisecond)
		}
	}
	if round%2 == 0 {
		app.Process.Kill() // what it started goes on
		app.Wait()
	} else {
		app.Kill()
	}
	close(held)
	<-done
	c.site.onWork(nil)
}
