// Conformance runs the official MCP conformance suite against Valet Key as it is shipped. `make conformance` builds what
// it needs and runs it.
//
// The suite plays an MCP server with its issuer and starts a client for each scenario. That client is this same program
// in its host role: a host that speaks MCP on stdio, over `vk bridge`, the socket and a Valet Key of its own, to the
// suite's server. It knows nothing of OAuth; the person's part is a policy file and a browser that says yes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// roleHost is the first argument when the suite starts this program as a client.
const roleHost = "host"

// limit ends a run that hangs.
const limit = 20 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	do := conformance
	if len(os.Args) > 1 && os.Args[1] == roleHost {
		do = hostRole
	}
	if err := do(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		stop()
		os.Exit(1)
	}
}
