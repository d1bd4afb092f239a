package localapi

import (
	"encoding/json"
	"time"
)

// encode writes the token as encoding/json does, byte for byte, in a fraction of the time: of all answers this is the
// one that hosts ask for all day. What needs more than copying is left to encoding/json.
func (w wireToken) encode() ([]byte, error) {
	for _, s := range [...]string{w.AccessToken, w.TokenType, w.DPoP, w.Scope, w.Resource, w.Issuer, w.Account} {
		if !plain(s) {
			return json.Marshal(w)
		}
	}
	proof, expires := "", ""
	if w.DPoP != "" {
		proof = `,"dpop":"` + w.DPoP + `"`
	}
	if !w.ExpiresAt.IsZero() {
		if year := w.ExpiresAt.Year(); year < 0 || year > 9999 {
			return json.Marshal(w) // which says what is wrong
		}
		expires = `,"expires_at":"` + w.ExpiresAt.Format(time.RFC3339Nano) + `"`
	}
	return []byte(`{"access_token":"` + w.AccessToken + `","token_type":"` + w.TokenType + `"` + proof + expires +
		`,"scope":"` + w.Scope + `","resource":"` + w.Resource + `","issuer":"` + w.Issuer + `","account":"` + w.Account + `"}`), nil
}

// plain reports whether encoding/json writes s as it is.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}
