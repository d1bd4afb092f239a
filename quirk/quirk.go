// Package quirk is what an issuer or a server gets wrong and the person accepts for one server, and what they set for it
// beyond what its metadata says. Each is a row of a table; what is read about it stands in texts, under its name. To add
// one: its row and the field of [Effect] it sets, its text, and the place where that field makes a difference.
package quirk

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Names of quirks.
const (
	Audience     = "audience"
	Issuer       = "issuer"
	IssuerSlash  = "issuer-slash"
	NoResource   = "no-resource"
	PKCEUnlisted = "pkce-unlisted"
	Unchecked    = "unchecked"

	Parameters = "parameters"
	DPoP       = "dpop"
)

// Quirk is one of them, as it was accepted or set for a server.
type Quirk struct {
	Name       string    `json:"name"`
	Value      string    `json:"value,omitempty"`
	AcceptedAt time.Time `json:"accepted_at,omitzero"`
}

// Who may choose a quirk, besides whoever wrote the policy file.
type Who int

const (
	Asked    Who = iota // the person, when Valet Key asks them about what is wrong
	Switched            // the person, of their own accord, on the server's page
	Set                 // the person, for all hosts, also with a sign-in that a host asks for and shows them
)

// Effect is what the quirks of a server change, for those who sign in, check tokens and hand them out. Its zero value
// changes nothing.
type Effect struct {
	Audiences    []string   // tokens for these pass, besides those for the resource; "" is one that names nobody
	Issuers      []string   // tokens that name these as their issuer pass, though another issued them
	Slash        bool       // the issuer's name may differ in one slash at the end
	Unbound      bool       // the resource is not sent to the issuer, so tokens are bound to no server
	PKCEUnlisted bool       // the issuer does not say that it checks PKCE
	Unchecked    bool       // tokens are handed out whatever the checks say
	Parameters   url.Values // added to what the issuer is asked for
	Bound        bool       // tokens are bound to a key, although the server takes others (RFC 9449)
}

// Row is what there is to know of a quirk.
type Row struct {
	Name string
	Form string // of its value: "VALUE", "NAME=VALUE"; "" if it has none
	Who  Who

	BindableOnly bool // it is for servers that take tokens bound to a key, and get others

	check  func(value string) error                      // what is wrong with a value, as the end of a sentence; nil: nothing
	join   func(args []string) string                    // the value that several arguments make; nil: the last one
	cures  func(wrong []Finding) (value string, ok bool) // whether it lets a token through; nil: none
	effect func(e *Effect, value string)
}

// rows are all of them.
var rows = []Row{
	{Name: Audience, Form: "VALUE", cures: alone(wrongAudience), effect: func(e *Effect, value string) { e.Audiences = append(e.Audiences, value) }},
	{Name: Issuer, Form: "VALUE", cures: alone(otherIssuer), effect: func(e *Effect, value string) { e.Issuers = append(e.Issuers, value) }},
	{Name: IssuerSlash, cures: alone(issuerSlash), effect: func(e *Effect, _ string) { e.Slash = true }},
	{Name: NoResource, effect: func(e *Effect, _ string) { e.Unbound = true }},
	{Name: PKCEUnlisted, effect: func(e *Effect, _ string) { e.PKCEUnlisted = true }},
	{Name: Unchecked, Who: Switched, cures: anything, effect: func(e *Effect, _ string) { e.Unchecked = true }},

	{Name: Parameters, Form: "NAME=VALUE", Who: Set, check: checkParameters, join: joinParameters, effect: func(e *Effect, value string) { e.Parameters, _ = parseParameters(value) }},
	{Name: DPoP, Who: Set, BindableOnly: true, effect: func(e *Effect, _ string) { e.Bound = true }},
}

// Settings are those that a person may choose of their own accord, the mildest first.
func Settings() (settings []Row) {
	for _, r := range slices.Backward(rows) {
		if r.Who != Asked {
			settings = append(settings, r)
		}
	}
	return settings
}

func rowOf(name string) (Row, bool) {
	at := slices.IndexFunc(rows, func(r Row) bool { return r.Name == name })
	if at < 0 {
		return Row{}, false
	}
	return rows[at], true
}

// Effects are what quirks change together. One that is not known here changes nothing.
func Effects(quirks []Quirk) (e Effect) {
	for _, q := range quirks {
		if row, ok := rowOf(q.Name); ok {
			row.effect(&e, q.Value)
		}
	}
	return e
}

// Check says what is wrong with a value of r, as the end of a sentence.
func (r Row) Check(value string) error {
	if r.check == nil {
		return nil
	}
	return r.check(value)
}

// Join is the value that the arguments of a command make.
func (r Row) Join(args []string) string {
	if r.join == nil {
		return args[len(args)-1]
	}
	return r.join(args)
}

// Is reports whether who may choose q.
func (q Quirk) Is(who Who) bool {
	row, ok := rowOf(q.Name)
	return ok && row.Who == who
}

// Over reports whether q only ends what was set: it lacks the value.
func (q Quirk) Over() bool {
	row, _ := rowOf(q.Name)
	return row.Who == Set && row.Form != "" && q.Value == ""
}

// String is q as a policy file has it: its name, and its value behind "=".
func (q Quirk) String() string {
	if row, _ := rowOf(q.Name); row.Form != "" {
		return q.Name + "=" + q.Value
	}
	return q.Name
}

// Parse reads what String writes.
func Parse(s string) (Quirk, error) {
	name, value, has := strings.Cut(s, "=")
	row, known := rowOf(name)
	if !known || has != (row.Form != "") {
		var forms []string
		for _, r := range rows {
			forms = append(forms, strings.TrimSuffix(r.Name+"="+r.Form, "="))
		}
		last := len(forms) - 1
		return Quirk{}, fmt.Errorf("must be %s or %s", strings.Join(forms[:last], ", "), forms[last])
	}
	if err := row.Check(value); err != nil {
		return Quirk{}, err
	}
	return Quirk{Name: name, Value: value}, nil
}

// ParseSetting is Parse for what is set with a sign-in: a quirk that anybody may Set, or one that is Over.
func ParseSetting(s string) (Quirk, error) {
	if name, ok := strings.CutSuffix(s, "="); ok && (Quirk{Name: name}).Over() {
		return Quirk{Name: name}, nil
	}
	q, err := Parse(s)
	if err == nil && !q.Is(Set) {
		err = errors.New("is not one to set beforehand")
	}
	return q, err
}

// Has reports whether one of the quirks has that name.
func Has(quirks []Quirk, name string) bool {
	return slices.ContainsFunc(quirks, func(q Quirk) bool { return q.Name == name })
}

// With is quirks with one more, in place of one of its name; one that is Over only takes that away.
func With(quirks []Quirk, q Quirk) []Quirk {
	quirks = Without(quirks, q.Name)
	if q.Over() {
		return quirks
	}
	return append(quirks, q)
}

// Without is quirks without the one of that name.
func Without(quirks []Quirk, name string) []Quirk {
	return slices.DeleteFunc(slices.Clone(quirks), func(q Quirk) bool { return q.Name == name })
}

// Finding is something that is wrong with a token.
type Finding struct {
	Name            string // of the check: "audience", "issuer", …
	Expected, Found string
	Signed          bool // the signature is that of the issuer the token came from
}

// Cures are the quirks that would let a token through in which all this is wrong. A wrong signature, an expired token or
// more scopes are no quirks: only to switch the checks off cures them.
func Cures(wrong []Finding) (quirks []Quirk) {
	for _, r := range rows {
		if r.cures == nil {
			continue
		}
		if value, ok := r.cures(wrong); ok {
			quirks = append(quirks, Quirk{Name: r.Name, Value: value})
		}
	}
	return quirks
}

func anything([]Finding) (string, bool) { return "", true }

// alone cures one thing that is wrong, if nothing else is.
func alone(cures func(Finding) (string, bool)) func([]Finding) (string, bool) {
	return func(wrong []Finding) (string, bool) {
		if len(wrong) != 1 {
			return "", false
		}
		return cures(wrong[0])
	}
}

func wrongAudience(f Finding) (string, bool) {
	first, _, _ := strings.Cut(f.Found, " ")
	return first, f.Name == "audience"
}

// otherIssuer takes another name only where a key of the issuer it came from vouches for it.
func otherIssuer(f Finding) (string, bool) {
	_, slash := issuerSlash(f)
	return f.Found, f.Name == "issuer" && !slash && f.Found != "" && f.Signed
}

func issuerSlash(f Finding) (string, bool) {
	return "", f.Name == "issuer" && SlashApart(f.Found, f.Expected)
}

// SlashApart reports whether two issuers differ in one slash at the end and in nothing else.
func SlashApart(a, b string) bool { return a+"/" == b || b+"/" == a }
