package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

const disconnectHelp = `Removes a server from an app's configuration file: exactly what vk connect added. You
stay signed in; to undo that too, use vk forget.`

type disconnect struct {
	*program
	yes bool
}

func newDisconnect(p *program) *cobra.Command {
	v := &disconnect{program: p}
	c := verb("disconnect APP URL|NAME", "disconnect an app from a server", disconnectHelp, 2, 2, v.run)
	c.SuggestFor = []string{"uninstall"}
	c.ValidArgsFunction = v.complete
	c.Flags().BoolVar(&v.yes, "yes", false, "write without asking")
	return c
}

// complete completes a host that has servers through Valet Key, and their names there.
func (v *disconnect) complete(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	env, err := v.machine()
	if err != nil {
		return completions(typed)
	}
	switch len(args) {
	case 0:
		return completions(typed, hostWords(func(h *hosts.Host) bool { return len(entryNames(h, env)) > 0 })...)
	case 1:
		if h, ok := hosts.Lookup(args[0]); ok {
			return completions(typed, entryNames(h, env)...)
		}
	}
	return completions(typed)
}

func (v *disconnect) run(ctx context.Context, args []string) error {
	env, err := v.machine()
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
		return v.byHand(h, err)
	case isAddress(name):
		return localapi.Errorf(localapi.ErrUnknownServer, "%s does not have %s through Valet Key", h.Name, clean(address(name))).WithHint("run: vk connect --list")
	}
	change, err := h.Disconnect(env, name)
	if err != nil {
		if e, ok := errors.AsType[*localapi.Error](err); ok && errors.Is(e, localapi.ErrUnknownServer) {
			e.Hint = didYouMean(name, entryNames(h, env)...) + e.Hint
		}
		return v.byHand(h, err)
	}
	said := fmt.Sprintf("These lines will be removed from %s:\n\n%s\n", clean(change.File), indented(change.Lines))
	if err := v.settle(ctx, v.yes, change, said); err != nil {
		return err
	}
	return v.print(fmt.Sprintf("%s no longer has %s. %s\n", h.Name, clean(name), h.Restart))
}

// entryNames are the names under which a host has servers through Valet Key.
func entryNames(h *hosts.Host, env hosts.Env) (names []string) {
	if content, err := h.Read(env); err == nil {
		for _, e := range content.Entries {
			names = append(names, clean(e.Name))
		}
	}
	return names
}
