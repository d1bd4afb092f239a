package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"

	"github.com/pkg/browser"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/oauthflow"
)

// opener returns how pages are opened, nil when they are not. It may block as long as the browser lives.
func (o *options) opener() func(ctx context.Context, url string) error {
	switch {
	case o.browser == nil:
		// A browser's words would end up on this program's output, and in a log.
		browser.Stdout, browser.Stderr = io.Discard, io.Discard
		return func(_ context.Context, url string) error { return browser.OpenURL(url) }
	case o.showsPages():
		return nil // tell shows it
	}
	return func(ctx context.Context, url string) error {
		cmd := exec.CommandContext(ctx, o.browser[0], append(o.browser[1:len(o.browser):len(o.browser)], url)...)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", o.browser[0], err)
		}
		return nil
	}
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
