package quirk

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, s := range []string{"audience=api://x", "audience=", "issuer=https://env.example", "issuer-slash", "no-resource", "pkce-unlisted", "unchecked", "dpop", "parameters=access_type=offline&prompt=consent"} {
		q, err := Parse(s)
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
		if _, err := Parse(s); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, want %q", s, err, words)
		}
	}
	for _, name := range []string{"redirect_uri", "state", "scope", "resource", "code_challenge", "client_id", "response_mode", "request_uri", "nonce", "authorization_details"} {
		if _, err := parseParameters(name + "=x"); err == nil {
			t.Errorf("%s may be set", name)
		}
	}
}

// TestRows: each row has its texts and an effect of its own, and there are no texts without a row.
func TestRows(t *testing.T) {
	if len(texts) != len(rows) {
		t.Errorf("%d texts for %d rows", len(texts), len(rows))
	}
	flags := map[string]bool{}
	for _, r := range rows {
		q := Quirk{Name: r.Name, Value: "a=b"}
		if reflect.DeepEqual(Effects([]Quirk{q}), Effect{}) {
			t.Errorf("%s has no effect", r.Name)
		}
		if q.Meaning() == notKnown || strings.Contains(q.Meaning(), "{") || (r.Form != "") != strings.Contains(q.Meaning(), "a=b") {
			t.Errorf("%s means %q", r.Name, q.Meaning())
		}
		words := r.Setting()
		if (r.Who != Asked) != (words.Label != "" && words.Off != "" && words.Action != "" && words.Busy != "") {
			t.Errorf("%s: a row on the server's page: %+v", r.Name, words)
		}
		if (r.Who == Set) != (words.Flag != "" && words.Usage != "") || flags[words.Flag] && words.Flag != "" {
			t.Errorf("%s: a flag of vk: %+v", r.Name, words)
		}
		flags[words.Flag] = true
		if r.Form != "" && r.Who != Asked && (words.Example == "" || words.Help == "" || words.Hint == "" || words.Over == "" || r.Check(words.Example) != nil) {
			t.Errorf("%s: a value: %+v", r.Name, words)
		}
		if (words.Sure == "") != (words.SureAction == "") || r.Who == Switched && words.Sure == "" {
			t.Errorf("%s is switched without a question: %+v", r.Name, words)
		}
	}
	if q := (Quirk{Name: "of tomorrow", Value: "x"}); q.Meaning() != notKnown || q.Title() != wrongTokens || q.String() != q.Name || q.Is(Asked) || !reflect.DeepEqual(Effects([]Quirk{q}), Effect{}) {
		t.Errorf("a quirk of a newer program: %q", q.Meaning())
	}
}

func TestCures(t *testing.T) {
	const issuer = "https://issuer.example.com"
	for name, c := range map[string]struct {
		wrong []Finding
		want  string // besides unchecked
	}{
		"audience":              {[]Finding{{Name: "audience", Expected: "r", Found: "api://x api://y"}}, "audience=api://x"},
		"no audience":           {[]Finding{{Name: "audience", Expected: "r"}}, "audience="},
		"a slash":               {[]Finding{{Name: "issuer", Expected: issuer, Found: issuer + "/"}}, "issuer-slash"},
		"another issuer":        {[]Finding{{Name: "issuer", Expected: issuer, Found: "https://x", Signed: true}}, "issuer=https://x"},
		"nobody vouches for it": {[]Finding{{Name: "issuer", Expected: issuer, Found: "https://x"}}, ""},
		"no issuer":             {[]Finding{{Name: "issuer", Expected: issuer, Signed: true}}, ""},
		"signature":             {[]Finding{{Name: "signature"}}, ""},
		"two things":            {[]Finding{{Name: "audience", Found: "x"}, {Name: "issuer", Found: "y", Signed: true}}, ""},
	} {
		cures := Cures(c.wrong)
		last := len(cures) - 1
		if last < 0 || cures[last].Name != Unchecked || last > 1 || (last == 1) != (c.want != "") || last == 1 && cures[0].String() != c.want {
			t.Errorf("%s: %v", name, cures)
		}
	}
}

func TestWith(t *testing.T) {
	quirks := With([]Quirk{{Name: Parameters, Value: "a=1"}, {Name: DPoP}}, Quirk{Name: Parameters, Value: "b=2"})
	if want := []Quirk{{Name: DPoP}, {Name: Parameters, Value: "b=2"}}; !slices.Equal(quirks, want) {
		t.Errorf("%v", quirks)
	}
	over, err := ParseSetting("parameters=")
	if quirks = With(quirks, over); err != nil || !slices.Equal(quirks, []Quirk{{Name: DPoP}}) {
		t.Errorf("%v, %v", quirks, err)
	}
	for _, s := range []string{"unchecked", "audience=x", "no-resource", "audience=", "dpop=", "of tomorrow"} {
		if q, err := ParseSetting(s); err == nil {
			t.Errorf("%q is set as %v", s, q)
		}
	}
}
