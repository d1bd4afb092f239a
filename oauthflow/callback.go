package oauthflow

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/internal/untrusted"
)

const (
	pageHold     = 15 * time.Second // how long the browser waits for the exchange before it is told that it goes on
	closeGrace   = 2 * time.Second  // for a page that is being sent
	maxHeader    = 64 << 10         // some issuers' codes are whole JWTs
	maxErrorCode = 64               // runes
	maxErrorText = 300              // runes
)

// pending is one sign-in that waits for the browser: all of it in one record, and in memory only, so that an answer is
// judged by the issuer it was asked of (MCP authorization, Authorization Response Validation).
type pending struct {
	state       string
	verifier    secret.Text // PKCE, RFC 7636
	issuer      string
	issRequired bool // authorization_response_iss_parameter_supported
	redirectURI string
	page        page // what is so whatever comes: names of server and issuer

	once    sync.Once     // state is good for one answer
	answers chan answer   // capacity 1
	outcome chan pageKind // capacity 1: how it ended, for the browser
}

// answer is what the browser brought back: a code, or why there is none.
type answer struct {
	code secret.Text
	err  error
}

// callback is the place on this computer that the browser comes back to, open while one sign-in waits.
type callback struct {
	place  place
	server *http.Server
	served chan struct{} // closed when the server has ended

	mu      sync.Mutex
	waiting *pending
	fresh   map[net.Conn]bool // connections that browsers open in advance and say nothing on
}

// listen opens a callback for reg, or for a registration that is still to be made.
func listen(ctx context.Context, reg client.Client) (*callback, error) {
	l, p, err := bind(ctx, reg)
	if err != nil {
		return nil, err
	}
	cb := &callback{place: p, served: make(chan struct{}), fresh: map[net.Conn]bool{}}
	cb.server = &http.Server{
		Handler:           cb,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      pageHold + 5*time.Second,
		IdleTimeout:       5 * time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnState:         cb.track,
	}
	cb.server.SetKeepAlivesEnabled(false)
	go func() {
		defer close(cb.served)
		cb.server.Serve(l)
	}()
	return cb, nil
}

// uris are what a new registration names: the standard places and this one.
func (cb *callback) uris() []string {
	uris := RedirectURIs()
	for _, uri := range uris {
		if uri == cb.place.uri() {
			return uris
		}
	}
	return append(uris, cb.place.uri())
}

// registeredIn reports whether reg allows the browser to come back here.
func (cb *callback) registeredIn(reg client.Client) bool {
	_, ok := cb.place.among(reg)
	return ok
}

// expect makes cb wait for p, at the address as reg spells it.
func (cb *callback) expect(p *pending, reg client.Client) {
	cb.mu.Lock()
	defer cb.mu.Unlock()
	cb.place, _ = cb.place.among(reg)
	p.redirectURI = cb.place.uri()
	cb.waiting = p
}

// close ends the callback after a page that is being sent, and within closeGrace.
func (cb *callback) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	cb.mu.Lock()
	for conn := range cb.fresh {
		conn.Close()
	}
	cb.mu.Unlock()
	if cb.server.Shutdown(ctx) != nil {
		cb.server.Close()
	}
	<-cb.served
}

func (cb *callback) track(conn net.Conn, state http.ConnState) {
	cb.mu.Lock()
	defer cb.mu.Unlock()
	if state == http.StateNew {
		cb.fresh[conn] = true
	} else {
		delete(cb.fresh, conn)
	}
}

// ServeHTTP takes the one answer that cb waits for. Everything else, from a page in the person's browser or from another
// program, is turned away and ends nothing. The Host check keeps out names that were made to point here.
func (cb *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cb.mu.Lock()
	here, p := cb.place, cb.waiting
	cb.mu.Unlock()
	if r.Method != http.MethodGet || r.Host != here.authority() || r.URL.EscapedPath() != here.path || p == nil {
		turnAway(w)
		return
	}
	a, ours := p.read(r.URL.RawQuery)
	if !ours {
		p.page.of(pageStray).write(w)
		return
	}
	taken := true
	p.once.Do(func() { taken = false; p.answers <- a })
	if taken {
		p.page.of(pageTaken).write(w)
		return
	}
	hold := time.NewTimer(pageHold)
	defer hold.Stop()
	select {
	case kind := <-p.outcome:
		p.page.of(kind).write(w)
	case <-hold.C:
		p.page.of(pageWorking).write(w)
	case <-r.Context().Done():
	}
}

// What is wrong with an address that the person pasted.
var (
	errNotWhole   = errors.New("this is not the whole address that the browser ended on")
	errOtherState = errors.New("this address belongs to another sign-in, or to an earlier try")
	errTaken      = errors.New("this sign-in has its answer already")
)

// take is the callback for a browser on another computer: it takes the address that one ended on, under the same rules. A
// code alone is never taken: nothing would tell whose it is (RFC 9700 §4.7, RFC 9207).
func (p *pending) take(address string) error {
	place, query, _ := strings.Cut(strings.TrimSpace(address), "?")
	query, _, _ = strings.Cut(query, "#")
	if query == "" || place != p.redirectURI && "http://"+place != p.redirectURI { // some browsers hide the scheme
		return errNotWhole
	}
	a, ours := p.read(query)
	if !ours {
		return errOtherState
	}
	err := errTaken
	p.once.Do(func() { err = nil; p.answers <- a })
	return err
}

// read judges the query of an answer; false means it is not for p, and is ignored. The order is fixed: repeated
// parameters, state, iss, error, code.
func (p *pending) read(rawQuery string) (answer, bool) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return answer{}, false
	}
	repeated := ""
	for _, name := range []string{"code", "error", "error_description", "iss", "state"} {
		if len(query[name]) > 1 {
			repeated = name
		}
	}
	state := query["state"]
	if len(state) != 1 || subtle.ConstantTimeCompare([]byte(state[0]), []byte(p.state)) != 1 {
		return answer{}, false
	}
	if repeated != "" { // OAuth 2.1: no parameter more than once
		return answer{err: fmt.Errorf("sign-in at %s: the answer carries %s more than once", p.issuer, repeated)}, true
	}
	if err := p.checkIssuer(query["iss"]); err != nil {
		return answer{err: err}, true
	}
	if query.Has("error") {
		return answer{err: &Error{
			Step:        "sign-in",
			issuer:      p.issuer,
			Code:        untrusted.Text(query.Get("error"), maxErrorCode),
			description: untrusted.Text(query.Get("error_description"), maxErrorText),
		}}, true
	}
	if query.Get("code") == "" {
		return answer{err: fmt.Errorf("sign-in at %s: the answer carries no code", p.issuer)}, true
	}
	return answer{code: secret.New(query.Get("code"))}, true
}

// checkIssuer is RFC 9207 §2.4: the issuer that answers is the one that was asked, byte for byte, nothing normalised. An
// iss that was not announced must match all the same; its absence is an error only when it was announced.
func (p *pending) checkIssuer(iss []string) error {
	switch {
	case len(iss) == 0 && p.issRequired:
		return fmt.Errorf("%w: %s names itself in its answers, this one carries no name", ErrIssMismatch, p.issuer)
	case len(iss) > 0 && iss[0] != p.issuer:
		return fmt.Errorf("%w: not from %s, where the sign-in was started", ErrIssMismatch, p.issuer)
	}
	return nil
}

// show ends the browser's wait with a page. Only the first call counts.
func (p *pending) show(kind pageKind) {
	select {
	case p.outcome <- kind:
	default:
	}
}

// pageFor is what the person sees of an outcome.
func pageFor(err error) pageKind {
	var e *Error
	switch {
	case err == nil:
		return pageDone
	case errors.Is(err, ErrIssMismatch):
		return pageMismatch
	case errors.Is(err, ErrAbandoned):
		return pageTaken
	case errors.As(err, &e) && e.Code == "access_denied":
		return pageDenied
	}
	return pageFailed
}
