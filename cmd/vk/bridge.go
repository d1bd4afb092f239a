package main

import (
	"context"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/bridge"
	"github.com/valetkey/valetkey/localapi"
)

const bridgeHelp = `Runs as an MCP server on standard input and output, for apps that start a command, and
passes everything on to the MCP server at URL. Valet Key adds the token; the app never
sees it. This is the command to put into an app's configuration.

It ends when its input ends. Messages for you go to standard error.`

const gatewayOrigin = "http://valetkey"

type bridging struct {
	*program
	timeout time.Duration
	noStart bool
}

func newBridge(p *program) *cobra.Command {
	v := &bridging{program: p}
	c := verb("bridge URL|NAME", "connect an app that speaks MCP over stdio", bridgeHelp, 1, 1, v.run)
	c.ValidArgsFunction = p.completeServers
	c.Flags().DurationVar(&v.timeout, "timeout", 0, "let a request take at most this `DURATION` (default 1h)")
	c.Flags().BoolVar(&v.verbose, "verbose", false, "say more on standard error")
	noStartFlag(c, &v.noStart)
	return c
}

func (v *bridging) run(ctx context.Context, args []string) error {
	if v.timeout < 0 {
		return usage("bridge", "--timeout cannot be negative")
	}
	v.starts = !v.noStart
	server, err := v.server(ctx, args[0])
	if err != nil {
		return err
	}
	path, err := localapi.MCPPath(server)
	if err != nil {
		return err
	}
	c, err := v.client()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	// A host that closes our output is told from an error of writing; by default the signal would end us before the
	// session at the server is ended.
	signal.Ignore(syscall.SIGPIPE)
	level := slog.LevelWarn
	if v.verbose {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(v.stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime}))
	return bridge.New(bridge.Config{Client: c.HTTP(), URL: gatewayOrigin + path, Limit: v.timeout, Log: log}).Run(ctx, v.stdin, v.stdout)
}

// withoutTime leaves out the time: hosts write their own before each line.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
