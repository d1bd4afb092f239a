// Package terminal is the face without a display: the same questions as in the window, in plain lines on the terminal
// that runs the app, made to be read aloud as well as seen.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/untrusted"
)

// errNobody says that a question could not be put to anybody: the input has ended, or the app runs in the background of
// its terminal.
var errNobody = errors.New("nobody can answer in the terminal")

// armTime is how long a question must be on the terminal before an answer counts, as in the window.
const armTime = time.Second

const maxUserCode = 64 // runes of a code to be entered elsewhere

// Config is what a Terminal needs.
type Config struct {
	// In is where the person types. When it is a terminal, nothing typed before a question was shown can answer it;
	// from a pipe or a file every line is taken as it comes.
	In  *os.File
	Out io.Writer // where the person reads: the same terminal
}

// Terminal asks the person, one question at a time. Its methods are safe for concurrent use.
type Terminal struct {
	in   *input
	now  func() time.Time
	turn chan struct{} // holds one token: who has it may ask

	mu     sync.Mutex // guards what follows
	out    io.Writer
	prompt string             // shown now and waiting for a line; "" when nothing is asked
	asks   int                // questions that wait for their turn
	yield  context.CancelFunc // ends what may wait until they are answered; nil: nothing does
}

// New makes a Terminal. It reads from Config.In only while a question is shown.
func New(cfg Config) *Terminal {
	return &Terminal{in: newInput(cfg.In), now: time.Now, turn: make(chan struct{}, 1), out: cfg.Out}
}

// Name is face.NameTerminal.
func (*Terminal) Name() string { return face.NameTerminal }

// Ask puts q to the person and waits for the answer. The zero Answer means that nobody answered before q.Deadline.
// The error is ctx's when the question is withdrawn, or says that nobody can answer.
func (t *Terminal) Ask(ctx context.Context, q face.Question) (face.Answer, error) {
	if err := t.takeTurn(ctx); err != nil {
		return face.Answer{}, err
	}
	defer func() { <-t.turn }()
	asking, cancel := ctx, func() {}
	if !q.Deadline.IsZero() {
		asking, cancel = context.WithDeadline(ctx, q.Deadline)
	}
	defer cancel()
	answer, err := t.converse(asking, newDialog(q))
	switch {
	case err == nil:
		return answer, nil
	case asking.Err() == nil && errors.Is(err, io.EOF):
		return face.Answer{}, fmt.Errorf("%w: its input has ended", errNobody)
	case asking.Err() == nil:
		return face.Answer{}, fmt.Errorf("%w: %w", errNobody, err)
	case errors.Is(asking.Err(), context.DeadlineExceeded):
		t.say("\nNobody answered in time. The question was withdrawn and nothing was allowed.\n")
	default:
		t.say("\nThe question was withdrawn and nothing was allowed.\n")
	}
	return face.Answer{}, ctx.Err()
}

// takeTurn waits until nothing else is asked.
func (t *Terminal) takeTurn(ctx context.Context) error {
	t.mu.Lock()
	t.asks++
	if t.yield != nil {
		t.yield()
	}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.asks--
		t.mu.Unlock()
	}()
	select {
	case t.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// converse shows d and takes lines until it is answered.
func (t *Terminal) converse(ctx context.Context, d *dialog) (face.Answer, error) {
	if err := t.in.ready(); err != nil {
		return face.Answer{}, err
	}
	if err := t.say("\n%s\n", d.text(t.now())); err != nil { // nobody reads it, so nobody may answer it
		return face.Answer{}, err
	}
	defer t.setPrompt("")
	if err := t.in.flush(); err != nil {
		return face.Answer{}, err
	}
	shown := t.now()
	for {
		line, err := t.read(ctx, d)
		if err != nil {
			return face.Answer{}, err
		}
		if t.in.terminal && t.now().Sub(shown) < armTime {
			t.say("That came too soon after the question to be an answer to it, and was ignored. Please read it first.\n")
			continue
		}
		reply, done := d.take(line)
		if err := t.say("%s", reply); err != nil {
			return face.Answer{}, err
		}
		if done {
			return d.answer, nil
		}
	}
}

// read shows d's prompt and takes one line; a secret is not echoed.
func (t *Terminal) read(ctx context.Context, d *dialog) (string, error) {
	prompt, hidden := d.prompt()
	if hidden {
		shown, err := t.in.hide()
		if err != nil {
			return "", err
		}
		defer shown()
	}
	if err := t.setPrompt(prompt); err != nil {
		return "", err
	}
	return t.in.line(ctx)
}

// ShowPage tells the person to open the page of a sign-in themselves, and what to enter there; code may be "".
func (t *Terminal) ShowPage(server, page, code string) {
	text := "the address of the page cannot be shown"
	if u, err := url.Parse(page); err == nil {
		text = untrusted.Text(u.String(), 8192)
	}
	where := "in a browser"
	if code != "" {
		where = "in a browser on any device"
		text += "\n\nand enter this code there: " + untrusted.Text(code, maxUserCode)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "\nTo sign in to %s, open this page %s:\n\n%s\n\n%s", urlText(server), where, text, t.prompt)
}

// Open fails with face.ErrNoWindow.
func (*Terminal) Open() error { return face.ErrNoWindow }

// Update draws nothing: vk tells the state.
func (*Terminal) Update(face.State) {}

// Run returns at once.
func (*Terminal) Run(context.Context) {}

// Close does nothing: questions end with their contexts.
func (*Terminal) Close() {}

func (t *Terminal) say(format string, args ...any) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := fmt.Fprintf(t.out, format, args...)
	return err
}

func (t *Terminal) setPrompt(prompt string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prompt = prompt
	_, err := io.WriteString(t.out, prompt)
	return err
}
