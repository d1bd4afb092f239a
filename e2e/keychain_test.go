//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

func TestALockedKeychainIsSaidAndThePersonUnlocksIt(t *testing.T) {
	d := newDesktop(t)
	keyring := d.keyring(password)
	issuer := d.newIssuer()
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	a.letIn(a.vk("token", server.url), d.browser())
	a.stop()
	keyring.stop()
	until(t, "the keychain is gone", func() bool { return !d.owned("org.freedesktop.secrets") })
	d.keyring("")

	a = d.valetkey()
	if said := a.vk("status").must(); !strings.Contains(said, "locked") || !strings.Contains(said, "Unlock") {
		t.Errorf("status does not say that the keychain is locked and what to do:\n%s", said)
	}
	asked := a.vk("token", server.url)
	d.unlockDialog().photo("keychain-dialog")
	d.key("Escape")
	asked.fails(5, "locked", "unlock")
	a.noWindow()

	asked = a.vk("token", server.url)
	d.unlockDialog()
	d.must("xdotool", "type", "--delay", "20", password)
	d.key("Return")
	server.callTool(asked.must())
	a.noPage()
	if said := a.vk("status").must(); strings.Contains(said, "locked") {
		t.Errorf("after unlocking, status still says\n%s", said)
	}
}

func TestAKeychainThatDiesLosesNothing(t *testing.T) {
	d := newDesktop(t)
	keyring := d.keyring(password)
	issuer := d.newIssuer()
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	token := a.letIn(a.vk("token", server.url), d.browser())

	keyring.Process.Signal(syscall.SIGKILL)
	keyring.waitEnd(t)
	if again := a.vk("token", server.url).must(); again != token { // what is in memory needs no keychain
		t.Error("the token changed")
	}
	refused := make(chan error, 1)
	go func() { _, err := a.renew(server.url, token); refused <- err }()
	d.unlockDialog() // the bus has started another keychain, which is locked
	d.key("Escape")
	if err := <-refused; !errors.Is(err, localapi.ErrLocked) || hintOf(err) == "" {
		t.Errorf("while the keychain is locked the host hears: %v (hint %q)", err, hintOf(err))
	}
	if len(issuer.refreshes()) != 0 {
		t.Error("the refresh token was spent although the next one could not be kept")
	}
	if g := a.grants(); len(g) != 1 || len(g[0].Consents) != 1 {
		t.Errorf("the grant was lost: %+v", g)
	}

	asked := a.vk("token", server.url)
	d.unlockDialog()
	d.must("xdotool", "type", "--delay", "20", password)
	d.key("Return")
	server.callTool(asked.must())
	a.noPage()
	a.noWindow()
}

// renew asks for a token as a host does whose server refused the one it has.
func (a *resident) renew(server, token string) (*localapi.Token, error) {
	client := localapi.NewClient(filepath.Join(a.d.dir, "run", "vk", "agent.sock"))
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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
	d.t.Helper()
	w := &window{t: d.t, d: d}
	until(d.t, "the keychain's dialog", func() bool {
		w.id, _, _ = strings.Cut(d.output("xdotool", "search", "--onlyvisible", "--class", "gcr-prompter"), "\n")
		return w.id != "" && strings.TrimSpace(d.output("xdotool", "getactivewindow")) == w.id
	})
	return w
}
