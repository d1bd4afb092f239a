//go:build linux || darwin

package peer

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// control runs f on the descriptor of a Unix socket.
func control(conn net.Conn, f func(fd int) error) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return errUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	ctl := raw.Control(func(fd uintptr) {
		// On a socket of another family the options below mean something else: unless Go's own type tells, ask the kernel.
		if _, ok := conn.(*net.UnixConn); !ok {
			if local, e := unix.Getsockname(int(fd)); e != nil {
				err = e
				return
			} else if _, ok := local.(*unix.SockaddrUnix); !ok {
				err = errUnsupported
				return
			}
		}
		err = f(int(fd))
	})
	if ctl != nil {
		return ctl
	}
	return err
}

// ServerUser is for our own client, before it sends anything: nil when the process that listens at the other end of
// conn runs as this user, ErrOtherUser when not, errUnsupported for a connection that does not tell.
func ServerUser(conn net.Conn) error {
	return control(conn, func(fd int) error {
		uid, err := serverUID(fd)
		if err == nil && uid != uint32(unix.Geteuid()) {
			err = ErrOtherUser
		}
		return err
	})
}
