package tokens

import (
	"context"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/tokencheck"
)

const (
	checkTimeout = 5 * time.Second // of one check: a host waits for it
	checkAgain   = time.Minute     // after which a token that was not found good is looked at again
)

// Check looks at the token that is held of g for tok's scopes, or remembers how it looked. quirks are those it was looked at
// with.
func (t *Tokens) Check(ctx context.Context, g *ledger.Grant, tok Token) (check localapi.Check, quirks []quirk.Quirk) {
	h, checks := t.heldAs(g, tok)
	rec := g.Record() // after checks was read: who changes the record counts checks up afterwards
	if seen, ok := t.seen(h); ok {
		return seen, rec.Quirks
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	check = tokencheck.Check(ctx, tok.Access, tokencheck.Want{
		Resource: rec.Resource, Issuer: rec.Issuer, Scopes: tok.Scopes, Accepted: quirk.Effects(rec.Quirks),
		Keys: func(ctx context.Context, again bool) ([]byte, error) {
			issuer, err := t.issuer(ctx, rec)
			if err != nil {
				return nil, err
			}
			return t.cfg.Discovery.Keys(ctx, rec.Server, issuer, again)
		},
	})
	t.mu.Lock()
	if l := t.live[g]; l != nil && l.checks == checks { // else the person changed their mind meanwhile: the next one looks again
		h.check, h.checkUntil, l.check = &check, goodUntil(check), &check
	}
	t.mu.Unlock()
	t.cfg.Changed()
	return check, rec.Quirks
}

// heldAs is tok as it is held, and how often the checks of g's tokens have begun anew. What is found of a token that was
// replaced meanwhile is remembered with nobody.
func (t *Tokens) heldAs(g *ledger.Grant, tok Token) (h *held, checks int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.live[g]; l != nil {
		for _, h := range l.held { // it may be held for other scopes too than those it has
			if h.Access.Equal(tok.Access) {
				return h, l.checks
			}
		}
	}
	return &held{Token: tok}, -1
}

// seen is how h looked, while that counts.
func (t *Tokens) seen(h *held) (check localapi.Check, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case h.check == nil:
		return check, false
	case time.Now().Before(h.checkUntil):
		return *h.check, true
	case h.check.Result == localapi.CheckUnknown:
		h.checkUntil = time.Now().Add(checkTimeout) // one looks again; the others need not wait for it
	}
	return check, false
}

// CheckAnew has every token of g looked at again: what the person accepts of its server has changed.
func (t *Tokens) CheckAnew(g *ledger.Grant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.live[g]; l != nil {
		l.checks++
		for _, h := range l.held {
			h.check = nil
		}
	}
}

// goodUntil is when a token must be looked at again: a good one when it says that it ends, any other after a while.
func goodUntil(c localapi.Check) time.Time {
	switch c.Result {
	case localapi.CheckWrong, localapi.CheckUnknown:
		return c.At.Add(checkAgain)
	}
	for _, f := range c.Findings {
		if ends, err := time.Parse(time.RFC3339, f.Found); f.Name == localapi.CheckExpiry && err == nil {
			return ends
		}
	}
	return c.At.Add(24 * time.Hour) // an opaque one cannot change
}
