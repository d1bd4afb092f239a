// Package words shapes text for people to read.
package words

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sentence makes an error's text one for a person: a capital at the start, a full stop at the end unless it asks.
func Sentence(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return ""
	}
	s = string(unicode.ToUpper(first)) + s[size:]
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "?") {
		s += "."
	}
	return s
}

// Host is the host of a URL, for a sentence; what is no such URL stands for itself.
func Host(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return rawURL
	}
	return u.Host
}
