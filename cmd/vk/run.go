package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

const (
	exitInterrupted = 130 // 128 + SIGINT, as shells count

	quickLimit  = time.Minute      // for what the app answers by itself
	personLimit = 15 * time.Minute // for what may wait for the person and a browser; the app gives up earlier
	noticeAfter = time.Second      // before a person at a terminal is told what is being waited for
)

// program is one run of vk.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	address        func() (string, error)
	now            func() time.Time
	machine        func() (hosts.Env, error) // where hosts are looked for
	starts         bool                      // an app that is not there is started
	verbose        bool                      // what is behind an error is said too
}

// run runs vk with args and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, address func() (string, error)) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, address: address, now: time.Now}
	p.machine = p.thisMachine
	err := p.dispatch(ctx, args)
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(stderr, "vk: interrupted")
		return exitInterrupted
	case errors.As(err, &code):
		return int(code)
	}
	p.complain(err)
	return localapi.ExitCode(err)
}

// dispatch finds the verb, reads its flags and runs it.
func (p *program) dispatch(ctx context.Context, args []string) error {
	at := slices.IndexFunc(args, func(arg string) bool { return arg != "--verbose" })
	if at < 0 {
		return usage("", "vk needs a verb")
	}
	args = slices.Clone(args)
	switch args[at] {
	case "-h", "--help":
		args[at] = "help"
	case "--version":
		args[at] = "version"
	}
	root := p.root()
	switch word := args[at]; {
	case word == cobra.ShellCompRequestCmd || word == cobra.ShellCompNoDescRequestCmd:
		plainFlags(root)
	case find(root, word) == nil:
		return noVerb(root, word)
	}
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

func init() {
	cobra.EnableCommandSorting = false // help has an order of its own
	cobra.MousetrapHelpText = ""       // vk started from a file manager does what it does anywhere
}

// root is vk with all its verbs, in the order of help.
func (p *program) root() *cobra.Command {
	root := &cobra.Command{Use: "vk VERB", Short: "tokens for MCP servers, from Valet Key", Long: footer, SilenceErrors: true, SilenceUsage: true}
	root.CompletionOptions.DisableDefaultCmd = true // vk completion is ours
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.PersistentFlags().BoolVar(&p.verbose, "verbose", false, "show the cause of an error")
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c.Name(), "%v", err) })
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { p.print(explained(c)) })
	root.AddCommand(newToken(p), newStart(p), newSignIn(p), newList(p), newShow(p), newForget(p), newStatus(p), newClient(p),
		newConnect(p), newDisconnect(p), newImport(p), newDoctor(p), newBridge(p), newHeaders(p), newCompletion(p, root), newVersion(p))
	help := newHelp(p, root)
	root.SetHelpCommand(help)
	root.AddCommand(help)
	return root
}

// verb makes a verb of vk. use is its name and what its arguments are called; run gets between least and most of them.
func verb(use, short, long string, least, most int, run func(context.Context, []string) error) *cobra.Command {
	name, args, _ := strings.Cut(use, " ")
	c := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: func(_ *cobra.Command, given []string) error {
			if n := len(given); n < least || n > most {
				return usage(name, "vk %s takes %s", name, takes(args, least, most))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return run(c.Context(), args) },
	}
	c.Flags().SortFlags = false
	return c
}

func jsonFlag(c *cobra.Command, wanted *bool) {
	c.Flags().BoolVar(wanted, "json", false, "print JSON")
}

func noStartFlag(c *cobra.Command, wanted *bool) {
	c.Flags().BoolVar(wanted, "no-start", false, "don't start Valet Key if it isn't running")
}

// usage is the error of a wrong command line.
func usage(verb, format string, args ...any) *localapi.Error {
	hint := "run: vk help"
	if verb != "" {
		hint += " " + verb
	}
	return localapi.Errorf(localapi.ErrBadRequest, format, args...).WithHint("%s", hint)
}

// complain prints err on standard error: what is so, and indented what to do; with --verbose, what is behind it.
func (p *program) complain(err error) {
	fmt.Fprintln(p.stderr, "vk:", clean(err.Error()))
	e, ok := errors.AsType[*localapi.Error](err)
	if !ok {
		e = localapi.Errorf(localapi.ErrInternal, "")
	}
	if e.Hint != "" {
		fmt.Fprintln(p.stderr, " ", clean(e.Hint))
	}
	if e.RetryAfter > 0 {
		fmt.Fprintln(p.stderr, "  wait", words(e.RetryAfter), "before you try again")
	}
	unsaid := e.Err != nil && !strings.Contains(err.Error(), e.Err.Error())
	switch {
	case !p.verbose && unsaid && e.Hint == "":
		fmt.Fprintln(p.stderr, "  for the cause, add --verbose")
	case p.verbose && unsaid:
		fmt.Fprintln(p.stderr, "  cause:", clean(e.Err.Error()))
	}
	if p.verbose {
		fmt.Fprintf(p.stderr, "  code: %s, exit code %d\n", e.Code(), localapi.ExitCode(err))
	}
	if p.verbose && e.RequestID != "" {
		fmt.Fprintln(p.stderr, "  request:", clean(e.RequestID))
	}
}

func (p *program) print(text string) error {
	_, err := io.WriteString(p.stdout, text)
	return err
}

// client returns a client for the app; close it when done.
func (p *program) client() (*localapi.Client, error) {
	addr, err := p.address()
	if err != nil {
		return nil, err
	}
	c := localapi.NewClient(addr)
	if p.starts && mayStart(os.Getenv) {
		c.Start = func() error { return startApart(addr) }
	}
	return c, nil
}

// ask makes one call that the app answers by itself.
func ask[Answer any](p *program, ctx context.Context, call func(*localapi.Client, context.Context) (*Answer, error)) (*Answer, error) {
	return bounded(p, ctx, quickLimit, call)
}

// askPerson makes one call that may wait for the person, and tells a person at a terminal so.
func askPerson[Answer any](p *program, ctx context.Context, call func(*localapi.Client, context.Context) (*Answer, error)) (*Answer, error) {
	if isTerminal(p.stderr) {
		defer p.notice(noticeAfter)()
	}
	return bounded(p, ctx, personLimit, call)
}

func bounded[Answer any](p *program, ctx context.Context, limit time.Duration, call func(*localapi.Client, context.Context) (*Answer, error)) (*Answer, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := call(c, ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, &localapi.Error{Kind: localapi.ErrUnavailable, Message: fmt.Sprintf("Valet Key didn't answer within %s", words(limit)), Err: err}
	}
	return answer, err
}

// notice says after a while what is being waited for. The func it returns must be called when the wait is over.
func (p *program) notice(after time.Duration) (over func()) {
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		select {
		case <-time.After(after):
			fmt.Fprintln(p.stderr, "waiting for your answer in Valet Key…")
		case <-done:
		}
	})
	return func() { close(done); wait.Wait() }
}

// isTerminal reports whether stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
