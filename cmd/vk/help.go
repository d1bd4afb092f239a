package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

const (
	tokenHelp = `Prints an access token for an MCP server, alone on standard output. If need be
Valet Key asks you first, and opens your browser to sign in; vk waits for that.

In a shell, keep the token out of other programs' arguments, which anybody can read:

  curl -H @<(printf 'Authorization: Bearer %s' "$(vk token URL)") URL

You are asked about the program that started vk, not about vk.

With --explain vk prints, instead of the token, whether its signature, expiry,
audience, issuer and scopes are right, what was expected and what was there.`

	signInHelp = `Signs in to an MCP server in your browser, and keeps the grant in Valet Key. The
first time it takes the server's URL, later its NAME does as well. It gives no
program access: each asks you when it first wants a token.

Some issuers want more than MCP knows of: --parameter access_type=offline sends it at
this sign-in and at later ones to the same server. You see it in the question.`

	listHelp = `Lists the servers you are signed in to: how each is, when its token expires, and
which hosts may use it.`

	showHelp = `Shows what Valet Key has for a server: the issuer, each account, the scopes you
granted, and what you allowed to which host.`

	forgetHelp = `Deletes what Valet Key has for a server, and revokes it at the issuer. The server
need not be there any more. What the issuer would not revoke is said on standard
error.`

	statusHelp = `Shows whether Valet Key runs, how it asks you, whether it can use the keychain, and
how many servers need you. Exits with 8 if it does not run.`

	clientHelp = `Sets a client ID that you got from the issuer of a server, for issuers that do not
let programs register themselves. Valet Key asks you to confirm it. A client secret
or a private key is read from standard input, never from the command line.

You sign in with it by browser, unless you say otherwise:

  --grant-type client_credentials --secret-stdin (or --key-stdin)
      the client gets tokens by itself
  --assertion-file FILE
      so it does, with the identity that your platform gives this workload
  --enterprise ISSUER --enterprise-client-id ID
      you sign in at your enterprise, which speaks for you at the server's issuer`

	footer = `
NAME is what vk list calls a server, or its URL without https://; for vk disconnect,
what the host calls it.

Environment:
  VK_SOCK   where the socket of Valet Key is, if not in its usual place

Exit codes:
  0  done                          5  the keychain or Valet Key is locked
  1  a mistake in Valet Key        6  the server's metadata is missing or wrong
  2  wrong usage, unknown server   7  the issuer refused
  3  you did not consent           8  not reachable: Valet Key, network, keychain
  4  you must sign in first        9  the token is not bound to this server
`
)

func find(name string) *verb {
	for _, v := range verbs() {
		if v.name == name {
			return v
		}
	}
	return nil
}

// flagSet returns the verb's flags, to be parsed into o.
func (v *verb) flagSet(o *options) *pflag.FlagSet {
	f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	v.flags(f, o)
	return f
}

// takes says in words what arguments the verb takes.
func (v *verb) takes() string {
	switch {
	case v.maxArgs == 0:
		return "no argument"
	case v.maxArgs > 1:
		return "two arguments: " + v.args
	case v.minArgs == 0:
		return "at most one argument"
	}
	return "one argument, the " + strings.ReplaceAll(v.args, "|", " or ") + " of a server"
}

// help is what "vk help VERB" prints.
func (v *verb) help() string {
	flags := v.flagSet(new(options)).FlagUsages()
	line := "vk " + v.name
	if v.args != "" {
		line += " " + v.args
	}
	if flags == "" {
		return line + "\n\n" + v.long + "\n"
	}
	return line + " [flags]\n\n" + v.long + "\n\nFlags:\n" + flags
}

func (p *program) help(_ context.Context, _ *options, args []string) error {
	if len(args) == 1 {
		v := find(args[0])
		if v == nil {
			return usage("", "there is no verb %q", args[0])
		}
		return p.print(v.help())
	}
	var rows [][]string
	for _, v := range verbs() {
		rows = append(rows, []string{strings.TrimSpace("vk " + v.name + " " + v.args), v.short})
	}
	return p.print(fmt.Sprintf("vk: tokens for MCP servers, from Valet Key\n\n%s%s", table("  ", rows), footer))
}
