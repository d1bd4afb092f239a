package tray

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
)

// Bounds of the drawing. What is left out stands in the window.
const (
	maxRows  = 12 // of one kind
	maxLabel = 80 // characters of one row
	maxName  = 48 // characters of one server or program in it
)

// item is one row of the menu. A row with neither open, wish nor sub only tells something.
type item struct {
	label string
	open  bool
	wish  face.Wish
	sub   []item
	line  bool // a separator
}

// look is which icon is shown.
type look int

const (
	normal    look = iota
	attention      // a question waits
	problem        // the keychain or a grant needs the person
)

// menu draws s. Times are given by the clock, in now's time zone: "until 14:05" stays true until then with no
// redrawing, where "52 minutes" would cost a wake-up a minute.
func menu(s face.State, now time.Time) []item {
	var rows []item
	rows = append(rows, bounded(waiting(s.Waiting))...)
	if broken(s.Keychain) {
		rows = append(rows, item{label: label("Keychain: " + s.Keychain), open: true})
	}
	if s.Windows != nil {
		rows = append(rows, item{label: label("No windows: " + s.Windows.Message)}, item{label: label("Please " + s.Windows.Hint)})
	}
	rows = append(rows, bounded(signIns(s.SignIns))...)
	rows = append(rows, bounded(servers(s.Grants, now))...)
	if len(rows) == 0 {
		rows = append(rows, item{label: "No servers yet"})
	}
	rows = append(rows, bounded(paused(s.Paused, now))...)
	return append(rows, item{line: true}, item{label: "Open Valet Key", open: true}, item{label: "Quit", wish: face.WishQuit{}})
}

func waiting(questions []face.Question) []item {
	var rows []item
	for _, q := range questions {
		who, server := short(q.Host.Name), serverName(q.Server)
		var text string
		switch q.Kind {
		case face.KindSignIn:
			text = fmt.Sprintf("%s asks to sign in to %s…", who, server)
			if q.Own() {
				text = fmt.Sprintf("Sign in to %s…", server)
			}
		case face.KindForget:
			text = fmt.Sprintf("%s asks to forget %s…", who, server)
		case face.KindRegister:
			verb := "set a"
			if q.ClientID == "" {
				verb = "remove the"
			}
			text = fmt.Sprintf("%s asks to %s client ID for %s…", who, verb, serverName(q.Issuer))
		case face.KindClientID:
			text = fmt.Sprintf("%s needs a client ID…", serverName(q.Issuer))
		case face.KindQuirk:
			before, about, after := q.QuirkTitle()
			text = before + serverName(about) + after + "…"
		default:
			text = fmt.Sprintf("%s asks for %s…", who, server)
		}
		rows = append(rows, item{label: label(text), open: true})
	}
	return rows
}

func signIns(flows []face.SignIn) []item {
	var rows []item
	for _, f := range flows {
		rows = append(rows, item{label: label("Signing in to " + serverName(f.Server)), sub: []item{
			{label: "Open the page again", wish: face.WishOpenURL{ID: f.ID}},
			{label: "Cancel", wish: face.WishCancel{ID: f.ID}},
		}})
	}
	return rows
}

// servers lists those that need the person first, else in the order given.
func servers(grants []localapi.Grant, now time.Time) []item {
	accounts := map[string]int{}
	for _, g := range grants {
		accounts[g.Server]++
	}
	grants = slices.Clone(grants)
	slices.SortStableFunc(grants, func(a, b localapi.Grant) int { return urgency(b) - urgency(a) })
	var rows []item
	for _, g := range grants {
		name := serverName(g.Server)
		if accounts[g.Server] > 1 {
			name += " as " + short(g.Account)
		}
		again := "Sign in again"
		if g.State == localapi.StateSignIn {
			again = "Sign in"
		}
		rows = append(rows, item{label: label(name + ": " + stateOf(g, now)), sub: []item{
			{label: again, wish: face.WishSignIn{Server: g.Server, Account: g.Account}},
			{label: "Forget…", open: true},
		}})
	}
	return rows
}

func urgency(g localapi.Grant) int {
	switch g.State {
	case localapi.StateSignIn, localapi.StateUnsaved:
		return 1
	}
	return 0
}

func stateOf(g localapi.Grant, now time.Time) string {
	switch g.State {
	case localapi.StateSignIn:
		return "sign in again"
	case localapi.StateUnsaved:
		return "not saved in the keychain"
	case localapi.StateUnavailable:
		return "issuer cannot be reached"
	}
	if g.ExpiresAt.After(now) {
		return "ready, token until " + clock(g.ExpiresAt, now)
	}
	return "ready"
}

func paused(hosts []face.Paused, now time.Time) []item {
	var rows []item
	for _, p := range hosts {
		text := short(p.Name) + " is paused"
		if !p.Until.IsZero() {
			if !p.Until.After(now) {
				continue
			}
			text += " until " + clock(p.Until, now)
		}
		rows = append(rows, item{label: label(text), sub: []item{
			{label: "Resume now", wish: face.WishResume{Host: p.Host}},
		}})
	}
	return rows
}

// nextChange is when the menu of s would read differently although s stays the same: the next time it names that passes.
// Zero: never.
func nextChange(s face.State, now time.Time) time.Time {
	var next time.Time
	soonest := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, g := range s.Grants {
		soonest(g.ExpiresAt)
	}
	for _, p := range s.Paused {
		soonest(p.Until)
	}
	return next
}

// bounded keeps a menu from growing past the screen.
func bounded(rows []item) []item {
	if len(rows) <= maxRows {
		return rows
	}
	more := item{label: fmt.Sprintf("%d more…", len(rows)-maxRows+1), open: true}
	return append(rows[:maxRows-1:maxRows-1], more)
}

// lookOf puts a question before a problem: questions do not wait for long.
func lookOf(s face.State) look {
	switch {
	case len(s.Waiting) > 0:
		return attention
	case broken(s.Keychain) || s.Windows != nil || slices.ContainsFunc(s.Grants, func(g localapi.Grant) bool { return urgency(g) > 0 }):
		return problem
	}
	return normal
}

func broken(keychain string) bool { return keychain != "" && keychain != "ok" }

// tooltip says what the icon means.
func tooltip(s face.State) string {
	signIn := 0
	for _, g := range s.Grants {
		if g.State == localapi.StateSignIn {
			signIn++
		}
	}
	text := "Valet Key"
	switch {
	case len(s.Waiting) > 0:
		text += ": " + count(len(s.Waiting), "question waits", "questions wait") + " for you"
	case broken(s.Keychain):
		text += ": " + s.Keychain
	case s.Windows != nil:
		text += ": no windows: " + s.Windows.Message
	case signIn > 0:
		text += ": " + count(signIn, "server needs", "servers need") + " you to sign in again"
	case len(s.Grants) > 0:
		text += ": " + count(len(s.Grants), "server", "servers")
	}
	return label(text)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// clock gives a time as short as it stays clear, seen from now.
func clock(t, now time.Time) string {
	t = t.In(now.Location())
	switch {
	case t.Format(time.DateOnly) == now.Format(time.DateOnly):
		return t.Format("15:04")
	case t.Sub(now) < 6*24*time.Hour:
		return t.Format("Mon 15:04")
	}
	return t.Format("2 Jan 2006")
}

// serverName is the host of a URL, in ASCII so that no letter passes for another, with its path. A long host loses its
// start, never its end: the end says whose it is.
func serverName(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return short(rawURL)
	}
	host := u.Hostname()
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	if u.Port() != "" {
		host += ":" + u.Port()
	}
	if n := utf8.RuneCountInString(host); n > maxName {
		return "…" + short(string([]rune(host)[n-maxName+1:]))
	}
	return short(host + strings.TrimSuffix(u.EscapedPath(), "/"))
}

func short(s string) string { return untrusted.Text(s, maxName) }

// label also keeps the mark of a shortened name and that of a row that opens the window from doubling.
func label(s string) string { return untrusted.Text(strings.ReplaceAll(s, "……", "…"), maxLabel) }
