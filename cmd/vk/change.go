package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

func hostCalled(verb, key string) (*hosts.Host, error) {
	h, ok := hosts.Lookup(key)
	if !ok {
		e := usage(verb, "there is no app called %q", key)
		var keys []string
		for _, h := range hosts.All() {
			keys = append(keys, h.Key)
		}
		e.Hint = didYouMean(key, keys...) + e.Hint
		return nil, e
	}
	return h, nil
}

// byHand prints the block of a file that cannot be edited, for the person to put there.
func (p *program) byHand(h *hosts.Host, err error) error {
	var u *hosts.Unreadable
	if !errors.As(err, &u) {
		return err
	}
	said := &localapi.Error{Kind: localapi.ErrBadRequest, Message: clean(u.Error()), Hint: "nothing was written; fix the file and try again", Err: err}
	if u.Block == "" {
		return said
	}
	said.Hint = "nothing was written; add the printed lines to it yourself"
	if err := p.print(u.Block); err != nil {
		return err
	}
	return said
}

// announce says what a change will do, in full.
func (p *program) announce(h *hosts.Host, env hosts.Env, c *hosts.Change) string {
	var out strings.Builder
	if h.Found(env) == "" {
		fmt.Fprintf(&out, "%s wasn't found on this computer.\n", h.Name)
	}
	fmt.Fprintf(&out, "These lines will be added to %s:\n\n%s\n", clean(c.File), indented(c.Lines))
	if c.Runs != "" {
		fmt.Fprintf(&out, "With them, %s runs this command to use the server:\n\n  %s\n\n", h.Name, clean(c.Runs))
	} else {
		fmt.Fprintf(&out, "With them, %s connects to Valet Key at:\n\n  %s\n\n", h.Name, clean(c.Entry.Socket))
	}
	if c.Backup != "" {
		fmt.Fprintf(&out, "A copy of the file as it is now will be kept as %s\n", clean(c.Backup))
	}
	return out.String()
}

func indented(lines string) string {
	var out strings.Builder
	for line := range strings.Lines(lines) {
		out.WriteString("  " + clean(strings.TrimSuffix(strings.ReplaceAll(line, "\t", "    "), "\n")) + "\n")
	}
	return out.String()
}

// settle shows a change, asks, and makes it. Nobody who can be asked means no (SEP-1024: a command line is installed
// only after it was shown in full and agreed to).
func (p *program) settle(ctx context.Context, yes bool, c *hosts.Change, said string) error {
	if !yes && !isTerminal(p.stdin) {
		if c.Block != "" {
			if err := p.print(c.Block); err != nil {
				return err
			}
		}
		return localapi.Errorf(localapi.ErrBadRequest, "nothing was written to %s: vk couldn't ask you", clean(c.File)).
			WithHint("run it in a terminal, or add --yes")
	}
	if err := p.print(said); err != nil {
		return err
	}
	if !yes {
		if agreed, err := p.confirm(ctx, "Write it?"); err != nil {
			return err
		} else if !agreed {
			return localapi.Errorf(localapi.ErrConsentDenied, "nothing was written")
		}
	}
	return c.Apply()
}

// confirm asks a question on the terminal. Only a plain yes is one.
func (p *program) confirm(ctx context.Context, question string) (bool, error) {
	if err := p.print(question + " [y/N] "); err != nil {
		return false, err
	}
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	go func() { // stays behind if vk is interrupted; vk ends then
		line, err := bufio.NewReader(oneByOne{p.stdin}).ReadString('\n')
		done <- read{line, err}
	}()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case r := <-done:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return false, r.err
		}
		return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(r.line))), nil
	}
}

// oneByOne keeps a buffer from reading more than it is asked for: the next question has its own.
type oneByOne struct{ io.Reader }

func (o oneByOne) Read(b []byte) (int, error) { return o.Reader.Read(b[:min(1, len(b))]) }

// afterwards says what happens next.
func (p *program) afterwards(ctx context.Context, h *hosts.Host, c *hosts.Change) error {
	out := fmt.Sprintf("%s now has the server, as %s. %s\nWhen %s first uses the server, Valet Key asks you.\n", h.Name, clean(c.Entry.Name), h.Restart, h.Name)
	grants, err := p.grants(ctx)
	switch {
	case err != nil:
		out += clean(err.Error()+hintOf(err)) + "\n"
	case !slices.ContainsFunc(grants.Grants, func(g localapi.Grant) bool { return localapi.SameServer(g.Server, c.Entry.Server) }):
		out += "You aren't signed in to the server yet. To sign in, run: vk signin " + clean(c.Entry.Server) + "\n"
	}
	return p.print(out)
}

var errNotConnected = errors.New("not connected")

// connection finds the entry of ours that a host has for a server, by its URL or its name.
func connection(h *hosts.Host, env hosts.Env, wanted string) (hosts.Entry, error) {
	content, err := h.Read(env)
	if err != nil {
		return hosts.Entry{}, err
	}
	var named []string
	found := hosts.Entry{}
	for _, e := range content.Entries {
		if e.Name == wanted {
			return e, nil
		}
		if localapi.SameServer(e.Server, address(wanted)) {
			found, named = e, append(named, e.Name)
		}
	}
	switch len(named) {
	case 0:
		return found, errNotConnected
	case 1:
		return found, nil
	}
	return found, localapi.Errorf(localapi.ErrBadRequest, "%s has this server more than once", h.Name).WithHint("use one of its names: %s", clean(strings.Join(named, ", ")))
}
