package app

import (
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
)

func TestURLSpans(t *testing.T) {
	tests := []struct{ url, bold, written string }{
		{"https://mcp.example.com/mcp", "example.com", ""},
		{"https://a.b.example.co.uk:8443/x?y#z", "example.co.uk", ""},
		{"https://example.com", "example.com", ""},
		{"https://ann.github.io/mcp", "ann.github.io", ""}, // a suffix under which everyone can register
		{"https://paypal.com.evil.example/", "evil.example", ""},
		{"https://user@example.com/", "example.com", ""},
		{"http://localhost:8080/mcp", "localhost", ""},
		{"http://127.0.0.1:8080/mcp", "127.0.0.1", ""},
		{"http://[::1]:8080/mcp", "[::1]", ""},
		{"https://b\u00fccher.example/mcp", "xn--bcher-kva.example", "b\u00fccher.example"},
		{"https://xn--bcher-kva.example/mcp", "xn--bcher-kva.example", "b\u00fccher.example"},
		{"https://xn--80ak6aa92e.com/", "xn--80ak6aa92e.com", "\u0430\u0440\u0440\u04cf\u0435.com"}, // looks like apple
		{"https://com/", "com", ""},
		{"not a URL", "", ""},
		{"", "", ""},
	}
	for _, test := range tests {
		var bold, whole string
		for _, s := range urlSpans(test.url) {
			if s.style.Bold {
				bold += s.text
			}
			whole += s.text
		}
		if bold != test.bold {
			t.Errorf("%s: bold %q, want %q", test.url, bold, test.bold)
		}
		if got := written(test.url); got != test.written {
			t.Errorf("%s: written %q, want %q", test.url, got, test.written)
		}
		if test.written == "" && whole != test.url {
			t.Errorf("%s: shown as %s", test.url, whole)
		}
	}
}

func TestLongNamesKeepTheirTellingEnd(t *testing.T) {
	host := strings.Repeat("login.example.com.", 10) + "evil.example"
	if got := ending(host); len([]rune(got)) > titleMost+1 || !strings.HasSuffix(got, "evil.example") || !strings.HasPrefix(got, "…") {
		t.Errorf("host %q", got)
	}
	if got := shorten(strings.Repeat("ab", 50), titleMost); len([]rune(got)) > titleMost+1 || !strings.HasPrefix(got, "abab") || !strings.HasSuffix(got, "…") {
		t.Errorf("name %q", got)
	}
	if ending("short") != "short" || shorten("short", 9) != "short" {
		t.Error("a short name is changed")
	}
}

func TestTitles(t *testing.T) {
	tests := map[string]string{
		face.KindConsent:  "claude wants to use mcp.example.com as work",
		face.KindSignIn:   "claude asks you to sign in to mcp.example.com as work",
		face.KindForget:   "claude wants Valet Key to forget mcp.example.com as work",
		face.KindRegister: "claude wants to set the client ID used at login.example.net",
		face.KindClientID: "login.example.net needs a client ID",
	}
	for kind, want := range tests {
		q := question(kind)
		q.ClientID = "mine"
		if got := titleOf(q); got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
	if got := titleOf(question(face.KindRegister)); got != "claude wants to remove the client ID used at login.example.net" {
		t.Errorf("remove: %q", got)
	}
	for name, want := range map[string]string{
		quirk.Audience: "Something is wrong with the tokens for mcp.example.com", quirk.Issuer: "Something is wrong with the tokens for mcp.example.com",
		quirk.PKCEUnlisted: "login.example.net does not say that it checks PKCE", quirk.IssuerSlash: "mcp.example.com writes its issuer's address differently",
		quirk.NoResource: "login.example.net does not make out tokens to one server",
	} {
		q := question(face.KindQuirk)
		q.Quirk = &quirk.Quirk{Name: name}
		if got := titleOf(q); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := titleOf(face.Question{Kind: face.KindConsent, Server: "https://x.example", Account: "default"}); got != "An unknown program wants to use x.example" {
		t.Errorf("unknown host: %q", got)
	}
}

func TestTimes(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "less than a minute", 52 * time.Minute: "52 min", 100 * time.Minute: "2 hours",
		47 * time.Hour: "47 hours", 80 * time.Hour: "3 days", -time.Hour: "less than a minute"} {
		if got := lasting(d); got != want {
			t.Errorf("lasting %v: %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "12:00", -11 * time.Hour: "01:00", -13 * time.Hour: "Thu 23:00",
		-10 * 24 * time.Hour: "10 Nov 12:00", -400 * 24 * time.Hour: "16 Oct 2025"} {
		if got := clock(noon.Add(d), noon); got != want {
			t.Errorf("clock %v: %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{107 * time.Second: "1:47", 106_100 * time.Millisecond: "1:47", 9 * time.Second: "0:09", -time.Second: "0:00"} {
		if got := countdown(d); got != want {
			t.Errorf("countdown %v: %q, want %q", d, got, want)
		}
	}
}

func TestSentences(t *testing.T) {
	tests := map[string]face.Entry{
		"claude got a token for mcp.example.com as work":         {Event: "token", Host: "claude", Account: "work", Decision: "allowed"},
		"claude uses mcp.example.com":                            {Event: "use", Host: "claude", Decision: "allowed"},
		"claude got no token for mcp.example.com":                {Event: "token", Host: "claude", Decision: "denied"},
		"claude got no answer for mcp.example.com":               {Event: "token", Host: "claude", Decision: "unanswered"},
		"claude could not be given a token for mcp.example.com":  {Event: "token", Host: "claude", Decision: "failed"},
		"Signed in to mcp.example.com":                           {Event: "sign_in", Decision: "done"},
		"Sign-in failed at mcp.example.com":                      {Event: "sign_in", Decision: "failed"},
		"Renewed the sign-in to mcp.example.com":                 {Event: "refresh", Decision: "done"},
		"Renewing failed at mcp.example.com":                     {Event: "refresh", Decision: "failed"},
		"You let claude use mcp.example.com, for 1 hour":         {Event: "consent", Host: "claude", Decision: "allowed", Mode: localapi.ModeHour},
		"You denied claude the use of mcp.example.com":           {Event: "consent", Host: "claude", Decision: "denied"},
		"Nobody answered whether claude may use mcp.example.com": {Event: "consent", Host: "claude", Decision: "unanswered"},
		"Took back the use of mcp.example.com by claude":         {Event: "revoke", Host: "claude", Decision: "done"},
		"You forgot mcp.example.com":                             {Event: "forget", Decision: "done"},
		"claude something new: mcp.example.com done":             {Event: "something_new", Host: "claude", Decision: "done"},
	}
	for want, e := range tests {
		e.Resource = "https://mcp.example.com/mcp"
		if got := joined(sentence(e)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	tests := map[string]string{ // "" : refused
		"https://mcp.example.com/mcp": "https://mcp.example.com/mcp", " mcp.example.com/mcp ": "https://mcp.example.com/mcp",
		"http://localhost:8080/mcp": "http://localhost:8080/mcp", "localhost:8080": "https://localhost:8080",
		"": "", "  ": "", "ftp://example.com": "", "https://": "", "https://ann:pw@example.com/": "", "two words": "", "javascript://x": "",
	}
	for typed, want := range tests {
		got, err := checkAddress(typed)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", typed, got, err, want)
		}
		if err != nil && strings.Contains(err.Message, "pw") {
			t.Errorf("the answer to %q repeats it: %s", typed, err.Message)
		}
	}
}

func TestNoWordCallsAProgramSafe(t *testing.T) {
	for l := peer.Unknown; l <= peer.Signed; l++ {
		if w := levelWord(l); w == "" || strings.Contains(w, "safe") || strings.Contains(w, "trust") || strings.Contains(w, "verified") {
			t.Errorf("%v: %q", l, w)
		}
	}
}
