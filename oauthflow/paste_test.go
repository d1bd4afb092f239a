package oauthflow

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
)

func TestPastedAddress(t *testing.T) {
	const here = "http://127.0.0.1:23517/callback"
	for _, c := range []struct {
		address string
		err     error  // of the address
		says    string // error of the sign-in; "" means a code
	}{
		{here + "?code=c&state=s&iss=https://i", nil, ""},
		{"  " + here + "?code=c&state=s&iss=https://i#", nil, ""},
		{strings.TrimPrefix(here, "http://") + "?code=c&state=s&iss=https://i", nil, ""},
		{here + "?error=access_denied&state=s&iss=https://i", nil, "access_denied"},
		{here + "?code=c&state=s&iss=https://other", nil, "another issuer"},
		{here + "?code=c&state=s", nil, "another issuer"},
		{here + "?code=c&code=d&state=s&iss=https://i", nil, "more than once"},

		{"c", errNotWhole, ""},
		{"", errNotWhole, ""},
		{"code=c&state=s&iss=https://i", errNotWhole, ""},
		{"?code=c&state=s&iss=https://i", errNotWhole, ""},
		{here, errNotWhole, ""},
		{here + "#code=c&state=s&iss=https://i", errNotWhole, ""},
		{"https://127.0.0.1:23517/callback?code=c&state=s&iss=https://i", errNotWhole, ""},
		{"http://127.0.0.1:24683/callback?code=c&state=s&iss=https://i", errNotWhole, ""},
		{"http://evil.example.com/callback?code=c&state=s&iss=https://i", errNotWhole, ""},
		{"https://i/authorize?client_id=x&state=s", errNotWhole, ""},
		{here + "?code=c&iss=https://i", errOtherState, ""},
		{here + "?code=c&state=S&iss=https://i", errOtherState, ""},
		{here + "?code=c&state=s&state=s&iss=https://i", errOtherState, ""},
	} {
		p := &pending{state: "s", issuer: "https://i", issRequired: true, redirectURI: here, answers: make(chan answer, 1)}
		err := p.take(c.address)
		if !errors.Is(err, c.err) || (err == nil) != (len(p.answers) == 1) {
			t.Errorf("%s: %v, %d answers", c.address, err, len(p.answers))
			continue
		}
		if err != nil {
			if len(c.address) > 1 && strings.Contains(err.Error(), c.address) {
				t.Errorf("%s: repeated in %v", c.address, err)
			}
			continue
		}
		a := <-p.answers
		if (c.says == "") != (a.err == nil) || a.err != nil && !strings.Contains(a.err.Error(), c.says) || a.err == nil && a.code.Reveal() != "c" {
			t.Errorf("%s: %v", c.address, a.err)
		}
		if err := p.take(c.address); !errors.Is(err, errTaken) || len(p.answers) > 0 {
			t.Errorf("%s, again: %v", c.address, err)
		}
	}
}

// elsewhere is the network of another computer: nothing answers at the redirect URI there.
type elsewhere struct {
	world   http.RoundTripper
	endedOn string
}

func (e *elsewhere) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Hostname() == "127.0.0.1" {
		e.endedOn = req.URL.String()
		return nil, errors.New("connection refused")
	}
	return e.world.RoundTrip(req)
}

func TestSignInByPaste(t *testing.T) {
	for name, open := range map[string]func(context.Context, string) error{
		"no browser here":    nil,
		"it does not open":   func(context.Context, string) error { return errors.New("no display") },
		"with another state": nil,
	} {
		t.Run(name, func(t *testing.T) {
			var opts []oauthtest.IssuerOption
			if name == "with another state" {
				opts = append(opts, oauthtest.State("theirs"))
			}
			r := newRig(t, opts...)
			page := make(chan string, 1)
			r.cfg.Open = open
			r.cfg.OnPage = func(_ Request, p Page) { page <- p.URL }
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var taken []error
			asking := make(chan struct{})
			r.cfg.Paste = func(pasteCtx context.Context, req Request, take func(string) error) {
				defer close(asking)
				there := &elsewhere{world: r.world.RoundTripper()}
				b := demo.Browser{Transport: there, Answer: func(_ context.Context, p *demo.Page) (url.Values, error) {
					p.Form.Values.Set("account", "alice")
					p.Form.Values.Set("answer", "allow")
					return p.Form.Values, nil
				}}
				if _, err := b.Open(t.Context(), <-page); err == nil || there.endedOn == "" || req.Server != serverURL {
					t.Errorf("ended on %q: %v", there.endedOn, err)
				}
				if taken = []error{take("a-bare-code"), take(there.endedOn)}; taken[1] != nil {
					cancel()
				}
				<-pasteCtx.Done() // it ends with the wait
			}
			_, tokens, err := r.flow().SignIn(ctx, r.req)
			<-asking
			if !errors.Is(taken[0], errNotWhole) {
				t.Errorf("a code alone: %v", taken[0])
			}
			if name == "with another state" {
				if !errors.Is(taken[1], errOtherState) || !errors.Is(err, ErrAbandoned) || r.issuer.Count(demo.TokenPath) > 0 {
					t.Errorf("%v, %v", taken[1], err)
				}
				return
			}
			if err != nil || taken[1] != nil || tokens.Access.Empty() {
				t.Errorf("%v, %v", taken[1], err)
			}
		})
	}
}
