package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

const signInHelp = `Signs in to an MCP server in your browser. Valet Key keeps the sign-in. Use the
server's URL the first time; later its NAME works too. Signing in gives no app access:
Valet Key asks you when an app first wants a token.

Some issuers need extra parameters, such as --parameter access_type=offline. Valet Key
sends them now and each time you sign in to this server. The question shows them.`

type signIn struct {
	*program
	access
	device, json bool
	wanted       map[string]*bool     // of quirks, by name
	values       map[string]*[]string // of quirks that have one
}

func newSignIn(p *program) *cobra.Command {
	v := &signIn{program: p, wanted: map[string]*bool{}, values: map[string]*[]string{}}
	c := verb("signin URL|NAME", "sign in to a server", signInHelp, 1, 1, v.run)
	c.ValidArgsFunction = p.completeServers
	c.SuggestFor = []string{"login", "sign-in", "auth", "authorize"}
	v.access.flags(p, c)
	v.settingFlags(c, true)
	c.Flags().BoolVar(&v.device, "device", false, "sign in on another device with a code, if the issuer allows it")
	v.settingFlags(c, false)
	jsonFlag(c, &v.json)
	return c
}

// settingFlags are the flags of quirks that anybody may set: those that have a value, or those that have none.
func (v *signIn) settingFlags(c *cobra.Command, valued bool) {
	for _, r := range quirk.Settings() {
		switch words := r.Setting(); {
		case r.Who != quirk.Set || (r.Form != "") != valued:
		case valued:
			v.values[r.Name] = c.Flags().StringArray(words.Flag, nil, words.Usage)
		default:
			v.wanted[r.Name] = c.Flags().Bool(words.Flag, false, words.Usage)
		}
	}
}

func (v *signIn) run(ctx context.Context, args []string) error {
	server, err := v.server(ctx, args[0])
	if err != nil {
		return err
	}
	req := localapi.SignInRequest{Resource: server, Account: v.account, Scopes: v.split(), Device: v.device}
	for _, r := range quirk.Settings() {
		set := quirk.Quirk{Name: r.Name}
		if values := v.values[r.Name]; values != nil && *values != nil {
			set.Value = r.Join(*values)
			if err := r.Check(set.Value); err != nil && !set.Over() {
				return usage("signin", "--%s %v", r.Setting().Flag, err)
			}
		} else if wanted := v.wanted[r.Name]; wanted == nil || !*wanted {
			continue
		}
		req.Quirks = append(req.Quirks, set.String())
	}
	grant, err := askPerson(v.program, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Grant, error) { return c.SignIn(ctx, req) })
	if err != nil {
		return err
	}
	if v.json {
		return v.printJSON(grant)
	}
	return v.print(fmt.Sprintf("signed in to %s\n", named(*grant)))
}
