package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
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
	flags.StringVar(&o.stateDir, "state-dir", "", "`DIR` for the activity log (default "+localapi.StateDir(os.Getenv)+")")
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
	if o.clientMetadataURL != "" && !oauthflow.IsClientID(o.clientMetadataURL) {
		return nil, hinted(errors.New("--client-metadata-url must be an https address with a path, without query or fragment"),
			"it must be where the document is published; docs/client-metadata.json is an example of one")
	}
	var err error
	if o.browser, err = oauthflow.SplitBrowser(*browser); err != nil {
		return nil, hinted(err, "quote it as in a shell")
	}
	return o, nil
}

// opener returns how pages are opened, nil when they are not.
func (o *options) opener() func(ctx context.Context, url string) error {
	if o.showsPages() {
		return nil // tell shows it
	}
	return oauthflow.Browser(o.browser)
}

// tell returns who hears of the page of each sign-in: the broker always, the person where no browser is opened for it.
func (o *options) tell(broker func(oauthflow.Request, oauthflow.Page), f face.Face) func(oauthflow.Request, oauthflow.Page) {
	return func(r oauthflow.Request, page oauthflow.Page) {
		broker(r, page)
		if o.showsPages() || page.Code != "" {
			f.ShowPage(r.Server, page.URL, page.Code)
		}
	}
}

func (o *options) showsPages() bool { return o.browsesBy(browserPrint) || o.browsesBy(browserDevice) }

func (o *options) browsesBy(way string) bool { return len(o.browser) == 1 && o.browser[0] == way }

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
