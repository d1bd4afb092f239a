package keystore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// call is one Get, Set, Delete or Probe while it runs.
type call struct {
	*Keychain
	ctx    context.Context // ends with caller or when the time of the whole call is up
	caller context.Context
	began  time.Time
	quiet  bool
}

// do makes one call to the keychain, and makes it once more with a dialog if that is what it takes.
func (c *call) do(req request) (string, error) {
	mayAsk := !c.quiet && c.refused.Before(c.began)
	if !mayAsk || !asksUnannounced {
		text, err := c.try(req, c.cfg.deadline)
		if !mayAsk || !errors.Is(err, ErrLocked) {
			return text, err
		}
	}
	req.Dialog = true
	text, err := c.try(req, c.cfg.unlockDeadline)
	if errors.Is(err, ErrTimeout) && !asksUnannounced {
		err = &Error{kind: ErrLocked, reason: "the keychain is locked and nobody answered its unlock dialog", Hint: unlockHint}
	}
	if errors.Is(err, ErrLocked) {
		c.refused = time.Now()
	}
	return text, err
}

// try runs one child, for at most limit.
func (c *call) try(req request, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(c.ctx, limit)
	defer cancel()
	req.Service = c.cfg.Service
	began := time.Now()
	a, err := c.run(ctx, req)
	switch {
	case err == nil:
		return a.Text, a.err()
	case c.caller.Err() != nil:
		return "", fmt.Errorf("waiting for the keychain: %w", c.caller.Err())
	case ctx.Err() != nil:
		return "", &Error{kind: ErrTimeout, reason: fmt.Sprintf("the keychain did not answer within %v", time.Since(began).Round(10*time.Millisecond))}
	}
	return "", &Error{kind: ErrUnavailable, reason: err.Error()}
}

func (c *call) head(name string) (head, error) {
	text, err := c.do(request{Op: opGet, Item: name})
	if err != nil {
		return head{}, err
	}
	return decodeHead(text)
}

// join reads the pieces that the head names.
func (c *call) join(name string, h head) ([]byte, error) {
	var value []byte
	for i := range h.Count {
		text, err := c.do(request{Op: opGet, Item: pieceName(name, h.Generation, i)})
		if errors.Is(err, ErrNotFound) {
			return nil, errDamaged
		}
		if err != nil {
			return nil, err
		}
		piece, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, errDamaged
		}
		value = append(value, piece...)
	}
	if err := h.check(value); err != nil {
		return nil, err
	}
	return value, nil
}

// write stores one item and reads it back in another child. What counts is what is read: a keychain may say yes and
// store nothing (a dismissed prompt), or store it and not get to say so.
func (c *call) write(item, text string) error {
	_, err := c.do(request{Op: opSet, Item: item, Text: text})
	if errors.Is(err, ErrLocked) {
		return err
	}
	got, readErr := c.do(request{Op: opGet, Item: item})
	switch {
	case readErr == nil && got == text:
		return nil
	case err != nil:
		return err
	case readErr != nil && !errors.Is(readErr, ErrNotFound):
		return readErr
	}
	return &Error{kind: ErrUnavailable, reason: "the keychain said that it saved the value, but it did not keep it"}
}

// remove deletes one item and looks in another child whether it is gone.
func (c *call) remove(item string) error {
	_, err := c.do(request{Op: opDelete, Item: item})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if errors.Is(err, ErrLocked) {
		return err
	}
	_, readErr := c.do(request{Op: opGet, Item: item})
	switch {
	case errors.Is(readErr, ErrNotFound):
		return nil
	case err != nil:
		return err
	case readErr != nil:
		return readErr
	}
	return &Error{kind: ErrUnavailable, reason: "the keychain said that it deleted the value, but it is still there"}
}

// removeOthers removes the pieces of name that now does not name. tidy: none exist but those that old names.
func (c *call) removeOthers(name string, old, now head, tidy bool) error {
	if tidy {
		return c.removePieces(name, old.Generation, 0, old.Count)
	}
	for generation := 1; generation <= generations; generation++ {
		from := 0
		if generation == now.Generation {
			from = now.Count
		}
		to := from
		for ; to < maxPieces; to++ {
			_, err := c.do(request{Op: opGet, Item: pieceName(name, generation, to)})
			if errors.Is(err, ErrNotFound) {
				break
			}
			if err != nil {
				return err
			}
		}
		if err := c.removePieces(name, generation, from, to); err != nil {
			return err
		}
	}
	return nil
}

// removePieces removes pieces from to-1 down to from.
func (c *call) removePieces(name string, generation, from, to int) error {
	for i := to - 1; i >= from; i-- {
		if err := c.remove(pieceName(name, generation, i)); err != nil {
			return err
		}
	}
	return nil
}
