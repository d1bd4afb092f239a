//go:build e2e

package keystore

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// desktop is a session of its own: home, runtime directory, bus. The person's real one is never touched.
type desktop struct {
	t    testing.TB
	home string
	env  []string
	conn *dbus.Conn
}

// newDesktop starts a session bus; activation says whether it starts the installed keychain on demand.
func newDesktop(t testing.TB, activation bool) *desktop {
	t.Helper()
	home, err := os.MkdirTemp("", "vk") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	d := &desktop{t: t, home: home, env: []string{
		"HOME=" + home, "XDG_RUNTIME_DIR=" + home, "XDG_DATA_HOME=" + home + "/data", "PATH=/usr/local/bin:/usr/bin:/bin",
		"GORACE=" + quick, "DBUS_SESSION_BUS_ADDRESS=unix:path=" + home + "/bus",
	}}
	t.Cleanup(func() { d.end(); os.RemoveAll(home) })
	args := []string{"--session"}
	if !activation {
		config := filepath.Join(home, "bus.conf")
		if err := os.WriteFile(config, []byte(`<busconfig><type>session</type><listen>unix:path=`+home+`/bus</listen>
			<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`), 0o600); err != nil {
			t.Fatal(err)
		}
		args = []string{"--config-file=" + config}
	}
	bus := d.command("dbus-daemon", append(args, "--nofork", "--nopidfile", "--address=unix:path="+home+"/bus", "--print-address=1")...)
	ready, err := bus.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.start(bus)
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the bus did not start: %v", err)
	}
	if d.conn, err = dbus.Connect("unix:path=" + home + "/bus"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.conn.Close() })
	return d
}

// command fails the test when a program is missing: there is no substitute for the real one.
func (d *desktop) command(program string, args ...string) *exec.Cmd {
	d.t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		d.t.Fatalf("%s is not installed: `make test` installs what this test needs", program)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = d.env
	return cmd
}

func (d *desktop) start(cmd *exec.Cmd) {
	d.t.Helper()
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

// processes lists the processes that live in this session.
func (d *desktop) processes() (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		d.t.Fatal(err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile("/proc/" + entry.Name() + "/environ") // gone, or another person's
		if bytes.Contains(env, []byte("HOME="+d.home+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (d *desktop) end() {
	for _, pid := range d.processes() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// owner is the process that is the keychain of the session; 0: none.
func (d *desktop) owner() int {
	var pid uint32
	if d.conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, secretsName).Store(&pid) != nil {
		return 0
	}
	return int(pid)
}

// changeOwner does what makes the keychain come or go, and waits until it is so.
func (d *desktop) changeOwner(come bool, do func()) {
	d.t.Helper()
	match := []dbus.MatchOption{
		dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, secretsName),
	}
	if err := d.conn.AddMatchSignal(match...); err != nil {
		d.t.Fatal(err)
	}
	changes := make(chan *dbus.Signal, 16)
	d.conn.Signal(changes)
	defer d.conn.RemoveSignal(changes)
	do()
	limit := time.After(20 * time.Second)
	for (d.owner() != 0) != come {
		select {
		case <-changes:
		case <-limit:
			d.t.Fatal("the keychain neither came nor went")
		}
	}
}

// unlock starts gnome-keyring with its login keyring open, as a login does.
func (d *desktop) unlock() {
	d.t.Helper()
	daemon := d.command("gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets")
	daemon.Stdin = strings.NewReader("password")
	d.changeOwner(true, func() { d.start(daemon) })
}

func (d *desktop) kill() {
	d.t.Helper()
	d.changeOwner(false, func() {
		if err := syscall.Kill(d.owner(), syscall.SIGKILL); err != nil {
			d.t.Fatal(err)
		}
	})
}

func (d *desktop) lock() {
	d.t.Helper()
	var locked []dbus.ObjectPath
	var prompt dbus.ObjectPath
	err := d.conn.Object(secretsName, secretsPath).Call(secretsService+".Lock", 0, []dbus.ObjectPath{loginCollection}).Store(&locked, &prompt)
	if err != nil || len(locked) != 1 {
		d.t.Fatalf("lock: %v, %v", locked, err)
	}
}

// keychain is the product, with the real child, in this session.
func (d *desktop) keychain() *Keychain {
	return NewKeychain(KeychainConfig{Command: child("real", ""), env: d.env, unlockDeadline: 20 * time.Second})
}

// mustFail checks a failure's kind, that it says why, and that it was quick.
func mustFail(t *testing.T, kind error, reason string, call func() error) {
	t.Helper()
	began := time.Now()
	err := call()
	var e *Error
	if !errors.As(err, &e) || e.kind != kind || !strings.Contains(e.reason, reason) {
		t.Errorf("got %v, want %v with %q", err, kind, reason)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("%v only after %v", err, took)
	}
}

func TestGnomeKeyring(t *testing.T) {
	d := newDesktop(t, true)
	d.unlock()
	t.Run("whole items", func(t *testing.T) { testStore(t, d.keychain()) })
	t.Run("split items", func(t *testing.T) {
		k := NewKeychain(KeychainConfig{Command: child("real", ""), env: d.env, Service: "split"})
		for _, n := range []int{100, 4 << 10, maxValue} {
			k.limit = max(2560, n/8)
			mustSet(t, k, "large", sample(n))
			mustHave(t, k, "large", sample(n))
		}
		if err := NewKeychain(k.cfg).Delete(context.Background(), "large"); err != nil {
			t.Fatal(err)
		}
		var left []dbus.ObjectPath
		search := map[string]string{"service": "split"}
		if err := d.conn.Object(secretsName, loginCollection).Call("org.freedesktop.Secret.Collection.SearchItems", 0, search).Store(&left); err != nil {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("%d items are left", len(left))
		}
	})
	if err := d.keychain().Probe(context.Background()); err != nil {
		t.Errorf("Probe: %v", err)
	}
}

// The bus is found in the runtime directory when no variable names it.
func TestBusFoundByItsPlace(t *testing.T) {
	d := newDesktop(t, true)
	d.unlock()
	k := NewKeychain(KeychainConfig{Command: child("real", ""), env: d.env[:5]})
	mustSet(t, k, "name", []byte("value"))
	mustHave(t, d.keychain(), "name", []byte("value"))
}

func TestLockedKeyring(t *testing.T) {
	d := newDesktop(t, true)
	d.unlock()
	ctx, k := context.Background(), d.keychain()
	mustSet(t, k, "name", []byte("value"))
	d.lock()
	mustFail(t, ErrLocked, "locked", func() error { return k.Probe(ctx) })
	mustFail(t, ErrLocked, "locked", func() error { return k.Set(Quiet(ctx), "name", []byte("new")) })
	// There is no display here, so nothing can show the dialog.
	mustFail(t, ErrLocked, "stayed locked", func() error { _, err := k.Get(ctx, "name"); return err })
	mustFail(t, ErrLocked, "stayed locked", func() error { return k.Set(ctx, "name", []byte("new")) })
	mustFail(t, ErrLocked, "stayed locked", func() error { return k.Delete(ctx, "name") })
	d.kill()
	d.unlock()
	mustHave(t, k, "name", []byte("value"))
}

func TestKilledDaemon(t *testing.T) {
	ctx := context.Background()
	t.Run("started again by the bus, locked", func(t *testing.T) {
		d := newDesktop(t, true)
		d.unlock()
		k := d.keychain()
		mustSet(t, k, "name", []byte("value"))
		d.kill()
		mustFail(t, ErrLocked, "locked", func() error { _, err := k.Get(ctx, "name"); return err })
		mustFail(t, ErrLocked, "locked", func() error { return k.Set(ctx, "name", []byte("new")) })
		d.kill()
		d.unlock()
		mustHave(t, k, "name", []byte("value"))
		mustSet(t, k, "name", []byte("new"))
	})
	t.Run("not started again", func(t *testing.T) {
		d := newDesktop(t, false)
		d.unlock()
		k := d.keychain()
		mustSet(t, k, "name", []byte("value"))
		d.kill()
		mustFail(t, ErrUnavailable, "no keychain runs", func() error { return k.Set(ctx, "name", []byte("new")) })
		mustFail(t, ErrUnavailable, "no keychain runs", func() error { return k.Probe(ctx) })
		d.unlock()
		mustHave(t, k, "name", []byte("value"))
	})
	t.Run("in the middle of a save", func(t *testing.T) {
		d := newDesktop(t, false)
		d.unlock()
		k := d.keychain()
		k.limit = 2560
		mustSet(t, k, "name", sample(5000))
		calls := 0
		k.run = func(ctx context.Context, req request) (answer, error) {
			if calls++; calls == 6 {
				d.kill()
			}
			return k.spawn(ctx, req)
		}
		mustFail(t, ErrUnavailable, "no keychain runs", func() error { return k.Set(ctx, "name", sample(9000)) })
		d.unlock()
		mustHave(t, k, "name", sample(5000))
		mustSet(t, k, "name", sample(9000))
		mustHave(t, d.keychain(), "name", sample(9000))
	})
	t.Run("stopped, not dead", func(t *testing.T) {
		d := newDesktop(t, false)
		d.unlock()
		k := d.keychain()
		k.cfg.deadline = time.Second
		mustSet(t, k, "name", []byte("value"))
		pid := d.owner()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		mustFail(t, ErrTimeout, "did not answer within", func() error { return k.Set(ctx, "name", []byte("new")) })
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		mustHave(t, k, "name", []byte("value"))
	})
}

func TestKilledBus(t *testing.T) {
	d := newDesktop(t, true)
	d.unlock()
	k := d.keychain()
	mustSet(t, k, "name", []byte("value"))
	d.end()
	mustFail(t, ErrUnavailable, "the session bus cannot be reached", func() error { _, err := k.Get(context.Background(), "name"); return err })
}

// A fresh account has no login keyring, and go-keyring never makes one.
func TestNoCollection(t *testing.T) {
	d := newDesktop(t, true)
	k := d.keychain()
	ctx := context.Background()
	mustFail(t, ErrUnavailable, "no collection yet", func() error { return k.Probe(ctx) })
	mustFail(t, ErrUnavailable, "no collection yet", func() error { return k.Set(ctx, "name", []byte("value")) })
	if d.owner() == 0 {
		t.Error("the keychain was not started on demand")
	}
}

func TestNoProvider(t *testing.T) {
	d := newDesktop(t, false)
	k := d.keychain()
	mustFail(t, ErrUnavailable, "no keychain runs", func() error { _, err := k.Get(context.Background(), "name"); return err })
}

// Without a bus go-keyring alone would start one, and a keychain on it, and leave both behind.
func TestNoStrayBus(t *testing.T) {
	d := &desktop{t: t, home: t.TempDir()}
	d.env = []string{"HOME=" + d.home, "XDG_RUNTIME_DIR=" + d.home, "PATH=/usr/local/bin:/usr/bin:/bin"}
	k := d.keychain()
	ctx := context.Background()
	for _, err := range []error{k.Probe(ctx), k.Set(ctx, "name", []byte("value")), k.Delete(ctx, "name")} {
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no session bus") {
			t.Errorf("%v", err)
		}
	}
	if pids := d.processes(); len(pids) > 0 {
		t.Errorf("processes %v were left behind", pids)
		d.end()
	}
}

func BenchmarkGnomeKeyring(b *testing.B) {
	d := newDesktop(b, true)
	d.unlock()
	ctx, k := context.Background(), d.keychain()
	value := sample(4 << 10)
	b.Run("Get", func(b *testing.B) {
		if err := k.Set(ctx, "name", value); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := k.Get(ctx, "name"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Set", func(b *testing.B) {
		for b.Loop() {
			if err := k.Set(ctx, "name", value); err != nil {
				b.Fatal(err)
			}
		}
	})
}
