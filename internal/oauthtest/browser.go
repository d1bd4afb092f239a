package oauthtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/valetkey/valetkey/internal/demo"
)

// Browser is the person at the browser: it opens authURL in this world, signs in as w.Account (or presses Cancel) and
// follows the redirect to the program's own loopback listener over a real connection. It returns when the last page
// has been read: nil when that one was the listener's, an error when it was an issuer's.
func (w *World) Browser(ctx context.Context, authURL string) error {
	return w.browse(ctx, authURL, w.Account, w.Decline)
}

// OpenBrowser does what Browser does in the background and returns at once, as a desktop does.
func (w *World) OpenBrowser(ctx context.Context, authURL string) error {
	account, decline := w.Account, w.Decline
	w.running.Go(func() {
		if err := w.browse(ctx, authURL, account, decline); err != nil && ctx.Err() == nil && w.ctx.Err() == nil {
			w.t.Logf("the browser shows: %v", err)
		}
	})
	return nil
}

func (w *World) browse(ctx context.Context, authURL, account string, decline bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	loopback := &http.Transport{DisableKeepAlives: true} // an idle connection would keep a synctest bubble awake
	defer loopback.CloseIdleConnections()
	b := demo.Browser{
		Transport: fork{w, loopback},
		Answer: func(_ context.Context, page *demo.Page) (url.Values, error) {
			if page.Status >= http.StatusBadRequest {
				return nil, problem(page)
			}
			return fillIn(page.Form, account, decline), nil
		},
	}
	page, err := b.Open(ctx, authURL)
	if err != nil {
		return err
	}
	if at := mustParse(page.URL); page.Status >= http.StatusBadRequest && (w.knows(originOf(at)) || !isLoopback(at)) {
		return problem(page)
	}
	return nil
}

// fillIn signs in as account, which the page may offer or not.
func fillIn(form *demo.Form, account string, decline bool) url.Values {
	values := form.Values
	if slices.Contains(form.Choices["account"], account) {
		values.Set("account", account)
	} else {
		values.Set("other", account)
	}
	values.Set("answer", "allow")
	if decline {
		values.Set("answer", "cancel")
	}
	return values
}

func problem(page *demo.Page) error {
	return fmt.Errorf("HTTP %d: %s", page.Status, strings.Join(page.Lines, " · "))
}

// fork sends loopback addresses that no one added to the world over the real network.
type fork struct {
	world    *World
	loopback http.RoundTripper
}

func (f fork) RoundTrip(req *http.Request) (*http.Response, error) {
	if isLoopback(req.URL) && !f.world.knows(originOf(req.URL)) {
		return f.loopback.RoundTrip(req)
	}
	return f.world.RoundTripper().RoundTrip(req)
}

func isLoopback(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

// callback listens on 127.0.0.1 for one redirect, for tests without a program that listens. It returns the redirect
// URI, and a function that waits for the query the browser brings and stops listening, for while something listens, a
// synctest bubble's clock stands still.
func (w *World) callback() (redirectURI string, wait func() url.Values) {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatalf("listen: %v", err)
	}
	queries := make(chan url.Values, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		select {
		case queries <- r.URL.Query():
		default:
		}
		fmt.Fprint(rw, "Signed in.")
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			w.t.Errorf("callback: %v", err)
		}
	}()
	stop := func() {
		server.Close()
		<-served
	}
	w.t.Cleanup(stop)
	return "http://" + listener.Addr().String() + "/callback", func() url.Values {
		defer stop()
		select {
		case q := <-queries:
			return q
		case <-w.t.Context().Done():
			return nil
		}
	}
}
