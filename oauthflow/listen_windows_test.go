package oauthflow

import "syscall"

// sharing asks for an address that another program has.
func sharing(_, _ string, c syscall.RawConn) error {
	var err error
	if ctl := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}); ctl != nil {
		return ctl
	}
	return err
}
