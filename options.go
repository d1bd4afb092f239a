package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"mvdan.cc/sh/v3/shell"

	"github.com/valetkey/valetkey/localapi"
)

// The --browser values that open nothing here.
const (
	browserPrint  = "print"  // shows the address
	browserDevice = "device" // shows a page and a code for another device, at issuers that have this (RFC 8628); else as print
)

// options are what the person said on the command line.
type options struct {
	headless          bool
	background        bool
	policy            string
	keystore          string
	service           string // in the keychain
	stateDir          string
	browser           []string // argv to which the URL is added; nil: the default browser; {browserPrint}, {browserDevice}
	clientMetadataURL string
}

const usage = `Valet Key signs you in to MCP servers once, for all your programs, and asks you which of them may use which.

  valetkey              start it: an icon in the tray, windows when there is something to decide
  valetkey --headless   start it in a terminal: the same questions are asked there

Started again while it runs, it opens its window. Programs and scripts ask it with vk; see vk help.

`

// parse reads the command line. It returns nil, nil when everything was said already (help, version).
func parse(args []string, out io.Writer) (*options, error) {
	o := &options{}
	flags := pflag.NewFlagSet("valetkey", pflag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are told by main
	flags.SortFlags = false
	flags.BoolVar(&o.headless, "headless", false, "ask in this terminal; no windows and no tray")
	flags.BoolVar(&o.background, "background", false, "end at once where it runs already or no window can be shown; vk starts it so")
	flags.StringVar(&o.policy, "policy", "", "decide by what is written down in this `FILE`; without a terminal nobody else is asked")
	flags.StringVar(&o.keystore, "keystore", "keychain", "`STORE` where sign-ins are kept: keychain, or memory (gone when it ends)")
	flags.StringVar(&o.service, "keychain-service", "valetkey", "`NAME` under which the keychain holds them; another one keeps a second Valet Key apart")
	flags.StringVar(&o.stateDir, "state-dir", "", "`DIR` for the activity log (default "+defaultStateDir(os.Getenv)+")")
	browser := flags.String("browser", "", "open pages with this `CMD`, the address as its last argument; \"print\" shows the address, \"device\" a page and a code for another device")
	flags.StringVar(&o.clientMetadataURL, "client-metadata-url", "", "`URL` of a client ID metadata document to sign in with, where an issuer takes one")
	showVersion := flags.Bool("version", false, "print the version")
	showHelp := flags.BoolP("help", "h", false, "print this")
	if err := flags.Parse(args); err != nil {
		return nil, hinted(err, "valetkey --help lists what there is")
	}
	switch {
	case *showHelp:
		fmt.Fprint(out, usage, flags.FlagUsages())
		return nil, nil
	case *showVersion:
		fmt.Fprintln(out, "valetkey", version)
		return nil, nil
	case flags.NArg() > 0:
		return nil, hinted(fmt.Errorf("unexpected argument %q", flags.Arg(0)), "valetkey --help lists what there is; the command for scripts is vk")
	case o.background && o.headless:
		return nil, hinted(errors.New("--background needs windows"), "leave --headless out")
	case o.keystore != "keychain" && o.keystore != "memory":
		return nil, hinted(fmt.Errorf("--keystore %q is unknown", o.keystore), "it must be keychain or memory")
	}
	if o.service == "" || strings.Trim(o.service, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, hinted(fmt.Errorf("--keychain-service %q is no name", o.service), "use small letters, digits and hyphens")
	}
	if o.clientMetadataURL != "" && !isClientID(o.clientMetadataURL) {
		return nil, hinted(errors.New("--client-metadata-url must be an https address with a path, without query or fragment"),
			"it must be where the document is published; docs/client-metadata.json is an example of one")
	}
	return o, o.readBrowser(*browser)
}

// isClientID reports whether a URL may be a client ID: draft-ietf-oauth-client-id-metadata-document-00, section 3. A query
// is allowed there and advised against.
func isClientID(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path == "" || u.Path == "/" || strings.ContainsAny(raw, "?#") {
		return false
	}
	segments := strings.Split(u.Path, "/")
	return !slices.Contains(segments, ".") && !slices.Contains(segments, "..")
}

// readBrowser splits cmd as a shell does. Nothing in it is run by a shell, and variables are not replaced.
func (o *options) readBrowser(cmd string) error {
	if cmd == "" {
		return nil
	}
	words, err := shell.Fields(cmd, func(name string) string { return "$" + name })
	if err != nil || len(words) == 0 {
		return hinted(fmt.Errorf("--browser %q cannot be split into words", cmd), "quote it as in a shell")
	}
	o.browser = words
	return nil
}

func defaultStateDir(getenv func(string) string) string {
	home := getenv("HOME")
	switch runtime.GOOS {
	case "windows":
		return filepath.Join(getenv("LocalAppData"), "Valet Key")
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", "Valet Key")
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "valetkey")
	}
	return filepath.Join(home, ".local", "state", "valetkey")
}

// openStateDir makes dir if need be, and refuses one that is not ours alone or cannot be written.
func openStateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return hinted(fmt.Errorf("the state directory cannot be made: %w", err), "name another one with --state-dir")
	}
	info, err := os.Stat(dir)
	if err != nil {
		return hinted(fmt.Errorf("the state directory cannot be read: %w", err), "name another one with --state-dir")
	}
	if err := private(dir, info); err != nil {
		return hinted(err, "name another one with --state-dir, or mend its owner and mode")
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return hinted(fmt.Errorf("the state directory %s cannot be written: %w", dir, errors.Unwrap(err)), "name another one with --state-dir")
	}
	probe.Close()
	if err := os.Remove(probe.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the state directory %s: %w", dir, err)
	}
	return nil
}

// hinted is an error for the person at the command line, with what to do about it.
func hinted(err error, hint string) error {
	return &localapi.Error{Kind: localapi.ErrBadRequest, Message: err.Error(), Hint: hint, Err: err}
}

// say is what is so, and on the next line what to do.
func say(err error) string {
	var e *localapi.Error
	if errors.As(err, &e) && e.Hint != "" {
		return strings.TrimSpace(err.Error()) + "\n  " + e.Hint
	}
	return err.Error()
}
