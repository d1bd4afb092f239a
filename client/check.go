package client

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/valetkey/valetkey/internal/untrusted"
)

// Grant types by which a client gets tokens with nobody at a browser, for Client.GrantType.
const (
	GrantClientCredentials = "client_credentials"                          // RFC 6749 §4.4; MCP's extension of that name
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer" // RFC 7523 §2.1: workload identity, enterprises
)

// GrantTypes are all of them.
var GrantTypes = []string{GrantClientCredentials, GrantJWTBearer}

// maxSecret bounds a client secret that the person enters, in bytes.
const maxSecret = 4096

// Kind is what can be wrong with a client that the person enters.
type Kind int

const (
	NoClientID       Kind = iota + 1
	BadClientID           // too long, or not to be shown as it is
	longSecret            //
	TwoWays               // it authenticates with a secret and with a key
	KeyIDAlone            // of no key
	UnknownGrantType      //
	NoSecret              // client_credentials with neither secret nor key
	NoAssertion           // jwt-bearer with nothing that says who this is
	AssertionAlone        // says who this is, and the grant type has no use for it
	RelativeFile          // whose meaning would hang on where a program was started
	TwoAssertions         // an enterprise beside another way to get tokens
	NoIssuer              // of an enterprise
	NoClientThere         // no client ID at an enterprise
	EndpointAlone         // a token endpoint of an enterprise whose metadata is needed all the same
)

// Fault is what is wrong with a client. Whoever has names of their own for its parts says it in their own words.
type Fault struct {
	Kind      Kind
	There     bool   // it is about the client at the enterprise
	grantType string // of the whole client
}

var faults = map[Kind]string{
	NoClientID:       "there is no client ID",
	BadClientID:      "the client ID is empty or not printable",
	longSecret:       fmt.Sprintf("the client secret is longer than %d characters", maxSecret),
	TwoWays:          "a client authenticates with a secret or with a key, not with both",
	KeyIDAlone:       "a key ID is of no use without a private key",
	UnknownGrantType: `the grant type "{type}" is not known`,
	NoSecret:         "the grant type {type} needs a client secret or a private key",
	NoAssertion:      "the grant type {type} needs who this is",
	AssertionAlone:   "assertion_file goes with the grant type " + GrantJWTBearer + " only",
	RelativeFile:     "assertion_file must be an absolute path",
	TwoAssertions:    "a client with an enterprise has its assertions from there",
	NoIssuer:         "the enterprise has no issuer",
	NoClientThere:    "there is no client ID at the enterprise",
	EndpointAlone:    "the enterprise's token endpoint goes with an ID token only: for a sign-in by browser its metadata is needed",
}

func (f *Fault) Error() string {
	return strings.ReplaceAll(faults[f.Kind], "{type}", untrusted.Text(f.grantType, 100))
}

// Check looks whether c is one that the person can have at an issuer: which secret, key, file and enterprise goes with which
// grant type. An error is a *[Fault]. What keys and files hold is not looked at: to check a draft, any text stands in for what
// has yet to be read.
func (c Client) Check() error {
	fault := func(kind Kind) error { return &Fault{Kind: kind, grantType: c.GrantType} }
	if kind := c.identity(); kind != 0 {
		return fault(kind)
	}
	assertion := c.AssertionFile != "" || !c.Assertion.Empty()
	switch {
	case c.AssertionFile != "" && !filepath.IsAbs(c.AssertionFile):
		return fault(RelativeFile)
	case c.Enterprise != nil && (assertion || c.GrantType != GrantJWTBearer):
		return fault(TwoAssertions)
	case c.Enterprise != nil:
		if kind := c.Enterprise.check(); kind != 0 {
			return &Fault{kind, true, c.GrantType}
		}
	case c.GrantType == GrantJWTBearer && !assertion:
		return fault(NoAssertion)
	case c.GrantType != GrantJWTBearer && assertion:
		return fault(AssertionAlone)
	case c.GrantType == GrantClientCredentials && c.Secret.Empty() && c.Key.Empty(): // RFC 6749 §4.4: confidential clients only
		return fault(NoSecret)
	case c.GrantType != "" && !slices.Contains(GrantTypes, c.GrantType):
		return fault(UnknownGrantType)
	}
	return nil
}

// identity looks at who c is at its issuer, and how it shows that; 0 means that nothing is wrong.
func (c Client) identity() Kind {
	switch {
	case c.ClientID == "":
		return NoClientID
	case len(c.ClientID) > MaxText || untrusted.Text(c.ClientID, MaxText) != c.ClientID:
		return BadClientID
	case !c.Secret.Empty() && !c.Key.Empty():
		return TwoWays
	case c.Secret.Len() > maxSecret:
		return longSecret
	case c.KeyID != "" && c.Key.Empty():
		return KeyIDAlone
	}
	return 0
}

func (e *Enterprise) check() Kind {
	switch kind := e.identity(); {
	case e.Issuer == "":
		return NoIssuer
	case kind == NoClientID:
		return NoClientThere
	case kind == 0 && e.TokenEndpoint != "" && e.IDToken.Empty():
		return EndpointAlone
	default:
		return kind
	}
}
