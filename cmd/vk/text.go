package main

import (
	"fmt"
	"time"

	"github.com/valetkey/valetkey/internal/untrusted"
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
