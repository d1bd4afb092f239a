// Package tokencheck looks whether an access token is what was asked for, before a host gets it: the five checks of
// signature, expiry, audience, issuer and scope.
//
// To a client a token is opaque (RFC 6749 §1.4, RFC 9068 §6), and nothing else in the program reads one. This is a guard
// and no dependence: a token that cannot be read passes, and the person can have any other passed too.
package tokencheck

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

const (
	skew     = 60 * time.Second // between the issuer's clock and ours
	maxToken = 64 << 10         // bytes of a token that is read
	maxWords = 300              // characters of a claim that are shown
	maxList  = 100              // entries of a claim that are shown or compared
)

// Want is what a token should be.
type Want struct {
	Resource string
	Issuer   string
	Scopes   []string     // what was asked for; none: the issuer was left to choose
	Accepted quirk.Effect // at this server

	// Keys gives the issuer's JSON Web Key Set; again says that a key was missing from the last one.
	Keys func(ctx context.Context, again bool) ([]byte, error)
}

// Check reads the token and compares it with want. What the answer quotes of the token is bounded and fit to show; the
// token itself is in none of it.
func Check(ctx context.Context, token secret.Text, want Want) localapi.Check {
	out := localapi.Check{Result: localapi.CheckOpaque, At: time.Now()}
	j, ok := read(token.Reveal())
	if !ok {
		return out
	}
	out.Findings = []localapi.Finding{
		j.signature(ctx, want), j.expiry(out.At), j.audience(want), j.issuer(want), j.scope(want),
	}
	out.Result = overall(out.Findings)
	return out
}

// overall is the worst of the findings.
func overall(findings []localapi.Finding) string {
	result := localapi.CheckVerified
	for _, f := range findings {
		switch f.Result {
		case localapi.FindingFailed:
			return localapi.CheckWrong
		case localapi.FindingUnknown:
			result = localapi.CheckUnknown
		case localapi.FindingAccepted:
			if result == localapi.CheckVerified {
				result = localapi.CheckAccepted
			}
		}
	}
	return result
}

// jwt is a token that can be read: a signed JWT in its compact form (RFC 7519, RFC 7515 §3.1).
type jwt struct {
	raw      string
	alg, kid string
	claims   object
}

// object is a JSON object whose members are read by exact name.
type object map[string]json.RawMessage

// read takes a token apart. Anything but a JWT that is signed and not encrypted cannot be read.
func read(token string) (*jwt, bool) {
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 {
		return nil, false
	}
	header, okHeader := decode(parts[0])
	claims, okClaims := decode(parts[1])
	alg, okAlg := header.text("alg")
	if !okHeader || !okClaims || !okAlg {
		return nil, false
	}
	kid, _ := header.text("kid")
	return &jwt{raw: token, alg: alg, kid: kid, claims: claims}, true
}

func decode(part string) (object, bool) {
	b, err := base64.RawURLEncoding.DecodeString(part)
	var o object
	if err != nil || json.Unmarshal(b, &o) != nil || o == nil {
		return nil, false
	}
	return o, true
}

// text reads a string; false when it is absent or something else.
func (o object) text(name string) (string, bool) {
	var s *string
	if json.Unmarshal(o[name], &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// list reads a list of strings, or one string as a list of one; false when it is absent or something else.
func (o object) list(name string) ([]string, bool) {
	if s, ok := o.text(name); ok {
		return []string{s}, true
	}
	var list []string
	if json.Unmarshal(o[name], &list) != nil || list == nil || len(list) > maxList {
		return nil, false
	}
	return list, true
}

// moment reads a NumericDate (RFC 7519 §2); false when it is absent or none.
func (o object) moment(name string) (time.Time, bool) {
	var n *float64
	const latest = 1 << 37 // seconds: beyond every calendar, within what time.Time can tell
	if json.Unmarshal(o[name], &n) != nil || n == nil || math.Abs(*n) > latest {
		return time.Time{}, false
	}
	return time.Unix(int64(*n), 0), true
}

func (o object) has(name string) bool { return o[name] != nil && string(o[name]) != "null" }

func shown(s string) string { return untrusted.Text(s, maxWords) }

func listed(list []string) string { return shown(strings.Join(list, " ")) }

// expiry compares exp and nbf with our clock.
func (j *jwt) expiry(now time.Time) localapi.Finding {
	f := localapi.Finding{Name: localapi.CheckExpiry, Result: localapi.FindingPassed, Expected: "later than " + now.UTC().Format(time.RFC3339)}
	exp, ok := j.claims.moment("exp")
	from, later := j.claims.moment("nbf")
	switch {
	case !j.claims.has("exp"):
		f.Result, f.Text = localapi.FindingUnknown, "The token does not say when it ends."
		return f
	case !ok:
		f.Result, f.Text = localapi.FindingFailed, "The token's end is no date."
		return f
	}
	f.Found = exp.UTC().Format(time.RFC3339)
	switch {
	case !now.Before(exp.Add(skew)):
		f.Result, f.Text = localapi.FindingFailed, "The token has run out."
	case later && now.Add(skew).Before(from):
		f.Result, f.Text = localapi.FindingFailed, "The token is not valid yet."
		f.Expected, f.Found = "valid from "+now.UTC().Format(time.RFC3339), "valid from "+from.UTC().Format(time.RFC3339)
	default:
		f.Text = "The token is valid now."
	}
	return f
}

// audience looks whether the token is for the resource (RFC 9068 §4, RFC 8707 §2).
func (j *jwt) audience(want Want) localapi.Finding {
	f := localapi.Finding{Name: localapi.CheckAudience, Expected: want.Resource}
	list, _ := j.claims.list("aud")
	f.Found = listed(list)
	switch {
	case slices.Contains(list, want.Resource):
		f.Result, f.Text = localapi.FindingPassed, "The token is for this server."
	case slices.ContainsFunc(want.Accepted.Audiences, func(other string) bool { return slices.Contains(list, other) || other == "" && len(list) == 0 }):
		f.Result, f.Text = localapi.FindingAccepted, "The token is not made out to this server, and you accepted that."
	case want.Accepted.Unbound:
		f.Result, f.Text = localapi.FindingAccepted, "The token is bound to no server: its issuer refuses to do that, and you accepted it."
	case len(list) == 0:
		f.Result, f.Text = localapi.FindingFailed, "The token does not say which server it is for."
	default:
		f.Result, f.Text = localapi.FindingFailed, "The token is for another server."
	}
	return f
}

// issuer compares iss with the issuer the token came from, byte for byte.
func (j *jwt) issuer(want Want) localapi.Finding {
	f := localapi.Finding{Name: localapi.CheckIssuer, Expected: want.Issuer}
	iss, ok := j.claims.text("iss")
	f.Found = shown(iss)
	switch {
	case !j.claims.has("iss"):
		f.Result, f.Text = localapi.FindingUnknown, "The token does not say who issued it."
	case ok && iss == want.Issuer:
		f.Result, f.Text = localapi.FindingPassed, "The token names the issuer it came from."
	case ok && want.Accepted.Slash && quirk.SlashApart(iss, want.Issuer):
		f.Result, f.Text = localapi.FindingAccepted, "The token names its issuer with a slash more or less at the end, and you accepted that."
	case ok && slices.Contains(want.Accepted.Issuers, iss):
		f.Result, f.Text = localapi.FindingAccepted, "The token names another issuer than the one it came from, and you accepted that."
	default:
		f.Result, f.Text = localapi.FindingFailed, "The token names another issuer than the one it came from."
	}
	return f
}

// scope looks whether the token can do more than was asked for. RFC 9068 §2.2.3 calls the claim scope; some issuers
// write scp.
func (j *jwt) scope(want Want) localapi.Finding {
	f := localapi.Finding{Name: localapi.CheckScope, Result: localapi.FindingPassed, Expected: listed(want.Scopes)}
	var list []string
	ok := false
	for _, name := range []string{"scope", "scp"} {
		if list, ok = j.claims.list(name); ok {
			break
		}
	}
	if !ok {
		f.Result, f.Text = localapi.FindingUnknown, "The token does not say which scopes it has."
		return f
	}
	list = strings.Fields(strings.Join(list, " "))
	f.Found = listed(list)
	if len(want.Scopes) == 0 {
		f.Text = "No scope was asked for by name, so the issuer chose."
		return f
	}
	more := slices.DeleteFunc(list, func(s string) bool { return slices.Contains(want.Scopes, s) || s == "offline_access" })
	if f.Text = "The token has no scope that was not asked for."; len(more) > 0 {
		f.Result, f.Text = localapi.FindingFailed, fmt.Sprintf("The token has scopes that were not asked for: %s.", listed(more))
	}
	return f
}
