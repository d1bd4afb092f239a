package client

import (
	"encoding/json"
	"time"

	"github.com/valetkey/valetkey/internal/secret"
)

// Sealed is a Client as the keychain keeps it: in the clear, without what is said beside it (its issuer) or anew each time (the
// assertion), and with no more of its enterprise than which one it is.
type Sealed struct{ Client }

// Seal is c as it is kept.
func Seal(c Client) Sealed {
	c.Issuer, c.Assertion = "", secret.Text{}
	if e := c.Enterprise; e != nil {
		c.Enterprise = &Enterprise{Client: Client{Issuer: e.Issuer, ClientID: e.ClientID}}
	}
	return Sealed{c}
}

// At is s at its issuer.
func (s Sealed) At(issuer string) Client {
	s.Issuer = issuer
	return s.Client
}

type sealed struct {
	ClientID        string    `json:"client_id"`
	Secret          plain     `json:"client_secret,omitzero"`
	AuthMethod      string    `json:"auth_method"`
	RedirectURIs    []string  `json:"redirect_uris,omitempty"`
	SecretExpiry    time.Time `json:"secret_expiry,omitzero"`
	Source          string    `json:"source"`
	GrantType       string    `json:"grant_type,omitempty"`
	Key             plain     `json:"key,omitzero"`
	KeyID           string    `json:"key_id,omitempty"`
	AssertionFile   string    `json:"assertion_file,omitempty"`
	ManagementURI   string    `json:"management_uri,omitempty"`
	ManagementToken plain     `json:"management_token,omitzero"`
	Enterprise      struct {
		Issuer   string `json:"issuer"`
		ClientID string `json:"client_id"`
	} `json:"enterprise,omitzero"`
}

// MarshalJSON writes what the keychain keeps.
func (s Sealed) MarshalJSON() ([]byte, error) {
	out := sealed{
		ClientID: s.ClientID, Secret: plain{s.Secret}, AuthMethod: s.AuthMethod, RedirectURIs: s.RedirectURIs,
		SecretExpiry: s.SecretExpiry, Source: s.Source, GrantType: s.GrantType, Key: plain{s.Key}, KeyID: s.KeyID,
		AssertionFile: s.AssertionFile, ManagementURI: s.ManagementURI, ManagementToken: plain{s.ManagementToken},
	}
	if e := s.Enterprise; e != nil {
		out.Enterprise.Issuer, out.Enterprise.ClientID = e.Issuer, e.ClientID
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Sealed) UnmarshalJSON(b []byte) error {
	var in sealed
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	s.Client = Client{
		ClientID: in.ClientID, Secret: in.Secret.Text, AuthMethod: in.AuthMethod, RedirectURIs: in.RedirectURIs,
		SecretExpiry: in.SecretExpiry, Source: in.Source, GrantType: in.GrantType, Key: in.Key.Text, KeyID: in.KeyID,
		AssertionFile: in.AssertionFile, ManagementURI: in.ManagementURI, ManagementToken: in.ManagementToken.Text,
	}
	if e := in.Enterprise; e.Issuer != "" || e.ClientID != "" {
		s.Enterprise = &Enterprise{Client: Client{Issuer: e.Issuer, ClientID: e.ClientID}}
	}
	return nil
}

// plain is a secret that is written as it is.
type plain struct{ secret.Text }

func (p plain) MarshalJSON() ([]byte, error) { return json.Marshal(p.Reveal()) }

// IsZero makes omitzero leave an empty secret out.
func (p plain) IsZero() bool { return p.Empty() }
