package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

const maxSecret = 16 << 10 // bytes; real ones have less than a hundredth

// readSecret reads a secret from standard input; what names it. At a terminal it asks for it and does not echo it; from
// a file or a pipe it takes everything but one newline at the end.
func readSecret(ctx context.Context, what string, stdin io.Reader, stderr io.Writer) (secret.Text, error) {
	type read struct {
		text string
		err  error
	}
	done := make(chan read, 1)
	restore := func() {}
	if f, ok := stdin.(*os.File); ok && isTerminal(stdin) {
		fd := int(f.Fd())
		if state, err := term.GetState(fd); err == nil {
			restore = func() { term.Restore(fd, state) }
		}
		fmt.Fprint(stderr, what+": ")
		defer fmt.Fprintln(stderr)
		go func() {
			b, err := term.ReadPassword(fd)
			done <- read{string(b), err}
		}()
	} else {
		go func() {
			b, err := io.ReadAll(io.LimitReader(stdin, maxSecret+2))
			done <- read{strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), err}
		}()
	}
	select {
	case <-ctx.Done(): // the reader stays behind; vk ends now
		restore()
		return secret.Text{}, ctx.Err()
	case r := <-done:
		switch {
		case r.err != nil:
			return secret.Text{}, fmt.Errorf("read the %s: %w", what, r.err)
		case r.text == "":
			return secret.Text{}, usage("client", "standard input holds no %s", what)
		case len(r.text) > maxSecret:
			return secret.Text{}, localapi.Errorf(localapi.ErrBadRequest, "the %s is longer than %d KiB", what, maxSecret>>10)
		}
		return secret.New(r.text), nil
	}
}
