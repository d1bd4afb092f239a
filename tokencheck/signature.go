package tokencheck

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/valetkey/valetkey/localapi"
)

// asymmetric are the algorithms that a signature is verified with. Among them is none that takes a shared secret: with
// one of those, whoever can read the issuer's public keys could sign (RFC 8725 §3.1).
var asymmetric = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

const maxKeys = 100 // of one issuer that are looked at

// signature verifies j with the issuer's published keys, and with nothing that the token itself brings.
func (j *jwt) signature(ctx context.Context, want Want) localapi.Finding {
	f := localapi.Finding{Name: localapi.CheckSignature, Expected: "a key of " + shown(want.Issuer), Found: strings.TrimSpace(shown(j.alg + " " + j.kid))}
	unknown := func(text string) localapi.Finding {
		f.Result, f.Text = localapi.FindingUnknown, text
		return f
	}
	failed := func(text string) localapi.Finding {
		f.Result, f.Text = localapi.FindingFailed, text
		return f
	}
	if strings.EqualFold(j.alg, "none") {
		return failed("The token is not signed.")
	}
	signed, err := jose.ParseSignedCompact(j.raw, asymmetric)
	switch {
	case strings.HasPrefix(j.alg, "HS"):
		return unknown("The signature cannot be checked: it is made with a secret that only the issuer and the server have.")
	case err != nil:
		return unknown("The signature cannot be checked: it is of a kind that Valet Key does not know.")
	}
	for _, again := range []bool{false, true} {
		set, err := want.Keys(ctx, again)
		if err != nil {
			return unknown("The signature cannot be checked: the issuer's keys could not be fetched (" + shown(err.Error()) + ").")
		}
		keys := j.candidates(set)
		for _, key := range keys {
			if _, err := signed.Verify(key.Key); err == nil {
				f.Result, f.Text = localapi.FindingPassed, "The token is signed by its issuer."
				return f
			}
		}
		if len(keys) > 0 && j.kid != "" {
			return failed("The signature is wrong: the issuer did not sign this token, or it was changed.")
		}
	}
	return failed("The token is signed with a key that its issuer does not publish.")
}

// candidates are the keys of set that may have signed j: public, for signatures, of its kid and algorithm. Keys that
// cannot be read are passed over (RFC 7517 §5).
func (j *jwt) candidates(set []byte) []jose.JSONWebKey {
	var all struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(set, &all) != nil {
		return nil
	}
	var out []jose.JSONWebKey
	for _, raw := range all.Keys[:min(len(all.Keys), maxKeys)] {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || !key.IsPublic() || !key.Valid() {
			continue
		}
		if (j.kid == "" || key.KeyID == j.kid) && (key.Use == "" || key.Use == "sig") && (key.Algorithm == "" || key.Algorithm == j.alg) {
			out = append(out, key)
		}
	}
	return out
}
