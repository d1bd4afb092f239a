package ledger

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

// ID names a grant: what the person gave us for one server at one issuer, as one of their accounts there.
type ID struct{ Resource, Issuer, Account string }

// item is the keychain item of the grant's record.
func (id ID) item() string { return "grant-" + shortHash(id.Resource, id.Issuer, id.Account) }

// Record is one grant as the keychain keeps it: the only truth about it. Everything that decides who may use the grant,
// and where its refresh token may be sent, is in it and nowhere else.
type Record struct {
	Version      int                `json:"v"`
	Server       string             `json:"server"`
	Resource     string             `json:"resource"`
	Name         string             `json:"name,omitempty"`
	Issuer       string             `json:"issuer"` // "" for a server that asks for no sign-in
	Account      string             `json:"account"`
	Registration client.Sealed      `json:"registration"`
	Refresh      kept               `json:"refresh_token,omitzero"`
	Replaced     []kept             `json:"replaced_refresh_tokens,omitempty"` // by a later sign-in: to be revoked with the grant
	Requested    []string           `json:"requested"`
	Granted      []string           `json:"granted"`
	Prefix       bool               `json:"prefix,omitempty"`      // Resource is a path prefix of Server
	Unpublished  bool               `json:"unpublished,omitempty"` // the server names no issuer, and the person took its origin for one
	Key          kept               `json:"dpop_key,omitzero"`     // its tokens are bound to it (RFC 9449)
	Bindable     bool               `json:"bindable,omitempty"`    // the server takes tokens that are bound to a key
	Device       bool               `json:"device,omitempty"`      // the person signed in on another device the last time
	Quirks       []quirk.Quirk      `json:"quirks,omitempty"`      // what the person accepted of this server and its issuer, or set
	Wide         bool               `json:"wide,omitempty"`        // the issuer does not narrow tokens on refresh
	Always       []string           `json:"always,omitempty"`      // scopes that nobody asks for and the issuer puts into every token
	Problem      string             `json:"problem,omitempty"`     // why the person must sign in again, as a sentence
	Consents     []localapi.Consent `json:"consents"`              // ModeAlways and ModeHour only
	SignedInAt   time.Time          `json:"signed_in_at,omitzero"` //
	RefreshedAt  time.Time          `json:"refreshed_at,omitzero"` // as of the last write; memory has the newest
}

// id names the grant that r is the record of.
func (r Record) id() ID { return ID{r.Resource, r.Issuer, r.Account} }

// Open reports whether r's server asks for no sign-in.
func (r Record) Open() bool { return r.Issuer == "" }

// Renewable reports whether a new token is to be had without the person.
func (r Record) Renewable() bool { return !r.Refresh.Empty() || r.Unattended() }

// Unattended reports whether r's tokens were got with nobody at a browser.
func (r Record) Unattended() bool { return r.Registration.GrantType != "" }

// Enterprise is the enterprise that speaks for the person here; zero for none.
func (r Record) Enterprise() Enterprise { return EnterpriseOf(r.Registration.Client) }

// Least is the narrowest token that has set, and why it is no narrower.
func (r Record) Least(set Scopes) (whole Scopes, why string) {
	if r.Wide || !r.Renewable() {
		return ScopeSet(r.Granted), " does not issue tokens for less than everything that was granted to you; without all of it this program gets none"
	}
	if len(set) == 0 && len(r.Always) == 0 && len(r.Granted) > 0 {
		return ScopeSet(r.Granted), " chose these scopes itself, because none was asked for by name" // RFC 6749 §3.3
	}
	return ScopeSet(set, r.Always), " puts these into every token, asked for or not: " + strings.Join(r.Always, " ")
}

// NamedBy reports whether r's issuer is among those that a server names.
func (r Record) NamedBy(issuers []string) bool {
	return slices.Contains(issuers, r.Issuer) || quirk.Effects(r.Quirks).Slash && slices.Contains(issuers, OtherSlash(r.Issuer))
}

// OtherSlash is the issuer id with one slash at its end more or less.
func OtherSlash(id string) string {
	if bare, ok := strings.CutSuffix(id, "/"); ok {
		return bare
	}
	return id + "/"
}

// maxReplaced bounds the refresh tokens that are kept for their revocation only. A person signs in to a wider scope now
// and then; what is older has most likely run out.
const maxReplaced = 8

// SignedIn takes in the outcome of a sign-in. A refresh token that it replaces may live on at the issuer, and is not
// revoked now: many issuers would end the new one with it.
func (r *Record) SignedIn(registration client.Client, refresh secret.Text) {
	if registration.ClientID != r.Registration.ClientID {
		r.Replaced = nil // only the client that got a token can revoke it (RFC 7009 §2.1)
	} else if !r.Refresh.Empty() && !r.Refresh.Equal(refresh) {
		r.Replaced = append([]kept{r.Refresh}, r.Replaced[:min(len(r.Replaced), maxReplaced-1)]...)
	}
	r.Registration, r.Refresh = client.Seal(registration), kept{refresh}
}

// RefreshTokens are all the refresh tokens of r that the issuer may still know.
func (r Record) RefreshTokens() (all []secret.Text) {
	for _, token := range append([]kept{r.Refresh}, r.Replaced...) {
		if !token.Empty() {
			all = append(all, token.Text)
		}
	}
	return all
}

func (r Record) clone() Record {
	r.Requested = slices.Clone(r.Requested)
	r.Granted = slices.Clone(r.Granted)
	r.Always = slices.Clone(r.Always)
	r.Replaced = slices.Clone(r.Replaced)
	r.Consents = slices.Clone(r.Consents)
	r.Quirks = slices.Clone(r.Quirks)
	return r
}

// kept is a secret as the keychain keeps it: the one place where a secret.Text goes into JSON in the clear.
type kept struct{ secret.Text }

func (k kept) MarshalJSON() ([]byte, error) { return json.Marshal(k.Reveal()) }

// IsZero makes omitzero leave an empty secret out.
func (k kept) IsZero() bool { return k.Empty() }
