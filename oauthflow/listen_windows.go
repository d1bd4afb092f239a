package oauthflow

import "syscall"

// soExclusiveAddrUse is winsock's ~SO_REUSEADDR: without it another program of the same person could take over the
// port while the browser is away.
const soExclusiveAddrUse = -5

func exclusive(_, _ string, c syscall.RawConn) error {
	var err error
	if ctl := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, soExclusiveAddrUse, 1)
	}); ctl != nil {
		return ctl
	}
	return err
}
