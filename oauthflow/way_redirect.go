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
	"time"

	"golang.org/x/oauth2"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
)

var errPageAddress = errors.New("the issuer's sign-in page has an address that is not opened")

// byRedirect lets the person sign in by browser, which is sent back here with a code (RFC 6749 §4.1).
type byRedirect struct{}

func (byRedirect) tokens(ctx context.Context, f *Flow, web *http.Client, req Request) (client.Client, *Tokens, error) {
	if req.Issuer.PKCEUnlisted && !req.PKCEUnlisted {
		return client.Client{}, nil, fmt.Errorf("%w: %s", ErrPKCEUnlisted, req.Issuer.ID)
	}
	reg, cb, err := f.prepare(ctx, web, req)
	if err != nil {
		return client.Client{}, nil, ended(ctx, err)
	}
	defer cb.close()

	p, tokens, err := f.browse(ctx, web, req, reg, cb)
	if unknownClient(err) && renewable(req, reg) {
		reg, err = f.registerDynamic(ctx, web, req, cb.uris(), browserGrants)
		if err == nil {
			p.show(pageAgain)
			p, tokens, err = f.browse(ctx, web, req, reg, cb)
		}
	}
	p.show(pageFor(err))
	return reg, tokens, ended(ctx, err)
}

// browse is one round through the browser: address, wait, exchange. The browser waits for p.show, whatever the outcome.
func (f *Flow) browse(ctx context.Context, web *http.Client, req Request, reg client.Client, cb *callback) (*pending, *Tokens, error) {
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
	params := authorizationParams(req, reg, p, verifier)
	address := func(ctx context.Context) (string, time.Duration, error) {
		return pageFrom(ctx, web, req, reg, params)
	}
	code, err := f.wait(ctx, req, p, address)
	if err != nil {
		return p, nil, err
	}
	tokens, err := exchange(ctx, web, req, reg, p, code)
	return p, tokens, err
}

// wait opens the browser and waits for what it brings back. find says where, and for how long that address is good (0:
// as long as the wait); afterwards there is another one, for a person who has yet to open it.
func (f *Flow) wait(ctx context.Context, req Request, p *pending, find func(context.Context) (string, time.Duration, error)) (secret.Text, error) {
	timed, cancel := context.WithTimeout(ctx, f.cfg.timeout)
	defer cancel()
	address, life, err := find(timed)
	if err != nil {
		return secret.Text{}, err
	}
	f.tell(req, Page{URL: address})
	opened := make(chan error, 1)
	if f.cfg.Open != nil {
		go func() { opened <- f.cfg.Open(context.WithoutCancel(ctx), address) }()
	} else {
		f.paste(timed, req, p)
	}
	var old <-chan time.Time
	if life > 0 {
		old = time.After(life)
	}
	var openErr error
	for {
		select {
		case a := <-p.answers:
			return a.code, a.err
		case <-old:
			old = nil
			if again, life, err := find(timed); err == nil { // else the page that is open may still bring an answer
				if address = again; life > 0 {
					old = time.After(life)
				}
				f.tell(req, Page{URL: address})
				if openErr != nil && f.cfg.OnUnopened != nil {
					f.cfg.OnUnopened(req, address, openErr)
				}
			}
		case openErr = <-opened:
			if openErr != nil && f.cfg.OnUnopened != nil {
				f.cfg.OnUnopened(req, address, openErr)
			}
			if openErr != nil {
				f.paste(timed, req, p)
			}
		case <-timed.Done():
			return secret.Text{}, abandoned(ctx, f.cfg.timeout, openErr)
		}
	}
}

// Page is where the person signs in.
type Page struct {
	URL  string
	Code string // to be entered there; "" when the page knows already what it is about
}

func (f *Flow) tell(req Request, page Page) {
	if f.cfg.OnPage != nil {
		f.cfg.OnPage(req, page)
	}
}

// paste starts asking for the address that a browser elsewhere ended on.
func (f *Flow) paste(ctx context.Context, req Request, p *pending) {
	if f.cfg.Paste != nil {
		go f.cfg.Paste(ctx, req, p.take)
	}
}

// authorizationParams are what the issuer is asked for (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1).
func authorizationParams(req Request, reg client.Client, p *pending, verifier string) url.Values {
	params := url.Values{
		"response_type": {"code"}, "client_id": {reg.ClientID}, "redirect_uri": {p.redirectURI}, "state": {p.state},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}
	var prompt []string
	if req.SelectAccount {
		prompt = append(prompt, "select_account")
	}
	if slices.Contains(req.Scopes, "offline_access") {
		prompt = append(prompt, "consent") // OpenID Connect Core §11: without it the scope may be ignored
	}
	for _, word := range strings.Fields(req.Parameters.Get("prompt")) {
		if !slices.Contains(prompt, word) {
			prompt = append(prompt, word)
		}
	}
	for name, value := range map[string]string{"prompt": strings.Join(prompt, " "), "acr_values": req.ACRValues, "max_age": req.MaxAge, "nonce": req.nonce} {
		if value != "" {
			params.Set(name, value)
		}
	}
	req.addTo(params)
	return params
}

// exchange trades the code for tokens, in one POST (RFC 6749 §4.1.3, RFC 7636 §4.5, RFC 8707 §2.2). After a failure that
// leaves open what the issuer did, the code counts as used.
func exchange(ctx context.Context, web *http.Client, req Request, reg client.Client, p *pending, code secret.Text) (*Tokens, error) {
	req.Registration = reg
	own := url.Values{"code": {code.Reveal()}, "redirect_uri": {p.redirectURI}, "code_verifier": {p.verifier.Reveal()}}
	if reg.AuthMethod == methodKey {
		own.Set("client_id", reg.ClientID) // also beside an assertion that names it: issuers look for it with a code
	}
	r, err := postToken(context.WithoutCancel(ctx), web, req.decided(), "token", "authorization_code", own)
	if err != nil {
		return nil, err
	}
	return r.readTokens(req, "token")
}

// pageFrom is where the person signs in, and how long that address is good: with params in it, or with a reference to
// them where the issuer takes them beforehand.
func pageFrom(ctx context.Context, web *http.Client, req Request, reg client.Client, params url.Values) (string, time.Duration, error) {
	address, err := pageAddress(req.Issuer.AuthorizationEndpoint)
	if err != nil {
		return "", 0, fmt.Errorf("sign-in at %s: %w", req.Issuer.ID, err)
	}
	shown, life := params, time.Duration(0)
	if req.Issuer.PushEndpoint != "" {
		var reference string
		reference, life, err = push(ctx, web, req, reg, params)
		switch {
		case err == nil:
			shown = url.Values{"client_id": {reg.ClientID}, "request_uri": {reference}} // RFC 9126 §4
		case req.Issuer.PushRequired || ctx.Err() != nil || unknownClient(err) && renewable(req, reg):
			return "", 0, err
		}
	}
	query := shown.Encode()
	if theirs := without(address.RawQuery, params); theirs != "" {
		query = theirs + "&" + query
	}
	address.RawQuery = query
	return address.String(), life, nil
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
		if part != "" && err == nil && !ours.Has(name) && name != "request_uri" {
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
