//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	patience = 20 * time.Second      // for anything on a desktop to happen
	glance   = 10 * time.Millisecond // between two looks
	password = "correct horse"       // of the keyring
)

// until waits for something to become true.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(glance) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// desktop is a display, a session bus and a window manager of its own in a home of its own. Panel and keyring are
// started when a test wants them.
type desktop struct {
	t        *testing.T
	dir      string // home, runtime directory, logs
	display  string
	address  string // of the bus
	bus      *dbus.Conn
	pictures string
	watch    *watch
	pages    <-chan string // that were opened in the browser
}

func newDesktop(t *testing.T) *desktop {
	t.Helper()
	dir, err := os.MkdirTemp("", "vkdesk-") // short: a socket's address must not be long
	if err != nil {
		t.Fatal(err)
	}
	d := &desktop{t: t, dir: dir, watch: newWatch(), pictures: os.Getenv("VK_E2E_PICTURES")}
	if d.pictures == "" {
		d.pictures = filepath.Join(t.TempDir(), "pictures")
	}
	t.Cleanup(func() { d.close() })
	for _, sub := range []string{"home/.cache", "home/.config/dunst", "home/.config/xfce4/xfconf/xfce-perchannel-xml", "run", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(d.pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	d.write("home/.config/dunst/dunstrc", notifications, 0o600)
	d.write("home/.config/xfce4/xfconf/xfce-perchannel-xml/xfce4-panel.xml", panelConfig, 0o600)

	d.pages = hearPages(t, dir)
	number := d.startAndHear("Xvfb", "-displayfd", "3", "-screen", "0", "1280x800x24", "-dpi", "96", "-nolisten", "tcp", "-noreset")
	d.display = ":" + number
	d.address = "unix:path=" + filepath.Join(dir, "run", "bus")
	d.startAndHear("dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=3", "--address="+d.address)
	if d.bus, err = dbus.Connect(d.address); err != nil {
		t.Fatal(err)
	}
	d.start("xfwm4", nil, "--compositor=off")
	until(t, "a window manager", func() bool {
		return strings.Contains(d.output("xprop", "-root", "_NET_SUPPORTING_WM_CHECK"), "window id")
	})
	return d
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
func (d *desktop) panel() *process {
	d.t.Helper()
	p := d.start("xfce4-panel", nil, "--disable-wm-check")
	until(d.t, "a tray", func() bool { return d.owned(watcherName) })
	return p
}

// keyring starts gnome-keyring. With a password it is unlocked, and made if there is none yet.
func (d *desktop) keyring(password string) *process {
	d.t.Helper()
	args := []string{"--foreground", "--components=secrets"}
	if password != "" {
		args = append(args, "--unlock")
	}
	p := d.start("gnome-keyring-daemon", strings.NewReader(password), args...)
	until(d.t, "a keychain", func() bool { return d.owned("org.freedesktop.secrets") })
	return p
}

func (d *desktop) owned(name string) bool {
	var owned bool
	err := d.bus.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, name).Store(&owned)
	return err == nil && owned
}

// pidOf is the process that owns a name on the bus.
func (d *desktop) pidOf(name string) int {
	var pid uint32
	if d.bus.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, name).Store(&pid) != nil {
		return 0
	}
	return int(pid)
}

func (d *desktop) write(name, text string, mode os.FileMode) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// env is the whole environment of everything on the desktop.
func (d *desktop) env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(d.dir, "home"), "XDG_RUNTIME_DIR=" + filepath.Join(d.dir, "run"),
		"DISPLAY=" + d.display, "DBUS_SESSION_BUS_ADDRESS=" + d.address, "LANG=C.UTF-8", "TZ=UTC", "NO_AT_BRIDGE=1",
		"XDG_CURRENT_DESKTOP=XFCE", "GSETTINGS_BACKEND=memory", "FYNE_THEME=light", "FYNE_SCALE=1",
		"VK_SOCK=" + filepath.Join(d.dir, "run", "vk", "agent.sock"),
	}
}

func (d *desktop) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = d.env()
	// A group of its own, so that what it starts ends with it; and none of it outlives the tests, however these end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// output runs a small tool and returns what it prints, "" when it fails.
func (d *desktop) output(name string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = d.env()
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// process is something that runs on the desktop until it is stopped, at the latest with the desktop.
type process struct {
	*exec.Cmd
	log   string // file with what it prints
	ended chan struct{}
}

// start runs name; what it prints goes to a file in log.
func (d *desktop) start(name string, stdin *strings.Reader, args ...string) *process {
	d.t.Helper()
	cmd := d.command(name, args...)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	return d.run(cmd)
}

// run starts cmd as one of the desktop's processes.
func (d *desktop) run(cmd *exec.Cmd) *process {
	d.t.Helper()
	log, err := os.CreateTemp(filepath.Join(d.dir, "log"), filepath.Base(cmd.Path)+"-")
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	cmd.Stderr = log
	p := &process{Cmd: cmd, log: log.Name(), ended: make(chan struct{})}
	d.launch(p)
	d.t.Cleanup(p.stop)
	return p
}

// launch starts p from a thread that lives as long as the process does: the kernel counts the end of the thread as that
// of the parent.
func (d *desktop) launch(p *process) {
	d.t.Helper()
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := p.Start()
		started <- err
		if err == nil {
			p.Wait()
			close(p.ended)
		}
		runtime.UnlockOSThread()
	}()
	if err := <-started; err != nil {
		d.t.Fatal(err)
	}
}

// startAndHear starts name and returns the first line it writes to descriptor 3, which tells that it is ready.
func (d *desktop) startAndHear(name string, args ...string) string {
	d.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		d.t.Fatal(err)
	}
	defer r.Close()
	cmd := d.command(name, args...)
	cmd.ExtraFiles = []*os.File{w}
	p := d.run(cmd)
	w.Close()
	r.SetReadDeadline(time.Now().Add(patience))
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := r.Read(b); err != nil {
			d.t.Fatalf("%s did not start: %v\n%s", name, err, p.said())
		}
		if b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[0])
	}
}

// said is all that p printed so far.
func (p *process) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// waitEnd waits for p to end by itself and returns its exit code.
func (p *process) waitEnd(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%s did not end within %v\n%s", filepath.Base(p.Path), patience, p.said())
	}
	return p.ProcessState.ExitCode()
}

// stop ends p politely, and with force what is left of its group.
func (p *process) stop() {
	if p.alive() {
		p.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(3 * time.Second):
		}
	}
	p.kill()
}

// kill ends p and its group at once.
func (p *process) kill() {
	syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// close runs after everything that the test started was stopped. What the bus started for others ends with the bus;
// what does not, and what our own programs left behind, is found by its environment.
func (d *desktop) close() {
	if d.bus != nil {
		d.bus.Close()
	}
	d.checkLeaks()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(glance) {
		left := d.leftovers()
		if len(left) == 0 {
			break
		}
		if time.Now().Before(end) {
			continue
		}
		for pid, cmdline := range left {
			if strings.Contains(cmdline, "valetkey") {
				d.t.Errorf("left behind: process %d, %s", pid, cmdline)
			}
			syscall.Kill(pid, syscall.SIGKILL)
		}
		break
	}
	if d.t.Failed() {
		d.t.Logf("what was printed:\n%s", d.logs())
		d.t.Logf("pictures are in %s if VK_E2E_PICTURES names a folder", d.pictures)
	}
	os.RemoveAll(d.dir)
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
		if err != nil || !bytes.Contains(env, []byte("="+d.dir)) {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		left[pid] = string(bytes.ReplaceAll(cmdline, []byte{0}, []byte(" ")))
	}
	return left
}

// logs are the last lines of what each process printed.
func (d *desktop) logs() string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(d.dir, "log", "*"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if b = bytes.TrimSpace(b); len(b) > 0 {
			fmt.Fprintf(&all, "--- %s\n%s\n", filepath.Base(f), b[max(0, len(b)-20000):])
		}
	}
	return all.String()
}
