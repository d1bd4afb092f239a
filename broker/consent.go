package broker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// allowed returns the scopes that host may have of g, by every consent that still holds; ok is false when there is none.
// forward says that the gateway asks: a yes for once that was given to it holds on. Callers hold Broker.mu.
func (g *grant) allowed(host peer.Host, now time.Time, forward bool) (set scopes, ok bool) {
	var lists [][]string
	for _, c := range g.record.Consents {
		if c.Host == host.Key && host.Key != "" && (c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt)) {
			lists = append(lists, c.Scopes)
		}
	}
	for _, c := range g.running {
		once := c.Mode == localapi.ModeOnce
		if c.instance == host.Instance && host.Instance != "" && (forward || !once) && (c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt)) {
			lists = append(lists, c.Scopes)
		}
	}
	if len(lists) == 1 {
		return lists[0], true // kept sorted; see addConsent
	}
	return scopeSet(lists...), len(lists) > 0
}

// running is a consent that ends with one run of a host. It lives in memory only.
type running struct {
	localapi.Consent
	instance string
}

// over reports whether c has ended.
func (c running) over(now time.Time) bool {
	return !peer.Running(c.instance) || !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// addConsent keeps yes, unless it was for this once only. The record is written before memory learns of it.
func (b *Broker) addConsent(ctx context.Context, g *grant, host peer.Host, yes *localapi.Consent) error {
	if yes.Mode == localapi.ModeOnce {
		return nil
	}
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	if yes.Mode == localapi.ModeRunning {
		b.mu.Lock()
		g.addRunning(host, *yes)
		b.mu.Unlock()
		return nil
	}
	b.keep(ctx, g, func(rec *record) { rec.Consents = withConsent(rec.Consents, *yes, time.Now()) })
	return nil
}

// addRunning keeps yes while host runs, and lets go of those that have ended. Callers hold Broker.mu.
func (g *grant) addRunning(host peer.Host, yes localapi.Consent) {
	g.running = slices.DeleteFunc(g.running, func(c running) bool { return c.over(time.Now()) })
	for i, c := range g.running {
		if c.instance == host.Instance && c.Mode == yes.Mode {
			yes.Scopes = scopeSet(c.Scopes, yes.Scopes)
			g.running[i] = running{yes, host.Instance}
			return
		}
	}
	yes.Scopes = scopeSet(yes.Scopes)
	g.running = append(g.running, running{yes, host.Instance})
}

// addOnce keeps a yes for once for as long as the token it was given for lives; expiry is zero if that is not known.
// Callers hold Broker.mu.
func (g *grant) addOnce(host peer.Host, yes localapi.Consent, expiry time.Time) {
	if yes.ExpiresAt = time.Now().Round(0).Add(onceFor); !expiry.IsZero() && expiry.Before(yes.ExpiresAt) {
		yes.ExpiresAt = expiry
	}
	g.addRunning(host, yes)
}

// withConsent adds yes to consents: joined with an equal one, in place of one for an earlier content of the same
// program, and without those that have expired.
func withConsent(consents []localapi.Consent, yes localapi.Consent, now time.Time) []localapi.Consent {
	yes.Scopes = scopeSet(yes.Scopes)
	out := []localapi.Consent{}
	for _, c := range consents {
		switch {
		case !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt):
		case c.Host == yes.Host && c.Mode == yes.Mode:
			yes.Scopes = scopeSet(c.Scopes, yes.Scopes)
		case c.Host != yes.Host && baseOf(c.Host) == baseOf(yes.Host) && yes.Mode == localapi.ModeAlways && c.Mode == localapi.ModeAlways:
			yes.Scopes = scopeSet(yes.Scopes)
		default:
			out = append(out, c)
		}
	}
	return append(out, yes)
}

// baseOf is a consent key without the hash of the program's content.
func baseOf(key string) string {
	base, _, _ := strings.Cut(key, "#")
	return base
}

// modes are the consent modes that may be offered to a host, by how sure we are of it (docs/threat-model.md).
func modes(h peer.Host) []string {
	out := []string{localapi.ModeOnce}
	if h.Instance != "" && h.Level > peer.Unknown {
		out = append(out, localapi.ModeRunning)
	}
	if h.Key == "" || h.Level <= peer.Unknown {
		return out
	}
	if h.Level > peer.SelfReported {
		out = append(out, localapi.ModeHour)
	}
	return append(out, localapi.ModeAlways)
}

// scopeRows draws the checkboxes: required ones first, each list sorted.
func scopeRows(offered, required, had scopes) []face.Scope {
	rows := []face.Scope{}
	for _, s := range required {
		rows = append(rows, face.Scope{Name: s, Required: true, New: !had.has(s), Checked: true})
	}
	for _, s := range offered.minus(required) {
		rows = append(rows, face.Scope{Name: s, New: !had.has(s), Checked: true})
	}
	return rows
}
