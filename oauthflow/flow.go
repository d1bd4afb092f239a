package oauthflow

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
)

const (
	defaultTimeout = 5 * time.Minute
	maxTimeout     = 10 * time.Minute // of a state value: MCP security best practices
	postTimeout    = 30 * time.Second // of one request to the issuer, all of it
)

// Config is what a [Flow] stands on.
type Config struct {
	// HTTP gives the guarded client for what the given server leads to: where it may go and how much it takes in is
	// decided there. It must not be nil.
	HTTP func(ctx context.Context, server string) (*http.Client, error)

	// Open opens a browser at url. It runs in a goroutine of its own and may block as long as the browser lives; its
	// ctx carries values only and is not cancelled when the sign-in ends, lest the browser be closed on the page. An
	// error does not end the wait, because the person can copy the URL; it becomes part of ErrAbandoned's text. Nil:
	// the page is told to OnPage only.
	Open func(ctx context.Context, url string) error

	// OnPage is told the page of each sign-in, before Open is called, and again when it has a new address. Nil: nobody.
	OnPage func(req Request, page Page)

	// Device lets the person sign in on another device, where the issuer has a way for that (RFC 8628): Open is not
	// called, and OnPage's page wants a code.
	Device bool

	// OnUnopened is told that Open failed, while the sign-in still waits for the person. Nil: nobody.
	OnUnopened func(req Request, url string, err error)

	// Paste lets the person hand over the address that a browser on another computer ended on, when none was opened here:
	// Open is nil or failed. take says what is wrong with an address, nil once it has taken one. Paste runs in a goroutine
	// of its own and returns when ctx ends. Nil: nobody is asked.
	Paste func(ctx context.Context, req Request, take func(address string) error)

	ClientMetadataURL string // our client ID metadata document; "" means there is none
	ClientName        string // what a dynamic registration says of us
	SoftwareVersion   string

	timeout time.Duration // of one browser sign-in; 0 means 5 minutes, and more than 10 means 10
}

// Flow holds conversations with issuers. Its methods may be called at the same time.
type Flow struct {
	cfg Config
}

// New returns a Flow.
func New(cfg Config) *Flow {
	if cfg.timeout <= 0 {
		cfg.timeout = defaultTimeout
	}
	cfg.timeout = min(cfg.timeout, maxTimeout)
	return &Flow{cfg}
}

// SignIn lets the person sign in by browser and returns the tokens and the registration they belong to. It takes
// req.Registration when that is usable at req.Issuer, and otherwise makes one: metadata document, dynamic, req.AskClient.
// An earlier dynamic registration that the issuer no longer knows is made anew, once, with a second browser page. With a
// registration that is [client.Client.Unattended] it is Obtain.
//
// Errors: *[Error], [ErrNoRegistration], [ErrAbandoned] (also when ctx ends), [ErrIssMismatch], [ErrUnavailable],
// [ErrCallback], [ErrTokenType], [ErrPKCEUnlisted]. The registration is worth keeping also beside an error, unless its ClientID is empty.
// Once the browser came back, the exchange is finished even when ctx ends: a code cannot be used again (RFC 6749 §4.1.2).
func (f *Flow) SignIn(ctx context.Context, req Request) (client.Client, *Tokens, error) {
	web, err := f.client(ctx, req)
	if err != nil {
		return client.Client{}, nil, err
	}
	w, err := f.way(req)
	if err != nil {
		return req.Registration, nil, err
	}
	return w.tokens(ctx, f, web, req)
}

// Obtain gets tokens for a registration that is [client.Client.Unattended], in one POST with the resource, after one to
// its enterprise's issuer where it has one. There is no refresh token in the answer: when the token runs out, Obtain again.
//
// Errors: *[Error], [ErrNoRegistration], [ErrUnavailable], [ErrTokenType].
func (f *Flow) Obtain(ctx context.Context, req Request) (*Tokens, error) {
	if !req.Registration.Unattended() {
		return nil, fmt.Errorf("%w %s: the client %s gets no tokens by itself", ErrNoRegistration, req.Issuer.ID, req.Registration.ClientID)
	}
	_, tokens, err := f.SignIn(ctx, req)
	return tokens, err
}

// Refresh posts refresh to the issuer once, with the resource, and never again, whatever comes of it: a rotated refresh
// token that is posted twice looks stolen (RFC 6749 §6, §10.4). Scopes narrow the token when given.
//
// Errors: *[Error] (Code "invalid_grant": the refresh token is dead), [ErrUnavailable], [ErrTokenType].
func (f *Flow) Refresh(ctx context.Context, req Request, refresh secret.Text) (*Tokens, error) {
	web, err := f.client(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := req.ownRegistration(); err != nil {
		return nil, err
	}
	return refreshTokens(ctx, web, req, refresh)
}

// Revoke asks the issuer to forget the refresh tokens first, then the access tokens (RFC 7009). The error names what was
// not revoked, and why: [ErrOutlives] when that is access tokens only.
func (f *Flow) Revoke(ctx context.Context, req Request, refresh, access []secret.Text) error {
	web, err := f.client(ctx, req)
	if err != nil {
		return err
	}
	if err := req.ownRegistration(); err != nil {
		return err
	}
	return revokeTokens(ctx, web, req, refresh, access)
}

// client is the guarded client without redirects: RFC 6749 has none at these endpoints, and following one would carry a
// code or a refresh token elsewhere.
func (f *Flow) client(ctx context.Context, req Request) (*http.Client, error) {
	web, err := f.cfg.HTTP(ctx, req.Server)
	if err != nil {
		return nil, fmt.Errorf("reach the issuer of %s: %w", req.Server, err)
	}
	own := *web
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own, nil
}

// ownRegistration reports a registration that is missing or belongs to another issuer: its secret, and the tokens made
// with it, must never be shown there.
func (r Request) ownRegistration() error {
	switch {
	case r.Registration.ClientID == "":
		return fmt.Errorf("%w %s: there is no registration yet", ErrNoRegistration, r.Issuer.ID)
	case r.Registration.Issuer != r.Issuer.ID:
		return fmt.Errorf("%w %s: the registration belongs to %s", ErrNoRegistration, r.Issuer.ID, r.Registration.Issuer)
	}
	return nil
}

// unknownClient reports whether the issuer says that it does not know us (any more).
func unknownClient(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == "invalid_client"
}

// renewable reports whether reg is an earlier dynamic registration that can be made anew.
func renewable(req Request, reg client.Client) bool {
	return reg.Source == client.SourceDynamic && reg.ClientID == req.Registration.ClientID && req.Issuer.RegistrationEndpoint != ""
}

// ended turns err into ErrAbandoned when the cause is that ctx has ended.
func ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || !errors.Is(err, ctx.Err()) || errors.Is(err, ErrAbandoned) {
		return err
	}
	return abandoned(ctx, 0, nil)
}

// abandoned says why nobody came back from the browser; openErr is what became of opening it.
func abandoned(ctx context.Context, after time.Duration, openErr error) error {
	why := "it was cancelled"
	switch {
	case ctx.Err() == nil:
		why = fmt.Sprintf("no answer came within %v", after)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		why = "the time for it ran out"
	}
	err := fmt.Errorf("%w: %s", ErrAbandoned, why)
	if openErr != nil {
		err = fmt.Errorf("%w; the browser could not be opened: %w", err, openErr)
	}
	if ctx.Err() != nil {
		err = &causedError{err, context.Cause(ctx)}
	}
	return err
}

// causedError is err with a cause that errors.Is finds and the text leaves out.
type causedError struct{ err, cause error }

func (e *causedError) Error() string   { return e.err.Error() }
func (e *causedError) Unwrap() []error { return []error{e.err, e.cause} }
