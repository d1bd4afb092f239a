// Package localapi is the socket between hosts and the app: its address, its wire types, its error codes, its server
// and its client. docs/localapi.md is the contract for authors of hosts.
package localapi

import (
	"net/http"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
)

// APIMinor counts additions to API version 1; every reply carries it in the Valetkey-Api-Minor header.
const APIMinor = 0

// Interaction values of a request.
const (
	InteractionAuto = "auto" // the person may be asked, a browser may open; also what "" means
	InteractionNone = "none" // answer from what is there
	InteractionAsk  = "ask"  // answer from what is there; if the person is needed, ask them without waiting for them
)

// ClientInfo is what a host says of itself. It is shown in quotes and decides nothing.
type ClientInfo struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
}

// TokenRequest is the body of POST /v1/token.
type TokenRequest struct {
	Resource    string      `json:"resource"`              // the server's URL as the host knows it, or its canonical resource
	Account     string      `json:"account,omitempty"`     // "" means the only one, or the one the person picks
	Scopes      []string    `json:"scopes,omitempty"`      // none means what the host was already allowed, else what the server asks for
	MinValidS   int         `json:"min_valid_s,omitempty"` // seconds the token must still live; 0 means 60
	Interaction string      `json:"interaction,omitempty"` // "auto", "none" or "ask"
	Reason      string      `json:"reason,omitempty"`      // the host's own words, shown in quotes, 200 characters at most
	Challenges  []string    `json:"challenges,omitempty"`  // raw WWW-Authenticate values of a 401 or 403
	Refused     string      `json:"refused,omitempty"`     // SHA-256, hex, of a token the server turned down
	Proof       *Proof      `json:"proof,omitempty"`       // the request the token is for, where tokens are bound to a key
	RerunS      int         `json:"rerun_s,omitempty"`     // for header helpers: take the token this run of the host got within so many seconds for refused
	Client      *ClientInfo `json:"client,omitempty"`
}

// Proof names the one HTTP request that a host is about to send with a token that is bound to a key (RFC 9449). The key
// stays in the app; the host gets a proof for this request.
type Proof struct {
	Method string `json:"method"`          // as sent: "POST"
	URL    string `json:"url"`             // as sent; only what is within the resource is proven for
	Nonce  string `json:"nonce,omitempty"` // the server's last DPoP-Nonce, if there was one
}

// Binding makes the proofs of a bound token. It is there for the gateway, in the app's own process, and crosses no wire.
type Binding interface {
	// Sign gives req the token and a new proof.
	Sign(req *http.Request, token secret.Text) error
	// Again takes in what an answer says of nonces, and reports whether the request must be sent once more.
	Again(resp *http.Response, code string) bool
}

// Token is the answer to POST /v1/token.
type Token struct {
	AccessToken secret.Text `json:"access_token"`
	TokenType   string      `json:"token_type"`          // "Bearer", or "DPoP" for one that is bound to a key
	DPoP        string      `json:"dpop,omitempty"`      // of a bound one: the proof for the request that was named
	ExpiresAt   time.Time   `json:"expires_at,omitzero"` // zero: the issuer did not say
	Scope       string      `json:"scope"`               // space-separated
	Resource    string      `json:"resource"`            // canonical
	Issuer      string      `json:"issuer"`
	Account     string      `json:"account"`
	Binding     Binding     `json:"-"` // of a bound one
}

// Explained is the answer to POST /v1/explain: a token as a host would get it, without the token.
type Explained struct {
	Resource  string    `json:"resource"`
	Issuer    string    `json:"issuer"`
	Account   string    `json:"account"`
	Scope     string    `json:"scope"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Check     Check     `json:"check"`
}

// wireToken is a Token in the clear, field by field the same. It is encoded and decoded in one pass, where a method of
// Token or Text costs the JSON package several over the longest string of the answer.
type wireToken struct {
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	DPoP        string    `json:"dpop,omitempty"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	Scope       string    `json:"scope"`
	Resource    string    `json:"resource"`
	Issuer      string    `json:"issuer"`
	Account     string    `json:"account"`
}

// wire opens the token: this is the answer to a host.
func (t Token) wire() wireToken {
	return wireToken{t.AccessToken.Reveal(), t.TokenType, t.DPoP, t.ExpiresAt, t.Scope, t.Resource, t.Issuer, t.Account}
}

func (w wireToken) token() *Token {
	return &Token{
		AccessToken: secret.New(w.AccessToken), TokenType: w.TokenType, DPoP: w.DPoP, ExpiresAt: w.ExpiresAt, Scope: w.Scope,
		Resource: w.Resource, Issuer: w.Issuer, Account: w.Account,
	}
}

// MarshalJSON writes the token in the clear: this is the answer to a host.
func (t Token) MarshalJSON() ([]byte, error) { return t.wire().encode() }

// SignInRequest is the body of POST /v1/signin. The answer is the Grant.
type SignInRequest struct {
	Resource string   `json:"resource"`
	Account  string   `json:"account,omitempty"` // a label for a further account at this server
	Scopes   []string `json:"scopes,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Device   bool     `json:"device,omitempty"` // propose to sign in on another device, with a code (RFC 8628)
	// Quirks are settings for the server, from this sign-in on, as quirk.Quirk.String writes them: "parameters=access_type=offline",
	// "parameters=" (none any more), "dpop". What is wrong with a server cannot be accepted here.
	Quirks []string    `json:"quirks,omitempty"`
	Client *ClientInfo `json:"client,omitempty"`
}

// ForgetRequest is the body of POST /v1/forget. The answer is Forgotten.
type ForgetRequest struct {
	Resource string      `json:"resource"`
	Account  string      `json:"account,omitempty"` // "" forgets every account at this server
	Client   *ClientInfo `json:"client,omitempty"`
}

// Forgotten tells what was forgotten and what the issuer would not take back.
type Forgotten struct {
	Grants     []Grant  `json:"grants"`
	NotRevoked []string `json:"not_revoked,omitempty"` // sentences, one per grant the issuer did not revoke, or not wholly
}

// RegistrationRequest is the body of POST /v1/client: a client ID that the person got from the issuer, and how tokens are
// had with it. Without any of GrantType, AssertionFile and Enterprise, the person signs in with it by browser.
type RegistrationRequest struct {
	Resource string `json:"resource"` // the server, or with Issuer the issuer alone
	client.Sent
	Remove bool        `json:"remove,omitempty"` // take back what was set for the issuer
	Client *ClientInfo `json:"client,omitempty"`
}

// Registered is the answer to POST /v1/client.
type Registered struct {
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"` // "" after Remove
}

// OpenRequest is the body of POST /v1/open: show the person the app's window. It has no fields.
type OpenRequest struct{}

// Opened is the answer to POST /v1/open. It has no fields.
type Opened struct{}

// States of a grant.
const (
	StateReady       = "ready"       // a token can be had without the person, or none is needed
	StateSignIn      = "sign_in"     // the person must sign in again
	StateUnsaved     = "unsaved"     // the keychain did not take the newest refresh token; being retried
	StateUnavailable = "unavailable" // the issuer could not be reached; being retried on demand
)

// Grant is what the person gave us for one server, as lists show it. It holds no secret.
type Grant struct {
	Server      string        `json:"server"`                // the URL as it was entered
	Resource    string        `json:"resource"`              // canonical
	Name        string        `json:"name,omitempty"`        // the server's word for itself
	Issuer      string        `json:"issuer"`                // "" if the server asks for no sign-in
	Unpublished bool          `json:"unpublished,omitempty"` // the server names no issuer, so its own origin is taken for it
	Account     string        `json:"account"`
	Scopes      []string      `json:"scopes"` // granted
	State       string        `json:"state"`
	Problem     string        `json:"problem,omitempty"` // why State is not ready, as a sentence
	Renewable   bool          `json:"renewable"`         // new tokens are to be had without the person
	SignedInAt  time.Time     `json:"signed_in_at,omitzero"`
	RefreshedAt time.Time     `json:"refreshed_at,omitzero"`
	ExpiresAt   time.Time     `json:"expires_at,omitzero"` // of the longest-lived token held now
	Consents    []Consent     `json:"consents"`
	Prefix      bool          `json:"prefix,omitempty"`   // Resource is a path prefix of Server: its tokens are good for more than Server
	Bound       bool          `json:"bound,omitempty"`    // its tokens are bound to a key (RFC 9449)
	Bindable    bool          `json:"bindable,omitempty"` // the server takes such tokens
	Quirks      []quirk.Quirk `json:"quirks,omitempty"`   // what the person accepted or set
	Check       *Check        `json:"check,omitempty"`    // of the token that was looked at last

	Registration *client.Public `json:"registration,omitempty"` // our client at Issuer; nil if the server asks for no sign-in
}

// Modes of a consent: for how long the person's yes holds.
const (
	ModeOnce    = "once"
	ModeRunning = "running" // while this run of the host lives
	ModeHour    = "hour"
	ModeAlways  = "always"
)

// Consent is the person's yes for one host to use one grant.
type Consent struct {
	Host      string     `json:"host"` // consent key
	HostName  string     `json:"host_name"`
	Level     peer.Level `json:"level"`
	Scopes    []string   `json:"scopes"`
	Mode      string     `json:"mode"`
	GivenAt   time.Time  `json:"given_at"`
	ExpiresAt time.Time  `json:"expires_at,omitzero"` // of ModeHour
}

// Grants is the answer to GET /v1/grants.
type Grants struct {
	Grants []Grant `json:"grants"`
}

// Status is the answer to GET /v1/status. It names nobody.
type Status struct {
	Version  string `json:"version"`
	APIMinor int    `json:"api_minor"`
	PID      int    `json:"pid"`
	Face     string `json:"face"`     // who can ask the person: "window", "terminal", "policy"
	Keychain string `json:"keychain"` // "ok", or what is wrong, as a sentence
	Servers  int    `json:"servers"`
	SignIns  int    `json:"sign_ins_needed"`   // servers that need the person to sign in again
	Waiting  int    `json:"waiting"`           // questions that wait for the person
	Windows  *Error `json:"windows,omitempty"` // why no window can be shown, and what to install
}
