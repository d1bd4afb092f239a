package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/term"

	"github.com/valetkey/valetkey/broker"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/policy"
	"github.com/valetkey/valetkey/terminal"
	"github.com/valetkey/valetkey/windows"
)

// screen is the face with what stands behind it: who does the person's wishes, and whose state is drawn.
type screen struct {
	face.Face
	quit     func()
	changed  func()                        // makes State be drawn again
	trouble  func() *localapi.Error        // why no window can be shown; nil: nothing of the kind is known
	head     atomic.Pointer[broker.Broker] // nil until it is open
	switches *hosts.Switches
	drawing  sync.Mutex // so that no older state is drawn over a newer one
}

// newScreen decides who asks the person: in windows of program, unless why says that there are none. quit ends Valet Key because
// the person wants that; changed has the state drawn again.
func newScreen(opts *options, program *windows.Program, why *localapi.Error, quit, changed func(), switches *hosts.Switches, log *slog.Logger) *screen {
	s := &screen{quit: quit, switches: switches, changed: changed}
	switch {
	case !opts.headless && why == nil:
		s.desktop(program, nil, log)
	case term.IsTerminal(int(os.Stdin.Fd())) || opts.headless && opts.policy == "":
		if !opts.headless {
			fmt.Fprintf(os.Stderr, "No windows can be shown (%v), so questions are asked in this terminal, as with --headless.\n", why)
			if why != windows.ErrNoDisplay {
				fmt.Fprintf(os.Stderr, "  To be asked in windows, %s.\n", why.Hint)
			}
		}
		s.Face = terminal.New(terminal.Config{In: os.Stdin, Out: os.Stdout})
	case !opts.headless && why != windows.ErrNoDisplay:
		fmt.Fprintf(os.Stderr, "No windows can be shown (%v), so nobody can be asked.\n  To be asked in windows, %s.\n", why, why.Hint)
		s.desktop(nil, why, log)
	default:
		s.Face = face.Nobody{Out: os.Stderr}
		if opts.policy == "" {
			fmt.Fprintf(os.Stderr, "No windows can be shown (%v), and this is no terminal: nobody can be asked, so no program gets a token it was not allowed before.\n"+
				"  Run valetkey --headless in a terminal, or write down what is allowed for --policy FILE.\n", why)
		}
	}
	return s
}

// desktop shows windows of program, or a tray that says why there are none.
func (s *screen) desktop(program *windows.Program, missing *localapi.Error, log *slog.Logger) {
	d := windows.NewDesktop(windows.DesktopConfig{
		Program: program, Missing: missing, OnWish: s.wish, OnLost: s.changed, Log: log,
		OnShown: func(id string) {
			if head := s.head.Load(); head != nil {
				head.Shown(id)
			}
		},
	})
	s.Face, s.trouble = d, d.Trouble
}

// deciders lets f decide in cfg and, before it, the policy file at path; "" for none. Where f reaches nobody, the file decides
// alone.
func deciders(cfg *broker.Config, f face.Face, path string) error {
	cfg.Face, cfg.Show = f.Name(), f.Open
	nobody := f.Name() == face.NameNobody
	if !nobody {
		cfg.Ask = f.Ask
	}
	if path == "" {
		return nil
	}
	written, err := policy.Load(path)
	if err != nil {
		return hinted(err, "mend the file, or start without --policy")
	}
	cfg.Policy, cfg.Settings, cfg.Clients = written.Decide, written.Settings, written.Client
	if nobody {
		cfg.Face, cfg.Policy = "policy", written.DecideAlone
	}
	return nil
}

// wish does what the person said in a window or the tray.
func (s *screen) wish(ctx context.Context, w face.Wish) error {
	if _, ok := w.(face.WishQuit); ok {
		s.quit()
		return nil
	}
	head := s.head.Load()
	if head == nil {
		return localapi.Errorf(localapi.ErrUnavailable, "Valet Key is still starting").WithHint("try again in a moment")
	}
	if mine, err := s.switches.Do(w); mine {
		s.draw(head)
		return err
	}
	return head.Wish(ctx, w)
}

// draw shows the state as it is now.
func (s *screen) draw(head *broker.Broker) {
	s.drawing.Lock()
	defer s.drawing.Unlock()
	state := head.State()
	s.switches.Show(&state)
	s.Update(state)
}
