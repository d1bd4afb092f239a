package localapi

import (
	"strings"
	"testing"
)

func TestParseQuirk(t *testing.T) {
	for _, s := range []string{"audience=api://x", "audience=", "issuer=https://env.example", "issuer-slash", "no-resource", "pkce-unlisted", "unchecked", "dpop", "parameters=access_type=offline&prompt=consent"} {
		q, err := ParseQuirk(s)
		if err != nil || q.String() != s || q.Meaning() == (Quirk{}).Meaning() {
			t.Errorf("%q: %+v, %v, %q", s, q, err, q.Meaning())
		}
	}
	for s, words := range map[string]string{
		"":                               "must be audience=VALUE",
		"audience":                       "must be audience=VALUE",
		"unchecked=1":                    "must be audience=VALUE",
		"parameters":                     "must be audience=VALUE",
		"parameters=":                    "between 1 and 10",
		"parameters=a=%zz":               "cannot be read",
		"parameters=a=1&a=2":             "more than once",
		"parameters=a=":                  "value for a",
		"parameters=%0a=b":               "name is empty",
		"parameters=a=b%0a":              "value for a",
		"parameters=prompt=none":         "prompt other than",
		"parameters=prompt=consent+none": "prompt other than",
		"parameters=a=" + strings.Repeat("x", 600): "longer than 512",
	} {
		if _, err := ParseQuirk(s); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, want %q", s, err, words)
		}
	}
	for _, name := range []string{"redirect_uri", "state", "scope", "resource", "code_challenge", "client_id", "response_mode", "request_uri", "nonce", "authorization_details"} {
		if _, err := ParseParameters(name + "=x"); err == nil {
			t.Errorf("%s may be set", name)
		}
	}
}
