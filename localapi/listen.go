package localapi

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// ErrRunning says that another app serves the address already.
var ErrRunning = errors.New("already running")

// Listener is the app's end of the socket, and the claim to be the only app. [Serve] stops accepting when it returns,
// but the claim holds until Close: close it last, when nothing is left that a second app could disturb.
type Listener struct {
	net.Listener
	remove func() error // takes the socket's name away
	unlock func() error // gives the claim up
	quit   func() error // notes that the person quit

	stopOnce, closeOnce sync.Once
	stopErr, closeErr   error
}

// Listen claims addr and listens there. Only the person's own processes can connect: the socket lies in a directory
// of mode 0700 that is made if need be, and has mode 0600; the pipe has a descriptor for the user and SYSTEM only.
//
// A socket left behind by an app that died is removed. Listen never removes anything else. The error is an *Error; it
// is ErrRunning when another app lives.
func Listen(addr string) (*Listener, error) { return listen(addr) }

// Close stops accepting, removes the socket and gives up the claim.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { l.closeErr = errors.Join(l.stop(), l.unlock()) })
	return l.closeErr
}

// MarkQuit notes that the person quit the app, so that no host starts it again: see [WasQuit]. Listen takes the note away.
func (l *Listener) MarkQuit() error { return l.quit() }

// WasQuit reports whether the person quit the app that was at addr, and did not start it again. An app that crashed or
// ended with the person's session was not quit.
func WasQuit(addr string) bool { return wasQuit(addr) }

// stop stops accepting and removes the socket, but keeps the claim: a second app cannot start while this one drains.
func (l *Listener) stop() error {
	l.stopOnce.Do(func() { l.stopErr = errors.Join(l.remove(), l.Listener.Close()) })
	return l.stopErr
}

func running() *Error {
	return &Error{Kind: ErrUnavailable, Message: "Valet Key is already running", Err: ErrRunning,
		Hint: "look for its icon in the tray, or run: vk status"}
}

// noSocket is the error of a place where no socket can be.
func noSocket(format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: ErrUnavailable, Message: err.Error(), Err: errors.Unwrap(err)}
}
