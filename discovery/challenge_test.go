package discovery

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

type params = map[string]string

func TestParseChallenges(t *testing.T) {
	const at = "https://mcp.example.com/.well-known/oauth-protected-resource"
	tests := []struct {
		name   string
		fields []string
		want   []Challenge
	}{
		{"none", nil, nil},
		{"empty", []string{"", " , ,"}, nil},
		{"scheme alone", []string{"Bearer"}, []Challenge{{"bearer", nil}}},
		{"one", []string{`Bearer resource_metadata="` + at + `"`}, []Challenge{{"bearer", params{"resource_metadata": at}}}},
		{"any case", []string{`BEARER Resource_METADATA="` + at + `"`}, []Challenge{{"bearer", params{"resource_metadata": at}}}},
		{"several parameters", []string{`Bearer realm="a", error=invalid_token , scope="b c"`},
			[]Challenge{{"bearer", params{"realm": "a", "error": "invalid_token", "scope": "b c"}}}},
		{"several fields", []string{`Basic realm="x"`, `Bearer scope="a"`},
			[]Challenge{{"basic", params{"realm": "x"}}, {"bearer", params{"scope": "a"}}}},
		{"several in one field", []string{`Basic realm="x", Bearer scope="a", error="e", DPoP algs="ES256"`},
			[]Challenge{{"basic", params{"realm": "x"}}, {"bearer", params{"scope": "a", "error": "e"}}, {"dpop", params{"algs": "ES256"}}}},
		{"comma and scheme inside quotes", []string{`Bearer realm="a, Basic b=\"c\"", scope=d`},
			[]Challenge{{"bearer", params{"realm": `a, Basic b="c"`, "scope": "d"}}}},
		{"escapes", []string{`Bearer realm="a\\b\"c\d"`}, []Challenge{{"bearer", params{"realm": `a\b"cd`}}}},
		{"white space around =", []string{"Bearer realm =\t\"a\" , scope= b"}, []Challenge{{"bearer", params{"realm": "a", "scope": "b"}}}},
		{"empty list elements", []string{`,, Bearer , , scope="a",,Basic,`}, []Challenge{{"bearer", params{"scope": "a"}}, {"basic", nil}}},
		{"token68", []string{`Negotiate YII/+a.b-~_==, Bearer scope="a"`}, []Challenge{{"negotiate", nil}, {"bearer", params{"scope": "a"}}}},
		{"token68 without padding", []string{`NTLM TlRMTVNTUAAC, Bearer scope=a`}, []Challenge{{"ntlm", nil}, {"bearer", params{"scope": "a"}}}},
		{"two schemes without parameters", []string{`Negotiate, NTLM, Bearer`}, []Challenge{{"negotiate", nil}, {"ntlm", nil}, {"bearer", nil}}},
		{"RFC 9110 example", []string{`Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\""`},
			[]Challenge{{"basic", params{"realm": "simple"}}, {"newauth", params{"realm": "apps", "type": "1", "title": `Login to "apps"`}}}},
		{"DPoP alone", []string{`DPoP resource_metadata="` + at + `", algs="ES256 PS256"`},
			[]Challenge{{"dpop", params{"resource_metadata": at, "algs": "ES256 PS256"}}}},
		{"the first of two counts", []string{`Bearer scope="a", SCOPE="b"`}, []Challenge{{"bearer", params{"scope": "a"}}}},
		{"bytes above ASCII", []string{"Bearer realm=\"caf\xe9 \u00e9\""}, []Challenge{{"bearer", params{"realm": "caf\xe9 \u00e9"}}}},

		{"unquoted URL", []string{`Bearer resource_metadata=` + at + `, scope="a"`}, []Challenge{{"bearer", params{"resource_metadata": at, "scope": "a"}}}},
		{"no comma between parameters", []string{`Bearer realm="r" resource_metadata="` + at + `"`},
			[]Challenge{{"bearer", params{"realm": "r", "resource_metadata": at}}}},
		{"unquoted words", []string{`Bearer error_description=no such token, scope="a"`},
			[]Challenge{{"bearer", params{"error_description": "no", "scope": "a"}}}},
		{"parameter without value", []string{`Bearer realm=, scope="a"`, `Basic a=b, realm=`},
			[]Challenge{{"bearer", params{"scope": "a"}}, {"basic", params{"a": "b"}}}},
		{"parameters without scheme", []string{`realm="x", scope="a"`, `Bearer scope="b"`}, []Challenge{{"bearer", params{"scope": "b"}}}},
		{"junk before", []string{`@@ "x, y" Bearer z="1", Bearer scope="a"`}, []Challenge{{"bearer", params{"scope": "a"}}}},
		{"junk between", []string{`Basic realm="x", ;;;, Bearer scope="a"`}, []Challenge{{"basic", params{"realm": "x"}}, {"bearer", params{"scope": "a"}}}},
		{"junk after a value", []string{`Bearer realm="x"y"z", scope="a"`, `Basic realm=b`},
			[]Challenge{{"bearer", params{"realm": "x", "scope": "a"}}, {"basic", params{"realm": "b"}}}},
		{"quote without end", []string{`Basic a=b, Bearer scope="a`, `DPoP scope="b"`},
			[]Challenge{{"basic", params{"a": "b"}}, {"bearer", nil}, {"dpop", params{"scope": "b"}}}},
		{"escape at the end", []string{`Bearer scope="a\`}, []Challenge{{"bearer", nil}}},
		{"control characters", []string{"Bearer realm=\"a\x1bb\", scope=\"c\"", "Bearer x=a\x07b"},
			[]Challenge{{"bearer", params{"scope": "c"}}, {"bearer", params{"x": "a"}}}},
		{"scheme that is no token", []string{`Bea(rer scope="a", Basic realm="x"`}, []Challenge{{"basic", params{"realm": "x"}}}},
		{"too long a field", []string{`Bearer realm="` + strings.Repeat("a", maxField) + `"`, `Basic`}, []Challenge{{"basic", nil}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseChallenges(tt.fields); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("ParseChallenges(%q)\n got %#v\nwant %#v", tt.fields, got, tt.want)
			}
		})
	}
	if n := len(ParseChallenges([]string{strings.Repeat("a,", 1000), "b"})); n != maxChallenges {
		t.Errorf("%d challenges, want the bound %d", n, maxChallenges)
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "p%d=v,", i)
	}
	if n := len(ParseChallenges([]string{"Bearer " + many.String()})[0].params); n != maxParams {
		t.Errorf("%d parameters, want the bound %d", n, maxParams)
	}
}

func TestChallengeScopes(t *testing.T) {
	for in, want := range map[string][]string{
		"":                    nil,
		"  ":                  nil,
		"a":                   {"a"},
		" b  a b A":           {"b", "a", "A"},
		"files:read x/y.z":    {"files:read", "x/y.z"},
		"ok q\"uote back\\ é": {"ok"},
	} {
		if got := (Challenge{params: params{"scope": in}}).Scopes(); !slices.Equal(got, want) {
			t.Errorf("scope %q: %q, want %q", in, got, want)
		}
	}
	if c := (Challenge{}); c.Scopes() != nil || c.Code() != "" || c.ResourceMetadata() != "" {
		t.Errorf("the empty challenge says %q %q %q", c.Scopes(), c.Code(), c.ResourceMetadata())
	}
}

// CHL-12: what does not fit a URL of ours is left out, and the rest is asked for all the same.
func TestReauthentication(t *testing.T) {
	for in, want := range map[string][3]string{
		`Bearer error="insufficient_user_authentication", acr_values="gold silver", max_age=5`:           {"gold silver", "5", "true"},
		`Bearer error="insufficient_user_authentication"`:                                                {"", "", "true"},
		`Bearer error="insufficient_user_authentication", acr_values="` + strings.Repeat("x", 501) + `"`: {"", "", "true"},
		`Bearer error="insufficient_user_authentication", acr_values="caf\xe9", max_age="-1"`:            {"", "", "true"},
		`Bearer error="insufficient_user_authentication", max_age="9999999999"`:                          {"", "", "true"},
		`Bearer error="invalid_token", acr_values="gold", max_age=5`:                                     {"", "", "false"},
		`Bearer acr_values="gold"`: {"", "", "false"},
	} {
		acr, age, ok := ParseChallenges([]string{strings.ReplaceAll(in, `\xe9`, "\xe9")})[0].Reauthentication()
		if got := [3]string{acr, age, fmt.Sprint(ok)}; got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

// format writes challenges as RFC 9110 §11.6.1 does.
func format(challenges []Challenge) string {
	var all []string
	for _, c := range challenges {
		s := c.Scheme
		for i, name := range slices.Sorted(maps.Keys(c.params)) {
			sep := ", "
			if i == 0 {
				sep = " "
			}
			s += sep + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.params[name]) + `"`
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func FuzzParseChallenges(f *testing.F) {
	for _, s := range []string{
		`Bearer resource_metadata="https://a.example/x", scope="a b"`, `Basic realm="a\"b", Negotiate abc==, DPoP algs=ES256`,
		`Bearer a=`, `a b c, d=e f="`, `,,=,"`, "Bearer realm =\t\"a\" b=c", "NTLM TlRM=, x=\x00",
	} {
		f.Add(s, "")
		f.Add("Basic", s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		got := ParseChallenges([]string{a, b})
		for _, c := range got {
			if c.Scheme == "" || c.Scheme != strings.ToLower(c.Scheme) || strings.ContainsFunc(c.Scheme, func(r rune) bool { return r > 0x7e || !isToken(byte(r)) }) {
				t.Errorf("scheme %q", c.Scheme)
			}
			for name, value := range c.params {
				if name != strings.ToLower(name) || value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' }) {
					t.Errorf("parameter %q = %q", name, value)
				}
			}
			for _, s := range c.Scopes() {
				if strings.ContainsAny(s, " \"\\") {
					t.Errorf("scope %q", s)
				}
			}
		}
		// A field of its own stays as it is, whatever stands in its neighbour.
		if len(a) < 1000 && len(got) < maxChallenges {
			if after := ParseChallenges([]string{a, `Bearer scope="z"`}); after[len(after)-1].params["scope"] != "z" {
				t.Errorf("%q hides the field after it", a)
			}
		}
		if again := format(got); len(again) <= maxField {
			if twice := ParseChallenges([]string{again}); !reflect.DeepEqual(twice, got) && len(got) > 0 {
				t.Errorf("%q\n reads %#v\n written %q\n reads %#v", []string{a, b}, got, again, twice)
			}
		}
	})
}
