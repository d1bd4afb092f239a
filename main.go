// Valetkey is the program of Valet Key: it signs a person in to remote MCP servers once, keeps the refresh tokens in the
// keychain, asks which program may use which server, and gives those programs fresh tokens over a local socket.
//
// The windows are a program of their own, valetkey-window, which it starts when there is something to show. Each call to the
// keychain is made by a process of its own executable, in its role "keychain".
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/windows"
)

// version is set by the build.
var version = "unknown"

// What the executable is run as, by itself.
const (
	roleKeychain = "keychain"
	roleWindow   = "window" // by a Valet Key that was started before this file lay here
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
			self, err := os.Executable()
			if err != nil {
				return err
			}
			return windows.RunRole(self, os.Environ())
		}
	}
	opts, err := parse(args, os.Stdout)
	if err != nil || opts == nil {
		return err
	}
	return resident(ctx, opts)
}
