package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

const (
	importHelp = `Lists the remote servers your apps use without Valet Key, and offers to connect each
app to them through Valet Key. It reads names and addresses only, never a token or a
header, so you sign in again. The app's own entry stays until you remove it.`

	importedSuffix = "-vk" // the host's own entry keeps its name
)

type importing struct {
	*program
	json bool
}

func newImport(p *program) *cobra.Command {
	v := &importing{program: p}
	c := verb("import", "offer to connect the servers your apps already have", importHelp, 0, 0, v.run)
	c.Flags().BoolVar(&v.json, "json", false, "print JSON, and don't ask")
	return c
}

// run offers the servers that hosts have on their own, one by one.
func (v *importing) run(ctx context.Context, _ []string) error {
	env, err := v.machine()
	switch {
	case err != nil:
		return err
	case v.json:
		return v.printJSON(importable(env))
	}
	count := 0
	for _, h := range hosts.All() {
		content, err := h.Read(env)
		if err != nil {
			fmt.Fprintln(v.stderr, "vk:", clean(err.Error()))
			continue
		}
		for _, r := range alone(content) {
			count++
			if err := v.importOne(ctx, env, h, r); err != nil {
				return err
			}
		}
	}
	if count == 0 {
		fmt.Fprintln(v.stderr, "vk: no app has a remote server without Valet Key")
	}
	return nil
}

// alone are the servers that a host has without Valet Key and not through it as well.
func alone(c *hosts.Content) []hosts.Remote {
	return slices.DeleteFunc(slices.Clone(c.Remotes), func(r hosts.Remote) bool {
		return slices.ContainsFunc(c.Entries, func(e hosts.Entry) bool { return localapi.SameServer(e.Server, r.Server) })
	})
}

const hiddenWords = "its address has more to it, which may be secret: to add it, run vk connect yourself"

// importable lists what vk import would offer, and the files that it cannot read.
func importable(env hosts.Env) listing {
	all := listing{Hosts: []listed{}}
	for _, h := range hosts.All() {
		l, content := lookAt(h, env)
		for _, r := range alone(content) {
			s := remoteServer(r)
			if change, err := h.Connect(env, r.Server, importName(r), ""); r.Hidden {
				s.Problem = hiddenWords
			} else if err != nil {
				s.Problem = err.Error()
			} else {
				s.AddAs = change.Entry.Name
			}
			l.Servers = append(l.Servers, s)
		}
		if l.Error != "" || len(l.Servers) > 0 {
			all.Hosts = append(all.Hosts, l)
		}
	}
	return all
}

func (v *importing) importOne(ctx context.Context, env hosts.Env, h *hosts.Host, r hosts.Remote) error {
	line := fmt.Sprintf("%s has %s, %s, %s\n", h.Name, clean(r.Name), clean(r.Server), remoteServer(r).way())
	if r.Hidden {
		return v.print(line + "  " + hiddenWords + "\n")
	}
	change, err := h.Connect(env, r.Server, importName(r), "")
	if err != nil {
		return v.print(line + "  cannot be added: " + clean(err.Error()) + "\n")
	}
	if !isTerminal(v.stdin) {
		return v.print(line + fmt.Sprintf("  to add it, run: vk connect %s %s --name %s\n", h.Key, clean(r.Server), change.Entry.Name))
	}
	switch err := v.settle(ctx, false, change, line+v.announce(h, env, change)); {
	case errors.Is(err, localapi.ErrConsentDenied):
		return nil
	case err != nil:
		return err
	}
	if err := v.afterwards(ctx, h, change); err != nil {
		return err
	}
	return v.print(fmt.Sprintf("Its own entry, %s, is still there: remove it once this one works.\n\n", clean(r.Name)))
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
