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

// Passed reports whether the check of that name was done and found nothing wrong.
func (c Check) Passed(name string) bool {
	return slices.ContainsFunc(c.Findings, func(f Finding) bool { return f.Name == name && f.Result == FindingPassed })
}
