package localapi

import (
	"errors"
	"fmt"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"

	"github.com/valetkey/valetkey/peer"
)

// listen makes the first instance of the pipe. Windows lets nobody else make a first instance of that name, so the
// pipe is the claim and needs no lock file.
func listen(addr string) (*Listener, error) {
	sid, err := userSID()
	if err != nil {
		return nil, err
	}
	ln, err := winio.ListenPipe(addr, &winio.PipeConfig{SecurityDescriptor: descriptor(sid)})
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return nil, taken(addr)
	case err != nil:
		return nil, noSocket("listen at %s: %w", addr, err)
	}
	nothing := func() error { return nil } // the name goes with the last handle
	return &Listener{Listener: ln, remove: nothing, unlock: nothing, quit: nothing}, nil
}

// descriptor lets the user and SYSTEM in and nobody else, and inherits nothing (D:P). It must not be empty: Windows
// would then let everyone open the pipe for reading.
func descriptor(sid string) string {
	return fmt.Sprintf("O:%[1]sD:P(A;;GA;;;SY)(A;;GA;;;%[1]s)", sid)
}

// taken says who has the pipe: our own app, or somebody else's program.
func taken(addr string) error {
	conn, err := winio.DialPipe(addr, nil)
	if err == nil {
		defer conn.Close()
		err = peer.ServerUser(conn)
	}
	if err == nil {
		return running()
	}
	return noSocket("the pipe %s is held by another program: %w", addr, err)
}

// held reports whether an app that lives is about to open its pipe. On Windows the pipe is the only sign of it.
func held(string) bool { return false }

// wasQuit is never so: a pipe has no place to note it beside, and on Windows nothing starts the app but the person.
func wasQuit(string) bool { return false }
