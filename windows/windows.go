// Package windows is the resident process's side of the windows: it starts the process that shows them when there is something
// to show, and takes answers from the pair it gave that process and from nowhere else.
package windows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
)

// What hosts are told where the person could not be asked, because no window came up: that is not their no.
var (
	errNotShown = localapi.Errorf(localapi.ErrUnavailable, "no window can be shown").
			WithHint("ask again at a display that works, or run valetkey --headless in a terminal")
	errVersion = localapi.Errorf(localapi.ErrUnavailable, "valetkey-window is of another version than valetkey").
			WithHint("install both of one version, then restart Valet Key")
)

const (
	maxChildren = 2  // window processes that one question is given to: a crash is forgiven once
	maxWishes   = 16 // wishes under way at one time
)

var usual = limits{start: time.Minute, stuck: 10 * time.Second}

// Config says how a window process is started and who hears its wishes.
type Config struct {
	// Command makes the command that runs the window program. Its ExtraFiles (on Windows: Stdin and Stdout) must be free.
	Command func() *exec.Cmd

	// Missing says why there is no window program; nil: there is one.
	Missing *localapi.Error

	// OnWish does what the person wants. It is called in a goroutine of its own; ctx ends with Close, not with the
	// window. An error that is no *localapi.Error is shown as an internal one.
	OnWish func(ctx context.Context, w face.Wish) error

	// OnShown hears that the question with that ID is on the screen. nil: nobody does.
	OnShown func(id string)

	// onLost hears of a window process that crashed, or could not be started. nil: nobody does.
	onLost func(error)

	Log *slog.Logger // nil: no log
}

// Windows is the window process, whether it runs now or not. Its methods are safe for concurrent use.
type Windows struct {
	cfg    Config
	ctx    context.Context
	stop   context.CancelFunc
	lives  sync.WaitGroup // children and wishes
	slots  chan struct{}  // bounds wishes
	limits limits         // the usual ones, but in tests

	state atomic.Pointer[face.State] // newest; with child, so that Update never waits
	child atomic.Pointer[child]      // nil: none runs. Stored under mu

	mu      sync.Mutex
	closed  bool
	trouble *localapi.Error // why no window will be shown, whatever is tried
	waiting []*asked        // in the order of asking
	opening []*opening
}

// asked is a question without an answer yet.
type asked struct {
	question face.Question
	children int              // window processes it was given to
	answer   chan face.Answer // room for one
	failed   chan error       // room for one
}

// opening is a page that is not on the screen yet.
type opening struct {
	page     string
	children int        // window processes that were told
	done     chan error // room for one
}

// New starts nothing yet.
func New(cfg Config) *Windows {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	w := &Windows{cfg: cfg, slots: make(chan struct{}, maxWishes), limits: usual, trouble: cfg.Missing}
	w.ctx, w.stop = context.WithCancel(context.Background())
	return w
}

// Trouble says why no window will be shown until Valet Key is started again, and what to install; nil: none is known.
func (w *Windows) Trouble() *localapi.Error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trouble
}

// Ask shows q and waits for the person. When ctx ends, the question is withdrawn and the answer is the zero one: nobody
// answered. An error means that the person could not be asked: no window can be shown, or face.ErrTooLarge.
func (w *Windows) Ask(ctx context.Context, q face.Question) (face.Answer, error) {
	if ctx.Err() != nil {
		return face.Answer{}, nil
	}
	if err := (face.Message{Question: &q}).Check(); err != nil {
		return face.Answer{}, err
	}
	a := &asked{question: q, answer: make(chan face.Answer, 1), failed: make(chan error, 1)}
	if err := w.add(a); err != nil {
		return face.Answer{}, err
	}
	defer w.remove(a)
	select {
	case answer := <-a.answer:
		return answer, nil
	case err := <-a.failed:
		return face.Answer{}, err
	case <-ctx.Done():
		return face.Answer{}, nil
	}
}

func (w *Windows) add(a *asked) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.find(a.question.ID) != nil {
		return fmt.Errorf("question %q is already being asked", a.question.ID)
	}
	c, err := w.running()
	if err != nil {
		return err
	}
	w.waiting = append(w.waiting, a)
	a.children++
	c.send(face.Message{Question: &a.question})
	return nil
}

// remove takes a question back that is still without an answer.
func (w *Windows) remove(a *asked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.waiting)
	w.waiting = slices.DeleteFunc(w.waiting, func(b *asked) bool { return a == b })
	if c := w.child.Load(); c != nil && len(w.waiting) < before {
		c.send(face.Message{Withdraw: a.question.ID})
	}
}

func (w *Windows) find(id string) *asked {
	for _, a := range w.waiting {
		if a.question.ID == id {
			return a
		}
	}
	return nil
}

// Show opens the main window at a page (Page…), or brings it there. What is returned holds nil when the page is on the
// screen, else why it will not be.
func (w *Windows) Show(page string) <-chan error {
	o := &opening{page: page, children: 1, done: make(chan error, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := w.running()
	if err != nil {
		o.done <- err
		return o.done
	}
	w.opening = append(w.opening, o)
	c.send(face.Message{Page: page})
	return o.done
}

// Update gives the windows a newer state to draw. It never waits; states that a slow window has not taken yet are
// skipped. The caller must not change what s points to afterwards.
func (w *Windows) Update(s face.State) {
	w.state.Store(&s)
	if c := w.child.Load(); c != nil {
		c.wake()
	}
}

// Close withdraws every question, ends the window process and the wishes under way, and returns within seconds.
func (w *Windows) Close() {
	w.mu.Lock()
	w.closed = true
	c := w.child.Load()
	w.fail(maxChildren, errNotShown)
	w.mu.Unlock()
	w.stop()
	if c != nil {
		c.send(face.Message{Quit: true})
		c.killAfter(grace)
	}
	ended := make(chan struct{})
	go func() { w.lives.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(2 * grace):
		w.cfg.Log.Warn("a wish did not end with the app")
	}
}

// running returns the window process, after starting it if there is none. The caller holds mu.
func (w *Windows) running() (*child, error) {
	switch {
	case w.closed:
		return nil, errNotShown
	case w.trouble != nil:
		return nil, w.trouble
	}
	if c := w.child.Load(); c != nil {
		return c, nil
	}
	c, err := startChild(w.cfg.Command(), &w.state, w.limits)
	if err != nil {
		w.cfg.Log.Warn("the window program does not start", "error", err)
		return nil, errNotShown
	}
	w.child.Store(c)
	w.lives.Go(func() { w.listen(c) })
	return c, nil
}

// listen takes what c says until it ends, then gives what it left undone to another one.
func (w *Windows) listen(c *child) {
	greeted := false
	err := c.receive(func(m face.Message) error {
		switch {
		case m.Hello == face.Protocol && !greeted:
			greeted = true
		case !greeted:
			return errVersion
		case m.Answer != nil:
			w.answered(m.Answer)
		case m.Wish != nil:
			w.wished(c, *m.Wish)
		case m.Taken:
			c.taken()
		case m.Shown != "":
			c.painted()
			w.shown(m.Shown)
		default:
			return errors.New("the window sent a message that only the app may send")
		}
		return nil
	})

	w.mu.Lock()
	w.child.CompareAndSwap(c, nil)
	if errors.Is(err, errVersion) {
		w.trouble = errVersion
	}
	w.fail(maxChildren, errNotShown)
	if (len(w.waiting) > 0 || len(w.opening) > 0) && !w.closed {
		if next, startErr := w.running(); startErr != nil {
			w.fail(0, startErr)
		} else {
			for _, a := range w.waiting {
				a.children++
				next.send(face.Message{Question: &a.question})
			}
			for _, o := range w.opening {
				o.children++
				next.send(face.Message{Page: o.page})
			}
		}
	}
	closed := w.closed
	w.mu.Unlock()
	if err != nil && !closed {
		w.lost(err)
	}
}

// shown hears what is on the screen: a question, by its ID, or a page.
func (w *Windows) shown(what string) {
	w.mu.Lock()
	asked := w.find(what) != nil
	w.opening = slices.DeleteFunc(w.opening, func(o *opening) bool {
		if o.page != what {
			return false
		}
		o.done <- nil
		return true
	})
	w.mu.Unlock()
	if asked && w.cfg.OnShown != nil {
		w.cfg.OnShown(what)
	}
}

func (w *Windows) lost(err error) {
	w.cfg.Log.Warn("the window process ended badly", "error", err)
	if w.cfg.onLost != nil {
		w.cfg.onLost(err)
	}
}

// fail ends the questions and pages that as many window processes were told of. The caller holds mu.
func (w *Windows) fail(children int, err error) {
	w.waiting = slices.DeleteFunc(w.waiting, func(a *asked) bool {
		if a.children < children && !w.closed {
			return false
		}
		a.failed <- err
		return true
	})
	w.opening = slices.DeleteFunc(w.opening, func(o *opening) bool {
		if o.children < children && !w.closed {
			return false
		}
		o.done <- err
		return true
	})
}

func (w *Windows) answered(m *face.Answered) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.find(m.ID)
	if a == nil {
		return // withdrawn while the answer was on its way
	}
	answer := m.Answer
	if err := a.question.Offers(answer); err != nil {
		w.cfg.Log.Error("the window's answer does not fit its question", "question", m.ID, "error", err)
		answer = face.Answer{}
	}
	w.waiting = slices.DeleteFunc(w.waiting, func(b *asked) bool { return a == b })
	a.answer <- answer
}

// wished does a wish in the background and tells the window what became of it.
func (w *Windows) wished(c *child, m face.Wanted) {
	select {
	case w.slots <- struct{}{}:
	default:
		c.send(face.Message{Result: &face.Result{Call: m.Call, Err: localapi.Errorf(localapi.ErrUnavailable, "too much is under way").
			WithHint("wait until something has ended, then try again")}})
		return
	}
	w.lives.Go(func() {
		defer func() { <-w.slots }()
		err := w.cfg.OnWish(w.ctx, m.Wish)
		result := &face.Result{Call: m.Call}
		if err != nil && !errors.As(err, &result.Err) {
			result.Err = localapi.Errorf(localapi.ErrInternal, "%v", err)
		}
		c.send(face.Message{Result: result})
	})
}
