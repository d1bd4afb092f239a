package bridge

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"{\n \"a\" : [1,\r\n2]\n}": `{"a":[1,2]}`,
		` {"a" : 1} `:              `{"a" : 1}`,
		"{\"a\":\"\xff\"}":         "{\"a\":\"\ufffd\"}",
		"":                         "not JSON",
		"{":                        "not JSON",
		"{}{}":                     "not JSON",
		"\ufeff{}":                 "not JSON",
	} {
		got, err := oneLine([]byte(in))
		if err != nil {
			got = []byte(err.Error())
		}
		if string(got) != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestGet(t *testing.T) {
	const doc = ` { "a" : { "b\u0063" : [1, {"x":"]}\"\\"}, null] } , "n":-1.5e3,"t":true, "a\/b": "\u00e9", "twice":1,"twice":2, "e":{} ,"s":""} `
	for path, want := range map[string]string{
		"a": `{ "b\u0063" : [1, {"x":"]}\"\\"}, null] }`, "a.bc": `[1, {"x":"]}\"\\"}, null]`, "n": "-1.5e3", "t": "true", "a/b": `"\u00e9"`,
		"twice": "2", "e": "{}", "s": `""`, "no": "", "n.x": "", "a.bc.x": "", "e.x": "",
	} {
		if got := get([]byte(doc), strings.Split(path, ".")...); string(got) != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	var got []string
	for e := range elements(get([]byte(doc), "a", "bc")) {
		got = append(got, string(e))
	}
	if want := []string{"1", `{"x":"]}\"\\"}`, "null"}; !reflect.DeepEqual(got, want) {
		t.Errorf("elements: %q", got)
	}
}

func TestSet(t *testing.T) {
	for _, c := range []struct{ doc, path, want string }{
		{`{}`, "a", `{"a":9}`},
		{` { "a" : 1 } `, "a", ` { "a" : 9 } `},
		{`{"a":1}`, "b", `{"a":1,"b":9}`},
		{`{"a":1 }`, "b.c", `{"a":1,"b":{"c":9}}`},
		{`{"a":{"b":{}},"z":[]}`, "a.b.c", `{"a":{"b":{"c":9}},"z":[]}`},
		{`{"a":null}`, "a.b", `{"a":{"b":9}}`},
		{`{"a":1,"a":2}`, "a", `{"a":1,"a":9}`},
		{`null`, "a", `{"a":9}`},
		{``, "a", `{"a":9}`},
	} {
		doc := []byte(c.doc)
		if got := set(doc, []byte("9"), strings.Split(c.path, ".")...); string(got) != c.want {
			t.Errorf("%s, %s: %s, want %s", c.doc, c.path, got, c.want)
		}
		if string(doc) != c.doc {
			t.Errorf("%s was changed to %s", c.doc, doc)
		}
	}
}

func TestIDKey(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"1", "1", true}, {"1", "1.0", true}, {"10", "1e1", true}, {`"a"`, `"\u0061"`, true}, {"1", `"1"`, false}, {"1", "2", false}, {`"a"`, `"b"`, false},
	} {
		if got := idKey([]byte(c.a)) == idKey([]byte(c.b)); got != c.same {
			t.Errorf("%s, %s: %v", c.a, c.b, got)
		}
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		`{"jsonrpc":"2.0","id":1,"method":"x"}`:                  "request",
		`{"jsonrpc":"2.0","method":"x"}`:                         "notification",
		`{"jsonrpc":"2.0","method":"x","id":null}`:               "notification",
		`{"jsonrpc":"2.0","id":"a","result":null}`:               "response",
		`{"jsonrpc":"2.0","id":1,"error":{"code":1}}`:            "response",
		`{"jsonrpc":"2.0","id":null,"error":{}}`:                 "response",
		`[{"jsonrpc":"2.0","id":1,"method":"x"},{"method":"y"}]`: "request notification",
		`{"jsonrpc":"2.0","id":1}`:                               "nothing",
		`{"jsonrpc":"2.0"}`:                                      "not JSON-RPC",
		`{"jsonrpc":"2.0","id":{},"method":"x"}`:                 "not JSON-RPC",
		`{"jsonrpc":"2.0","id":true,"method":"x"}`:               "not JSON-RPC",
		`{"method":5,"id":1}`:                                    "nothing",
		`[]`:                                                     "not JSON-RPC",
		`[1]`:                                                    "nothing",
		`[{"method":"y"},[],{"id":{},"method":"x"}]`:             "notification nothing nothing",
		`"x"`: "not JSON-RPC",
		`5`:   "not JSON-RPC",
		`x`:   "not JSON",
	} {
		messages, _, err := parse([]byte(in))
		var kinds []string
		for _, m := range messages {
			switch {
			case m.isRequest():
				kinds = append(kinds, "request")
			case m.isResponse():
				kinds = append(kinds, "response")
			case m.method != "":
				kinds = append(kinds, "notification")
			default:
				kinds = append(kinds, "nothing")
			}
		}
		got := strings.Join(kinds, " ")
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// FuzzJSON compares the walk with encoding/json.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":{"c":[1,"]",{"d":"\\\""}]}}`, `{"":"","a":{}}`, ` { "k" : -1e5 , "k" : [ ] } `, `{"\u0061":true}`, `[1,[],{},"x"]`, `"\\"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		raw, err := oneLine(doc)
		if err != nil {
			parse(doc)
			return
		}
		if bytes.ContainsAny(raw, "\n\r") || !json.Valid(raw) {
			t.Fatalf("%q is not one line of JSON", raw)
		}
		parse(doc)
		var object map[string]json.RawMessage
		if isObject(raw) && json.Unmarshal(raw, &object) == nil {
			count := map[string]bool{}
			for m := range members(raw) {
				count[string(m.key)] = true
			}
			if len(count) != len(object) {
				t.Fatalf("%q: %d keys, want %d", raw, len(count), len(object))
			}
			for key, want := range object {
				if got := get(raw, key); string(got) != string(want) {
					t.Fatalf("%q, %q: %q, want %q", raw, key, got, want)
				}
				if next := set(raw, []byte(`[0]`), key); !json.Valid(next) || string(get(next, key)) != "[0]" {
					t.Fatalf("%q, %q set: %q", raw, key, next)
				}
			}
			if next := set(raw, []byte(`1`), "new", "deep"); !json.Valid(next) || string(get(next, "new", "deep")) != "1" {
				t.Fatalf("%q: %q", raw, next)
			}
		}
		var array []json.RawMessage
		if raw[0] == '[' && json.Unmarshal(raw, &array) == nil {
			i := 0
			for e := range elements(raw) {
				if string(e) != string(array[i]) {
					t.Fatalf("%q, %d: %q", raw, i, e)
				}
				i++
			}
			if i != len(array) {
				t.Fatalf("%q: %d elements", raw, i)
			}
		}
		annotations(raw)
	})
}
