// Package untrusted makes text that a server or an issuer wrote fit to show to the person.
package untrusted

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	ellipsis = '…'
	maxMarks = 3 // accents stacked on one letter: enough for every living script, too few to paint over the line above
)

// hidden is what shows nothing itself but changes how its neighbours read, or carries text that nobody sees: control
// and bidirectional characters, zero widths, tags, variation selectors, fillers, surrogates and private use.
var hidden = []*unicode.RangeTable{
	unicode.C, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point,
}

// Text returns s as one line of at most maxRunes runes that shows what it is. White space of any kind becomes single
// spaces, none at the ends; hidden characters are dropped; bytes that are no UTF-8 become U+FFFD. Text that was longer
// ends in "…", which counts. The result is still the words of a stranger: show it beside where it came from.
func Text(s string, maxRunes int) string {
	if maxRunes <= 0 {
		return ""
	}
	var (
		out   = make([]rune, 0, min(maxRunes, len(s)))
		space bool
		marks int
	)
	for _, r := range s {
		switch {
		case unicode.IsSpace(r): // before hidden: line breaks and tabs are control characters too
			space = len(out) > 0
			continue
		case r != utf8.RuneError && unicode.In(r, hidden...):
			continue
		case unicode.Is(unicode.M, r):
			if marks++; marks > maxMarks || len(out) == 0 || space {
				continue
			}
		default:
			marks = 0
		}
		if space {
			out, space = append(out, ' '), false
		}
		out = append(out, r)
		if len(out) > maxRunes {
			return strings.TrimRight(string(out[:maxRunes-1]), " ") + string(ellipsis)
		}
	}
	return string(out)
}

// Visible returns s with each character that shows nothing itself, or reorders others, replaced by U+FFFD. Unlike
// Text it hides nothing and keeps the length in characters: it is for what must be shown exactly.
func Visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
