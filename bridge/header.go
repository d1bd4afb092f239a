package bridge

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Headers of Streamable HTTP, in the form net/http keeps them in.
const (
	headerAccept  = "Accept"
	headerType    = "Content-Type"
	headerVersion = "Mcp-Protocol-Version"
	headerSession = "Mcp-Session-Id"
	headerLastID  = "Last-Event-Id"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
	headerParam   = "Mcp-Param-"
)

const (
	typeJSON   = "application/json"
	typeEvents = "text/event-stream"
)

// paramHeader says that the argument at path of a tool is also sent as a header (MCP 2026-07-28, x-mcp-header).
type paramHeader struct {
	path []string
	name string
}

const annotation = "x-mcp-header"

// Keywords of JSON Schema whose values are schemas, lists of schemas, or objects of schemas. An annotation under these
// is not reached through properties alone, so it is not valid.
var (
	schemaKeywords = []string{"items", "contains", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "additionalItems",
		"propertyNames", "contentSchema", "not", "if", "then", "else", "prefixItems", "oneOf", "anyOf", "allOf"}
	schemaMaps = []string{"$defs", "definitions", "patternProperties", "dependentSchemas"}
)

// annotations returns the headers a tool's input schema asks for, or why its annotations are not valid.
func annotations(schema []byte) ([]paramHeader, error) {
	var found []paramHeader
	if get(schema, annotation) != nil {
		return nil, errors.New("stands outside of properties")
	}
	err := walk(schema, nil, true, &found)
	return found, err
}

// walk looks for annotations below a schema. direct says that it was reached through properties alone.
func walk(schema []byte, path []string, direct bool, found *[]paramHeader) error {
	for m := range members(schema) {
		key, value := string(m.key), schema[m.from:m.to]
		var err error
		switch {
		case key == "properties":
			for p := range members(value) {
				below := append(slices.Clip(path), string(p.key))
				if err = annotated(value[p.from:p.to], below, direct, found); err != nil {
					return err
				}
			}
		case slices.Contains(schemaMaps, key):
			for p := range members(value) {
				if err = annotated(value[p.from:p.to], nil, false, found); err != nil {
					return err
				}
			}
		case slices.Contains(schemaKeywords, key):
			if err = annotated(value, nil, false, found); err != nil {
				return err
			}
			for e := range elements(value) {
				if err = annotated(e, nil, false, found); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// annotated takes the annotation of one schema, and of those below it.
func annotated(schema []byte, path []string, direct bool, found *[]paramHeader) error {
	if a := get(schema, annotation); a != nil {
		name, at := str(a), strings.Join(path, ".")
		switch t := text(schema, "type"); {
		case !direct:
			return errors.New("stands outside of properties")
		case !isToken(name):
			return fmt.Errorf("of %s is not the name of a header: %.80q", at, a)
		case t != "string" && t != "integer" && t != "boolean":
			return fmt.Errorf("stands at %s, which is not a string, an integer or a boolean", at)
		case slices.ContainsFunc(*found, func(p paramHeader) bool { return strings.EqualFold(p.name, name) }):
			return fmt.Errorf("%s stands in more than one place", name)
		}
		*found = append(*found, paramHeader{path, name})
	}
	return walk(schema, path, direct, found)
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
	})
}

// modernHeaders gives a message of 2026-07-28 the headers that repeat its content. They come from the body alone:
// a server that trusts them trusts what it would find there.
func modernHeaders(h http.Header, m message, version string, params []paramHeader) {
	h[headerVersion] = []string{headerValue(version)}
	h[headerMethod] = []string{headerValue(m.method)}
	names := map[string]string{methodToolsCall: "name", methodPromptsGet: "name", methodResourceRead: "uri"}
	if name := get(m.params, names[m.method]); names[m.method] != "" && name != nil {
		h[headerName] = []string{headerValue(str(name))}
	}
	arguments := get(m.params, "arguments")
	for _, p := range params {
		if value, ok := argument(get(arguments, p.path...)); ok {
			h[http.CanonicalHeaderKey(headerParam+p.name)] = []string{headerValue(value)}
		}
	}
}

// argument returns the text of an argument that is a string, an integer or a boolean; for others there is no header.
func argument(value []byte) (string, bool) {
	switch {
	case len(value) == 0 || string(value) == "null":
		return "", false
	case value[0] == '"':
		return str(value), true
	case value[0] == 't' || value[0] == 'f':
		return string(value), true
	}
	const most = 1<<53 - 1 // what every JSON reader keeps exactly
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > most {
		return "", false
	}
	return strconv.FormatInt(int64(f), 10), true
}

const markOpen, markClose = "=?base64?", "?="

// headerValue writes s so that it survives a header, and can be told from what was so written.
func headerValue(s string) string {
	safe := s != "" && strings.Trim(s, " ") == s && !(strings.HasPrefix(s, markOpen) && strings.HasSuffix(s, markClose)) &&
		!strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c > 0x7e })
	if safe {
		return s
	}
	return markOpen + base64.StdEncoding.EncodeToString([]byte(s)) + markClose
}
