package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/hosts"
)

const connectHelp = `Connects an app to a server through Valet Key, by adding the server to the app's own
configuration file. You see the exact lines, and vk asks before it writes them. The
rest of the file stays as it is, comments included, and a copy of the old file is
kept beside it. Valet Key asks you when the app first uses the server.

APP is one of:
%s
There are three ways to connect. If you don't choose one, vk takes the best one that
the app supports:

  gateway  the app speaks MCP over Valet Key's socket, and never sees a token
  helper   the app runs "vk headers" to get a token
  bridge   the app runs "vk bridge", and never sees a token`

type connect struct {
	*program
	name, via                  string
	list, yes, printOnly, json bool
}

func newConnect(p *program) *cobra.Command {
	v := &connect{program: p}
	c := verb("connect APP URL", "connect an app to a server", fmt.Sprintf(connectHelp, hostKeys()), 0, 2, v.run)
	c.SuggestFor = []string{"add", "install"}
	c.ValidArgsFunction = v.complete
	f := c.Flags()
	f.BoolVar(&v.list, "list", false, "list the apps on this computer, and the servers each has")
	f.StringVar(&v.name, "name", "", "what the app will call the server; without this flag, a `NAME` made from the URL")
	f.StringVar(&v.via, "via", "", "the `WAY` to connect: gateway, helper or bridge")
	f.BoolVar(&v.yes, "yes", false, "write without asking")
	f.BoolVar(&v.printOnly, "print", false, "print the entry, and write nothing")
	f.BoolVar(&v.json, "json", false, "with --list: print JSON")
	completeWords(c, "via", "gateway", "helper", "bridge")
	return c
}

// complete completes a host, and the URL of a server.
func (v *connect) complete(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var words []cobra.Completion
	switch len(args) {
	case 0:
		words = hostWords(func(*hosts.Host) bool { return true })
	case 1:
		for _, g := range v.known(c.Context()) {
			words = append(words, clean(g.Server))
		}
	}
	return completions(typed, words...)
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

func (v *connect) run(ctx context.Context, args []string) error {
	env, err := v.machine()
	switch {
	case err != nil:
		return err
	case v.list && len(args) == 0:
		return v.listHosts(env)
	case v.list || len(args) != 2:
		return usage("connect", "vk connect takes an app and a server's URL, or --list alone")
	case v.json:
		return usage("connect", "--json goes with --list only")
	}
	h, err := hostCalled("connect", args[0])
	if err != nil {
		return err
	}
	if had, err := connection(h, env, args[1]); err == nil {
		return v.print(fmt.Sprintf("%s already has %s, as %s\n", h.Name, clean(had.Server), clean(had.Name)))
	}
	change, err := h.Connect(env, address(args[1]), v.name, hosts.Channel(v.via))
	if err != nil {
		return v.byHand(h, err)
	}
	if v.printOnly {
		return v.print(change.Block)
	}
	if err := v.settle(ctx, v.yes, change, v.announce(h, env, change)); err != nil {
		return err
	}
	return v.afterwards(ctx, h, change)
}

func (v *connect) listHosts(env hosts.Env) error {
	all := listing{Hosts: []listed{}}
	for _, h := range hosts.All() {
		if h.Found(env) == "" {
			continue
		}
		l, content := lookAt(h, env)
		for _, e := range content.Entries {
			l.Servers = append(l.Servers, listedServer{Name: e.Name, Server: e.Server, Via: e.Via})
		}
		for _, r := range content.Remotes {
			l.Servers = append(l.Servers, remoteServer(r))
		}
		all.Hosts = append(all.Hosts, l)
	}
	if v.json {
		return v.printJSON(all)
	}
	if len(all.Hosts) == 0 {
		fmt.Fprintln(v.stderr, "vk: found no app on this computer that Valet Key knows")
	}
	for _, l := range all.Hosts {
		if err := v.print(l.text()); err != nil {
			return err
		}
	}
	return nil
}
