//go:build unix

package localapi

import (
	"context"
	"errors"
	"net"
	"syscall"
)

func dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", addr)
}

// absent reports whether err means that nobody listens, or not yet.
func absent(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ECONNREFUSED) || busy(err)
}

// busy reports whether err means that somebody listens whose queue is full.
func busy(err error) bool { return errors.Is(err, syscall.EAGAIN) }
