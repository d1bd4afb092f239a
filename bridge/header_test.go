package bridge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestHeaderValue is Algorithm 7 of MCP 2026-07-28 (Custom Headers, Value Encoding).
func TestHeaderValue(t *testing.T) {
	for in, want := range map[string]string{
		"us-west1":            "us-west1",
		"a b ~!":              "a b ~!",
		" padded ":            "=?base64?IHBhZGRlZCA=?=",
		"x ":                  "=?base64?eCA=?=",
		"tab\tinside":         "=?base64?dGFiCWluc2lkZQ==?=",
		"line\r\nInjected: 1": "=?base64?bGluZQ0KSW5qZWN0ZWQ6IDE=?=",
		"é":                   "=?base64?w6k=?=",
		"":                    "=?base64??=", // an empty header would read as none
		"=?base64?literal?=":  "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=",
		"=?base64?":           "=?base64?",
		"=?BASE64?x?=":        "=?BASE64?x?=",
		"\x7f":                "=?base64?fw==?=",
	} {
		if got := headerValue(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestArgument(t *testing.T) {
	for in, want := range map[string]string{
		`"a\u00e9"`: "aé", "true": "true", "false": "false", "42": "42", "-7": "-7", "5.0": "5", "1e3": "1000", "-0": "0",
		"9007199254740991": "9007199254740991", "9007199254740993": "none", "1e400": "none", "1.5": "none", "null": "none", "": "none", "{}": "none", "[1]": "none",
	} {
		got, ok := argument([]byte(in))
		if !ok {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestAnnotations(t *testing.T) {
	property := func(p string) string { return `{"type":"object","properties":{"p":` + p + `}}` }
	for schema, want := range map[string]string{
		``:                            "[]",
		`{"type":"object"}`:           "[]",
		property(`{"type":"string"}`): "[]",
		property(`{"type":"string","x-mcp-header":"Region"}`):                                                                     "[{[p] Region}]",
		property(`{"type":"integer","x-mcp-header":"A"}`):                                                                         "[{[p] A}]",
		property(`{"type":"boolean","x-mcp-header":"Method"}`):                                                                    "[{[p] Method}]",
		property(`{"type":"object","properties":{"q":{"type":"string","x-mcp-header":"Q"}}}`):                                     "[{[p q] Q}]",
		`{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"B"}}}`:                      "[{[a] A} {[b] B}]",
		property(`{"$ref":"https://elsewhere.example/schema.json"}`):                                                              "[]", // SEC-21: nothing is fetched; there is nothing to fetch it with
		`{"properties":{"x-mcp-header":{"type":"string"}}}`:                                                                       "[]", // the name of a property
		`{"properties":{"a":{"type":"object","default":{"x-mcp-header":5},"examples":[{"x-mcp-header":"a b"}]}}}`:                 "[]", // data
		property(`{"type":"number","x-mcp-header":"A"}`):                                                                          "invalid",
		property(`{"type":"object","x-mcp-header":"A"}`):                                                                          "invalid",
		property(`{"type":"array","x-mcp-header":"A"}`):                                                                           "invalid",
		property(`{"type":"null","x-mcp-header":"A"}`):                                                                            "invalid",
		property(`{"type":["string","null"],"x-mcp-header":"A"}`):                                                                 "invalid",
		property(`{"x-mcp-header":"A"}`):                                                                                          "invalid",
		property(`{"type":"string","x-mcp-header":""}`):                                                                           "invalid",
		property(`{"type":"string","x-mcp-header":5}`):                                                                            "invalid",
		property(`{"type":"string","x-mcp-header":null}`):                                                                         "invalid",
		property(`{"type":"string","x-mcp-header":"a b"}`):                                                                        "invalid",
		property(`{"type":"string","x-mcp-header":"a:b"}`):                                                                        "invalid",
		property(`{"type":"string","x-mcp-header":"é"}`):                                                                          "invalid",
		property(`{"type":"string","x-mcp-header":"a\u0001"}`):                                                                    "invalid",
		`{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}`:                      "invalid",
		`{"properties":{"a":{"type":"string","x-mcp-header":"A"},"o":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}}`: "invalid",
		`{"x-mcp-header":"A","type":"string"}`:                                                                                    "invalid",
		property(`{"type":"array","items":{"type":"string","x-mcp-header":"A"}}`):                                                 "invalid",
		property(`{"type":"array","prefixItems":[{"type":"string","x-mcp-header":"A"}]}`):                                         "invalid",
		property(`{"oneOf":[{"properties":{"q":{"type":"string","x-mcp-header":"A"}}}]}`):                                         "invalid",
		`{"$defs":{"d":{"type":"string","x-mcp-header":"A"}}}`:                                                                    "invalid",
		`{"if":{"properties":{"q":{"type":"string","x-mcp-header":"A"}}}}`:                                                        "invalid",
		`{"additionalProperties":{"type":"string","x-mcp-header":"A"}}`:                                                           "invalid",
	} {
		found, err := annotations([]byte(schema))
		got := fmt.Sprint(found)
		if err != nil {
			got = "invalid"
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", schema, got, err, want)
		}
	}
}

func TestModernHeaders(t *testing.T) {
	params := []paramHeader{{[]string{"region"}, "Region"}, {[]string{"deep", "er"}, "deep-er"}, {[]string{"gone"}, "Gone"}, {[]string{"nil"}, "Nil"}}
	for raw, want := range map[string]string{
		`{"id":1,"method":"tools/list"}`:                                                                              "Mcp-Method: tools/list",
		`{"id":1,"method":"resources/read","params":{"uri":"a://b/é"}}`:                                               "Mcp-Method: resources/read, Mcp-Name: =?base64?YTovL2Ivw6k=?=",
		`{"id":1,"method":"prompts/get","params":{"name":"p"}}`:                                                       "Mcp-Method: prompts/get, Mcp-Name: p",
		`{"id":1,"method":"tools/call","params":{}}`:                                                                  "Mcp-Method: tools/call",
		`{"id":1,"method":"tools/call","params":{"name":"t","arguments":{"region":"eu","deep":{"er":7},"nil":null}}}`: "Mcp-Method: tools/call, Mcp-Name: t, Mcp-Param-Deep-Er: 7, Mcp-Param-Region: eu",
	} {
		m, err := parseOne([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		modernHeaders(h, m, "2026-07-28", params)
		var b strings.Builder
		h.Write(&b)
		want = strings.ReplaceAll(want, ", ", "\r\n") + "\r\n"
		got := strings.Replace(b.String(), "Mcp-Protocol-Version: 2026-07-28\r\n", "", 1)
		if got != want || got == b.String() {
			t.Errorf("%s:\n%s\nwant\n%s", raw, b.String(), want)
		}
	}
}
