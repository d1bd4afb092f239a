package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// tomlFile is TOML with a table for each server.
type tomlFile struct{ table string }

func (f tomlFile) parse(text []byte) (doc, servers map[string]any, err error) {
	if err := toml.Unmarshal(text, &doc); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) { // its own text quotes the file, which may hold secrets
			row, column := at.Position()
			return nil, nil, fmt.Errorf("it is not TOML at line %d, column %d", row, column)
		}
		return nil, nil, errors.New("it is not TOML")
	}
	servers, ok := doc[f.table].(map[string]any)
	if !ok && doc[f.table] != nil {
		return nil, nil, errNotObject
	}
	return doc, servers, nil
}

func (f tomlFile) entries(text []byte) ([]found, error) {
	_, servers, err := f.parse(text)
	if err != nil {
		return nil, err
	}
	return foundIn(servers), nil
}

// foundIn lists the entries of a map, in order of their names.
func foundIn(servers map[string]any) []found {
	var all []found
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		value, _ := servers[name].(map[string]any)
		all = append(all, found{name, value})
	}
	return all
}

// add appends a table: that is valid wherever the last table ended, unless the servers are in an inline table.
func (f tomlFile) add(text []byte, name string, value fields) (insertion, error) {
	doc, _, err := f.parse(text)
	if err != nil {
		return insertion{}, err
	}
	lines := []string{"[" + f.table + "." + name + "]"}
	for _, one := range value {
		lines = append(lines, one.key+" = "+writeJSON(one.value, "", "", ""))
	}
	i := appended(text, lines, true)
	after, servers, err := f.parse(i.into(text))
	if err != nil || servers[name] == nil {
		return insertion{}, errStrange
	}
	delete(servers, name)
	if !sameButEmpty(after, doc, f.table) {
		return insertion{}, errStrange
	}
	return i, nil
}

// sameButEmpty reports whether two documents say the same, where an empty key is as good as none.
func sameButEmpty(a, b map[string]any, key string) bool {
	trim := func(doc map[string]any) map[string]any {
		doc = maps.Clone(doc)
		if v := reflect.ValueOf(doc[key]); !v.IsValid() || (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0 {
			delete(doc, key)
		}
		return doc
	}
	a, b = trim(a), trim(b)
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

// remove cuts the lines of the entry's table and of the tables within it.
func (f tomlFile) remove(text []byte, name string, _ []byte) ([]byte, error) {
	doc, servers, err := f.parse(text)
	switch {
	case err != nil:
		return nil, err
	case servers[name] == nil:
		return nil, errNoEntry
	}
	out := without(text, f.spans(text, name)...)
	after, left, err := f.parse(out)
	if err != nil || left[name] != nil {
		return nil, errStrange
	}
	delete(servers, name)
	if !sameButEmpty(after, doc, f.table) {
		return nil, errStrange
	}
	return out, nil
}

// spans finds the lines of an entry. Comments after its last line belong to what follows.
func (f tomlFile) spans(text []byte, name string) []span {
	var p unstable.Parser
	p.Reset(text)
	var all []span
	table, ours, from := []string(nil), false, 0
	closeAt := func(to int) {
		if !ours {
			return
		}
		s := wholeLines(text, span{from, lastLine(text[:to])}, true)
		if n := len(all); n > 0 && s.from < all[n-1].to {
			s.from = all[n-1].to
		}
		all, ours = append(all, s), false
	}
	for p.NextExpression() {
		e := p.Expression()
		var keys []string
		at := -1
		for it := e.Key(); it.Next(); {
			if at < 0 {
				at = lineStart(text, int(it.Node().Raw.Offset))
			}
			keys = append(keys, string(it.Node().Data))
		}
		path := keys
		if e.Kind == unstable.KeyValue {
			path = append(table[:len(table):len(table)], keys...)
		} else {
			table = keys
		}
		inside := len(path) > 1 && path[0] == f.table && path[1] == name
		switch {
		case inside && !ours:
			ours, from = true, at
		case !inside:
			closeAt(at)
		}
	}
	closeAt(len(text))
	return all
}

// lastLine is the end of the last line of text, without its ending, that is neither blank nor a comment.
func lastLine(text []byte) int {
	for end := len(text); end > 0; {
		start := lineStart(text, end)
		line := bytes.TrimSpace(text[start:end])
		if len(line) > 0 && line[0] != '#' {
			return start + len(bytes.TrimRight(text[start:end], "\r"))
		}
		end = start - 1
	}
	return 0
}
