package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/localapi"
)

const forgetHelp = `Deletes what Valet Key has for a server, and revokes it at the issuer. The server
doesn't have to exist any more. What the issuer didn't revoke is listed on standard
error.`

type forget struct {
	*program
	account string
	json    bool
}

func newForget(p *program) *cobra.Command {
	v := &forget{program: p}
	c := verb("forget URL|NAME", "forget a server and revoke its tokens", forgetHelp, 1, 1, v.run)
	c.ValidArgsFunction = p.completeServers
	c.SuggestFor = []string{"logout", "signout", "sign-out", "revoke", "remove", "rm", "delete"}
	c.Flags().StringVar(&v.account, "account", "", "forget only this `ACCOUNT`")
	p.completeGrant(c, "account", accountOf)
	jsonFlag(c, &v.json)
	return c
}

func (v *forget) run(ctx context.Context, args []string) error {
	server, err := v.server(ctx, args[0])
	if err != nil {
		return err
	}
	req := localapi.ForgetRequest{Resource: server, Account: v.account}
	forgotten, err := askPerson(v.program, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Forgotten, error) { return c.Forget(ctx, req) })
	if err != nil {
		return err
	}
	if v.json {
		return v.printJSON(forgotten)
	}
	var out strings.Builder
	for _, g := range forgotten.Grants {
		fmt.Fprintf(&out, "forgot %s\n", named(g))
	}
	for _, sentence := range forgotten.NotRevoked {
		fmt.Fprintln(v.stderr, "vk:", clean(sentence))
	}
	return v.print(out.String())
}
