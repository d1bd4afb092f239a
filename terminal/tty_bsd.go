//go:build unix && !linux

package terminal

import (
	"errors"

	"golang.org/x/sys/unix"
)

const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETA
)

func flushInput(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCFLUSH, unix.TCIFLUSH) }

// waitReadable returns when one of the two has something to read or has ended. On macOS poll refuses terminals, so it
// is select, which knows only the first 1,024 descriptors.
func waitReadable(a, b int) error {
	if max(a, b) >= unix.FD_SETSIZE {
		return errors.New("too many open files to wait for the terminal")
	}
	for {
		var set unix.FdSet
		set.Set(a)
		set.Set(b)
		if _, err := unix.Select(max(a, b)+1, &set, nil, nil, nil); err != unix.EINTR {
			return err
		}
	}
}
