package localapi

import (
	"encoding/json"
	"testing"
	"time"
)

// TestTokenIsEncodedAsJSON: the short way writes what encoding/json would.
func TestTokenIsEncodedAsJSON(t *testing.T) {
	for name, w := range map[string]wireToken{
		"empty":       {},
		"all fields":  {"ey.J9-_~", "DPoP", "ey.J9.x", time.Date(2026, 11, 21, 21, 0, 0, 0, time.UTC), "a b:c", "https://mcp.example.com/mcp", "https://issuer.example.com", "work"},
		"a zone":      {ExpiresAt: time.Date(2026, 11, 21, 21, 0, 0, 123456000, time.FixedZone("", -5400))},
		"no expiry":   {AccessToken: "x", Account: "work"},
		"a quote":     {AccessToken: `x"`},
		"a backslash": {TokenType: `\`},
		"HTML":        {Scope: "<a> & b"},
		"a control":   {Resource: "a\x00\n\x7f"},
		"no ASCII":    {Issuer: "bücher \u2028 \xff", Account: "ärger"},
	} {
		got, err := w.encode()
		want, err2 := json.Marshal(w)
		if err != nil || err2 != nil || string(got) != string(want) {
			t.Errorf("%s: got  %s, %v\nwant %s, %v", name, got, err, want, err2)
		}
	}
	for _, year := range []int{-1, 10000} {
		if _, err := (wireToken{ExpiresAt: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}).encode(); err == nil {
			t.Errorf("the year %d was written", year)
		}
	}
}

func FuzzTokenIsEncodedAsJSON(f *testing.F) {
	f.Add("ey.J9", int64(1795300000), "a b", "wörk<")
	f.Fuzz(func(t *testing.T, token string, expires int64, scope, account string) {
		w := wireToken{AccessToken: token, ExpiresAt: time.Unix(expires, 0).UTC(), Scope: scope, Account: account}
		got, err := w.encode()
		want, err2 := json.Marshal(w)
		if (err == nil) != (err2 == nil) || string(got) != string(want) {
			t.Errorf("got  %s, %v\nwant %s, %v", got, err, want, err2)
		}
	})
}
