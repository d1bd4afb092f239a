// Package mcpauth gives a host written in Go its tokens from Valet Key. A [Handler] is the OAuth handler of the official
// Go SDK, so that one line is enough:
//
//	OAuthHandler: mcpauth.New(nil, localapi.TokenRequest{Resource: server}),
//
// A host that speaks HTTP by itself takes an oauth2.TokenSource from [Handler.Source]. The package has the methods of
// the SDK's interface without importing the SDK, so it brings nothing but golang.org/x/oauth2 with it.
package mcpauth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

// ErrForbidden says that the server forbids a request and asks for no other token: nothing that Valet Key could do.
var ErrForbidden = errors.New("the server forbids this, and asks for no other token")

const (
	maxChallenges   = 16               // the app takes no more
	maxDiscarded    = 64 << 10         // bytes of an answer read for the sake of its connection
	defaultMinValid = 60 * time.Second // the app's own; docs/localapi.md
	// A host that is refused asks at once for the same in another way: the SDK in an older protocol. Nobody is asked
	// again for that.
	answerHolds = 5 * time.Second
)

// Handler holds the tokens of a host for one server. It keeps one in memory until it is about to run out or the server
// refuses it; several goroutines and connections may use one Handler. Errors are what [localapi.Client] returns: compare
// them with the sentinels of localapi through errors.Is, also when the SDK has wrapped them.
type Handler struct {
	request localapi.TokenRequest
	client  func() (*localapi.Client, error)

	turn chan struct{} // holds one while the person may be asked, so that many refusals are one question

	mu     sync.Mutex
	held   *held
	failed failure
}

// held is a token and when it came.
type held struct {
	*localapi.Token
	got time.Time
}

// lives reports whether the token is good for another d after now, or for half of what was left when it came: a
// short-lived one would not be used at all else.
func (h *held) lives(now time.Time, d time.Duration) bool {
	return h != nil && (h.ExpiresAt.IsZero() || h.ExpiresAt.Sub(now) > min(d, h.ExpiresAt.Sub(h.got)/2))
}

// is reports whether it is this token that was sent.
func (h *held) is(sent secret.Text) bool { return h != nil && h.AccessToken.Equal(sent) }

func (h *held) oauth2() *oauth2.Token {
	token := &oauth2.Token{AccessToken: h.AccessToken.Reveal(), TokenType: h.TokenType, Expiry: h.ExpiresAt}
	return token.WithExtra(map[string]any{"scope": h.Scope, "resource": h.Resource, "issuer": h.Issuer, "account": h.Account})
}

// refusal is a server's no to one request.
type refusal struct {
	status           int
	sent, challenges string // the token's SHA-256, "" without one; what the answer's headers say
}

// failure is what became of a refusal that no token was to be had for.
type failure struct {
	refusal
	err error
	at  time.Time
}

func (f failure) holds() bool { return f.err != nil && time.Since(f.at) < answerHolds }

// New returns a Handler that asks for request: Resource must be the URL of the server, the rest may be empty. A nil
// client is one for the person's own app, at [localapi.Address]. Nothing is asked for yet.
func New(client *localapi.Client, request localapi.TokenRequest) *Handler {
	h := &Handler{request: request, turn: make(chan struct{}, 1)}
	h.client = func() (*localapi.Client, error) { return client, nil }
	if client == nil {
		h.client = sync.OnceValues(func() (*localapi.Client, error) {
			addr, err := localapi.Address()
			if err != nil {
				return nil, err
			}
			return localapi.NewClient(addr), nil
		})
	}
	return h
}

// TokenSource returns a source of the token there is, for one request; it is a method of the SDK's auth.OAuthHandler.
// It never waits for the person, because the SDK calls it with a lock held and with no caller's context. Where there is
// no token without them it returns nil, which means to send none: the server's answer then comes to Authorize, or the
// server needs no token.
func (h *Handler) TokenSource(ctx context.Context) (oauth2.TokenSource, error) {
	token := h.token()
	if !token.lives(time.Now(), h.minValid()) && !h.answered() {
		req := h.request
		req.Interaction = localapi.InteractionNone
		if _, err := h.fetch(ctx, req); err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		token = h.token()
	}
	if !token.lives(time.Now(), 0) {
		return nil, nil
	}
	return oauth2.StaticTokenSource(token.oauth2()), nil
}

// Source returns a token source for hosts without the SDK. Its Token waits for the person if the request that New was
// given lets them be asked, until ctx ends. Use it in an oauth2.Transport, and not through oauth2.NewClient or
// oauth2.ReuseTokenSource: those would go on with a token that [Handler.Authorize] has replaced.
func (h *Handler) Source(ctx context.Context) oauth2.TokenSource { return source{h, ctx} }

type source struct {
	handler *Handler
	ctx     context.Context
}

// Token implements oauth2.TokenSource.
func (s source) Token() (*oauth2.Token, error) {
	h := s.handler
	if token := h.token(); token.lives(time.Now(), h.minValid()) {
		return token.oauth2(), nil
	}
	if err := h.take(s.ctx); err != nil {
		return nil, err
	}
	defer h.give()
	token := h.token() // another one may have come meanwhile
	if token.lives(time.Now(), h.minValid()) {
		return token.oauth2(), nil
	}
	next, err := h.fetch(s.ctx, h.request)
	switch {
	case err == nil:
		return next.oauth2(), nil
	case token.lives(time.Now(), 0):
		return token.oauth2(), nil // it cannot be renewed now, and is still good
	}
	return nil, err
}

// Authorize gets another token after the server answered req with a 401 or a 403; it is a method of the SDK's
// auth.OAuthHandler. Valet Key is told which token was refused and with which challenges: it refreshes, asks the person
// for more scopes, or has them sign in again. When it returns nil, send the request once more. It closes resp's body.
func (h *Handler) Authorize(ctx context.Context, req *http.Request, resp *http.Response) error {
	io.CopyN(io.Discard, resp.Body, maxDiscarded)
	resp.Body.Close()
	challenges := resp.Header.Values("WWW-Authenticate")
	challenges = challenges[:min(len(challenges), maxChallenges)]
	_, bearer, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	sent := secret.New(bearer)
	no := refusal{status: resp.StatusCode, challenges: strings.Join(challenges, "\n")}
	if !sent.Empty() {
		no.sent = sent.SHA256()
	}
	// RFC 6750 §3.1. The app reads the challenge properly; the word in some other place costs one look there.
	tooNarrow := no.status == http.StatusForbidden && strings.Contains(no.challenges, "insufficient_scope")
	if no.status != http.StatusUnauthorized && !tooNarrow {
		return ErrForbidden
	}
	if err := h.take(ctx); err != nil {
		return err
	}
	defer h.give()
	switch done, err := h.settled(no, sent); {
	case err != nil:
		return err
	case done:
		return nil
	}
	ask := h.request
	ask.Challenges, ask.Refused = challenges, no.sent
	token, err := h.fetch(ctx, ask)
	if err == nil && token.is(sent) {
		err = h.hopeless(tooNarrow)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, localapi.ErrUnavailable) {
		h.mu.Lock()
		h.failed = failure{no, err, time.Now()}
		h.mu.Unlock()
	}
	return err
}

// settled reports whether a refusal was dealt with while this one waited for its turn, or just before: there is another
// token, or there is none to be had. A refused token is not sent again; one that is too narrow stays good for the rest.
func (h *Handler) settled(no refusal, sent secret.Text) (done bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed.holds() && h.failed.refusal == no {
		return false, h.failed.err
	}
	if no.status == http.StatusUnauthorized {
		if h.held.is(sent) {
			h.held = nil
		}
		return h.held.lives(time.Now(), 0), nil
	}
	return false, nil // another token may be too narrow as well: the app knows
}

// fetch asks the app and holds what it gives.
func (h *Handler) fetch(ctx context.Context, req localapi.TokenRequest) (*held, error) {
	client, err := h.client()
	if err != nil {
		return nil, err
	}
	token, err := client.Token(ctx, req)
	if err != nil {
		return nil, err
	}
	next := &held{token, time.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = next
	return next, nil
}

func (h *Handler) hopeless(tooNarrow bool) error {
	name := h.request.Resource
	if u, err := url.Parse(name); err == nil {
		name = u.Host
	}
	e := localapi.Errorf(localapi.ErrSignInRequired, "%s turned down every token, new ones too", name)
	if tooNarrow {
		e = localapi.Errorf(localapi.ErrConsentDenied, "%s wants more scopes for this than there are to be had", name)
	}
	return e.WithHint("run vk show %s to see what was granted, or ask the server's owner", h.request.Resource)
}

func (h *Handler) token() *held {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held
}

// answered reports whether it was answered a moment ago that there is no token.
func (h *Handler) answered() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed.holds()
}

func (h *Handler) minValid() time.Duration {
	if h.request.MinValidS == 0 {
		return defaultMinValid
	}
	return time.Duration(h.request.MinValidS) * time.Second
}

// take waits for the turn to ask.
func (h *Handler) take(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Handler) give() { <-h.turn }
