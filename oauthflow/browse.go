package oauthflow

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/valetkey/valetkey/internal/secret"
)

var errPageAddress = errors.New("the issuer's sign-in page has an address that is not opened")

// browse is one round through the browser: address, wait, exchange. The browser waits for p.show, whatever the outcome.
func (f *Flow) browse(ctx context.Context, client *http.Client, req Request, reg Registration, cb *callback) (*pending, *Tokens, error) {
	verifier := oauth2.GenerateVerifier()
	p := &pending{
		state:       rand.Text(),
		verifier:    secret.New(verifier),
		issuer:      req.Issuer.ID,
		issRequired: req.Issuer.IssParameter,
		page:        newPage(req),
		answers:     make(chan answer, 1),
		outcome:     make(chan pageKind, 1),
	}
	cb.expect(p, reg)
	address, err := authorizationURL(req, reg, p, verifier)
	if err != nil {
		return p, nil, fmt.Errorf("sign-in at %s: %w", p.issuer, err)
	}
	code, err := f.wait(ctx, req, p, address)
	if err != nil {
		return p, nil, err
	}
	tokens, err := exchange(ctx, client, req, reg, p, code)
	return p, tokens, err
}

// wait opens the browser and waits for what it brings back.
func (f *Flow) wait(ctx context.Context, req Request, p *pending, address string) (secret.Text, error) {
	timed, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	if f.cfg.OnURL != nil {
		f.cfg.OnURL(req, address)
	}
	opened := make(chan error, 1)
	if f.cfg.Open != nil {
		go func() { opened <- f.cfg.Open(context.WithoutCancel(ctx), address) }()
	}
	var openErr error
	for {
		select {
		case a := <-p.answers:
			return a.code, a.err
		case openErr = <-opened:
			if openErr != nil && f.cfg.OnUnopened != nil {
				f.cfg.OnUnopened(req, address, openErr)
			}
		case <-timed.Done():
			return secret.Text{}, abandoned(ctx, f.cfg.Timeout, openErr)
		}
	}
}

// authorizationURL is where the person signs in (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1).
func authorizationURL(req Request, reg Registration, p *pending, verifier string) (string, error) {
	opts := []oauth2.AuthCodeOption{
		oauth2.S256ChallengeOption(verifier),
	}
	if !req.Unbound {
		opts = append(opts, oauth2.SetAuthURLParam("resource", req.Resource))
	}
	var prompt []string
	if req.SelectAccount {
		prompt = append(prompt, "select_account")
	}
	if slices.Contains(req.Scopes, "offline_access") {
		prompt = append(prompt, "consent") // OpenID Connect Core §11: without it the scope may be ignored
	}
	if prompt != nil {
		opts = append(opts, oauth2.SetAuthURLParam("prompt", strings.Join(prompt, " ")))
	}
	for name, value := range map[string]string{"acr_values": req.ACRValues, "max_age": req.MaxAge} {
		if value != "" {
			opts = append(opts, oauth2.SetAuthURLParam(name, value))
		}
	}
	config := oauth2Config(req, reg, p.redirectURI)
	endpoint, err := pageAddress(config.Endpoint.AuthURL)
	if err != nil {
		return "", err
	}
	config.Endpoint.AuthURL = "" // x/oauth2 would append to whatever query is there
	ours := strings.TrimPrefix(config.AuthCodeURL(p.state, opts...), "?")
	names, err := url.ParseQuery(ours)
	if err != nil {
		return "", err
	}
	if theirs := without(endpoint.RawQuery, names); theirs != "" {
		ours = theirs + "&" + ours
	}
	endpoint.RawQuery = ours
	return endpoint.String(), nil
}

// pageAddress is the last look at an address before a browser is sent there: https, or http on this computer, and nothing
// hidden in it.
func pageAddress(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, errPageAddress
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return u, nil
	}
	return nil, errPageAddress
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// without drops from a raw query the parameters that we send ourselves: none may stand there twice (RFC 6749 §3.1). What
// remains stays as the issuer wrote it, but for characters that no URI has (RFC 3986 §3.4): the address becomes an
// argument of other people's programs, some of them shell scripts.
func without(rawQuery string, ours url.Values) string {
	var kept []string
	for part := range strings.SplitSeq(rawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if part != "" && err == nil && !ours.Has(name) {
			kept = append(kept, escapeQuery(part))
		}
	}
	return strings.Join(kept, "&")
}

func escapeQuery(query string) string {
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c > ' ' && c < 0x7f && strings.IndexByte("\"'<>\\^`{|}", c) < 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
