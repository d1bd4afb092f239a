package hosts

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tailscale/hujson"
)

// jsonFile is JSON, with or without comments and trailing commas.
type jsonFile struct {
	at     [][]string // where the servers may be, as keys from the root; the first that is there is used, else the last
	strict bool       // the program does not read comments and trailing commas
}

// errNoValue says that a text holds no value at all, only blanks and perhaps comments.
var errNoValue = errors.New("it holds no value")

// parse returns the root object.
func (f jsonFile) parse(text []byte) (*hujson.Value, error) {
	ended := append(bytes.Clone(text), '\n') // a comment may end the text without it
	v, err := hujson.Parse(ended)
	if err != nil {
		if _, plain := hujson.Parse(text); plain != nil {
			err = plain // its places are those of the text
		}
		// With a value behind it, a text of blanks and comments parses.
		v, again := hujson.Parse(append(ended, "{}"...))
		switch {
		case again != nil || v.StartOffset < len(text):
			return nil, notJSON(err)
		case f.strict && !isBlank(text):
			return nil, errComments
		}
		return nil, errNoValue
	}
	if _, ok := v.Value.(*hujson.Object); !ok {
		return nil, errNotObject
	}
	return &v, nil
}

var jsonPlace = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`line \d+, column \d+`) })

// notJSON says where, without the parser's words: they quote the file, which may hold secrets.
func notJSON(err error) error {
	if place := jsonPlace().FindString(err.Error()); place != "" {
		return errors.New("it is not JSON at " + place)
	}
	return errors.New("it is not JSON")
}

func (f jsonFile) entries(text []byte) ([]found, error) {
	root, err := f.parse(text)
	switch {
	case errors.Is(err, errNoValue):
		return nil, nil
	case err != nil:
		return nil, err
	}
	path := f.path(root)
	holder, rest := descend(root, path)
	if len(rest) > 0 {
		return nil, nil
	}
	object, ok := holder.Value.(*hujson.Object)
	if !ok {
		return nil, errNotObject
	}
	var all []found
	for _, m := range object.Members {
		value := map[string]any{}
		plain := m.Value.Clone()
		plain.Standardize()
		// An entry that is not an object is not ours and not a server; its name is taken all the same.
		_ = json.Unmarshal(plain.Pack(), &value)
		all = append(all, found{nameOf(m), value})
	}
	return all, nil
}

// path chooses where the servers are.
func (f jsonFile) path(root *hujson.Value) []string {
	for _, path := range f.at {
		if holder, rest := descend(root, path); len(rest) == 0 {
			if _, ok := holder.Value.(*hujson.Object); ok {
				return path
			}
		}
	}
	return f.at[len(f.at)-1]
}

// descend follows keys as far as they are there and returns those that are not.
func descend(v *hujson.Value, path []string) (*hujson.Value, []string) {
	for len(path) > 0 {
		object, ok := v.Value.(*hujson.Object)
		if !ok {
			return v, path
		}
		i := member(object, path[0])
		if i < 0 {
			return v, path
		}
		v, path = &object.Members[i].Value, path[1:]
	}
	return v, nil
}

// member finds the last member called name, which is the one that counts; -1 if there is none.
func member(o *hujson.Object, name string) int {
	for i := len(o.Members) - 1; i >= 0; i-- {
		if nameOf(o.Members[i]) == name {
			return i
		}
	}
	return -1
}

func nameOf(m hujson.ObjectMember) string { return m.Name.Value.(hujson.Literal).String() }

// add puts the entry first in its object: one insertion, which touches no comma and no comment of others.
func (f jsonFile) add(text []byte, name string, value fields) (insertion, error) {
	root, err := f.parse(text)
	switch {
	case errors.Is(err, errNoValue):
		last := f.at[len(f.at)-1]
		return appended(text, strings.Split(writeJSON(nested(last, name, value), "", "  ", "\n"), "\n"), false), nil
	case err != nil:
		return insertion{}, err
	case f.strict && !root.IsStandard():
		return insertion{}, errComments
	}
	holder, rest := descend(root, f.path(root))
	object, ok := holder.Value.(*hujson.Object)
	if !ok {
		return insertion{}, errNotObject
	}
	whole := nested(rest, name, value)
	return f.insert(text, root, holder, object, whole[0]), nil
}

// nested wraps an entry in the objects that are missing around it.
func nested(path []string, name string, value fields) fields {
	whole := fields{{name, value}}
	for i := len(path) - 1; i >= 0; i-- {
		whole = fields{{path[i], whole}}
	}
	return whole
}

func (f jsonFile) insert(text []byte, root, holder *hujson.Value, object *hujson.Object, m field) insertion {
	start := holder.StartOffset + 1
	nl, unit := newline(text), indentUnit(text, root)
	if len(object.Members) == 0 {
		if outer := root.Value.(*hujson.Object); len(outer.Members) > 0 && !bytes.ContainsRune(text[root.StartOffset:root.EndOffset], '\n') {
			return insertion{start, quote(m.key) + ": " + writeJSON(m.value, "", "", "")}
		}
		around := indentOf(text, holder.StartOffset)
		added := nl + around + unit + quote(m.key) + ": " + writeJSON(m.value, around+unit, unit, nl)
		if !bytes.ContainsRune(text[start:holder.EndOffset], '\n') {
			added += nl + around
		}
		return insertion{start, added}
	}
	first := object.Members[0].Name.StartOffset
	end := bytes.IndexByte(text[start:first], '\n')
	if end < 0 {
		return insertion{first, quote(m.key) + ": " + writeJSON(m.value, "", "", "") + ", "}
	}
	at := start + end
	if bytes.HasSuffix(text[start:at], []byte("\r")) {
		at--
	}
	// A comment on the line of the brace belongs to the object; one that starts there and goes on does not end here.
	if rest := text[start:at]; bytes.Count(rest, []byte("/*")) > bytes.Count(rest, []byte("*/")) {
		at = start
	}
	indent := indentOf(text, first)
	return insertion{at, nl + indent + quote(m.key) + ": " + writeJSON(m.value, indent, unit, nl) + ","}
}

// indentUnit is by how much the root's members are indented.
func indentUnit(text []byte, root *hujson.Value) string {
	for _, m := range root.Value.(*hujson.Object).Members {
		if start := lineStart(text, m.Name.StartOffset); start > root.StartOffset && isBlank(text[start:m.Name.StartOffset]) && start < m.Name.StartOffset {
			if unit := strings.TrimPrefix(indentOf(text, m.Name.StartOffset), indentOf(text, root.StartOffset)); unit != "" {
				return unit
			}
		}
	}
	return "  "
}

// writeJSON writes a value; without unit on one line.
func writeJSON(value any, indent, unit, nl string) string {
	opened, between, closed := nl+indent+unit, ","+nl+indent+unit, nl+indent
	if unit == "" {
		opened, between, closed = "", ", ", ""
	}
	switch v := value.(type) {
	case fields:
		parts := make([]string, len(v))
		for i, one := range v {
			parts[i] = quote(one.key) + ": " + writeJSON(one.value, indent+unit, unit, nl)
		}
		return "{" + opened + strings.Join(parts, between) + closed + "}"
	case []string:
		parts := make([]string, len(v))
		for i, one := range v {
			parts[i] = quote(one)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case verbatim:
		return string(v)
	}
	b, err := json.Marshal(value)
	if s, ok := value.(string); ok {
		return quote(s)
	} else if err != nil {
		panic(err) // the table holds strings, numbers and booleans only
	}
	return string(b)
}

// quote writes a string as JSON, TOML and YAML all read it.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

func (f jsonFile) remove(text []byte, name string, was []byte) ([]byte, error) {
	root, err := f.parse(text)
	switch {
	case errors.Is(err, errNoValue):
		return nil, errNoEntry
	case err != nil:
		return nil, err
	}
	old := &hujson.Value{}
	if was != nil {
		if v, err := f.parse(was); err == nil {
			old = v
		}
	}
	return f.take(text, root, slices.Concat(f.path(root), []string{name}), old, was)
}

// take removes the member at path, and the objects around it that became empty and are not in old, which has no Value
// where there was none.
func (f jsonFile) take(text []byte, root *hujson.Value, path []string, old *hujson.Value, was []byte) ([]byte, error) {
	holder, rest := descend(root, path[:len(path)-1])
	object, ok := holder.Value.(*hujson.Object)
	if !ok || len(rest) > 0 {
		return nil, errNoEntry
	}
	i := member(object, path[len(path)-1])
	switch {
	case i < 0:
		return nil, errNoEntry
	case len(object.Members) > 1:
		return without(text, memberSpans(text, holder, object, i)...), nil
	}
	inside := f.emptied(text, holder, object, old, path[:len(path)-1])
	emptied := append(append(bytes.Clone(text[:holder.StartOffset+1]), inside...), text[holder.EndOffset-1:]...)
	_, missing := descend(old, path[:len(path)-1])
	if was := old.Value != nil && len(missing) == 0; was || !isBlank(inside) {
		return emptied, nil
	}
	next, err := f.parse(emptied)
	if err != nil {
		return nil, errStrange
	}
	if len(path) > 1 {
		return f.take(emptied, next, path[:len(path)-1], old, was)
	}
	if was == nil {
		return emptied, nil
	}
	outside := without(emptied, span{next.StartOffset, next.EndOffset})
	if bytes.Equal(bytes.TrimSpace(outside), bytes.TrimSpace(was)) {
		return was, nil
	}
	return outside, nil
}

// memberSpans is what goes when one of several members goes: it, its line, and one comma.
func memberSpans(text []byte, holder *hujson.Value, object *hujson.Object, i int) []span {
	m := object.Members[i]
	from, ownLine := m.Name.StartOffset, false
	if start := lineStart(text, from); start > holder.StartOffset && isBlank(text[start:from]) {
		from, ownLine = start-len(ending(text[:start])), true
	}
	comma := m.Value.EndOffset + len(m.Value.AfterExtra)
	if i < len(object.Members)-1 || m.Value.AfterExtra != nil {
		to := comma + 1
		if !ownLine && to < len(text) && text[to] == ' ' {
			to++
		}
		return []span{{from, to}}
	}
	before := object.Members[i-1].Value
	comma = before.EndOffset + len(before.AfterExtra)
	from = max(from, comma+1)
	if isBlank(text[comma+1 : from]) {
		return []span{{comma, m.Value.EndOffset}}
	}
	return []span{{comma, comma + 1}, {from, m.Value.EndOffset}}
}

// emptied is what stays between the braces of an object when its only member goes.
func (f jsonFile) emptied(text []byte, holder *hujson.Value, object *hujson.Object, old *hujson.Value, path []string) []byte {
	m := object.Members[0]
	before := text[holder.StartOffset+1 : m.Name.StartOffset]
	before = bytes.TrimRight(before, " \t")
	before = before[:len(before)-len(ending(before))]
	after := text[m.Value.EndOffset : holder.EndOffset-1]
	if comma := len(m.Value.AfterExtra); m.Value.AfterExtra != nil {
		after = append(bytes.Clone(after[:comma]), after[comma+1:]...)
	}
	whole := append(bytes.Clone(before), after...)
	// add broke the line before the closing brace if there was no line break yet.
	around := []byte(newline(text) + indentOf(text, holder.StartOffset))
	short, broken := bytes.CutPrefix(whole, around)
	if there, missing := descend(old, path); len(missing) == 0 {
		if o, ok := there.Value.(*hujson.Object); ok && len(o.Members) == 0 && bytes.Equal(o.AfterExtra, whole) {
			return whole
		}
	}
	if broken {
		return short
	}
	return whole
}
