package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

const (
	connectHelp = `Gives a host a server through Valet Key: writes an entry into the host's own
configuration file. You see the exact lines first and are asked. Comments and
everything else in the file stay as they are, and the file as it was is kept
beside it. The host asks for your consent when it first uses the server.

HOST is one of:
%s
NAME is what the host calls the server; made of the URL if not given. There are
three ways in; the best one that the host has is taken if you name none:

  gateway  it speaks MCP over Valet Key's socket, and never sees a token
  helper   it asks "vk headers" for a token
  bridge   it starts "vk bridge", and never sees a token`

	disconnectHelp = `Takes a server out of a host's configuration file again, exactly what vk connect
put there. What you granted to Valet Key stays; vk forget takes that back.`

	importHelp = `Lists the remote servers that hosts on this machine have without Valet Key, and
offers to add each to its host through Valet Key. It reads names and addresses
only, never a token or a header: you sign in anew. The host's own entry stays
until you remove it.`
)

func connectFlags(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.list, "list", false, "list the hosts on this machine and the servers each has")
	f.StringVar(&o.name, "name", "", "the `NAME` of the server in the host")
	f.StringVar(&o.via, "via", "", "the `WAY` in: gateway, helper or bridge")
	f.BoolVar(&o.yes, "yes", false, "write without asking")
	f.BoolVar(&o.print, "print", false, "print the entry and write nothing")
}

func disconnectFlags(f *pflag.FlagSet, o *options) {
	f.BoolVar(&o.yes, "yes", false, "write without asking")
}

// hostKeys lists the hosts that vk connect takes, for its help.
func hostKeys() string {
	var out strings.Builder
	line := " "
	for _, h := range hosts.All() {
		if len(line)+1+len(h.Key) > 80 {
			out.WriteString(line + "\n")
			line = " "
		}
		line += " " + h.Key
	}
	return out.String() + line + "\n"
}

func hostCalled(verb, key string) (*hosts.Host, error) {
	h, ok := hosts.Lookup(key)
	if !ok {
		return nil, usage(verb, "there is no host called %q here", key)
	}
	return h, nil
}

func (p *program) connect(ctx context.Context, o *options, args []string) error {
	env, err := p.machine()
	switch {
	case err != nil:
		return err
	case o.list && len(args) == 0:
		return p.listHosts(env)
	case o.list || len(args) != 2:
		return usage("connect", "vk connect takes a host and the URL of a server, or --list alone")
	}
	h, err := hostCalled("connect", args[0])
	if err != nil {
		return err
	}
	if had, err := connection(h, env, args[1]); err == nil {
		return p.print(fmt.Sprintf("%s has %s already, as %s\n", h.Name, clean(had.Server), clean(had.Name)))
	}
	change, err := h.Connect(env, args[1], o.name, hosts.Channel(o.via))
	if err != nil {
		return p.byHand(h, err)
	}
	if o.print {
		return p.print(change.Block)
	}
	if err := p.settle(ctx, o, change, p.announce(h, env, change)); err != nil {
		return err
	}
	return p.afterwards(ctx, h, change)
}

// byHand prints the block of a file that cannot be edited, for the person to put there.
func (p *program) byHand(h *hosts.Host, err error) error {
	var u *hosts.Unreadable
	if !errors.As(err, &u) {
		return err
	}
	said := &localapi.Error{Kind: localapi.ErrBadRequest, Message: clean(u.Error()), Hint: "nothing was written; mend the file and try again", Err: err}
	if u.Block == "" {
		return said
	}
	said.Hint = "nothing was written; add what is printed to it yourself"
	if err := p.print(u.Block); err != nil {
		return err
	}
	return said
}

// announce says what a change will do, in full.
func (p *program) announce(h *hosts.Host, env hosts.Env, c *hosts.Change) string {
	var out strings.Builder
	if h.Found(env) == "" {
		fmt.Fprintf(&out, "%s was not found on this machine.\n", h.Name)
	}
	fmt.Fprintf(&out, "These lines go into %s:\n\n%s\n", clean(c.File), indented(c.Lines))
	if c.Runs != "" {
		fmt.Fprintf(&out, "With them %s runs this program, whenever it wants to use the server:\n\n  %s\n\n", h.Name, clean(c.Runs))
	} else {
		fmt.Fprintf(&out, "With them %s connects to Valet Key:\n\n  %s\n\n", h.Name, clean(c.Entry.Socket))
	}
	if c.Backup != "" {
		fmt.Fprintf(&out, "The file as it is now is kept as %s\n", clean(c.Backup))
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
func (p *program) settle(ctx context.Context, o *options, c *hosts.Change, said string) error {
	if !o.yes && !isTerminal(p.stdin) {
		if c.Block != "" {
			if err := p.print(c.Block); err != nil {
				return err
			}
		}
		return localapi.Errorf(localapi.ErrBadRequest, "nothing was written to %s: you could not be asked", clean(c.File)).
			WithHint("run it on a terminal, or with --yes")
	}
	if err := p.print(said); err != nil {
		return err
	}
	if !o.yes {
		if yes, err := p.confirm(ctx, "Write it?"); err != nil {
			return err
		} else if !yes {
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
	out := fmt.Sprintf("%s has the server now, as %s. %s\nWhen it first uses the server, Valet Key asks you whether it may.\n", h.Name, clean(c.Entry.Name), h.Restart)
	grants, err := p.grants(ctx)
	switch {
	case err != nil:
		out += clean(err.Error()+hintOf(err)) + "\n"
	case !slices.ContainsFunc(grants.Grants, func(g localapi.Grant) bool { return localapi.SameServer(g.Server, c.Entry.Server) }):
		out += "You are not signed in to it yet. To do that now, run: vk signin " + clean(c.Entry.Server) + "\n"
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
		if localapi.SameServer(e.Server, wanted) {
			found, named = e, append(named, e.Name)
		}
	}
	switch len(named) {
	case 0:
		return found, errNotConnected
	case 1:
		return found, nil
	}
	return found, localapi.Errorf(localapi.ErrBadRequest, "%s has this server several times", h.Name).WithHint("give its name: %s", clean(strings.Join(named, ", ")))
}

func (p *program) disconnect(ctx context.Context, o *options, args []string) error {
	env, err := p.machine()
	if err != nil {
		return err
	}
	h, err := hostCalled("disconnect", args[0])
	if err != nil {
		return err
	}
	name := args[1]
	switch had, err := connection(h, env, name); {
	case err == nil:
		name = had.Name
	case !errors.Is(err, errNotConnected):
		return p.byHand(h, err)
	case strings.Contains(name, "://"):
		return localapi.Errorf(localapi.ErrUnknownServer, "%s does not have %s through Valet Key", h.Name, clean(name)).WithHint("run: vk connect --list")
	}
	change, err := h.Disconnect(env, name)
	if err != nil {
		return p.byHand(h, err)
	}
	said := fmt.Sprintf("These lines go out of %s:\n\n%s\n", clean(change.File), indented(change.Lines))
	if err := p.settle(ctx, o, change, said); err != nil {
		return err
	}
	return p.print(fmt.Sprintf("%s no longer has %s. %s\n", h.Name, clean(name), h.Restart))
}

func (p *program) listHosts(env hosts.Env) error {
	var out strings.Builder
	for _, h := range hosts.All() {
		if h.Found(env) == "" {
			continue
		}
		fmt.Fprintf(&out, "%s (%s)\n  %s\n", h.Name, h.Key, clean(h.File(env)))
		content, err := h.Read(env)
		if err != nil {
			fmt.Fprintf(&out, "    cannot be read: %s\n", clean(hosts.Cause(err).Error()))
			continue
		}
		var rows [][]string
		for _, e := range content.Entries {
			rows = append(rows, []string{clean(e.Name), clean(e.Server), "through Valet Key, by " + string(e.Via)})
		}
		for _, r := range content.Remotes {
			rows = append(rows, []string{clean(r.Name), clean(r.Server), remoteWords(r)})
		}
		if len(rows) == 0 {
			rows = [][]string{{"no remote server"}}
		}
		out.WriteString(table("    ", rows))
	}
	if out.Len() == 0 {
		fmt.Fprintln(p.stderr, "vk: no host was found on this machine")
	}
	return p.print(out.String())
}

func remoteWords(r hosts.Remote) string {
	if r.Bridge != "" {
		return "without Valet Key, through " + r.Bridge
	}
	return "without Valet Key"
}

// importServers offers the servers that hosts have on their own, one by one.
func (p *program) importServers(ctx context.Context, o *options, _ []string) error {
	env, err := p.machine()
	if err != nil {
		return err
	}
	count := 0
	for _, h := range hosts.All() {
		content, err := h.Read(env)
		if err != nil {
			fmt.Fprintln(p.stderr, "vk:", clean(err.Error()))
			continue
		}
		for _, r := range content.Remotes {
			if slices.ContainsFunc(content.Entries, func(e hosts.Entry) bool { return localapi.SameServer(e.Server, r.Server) }) {
				continue
			}
			count++
			if err := p.importOne(ctx, o, env, h, r); err != nil {
				return err
			}
		}
	}
	if count == 0 {
		fmt.Fprintln(p.stderr, "vk: no host has a remote server without Valet Key")
	}
	return nil
}

const importedSuffix = "-vk" // the host's own entry keeps its name

func (p *program) importOne(ctx context.Context, o *options, env hosts.Env, h *hosts.Host, r hosts.Remote) error {
	line := fmt.Sprintf("%s has %s, %s, %s\n", h.Name, clean(r.Name), clean(r.Server), remoteWords(r))
	if r.Hidden {
		return p.print(line + "  its address has more to it, which may be a secret: to add it, run vk connect yourself\n")
	}
	change, err := h.Connect(env, r.Server, importName(r), "")
	if err != nil {
		return p.print(line + "  cannot be added: " + clean(err.Error()) + "\n")
	}
	if !isTerminal(p.stdin) {
		return p.print(line + fmt.Sprintf("  to add it, run: vk connect %s %s --name %s\n", h.Key, clean(r.Server), change.Entry.Name))
	}
	switch err := p.settle(ctx, o, change, line+p.announce(h, env, change)); {
	case errors.Is(err, localapi.ErrConsentDenied):
		return nil
	case err != nil:
		return err
	}
	if err := p.afterwards(ctx, h, change); err != nil {
		return err
	}
	return p.print(fmt.Sprintf("Its own entry, %s, is still there: remove it once this one works.\n\n", clean(r.Name)))
}

// importName is a name for a server next to the host's own entry.
func importName(r hosts.Remote) string {
	name := strings.Map(func(c rune) rune {
		if c < 0x80 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return c
		}
		return '-'
	}, r.Name)
	name = strings.TrimLeft(name, "-_")
	return name[:min(len(name), 40)] + importedSuffix
}
