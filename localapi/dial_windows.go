package localapi

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

// busyPatience bounds how long one attempt waits for a free instance of the pipe.
const busyPatience = time.Second

func dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, busyPatience)
	defer cancel()
	// Identification: the server may learn who we are, but cannot act as us.
	return winio.DialPipeAccessImpLevel(ctx, addr, windows.GENERIC_READ|windows.GENERIC_WRITE, winio.PipeImpLevelIdentification)
}

// absent reports whether err means that nobody listens, or not yet.
func absent(err error) bool { return errors.Is(err, windows.ERROR_FILE_NOT_FOUND) || busy(err) }

// busy reports whether err means that somebody listens whose instances are all taken.
func busy(err error) bool { return errors.Is(err, context.DeadlineExceeded) }
