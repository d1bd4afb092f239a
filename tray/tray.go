// Package tray is the icon in the desktop's notification area and its menu, drawn from state. It lives in the resident
// process and needs no display of its own: on Linux it is a few objects on the session bus. Every row of its menu has
// another way in, because a desktop may have no tray at all.
//
// fyne.io/systray is one tray for the whole process with a state of its own, so there is one [Tray] in a process and it
// runs once.
package tray

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/valetkey/valetkey/face"
)

// ErrNoBus is an error of Available and Run: on Linux there is nothing to show an icon on, nor will there be.
var ErrNoBus = errors.New("no session bus")

// Config is what a Tray needs. The functions are called from goroutines of the Tray, and a second click on the same row
// while one is still running is lost: hand the work on and return.
type Config struct {
	Icon          []byte // PNG, ICO on Windows; required
	IconAttention []byte // while a question waits; nil: Icon
	IconProblem   []byte // while the keychain or a grant needs the person; nil: Icon

	OnOpen func()          // show the window
	OnWish func(face.Wish) // sign in, cancel or reopen a sign-in, resume a program, quit

	Log *slog.Logger // nil: discarded
}

// Tray is the icon and its menu. Make one with New.
type Tray struct {
	cfg     Config
	log     *slog.Logger
	changed chan struct{} // holds one token while there is something new to draw
	gap     time.Duration // the least time between two drawings: a burst of changes becomes one or two

	mu    sync.Mutex
	state face.State
}

// New prepares a tray. Nothing is shown before Run.
func New(cfg Config) *Tray {
	t := &Tray{cfg: cfg, log: cfg.Log, changed: make(chan struct{}, 1), gap: 100 * time.Millisecond}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	return t
}

// Update shows s from now on. It never waits: of states that follow each other quickly, the newest is drawn. It may be
// called from any goroutine, before, during and after Run. s must not be written to afterwards.
func (t *Tray) Update(s face.State) {
	t.mu.Lock()
	t.state = s
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

func (t *Tray) icon(l look) []byte {
	switch {
	case l == attention && len(t.cfg.IconAttention) > 0:
		return t.cfg.IconAttention
	case l == problem && len(t.cfg.IconProblem) > 0:
		return t.cfg.IconProblem
	}
	return t.cfg.Icon
}
