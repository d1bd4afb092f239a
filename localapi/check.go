package localapi

import (
	"slices"
	"time"
)

// Results of a Check.
const (
	CheckVerified = "verified" // all five passed
	CheckAccepted = "accepted" // what did not pass is a quirk that the person accepted
	CheckUnknown  = "unknown"  // nothing is wrong, but something could not be checked
	CheckOpaque   = "opaque"   // the token cannot be read
	CheckWrong    = "wrong"    // the token is refused, unless the person switched that off
)

// Names of the checks.
const (
	CheckSignature = "signature"
	CheckExpiry    = "expiry"
	CheckAudience  = "audience"
	CheckIssuer    = "issuer"
	CheckScope     = "scope"
)

// Results of a Finding.
const (
	FindingPassed   = "passed"
	FindingAccepted = "accepted" // it would have failed without a quirk
	FindingUnknown  = "unknown"
	FindingFailed   = "failed"
)

// Check is what was found when an access token was looked at before a host got it. It holds no secret.
type Check struct {
	Result   string    `json:"result"`
	At       time.Time `json:"at"`
	Findings []Finding `json:"findings,omitempty"` // all five; none of an opaque token
}

// Finding is the result of one check. What it quotes of the token is bounded and fit to show.
type Finding struct {
	Name     string `json:"name"`
	Result   string `json:"result"`
	Text     string `json:"text"` // a sentence
	Expected string `json:"expected,omitempty"`
	Found    string `json:"found,omitempty"`
}

// Failed are the findings that make c wrong.
func (c Check) Failed() []Finding {
	return slices.DeleteFunc(slices.Clone(c.Findings), func(f Finding) bool { return f.Result != FindingFailed })
}

// Names of quirks: what an issuer or a server gets wrong, and the person accepted for one server.
const (
	QuirkAudience    = "audience"     // tokens for Value, instead of the resource, are handed out; "" is a token that names nobody
	QuirkIssuerSlash = "issuer-slash" // the issuer's name may differ in one slash at the end
	QuirkNoResource  = "no-resource"  // the resource is not sent to the issuer, so tokens are bound to no server
	QuirkUnchecked   = "unchecked"    // tokens are handed out whatever the checks say
)

// Quirk is one of them.
type Quirk struct {
	Name       string    `json:"name"`
	Value      string    `json:"value,omitempty"` // of QuirkAudience
	AcceptedAt time.Time `json:"accepted_at,omitzero"`
}

// FindQuirk looks for the quirk of that name.
func FindQuirk(quirks []Quirk, name string) (Quirk, bool) {
	at := slices.IndexFunc(quirks, func(q Quirk) bool { return q.Name == name })
	if at < 0 {
		return Quirk{}, false
	}
	return quirks[at], true
}

// Meaning says what accepting q means, in a sentence or two for the person.
func (q Quirk) Meaning() string {
	switch q.Name {
	case QuirkAudience:
		if q.Value == "" {
			return "Tokens that name no server are handed out. Whoever gets one may be able to use it at other servers of the same issuer."
		}
		return "Tokens made out to “" + q.Value + "” are handed out, although that is not this server's address. Whoever gets one may be able to use it wherever that name counts."
	case QuirkIssuerSlash:
		return "The issuer may write its own name with a slash more or less at the end. Everything else of the name must be the same."
	case QuirkNoResource:
		return "The issuer is not told which server a token is for, because it refuses to hear it. A token is then bound to no server: one that leaks may be good elsewhere."
	case QuirkUnchecked:
		return "Tokens are handed out whatever the checks say, even one that was made for another server or signed by nobody. The result is still shown."
	}
	return "This program does not know what this means."
}
