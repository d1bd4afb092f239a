//go:build unix

package oauthflow

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// sharing asks for an address that another program has.
func sharing(_, _ string, c syscall.RawConn) error {
	var err error
	if ctl := c.Control(func(fd uintptr) {
		err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	}); ctl != nil {
		return ctl
	}
	return err
}
