package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/localapi"
)

const listHelp = `Lists the servers you are signed in to: the state of each, when its token expires, and
which apps may use it.`

type list struct {
	*program
	json bool
}

func newList(p *program) *cobra.Command {
	v := &list{program: p}
	c := verb("list", "list the servers you are signed in to", listHelp, 0, 0, v.run)
	c.SuggestFor = []string{"ls", "servers"}
	jsonFlag(c, &v.json)
	return c
}

func (v *list) run(ctx context.Context, _ []string) error {
	all, err := v.grants(ctx)
	switch {
	case err != nil:
		return err
	case v.json:
		return v.printJSON(all)
	case len(all.Grants) == 0:
		fmt.Fprintln(v.stderr, "vk: no servers yet\n  to add one, run: vk signin URL")
		return nil
	}
	rows := [][]string{{"NAME", "SERVER", "ACCOUNT", "STATE", "TOKEN", "APPS"}}
	for _, g := range all.Grants {
		var hosts []string
		for _, c := range g.Consents {
			hosts = append(hosts, clean(c.HostName))
		}
		slices.Sort(hosts)
		rows = append(rows, []string{clean(shortName(g.Server)), clean(g.Server), orDash(clean(g.Account)), stateWords(g.State), v.expiry(g), orDash(strings.Join(slices.Compact(hosts), ", "))})
	}
	return v.print(table("", rows))
}

func (p *program) grants(ctx context.Context) (*localapi.Grants, error) {
	return ask(p, ctx, (*localapi.Client).Grants)
}
