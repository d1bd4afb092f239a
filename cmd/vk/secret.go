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

// readSecrets reads one secret for each name in what from standard input. At a terminal it asks for them and does not
// echo them. From a file or a pipe it takes one line each, or, for one alone, everything but a newline at the end.
func readSecrets(ctx context.Context, stdin io.Reader, stderr io.Writer, what ...string) ([]secret.Text, error) {
	if len(what) == 0 {
		return nil, nil
	}
	next := whole(stdin, len(what))
	if f, ok := stdin.(*os.File); ok && isTerminal(stdin) {
		fd := int(f.Fd())
		if state, err := term.GetState(fd); err == nil {
			defer term.Restore(fd, state) // a reader that stays behind has switched the echo off
		}
		next = func() (string, error) {
			b, err := term.ReadPassword(fd)
			fmt.Fprintln(stderr)
			return string(b), err
		}
	}
	var secrets []secret.Text
	for _, name := range what {
		if isTerminal(stdin) {
			fmt.Fprint(stderr, name+": ")
		}
		text, err := await(ctx, next)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, fmt.Errorf("read the %s: %w", name, err)
		case text == "":
			return nil, usage("client", "standard input has no %s", name)
		case len(text) > maxSecret:
			return nil, localapi.Errorf(localapi.ErrBadRequest, "the %s is longer than %d KiB", name, maxSecret>>10)
		}
		secrets = append(secrets, secret.New(text))
	}
	return secrets, nil
}

// whole returns a function that gives n parts of r, one after the other: its lines, the last one with all that is left.
func whole(r io.Reader, n int) func() (string, error) {
	var parts []string
	return func() (string, error) {
		if parts == nil {
			b, err := io.ReadAll(io.LimitReader(r, int64(n)*(maxSecret+2)))
			if err != nil {
				return "", err
			}
			parts = strings.SplitN(string(b), "\n", n)
		}
		if len(parts) == 0 {
			return "", nil
		}
		part := parts[0]
		parts = parts[1:]
		return strings.TrimSuffix(strings.TrimSuffix(part, "\n"), "\r"), nil
	}
}

// await is what read returns, or nothing when ctx ends first. Then read stays behind: vk ends now.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case r := <-done:
		return r.text, r.err
	}
}
