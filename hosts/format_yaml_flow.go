package hosts

import (
	"bytes"
	"encoding/json"

	"go.yaml.in/yaml/v3"
)

// YAML in braces and brackets is written as JSON, on one line.

func (f yamlFile) entryJSON(name string, value fields) string {
	if f.list {
		return writeJSON(value, "", "", "")
	}
	return quote(name) + ": " + writeJSON(value, "", "", "")
}

// inFlow inserts first between the braces or brackets of n.
func inFlow(text []byte, n *yaml.Node, member string) (insertion, error) {
	at := offset(text, n.Line, n.Column)
	if at >= len(text) || text[at] != '{' && text[at] != '[' {
		return insertion{}, errStrange
	}
	if len(n.Content) > 0 {
		member += ", "
	}
	return insertion{at + 1, member}, nil
}

// outOfFlow cuts an entry that is written as JSON, as add does, with one comma.
func (f yamlFile) outOfFlow(text []byte, n *yaml.Node, only bool) ([]byte, error) {
	from := offset(text, n.Line, n.Column)
	to := from
	skip := func() bool {
		d := json.NewDecoder(bytes.NewReader(text[to:]))
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return false
		}
		to += int(d.InputOffset())
		return true
	}
	if !f.list {
		if !skip() || !bytes.HasPrefix(text[to:], []byte(": ")) {
			return nil, errStrange
		}
		to += len(": ")
	}
	if !skip() {
		return nil, errStrange
	}
	rest := text[to:]
	switch blank := len(rest) - len(bytes.TrimLeft(rest, " ")); {
	case blank < len(rest) && rest[blank] == ',':
		to += blank + 1
		if to < len(text) && text[to] == ' ' {
			to++
		}
	case !only:
		before := bytes.TrimRight(text[:from], " ")
		if !bytes.HasSuffix(before, []byte(",")) {
			return nil, errStrange
		}
		from = len(before) - 1
	}
	return without(text, span{from, to}), nil
}
