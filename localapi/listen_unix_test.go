//go:build unix

package localapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestListenModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	addr := filepath.Join(filepath.Dir(socketAddr(t)), "made", "by", "us", "agent.sock")
	ln, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		addr:                             os.ModeSocket | 0o600,
		addr + ".lock":                   0o600,
		filepath.Dir(addr):               os.ModeDir | 0o700,
		filepath.Dir(filepath.Dir(addr)): os.ModeDir | 0o700,
	} {
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if now := syscall.Umask(0); now != 0 {
		t.Errorf("the umask is left at %04o", now)
	}
	if err := errors.Join(ln.Close(), ln.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := os.Lstat(addr); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestSecondApp(t *testing.T) {
	addr := socketAddr(t)
	first, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	isRunning := func(when string) {
		t.Helper()
		if _, err := Listen(addr); !errors.Is(err, ErrRunning) {
			t.Errorf("%s: %v", when, err)
		}
	}
	isRunning("while the first lives")
	if conn, err := net.Dial("unix", addr); err != nil {
		t.Errorf("the second took the socket away: %v", err)
	} else {
		conn.Close()
	}
	if err := os.Remove(addr + ".lock"); err != nil {
		t.Fatal(err)
	}
	isRunning("when somebody deleted the lock file")
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	first.Close()

	third, err := Listen(addr)
	if err != nil {
		t.Fatalf("after the first closed: %v", err)
	}
	if err := third.stop(); err != nil {
		t.Fatal(err)
	}
	isRunning("while the first drains")
	third.Close()
}

// leaveStale leaves a socket behind as a killed app does.
func leaveStale(t *testing.T, addr string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: addr})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

func TestStaleSocketIsReplaced(t *testing.T) {
	addr := socketAddr(t)
	leaveStale(t, addr)
	ln, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}

func TestForeignSocketSurvivesClose(t *testing.T) {
	addr := socketAddr(t)
	ln, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(addr); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(addr, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(addr); err != nil {
		t.Errorf("Close removed what it had not made: %v", err)
	}
}

func TestListenRefuses(t *testing.T) {
	for name, prepare := range map[string]func(dir string) (addr, says string){
		"a file in the way": func(dir string) (string, string) {
			addr := filepath.Join(dir, "agent.sock")
			must(t, os.WriteFile(addr, []byte("precious"), 0o600))
			return addr, addr + " is in the way: it is not a socket"
		},
		"a link in the way": func(dir string) (string, string) {
			addr := filepath.Join(dir, "agent.sock")
			must(t, os.Symlink("/dev/null", addr))
			return addr, "not a socket"
		},
		"an open directory": func(dir string) (string, string) {
			must(t, os.Chmod(dir, 0o750))
			return filepath.Join(dir, "agent.sock"), dir + " is open to other users (mode 0750)"
		},
		"a directory above that anybody can change": func(dir string) (string, string) {
			must(t, os.Mkdir(filepath.Join(dir, "run"), 0o700))
			must(t, os.Chmod(dir, 0o777))
			return filepath.Join(dir, "run", "agent.sock"), dir + " can be changed by other users (mode 0777)"
		},
		"a link for a directory": func(dir string) (string, string) {
			must(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
			must(t, os.Symlink("real", filepath.Join(dir, "link")))
			return filepath.Join(dir, "link", "agent.sock"), filepath.Join(dir, "link") + " is a symbolic link"
		},
		"a loop of links": func(dir string) (string, string) {
			must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
			return filepath.Join(dir, "loop", "run", "agent.sock"), "too many symbolic links"
		},
		"a file for a directory": func(dir string) (string, string) {
			must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
			return filepath.Join(dir, "file", "agent.sock"), filepath.Join(dir, "file") + " is not a directory"
		},
		"a relative path": func(string) (string, string) { return "agent.sock", "not an absolute path" },
		"a long path": func(dir string) (string, string) {
			return filepath.Join(dir, strings.Repeat("x", 200)), fmt.Sprintf("this system allows %d", pathLimit)
		},
		"a link for the lock": func(dir string) (string, string) {
			must(t, os.Symlink("elsewhere", filepath.Join(dir, "agent.sock.lock")))
			return filepath.Join(dir, "agent.sock"), "agent.sock.lock"
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr, says := prepare(filepath.Dir(socketAddr(t)))
			ln, err := Listen(addr)
			if err == nil {
				ln.Close()
				t.Fatal("it listens")
			}
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "%!") {
				t.Errorf("says %q, want %q", err, says)
			}
			if errors.Is(err, ErrRunning) {
				t.Errorf("%v is ErrRunning", err)
			}
		})
	}
}

func TestListenRefusesAnotherUsersDirectory(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a directory to another user")
	}
	dir := filepath.Dir(socketAddr(t))
	must(t, os.Chown(dir, 12345, -1))
	for _, addr := range []string{filepath.Join(dir, "agent.sock"), filepath.Join(dir, "run", "agent.sock")} {
		if ln, err := Listen(addr); err == nil {
			ln.Close()
			t.Errorf("listens at %s", addr)
		} else if !strings.Contains(err.Error(), dir+" belongs to another user (uid 12345)") {
			t.Errorf("says %q", err)
		}
	}
}

func TestListenFollowsOwnLinksAbove(t *testing.T) {
	dir := filepath.Dir(socketAddr(t))
	must(t, os.Mkdir(filepath.Join(dir, "disk"), 0o700))
	must(t, os.Symlink("disk", filepath.Join(dir, "relative")))
	must(t, os.Symlink(filepath.Join(dir, "relative"), filepath.Join(dir, "home")))
	addr := filepath.Join(dir, "home", "run", "agent.sock")
	ln, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := os.Stat(filepath.Join(dir, "disk", "run")); err != nil {
		t.Error(err)
	}
}

// With no app, a call must not wait. Wait is longer than the test may run, so waiting would fail it.
func TestNotRunningIsSaidAtOnce(t *testing.T) {
	for name, prepare := range map[string]func(addr string){
		"nothing there":  func(string) {},
		"a stale socket": func(addr string) { leaveStale(t, addr) },
		"a stale lock":   func(addr string) { must(t, os.WriteFile(addr+".lock", nil, 0o600)) },
		"a file":         func(addr string) { must(t, os.WriteFile(addr, nil, 0o600)) },
		"no directory":   func(addr string) { must(t, os.Remove(filepath.Dir(addr))) },
		"file for the dir": func(addr string) {
			must(t, os.Remove(filepath.Dir(addr)))
			must(t, os.WriteFile(filepath.Dir(addr), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr := socketAddr(t)
			prepare(addr)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c := newTestClient(t, addr)
			c.Wait = time.Hour
			_, err := c.Status(ctx)
			if !errors.Is(err, ErrNotRunning) || !errors.Is(err, ErrUnavailable) || ExitCode(err) != 8 {
				t.Errorf("got %v", err)
			}
			if e := new(Error); !errors.As(err, &e) || e.Hint == "" {
				t.Errorf("%v has no hint", err)
			}
		})
	}
}

func TestClientWaitsForAStartingApp(t *testing.T) {
	addr := socketAddr(t)
	leaveStale(t, addr)
	lock := lockFile(addr, os.O_CREATE)
	if got, err := lock.TryLock(); !got {
		t.Fatal(err)
	}
	defer lock.Unlock()

	impatient := newTestClient(t, addr)
	impatient.Wait = 20 * time.Millisecond
	if _, err := impatient.Status(t.Context()); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "starting") {
		t.Errorf("got %v", err)
	}

	patient := newTestClient(t, addr)
	patient.Wait = time.Minute
	asked := make(chan error, 1)
	go func() {
		_, err := patient.Status(context.Background())
		asked <- err
	}()
	must(t, removeStale(addr))
	ln, _, err := bind(addr)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, ln, ServerConfig{Backend: &fake{status: statusOK}, Identify: anybody, Version: "1"})
	}()
	if err := <-asked; err != nil {
		t.Errorf("the patient client got %v", err)
	}
	cancel()
	<-served
}

// TestListenersLeaveTheUmask: many that listen at once leave it as it was.
func TestListenersLeaveTheUmask(t *testing.T) {
	before := syscall.Umask(0)
	syscall.Umask(before)
	var dirs []string
	for range 50 {
		dirs = append(dirs, t.TempDir())
		if err := os.Chmod(dirs[len(dirs)-1], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for _, dir := range dirs {
		group.Go(func() {
			ln, err := Listen(filepath.Join(dir, "s"))
			if err != nil {
				t.Error(err)
				return
			}
			ln.Close()
		})
	}
	group.Wait()
	if after := syscall.Umask(before); after != before {
		t.Errorf("the umask is %04o now, and was %04o", after, before)
	}
}

func TestQuitIsNotedUntilTheNextStart(t *testing.T) {
	addr := socketAddr(t)
	for _, quits := range []bool{true, false} {
		ln, err := Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		if WasQuit(addr) {
			t.Error("a new start does not take the note away")
		}
		if quits {
			if err := ln.MarkQuit(); err != nil {
				t.Error(err)
			}
		}
		ln.Close()
		if WasQuit(addr) != quits {
			t.Errorf("after it ended, quit by the person %v: noted %v", quits, WasQuit(addr))
		}
	}
}

// TestClientStartsTheApp: once, for all calls that wait for it, and never again.
func TestClientStartsTheApp(t *testing.T) {
	addr := socketAddr(t)
	var starts atomic.Int32
	stops := make(chan func(), 1)
	c := NewClient(addr)
	defer c.Close()
	c.Start = func() error {
		starts.Add(1)
		ln, err := Listen(addr)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() {
			served <- Serve(ctx, ln, ServerConfig{Backend: &fake{status: statusOK}, Version: "1", Identify: anybody})
		}()
		stops <- func() { cancel(); <-served; ln.Close() }
		return nil
	}
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			if _, err := c.Status(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	(<-stops)()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) || starts.Load() != 1 {
		t.Errorf("after it ended: %v, started %d times", err, starts.Load())
	}
}

func TestClientThatCannotStartTheApp(t *testing.T) {
	c := NewClient(socketAddr(t))
	defer c.Close()
	c.Start = func() error { return NotRunning("you quit it") }
	for range 2 {
		if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "you quit it") {
			t.Errorf("%v", err)
		}
	}
	c = NewClient(socketAddr(t))
	defer c.Close()
	c.Start = func() error { return nil } // says that it did, and did not
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v", err)
	}
}
