package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"strconv"
	"unicode/utf8"
)

// The functions of this file walk JSON that is known to be valid, without decoding it: what the bridge does not need it
// passes on byte for byte.

var errNotJSON = errors.New("not JSON")

// oneLine returns raw as valid JSON in valid UTF-8 on one line, or errNotJSON.
func oneLine(raw []byte) ([]byte, error) {
	raw = bytes.TrimSpace(raw)
	if !json.Valid(raw) {
		return nil, errNotJSON
	}
	if bytes.IndexByte(raw, '\n') >= 0 || bytes.IndexByte(raw, '\r') >= 0 {
		var b bytes.Buffer
		b.Grow(len(raw))
		if err := json.Compact(&b, raw); err != nil {
			return nil, errNotJSON
		}
		raw = b.Bytes()
	}
	if !utf8.Valid(raw) {
		raw = bytes.ToValidUTF8(raw, []byte("\ufffd"))
	}
	return raw, nil
}

// member is one member of an object: its key, and where in the object its value stands.
type member struct {
	key      []byte
	from, to int
}

// members yields the members of obj in order; none if obj is not an object.
func members(obj []byte) iter.Seq[member] {
	return func(yield func(member) bool) {
		i := space(obj, 0)
		if i >= len(obj) || obj[i] != '{' {
			return
		}
		for i = space(obj, i+1); obj[i] != '}'; i = space(obj, i) {
			if obj[i] == ',' {
				i = space(obj, i+1)
			}
			end := skip(obj, i)
			key := unquote(obj[i:end])
			from := space(obj, space(obj, end)+1) // past the colon
			to := skip(obj, from)
			if !yield(member{key, from, to}) {
				return
			}
			i = to
		}
	}
}

// elements yields the elements of arr in order; none if arr is not an array.
func elements(arr []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := space(arr, 0)
		if i >= len(arr) || arr[i] != '[' {
			return
		}
		for i = space(arr, i+1); arr[i] != ']'; i = space(arr, i) {
			if arr[i] == ',' {
				i = space(arr, i+1)
			}
			end := skip(arr, i)
			if !yield(arr[i:end:end]) {
				return
			}
			i = end
		}
	}
}

// find tells where in obj the value of key stands. Of two with the same key the last counts, as in most decoders.
func find(obj []byte, key string) (from, to int, found bool) {
	for m := range members(obj) {
		if string(m.key) == key {
			from, to, found = m.from, m.to, true
		}
	}
	return from, to, found
}

// get returns the value at the end of a path of keys; nil if there is none.
func get(obj []byte, path ...string) []byte {
	for _, key := range path {
		from, to, found := find(obj, key)
		if !found {
			return nil
		}
		obj = obj[from:to:to]
	}
	return obj
}

// text returns the string at the end of a path; "" if there is none.
func text(obj []byte, path ...string) string {
	return str(get(obj, path...))
}

// str returns what a JSON string says; "" for any other value.
func str(value []byte) string {
	if len(value) == 0 || value[0] != '"' {
		return ""
	}
	return string(unquote(value))
}

// set returns a copy of obj with value at the end of a path; objects that are missing on the way are made.
func set(obj, value []byte, path ...string) []byte {
	if !isObject(obj) {
		obj = []byte("{}")
	}
	from, to, found := find(obj, path[0])
	if len(path) > 1 {
		value = set(obj[from:to], value, path[1:]...)
	}
	next := make([]byte, 0, len(obj)+len(value)+len(path[0])+8)
	if found {
		next = append(next, obj[:from]...)
		next = append(next, value...)
		return append(next, obj[to:]...)
	}
	obj = bytes.TrimSpace(obj)
	next = append(next, bytes.TrimRight(obj[:len(obj)-1], " \t\r\n")...)
	if next[len(next)-1] != '{' {
		next = append(next, ',')
	}
	next = append(next, quote(path[0])...)
	next = append(next, ':')
	next = append(next, value...)
	return append(next, '}')
}

// isObject reports whether value is an object.
func isObject(value []byte) bool {
	i := space(value, 0)
	return i < len(value) && value[i] == '{'
}

// space returns the index of the first byte from i on that is not white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skip returns the index after the value that starts at i.
func skip(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = closing(b, i)
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 { // the end of what holds a number or a word
				return i
			} else if depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// closing returns the index of the quote that ends the string whose first quote is at i.
func closing(b []byte, i int) int {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++ // and what is escaped
		}
	}
	return i
}

// unquote returns what a JSON string says.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return nil
	}
	return []byte(s)
}

// quote returns s as a JSON string.
func quote(s string) []byte {
	b, _ := json.Marshal(s) // a string always can be
	return b
}

// object returns the object of the given members, a key and a value in turn; a value that is nil is left out.
func object(members ...any) []byte {
	b := []byte{'{'}
	for i := 0; i < len(members); i += 2 {
		var value []byte
		switch v := members[i+1].(type) {
		case []byte:
			if value = v; v == nil {
				continue
			}
		case string:
			value = quote(v)
		case int:
			value = strconv.AppendInt(nil, int64(v), 10)
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, quote(members[i].(string))...)
		b = append(b, ':')
		b = append(b, value...)
	}
	return append(b, '}')
}

// array returns the array of the given strings.
func array(texts ...string) []byte {
	b := []byte{'['}
	for _, s := range texts {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, quote(s)...)
	}
	return append(b, ']')
}
