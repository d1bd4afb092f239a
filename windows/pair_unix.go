//go:build unix

package windows

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/valetkey/valetkey/face"
)

// childFD is where the child finds its end: the first of exec.Cmd.ExtraFiles.
const childFD = 3

// attach gives cmd one end of a new socket pair and returns the other. done must be called once cmd was started, or
// was not.
func attach(cmd *exec.Cmd) (conn *face.Conn, done func(), err error) {
	syscall.ForkLock.RLock() // no child of another goroutine may inherit the pair between the two calls
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "window")
	if err := unix.SetNonblock(fds[0], true); err != nil { // else Close would not end a Read that waits
		theirs.Close()
		unix.Close(fds[0])
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	cmd.ExtraFiles = []*os.File{theirs}
	return face.NewConn(os.NewFile(uintptr(fds[0]), "resident")), func() { theirs.Close() }, nil
}

func inherited() (io.ReadWriteCloser, error) {
	var st unix.Stat_t
	if err := unix.Fstat(childFD, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, errors.New("it is started by valetkey and by nothing else")
	}
	unix.CloseOnExec(childFD) // a browser must not hold the pair open
	if err := unix.SetNonblock(childFD, true); err != nil {
		return nil, fmt.Errorf("inherited socket: %w", err)
	}
	return os.NewFile(childFD, "resident"), nil
}

// become runs cmd in place of this process, with what this one inherited.
func become(cmd *exec.Cmd) error { return unix.Exec(cmd.Path, cmd.Args, cmd.Env) }
