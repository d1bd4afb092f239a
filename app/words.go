package app

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// hostOf is the host of a URL as it goes over the wire: punycode, lower case. Text that is no such URL stands for
// itself.
func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return rawURL
	}
	return asciiHost(u)
}

func asciiHost(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	if strings.Contains(host, ":") { // IPv6
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" {
		host += ":" + port
	}
	return host
}

// titleMost bounds a name in a title, in letters. The whole of it stands further down.
const titleMost = 44

// ending is the end of a host's name, which says whose it is, when the whole is too long for a title.
func ending(host string) string {
	if r := []rune(host); len(r) > titleMost {
		return "…" + string(r[len(r)-titleMost:])
	}
	return host
}

// shorten keeps the beginning of a text of more than so many letters.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// urlSpans is a URL in full, the registrable part of its host in bold: that part, and nothing left of it, says whose
// server it is. The host is in punycode.
func urlSpans(rawURL string) []span {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return []span{plain(rawURL)}
	}
	host := asciiHost(u)
	name, port := host, ""
	if u.Port() != "" {
		port = ":" + u.Port()
		name = strings.TrimSuffix(host, port)
	}
	bold := name
	if net.ParseIP(strings.Trim(name, "[]")) == nil {
		if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
			bold = domain
		}
	}
	rest := rawURL
	if i := strings.Index(rest, "://"); i >= 0 {
		rest = rest[i+3:]
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[i:]
	} else {
		rest = ""
	}
	spans := []span{muted(u.Scheme + "://")}
	if u.User != nil { // a name before the host is there to deceive
		spans = append(spans, muted(u.User.Username()+"@"))
	}
	return append(spans, plain(strings.TrimSuffix(name, bold)), strong(bold), muted(port+rest))
}

// written is an international host name as people write it, and "" for any other.
func written(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	ascii, err := idna.Lookup.ToASCII(strings.ToLower(u.Hostname()))
	if err != nil || !strings.Contains(ascii, "xn--") {
		return ""
	}
	name, err := idna.Display.ToUnicode(ascii)
	if err != nil || name == ascii {
		return ""
	}
	return name
}

// hostName is what a host is called in sentences.
func hostName(h peer.Host) string {
	if h.Name == "" {
		return "An unknown program"
	}
	return shorten(h.Name, titleMost)
}

// levelWord names how a host was recognised, in a word or two. No word calls a program safe.
func levelWord(l peer.Level) string {
	switch l {
	case peer.SelfReported:
		return "by its arguments"
	case peer.Path:
		return "in your files"
	case peer.SystemPath:
		return "system program"
	case peer.Sandbox:
		return "sandboxed"
	case peer.Signed:
		return "signed"
	}
	return "not identified"
}

// weak tells a level whose facts the program could have made up itself.
func weak(l peer.Level) bool { return l == peer.Unknown || l == peer.SelfReported }

// offlineAccess is the scope that asks for a refresh token: a matter between the person and us, no power of a host.
const offlineAccess = "offline_access"

// modeWord is a consent mode as a button or a line says it.
func modeWord(mode string) string {
	switch mode {
	case localapi.ModeOnce:
		return "once"
	case localapi.ModeRunning:
		return "while it runs"
	case localapi.ModeHour:
		return "for 1 hour"
	case localapi.ModeAlways:
		return "always"
	}
	return mode
}

// lasting is a span of time in words of one unit: "52 min".
func lasting(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Round(time.Hour)/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}

// clock is a moment as near as needed: "14:05", "Mon 14:05", "2 Jan 14:05", "2 Jan 2025".
func clock(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	switch age := now.Sub(t).Abs(); {
	case t.YearDay() == now.YearDay() && t.Year() == now.Year():
		return t.Format("15:04")
	case age < 6*24*time.Hour:
		return t.Format("Mon 15:04")
	case age < 180*24*time.Hour:
		return t.Format("2 Jan 15:04")
	}
	return t.Format("2 Jan 2006")
}

// capital makes the first letter of a sentence a capital one.
func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 || r == utf8.RuneError {
		return s
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

// countdown is a rest of time: "1:47".
func countdown(d time.Duration) string {
	d = max(d, 0)
	s := int((d + time.Second - 1) / time.Second)
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// asAccount is " as work", with nothing for the account that needs no name.
func asAccount(account string) string {
	if account == "" || account == "default" {
		return ""
	}
	return " as " + account
}

// sentences tell what the activity log holds, by event and decision; an event alone serves every other decision.
var sentences = map[string]string{
	"token":                    "{who} got a token for {server}{account}",
	"token denied":             "{who} got no token for {server}{account}",
	"token unanswered":         "{who} got no answer for {server}{account}",
	"token failed":             "{who} could not be given a token for {server}{account}",
	"use":                      "{who} uses {server}{account}",
	"sign_in":                  "Signed in to {server}{account}",
	"sign_in denied":           "Sign-in failed at {server}{account}",
	"sign_in failed":           "Sign-in failed at {server}{account}",
	"explain":                  "{who} was told what is in the token for {server}{account}",
	"explain denied":           "{who} could not be told about the token for {server}{account}",
	"explain failed":           "{who} could not be told about the token for {server}{account}",
	face.KindQuirk:             "A quirk was decided on for {server}{account}",
	face.KindQuirk + " denied": "You did not accept a quirk of {server}{account}",
	face.KindQuirk + " failed": "You did not accept a quirk of {server}{account}",
	"refresh":                  "Renewed the sign-in to {server}{account}",
	"refresh denied":           "Renewing failed at {server}{account}",
	"refresh failed":           "Renewing failed at {server}{account}",
	"consent":                  "You let {who} use {server}{account}{mode}",
	"consent denied":           "You denied {who} the use of {server}{account}",
	"consent unanswered":       "Nobody answered whether {who} may use {server}{account}",
	"revoke":                   "Took back the use of {server} by {who}{account}",
	"forget":                   "{who} forgot {server}{account}",
}

var variable = regexp.MustCompile(`\{\w+\}|[^{]+`)

// sentence tells an entry of the activity log.
func sentence(e face.Entry) []span {
	vars := map[string]span{"{who}": strong(cmp.Or(e.Host, "You")), "{server}": strong(hostOf(e.Resource)), "{account}": plain(asAccount(e.Account))}
	if hostOf(e.Resource) == "" {
		vars["{server}"] = plain("a server")
	}
	if e.Mode != "" {
		vars["{mode}"] = plain(", " + modeWord(e.Mode))
	}
	words, known := sentences[e.Event+" "+e.Decision]
	if !known {
		words, known = sentences[e.Event]
	}
	if !known {
		vars["{event}"], vars["{decision}"] = plain(" "+strings.ReplaceAll(e.Event, "_", " ")+": "), plain(" "+e.Decision)
		words = "{who}{event}{server}{account}{decision}"
	}
	var spans []span
	for _, part := range variable.FindAllString(words, -1) {
		if v, ok := vars[part]; ok {
			spans = append(spans, v)
		} else if part[0] != '{' {
			spans = append(spans, plain(part))
		}
	}
	return spans
}
