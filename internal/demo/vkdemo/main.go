// Command vkdemo is everything around Valet Key that its demo needs: an issuer, an MCP server, a host, and a browser
// for computers without a display.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/valetkey/valetkey/localapi"
)

const usage = `vkdemo plays the other parties of a sign-in.

  vkdemo serve                 runs a demo issuer and a demo MCP server on this computer
  vkdemo host --server URL     is a host: asks Valet Key for a token and reads the server's notes
  vkdemo browser URL           is a browser on the terminal, for computers without a display

Run a verb with --help for its flags.
`

// errUsage ends the program with exit code 2; what is wrong has been printed.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, errUsage) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vkdemo:", err)
		if e := (*localapi.Error)(nil); errors.As(err, &e) && e.Hint != "" {
			fmt.Fprintln(os.Stderr, "What to do:", e.Hint)
		}
		os.Exit(localapi.ExitCode(err))
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	verbs := map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error{
		"serve": serve, "host": host, "browser": browse,
	}
	if len(args) > 0 && verbs[args[0]] != nil {
		return verbs[args[0]](ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && (args[0] == "help" || args[0] == "--help" || args[0] == "-h") {
		fmt.Fprint(stdout, usage)
		return nil
	}
	fmt.Fprint(stderr, usage)
	return errUsage
}

// parse reads a verb's flags and exactly want arguments. A request for help is printed and answered with pflag.ErrHelp.
func parse(flags *pflag.FlagSet, args []string, want int, synopsis string, stderr io.Writer) error {
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprintf(stderr, "Usage: vkdemo %s\n\n%s", synopsis, flags.FlagUsages()) }
	err := flags.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case err != nil:
		fmt.Fprintln(stderr, "vkdemo:", err)
	case flags.NArg() == want:
		return nil
	}
	flags.Usage()
	return errUsage
}

// helped turns a request for help into success.
func helped(err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	return err
}
