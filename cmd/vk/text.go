package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
)

// clean makes text from elsewhere safe for a terminal: servers choose their own names, and issuers the words of their
// errors.
func clean(s string) string { return untrusted.Visible(s) }

// words says how long d is, in one unit.
func words(d time.Duration) string {
	count := func(n time.Duration, one, many string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %s", n, many)
	}
	switch d = d.Abs(); {
	case d < 90*time.Second:
		return count((d+time.Second-1)/time.Second, "s", "s")
	case d < 90*time.Minute:
		return count((d+30*time.Second)/time.Minute, "min", "min")
	case d < 36*time.Hour:
		return count((d+30*time.Minute)/time.Hour, "h", "h")
	}
	return count((d+12*time.Hour)/(24*time.Hour), "day", "days")
}

// relative says when t is, seen from now; "-" for no time.
func relative(t, now time.Time) string {
	switch d := t.Sub(now); {
	case t.IsZero():
		return "-"
	case d > 0:
		return "in " + words(d)
	case d > -time.Second:
		return "now"
	default:
		return words(d) + " ago"
	}
}

// printJSON prints v as the app sent it, indented for people.
func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (p *program) expiry(g localapi.Grant) string { return relative(g.ExpiresAt, p.now()) }

// named names a grant in a sentence.
func named(g localapi.Grant) string {
	if g.Account == "" {
		return clean(g.Server)
	}
	return clean(g.Server) + " as " + clean(g.Account)
}

func stateWords(state string) string {
	switch state {
	case localapi.StateSignIn:
		return "sign in again"
	case localapi.StateUnsaved:
		return "not saved"
	case localapi.StateUnavailable:
		return "issuer can't be reached"
	}
	return clean(state)
}

func modeWords(mode string) string {
	switch mode {
	case localapi.ModeRunning:
		return "while it runs"
	case localapi.ModeHour:
		return "1 hour"
	}
	return clean(mode)
}

// askWords says how the person is asked, or why they cannot be.
func askWords(s *localapi.Status) string {
	if s.Windows != nil {
		return "no window can be shown: " + clean(s.Windows.Message) + clean(hintOf(s.Windows))
	}
	switch s.Face {
	case "window":
		return "in a window"
	case "terminal":
		return "on the terminal that runs Valet Key"
	case "policy":
		return "nobody is asked: a policy file answers"
	}
	return clean(s.Face)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// table aligns rows in columns, without blanks at the ends of lines.
func table(indent string, rows [][]string) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, indent+strings.Join(row, "\t"))
	}
	w.Flush()
	return out.String()
}
