// Package peer names the process at the other end of a local socket: who it is, and how sure we are.
//
// An identity here is attribution, not authentication: a program that already runs as the person can pretend to be
// another. What is promised is that the words shown were read from the operating system, that the process they
// describe is the one that connected, and that [Peer.Check] notices when it has since become another.
package peer

import (
	"errors"
	"slices"
	"sync"
)

// Level says how sure we are of a host, in rising order. It decides which consent modes may be offered.
type Level int

const (
	Unknown      Level = iota // executable unreadable, chain broken, or the process is gone
	SelfReported              // only its arguments tell it apart: an interpreter running a script
	Path                      // an executable in a place the person can write
	SystemPath                // an executable owned by the system, no component of its path writable by others
	Sandbox                   // a Flatpak or Snap application id
	Signed                    // a code signature with a real anchor
)

var levels = [...]string{
	Unknown: "unknown", SelfReported: "self-reported", Path: "path", SystemPath: "system path", Sandbox: "sandbox", Signed: "signed",
}

func (l Level) String() string {
	if l < 0 || int(l) >= len(levels) {
		return levels[Unknown]
	}
	return levels[l]
}

// MarshalText writes the level by name: a number would come to mean another level when one is added.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote. A level nobody knows here reads as Unknown.
func (l *Level) UnmarshalText(b []byte) error {
	*l = Level(max(0, slices.Index(levels[:], string(b))))
	return nil
}

// Errors that Of and Check return, to be told apart with errors.Is.
var (
	ErrOtherUser   = errors.New("the peer belongs to another user")
	errGone        = errors.New("the process that connected is gone")
	errChanged     = errors.New("the process that connected has become another program")
	errUnsupported = errors.New("this kind of connection does not name its peer")
)

// Process is one process as the kernel names it. Args are the process's own word and may be anything.
type Process struct {
	PID   int      `json:"pid"`
	PPID  int      `json:"ppid,omitempty"`
	Start uint64   `json:"start,omitempty"` // when, in the kernel's own unit; with PID, names one life of a process
	Exe   string   `json:"exe,omitempty"`   // "" when it could not be read
	Args  []string `json:"args,omitempty"`  // self-reported
}

// Host is the program that is named to the person and that consents are keyed on: the first process on the way up
// from the peer that is neither our own vk nor a shell or a launcher. When there is none, the first shell script on that
// way is the host; else the nearest shell or launcher is shown without a key, as Unknown.
type Host struct {
	Key      string    `json:"key,omitempty"`      // consent key, see docs/threat-model.md; "" means: once only
	Base     string    `json:"base,omitempty"`     // Key without its content hash; equal Base, other Key: the program was updated
	Name     string    `json:"name"`               // short, for a sentence: "claude", "my-agent.py"
	Level    Level     `json:"level"`              //
	Facts    string    `json:"facts"`              // one line of verified facts: "installed by the system at /usr/bin/x"
	Process  Process   `json:"process"`            //
	Chain    []Process `json:"chain,omitempty"`    // from the peer up to the host and beyond, as far as it could be read
	Instance string    `json:"instance,omitempty"` // names this run of the host; see Running
}

// Peer is the process that connected, pinned at the moment of connecting. The zero value with a Host set stands for a
// process in tests: Check always passes.
type Peer struct {
	process Process
	Host    Host

	pins *pins // nil in a Peer that Of did not make
}

// pin is one fact that must still hold when a token is released.
type pin interface {
	check() error
	close()
}

// pins are let go of once. After that nothing is known any more, so Check must not pass.
type pins struct {
	mu   sync.RWMutex // Check may run in a handler while the connection is torn down
	list []pin        // nil: closed
}

// Check looks again, right before a token is released: the process lives, is the same life of that process, runs the
// same image and the same script, and its host lives. It returns errGone, errChanged or nil; errGone after Close. It
// costs microseconds, unless the script was written to: then that is hashed again.
//
// It notices a process that connects and then executes another program (which the kernel's own pins do not: pid, start
// time and pidfd stay), but only when Of looked first. A process that executes a program faster than that is named as
// that program, and no later look can tell. See docs/threat-model.md.
func (p *Peer) Check() error {
	if p.pins == nil {
		return nil
	}
	p.pins.mu.RLock()
	defer p.pins.mu.RUnlock()
	if p.pins.list == nil {
		return errGone
	}
	for _, pin := range p.pins.list {
		if err := pin.check(); err != nil {
			return err
		}
	}
	return nil
}

// Close lets go of what pins the process. The facts stay readable.
func (p *Peer) Close() {
	if p.pins == nil {
		return
	}
	p.pins.mu.Lock()
	defer p.pins.mu.Unlock()
	for _, pin := range p.pins.list {
		pin.close()
	}
	p.pins.list = nil
}
