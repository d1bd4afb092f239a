//go:build unix

package localapi

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// lockPatience is how long Listen tries to get the lock: clients that ask whether an app lives hold it for an instant.
const lockPatience = 300 * time.Millisecond

func listen(addr string) (*Listener, error) {
	addr, err := socketPath("the socket", addr, pathLimit)
	if err != nil {
		return nil, err
	}
	if err := makeDir(filepath.Dir(addr)); err != nil {
		return nil, err
	}
	lock := lockFile(addr, os.O_CREATE)
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	if _, err := lock.TryLockContext(ctx, lockPatience/20); errors.Is(err, context.DeadlineExceeded) {
		return nil, running()
	} else if err != nil {
		return nil, noSocket("lock %s: %w", lock.Path(), err)
	}
	if err := removeStale(addr); err != nil {
		lock.Unlock()
		return nil, err
	}
	ln, made, err := bind(addr)
	if err != nil {
		lock.Unlock()
		return nil, noSocket("listen at %s: %w", addr, err)
	}
	if err := os.Remove(quitMark(addr)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(noSocket("note that Valet Key runs again: %w", err), ln.Close(), os.Remove(addr), lock.Unlock())
	}
	return &Listener{
		Listener: ln, remove: func() error { return removeSame(addr, made) }, unlock: lock.Unlock,
		quit: func() error { return os.WriteFile(quitMark(addr), nil, 0o600) },
	}, nil
}

// quitMark is an empty file that is there from when the person quits until they start the app again.
func quitMark(addr string) string { return addr + ".quit" }

func wasQuit(addr string) bool {
	_, err := os.Lstat(quitMark(addr))
	return err == nil
}

// lockFile is the lock beside the socket. It is never removed: two apps could then lock two files of one name.
func lockFile(addr string, flag int) *flock.Flock {
	return flock.New(addr+".lock", flock.SetFlag(flag|os.O_RDONLY|syscall.O_NOFOLLOW))
}

// held reports whether an app that lives has claimed addr.
func held(addr string) bool {
	lock := lockFile(addr, 0)
	free, err := lock.TryRLock()
	if free {
		lock.Unlock()
	}
	return err == nil && !free
}

// removeStale removes a socket nobody listens on. It must be called with the lock held.
func removeStale(addr string) error {
	info, err := os.Lstat(addr)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return noSocket("look at the socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return noSocket("%s is in the way: it is not a socket", addr).WithHint("move it away, or set %s to another path", addressVar)
	}
	conn, err := net.Dial("unix", addr)
	switch {
	case err == nil:
		conn.Close()
		return running()
	case !errors.Is(err, syscall.ECONNREFUSED): // the one answer that proves that nobody listens
		return noSocket("%s is in the way: %w", addr, err)
	}
	if err := os.Remove(addr); err != nil {
		return noSocket("remove a socket that was left behind: %w", err)
	}
	return nil
}

// umask is held while the process's umask is another: of two that change it at once, one would leave its own behind.
var umask sync.Mutex

// bind makes the socket with mode 0600 from the first instant. The umask belongs to the whole process; nothing else
// of the app makes files this early.
func bind(addr string) (*net.UnixListener, fs.FileInfo, error) {
	umask.Lock()
	old := syscall.Umask(0o177)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: addr})
	syscall.Umask(old)
	umask.Unlock()
	if err != nil {
		return nil, nil, err
	}
	ln.SetUnlinkOnClose(false) // removeSame does it with more care
	info, err := os.Lstat(addr)
	if err != nil {
		ln.Close()
		return nil, nil, err
	}
	return ln, info, nil
}

// removeSame removes the socket unless somebody has put another one in its place.
func removeSame(addr string, made fs.FileInfo) error {
	now, err := os.Lstat(addr)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !os.SameFile(now, made) {
		return err
	}
	return os.Remove(addr)
}
