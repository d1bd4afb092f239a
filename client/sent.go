package client

import "strings"

// Sent is a Client as the person hands it to the app, over the socket or from a window: in the clear. It is a part of the object
// that carries it, to be embedded there.
type Sent struct {
	Issuer    string `json:"issuer,omitempty"`     // "" means the server's own
	ClientID  string `json:"client_id,omitempty"`  // missing where a client is removed
	KeyID     string `json:"key_id,omitempty"`     // of Key at the issuer, where it wants one
	GrantType string `json:"grant_type,omitempty"` // GrantClientCredentials: the client gets tokens by itself

	// AssertionFile is the absolute path of a file that says who this workload is, which the platform keeps fresh: the
	// issuer gives tokens for it (RFC 7523 §2.1). It is read for each token.
	AssertionFile string          `json:"assertion_file,omitempty"`
	Enterprise    *sentEnterprise `json:"enterprise,omitempty"` // speaks for the person at the issuer

	Secret plain `json:"client_secret,omitzero"`
	Key    plain `json:"private_key,omitzero"` // in PEM, to authenticate with instead of a secret
}

// sentEnterprise is the client at the issuer of the person's enterprise, where they sign in by browser.
type sentEnterprise struct {
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"`
	KeyID    string `json:"key_id,omitempty"`
	Secret   plain  `json:"client_secret,omitzero"`
	Key      plain  `json:"private_key,omitzero"`
}

// Send is what the person says of c.
func Send(c Client) Sent {
	s := Sent{Issuer: c.Issuer, ClientID: c.ClientID, Secret: plain{c.Secret}, Key: plain{c.Key}, KeyID: c.KeyID, GrantType: c.GrantType, AssertionFile: c.AssertionFile}
	if s.GrantType == GrantJWTBearer && (c.AssertionFile != "" || c.Enterprise != nil) {
		s.GrantType = "" // these say it
	}
	if e := c.Enterprise; e != nil {
		s.Enterprise = &sentEnterprise{e.Issuer, e.ClientID, e.KeyID, plain{e.Secret}, plain{e.Key}}
	}
	return s
}

// Client is the one that s says. Who names a file or an enterprise need not name the grant type that goes with it.
func (s Sent) Client() Client {
	c := entered(s.Issuer, s.ClientID, s.Secret, s.Key, s.KeyID)
	c.GrantType, c.AssertionFile = s.GrantType, s.AssertionFile
	if c.GrantType == "" && (s.AssertionFile != "" || s.Enterprise != nil) {
		c.GrantType = GrantJWTBearer
	}
	if e := s.Enterprise; e != nil {
		c.Enterprise = &Enterprise{Client: entered(e.Issuer, e.ClientID, e.Secret, e.Key, e.KeyID)}
	}
	return c
}

func entered(issuer, id string, words, key plain, keyID string) Client {
	return Client{Issuer: issuer, ClientID: strings.TrimSpace(id), Secret: words.Text, Key: key.Text, KeyID: keyID, Source: SourcePreRegistered}
}
