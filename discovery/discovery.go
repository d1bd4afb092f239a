// Package discovery goes from a server's URL, or from the challenge it answered with, to checked metadata: the
// server's own (RFC 9728) and its issuer's (RFC 8414, OpenID Connect Discovery), in the order of the MCP
// authorization specification, 2026-07-28.
package discovery

import (
	"errors"
	"fmt"
	"strings"
)

// Resource is an MCP server's own word, checked: RFC 9728 protected resource metadata.
type Resource struct {
	Server      string   // the URL the person entered, without fragment
	ID          string   // the canonical URI, byte for byte as published
	Name        string   // resource_name: untrusted, for display beside the origin only
	Issuers     []string // authorization_servers, at least one, byte for byte
	Scopes      []string // scopes_supported
	Prefix      bool     // ID is a path prefix of Server rather than equal to it (tolerated, and said on the server's page)
	Bound       bool     // it takes only tokens that are bound to a key (RFC 9449): dpop_bound_access_tokens_required, or its challenges
	Bindable    bool     // it takes such tokens: Bound, dpop_signing_alg_values_supported, or a challenge
	metadataURL string   // where it was found
	Unpublished bool     // nobody published this: see Client.Unpublished
}

// Issuer is an authorization server's own word, checked: RFC 8414 metadata.
type Issuer struct {
	ID                      string // byte for byte; equals the id it was looked up by
	AuthorizationEndpoint   string
	TokenEndpoint           string
	RegistrationEndpoint    string   // "" when none
	RevocationEndpoint      string   // "" when none
	PushEndpoint            string   // pushed_authorization_request_endpoint (RFC 9126); "" when none
	DeviceEndpoint          string   // device_authorization_endpoint (RFC 8628); "" when none
	keysEndpoint            string   // jwks_uri; "" when none
	Scopes                  []string // scopes_supported
	DPoPAlgorithms          []string // dpop_signing_alg_values_supported; nil when absent
	AuthMethods             []string // token_endpoint_auth_methods_supported; nil when absent (RFC 8414: client_secret_basic)
	AssertionAlgorithms     []string // token_endpoint_auth_signing_alg_values_supported; nil when absent
	grantTypes              []string // grant_types_supported; nil when absent
	grantProfiles           []string // authorization_grant_profiles_supported; nil when absent
	ClientMetadataDocuments bool     // client_id_metadata_document_supported
	IssParameter            bool     // authorization_response_iss_parameter_supported
	PushRequired            bool     // require_pushed_authorization_requests
	PKCEUnlisted            bool     // it does not say whether it checks PKCE: code_challenge_methods_supported is absent
	Unlisted                bool     // it names the servers it serves and this one is not among them (RFC 9728 §4 lets it leave some out)
	metadataURL             string   // where it was found; "" when Assumed
	Assumed                 bool     // it publishes nothing; these are the endpoints of MCP 2025-03-26
}

// Errors at the bottom of an *Error, to be told apart with errors.Is.
var (
	ErrNotFound    = errors.New("not found")                             // every place was a clean miss
	ErrUnpublished = errors.New("server publishes no metadata")          // as do servers of 2025-03-26: it asks for a sign-in, names no place, and the usual ones were clean misses
	ErrUnreachable = errors.New("unreachable")                           // network, TLS, 5xx: nothing was learned
	ErrMismatch    = errors.New("metadata speaks of something else")     // resource or issuer differs
	ErrInvalid     = errors.New("metadata is not usable")                // malformed, no endpoints, not https
	ErrNoPKCE      = errors.New("issuer does not support PKCE S256")     // code_challenge_methods_supported
	ErrNoSignIn    = errors.New("server does not ask for a sign-in")     // the probe was answered without a challenge
	ErrOtherScheme = errors.New("server asks for another kind of login") // Basic, Negotiate, … and no metadata anywhere
)

// try is one address that was asked, and what came of it.
type try struct {
	url string
	err error // nil: this one was used
}

// Error is a discovery that failed. It keeps the whole trail of tries.
type Error struct {
	Step  string // "server", "resource metadata", "issuer metadata"
	url   string // what was being discovered
	err   error  // wraps one of the errors above
	Tried []try
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s: %v", e.Step, e.url, e.err)
	for i, try := range e.Tried {
		sep := "; "
		if i == 0 {
			sep = " (tried "
		}
		fmt.Fprintf(&b, "%s%s: %v", sep, try.url, try.err)
	}
	if len(e.Tried) > 0 {
		b.WriteString(")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.err }
