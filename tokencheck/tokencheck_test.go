package tokencheck

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

const (
	resource = "https://mcp.example.com/mcp"
	issuerID = "https://issuer.example.com"
)

// pair is a private key under a name.
type pair struct {
	key any
	alg jose.SignatureAlgorithm
	kid string
}

func newPair(t testing.TB, alg jose.SignatureAlgorithm, kid string) pair {
	t.Helper()
	var key any
	var err error
	switch alg {
	case jose.RS256, jose.PS256:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case jose.HS256:
		key = []byte("0123456789abcdef0123456789abcdef")
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pair{key, alg, kid}
}

func (p pair) sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: p.alg, Key: jose.JSONWebKey{Key: p.key, KeyID: p.kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (p pair) public() jose.JSONWebKey {
	k := jose.JSONWebKey{Key: p.key, KeyID: p.kid, Algorithm: string(p.alg), Use: "sig"}
	return k.Public()
}

// published is a source of keys; asked counts, and the last set stays.
func published(t testing.TB, asked *int, sets ...any) func(context.Context, bool) ([]byte, error) {
	return func(_ context.Context, again bool) ([]byte, error) {
		if want := *asked > 0; again != want {
			t.Errorf("keys were asked for with again = %v at call %d", again, *asked)
		}
		set := sets[min(*asked, len(sets)-1)]
		*asked++
		if err, ok := set.(error); ok {
			return nil, err
		}
		return json.Marshal(map[string]any{"keys": set})
	}
}

func claims(change ...any) map[string]any {
	all := map[string]any{
		"iss": issuerID, "aud": resource, "exp": time.Now().Add(time.Hour).Unix(), "scope": "files:read", "sub": "alice",
	}
	for i := 0; i < len(change); i += 2 {
		if name := change[i].(string); change[i+1] == nil {
			delete(all, name)
		} else {
			all[name] = change[i+1]
		}
	}
	return all
}

func verdict(c localapi.Check, name string) string {
	for _, f := range c.Findings {
		if f.Name == name {
			return f.Result
		}
	}
	return "none"
}

func TestClaims(t *testing.T) {
	key := newPair(t, jose.ES256, "one")
	one := func(name, value string) []quirk.Quirk { return []quirk.Quirk{{Name: name, Value: value}} }
	now := time.Now()
	for name, tt := range map[string]struct {
		claims map[string]any
		quirks []quirk.Quirk
		scopes []string // asked for; files:read else
		check  string
		want   string // of the check
		result string // of all
	}{
		"as asked":                        {claims(), nil, nil, localapi.CheckAudience, "passed", "verified"},
		"one audience of several":         {claims("aud", []string{"account", resource}), nil, nil, localapi.CheckAudience, "passed", "verified"},
		"another audience":                {claims("aud", "https://other.example"), nil, nil, localapi.CheckAudience, "failed", "wrong"},
		"a prefix of the resource":        {claims("aud", "https://mcp.example.com"), nil, nil, localapi.CheckAudience, "failed", "wrong"},
		"a slash more":                    {claims("aud", resource+"/"), nil, nil, localapi.CheckAudience, "failed", "wrong"},
		"other capitals in the name":      {claims("aud", nil, "AUD", resource), nil, nil, localapi.CheckAudience, "failed", "wrong"},
		"no audience":                     {claims("aud", nil), nil, nil, localapi.CheckAudience, "failed", "wrong"},
		"an audience that is no text":     {claims("aud", 7), nil, nil, localapi.CheckAudience, "failed", "wrong"},
		"an accepted audience":            {claims("aud", "api://x"), one("audience", "api://x"), nil, localapi.CheckAudience, "accepted", "accepted"},
		"another than the accepted":       {claims("aud", "api://y"), one("audience", "api://x"), nil, localapi.CheckAudience, "failed", "wrong"},
		"accepted that there is none":     {claims("aud", nil), one("audience", ""), nil, localapi.CheckAudience, "accepted", "accepted"},
		"none accepted, but another":      {claims("aud", "api://x"), one("audience", ""), nil, localapi.CheckAudience, "failed", "wrong"},
		"unbound":                         {claims("aud", "account"), one("no-resource", ""), nil, localapi.CheckAudience, "accepted", "accepted"},
		"unchecked does not hide it":      {claims("aud", "account"), one("unchecked", ""), nil, localapi.CheckAudience, "failed", "wrong"},
		"another issuer":                  {claims("iss", "https://evil.example"), nil, nil, localapi.CheckIssuer, "failed", "wrong"},
		"an issuer with a slash":          {claims("iss", issuerID+"/"), nil, nil, localapi.CheckIssuer, "failed", "wrong"},
		"an accepted slash":               {claims("iss", issuerID+"/"), one("issuer-slash", ""), nil, localapi.CheckIssuer, "accepted", "accepted"},
		"an accepted other name":          {claims("iss", "https://example.com"), one("issuer", "https://example.com"), nil, localapi.CheckIssuer, "accepted", "accepted"},
		"another than the accepted name":  {claims("iss", "https://evil.example"), one("issuer", "https://example.com"), nil, localapi.CheckIssuer, "failed", "wrong"},
		"two slashes":                     {claims("iss", issuerID+"//"), one("issuer-slash", ""), nil, localapi.CheckIssuer, "failed", "wrong"},
		"an issuer in other capitals":     {claims("iss", strings.ToUpper(issuerID)), one("issuer-slash", ""), nil, localapi.CheckIssuer, "failed", "wrong"},
		"no issuer":                       {claims("iss", nil), nil, nil, localapi.CheckIssuer, "unknown", "unknown"},
		"an issuer that is no text":       {claims("iss", []string{issuerID}), nil, nil, localapi.CheckIssuer, "failed", "wrong"},
		"run out":                         {claims("exp", now.Add(-61*time.Second).Unix()), nil, nil, localapi.CheckExpiry, "failed", "wrong"},
		"run out within the skew":         {claims("exp", now.Add(-50*time.Second).Unix()), nil, nil, localapi.CheckExpiry, "passed", "verified"},
		"no end":                          {claims("exp", nil), nil, nil, localapi.CheckExpiry, "unknown", "unknown"},
		"an end that is no date":          {claims("exp", "soon"), nil, nil, localapi.CheckExpiry, "failed", "wrong"},
		"an end beyond all dates":         {claims("exp", 1e300), nil, nil, localapi.CheckExpiry, "failed", "wrong"},
		"an end with a fraction":          {claims("exp", float64(now.Unix())+3600.5), nil, nil, localapi.CheckExpiry, "passed", "verified"},
		"not yet valid":                   {claims("nbf", now.Add(2*time.Minute).Unix()), nil, nil, localapi.CheckExpiry, "failed", "wrong"},
		"valid in a moment":               {claims("nbf", now.Add(50*time.Second).Unix()), nil, nil, localapi.CheckExpiry, "passed", "verified"},
		"more scopes":                     {claims("scope", "files:read files:write"), nil, nil, localapi.CheckScope, "failed", "wrong"},
		"fewer scopes":                    {claims("scope", ""), nil, nil, localapi.CheckScope, "passed", "verified"},
		"offline_access, which we add":    {claims("scope", "files:read offline_access"), nil, nil, localapi.CheckScope, "passed", "verified"},
		"scopes in scp, as a list":        {claims("scope", nil, "scp", []string{"files:read"}), nil, nil, localapi.CheckScope, "passed", "verified"},
		"more scopes in scp":              {claims("scope", nil, "scp", []string{"files:read", "x"}), nil, nil, localapi.CheckScope, "failed", "wrong"},
		"more scopes in scp, as one text": {claims("scope", nil, "scp", "files:read x"), nil, nil, localapi.CheckScope, "failed", "wrong"},
		"no scopes said":                  {claims("scope", nil), nil, nil, localapi.CheckScope, "unknown", "unknown"},
		"none asked for":                  {claims("scope", "a b c"), nil, []string{}, localapi.CheckScope, "passed", "verified"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.scopes == nil {
				tt.scopes = []string{"files:read"}
			}
			asked := 0
			got := Check(t.Context(), secret.New(key.sign(t, tt.claims)), Want{
				Resource: resource, Issuer: issuerID, Scopes: tt.scopes, Accepted: quirk.Effects(tt.quirks), Keys: published(t, &asked, []any{key.public()}),
			})
			if v := verdict(got, tt.check); v != tt.want || got.Result != tt.result {
				t.Errorf("%s %s, in all %s; want %s, %s\n%+v", tt.check, v, got.Result, tt.want, tt.result, got)
			}
			if len(got.Findings) != 5 || verdict(got, localapi.CheckSignature) != localapi.FindingPassed {
				t.Errorf("%+v", got.Findings)
			}
		})
	}
}

func TestSignature(t *testing.T) {
	one, two, other := newPair(t, jose.ES256, "one"), newPair(t, jose.ES256, "two"), newPair(t, jose.ES256, "one")
	rsaKey, pss, ed, shared := newPair(t, jose.RS256, "r"), newPair(t, jose.PS256, "p"), newPair(t, jose.EdDSA, "e"), newPair(t, jose.HS256, "one")
	nameless := pair{one.key, jose.ES256, ""}
	encryption := one.public()
	encryption.Use = "enc"
	otherUse := rsaKey.public()
	otherUse.Algorithm = "PS256"
	symmetric := jose.JSONWebKey{Key: shared.key, KeyID: "one", Algorithm: "HS256"}
	private := jose.JSONWebKey{Key: one.key, KeyID: "one", Algorithm: "ES256"}
	good := one.sign(t, claims())
	parts := strings.Split(good, ".")
	forged := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+issuerID+`","aud":"`+resource+`"}`)) + "." + parts[2]
	header := func(h string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(h)) + "." + parts[1] + "."
	}
	embedded, err := json.Marshal(other.public())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		token string
		sets  []any
		want  string
		asked int
	}{
		"ES256":                            {good, []any{[]any{two.public(), one.public()}}, "passed", 1},
		"RS256":                            {rsaKey.sign(t, claims()), []any{[]any{rsaKey.public()}}, "passed", 1},
		"PS256":                            {pss.sign(t, claims()), []any{[]any{pss.public()}}, "passed", 1},
		"EdDSA":                            {ed.sign(t, claims()), []any{[]any{ed.public()}}, "passed", 1},
		"no key ID in the token":           {nameless.sign(t, claims()), []any{[]any{two.public(), one.public()}}, "passed", 1},
		"no key ID, no such key":           {nameless.sign(t, claims()), []any{[]any{two.public()}}, "failed", 2},
		"keys that cannot be read":         {good, []any{[]any{map[string]any{"kty": "new"}, 7, "x", one.public()}}, "passed", 1},
		"two keys of one ID":               {good, []any{[]any{other.public(), one.public()}}, "passed", 1},
		"a key that came since":            {good, []any{[]any{two.public()}, []any{two.public(), one.public()}}, "passed", 2},
		"a key nobody published":           {good, []any{[]any{two.public()}}, "failed", 2},
		"another key of that ID":           {good, []any{[]any{other.public()}}, "failed", 1},
		"a key for encryption":             {good, []any{[]any{encryption}}, "failed", 2},
		"a key of another algorithm":       {rsaKey.sign(t, claims()), []any{[]any{otherUse}}, "failed", 2},
		"a private key in the set":         {good, []any{[]any{private}}, "failed", 2},
		"no keys":                          {good, []any{[]any{}}, "failed", 2},
		"a set that is none":               {good, []any{"x"}, "failed", 2},
		"keys cannot be fetched":           {good, []any{errors.New("connection refused")}, "unknown", 1},
		"keys cannot be fetched again":     {good, []any{[]any{two.public()}, errors.New("connection refused")}, "unknown", 2},
		"other claims under the signature": {forged, []any{[]any{one.public()}}, "failed", 1},
		"no signature":                     {parts[0] + "." + parts[1] + ".", []any{[]any{one.public()}}, "failed", 1},
		"none":                             {header(`{"alg":"none"}`), []any{[]any{one.public()}}, "failed", 0},
		"NoNe":                             {header(`{"alg":"NoNe","kid":"one"}`), []any{[]any{one.public()}}, "failed", 0},
		"a shared secret":                  {shared.sign(t, claims()), []any{[]any{symmetric}}, "unknown", 0},
		"an unknown algorithm":             {header(`{"alg":"XX1"}`) + "AA", []any{[]any{one.public()}}, "unknown", 0},
		"a key the token brings":           {header(`{"alg":"ES256","kid":"one","jwk":`+string(embedded)+`}`) + strings.Split(other.sign(t, claims()), ".")[2], []any{[]any{one.public()}}, "failed", 1},
		"critical and unknown":             {header(`{"alg":"ES256","kid":"one","crit":["x"],"x":1}`) + parts[2], []any{[]any{one.public()}}, "failed", 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			got := Check(t.Context(), secret.New(tt.token), Want{Resource: resource, Issuer: issuerID, Keys: published(t, &asked, tt.sets...)})
			if v := verdict(got, localapi.CheckSignature); v != tt.want || asked != tt.asked {
				t.Errorf("%s after asking for keys %d times, want %s, %d: %+v", v, asked, tt.want, tt.asked, got)
			}
		})
	}
}

// TestSharedSecretOfPublicKey signs with the text of a public key as if it were a secret: the confusion of RFC 8725 §2.1.
func TestSharedSecretOfPublicKey(t *testing.T) {
	one := newPair(t, jose.ES256, "one")
	public, err := json.Marshal(one.public())
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	token := pair{public, jose.HS256, "one"}.sign(t, claims())
	got := Check(t.Context(), secret.New(token), Want{Resource: resource, Issuer: issuerID, Keys: published(t, &asked, []any{one.public()})})
	if got.Result == localapi.CheckVerified || verdict(got, localapi.CheckSignature) != localapi.FindingUnknown {
		t.Errorf("%+v", got)
	}
}

func TestCannotBeRead(t *testing.T) {
	good := newPair(t, jose.ES256, "one").sign(t, claims())
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"opaque":                  "2YotnFZFEjr1zCsicMWpAA",
		"empty":                   "",
		"dots":                    "..",
		"encrypted":               "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a.b.c.d",
		"two parts":               parts[0] + "." + parts[1],
		"no header":               "x." + parts[1] + "." + parts[2],
		"no claims":               parts[0] + ".x." + parts[2],
		"claims that are a list":  parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`[1]`)) + "." + parts[2],
		"claims that are nothing": parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`null`)) + "." + parts[2],
		"a header without alg":    base64.RawURLEncoding.EncodeToString([]byte(`{}`)) + "." + parts[1] + "." + parts[2],
		"too long":                parts[0] + "." + parts[1] + "." + strings.Repeat("A", maxToken),
	} {
		got := Check(t.Context(), secret.New(token), Want{Resource: resource, Issuer: issuerID, Keys: func(context.Context, bool) ([]byte, error) {
			t.Errorf("%s: keys were fetched", name)
			return nil, nil
		}})
		if got.Result != localapi.CheckOpaque || got.Findings != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestQuotes: what a token says of itself is bounded, one line, and without what steers a terminal.
func TestQuotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newPair(t, jose.ES256, "one")
		token := key.sign(t, claims("aud", strings.Repeat("a", 5000), "iss", "x\u202e\x1b[31m\ny", "sub", "a person"))
		asked := 0
		got := Check(t.Context(), secret.New(token), Want{Resource: resource, Issuer: issuerID, Keys: published(t, &asked, []any{key.public()})})
		said := fmt.Sprintf("%+v", got)
		for _, never := range []string{token, strings.Split(token, ".")[1], "\u202e", "\x1b", "a person", strings.Repeat("a", maxWords+1)} {
			if strings.Contains(said, never) {
				t.Errorf("it says %q:\n%s", never, said)
			}
		}
		if !got.At.Equal(time.Now()) {
			t.Error(got.At)
		}
	})
}

func FuzzCheck(f *testing.F) {
	key := newPair(f, jose.ES256, "one")
	other := newPair(f, jose.ES256, "one")
	set, err := json.Marshal(map[string]any{"keys": []any{key.public()}})
	if err != nil {
		f.Fatal(err)
	}
	good := key.sign(f, claims())
	f.Add(good, set)
	f.Add(other.sign(f, claims("aud", []string{"a", "b"})), set)
	f.Add("eyJhbGciOiJub25lIn0.e30.", []byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Add("a.b.c", []byte(`{"keys":[null,{}]}`))
	f.Add("", []byte(`[`))
	f.Fuzz(func(t *testing.T, token string, keys []byte) {
		got := Check(t.Context(), secret.New(token), Want{
			Resource: resource, Issuer: issuerID, Scopes: []string{"files:read"},
			Keys: func(context.Context, bool) ([]byte, error) { return keys, nil },
		})
		if string(keys) == string(set) && got.Result == localapi.CheckVerified && !strings.HasPrefix(token, good[:strings.LastIndex(good, ".")+1]) {
			t.Errorf("a token that the issuer did not sign is verified: %s", token)
		}
		if got.Result != localapi.CheckOpaque && len(got.Findings) != 5 {
			t.Errorf("%d findings", len(got.Findings))
		}
		for _, finding := range got.Findings {
			if finding.Text == "" || finding.Result == "" || len([]rune(finding.Found)) > maxWords {
				t.Errorf("%+v", finding)
			}
		}
	})
}
