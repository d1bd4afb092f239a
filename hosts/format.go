package hosts

import (
	"bytes"
	"errors"
	"strings"
)

// format reads and edits one kind of file. Texts have no byte order mark. Errors say what is wrong with the text.
type format interface {
	// entries reads the entries.
	entries(text []byte) ([]found, error)
	// add says what to insert so that the text has one more entry. It refuses a text that it cannot add to without
	// changing something else.
	add(text []byte, name string, value fields) (insertion, error)
	// remove returns the text without the entry. was is the text before the first entry of ours was added, from which
	// it knows what was there for want of entries; nil if there was no file.
	remove(text []byte, name string, was []byte) ([]byte, error)
}

// hasLoneCR reports whether text has a carriage return that does not belong to a line ending of ours. To some formats
// it ends a line all the same.
func hasLoneCR(text []byte) bool {
	return bytes.Count(text, []byte("\r")) != bytes.Count(text, []byte("\r\n"))
}

// insertion is text that goes between two bytes of another.
type insertion struct {
	at   int
	text string
}

func (i insertion) into(text []byte) []byte {
	out := make([]byte, 0, len(text)+len(i.text))
	out = append(out, text[:i.at]...)
	out = append(out, i.text...)
	return append(out, text[i.at:]...)
}

// span is a part of a text, from the first offset up to before the second.
type span struct{ from, to int }

// without returns text without spans, which are in order and do not overlap.
func without(text []byte, spans ...span) []byte {
	out := make([]byte, 0, len(text))
	at := 0
	for _, s := range spans {
		out = append(out, text[at:s.from]...)
		at = s.to
	}
	return append(out, text[at:]...)
}

var (
	errNoEntry   = errors.New("there is no such entry")
	errStrange   = errors.New("it is written in a way that cannot be edited without changing something else")
	errComments  = errors.New("it has comments or trailing commas, which this program does not read")
	errNotObject = errors.New("what holds the servers is not an object")
)

// newline returns the line ending that text uses.
func newline(text []byte) string {
	if i := bytes.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// appended is the insertion of whole lines, given without an ending, at the end of text. Text that does not end in a
// line ending does not afterwards either. With apart, a blank line goes before them.
func appended(text []byte, lines []string, apart bool) insertion {
	nl := newline(text)
	block := strings.Join(lines, nl)
	if len(text) == 0 {
		return insertion{0, block + nl}
	}
	if apart {
		block = nl + block
	}
	if text[len(text)-1] != '\n' {
		return insertion{len(text), nl + block}
	}
	return insertion{len(text), block + nl}
}

// wholeLines widens s from a line's start to a line's end, with its ending. If that is the end of a text that does not
// end in a line ending, the one before goes too, as appended added it. With apart, so does a blank line before.
func wholeLines(text []byte, s span, apart bool) span {
	s.from = lineStart(text, s.from)
	if end := bytes.IndexByte(text[s.to:], '\n'); end >= 0 && (s.to == 0 || text[s.to-1] != '\n') {
		s.to += end + 1
	} else if end < 0 && (s.to == 0 || text[s.to-1] != '\n') {
		s.to = len(text)
	}
	if before := lineStart(text, max(0, s.from-1)); apart && s.from > 0 && isBlank(text[before:s.from]) {
		s.from = before
	}
	if s.to == len(text) && s.to > 0 && text[s.to-1] != '\n' {
		s.from -= len(ending(text[:s.from]))
	}
	return s
}

// ending is the line ending that text ends in.
func ending(text []byte) string {
	for _, nl := range []string{"\r\n", "\n"} {
		if bytes.HasSuffix(text, []byte(nl)) {
			return nl
		}
	}
	return ""
}

// lineStart is the offset of the first byte of the line that at is in.
func lineStart(text []byte, at int) int { return bytes.LastIndexByte(text[:at], '\n') + 1 }

func isBlank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

// indentOf is the white space that the line of at starts with.
func indentOf(text []byte, at int) string {
	start := lineStart(text, at)
	line := text[start:]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}
