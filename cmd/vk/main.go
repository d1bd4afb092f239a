//go:build !man

// Command vk asks Valet Key from the command line: for tokens, and about the servers the person is signed in to.
//
// It holds no rules and no secrets: it sends one request to the app and prints the answer.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/valetkey/valetkey/localapi"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, localapi.Address)
	stop()
	os.Exit(code)
}
