package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// yamlFile is YAML with a map of servers, or a list of servers that each have a name.
type yamlFile struct {
	key  string
	list bool
}

// parse returns the document as a tree with positions, and as values.
func (f yamlFile) parse(text []byte) (*yaml.Node, map[string]any, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var root yaml.Node
	if err := d.Decode(&root); errors.Is(err, io.EOF) {
		return &yaml.Node{}, nil, nil
	} else if err != nil {
		return nil, nil, notYAML(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("it holds several documents")
	}
	body := root.Content[0]
	if body.Kind == yaml.ScalarNode && body.Tag == "!!null" {
		return &yaml.Node{}, nil, nil
	}
	var doc map[string]any
	if err := body.Decode(&doc); err != nil || body.Kind != yaml.MappingNode {
		return nil, nil, errNotObject
	}
	return body, doc, nil
}

// Compiled when needed: vk must start fast.
var yamlLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`line (\d+)`) })

// notYAML says where, without the decoder's words: they may quote the file, which may hold secrets.
func notYAML(err error) error {
	if m := yamlLine().FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("it is not YAML at line %s", m[1])
	}
	return errors.New("it is not YAML")
}

func (f yamlFile) entries(text []byte) ([]found, error) {
	_, doc, err := f.parse(text)
	if err != nil {
		return nil, err
	}
	switch servers := doc[f.key].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		if !f.list {
			return foundIn(servers), nil
		}
	case []any:
		if f.list {
			var all []found
			for _, item := range servers {
				value, _ := item.(map[string]any)
				all = append(all, found{stringAt(value, "name"), value})
			}
			return all, nil
		}
	}
	return nil, errNotObject
}

// find returns the key and the value of the servers, nil if there are none.
func (f yamlFile) find(body *yaml.Node) (key, value *yaml.Node) {
	for i := 0; i+1 < len(body.Content); i += 2 {
		if body.Content[i].Value == f.key {
			return body.Content[i], body.Content[i+1]
		}
	}
	return nil, nil
}

func (f yamlFile) add(text []byte, name string, value fields) (insertion, error) {
	body, doc, err := f.parse(text)
	if err != nil {
		return insertion{}, err
	}
	i, err := f.insert(text, body, name, value)
	if err != nil {
		return insertion{}, err
	}
	_, after, err := f.parse(i.into(text))
	if err != nil || !f.sameWithout(after, doc, name) {
		return insertion{}, errStrange
	}
	return i, nil
}

// sameWithout reports whether a document without an entry says the same as another.
func (f yamlFile) sameWithout(doc, other map[string]any, name string) bool {
	switch servers := doc[f.key].(type) {
	case map[string]any:
		if servers[name] == nil {
			return false
		}
		delete(servers, name)
	case []any:
		n := len(servers)
		doc[f.key] = slices.DeleteFunc(servers, func(item any) bool { v, _ := item.(map[string]any); return stringAt(v, "name") == name })
		if n != len(doc[f.key].([]any))+1 {
			return false
		}
	default:
		return false
	}
	return sameButEmpty(doc, other, f.key)
}

// insert puts the entry first among the servers, so that it is one insertion.
func (f yamlFile) insert(text []byte, body *yaml.Node, name string, value fields) (insertion, error) {
	key, servers := f.find(body)
	flow := f.entryJSON(name, value)
	switch {
	case body.Style&yaml.FlowStyle != 0 && key == nil:
		opened, closed := "{", "}"
		if f.list {
			opened, closed = "[", "]"
		}
		return inFlow(text, body, quote(f.key)+": "+opened+flow+closed)
	case key == nil:
		indent := strings.Repeat(" ", max(0, body.Column-1))
		return appended(text, append([]string{indent + f.key + ":"}, f.entryLines(indent+"  ", name, value)...), false), nil
	case servers.Kind == yaml.ScalarNode && servers.Tag == "!!null" && servers.Line == key.Line && servers.Column == key.Column+len(f.key)+1: // nothing after the colon, no tag either
		return afterLine(text, key.Line, f.entryLines(strings.Repeat(" ", key.Column+1), name, value)), nil
	case servers.Style&yaml.FlowStyle != 0:
		return inFlow(text, servers, flow)
	case len(servers.Content) > 0 && servers.Line > key.Line && (servers.Kind == yaml.MappingNode || servers.Kind == yaml.SequenceNode):
		return afterLine(text, key.Line, f.entryLines(strings.Repeat(" ", servers.Column-1), name, value)), nil
	}
	return insertion{}, errStrange
}

// afterLine inserts lines after a line, counted from 1.
func afterLine(text []byte, line int, lines []string) insertion {
	at := offset(text, line+1, 1)
	if at == len(text) {
		return appended(text, lines, false)
	}
	nl := newline(text)
	return insertion{at, strings.Join(lines, nl) + nl}
}

// offset is where a line and a column of characters, both counted from 1, are in text; its end if there is no such
// line.
func offset(text []byte, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		next := bytes.IndexByte(text[at:], '\n')
		if next < 0 {
			return len(text)
		}
		at += next + 1
	}
	for ; column > 1 && at < len(text); column-- {
		at++
		for at < len(text) && text[at]&0xc0 == 0x80 { // inside a character
			at++
		}
	}
	return at
}

func (f yamlFile) entryLines(indent, name string, value fields) []string {
	if !f.list {
		return append([]string{indent + name + ":"}, linesOf(indent+"  ", value)...)
	}
	lines := linesOf(indent+"  ", value)
	lines[0] = indent + "- " + strings.TrimLeft(lines[0], " ")
	return lines
}

func linesOf(indent string, value fields) []string {
	var lines []string
	for _, one := range value {
		list, ok := one.value.([]string)
		if !ok {
			lines = append(lines, indent+one.key+": "+scalar(one.value))
			continue
		}
		lines = append(lines, indent+one.key+":")
		for _, s := range list {
			lines = append(lines, indent+"  - "+scalar(s))
		}
	}
	return lines
}

var plainYAML = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(/|https?://)?[A-Za-z][A-Za-z0-9_./ -]*(:[0-9]+)?[A-Za-z0-9_./-]*$`)
})

// scalar writes a value, a string plain only if no reader can take it for something else.
func scalar(value any) string {
	s, ok := value.(string)
	if !ok {
		return writeJSON(value, "", "", "")
	}
	var back any
	if err := yaml.Unmarshal([]byte(s), &back); plainYAML().MatchString(s) && err == nil && back == value && !slices.Contains(notPlain, strings.ToLower(s)) && s == strings.TrimSpace(s) {
		return s
	}
	return quote(s)
}

// notPlain are words that YAML 1.1 takes for booleans.
var notPlain = []string{"y", "n", "yes", "no", "on", "off"}

func (f yamlFile) remove(text []byte, name string, was []byte) ([]byte, error) {
	body, doc, err := f.parse(text)
	if err != nil {
		return nil, err
	}
	key, servers := f.find(body)
	if key == nil || servers.Kind != yaml.MappingNode && servers.Kind != yaml.SequenceNode {
		return nil, errNoEntry
	}
	i, ends := f.locate(servers, name)
	if i < 0 {
		return nil, errNoEntry
	}
	var out []byte
	if servers.Style&yaml.FlowStyle != 0 {
		out, err = f.outOfFlow(text, servers.Content[i], len(servers.Content) == ends-i)
	} else {
		out, err = f.outOfBlock(text, servers, i)
	}
	if err != nil {
		return nil, err
	}
	if len(servers.Content) == ends-i && !f.had(was) {
		if out, err = f.dropKey(out); err != nil {
			return nil, err
		}
	}
	_, after, err := f.parse(out)
	if err != nil || !f.sameWithout(doc, after, name) {
		return nil, errStrange
	}
	return out, nil
}

// had reports whether text has the key of the servers.
func (f yamlFile) had(text []byte) bool {
	body, _, err := f.parse(text)
	if err != nil {
		return false
	}
	key, _ := f.find(body)
	return key != nil
}

// locate returns where the entry's node is in servers, and where the next one is.
func (f yamlFile) locate(servers *yaml.Node, name string) (from, to int) {
	if f.list {
		for i, item := range servers.Content {
			var named struct{ Name string }
			if item.Decode(&named) == nil && named.Name == name {
				return i, i + 1
			}
		}
		return -1, 0
	}
	for i := 0; i+1 < len(servers.Content); i += 2 {
		if servers.Content[i].Value == name {
			return i, i + 2
		}
	}
	return -1, 0
}

// outOfBlock cuts the lines of an entry: its first one, and those below it that are blank or deeper, up to the last
// that is neither blank nor a comment.
func (f yamlFile) outOfBlock(text []byte, servers *yaml.Node, i int) ([]byte, error) {
	line := servers.Content[i].Line
	from := offset(text, line, 1)
	if f.list && strings.TrimLeft(string(text[from:offset(text, line, servers.Content[i].Column)]), " ") != "- " {
		return nil, errStrange
	} else if !f.list && len(indentOf(text, from)) != servers.Content[i].Column-1 {
		return nil, errStrange
	}
	to := from + lineLength(text[from:])
	for at := to; at < len(text); {
		length := lineLength(text[at:])
		whole := text[at : at+length]
		if !isBlank(whole) && len(indentOf(text, at)) < servers.Column {
			break
		}
		at += length
		if line := bytes.TrimSpace(whole); len(line) > 0 && line[0] != '#' {
			to = at
		}
	}
	return without(text, wholeLines(text, span{from, to}, false)), nil
}

func lineLength(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// dropKey removes the key of the servers, which has no more entries.
func (f yamlFile) dropKey(text []byte) ([]byte, error) {
	body, _, err := f.parse(text)
	if err != nil {
		return nil, err
	}
	key, value := f.find(body)
	if key == nil {
		return nil, errStrange
	}
	if body.Style&yaml.FlowStyle != 0 {
		return yamlFile{}.outOfFlow(text, key, len(body.Content) == 2) // a member of a map, whatever the servers are
	}
	from := offset(text, key.Line, 1)
	line := text[from : from+lineLength(text[from:])]
	if strings.TrimSpace(string(line)) != f.key+":" || value.Kind != yaml.ScalarNode {
		return text, nil // somebody wrote something there; a key without entries does no harm
	}
	return without(text, wholeLines(text, span{from, from + len(line)}, false)), nil
}
