package discovery

import (
	"slices"
	"strings"
)

// Challenge is one entry of WWW-Authenticate: RFC 9110 §11.6.1. Its words are the server's own, unchecked.
type Challenge struct {
	Scheme string            // lower case: "bearer", "dpop", "basic", …
	params map[string]string // names in lower case, values unquoted; nil when there are none
}

// ResourceMetadata returns where the server says its metadata is (RFC 9728 §5.1), "" when it does not say.
func (c Challenge) ResourceMetadata() string { return c.params["resource_metadata"] }

// Scopes returns the scopes that the request needed (RFC 6750 §3), nil when the server does not say.
func (c Challenge) Scopes() []string { return scopeTokens(strings.Split(c.params["scope"], " ")) }

// Error returns the error code (RFC 6750 §3.1), "" when there is none: the request carried no token.
func (c Challenge) Code() string { return c.params["error"] }

// Reauthentication returns how the server wants the person to sign in anew, as the function of that name does.
func (c Challenge) Reauthentication() (acrValues, maxAge string, ok bool) {
	return Reauthentication(c.Code(), c.params["acr_values"], c.params["max_age"])
}

// Reauthentication returns what of an error's parameters says how the person is to sign in anew (RFC 9470 §3): the
// classes of authentication that are taken, and the most seconds since; "" for what is not said, or not fit to be sent
// on. ok is false when the error is another.
func Reauthentication(code, acrValues, maxAge string) (acr, age string, ok bool) {
	if code != "insufficient_user_authentication" {
		return "", "", false
	}
	other := func(r rune) bool { return r < ' ' || r > '~' }
	if len(acrValues) > maxACR || strings.ContainsFunc(acrValues, other) {
		acrValues = ""
	}
	if len(maxAge) > 9 || strings.Trim(maxAge, "0123456789") != "" {
		maxAge = ""
	}
	return acrValues, maxAge, true
}

// ours reports whether c can be answered with an OAuth token.
func (c Challenge) ours() bool {
	return c.Scheme == "bearer" || c.Scheme == "dpop" || c.ResourceMetadata() != ""
}

// scopeTokens returns the words that are scopes (RFC 6749 §3.3), each once, in their order.
func scopeTokens(words []string) []string {
	var scopes []string
	for _, w := range words {
		other := func(r rune) bool { return r < 0x21 || r > 0x7e || r == '"' || r == '\\' }
		if w != "" && !strings.ContainsFunc(w, other) && !slices.Contains(scopes, w) {
			scopes = append(scopes, w)
		}
	}
	return scopes
}

// What a hostile header may cost us; a server that means it needs far less.
const (
	maxField      = 16 << 10 // bytes; a longer field is left out
	maxChallenges = 32
	maxParams     = 32  // of one challenge
	maxACR        = 500 // bytes of acr_values, which travel in a URL
)

// ParseChallenges reads the WWW-Authenticate fields of one response, each field any number of challenges. What is
// malformed costs itself only, its neighbours are kept; token68 values are skipped; of a parameter that comes twice the
// first counts. Two mistakes that servers make are read as they are meant: an unquoted URL, and no comma between
// parameters.
func ParseChallenges(values []string) []Challenge {
	var all []Challenge
	for _, v := range values {
		if len(v) > maxField {
			continue
		}
		p := &scanner{s: v}
		p.challenges()
		all = append(all, p.found...)
		if len(all) >= maxChallenges {
			return all[:maxChallenges]
		}
	}
	return all
}

// scanner reads one field from left to right.
type scanner struct {
	s     string
	i     int
	found []Challenge
}

// challenges reads #challenge. The grammar tells a parameter from a new challenge only by what follows the first word,
// so each element is looked at by itself: word "=" value belongs to the challenge before it, a word alone begins one.
func (p *scanner) challenges() {
	begin := true // a new challenge may begin here: at the start and after a comma
	for {
		p.skip(" \t")
		switch {
		case p.i == len(p.s):
			return
		case p.s[p.i] == ',':
			p.i++
			begin = true
			continue
		}
		start := p.i
		word := p.token()
		after := p.i
		p.skip(" \t")
		switch {
		case word != "" && p.at('='):
			p.i++
			p.skip(" \t")
			p.param(word)
			begin = false
		case word != "" && begin && (p.ends() || p.i > after):
			p.found = append(p.found, Challenge{Scheme: strings.ToLower(word)})
			p.token68()
			begin = false
		default:
			p.i = start
			p.junk()
			begin = false
		}
	}
}

// param reads the value of name and adds both to the newest challenge.
func (p *scanner) param(name string) {
	var value string
	if p.at('"') {
		var ok bool
		if value, ok = p.quoted(); !ok {
			return
		}
	} else {
		start := p.i
		for p.i < len(p.s) && p.s[p.i] > ' ' && p.s[p.i] < 0x7f && p.s[p.i] != ',' && p.s[p.i] != '"' {
			p.i++
		}
		value = p.s[start:p.i]
	}
	if value == "" || len(p.found) == 0 {
		return
	}
	c := &p.found[len(p.found)-1]
	name = strings.ToLower(name)
	if _, twice := c.params[name]; twice || len(c.params) >= maxParams {
		return
	}
	if c.params == nil {
		c.params = map[string]string{}
	}
	c.params[name] = value
}

// quoted reads a quoted-string (RFC 9110 §5.6.4); false when it has no end or holds control characters.
func (p *scanner) quoted() (string, bool) {
	var b strings.Builder
	ok := true
	for p.i++; p.i < len(p.s); p.i++ {
		c := p.s[p.i]
		if c == '"' {
			p.i++
			return b.String(), ok
		}
		if c == '\\' && p.i+1 < len(p.s) {
			p.i++
			c = p.s[p.i]
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			ok = false
		}
		b.WriteByte(c)
	}
	return "", false
}

// token68 skips the one value that some schemes have in place of parameters (RFC 9110 §11.2). An element like "a=" is
// either that or a parameter without a value: there is nothing to keep in both cases.
func (p *scanner) token68() {
	start := p.i
	for p.i < len(p.s) && (isToken(p.s[p.i]) || p.s[p.i] == '/') {
		p.i++
	}
	p.skip("=")
	p.skip(" \t")
	if !p.ends() {
		p.i = start
	}
}

// junk skips to the next comma that is not inside quotes.
func (p *scanner) junk() {
	for p.i < len(p.s) && p.s[p.i] != ',' {
		if p.s[p.i] == '"' {
			p.quoted()
		} else {
			p.i++
		}
	}
}

func (p *scanner) token() string {
	start := p.i
	for p.i < len(p.s) && isToken(p.s[p.i]) {
		p.i++
	}
	return p.s[start:p.i]
}

func (p *scanner) skip(chars string) {
	for p.i < len(p.s) && strings.IndexByte(chars, p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *scanner) at(c byte) bool { return p.i < len(p.s) && p.s[p.i] == c }
func (p *scanner) ends() bool     { return p.i == len(p.s) || p.s[p.i] == ',' }

// isToken is tchar: RFC 9110 §5.6.2.
func isToken(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
