package keystore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// What a Keychain and its child say to each other: one request on the child's standard input, which then stays open as
// long as the answer is wanted, and one answer on its standard output, each a line of JSON.
type (
	request struct {
		Op      string `json:"op"`
		Service string `json:"service"`
		Item    string `json:"item"`
		Text    string `json:"text,omitempty"`   // what to store
		Dialog  bool   `json:"dialog,omitempty"` // the keychain may ask the person
	}
	answer struct {
		Text    string `json:"text,omitempty"`    // what was stored
		Failure string `json:"failure,omitempty"` // a key of failures; "": it went well
		Reason  string `json:"reason,omitempty"`
		Hint    string `json:"hint,omitempty"`
	}
)

const (
	opGet    = "get"
	opSet    = "set"
	opDelete = "delete"
	opProbe  = "probe"
)

const maxMessage = 256 << 10 // an item of the largest value, and room for what JSON adds

var failures = map[string]error{
	"not_found":   ErrNotFound,
	"locked":      ErrLocked,
	"unavailable": ErrUnavailable,
	"timeout":     ErrTimeout,
}

// answerTo makes the answer for the outcome of a call.
func answerTo(text string, err error) answer {
	if err == nil {
		return answer{Text: text}
	}
	a := answer{Failure: "unavailable", Reason: err.Error()}
	for name, kind := range failures {
		if errors.Is(err, kind) {
			a.Failure = name
		}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		a.Hint = e.Hint
	}
	return a
}

func (a answer) err() error {
	switch kind := failures[a.Failure]; {
	case a.Failure == "":
		return nil
	case kind == ErrNotFound:
		return ErrNotFound
	case kind == nil:
		return &Error{kind: ErrUnavailable, reason: "the keychain process failed in a way this program does not know"}
	default:
		return &Error{kind: kind, reason: a.Reason, Hint: a.Hint}
	}
}

// spawn runs the child for one request and kills it, with what it started, when ctx ends.
func (k *Keychain) spawn(ctx context.Context, req request) (answer, error) {
	if len(k.cfg.Command) == 0 {
		return answer{}, errors.New("no command is set that runs the keychain process")
	}
	message, err := json.Marshal(req)
	if err != nil {
		return answer{}, fmt.Errorf("ask the keychain process: %w", err)
	}
	message = append(message, '\n')
	out := bounded{left: maxMessage}

	cmd := exec.CommandContext(ctx, k.cfg.Command[0], k.cfg.Command[1:]...)
	cmd.Env = k.cfg.env
	cmd.Stdout = &out
	cmd.WaitDelay = 500 * time.Millisecond // for a descendant that left the group and holds the pipes open
	ownGroup(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return answer{}, fmt.Errorf("start the keychain process: %w", err)
	}
	written := make(chan struct{})
	go func() { // before the start: a child whose parent dies right then still knows what to save
		in.Write(message) // a child that does not read ends without an answer, and that is the error
		close(written)
	}()
	if err := cmd.Start(); err != nil { // closes in
		<-written
		return answer{}, fmt.Errorf("start the keychain process: %w", err)
	}
	waitErr := cmd.Wait() // closes in
	<-written

	if ctx.Err() != nil {
		return answer{}, ctx.Err()
	}
	if waitErr != nil {
		return answer{}, fmt.Errorf("the keychain process ended without success: %w", waitErr)
	}
	var a answer
	if json.Unmarshal(out.buf.Bytes(), &a) != nil {
		return answer{}, errors.New("the keychain process gave no answer")
	}
	return a, nil
}

// bounded is a buffer that takes a limited number of bytes. It embeds nothing: io.Copy would find bytes.Buffer.ReadFrom.
type bounded struct {
	buf  bytes.Buffer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("the answer is too long")
	}
	return b.buf.Write(p)
}
