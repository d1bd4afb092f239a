// Valetkey is the program of Valet Key: it signs a person in to remote MCP servers once, keeps the refresh tokens in the
// keychain, asks which program may use which server, and gives those programs fresh tokens over a local socket.
//
// It runs in one of three roles. The resident process, which a person starts, holds everything but windows. It starts the
// other two from its own executable: "window" shows windows and ends with the last of them, "keychain" makes one call
// to the keychain and ends.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/valetkey/valetkey/keystore"
)

// version is set by the build.
var version = "unknown"

// The roles that the resident process starts.
const (
	roleWindow   = "window"
	roleKeychain = "keychain"
)

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP) // the terminal was closed
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "valetkey: "+say(err))
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 1 {
		switch args[0] {
		case roleKeychain:
			return keystore.RunRole(ctx, keystore.RoleConfig{Getenv: os.Getenv, In: os.Stdin, Out: os.Stdout})
		case roleWindow:
			return window()
		}
	}
	opts, err := parse(args, os.Stdout)
	if err != nil || opts == nil {
		return err
	}
	return resident(ctx, opts)
}
