package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/localapi"
)

const (
	headersLimit    = 2500 * time.Millisecond // for everything: hosts start while they wait for this
	headersMinValid = 5 * time.Minute         // hosts go on using what was printed
	headersRerunS   = 10                      // asked again within so many seconds, the token was refused
)

// Hosts that run a command for the headers of a server, and what they make of it.
const (
	hostClaudeCode    = "claude-code"
	hostCodex         = "codex"
	hostClaudeDesktop = "claude-desktop"
)

var headerHosts = []string{hostClaudeCode, hostCodex, hostClaudeDesktop}

const headersHelp = `Prints the headers for an MCP server as one line of JSON, for apps that run a command
to get them (Claude Code's headersHelper, Codex's http_headers_helper, Claude
Desktop's headersHelper). You don't run it yourself.

It answers within 3 s and doesn't wait for you. If you have to allow something or sign
in, Valet Key asks you meanwhile, and the app is told "not now" in its own way.`

type headers struct {
	*program
	host, at string
	noStart  bool
}

func newHeaders(p *program) *cobra.Command {
	v := &headers{program: p}
	c := verb("headers", "print the headers for a server, for apps that ask", headersHelp, 0, 0, v.run)
	c.Flags().StringVar(&v.host, "host", "", "the `APP` that runs this: "+strings.Join(headerHosts, ", "))
	c.Flags().StringVar(&v.at, "server", "", "the `URL` of the server")
	completeWords(c, "host", headerHosts...)
	p.completeGrant(c, "server", func(g localapi.Grant) []string { return []string{g.Server} })
	noStartFlag(c, &v.noStart)
	return c
}

// run prints the headers for one server, or what the host takes for a miss: an empty object makes Claude Code go on
// without a header, so that its own sign-in stays possible; the others want nothing on standard output and a failure.
func (v *headers) run(ctx context.Context, _ []string) error {
	switch {
	case !slices.Contains(headerHosts, v.host):
		return usage("headers", "--host must be one of: %s", strings.Join(headerHosts, ", "))
	case v.at == "":
		return usage("headers", "vk headers needs --server")
	}
	v.starts = !v.noStart
	token, err := bounded(v.program, ctx, headersLimit, func(c *localapi.Client, ctx context.Context) (*localapi.Token, error) {
		return c.Token(ctx, localapi.TokenRequest{
			Resource: address(v.at), MinValidS: int(headersMinValid / time.Second), Interaction: localapi.InteractionAsk, RerunS: headersRerunS,
		})
	})
	found := map[string]string{}
	switch {
	case err == nil:
		found["Authorization"] = token.TokenType + " " + token.AccessToken.Reveal()
	case v.host != hostClaudeCode || errors.Is(err, context.Canceled):
		return err
	default:
		v.complain(err)
	}
	e := json.NewEncoder(v.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(found)
}
