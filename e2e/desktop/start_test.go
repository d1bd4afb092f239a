//go:build e2e && linux

package desktop

import (
	"os"
	"path/filepath"
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
		"wrong display": {[]string{"DISPLAY=:4711"}, nil, []string{"ok"}, 8, []string{"no window can be shown", "--headless"}},
		"gone display":  {[]string{"DISPLAY=", "WAYLAND_DISPLAY=wayland-gone"}, nil, []string{"ok"}, 8, []string{"no window can be shown", "--headless"}},
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
			if name != "no session bus" {
				again := d.Command(rig.Program(t, "valetkey"))
				again.Env = append(again.Env, test.env...)
				d.Run(again).Fails(1, "another Valet Key runs", "window")
			}
			if !a.Running() || strings.Contains(a.Said(), "goroutine ") {
				t.Errorf("it runs: %t; it printed\n%s", a.Running(), a.Said())
			}
		})
	}
}

// TestWithoutTheWindowProgram: valetkey runs, and says everywhere what to install.
func TestWithoutTheWindowProgram(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	server := rig.NewServer(t, d.Issuer())
	alone := filepath.Join(d.Path("alone"), "valetkey")
	if err := os.Mkdir(d.Path("alone"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyProgram(t, rig.Program(t, "valetkey"), alone)
	a := d.Run(d.Command(alone, "--state-dir", d.Path("state"), "--browser", d.opener))
	d.Ready(a)
	words := []string{"valetkey-window is not installed", "install it beside valetkey"}
	rig.Contains(t, "valetkey", a.Said(), words)
	rig.Contains(t, "vk status", d.VK("status").Must(), words)
	doctor := d.VK("doctor")
	doctor.Wait()
	rig.Contains(t, "vk doctor", doctor.Out.String(), words)
	d.VK("token", server.URL).Fails(8, words...)
	d.Start(alone).Fails(1, words[0])
}
