// Package client is what Valet Key is to an issuer: one type for however it came about, and one look at what goes together in
// it.
//
// A [Client] shows and marshals with its secrets hidden. [Sealed] is one as the keychain keeps it, [Sent] one as the person
// hands it over, [Public] one as lists show it.
package client

import (
	"time"

	"github.com/valetkey/valetkey/internal/secret"
)

// How a client came to be, for Client.Source.
const (
	SourcePreRegistered = "pre-registered" // the person named it, in the app or in a policy file
	SourceDocument      = "metadata document"
	SourceDynamic       = "dynamic"
)

// Client is our client at one issuer. It is never used at another issuer. The zero value means: none yet.
type Client struct {
	Issuer       string
	ClientID     string
	Secret       secret.Text // empty for a public client
	AuthMethod   string      // "none", "client_secret_basic", "client_secret_post", "private_key_jwt"
	RedirectURIs []string    // as registered; empty when unknown
	SecretExpiry time.Time   // zero: never
	Source       string

	// Of a pre-registered client that gets tokens with nobody at a browser.
	GrantType string      // Grant…; "" is the authorization code grant
	Key       secret.Text // private key in PEM: authenticate with private_key_jwt (RFC 7523 §2.2)
	KeyID     string      // of Key at the issuer; "" means that the issuer needs none
	Assertion secret.Text // the platform's word for who this is, for GrantJWTBearer; not ours to sign or to read

	// AssertionFile is where Assertion comes from, for whoever asks for tokens to read first. "" when it comes otherwise.
	AssertionFile string

	// Enterprise gives an assertion for GrantJWTBearer; nil: there is none that does.
	Enterprise *Enterprise

	// Of a dynamic registration (RFC 7592), kept for removal.
	ManagementURI   string
	ManagementToken secret.Text
}

// Enterprise is an issuer that knows the person and speaks for them at other issuers (MCP's Enterprise-Managed
// Authorization), and our client there, which is another than at the issuer it speaks to.
type Enterprise struct {
	Client
	TokenEndpoint string      // as the person said; "" means that its metadata says
	IDToken       secret.Text // says who the person is
}

// Unattended reports whether tokens are to be had with no person at a browser, at any time anew.
func (c Client) Unattended() bool { return c.GrantType != "" }

// Expired reports whether the issuer takes c's secret no longer.
func (c Client) Expired() bool {
	return !c.SecretExpiry.IsZero() && !time.Now().Before(c.SecretExpiry)
}

// Public is a client without its secrets.
type Public struct {
	ClientID      string `json:"client_id"`
	Source        string `json:"source"`               // Source…
	GrantType     string `json:"grant_type,omitempty"` // by which it gets tokens with nobody at a browser; "" if the person signs in
	AssertionFile string `json:"assertion_file,omitempty"`
	Enterprise    string `json:"enterprise,omitempty"` // the issuer that speaks for the person
}

// Public is c as lists show it.
func (c Client) Public() Public {
	p := Public{ClientID: c.ClientID, Source: c.Source, GrantType: c.GrantType, AssertionFile: c.AssertionFile}
	if c.Enterprise != nil {
		p.Enterprise = c.Enterprise.Issuer
	}
	return p
}

// Meaning says how tokens are had with p, in words for the person.
func (p Public) Meaning() string {
	switch {
	case p.Enterprise != "":
		return "you set it; your enterprise at " + p.Enterprise + " speaks for you"
	case p.AssertionFile != "":
		return "you set it; it gets tokens by itself, with the identity in " + p.AssertionFile
	case p.GrantType != "":
		return "you set it; it gets tokens by itself (" + p.GrantType + ")"
	case p.Source == SourcePreRegistered:
		return "you set it; you sign in with it by browser"
	case p.Source == SourceDocument:
		return "published by Valet Key"
	}
	return "registered by Valet Key itself"
}
