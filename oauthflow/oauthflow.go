// Package oauthflow is one conversation with an issuer: register, sign in by browser with PKCE, refresh, revoke.
// It follows OAuth 2.1 and the MCP authorization specification, 2026-07-28.
package oauthflow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/quirk"
)

// Request is what every conversation needs to know.
type Request struct {
	Server        string            // the URL the person entered: how far we may reach, and what the callback page names
	ServerName    string            // for the callback page; "" means the host of Server
	Resource      string            // canonical, sent byte for byte as the resource parameter (RFC 8707)
	Issuer        *discovery.Issuer // whose every endpoint comes from one checked document
	Scopes        []string          // asked for; none leaves the parameter out
	Key           *dpop.Key         // binds the tokens (RFC 9449); nil: they are bearer tokens
	Registration  client.Client     // ours at Issuer; zero: SignIn makes one in the order of the specification
	Enterprise    *discovery.Issuer // that of Registration.Enterprise; nil: there is none
	Device        bool              // let the person sign in on another device, as Config.Device
	SelectAccount bool              // ask the issuer to let the person pick another account
	ACRValues     string            // how the person must sign in (RFC 9470 §4); "" leaves the parameter out
	MaxAge        string            // seconds: how recently; "" leaves the parameter out
	quirk.Effect                    // what the person accepted or set: Unbound, PKCEUnlisted and Parameters change something here
	nonce         string            // ties the ID token to this sign-in (OpenID Connect Core §3.1.2.1); "" leaves it out

	// AskClient asks the person for a client ID when there is no other way; nil means there is nobody to ask.
	AskClient func(ctx context.Context, issuer string) (client.Client, error)
}

// Tokens is one answer of a token endpoint.
type Tokens struct {
	Access  secret.Text
	Refresh secret.Text // empty: none was issued (on refresh: keep the old one)
	kind    string      // "Bearer", or "DPoP" when asked for with a key
	Expiry  time.Time   // zero: the issuer did not say
	Scopes  []string    // granted; as asked for when the issuer did not say (RFC 6749 §5.1)

	idToken secret.Text // of an OpenID Connect issuer; for Identify
}

// Errors to be told apart with errors.Is.
var (
	ErrNoRegistration = errors.New("no way to register with the issuer")
	ErrAbandoned      = errors.New("the sign-in was not finished in the browser")
	ErrIssMismatch    = errors.New("the answer came from another issuer") // RFC 9207
	ErrUnavailable    = errors.New("the issuer cannot be reached")        // network, 5xx, 429: nothing was decided
	ErrCallback       = errors.New("no address on this computer for the browser to come back to")
	ErrPKCEUnlisted   = errors.New("the issuer does not say that it checks PKCE") // MCP authorization, Security Considerations
	ErrTokenType      = errors.New("the issuer answered with a token of a type that was not asked for")
	ErrOutlives       = errors.New("the refresh token is revoked, and an access token works until it runs out")
	errNoRevocation   = errors.New("the issuer offers no way to revoke tokens") // no revocation_endpoint, RFC 8414
)

// Error is the issuer's own refusal: an RFC 6749 error code with the issuer's words, bounded and stripped of control
// and bidirectional characters.
type Error struct {
	Step        string // "registration", "pushed request", "device authorization", "sign-in", "token", "refresh", "revocation", StepEnterprise
	issuer      string
	Code        string // "invalid_grant", "access_denied", …, also where the issuer has its own name for it; "" when the answer carried none
	description string
	status      int           // HTTP status; 0 for an error that came by redirect
	RetryAfter  time.Duration // 0: not said
	ACRValues   string        // how the person is to sign in anew, as in Request; "" when not said
	MaxAge      string        // the same
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s at %s: the issuer answered %s", e.Step, e.issuer, e.Code)
	if e.Code == "" {
		s = fmt.Sprintf("%s at %s: the issuer answered HTTP %d", e.Step, e.issuer, e.status)
	}
	if e.description != "" {
		s += fmt.Sprintf(" (%q)", e.description)
	}
	return s
}
