package localapi

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Names of quirks: what an issuer or a server gets wrong and the person accepted for one server, or what they set for it
// beyond what its metadata says.
const (
	QuirkAudience     = "audience"      // tokens for Value, instead of the resource, are handed out; "" is a token that names nobody
	QuirkIssuer       = "issuer"        // tokens that name Value as their issuer are handed out, though another issued them
	QuirkIssuerSlash  = "issuer-slash"  // the issuer's name may differ in one slash at the end
	QuirkNoResource   = "no-resource"   // the resource is not sent to the issuer, so tokens are bound to no server
	QuirkPKCEUnlisted = "pkce-unlisted" // the issuer does not say that it checks PKCE
	QuirkUnchecked    = "unchecked"     // tokens are handed out whatever the checks say

	QuirkParameters = "parameters" // Value, a query, is added to what the issuer is asked for
	QuirkDPoP       = "dpop"       // tokens are bound to a key, although the server takes others
)

// quirkNames are all of them, and whether each has a Value.
var quirkNames = map[string]bool{
	QuirkAudience: true, QuirkIssuer: true, QuirkIssuerSlash: false, QuirkNoResource: false, QuirkPKCEUnlisted: false, QuirkUnchecked: false,
	QuirkParameters: true, QuirkDPoP: false,
}

// Quirk is one of them.
type Quirk struct {
	Name       string    `json:"name"`
	Value      string    `json:"value,omitempty"` // of QuirkAudience, QuirkIssuer and QuirkParameters
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

// Chosen reports whether q is something the person set, rather than something wrong that they accepted.
func (q Quirk) Chosen() bool { return q.Name == QuirkParameters || q.Name == QuirkDPoP }

// String is q as a policy file has it: its name, and its value behind "=".
func (q Quirk) String() string {
	if quirkNames[q.Name] {
		return q.Name + "=" + q.Value
	}
	return q.Name
}

// ParseQuirk reads what String writes.
func ParseQuirk(s string) (Quirk, error) {
	name, value, has := strings.Cut(s, "=")
	valued, known := quirkNames[name]
	if !known || has != valued {
		return Quirk{}, fmt.Errorf("must be %s=VALUE, %s=VALUE, %s, %s, %s, %s, %s=NAME=VALUE or %s", QuirkAudience, QuirkIssuer, QuirkIssuerSlash,
			QuirkNoResource, QuirkPKCEUnlisted, QuirkUnchecked, QuirkParameters, QuirkDPoP)
	}
	if name == QuirkParameters {
		if _, err := ParseParameters(value); err != nil {
			return Quirk{}, err
		}
	}
	return Quirk{Name: name, Value: value}, nil
}

// Meaning says what accepting or setting q means, in a sentence or two for the person.
func (q Quirk) Meaning() string {
	switch q.Name {
	case QuirkAudience:
		if q.Value == "" {
			return "Tokens that name no server are handed out. Whoever gets one may be able to use it at other servers of the same issuer."
		}
		return "Tokens made out to “" + q.Value + "” are handed out, although that is not this server's address. Whoever gets one may be able to use it wherever that name counts."
	case QuirkIssuer:
		return "Tokens that name “" + q.Value + "” as their issuer are handed out, although they come from another. They must still be signed with a key of the one they come from."
	case QuirkIssuerSlash:
		return "The issuer may write its own name with a slash more or less at the end. Everything else of the name must be the same."
	case QuirkNoResource:
		return "The issuer is not told which server a token is for, because it refuses to hear it. A token is then bound to no server: one that leaks may be good elsewhere."
	case QuirkPKCEUnlisted:
		return "PKCE keeps whoever intercepts the end of a sign-in from finishing it. Valet Key uses it here too, but this issuer does not say that it looks at it, as MCP demands."
	case QuirkUnchecked:
		return "Tokens are handed out whatever the checks say, even one that was made for another server or signed by nobody. The result is still shown."
	case QuirkParameters:
		return "When you sign in, the issuer is also sent “" + q.Value + "”. What that does is the issuer's own affair; its documentation says it."
	case QuirkDPoP:
		return "Tokens are bound to a key that stays in Valet Key (DPoP), so one that leaks is of no use. Programs use the server through Valet Key, or ask it for a proof with each request."
	}
	return "This program does not know what this means."
}

// Bounds of QuirkParameters.
const (
	maxParameters = 10
	maxParameter  = 512 // bytes, of a name or a value
)

// protocolParameters are those by which OAuth and OpenID Connect work: what Valet Key puts there is not for anybody to
// change, and what it leaves out would change who is asked for what, or where the answer goes.
var protocolParameters = []string{
	"acr_values", "actor_token", "actor_token_type", "assertion", "authorization_details", "claims", "client_assertion", "client_assertion_type",
	"client_id", "client_secret", "code", "code_challenge", "code_challenge_method", "code_verifier", "device_code", "dpop_jkt", "error",
	"grant_type", "id_token_hint", "iss", "max_age", "nonce", "password", "redirect_uri", "refresh_token", "registration", "request",
	"request_uri", "requested_token_type", "resource", "response_mode", "response_type", "scope", "state", "subject_token",
	"subject_token_type", "username",
}

// prompts are the values of OpenID Connect's prompt that may be added to ours. With "none" nobody would see a page.
var prompts = []string{"consent", "login", "select_account"}

// ParseParameters reads the value of QuirkParameters, which has the form of a query ("access_type=offline"). The error
// says what is wrong with it, as the end of a sentence.
func ParseParameters(value string) (url.Values, error) {
	parameters, err := url.ParseQuery(value)
	if err != nil {
		return nil, errors.New("cannot be read: names and values are written as in an address, NAME=VALUE&NAME=VALUE")
	}
	if len(parameters) == 0 || len(parameters) > maxParameters {
		return nil, fmt.Errorf("must hold between 1 and %d parameters", maxParameters)
	}
	for name, values := range parameters {
		switch {
		case name == "" || len(name) > maxParameter || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, errors.New("has a parameter whose name is empty, too long, or not plain letters")
		case slices.Contains(protocolParameters, name):
			return nil, fmt.Errorf("must not hold %s: Valet Key sets that itself", name)
		case len(values) > 1:
			return nil, fmt.Errorf("holds %s more than once", name)
		case values[0] == "" || len(values[0]) > maxParameter || strings.ContainsFunc(values[0], func(r rune) bool { return r < ' ' || r > '~' }):
			return nil, fmt.Errorf("has a value for %s that is empty, longer than %d characters, or not plain letters", name, maxParameter)
		case name == "prompt" && slices.ContainsFunc(strings.Fields(values[0]), func(p string) bool { return !slices.Contains(prompts, p) }):
			return nil, fmt.Errorf("has a prompt other than %s", strings.Join(prompts, ", "))
		}
	}
	return parameters, nil
}
