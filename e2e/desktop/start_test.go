//go:build e2e && linux

package desktop

import (
	"strings"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

func TestStartingItAgainOpensItsWindow(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	a := d.valetkey()
	if len(d.windows(titleMain)) > 0 {
		t.Error("its window opens by itself")
	}
	for range 2 { // with its window closed, and open
		again := d.Host(rig.Program(t, "valetkey"))
		if said := again.Must(); !strings.Contains(said, "already running") {
			t.Errorf("the second one says %q", said)
		}
		d.window(titleMain).photo("main-empty")
	}
	if n := len(d.windows(titleMain)); n != 1 || !a.Running() {
		t.Errorf("%d windows are open, the first one runs: %t", n, a.Running())
	}
}

func TestItSaysWhatItCannotDoHere(t *testing.T) {
	const noBus = "DBUS_SESSION_BUS_ADDRESS="
	for name, test := range map[string]struct {
		env     []string
		says    []string // Valet Key, when it starts
		status  []string
		code    int // of a host that asks for a token
		answers []string
	}{
		"no display":    {[]string{"DISPLAY="}, []string{"there is no display", "--headless", "--policy"}, []string{"ok"}, 3, []string{"nobody to ask", "--headless"}},
		"wrong display": {[]string{"DISPLAY=:4711"}, nil, []string{"ok"}, 3, []string{"the person could not be asked", "--headless"}},
		"no session bus": {[]string{noBus, "XDG_RUNTIME_DIR=/nonexistent"}, nil, []string{"There is no session bus", "--keystore memory"}, 8,
			[]string{"there is no session bus", "--keystore memory"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesktop(t)
			d.keyring(password)
			issuer := d.Issuer()
			server := rig.NewServer(t, issuer)
			a := d.valetkey(test.env...)
			rig.Contains(t, "valetkey", a.Said(), test.says)
			rig.Contains(t, "vk status", d.VK("status").Must(), test.status)
			d.VK("token", server.URL).Fails(test.code, test.answers...)
			if !a.Running() || strings.Contains(a.Said(), "goroutine ") {
				t.Errorf("it runs: %t; it printed\n%s", a.Running(), a.Said())
			}
		})
	}
}
