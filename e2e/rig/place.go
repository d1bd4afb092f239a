//go:build linux

package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/valetkey/valetkey/localapi"
)

// Patience is how long anything may take, with room for a machine that is busy with other tests.
const Patience = 30 * time.Second

// Until waits for something to become true.
func Until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", Patience, what)
		}
	}
}

// Contains fails unless all the words were said.
func Contains(t testing.TB, who, said string, words []string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("%s says\n%s\nwhich does not contain %q", who, said, w)
		}
	}
}

// Everyone is a policy that lets every program use every server.
const Everyone = `{"consents": [{"host": "*", "resource": "*", "scopes": ["*"]}]}`

// Place is where a test runs programs: a home, a socket and a state directory of their own, and nothing of the person's
// who runs the test. What runs in it ends with the test at the latest.
type Place struct {
	T        testing.TB
	Dir      string   // short, because the path of a socket must be
	bus      string   // address of the session bus; "" means that there is none
	Usual    bool     // the socket is at its usual place, for hosts that pass no VK_SOCK on
	More     []string // environment over the rest
	Watch    *Watch
	Pictures string // where photos go: a folder that VK_E2E_PICTURES names, or one that goes with the test

	mu      sync.Mutex
	started []*Process
}

// New makes a place without a display and a session bus.
func New(t testing.TB) *Place {
	t.Helper()
	dir, err := os.MkdirTemp("", "vk-")
	if err != nil {
		t.Fatal(err)
	}
	p := &Place{T: t, Dir: dir, Watch: &Watch{heard: map[string]string{}}, Pictures: os.Getenv("VK_E2E_PICTURES")}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what was printed:\n%s", p.printed())
		}
		os.RemoveAll(dir)
	})
	if p.Pictures == "" {
		p.Pictures = p.Path("pictures")
	}
	for _, dir := range []string{p.Path("home"), p.Pictures} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Path is the path of something in the place.
func (p *Place) Path(name string) string { return filepath.Join(p.Dir, name) }

// Socket is the path of Valet Key's.
func (p *Place) Socket() string {
	if !p.Usual {
		return p.Path("run/agent.sock")
	}
	dir := fmt.Sprintf("/run/user/%d", os.Getuid())
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return filepath.Join(dir, "valetkey", "agent.sock")
	}
	return p.Path("home/.local/state/valetkey/run/agent.sock")
}

// Env is the whole environment of every program here.
func (p *Place) Env() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.Path("home"), "LANG=C.UTF-8", "TERM=dumb"}
	if !p.Usual {
		env = append(env, "VK_SOCK="+p.Socket())
	}
	if p.bus != "" {
		env = append(env, "DBUS_SESSION_BUS_ADDRESS="+p.bus)
	}
	return append(env, p.More...)
}

// Write makes a file that only its owner may read.
func (p *Place) Write(name, text string) string { return p.WriteMode(name, text, 0o600) }

// WriteMode makes a file.
func (p *Place) WriteMode(name, text string, mode os.FileMode) string {
	p.T.Helper()
	path := p.Path(name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		p.T.Fatal(err)
	}
	return path
}

// Read is the content of a file.
func (p *Place) Read(name string) []byte {
	p.T.Helper()
	content, err := os.ReadFile(p.Path(name))
	if err != nil {
		p.T.Fatal(err)
	}
	return content
}

// CopyOf copies a program, so that it is another one for Valet Key.
func (p *Place) CopyOf(name, to string) string {
	p.T.Helper()
	content, err := os.ReadFile(Program(p.T, name))
	if err != nil {
		p.T.Fatal(err)
	}
	return p.WriteMode(to, string(content), 0o700)
}

// Command is a program that ends with the tests at the latest, together with all that it starts.
func (p *Place) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = p.Env(), p.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Run starts cmd. It is stopped when the test ends.
func (p *Place) Run(cmd *exec.Cmd) *Process {
	p.T.Helper()
	r := &Process{Cmd: cmd, t: p.T, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &r.Out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &r.Err
	}
	cmd.WaitDelay = 5 * time.Second // for output that a process left behind holds open
	started := make(chan error)
	go func() { // on a thread that lives as long as the process: the kernel takes the thread's end for the parent's
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(r.ended)
		}
	}()
	if err := <-started; err != nil {
		p.T.Fatal(err)
	}
	p.mu.Lock()
	p.started = append(p.started, r)
	p.mu.Unlock()
	p.T.Cleanup(r.Stop)
	return r
}

// Start is Run of a program with arguments.
func (p *Place) Start(name string, args ...string) *Process {
	p.T.Helper()
	return p.Run(p.Command(name, args...))
}

// VK starts vk, whose standard output is the answer to a host. That host is this test.
func (p *Place) VK(args ...string) *Process {
	p.T.Helper()
	return p.Host(Program(p.T, "vk"), args...)
}

// Host starts a program on whose standard output a token may stand.
func (p *Place) Host(name string, args ...string) *Process {
	p.T.Helper()
	r := p.Start(name, args...)
	r.answers = true
	p.Watch.note(r.Process.Pid)
	return r
}

// AppCommand is valetkey without windows. Later flags replace the first ones.
func (p *Place) AppCommand(flags ...string) *exec.Cmd {
	return p.Command(Program(p.T, "valetkey"), append([]string{
		"--headless", "--keystore", "memory", "--state-dir", p.Path("state"), "--browser", Program(p.T, "vkdemo") + " browser --yes",
	}, flags...)...)
}

// App starts valetkey without windows and waits until it answers.
func (p *Place) App(flags ...string) *Process {
	p.T.Helper()
	app := p.Run(p.AppCommand(flags...))
	p.Ready(app)
	return app
}

// Ready waits until app answers on its socket.
func (p *Place) Ready(app *Process) {
	p.T.Helper()
	client := p.Client()
	defer client.Close()
	Until(p.T, "Valet Key answers", func() bool {
		if !app.Running() {
			p.T.Fatalf("Valet Key ended with %v\n%s", app.ProcessState, app.Err.String())
		}
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		_, err := client.Status(ctx)
		return err == nil
	})
}

// Client is this test as a host.
func (p *Place) Client() *localapi.Client { return localapi.NewClient(p.Socket()) }

// Grants is what vk list knows.
func (p *Place) Grants() []localapi.Grant {
	p.T.Helper()
	var all localapi.Grants
	if err := json.Unmarshal([]byte(p.VK("list", "--json").Must()), &all); err != nil {
		p.T.Fatal(err)
	}
	return all.Grants
}

// SessionBus starts a session bus for this place alone.
func (p *Place) SessionBus() *dbus.Conn {
	p.T.Helper()
	p.bus = "unix:path=" + p.Path("bus")
	bus := p.Start("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address="+p.bus)
	var conn *dbus.Conn
	Until(p.T, "a session bus", func() (up bool) {
		if !bus.Running() {
			p.T.Fatalf("dbus-daemon: %s", bus.Err.String())
		}
		var err error
		conn, err = dbus.Connect(p.bus)
		return err == nil
	})
	p.T.Cleanup(func() { conn.Close() })
	return conn
}

// Keyring starts gnome-keyring on the session bus. With a password it is unlocked, and made if there is none yet.
func (p *Place) Keyring(bus *dbus.Conn, password string) *Process {
	p.T.Helper()
	args := []string{"--foreground", "--components=secrets"}
	if password != "" {
		args = append(args, "--unlock")
	}
	cmd := p.Command("gnome-keyring-daemon", args...)
	cmd.Stdin = strings.NewReader(password)
	cmd.Env = append([]string{"XDG_RUNTIME_DIR=" + p.Dir}, cmd.Env...) // unless the place has another
	keyring := p.Run(cmd)
	Until(p.T, "a keychain", func() bool {
		if !keyring.Running() {
			p.T.Fatalf("gnome-keyring-daemon: %s", keyring.Err.String())
		}
		return Owned(bus, "org.freedesktop.secrets")
	})
	return keyring
}

// Owned tells whether somebody has that name on the bus.
func Owned(bus *dbus.Conn, name string) bool {
	var owned bool
	err := bus.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, name).Store(&owned)
	return err == nil && owned
}

// Heard has the watch hear what all programs printed so far, but for the answers to hosts.
func (p *Place) Heard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.started {
		name := filepath.Base(r.Path)
		p.Watch.Said(name+"'s standard error", r.Err.String())
		if !r.answers {
			p.Watch.Said(name+"'s standard output", r.Out.String())
		}
	}
}

// printed is the end of what each process printed.
func (p *Place) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all strings.Builder
	for _, r := range p.started {
		if said := strings.TrimSpace(r.Said()); said != "" {
			fmt.Fprintf(&all, "--- %s\n%s\n", r, said[max(0, len(said)-20000):])
		}
	}
	return all.String()
}
