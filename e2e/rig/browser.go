//go:build linux

package rig

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Browser is the person's browser.
type Browser struct {
	t        testing.TB
	pictures string // where photos go
	ctx      context.Context
}

// Browser starts Chromium with a profile of its own. It ends with the test.
func (p *Place) Browser() *Browser {
	t := p.T
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(p.Path("chromium")), chromedp.NoInheritEnv, chromedp.Env(p.Env()...),
		chromedp.WindowSize(900, 640),
		// The issuers' pages name a font on the Internet.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
	}
	ctx, cancel := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(options...))
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("close Chromium: %v", err)
		}
		cancel()
	})
	b := &Browser{t: t, pictures: p.Pictures, ctx: ctx}
	// The browser lives as long as the context of the first call, so that one has no deadline.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return b
}

func (b *Browser) Do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		at, _ := chromedp.Run(b.ctx, chromedp.Location())
		b.t.Fatalf("%s: %v (at %s)", what, err, strings.SplitN(at, "?", 2)[0])
	}
}

// Text is what the page says; a page that is just being replaced is waited for.
func (b *Browser) Text(selector string) (text string) {
	b.t.Helper()
	Until(b.t, "the page's text", func() bool {
		ctx, cancel := context.WithTimeout(b.ctx, time.Second)
		defer cancel()
		var err error
		text, err = chromedp.Run(ctx, chromedp.Text(chromedp.CSS(selector)))
		return err == nil && text != ""
	})
	return text
}

// At waits for the browser to show a page.
func (b *Browser) At(what string, is func(url string) bool) {
	b.t.Helper()
	Until(b.t, what, func() bool {
		ctx, cancel := context.WithTimeout(b.ctx, time.Second)
		defer cancel()
		url, err := chromedp.Run(ctx, chromedp.Location())
		return err == nil && is(url)
	})
}

// SignIn opens page, goes through the issuer's own pages, and returns the text of the one it ends on.
func (b *Browser) SignIn(page string) string {
	b.t.Helper()
	b.Do("open the issuer's page", chromedp.Navigate(page))
	return b.ThroughPages()
}

// ThroughPages goes through oidc-provider's pages, which are on the screen or about to come.
func (b *Browser) ThroughPages() string {
	b.t.Helper()
	const login, confirm = `input[name=login]`, `input[value=consent] ~ button`
	ours := func(url string) bool {
		return strings.Contains(url, "/callback?") && !strings.Contains(url, "/auth/callback")
	}
	b.At("the issuer's first page", func(url string) bool { return ours(url) || b.Has(login) || b.Has(confirm) })
	if b.Has(login) {
		b.Do("sign in at the issuer", chromedp.SendKeys(chromedp.CSS(login), "ann"),
			chromedp.SendKeys(chromedp.CSS(`input[name=password]`), "secret"), chromedp.Click(chromedp.CSS(`button[type=submit]`)))
	}
	b.At("the issuer's question or the callback page", func(url string) bool { return ours(url) || b.Has(confirm) })
	if b.Has(confirm) {
		b.Do("confirm at the issuer", chromedp.Click(chromedp.CSS(confirm)))
	}
	b.At("the callback page", ours)
	return b.Text("body")
}

// Has tells whether the page has an element now.
func (b *Browser) Has(selector string) bool {
	ctx, cancel := context.WithTimeout(b.ctx, time.Second)
	defer cancel()
	ids, err := chromedp.Run(ctx, chromedp.QueryNodeIDs(chromedp.CSS(selector), chromedp.AtLeast(0)))
	return err == nil && len(ids) > 0
}

func (b *Browser) Photo(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.pictures, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// OpenAndCloseTab opens page in a tab and closes it before anything was done there.
func (b *Browser) OpenAndCloseTab(page string) {
	b.t.Helper()
	tab, closeTab := chromedp.NewContext(b.ctx)
	defer closeTab()
	if err := chromedp.Do(tab, chromedp.Navigate(page), chromedp.WaitVisible(chromedp.CSS(`input[name=login], input[value=consent] ~ button`))); err != nil {
		b.t.Fatalf("open a tab: %v", err)
	}
	if err := chromedp.Cancel(tab); err != nil {
		b.t.Fatalf("close a tab: %v", err)
	}
}
