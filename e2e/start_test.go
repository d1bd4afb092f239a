//go:build e2e && linux

package e2e

import (
	"strings"
	"testing"
)

func TestStartingItAgainOpensItsWindow(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	a := d.valetkey()
	if len(d.windows(titleMain)) > 0 {
		t.Error("its window opens by itself")
	}
	for range 2 { // with its window closed, and open
		again := d.call(program(t, "valetkey"))
		if said := again.must(); !strings.Contains(said, "already running") {
			t.Errorf("the second one says %q", said)
		}
		d.window(titleMain).photo("main-empty")
	}
	if n := len(d.windows(titleMain)); n != 1 || !a.alive() {
		t.Errorf("%d windows are open, the first one runs: %t", n, a.alive())
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
			issuer := d.newIssuer()
			server := newMCPServer(t, issuer)
			a := d.valetkey(test.env...)
			contains(t, "valetkey", a.said(), test.says)
			contains(t, "vk status", a.vk("status").must(), test.status)
			a.vk("token", server.url).fails(test.code, test.answers...)
			if !a.alive() || strings.Contains(a.said(), "goroutine ") {
				t.Errorf("it runs: %t; it printed\n%s", a.alive(), a.said())
			}
		})
	}
}

func contains(t *testing.T, who, said string, words []string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("%s says\n%s\nwhich does not contain %q", who, said, w)
		}
	}
}
