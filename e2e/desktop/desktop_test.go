//go:build e2e && linux

// Package desktop tests Valet Key as a person has it on a desktop: with windows, a tray, a keychain and a browser.
package desktop

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/valetkey/valetkey/e2e/rig"
)

const password = "correct horse" // of the keyring

// desktop is a place with a display, a session bus and a window manager of its own. Panel and keyring are started when a
// test wants them.
type desktop struct {
	*rig.Place
	bus    *dbus.Conn
	opener string        // the browser command: it hands the page to the test
	places string        // a file in which the windows' program says where its controls are
	pages  <-chan string // that were opened with it
}

func newDesktop(t *testing.T) *desktop {
	t.Helper()
	return newDesktopOn(t, "1280x800", "1")
}

// newDesktopOn is newDesktop with a screen of another size, and windows of another scale; "" leaves that to the desktop.
func newDesktopOn(t *testing.T, screen, scale string) *desktop {
	t.Helper()
	d := &desktop{Place: rig.New(t)}
	t.Cleanup(d.close)
	for _, sub := range []string{"home/.cache", "home/.config/dunst", "home/.config/xfce4/xfconf/xfce-perchannel-xml", "run"} {
		if err := os.MkdirAll(d.Path(sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d.Write("home/.config/dunst/dunstrc", notifications)
	d.Write("home/.config/xfce4/xfconf/xfce-perchannel-xml/xfce4-panel.xml", panelConfig)
	d.opener, d.pages = d.Opener()
	d.places = d.Path("places")
	d.More = []string{"TZ=UTC", "XDG_RUNTIME_DIR=" + d.Path("run"), "NO_AT_BRIDGE=1", "XDG_CURRENT_DESKTOP=XFCE", "GSETTINGS_BACKEND=memory",
		"FYNE_THEME=light", "FYNE_SCALE=" + scale, "DISPLAY=:" + d.display(screen), "VK_WINDOW_PLACES=" + d.places}
	d.bus = d.SessionBus()
	d.Start("xfwm4", "--compositor=off")
	rig.Until(t, "a window manager", func() bool {
		return strings.Contains(d.output("xprop", "-root", "_NET_SUPPORTING_WM_CHECK"), "window id")
	})
	return d
}

// display starts an X server and returns its number, which it tells when it is ready.
func (d *desktop) display(screen string) string {
	d.T.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		d.T.Fatal(err)
	}
	defer r.Close()
	cmd := d.Command("Xvfb", "-displayfd", "3", "-screen", "0", screen+"x24", "-dpi", "96", "-nolisten", "tcp", "-noreset")
	cmd.ExtraFiles = []*os.File{w}
	x := d.Run(cmd)
	w.Close()
	r.SetReadDeadline(time.Now().Add(rig.Patience))
	number, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		d.T.Fatalf("Xvfb did not start: %v\n%s", err, x.Said())
	}
	return strings.TrimSpace(number)
}

// panelConfig is a panel at the top with a list of windows, a tray and nothing else.
const panelConfig = `<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-panel" version="1.0">
  <property name="configver" type="int" value="2"/>
  <property name="panels" type="array">
    <value type="int" value="1"/>
    <property name="panel-1" type="empty">
      <property name="position" type="string" value="p=6;x=0;y=0"/>
      <property name="length" type="uint" value="100"/>
      <property name="position-locked" type="bool" value="true"/>
      <property name="size" type="uint" value="28"/>
      <property name="plugin-ids" type="array">
        <value type="int" value="1"/><value type="int" value="2"/><value type="int" value="3"/>
      </property>
    </property>
  </property>
  <property name="plugins" type="empty">
    <property name="plugin-1" type="string" value="tasklist"/>
    <property name="plugin-2" type="string" value="separator"><property name="expand" type="bool" value="true"/><property name="style" type="uint" value="0"/></property>
    <property name="plugin-3" type="string" value="systray"/>
  </property>
</channel>
`

// notifications keeps them out of the way of our windows.
const notifications = `[global]
origin = bottom-left
offset = 4x4
width = 180
height = 90
max_icon_size = 24
`

// panel starts the panel, whose tray plugin is a StatusNotifier watcher and host.
func (d *desktop) panel() *rig.Process {
	d.T.Helper()
	p := d.Start("xfce4-panel", "--disable-wm-check")
	rig.Until(d.T, "a tray", func() bool { return rig.Owned(d.bus, watcherName) })
	return p
}

// keyring starts gnome-keyring. With a password it is unlocked, and made if there is none yet.
func (d *desktop) keyring(password string) *rig.Process {
	d.T.Helper()
	return d.Keyring(d.bus, password)
}

// pidOf is the process that owns a name on the bus.
func (d *desktop) pidOf(name string) int {
	var pid uint32
	if d.bus.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, name).Store(&pid) != nil {
		return 0
	}
	return int(pid)
}

// output runs a small tool and returns what it prints, "" when it fails.
func (d *desktop) output(name string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = d.Env()
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// must runs a small tool that must not fail.
func (d *desktop) must(name string, args ...string) {
	d.T.Helper()
	cmd := d.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.T.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// close runs after everything that the test started was stopped. What the bus started for others ends with the bus;
// what does not, and what our own programs left behind, is found by its environment.
func (d *desktop) close() {
	d.checkLeaks()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := d.leftovers()
		if len(left) == 0 {
			break
		}
		if time.Now().Before(end) {
			continue
		}
		for pid, cmdline := range left {
			if strings.Contains(cmdline, "valetkey") {
				d.T.Errorf("left behind: process %d, %s", pid, cmdline)
			}
			syscall.Kill(pid, syscall.SIGKILL)
		}
		break
	}
	if d.T.Failed() {
		d.T.Logf("pictures are in %s if VK_E2E_PICTURES names a folder", d.Pictures)
	}
}

// checkLeaks fails the test if a secret left the few places where it belongs. The browser's own profile is the browser's.
func (d *desktop) checkLeaks() {
	d.T.Helper()
	d.Heard()
	for _, leak := range d.Watch.Leaks(d.Watch.Secrets(), d.Dir, "chromium") {
		d.T.Error(leak)
	}
}

// leftovers are the processes of this desktop that still run.
func (d *desktop) leftovers() map[int]string {
	left := map[int]string{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !bytes.Contains(env, []byte("="+d.Dir)) {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		left[pid] = string(bytes.ReplaceAll(cmdline, []byte{0}, []byte(" ")))
	}
	return left
}
