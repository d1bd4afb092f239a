//go:build e2e && linux

package tray

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// limit is how long anything on a private bus may take.
const limit = 20 * time.Second

// startBus runs a bus of our own with nothing on it.
func startBus(t *testing.T) (address string) {
	t.Helper()
	address = "unix:path=" + filepath.Join(t.TempDir(), "bus")
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=3", "--address="+address)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil { // it prints its address when it listens
		t.Fatal(err)
	}
	r.Close()
	return address
}

// watcherBus is a StatusNotifierWatcher and host: it takes registrations and, as hosts do, reads the menu.
type watcherBus struct {
	t     *testing.T
	conn  *dbus.Conn
	items chan dbus.ObjectPath
	from  chan string
	host  bool

	mu    sync.Mutex
	known []string // as watchers list them
}

func startWatcher(t *testing.T, address string, host bool) *watcherBus {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w := &watcherBus{t: t, conn: conn, items: make(chan dbus.ObjectPath, 8), from: make(chan string, 8), host: host}
	if err := conn.Export(w, "/StatusNotifierWatcher", watcher); err != nil {
		t.Fatal(err)
	}
	if err := conn.Export(properties{w}, "/StatusNotifierWatcher", "org.freedesktop.DBus.Properties"); err != nil {
		t.Fatal(err)
	}
	if reply, err := conn.RequestName(watcher, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("own %s: %v, %v", watcher, reply, err)
	}
	return w
}

func (w *watcherBus) RegisterStatusNotifierItem(item string, sender dbus.Sender) *dbus.Error {
	w.mu.Lock()
	w.known = append(w.known, string(sender)+item)
	w.mu.Unlock()
	w.from <- string(sender)
	w.items <- dbus.ObjectPath(item)
	return nil
}

type properties struct{ w *watcherBus }

func (p properties) Get(_, name string) (dbus.Variant, *dbus.Error) {
	switch name {
	case "IsStatusNotifierHostRegistered":
		return dbus.MakeVariant(p.w.host), nil
	case "RegisteredStatusNotifierItems":
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		return dbus.MakeVariant(slices.Clone(p.w.known)), nil
	}
	return dbus.Variant{}, dbus.MakeFailedError(errors.New("no such property"))
}

// shown is the icon as the host sees it.
type shown struct {
	t    *testing.T
	conn *dbus.Conn
	item dbus.BusObject
	menu dbus.BusObject
}

func (w *watcherBus) next() *shown {
	w.t.Helper()
	select {
	case path := <-w.items:
		from := <-w.from
		s := &shown{t: w.t, conn: w.conn, item: w.conn.Object(from, path)}
		s.menu = w.conn.Object(from, s.property("Menu").(dbus.ObjectPath))
		return s
	case <-time.After(limit):
		w.t.Fatal("the icon was not registered")
		return nil
	}
}

func (s *shown) property(name string) any {
	s.t.Helper()
	v, err := s.item.GetProperty("org.kde.StatusNotifierItem." + name)
	if err != nil {
		s.t.Fatal(err)
	}
	return v.Value()
}

// colour is the icon's first pixel, ARGB.
func (s *shown) colour() string {
	pixmaps := s.property("IconPixmap").([][]any)
	return fmt.Sprintf("%x", pixmaps[0][2].([]byte)[:4])
}

type layout struct {
	ID       int32
	Props    map[string]dbus.Variant
	Children []dbus.Variant
}

// rows is the whole menu: label or separator, sub-menus indented, disabled rows in brackets.
func (s *shown) rows() (text string, ids map[string]int32) {
	s.t.Helper()
	var revision uint32
	var root layout
	call := s.menu.Call("com.canonical.dbusmenu.GetLayout", 0, int32(0), int32(-1), []string{})
	if err := call.Store(&revision, &root); err != nil {
		s.t.Fatal(err)
	}
	ids = map[string]int32{}
	var b strings.Builder
	var walk func(children []dbus.Variant, indent string)
	walk = func(children []dbus.Variant, indent string) {
		for _, c := range children {
			var l layout
			if err := dbus.Store([]any{c.Value()}, &l); err != nil {
				s.t.Fatal(err)
			}
			label, _ := l.Props["label"].Value().(string)
			ids[label] = l.ID
			switch enabled, ok := l.Props["enabled"].Value().(bool); {
			case l.Props["type"].Value() == "separator":
				label = "---"
			case ok && !enabled:
				label = "(" + label + ")"
			}
			b.WriteString(indent + label + "\n")
			walk(l.Children, indent+"  ")
		}
	}
	walk(root.Children, "")
	return b.String(), ids
}

// wait reads the menu until it is want. The first answer after a rebuild leaves the sub-menus out (systray does so on
// purpose), so one look is not enough.
func (s *shown) wait(want string) map[string]int32 {
	s.t.Helper()
	var got string
	var ids map[string]int32
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got, ids = s.rows(); got == want {
			return ids
		}
	}
	s.t.Fatalf("menu:\n%s\nwant:\n%s", got, want)
	return nil
}

func (s *shown) waitFor(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	s.t.Fatalf("did not happen: %s", what)
}

func (s *shown) click(id int32) {
	s.t.Helper()
	if err := s.menu.Call("com.canonical.dbusmenu.Event", 0, id, "clicked", dbus.MakeVariant(""), uint32(0)).Err; err != nil {
		s.t.Fatal(err)
	}
}

func icon(c color.Color) []byte {
	img := image.NewRGBA(image.Rect(0, 0, 22, 22))
	for x := range 22 {
		for y := range 22 {
			img.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestAvailable(t *testing.T) {
	ctx := context.Background()
	t.Run("no bus", func(t *testing.T) {
		for _, address := range []string{"disabled:", "unix:path=" + filepath.Join(t.TempDir(), "none")} {
			t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
			if err := Available(ctx); !errors.Is(err, ErrNoBus) {
				t.Errorf("%s: %v, want ErrNoBus", address, err)
			}
			if err := New(Config{}).Run(ctx); !errors.Is(err, ErrNoBus) {
				t.Errorf("%s: Run: %v, want ErrNoBus", address, err)
			}
		}
	})
	t.Run("no address starts no bus", func(t *testing.T) {
		if _, err := os.Stat(fmt.Sprintf("/run/user/%d/bus", os.Getuid())); err == nil {
			t.Skip("this account has a bus of its own")
		}
		dir := t.TempDir()
		trap := filepath.Join(dir, "dbus-launch")
		if err := os.WriteFile(trap, []byte("#!/bin/sh\n: > "+dir+"/started\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir)
		for _, address := range []string{"", "autolaunch:"} {
			t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
			if err := New(Config{}).Run(ctx); !errors.Is(err, ErrNoBus) {
				t.Errorf("%q: %v, want ErrNoBus", address, err)
			}
		}
		if _, err := os.Stat(dir + "/started"); err == nil {
			t.Error("a bus was started")
		}
	})
	t.Run("a bus that never answers", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "mute")
		mute, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer mute.Close()
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+path)
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := Available(ctx); !errors.Is(err, ErrNoBus) {
			t.Errorf("%v, want ErrNoBus", err)
		}
	})
	address := startBus(t)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
	if err := Available(ctx); !errors.Is(err, errNoHost) {
		t.Errorf("nobody watches: %v, want errNoHost", err)
	}
	w := startWatcher(t, address, false)
	if err := Available(ctx); !errors.Is(err, errNoHost) {
		t.Errorf("a watcher without a host: %v, want errNoHost", err)
	}
	w.conn.Close()
	startWatcher(t, address, true)
	if err := Available(ctx); err != nil {
		t.Errorf("a watcher with a host: %v", err)
	}
}

// TestTray takes one tray through its life. There is one in a process, so this is one test.
func TestTray(t *testing.T) {
	address := startBus(t)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
	var mu sync.Mutex
	var heard []string
	hear := func(what string) { mu.Lock(); heard = append(heard, what); mu.Unlock() }
	tray := New(Config{
		Icon: icon(color.RGBA{0, 0, 255, 255}), IconAttention: icon(color.RGBA{255, 0, 0, 255}), IconProblem: icon(color.RGBA{255, 255, 0, 255}),
		OnOpen: func() { hear("open") }, OnWish: func(w face.Wish) { hear(fmt.Sprintf("%T%+v", w, w)) },
	})
	tray.gap = 0
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- tray.Run(ctx) }() // nobody watches yet

	s := startTrayHost(t, address)
	heardNow := func(want string) {
		t.Helper()
		s.waitFor("a click heard: "+want, func() bool {
			mu.Lock()
			defer mu.Unlock()
			if strings.Join(heard, ", ") != want {
				return false
			}
			heard = nil
			return true
		})
	}
	const foot = "---\nOpen Valet Key\nQuit\n"
	ids := s.wait("(No servers yet)\n" + foot)
	if id, title := s.property("Id"), s.property("Title"); id != "Valet Key" || title != "Valet Key" {
		t.Errorf("id %q, title %q", id, title)
	}
	if c := s.colour(); c != "ff0000ff" {
		t.Errorf("icon %s, want blue", c)
	}
	s.click(ids["Open Valet Key"])
	heardNow("open")
	s.click(ids["Quit"])
	heardNow("face.WishQuit{}")

	// a question, a problem, a name with an underscore
	tray.Update(face.State{Keychain: "Locked.", Waiting: []face.Question{{Host: peer.Host{Name: "my_agent"}, Server: "https://a.example"}},
		Paused: []face.Paused{{Host: "exe:/x", Name: "x"}}})
	now := s.wait("my__agent asks for a.example…\nKeychain: Locked.\nx is paused\n  Resume now\n" + foot)
	s.waitFor("the red icon", func() bool { return s.colour() == "ffff0000" })
	s.click(ids["Open Valet Key"]) // a row that is gone
	s.click(now["Resume now"])
	heardNow("face.WishResume{Host:exe:/x}")
	tray.Update(face.State{Keychain: "Locked."})
	s.wait("Keychain: Locked.\n" + foot)
	s.waitFor("the yellow icon", func() bool { return s.colour() == "ffffff00" })

	// only the words change: the rows stay the same rows
	grants := func(state string) face.State {
		return face.State{Keychain: "ok", Grants: []localapi.Grant{{Server: "https://a.example", State: state}}}
	}
	tray.Update(grants(localapi.StateReady))
	ids = s.wait("a.example: ready\n  Sign in again\n  Forget…\n" + foot)
	tray.Update(grants(localapi.StateUnavailable))
	s.wait("a.example: issuer cannot be reached\n  Sign in again\n  Forget…\n" + foot)
	s.click(ids["Sign in again"])
	heardNow("face.WishSignIn{Server:https://a.example Account:}")

	// a time passes
	soon := grants(localapi.StateReady)
	soon.Grants[0].ExpiresAt = time.Now().Add(50 * time.Millisecond)
	tray.Update(soon)
	s.wait("a.example: ready\n  Sign in again\n  Forget…\n" + foot)
	tray.Update(grants(localapi.StateUnavailable))

	// the watcher goes and comes back
	s.conn.Close()
	s = startTrayHost(t, address)
	s.wait("a.example: issuer cannot be reached\n  Sign in again\n  Forget…\n" + foot)

	t.Run("clicks while the menu is rebuilt", func(t *testing.T) { hammer(t, address, tray, s) })

	if err := tray.Run(ctx); !errors.Is(err, errRanBefore) {
		t.Errorf("a second Run: %v", err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(limit):
		t.Fatal("Run did not end")
	}
}

func startTrayHost(t *testing.T, address string) *shown {
	t.Helper()
	return startWatcher(t, address, true).next()
}

// hammer rebuilds 1,000 times while somebody clicks rows that come and go, and looks at what is left behind.
func hammer(t *testing.T, address string, tray *Tray, s *shown) {
	clicker, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer clicker.Close()
	menu := clicker.Object(s.menu.Destination(), s.menu.Path())
	var newest atomic.Int32
	ctx, cancel := context.WithCancel(context.Background())
	var clicks sync.WaitGroup
	clicks.Go(func() {
		for ctx.Err() == nil {
			for id := newest.Load() - 8; id < newest.Load()+16; id++ {
				menu.Call("com.canonical.dbusmenu.Event", 0, id, "clicked", dbus.MakeVariant(""), uint32(0))
			}
		}
	})
	rebuild := func(from, to int) {
		for n := from; n < to; n++ {
			var state face.State
			for k := range 1 + n%3 {
				state.Grants = append(state.Grants, localapi.Grant{Server: fmt.Sprintf("https://s%d.example/%d", k, n), State: localapi.StateReady})
			}
			tray.Update(state)
			label := fmt.Sprintf("s0.example/%d: ready", n)
			s.waitFor(label, func() bool {
				_, ids := s.rows()
				newest.Store(max(newest.Load(), ids["Quit"]))
				return ids[label] != 0
			})
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	rebuild(0, 20)
	goroutines, bytes := runtime.NumGoroutine(), heap()
	rebuild(20, 1020)
	cancel()
	clicks.Wait()
	grown := int64(heap()) - int64(bytes)
	t.Logf("1,000 rebuilds: heap %+d bytes, goroutines %d -> %d", grown, goroutines, runtime.NumGoroutine())
	if grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	// systray itself keeps a goroutine for 150 ms after a rebuild that was looked at
	s.waitFor("no goroutine left behind", func() bool { return runtime.NumGoroutine() <= goroutines+4 })
}
