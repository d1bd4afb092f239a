package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/term"

	"github.com/valetkey/valetkey/broker"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/policy"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/terminal"
)

// faces is how this run of the program reaches the person: windows and the tray, or the terminal, and a policy file
// before either.
type faces struct {
	kind     string // for status: "window", "terminal", "policy", "nobody"
	ask      func(context.Context, face.Question) (face.Answer, error)
	policy   func(face.Question) (face.Answer, string, bool)
	clients  func(issuer string) (client.Client, bool)
	settings func(resource string) []quirk.Quirk
	showPage func(server string, page oauthflow.Page) // tells the person which page to open
	// paste has the person paste the address that a browser on another computer ended on; nil: there is no place for that.
	paste func(ctx context.Context, r oauthflow.Request, take func(address string) error)

	show   func() error          // opens the main window; nil: there is none
	update func(face.State)      // draws a new state
	run    func(context.Context) // on the main goroutine; returns at once, or with its context
	close  func()

	head     atomic.Pointer[broker.Broker] // hears the person's wishes
	switches *hosts.Switches               // hears those about this computer's hosts
	drawing  sync.Mutex                    // so that no older state is drawn over a newer one
}

// chooseFaces decides who asks the person. quit ends the program because the person wants that.
func chooseFaces(opts *options, self string, quit func(), switches *hosts.Switches, log *slog.Logger) (*faces, error) {
	f := &faces{switches: switches, update: func(face.State) {}, run: func(context.Context) {}, close: func() {}}
	f.showPage = func(server string, page oauthflow.Page) {
		code := ""
		if page.Code != "" {
			code = " and enter " + page.Code
		}
		fmt.Fprintf(os.Stderr, "To sign in to %s, open %s%s\n", server, page.URL, code)
	}
	tty := term.IsTerminal(int(os.Stdin.Fd()))
	why := windowsPossible(os.Getenv)
	switch {
	case !opts.headless && why == nil:
		f.useWindows(self, quit, log)
	case tty || opts.headless && opts.policy == "":
		if !opts.headless {
			fmt.Fprintf(os.Stderr, "No windows can be shown (%v), so questions are asked in this terminal, as with --headless.\n", why)
		}
		t := terminal.New(terminal.Config{In: os.Stdin, Out: os.Stdout})
		f.kind, f.ask = "terminal", t.Ask
		f.paste = func(ctx context.Context, r oauthflow.Request, take func(string) error) { t.Paste(ctx, r.Server, take) }
		f.showPage = func(server string, page oauthflow.Page) { t.ShowPage(server, page.URL, page.Code) }
	case opts.policy != "":
		f.kind = "policy"
	default:
		f.kind = "nobody"
		fmt.Fprintf(os.Stderr, "No windows can be shown (%v), and this is no terminal: nobody can be asked, so no program gets a token it was not allowed before.\n"+
			"  Run valetkey --headless in a terminal, or write down what is allowed for --policy FILE.\n", why)
	}
	if opts.policy == "" {
		return f, nil
	}
	return f, f.usePolicy(opts.policy)
}

// usePolicy lets a policy file decide first; where nobody else can be asked, it alone.
func (f *faces) usePolicy(path string) error {
	p, err := policy.Load(path)
	if err != nil {
		return hinted(err, "mend the file, or start without --policy")
	}
	f.policy = p.DecideAlone
	if f.ask != nil {
		f.policy = p.Decide
	}
	f.settings = p.Settings
	f.clients = p.Client
	return nil
}

// wish does what the person said in a window or the tray.
func (f *faces) wish(ctx context.Context, quit func(), w face.Wish) error {
	if _, ok := w.(face.WishQuit); ok {
		quit()
		return nil
	}
	head := f.head.Load()
	if head == nil {
		return localapi.Errorf(localapi.ErrUnavailable, "Valet Key is still starting").WithHint("try again in a moment")
	}
	if mine, err := f.switches.Do(w); mine {
		f.draw(head)
		return err
	}
	return head.Wish(ctx, w)
}

// draw shows the state as it is now.
func (f *faces) draw(head *broker.Broker) {
	f.drawing.Lock()
	defer f.drawing.Unlock()
	s := head.State()
	f.switches.Show(&s)
	f.update(s)
}

// errNoDisplay says why there are no windows.
var errNoDisplay = errors.New("there is no display")
