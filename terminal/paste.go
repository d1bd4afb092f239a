package terminal

import (
	"context"
	"errors"
	"fmt"
)

// Paste asks for the address that a browser on another computer ended on, until take has no error for it, ctx ends, or
// nobody can type. Questions go first. From a pipe or a file nothing is taken: its lines are answers to questions.
func (t *Terminal) Paste(ctx context.Context, server string, take func(address string) error) {
	for t.in.terminal && ctx.Err() == nil {
		select {
		case t.turn <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := t.pasted(ctx, server, take)
		<-t.turn
		if !errors.Is(err, context.Canceled) || ctx.Err() != nil { // else a question wanted the turn
			return
		}
	}
}

// pasted has the turn. Its error is context.Canceled when a question wants it.
func (t *Terminal) pasted(ctx context.Context, server string, take func(address string) error) error {
	reading, yield := context.WithCancel(ctx)
	defer yield()
	t.mu.Lock()
	if t.asks > 0 {
		yield()
	}
	t.yield = yield
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.yield = nil
		t.mu.Unlock()
		t.setPrompt("")
	}()
	prompt := fmt.Sprintf("If the browser is on another computer, it ends on a page that cannot be shown. Paste that page's whole address here, to sign in to %s: ", urlText(server))
	for {
		if reading.Err() != nil {
			return reading.Err()
		}
		for _, step := range []func() error{t.in.ready, t.in.flush, func() error { return t.setPrompt(prompt) }} {
			if err := step(); err != nil {
				return err
			}
		}
		line, err := t.in.line(reading)
		switch {
		case reading.Err() != nil && ctx.Err() != nil:
			t.say("\nNothing needs to be pasted any more.\n")
			return ctx.Err()
		case reading.Err() != nil:
			t.say("\n")
			return reading.Err()
		case err != nil:
			return err
		}
		if err = take(line); err == nil {
			return t.say("The sign-in goes on with this address.\n")
		}
		if err := t.say("That was not taken: %v.\n", err); err != nil {
			return err
		}
	}
}
