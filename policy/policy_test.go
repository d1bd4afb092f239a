package policy

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
)

func TestParsePolicy(t *testing.T) {
	const ok = `{"host":"*","resource":"*","scopes":["*"]}`
	client := func(fields string) string {
		return `{"clients":[{"issuer":"https://a.example","client_id":"c",` + fields + `}]}`
	}
	tests := []struct {
		name, content string
		want          string // of the error; "" is a good policy
	}{
		{"nothing in it", `{}`, ""},
		{"empty lists", `{"consents":[],"clients":[]}`, ""},
		{"the example", `{"consents":[{"host":"exe:/usr/bin/x","resource":"https://mcp.example.com/mcp","scopes":["a"]}],
			"clients":[{"issuer":"https://auth.example.com","client_id":"abc","client_secret_file":"/x"}]}`, ""},
		{"everything", `{"consents":[` + ok + `]}`, ""},
		{"a byte order mark", "\ufeff" + `{}`, ""},
		{"no scopes at all", `{"consents":[{"host":"*","resource":"*","scopes":[]}]}`, ""},

		{"empty", ``, "line 1, column 1: this is not JSON: unexpected end of JSON input"},
		{"cut off", `{"consents":[`, "line 1, column 13: this is not JSON: unexpected end of JSON input"},
		{"a list", `[]`, "line 1, column 1: the policy must be an object, in braces"},
		{"null", `null`, "line 1, column 4: the policy must be an object, in braces"},
		{"not UTF-8", "{\"\xff\":1}", "it is not UTF-8 text"},
		{"a comma too many", "{\"consents\":[\n  " + ok + ",\n]}", "line 3, column 1: this is not JSON: invalid character ']' looking for beginning of value"},
		{"a missing comma", "{\"consents\":[" + ok + "\n  " + ok + "]}", "line 2, column 3: this is not JSON: invalid character '{' after array element"},
		{"more after it", `{} {}`, "line 1, column 4: this is not JSON: invalid character '{' after top-level value"},
		{"rubbish after it", `{}x`, "line 1, column 3: this is not JSON: invalid character 'x' after top-level value"},
		{"unknown at the top", `{"consent":[]}`, `line 1, column 10: unknown field "consent" in the policy; known are clients, consents`},
		{"unknown in a consent", "{\"consents\":[\n{\"host\":\"*\",\"resources\":\"*\"}]}", `line 2, column 23: unknown field "resources" in a consent; known are host, quirks, resource, scopes, without_metadata`},
		{"unknown in a client", `{"clients":[{"client_secret":"x"}]}`, `unknown field "client_secret" in a client; known are assertion_file, client_id, client_secret_file, enterprise, grant_type, issuer, key_id, private_key_file`},
		{"other capitals", `{"Consents":[]}`, `unknown field "Consents"`},
		{"a flag that is no flag", `{"consents":[{"host":"*","resource":"*","scopes":[],"without_metadata":"yes"}]}`, "without_metadata must be true or false"},
		{"twice", `{"consents":[],"consents":[` + ok + `]}`, `field "consents" stands twice in the policy`},
		{"scopes twice", `{"consents":[{"host":"*","resource":"*","scopes":["a"],"scopes":["*"]}]}`, `field "scopes" stands twice in a consent`},
		{"a quirk nobody knows", `{"consents":[{"host":"*","resource":"*","scopes":[],"quirks":["x"]}]}`, "a quirk must be audience=VALUE, issuer=VALUE, issuer-slash, no-resource, pkce-unlisted, unchecked, parameters=NAME=VALUE or dpop"},
		{"a parameter that is ours", `{"consents":[{"host":"*","resource":"*","scopes":[],"quirks":["parameters=scope=all"]}]}`, "a quirk must not hold scope: Valet Key sets that itself"},
		{"an audience without a value", `{"consents":[{"host":"*","resource":"*","scopes":[],"quirks":["audience"]}]}`, "a quirk must be audience=VALUE"},
		{"a value where none belongs", `{"consents":[{"host":"*","resource":"*","scopes":[],"quirks":["unchecked=1"]}]}`, "a quirk must be audience=VALUE"},
		{"no host", `{"consents":[{"resource":"*","scopes":[]}]}`, `a consent lacks the field "host"`},
		{"no resource", `{"consents":[{"host":"*","scopes":[]}]}`, `a consent lacks the field "resource"`},
		{"no scopes", `{"consents":[{"host":"*","resource":"*"}]}`, `a consent lacks the field "scopes"`},
		{"scopes as a string", `{"consents":[{"host":"*","resource":"*","scopes":"a b"}]}`, "scopes must be a list, in square brackets"},
		{"scopes null", `{"consents":[{"host":"*","resource":"*","scopes":null}]}`, "scopes must be a list, in square brackets"},
		{"two scopes in one", `{"consents":[{"host":"*","resource":"*","scopes":["a b"]}]}`, "a scope has a character that no scope can have"},
		{"an empty scope", `{"consents":[{"host":"*","resource":"*","scopes":[""]}]}`, "a scope is empty"},
		{"star and more", `{"consents":[{"host":"*","resource":"*","scopes":["a","*"]}]}`, `scopes has "*" beside other scopes`},
		{"a number", `{"consents":[{"host":1}]}`, "line 1, column 22: host must be a string"},
		{"a bare path", `{"consents":[{"host":"/usr/bin/x","resource":"*","scopes":[]}]}`, `host must be "*" or begin with one of exe: script:`},
		{"a kind alone", `{"consents":[{"host":"exe:","resource":"*","scopes":[]}]}`, `host must be "*" or begin with`},
		{"no URL", `{"consents":[{"host":"*","resource":"mcp.example.com","scopes":[]}]}`, "resource must be an https URL"},
		{"a fragment", `{"consents":[{"host":"*","resource":"https://a/#b","scopes":[]}]}`, "resource must be an https URL"},
		{"credentials", client(`"grant_type":"client_credentials","client_secret_file":"s"`), ""},
		{"a key", client(`"grant_type":"client_credentials","private_key_file":"k","key_id":"1"`), ""},
		{"a key for sign-ins by browser", client(`"private_key_file":"k"`), ""},
		{"workload identity", client(`"grant_type":"urn:ietf:params:oauth:grant-type:jwt-bearer","assertion_file":"a"`), ""},
		{"another grant type", client(`"grant_type":"password"`), "grant_type must be client_credentials or urn:ietf:params:oauth:grant-type:jwt-bearer"},
		{"credentials without any", client(`"grant_type":"client_credentials"`), "needs client_secret_file or private_key_file"},
		{"a secret and a key", client(`"client_secret_file":"s","private_key_file":"k"`), "it authenticates one way"},
		{"a key ID alone", client(`"key_id":"1"`), "key_id is of no use"},
		{"an assertion alone", client(`"assertion_file":"a"`), "assertion_file goes with grant_type"},
		{"no assertion", client(`"grant_type":"urn:ietf:params:oauth:grant-type:jwt-bearer"`), "assertion_file goes with grant_type"},
		{"an enterprise", client(`"enterprise":{"issuer":"https://idp","client_id":"e","client_secret_file":"s","token_endpoint":"https://idp/token","id_token_file":"t"}`), ""},
		{"an enterprise with a key", client(`"enterprise":{"issuer":"https://idp","client_id":"e","private_key_file":"k","key_id":"1","id_token_file":"t"}`), ""},
		{"an enterprise without an ID token", client(`"enterprise":{"issuer":"https://idp","client_id":"e"}`), ""},
		{"an endpoint without an ID token", client(`"enterprise":{"issuer":"https://idp","client_id":"e","token_endpoint":"https://idp/t"}`), "token_endpoint goes with id_token_file"},
		{"an enterprise without a client", client(`"enterprise":{"issuer":"https://idp","id_token_file":"t"}`), `an enterprise lacks the field "client_id"`},
		{"an enterprise of an enterprise", client(`"enterprise":{"enterprise":{}}`), `unknown field "enterprise" in an enterprise`},
		{"an enterprise that is none", client(`"enterprise":"https://idp"`), "an enterprise must be an object"},
		{"an enterprise with two ways", client(`"enterprise":{"issuer":"https://idp","client_id":"e","client_secret_file":"s","private_key_file":"k","id_token_file":"t"}`), "it authenticates one way"},
		{"an enterprise and an assertion", client(`"assertion_file":"a","enterprise":{"issuer":"https://idp","client_id":"e","id_token_file":"t"}`), "leave grant_type and assertion_file out"},
		{"an enterprise and a grant type", client(`"grant_type":"client_credentials","client_secret_file":"s","enterprise":{"issuer":"https://idp","client_id":"e","id_token_file":"t"}`), "leave grant_type and assertion_file out"},
		{"issuer star", `{"clients":[{"issuer":"*","client_id":"a"}]}`, "issuer must be an https URL"},
		{"no client ID", `{"clients":[{"issuer":"https://a"}]}`, `a client lacks the field "client_id"`},
		{"two clients", `{"clients":[{"issuer":"https://a","client_id":"a"},{"issuer":"https://a","client_id":"b"}]}`, "issuer https://a has two clients"},
		{"too long", `{"clients":[{"issuer":"https://` + strings.Repeat("a", 3000) + `"}]}`, "issuer is longer than 2048 bytes"},
		{"too many", `{"consents":[` + strings.Repeat(ok+",", maxConsents) + ok + `]}`, "consents has more than 1000 entries"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse([]byte(test.content))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"consents":[{"host":"exe:/usr/bin/x","resource":"https://a","scopes":["a"]}],"clients":[{"issuer":"https://a","client_id":"b","client_secret_file":"c"}]}`))
	f.Add([]byte("\ufeff{\"consents\":[\n]} "))
	f.Add([]byte(`{"consents":[{"host":"*","resource":"*","scopes":["*"]}]}x`))
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := parse(content)
		if err != nil {
			if len(r.consents)+len(r.clients) > 0 {
				t.Fatal("a policy that was refused has rules")
			}
			return
		}
		for _, c := range r.consents {
			if checkHost(c.host)+checkResource(c.resource) != "" {
				t.Fatalf("%+v was let in", c)
			}
			if c.host != wildcard { // a named host never speaks for another
				q := face.Question{Kind: face.KindForget, Host: peer.Host{Key: "exe:/somebody/else", Base: "exe:/somebody/else"}, Resource: c.resource}
				if c.host != q.Host.Key && c.covers(q, c.resource) {
					t.Fatalf("%+v covers another host", c)
				}
			}
		}
	})
}

func TestPolicyAllows(t *testing.T) {
	const mcp = "https://mcp.example.com/mcp"
	r, err := parse([]byte(`{"consents":[
		{"host":"exe:/usr/bin/x","resource":"https://mcp.example.com/mcp","scopes":["a"]},
		{"host":"exe:/usr/bin/x","resource":"https://mcp.example.com/mcp","scopes":["b"]},
		{"host":"exe:/usr/bin/x","resource":"https://none.example/","scopes":[]},
		{"host":"exe:/home/me/y","resource":"https://mcp.example.com/mcp","scopes":["*"]},
		{"host":"exe:/home/me/z#aa","resource":"https://mcp.example.com/mcp","scopes":["*"]},
		{"host":"exe:/usr/bin/root","resource":"*","scopes":["a"]},
		{"host":"exe:/usr/bin/x","resource":"https://old.example/","scopes":["a"],"without_metadata":true},
		{"host":"exe:/usr/bin/x","resource":"https://old.example/","scopes":["b"]},
		{"host":"exe:/usr/bin/x","resource":"https://odd.example/","scopes":["a"],"quirks":["audience=api://x","issuer-slash","issuer=https://odd.example"]},
		{"host":"*","resource":"https://public.example/","scopes":["*"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	host := func(key string) peer.Host {
		base, _, _ := strings.Cut(key, "#")
		return peer.Host{Key: key, Base: base, Name: "n"}
	}
	scopes := func(names ...string) (list []face.Scope) { // "a!" is required, "a?" unchecked
		for _, n := range names {
			name := strings.TrimRight(n, "!?")
			list = append(list, face.Scope{Name: name, Required: n[len(n)-1] == '!', Checked: n[len(n)-1] != '?'})
		}
		return list
	}
	once := func(names ...string) face.Answer {
		return face.Answer{Answered: true, Allow: true, Mode: localapi.ModeOnce, Scopes: names}
	}
	x := host("exe:/usr/bin/x")
	consent := func(h peer.Host, resource string, names ...string) face.Question {
		return face.Question{Kind: face.KindConsent, Host: h, Server: resource, Resource: resource, Scopes: scopes(names...),
			Modes: []string{localapi.ModeOnce, localapi.ModeAlways}}
	}
	old := func(q face.Question) face.Question {
		q.Unpublished, q.Issuer = true, "https://origin.example"
		return q
	}
	asks := func(name, value, resource string) face.Question {
		return face.Question{Kind: face.KindQuirk, Host: x, Server: resource, Resource: resource, Quirk: &quirk.Quirk{Name: name, Value: value}}
	}
	ours := func(q face.Question) face.Question { q.Host = peer.Host{}; return q }
	kind := func(k string, q face.Question) face.Question { q.Kind = k; return q }
	tests := []struct {
		name string
		q    face.Question
		want face.Answer // zero: not decided
		lack string      // why, when nobody else is asked
	}{
		{"just so", consent(x, mcp, "a"), once("a"), ""},
		{"two consents add up", consent(x, mcp, "a", "b"), once("a", "b"), ""},
		{"what is not covered is left out", consent(x, mcp, "a", "c"), once("a"), ""},
		{"required and covered", consent(x, mcp, "b!", "c"), once("b"), ""},
		{"what was not asked for is not added", consent(x, mcp, "a", "b?"), once("a"), ""},
		{"required and not covered", consent(x, mcp, "a", "c!"), face.Answer{}, "no consent there lets exe:/usr/bin/x use the scope c of " + mcp + ", which the server requires"},
		{"nothing covered", consent(x, mcp, "c"), face.Answer{}, "cover none of the scopes"},
		{"nothing asked for by name", consent(x, mcp), face.Answer{}, "for no scope by name"},
		{"nothing asked for by name, any covered", consent(host("exe:/home/me/y"), mcp), once(), ""},
		{"a server without scopes", consent(x, "https://none.example/"), once(), ""},
		{"which then has some", consent(x, "https://none.example/", "a"), face.Answer{}, "cover none of the scopes"},
		{"another host", consent(host("exe:/usr/bin/xx"), mcp, "a"), face.Answer{}, "no consent there lets exe:/usr/bin/xx use " + mcp},
		{"another resource", consent(x, mcp+"/", "a"), face.Answer{}, "no consent there lets exe:/usr/bin/x use " + mcp + "/"},
		{"a path without its hash", consent(host("exe:/home/me/y#11"), mcp, "q"), once("q"), ""},
		{"a path with its hash", consent(host("exe:/home/me/z#aa"), mcp, "q"), once("q"), ""},
		{"a path with another hash", consent(host("exe:/home/me/z#bb"), mcp, "q"), face.Answer{}, "no consent there lets exe:/home/me/z#bb"},
		{"any resource", consent(host("exe:/usr/bin/root"), "https://other.example/", "a", "b"), once("a"), ""},
		{"any host, even one without a key", consent(peer.Host{Name: "sh"}, "https://public.example/", "a"), once("a"), ""},
		{"a host without a key is nobody else", consent(peer.Host{Name: "sh"}, mcp, "a"), face.Answer{}, "a program that cannot be told apart from others (sh)"},
		{"sign in", kind(face.KindSignIn, consent(x, mcp, "a", "c")), face.Answer{Answered: true, Allow: true, Scopes: []string{"a"}}, ""},
		{"sign in, no scopes", kind(face.KindSignIn, consent(x, mcp)), face.Answer{Answered: true, Allow: true}, ""},
		{"sign in elsewhere", kind(face.KindSignIn, consent(x, "https://other.example/")), face.Answer{}, "no consent"},
		{"sign in, not yet discovered", face.Question{Kind: face.KindSignIn, Host: x, Server: mcp}, face.Answer{Answered: true, Allow: true}, ""},
		{"the resource decides, not the address", face.Question{Kind: face.KindForget, Host: x, Server: mcp, Resource: "https://other.example/"}, face.Answer{}, "no consent"},
		{"a server that names no issuer", old(consent(x, "https://old.example/", "a", "b")), once("a"), ""},
		{"sign in to a server that names no issuer", old(kind(face.KindSignIn, consent(x, "https://old.example/", "a"))), face.Answer{Answered: true, Allow: true, Scopes: []string{"a"}}, ""},
		{"a server that names no issuer, and no word of that", old(consent(x, mcp, "a")), face.Answer{}, mcp + ` names no issuer, and its consents there do not say "without_metadata": true, which takes https://origin.example for it`},
		{"forget a server that names no issuer", old(kind(face.KindForget, consent(x, mcp))), face.Answer{Answered: true, Allow: true}, ""},
		{"forget", kind(face.KindForget, consent(x, mcp)), face.Answer{Answered: true, Allow: true}, ""},
		{"a quirk", asks("audience", "api://x", "https://odd.example/"), once(), ""},
		{"a quirk without a value", asks("issuer-slash", "", "https://odd.example/"), once(), ""},
		{"a quirk that shows during a sign-in", ours(asks("issuer-slash", "", "https://odd.example/")), once(), ""},
		{"a quirk of another server during a sign-in", ours(asks("issuer-slash", "", mcp)), face.Answer{}, `has the quirk "issuer-slash"`},
		{"a quirk with an issuer", asks("issuer", "https://odd.example", "https://odd.example/"), once(), ""},
		{"a quirk of another issuer", asks("issuer", "https://evil.example", "https://odd.example/"), face.Answer{}, `has the quirk "issuer=https://evil.example"`},
		{"a quirk of another value", asks("audience", "api://y", "https://odd.example/"), face.Answer{}, `has the quirk "audience=api://y"`},
		{"a quirk that is not there", asks("unchecked", "", "https://odd.example/"), face.Answer{}, `has the quirk "unchecked"`},
		{"a quirk of another server", asks("issuer-slash", "", mcp), face.Answer{}, `has the quirk "issuer-slash"`},
		{"register", kind(face.KindRegister, consent(x, mcp)), face.Answer{}, "only the person"},
		{"client ID", kind(face.KindClientID, consent(x, mcp)), face.Answer{}, "only the person"},
		{"an unknown kind", kind("new", consent(x, mcp, "a")), face.Answer{}, "only the person"},
	}
	p := &File{path: "p", rules: r, sources: []stamp{}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, rule, decided := p.Decide(test.q)
			if !reflect.DeepEqual(scopesAlike(got), scopesAlike(test.want)) || decided != test.want.Answered || decided && rule == "" {
				t.Errorf("Decide: %+v, %q, %v, want %+v", got, rule, decided, test.want)
			}
			got, rule, decided = p.DecideAlone(test.q)
			want := test.want
			want.Answered = true
			if !reflect.DeepEqual(scopesAlike(got), scopesAlike(want)) || !decided || !strings.Contains(rule, test.lack) {
				t.Errorf("DecideAlone: %+v, %q, %v, want %+v, %q", got, rule, decided, want, test.lack)
			}
		})
	}
}

// scopesAlike makes no scopes and an empty list of them the same.
func scopesAlike(a face.Answer) face.Answer {
	if len(a.Scopes) == 0 {
		a.Scopes = nil
	}
	return a
}

// policyDir is a directory that only the person can change, whatever the umask is.
func policyDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// settle makes a file old enough to be remembered.
func settle(t *testing.T, path string, age time.Duration) {
	t.Helper()
	then := time.Now().Add(-age)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

func TestPolicyIsReadAgain(t *testing.T) {
	for _, age := range []time.Duration{0, time.Hour} { // fresh files and settled ones
		t.Run(fmt.Sprint(age), func(t *testing.T) {
			dir := policyDir(t)
			path, secretPath := filepath.Join(dir, "policy.json"), filepath.Join(dir, "secret")
			const first = `{"clients":[{"issuer":"https://a.example","client_id":"id","client_secret_file":"secret"}],
				"consents":[{"host":"*","resource":"https://mcp.example.com/mcp","scopes":["*"]}]}`
			put := func(path, content string) { write(t, path, content); settle(t, path, age) }
			put(secretPath, "one\n")
			put(path, first)
			p, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			q := face.Question{Kind: face.KindConsent, Host: peer.Host{Key: "exe:/usr/bin/x", Name: "x"}, Resource: "https://mcp.example.com/mcp",
				Scopes: []face.Scope{{Name: "files:read", Required: true, Checked: true}, {Name: "admin"}}}
			allowed := func() (bool, string) { a, rule, decided := p.Decide(q); return decided && a.Allow, rule }
			if yes, rule := allowed(); !yes {
				t.Fatal(rule)
			}
			if c, ok := p.Client("https://a.example"); !ok || c.ClientID != "id" || c.Secret.Reveal() != "one" {
				t.Errorf("client %+v, %v", c, ok)
			}
			if c, ok := p.Client("https://a.example/"); ok {
				t.Errorf("another issuer got %+v", c)
			}
			put(secretPath, "two!\n")
			if c, ok := p.Client("https://a.example"); !ok || c.Secret.Reveal() != "two!" {
				t.Errorf("a changed secret is not seen: %v", ok)
			}

			put(path, strings.Replace(first, "mcp.example.com", "xyz.example.com", 1)) // of the same length
			settle(t, path, age+time.Minute)
			if yes, _ := allowed(); yes {
				t.Error("a consent that was taken out still holds")
			}
			put(path, first[1:]) // broken
			a, rule, decided := p.Decide(q)
			if !decided || a.Allow || !strings.Contains(rule, "policy.json: line 1, column 10") {
				t.Errorf("broken: %+v, %q, %v", a, rule, decided)
			}
			if _, ok := p.Client("https://a.example"); ok {
				t.Error("a broken policy names a client")
			}
			put(path, first)
			if yes, rule := allowed(); !yes {
				t.Errorf("mended: %s", rule)
			}
			if err := os.Remove(secretPath); err != nil {
				t.Fatal(err)
			}
			if yes, _ := allowed(); yes {
				t.Error("it holds without its secret file")
			}
			put(secretPath, "three")
			if yes, rule := allowed(); !yes {
				t.Errorf("mended: %s", rule)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if yes, _ := allowed(); yes {
				t.Error("it holds although it is gone")
			}
		})
	}
}

func TestPolicySize(t *testing.T) {
	path := filepath.Join(policyDir(t), "policy.json")
	write(t, path, "{}"+strings.Repeat(" ", maxFile-2))
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
	write(t, path, "{}"+strings.Repeat(" ", maxFile-1))
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
}

// jwtFile is what a platform writes: a JWT about subject.
func jwtFile(subject string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(`{"sub":"`+subject+`"}`)) + "." + encode([]byte("sig")) + "\n"
}

func TestPolicyReadsKeysAndAssertions(t *testing.T) {
	dir := policyDir(t)
	path := filepath.Join(dir, "policy.json")
	write(t, path, `{"clients":[
		{"issuer":"https://a.example","client_id":"id","grant_type":"client_credentials","private_key_file":"key.pem","key_id":"k"},
		{"issuer":"https://b.example","client_id":"id","grant_type":"urn:ietf:params:oauth:grant-type:jwt-bearer","assertion_file":"token"}]}`)
	const key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"
	write(t, filepath.Join(dir, "key.pem"), key)
	write(t, filepath.Join(dir, "token"), jwtFile("one"))
	p, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := p.Client("https://a.example"); !ok || c.Key.Reveal() != key || c.KeyID != "k" || c.GrantType != client.GrantClientCredentials {
		t.Errorf("client %+v, %v", c, ok)
	}
	if err := os.Chmod(filepath.Join(dir, "token"), 0o644); err != nil { // as platforms leave it
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "token"), jwtFile("two"))
	if c, ok := p.Client("https://b.example"); !ok || c.Assertion.Reveal()+"\n" != jwtFile("two") || c.AssertionFile != filepath.Join(dir, "token") {
		t.Errorf("a changed assertion is not seen: %+v, %v", c, ok)
	}
	for name, broken := range map[string]func() error{
		"a key that others read":      func() error { return os.Chmod(filepath.Join(dir, "key.pem"), 0o644) },
		"an assertion others write":   func() error { return os.Chmod(filepath.Join(dir, "token"), 0o666) },
		"a key that is none":          func() error { return os.WriteFile(filepath.Join(dir, "key.pem"), []byte("x"), 0o600) },
		"an assertion of two lines":   func() error { return os.WriteFile(filepath.Join(dir, "token"), []byte("a\nb"), 0o600) },
		"an assertion that went away": func() error { return os.Remove(filepath.Join(dir, "token")) },
	} {
		if err := broken(); err != nil {
			t.Fatal(err)
		}
		if _, ok := p.Client("https://b.example"); ok {
			t.Errorf("%s: the policy still holds", name)
		}
		os.Remove(filepath.Join(dir, "token"))
		os.Remove(filepath.Join(dir, "key.pem"))
		write(t, filepath.Join(dir, "key.pem"), key)
		write(t, filepath.Join(dir, "token"), jwtFile("one"))
		if _, ok := p.Client("https://b.example"); !ok {
			t.Errorf("%s: mended, and the policy does not hold", name)
		}
	}
}

func TestPolicyReadsWhatAnEnterpriseNeeds(t *testing.T) {
	dir := policyDir(t)
	path := filepath.Join(dir, "policy.json")
	write(t, path, `{"clients":[{"issuer":"https://a.example","client_id":"here","client_secret_file":"here","enterprise":
		{"issuer":"https://idp.example","client_id":"there","client_secret_file":"there","token_endpoint":"https://idp.example/t","id_token_file":"id"}}]}`)
	write(t, filepath.Join(dir, "here"), "secret-here\n")
	write(t, filepath.Join(dir, "there"), "secret-there\n")
	write(t, filepath.Join(dir, "id"), jwtFile("one"))
	p, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c, ok := p.Client("https://a.example")
	if !ok || c.GrantType != client.GrantJWTBearer || c.Secret.Reveal() != "secret-here" || c.Enterprise == nil {
		t.Fatalf("client %+v, %v", c, ok)
	}
	e := c.Enterprise
	if e.Issuer != "https://idp.example" || e.ClientID != "there" || e.Secret.Reveal() != "secret-there" || e.TokenEndpoint != "https://idp.example/t" || e.IDToken.Reveal()+"\n" != jwtFile("one") {
		t.Errorf("enterprise %+v", e)
	}
	if _, ok := p.Client("https://idp.example"); ok {
		t.Error("the client at the enterprise's issuer is one for servers of that issuer too")
	}
	write(t, filepath.Join(dir, "id"), jwtFile("two"))
	if c, ok := p.Client("https://a.example"); !ok || c.Enterprise.IDToken.Reveal()+"\n" != jwtFile("two") {
		t.Errorf("a changed ID token is not seen: %+v, %v", c, ok)
	}
	if err := os.Chmod(filepath.Join(dir, "there"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Client("https://a.example"); ok {
		t.Error("a secret for the enterprise that others can read is used")
	}
}
