//go:build e2e && linux

package desktop

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

func TestALockedKeychainIsSaidAndThePersonUnlocksIt(t *testing.T) {
	d := newDesktop(t)
	keyring := d.keyring(password)
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	a.letIn(d.VK("token", server.URL), d.Browser())
	a.Stop()
	keyring.Stop()
	rig.Until(t, "the keychain is gone", func() bool { return !rig.Owned(d.bus, "org.freedesktop.secrets") })
	d.keyring("")

	a = d.valetkey()
	if said := d.VK("status").Must(); !strings.Contains(said, "locked") || !strings.Contains(said, "Unlock") {
		t.Errorf("status does not say that the keychain is locked and what to do:\n%s", said)
	}
	asked := d.VK("token", server.URL)
	d.unlockDialog().photo("keychain-dialog")
	d.key("Escape")
	asked.Fails(5, "locked", "unlock")
	a.noWindow()

	asked = d.VK("token", server.URL)
	d.unlockDialog()
	d.must("xdotool", "type", "--delay", "20", password)
	d.key("Return")
	server.CallTool(asked.Must())
	a.noPage()
	if said := d.VK("status").Must(); strings.Contains(said, "locked") {
		t.Errorf("after unlocking, status still says\n%s", said)
	}
}

func TestAKeychainThatDiesLosesNothing(t *testing.T) {
	d := newDesktop(t)
	keyring := d.keyring(password)
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	token := a.letIn(d.VK("token", server.URL), d.Browser())

	keyring.Process.Signal(syscall.SIGKILL)
	keyring.Wait()
	if again := d.VK("token", server.URL).Must(); again != token { // what is in memory needs no keychain
		t.Error("the token changed")
	}
	refused := make(chan error, 1)
	go func() { _, err := a.renew(server.URL, token); refused <- err }()
	d.unlockDialog() // the bus has started another keychain, which is locked
	d.key("Escape")
	if err := <-refused; !errors.Is(err, localapi.ErrLocked) || hintOf(err) == "" {
		t.Errorf("while the keychain is locked the host hears: %v (hint %q)", err, hintOf(err))
	}
	if len(issuer.Refreshes()) != 0 {
		t.Error("the refresh token was spent although the next one could not be kept")
	}
	if g := d.Grants(); len(g) != 1 || len(g[0].Consents) != 1 {
		t.Errorf("the grant was lost: %+v", g)
	}

	asked := d.VK("token", server.URL)
	d.unlockDialog()
	d.must("xdotool", "type", "--delay", "20", password)
	d.key("Return")
	server.CallTool(asked.Must())
	a.noPage()
	a.noWindow()
}

// renew asks for a token as a host does whose server refused the one it has.
func (a *resident) renew(server, token string) (*localapi.Token, error) {
	client := a.d.Client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	return client.Token(ctx, localapi.TokenRequest{Resource: server, Refused: secret.New(token).SHA256()})
}

func hintOf(err error) string {
	var e *localapi.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

// unlockDialog waits for the keychain's own question.
func (d *desktop) unlockDialog() *window {
	d.T.Helper()
	w := &window{t: d.T, d: d}
	rig.Until(d.T, "the keychain's dialog", func() bool {
		w.id, _, _ = strings.Cut(d.output("xdotool", "search", "--onlyvisible", "--class", "gcr-prompter"), "\n")
		return w.id != "" && strings.TrimSpace(d.output("xdotool", "getactivewindow")) == w.id
	})
	return w
}
