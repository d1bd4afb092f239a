package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zalando/go-keyring"
)

// RoleConfig is what the child of a [Keychain] is given by its program. Every field is required.
type RoleConfig struct {
	Getenv func(string) string
	In     io.Reader // standard input: the request, then nothing; its end means that the parent is gone
	Out    io.Writer // standard output: the answer
}

// lateSet is how long a Set may go on after the parent is gone.
const lateSet = 10 * time.Second

// RunRole is the child's side: it reads one request, makes one keychain call, writes one answer. The program must end
// when RunRole returns, because a keychain call that was given up may still be waiting. It returns an error when it gave
// no answer.
func RunRole(ctx context.Context, cfg RoleConfig) error {
	return serve(ctx, cfg.In, cfg.Out, func(ctx context.Context, req request) (string, error) {
		return perform(ctx, cfg.Getenv, req)
	})
}

// serve speaks the child's side of the protocol around do.
func serve(ctx context.Context, in io.Reader, out io.Writer, do func(context.Context, request) (string, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var req request
	if err := json.NewDecoder(io.LimitReader(in, maxMessage)).Decode(&req); err != nil {
		return errors.New("the keychain process was not asked anything") // the decoder's own error would quote the request
	}
	go func() {
		io.Copy(io.Discard, in)
		if req.Op == opSet && !req.Dialog { // the parent died with a secret in its hands that nobody can get again
			select {
			case <-time.After(lateSet):
			case <-ctx.Done():
			}
		}
		cancel()
	}()
	done := make(chan answer, 1)
	go func() { done <- answerTo(do(ctx, req)) }()
	select {
	case a := <-done:
		if err := json.NewEncoder(out).Encode(a); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		return nil
	case <-ctx.Done():
		return errors.New("nobody waits for the keychain any more")
	}
}

// perform makes the one call, if the keychain is in a state for it.
func perform(ctx context.Context, getenv func(string) string, req request) (string, error) {
	if err := ready(ctx, getenv, req); err != nil {
		return "", err
	}
	var text string
	var err error
	switch req.Op {
	case opProbe:
		return "", nil
	case opGet:
		text, err = keyring.Get(req.Service, req.Item)
	case opSet:
		err = keyring.Set(req.Service, req.Item, req.Text)
	case opDelete:
		err = keyring.Delete(req.Service, req.Item)
	default:
		err = errors.New("the keychain process does not know this request")
	}
	if err == nil || errors.Is(err, keyring.ErrNotFound) {
		return text, notFound(err)
	}
	return "", explain(ctx, getenv, req, err)
}

func notFound(err error) error {
	if err != nil {
		return ErrNotFound
	}
	return nil
}

// refused is a failure of the keychain that says nothing better about itself.
func refused(err error) error {
	words := []rune(err.Error())
	return &Error{kind: ErrUnavailable, reason: "the keychain refused: " + string(words[:min(len(words), 300)])}
}
