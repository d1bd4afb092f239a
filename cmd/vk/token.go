package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/localapi"
)

const tokenHelp = `Prints an access token for an MCP server on standard output, and nothing else.
Valet Key may ask you first, or open your browser to sign in; vk waits for that.

In a shell, don't pass the token as an argument: other users of the computer can read
those. Do this instead:

  curl -H @<(printf 'Authorization: Bearer %s' "$(vk token URL)") URL

The question names the app that started vk, not vk itself.

With --explain, vk doesn't print the token but what Valet Key found in it: whether
its signature, expiry, audience, issuer and scopes are right.`

type token struct {
	*program
	access
	minValid                       time.Duration
	reason                         string
	json, explains, alone, noStart bool
}

func newToken(p *program) *cobra.Command {
	v := &token{program: p}
	c := verb("token URL|NAME", "print a token for a server", tokenHelp, 1, 1, v.run)
	c.ValidArgsFunction = p.completeServers
	c.SuggestFor = []string{"get"}
	v.access.flags(p, c)
	f := c.Flags()
	f.DurationVar(&v.minValid, "min-valid", time.Minute, "get a token valid for at least this `DURATION`, such as 90s or 10m")
	f.BoolVar(&v.alone, "no-interaction", false, "never ask anything; fail instead")
	f.StringVar(&v.reason, "reason", "", "show this `TEXT` in the question")
	f.BoolVar(&v.json, "json", false, "print the whole answer as JSON")
	f.BoolVar(&v.explains, "explain", false, "print what Valet Key found in the token, not the token")
	noStartFlag(c, &v.noStart)
	return c
}

func (v *token) run(ctx context.Context, args []string) error {
	if v.minValid < 0 {
		return usage("token", "--min-valid cannot be negative")
	}
	v.starts = !v.noStart
	server, err := v.server(ctx, args[0])
	if err != nil {
		return err
	}
	req := localapi.TokenRequest{
		Resource: server, Account: v.account, Scopes: v.split(), Reason: v.reason,
		MinValidS: int((v.minValid + time.Second - 1) / time.Second),
	}
	if v.alone {
		req.Interaction = localapi.InteractionNone
	}
	if v.explains {
		return v.explain(ctx, req)
	}
	asking := askPerson[localapi.Token]
	if v.alone {
		asking = ask[localapi.Token]
	}
	got, err := asking(v.program, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Token, error) { return c.Token(ctx, req) })
	if err != nil {
		return err
	}
	if v.json {
		return v.printJSON(got)
	}
	return v.print(got.AccessToken.Reveal() + "\n")
}

// access is what a person may narrow a request to.
type access struct {
	scopes  []string
	account string
}

func (a *access) flags(p *program, c *cobra.Command) {
	c.Flags().StringArrayVar(&a.scopes, "scope", nil, "ask for this `SCOPE`; repeat the flag for more")
	c.Flags().StringVar(&a.account, "account", "", "use this `ACCOUNT`, by the name you gave it")
	p.completeGrant(c, "scope", scopesOf)
	p.completeGrant(c, "account", accountOf)
}

// split takes apart scopes that were given as one argument with spaces, as scope parameters are written.
func (a *access) split() []string { return strings.Fields(strings.Join(a.scopes, " ")) }
