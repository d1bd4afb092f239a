package broker

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
)

// onceFor bounds how long a yes for once serves a host whose requests are forwarded: a token that the host held itself
// would serve it as long as it lives.
const onceFor = time.Hour

// consents are the person's words that live in memory only: those that end with one run of a host, and the quirks that they
// declined. Those that last are in the record.
type consents struct {
	mu       sync.Mutex // guards all below
	running  map[*ledger.Grant][]running
	declined map[declined]bool // since the last sign-in
}

type declined struct {
	grant *ledger.Grant
	quirk quirk.Quirk
}

// running is a consent that ends with one run of a host.
type running struct {
	localapi.Consent
	instance string
}

// over reports whether c has ended.
func (c running) over(now time.Time) bool {
	return !peer.Running(c.instance) || !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// name tells c from others of its grant, and from one that took its place.
func (c running) name() string { return c.instance + " " + c.Mode + " " + c.ExpiresAt.String() }

func newConsents() *consents {
	return &consents{running: map[*ledger.Grant][]running{}, declined: map[declined]bool{}}
}

// allowed returns the scopes that host may have of g, by every consent that still holds; ok is false when there is none.
// forward says that the gateway asks: a yes for once that was given to it holds on.
func (k *consents) allowed(g *ledger.Grant, host peer.Host, forward bool) (set ledger.Scopes, ok bool) {
	var lists [][]string
	now := time.Now()
	for _, c := range g.Record().Consents {
		if c.Host == host.Key && host.Key != "" && (c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt)) {
			lists = append(lists, c.Scopes)
		}
	}
	k.mu.Lock()
	for _, c := range k.running[g] {
		once := c.Mode == localapi.ModeOnce
		if c.instance == host.Instance && host.Instance != "" && (forward || !once) && (c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt)) {
			lists = append(lists, c.Scopes)
		}
	}
	k.mu.Unlock()
	if len(lists) == 1 {
		return lists[0], true // kept sorted; see add and withConsent
	}
	return ledger.ScopeSet(lists...), len(lists) > 0
}

// living are those of g that have not ended, and ended the others, by name. Whether a run goes on is asked of the system,
// with no lock held.
func (k *consents) living(g *ledger.Grant) (living []running, ended map[string]bool) {
	k.mu.Lock()
	all := slices.Clone(k.running[g])
	k.mu.Unlock()
	now, ended := time.Now(), map[string]bool{}
	for _, c := range all {
		if c.over(now) {
			ended[c.name()] = true
		} else {
			living = append(living, c)
		}
	}
	return living, ended
}

// add keeps yes while host runs, and lets go of those that have ended. Nothing is kept about a grant that is gone.
func (k *consents) add(g *ledger.Grant, host peer.Host, yes localapi.Consent) {
	_, ended := k.living(g)
	k.mu.Lock()
	defer k.mu.Unlock()
	if g.Gone() {
		return
	}
	yes.Scopes = ledger.ScopeSet(yes.Scopes)
	kept := slices.DeleteFunc(k.running[g], func(c running) bool { return ended[c.name()] })
	same := slices.IndexFunc(kept, func(c running) bool { return c.instance == host.Instance && c.Mode == yes.Mode })
	if same >= 0 {
		yes.Scopes = ledger.ScopeSet(kept[same].Scopes, yes.Scopes)
		kept[same] = running{yes, host.Instance}
	} else {
		kept = append(kept, running{yes, host.Instance})
	}
	k.running[g] = kept
}

// addOnce keeps a yes for once for as long as the token it was given for lives; expiry is zero if that is not known.
func (k *consents) addOnce(g *ledger.Grant, host peer.Host, yes localapi.Consent, expiry time.Time) {
	if yes.ExpiresAt = time.Now().Round(0).Add(onceFor); !expiry.IsZero() && expiry.Before(yes.ExpiresAt) {
		yes.ExpiresAt = expiry
	}
	k.add(g, host, yes)
}

// shown are the consents of g that end with the run of a host.
func (k *consents) shown(g *ledger.Grant) (out []localapi.Consent) {
	living, _ := k.living(g)
	for _, c := range living {
		out = append(out, c.Consent)
	}
	return out
}

// takeBack ends what the host with that key may do with g.
func (k *consents) takeBack(g *ledger.Grant, host string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if left := slices.DeleteFunc(k.running[g], func(c running) bool { return c.Host == host }); len(left) > 0 {
		k.running[g] = left
	} else {
		delete(k.running, g)
	}
}

// decline remembers that the person said no to a quirk.
func (k *consents) decline(g *ledger.Grant, q quirk.Quirk) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !g.Gone() {
		k.declined[declined{g, q}] = true
	}
}

// hasDeclined reports whether the person said no to q since they signed in.
func (k *consents) hasDeclined(g *ledger.Grant, q quirk.Quirk) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.declined[declined{g, q}]
}

// signedIn has the person asked again what they declined.
func (k *consents) signedIn(g *ledger.Grant) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for d := range k.declined {
		if d.grant == g {
			delete(k.declined, d)
		}
	}
}

// drop lets go of what there is about g.
func (k *consents) drop(g *ledger.Grant) {
	k.signedIn(g)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.running, g)
}

// addConsent keeps yes, unless it was for this once only. The record is written before memory learns of it.
func (b *Broker) addConsent(ctx context.Context, g *ledger.Grant, host peer.Host, yes *localapi.Consent) error {
	if yes.Mode == localapi.ModeOnce {
		return nil
	}
	turn, err := g.Take(ctx)
	if err != nil {
		return err
	}
	defer turn.Give()
	if yes.Mode == localapi.ModeRunning {
		b.consents.add(g, host, *yes)
		return nil
	}
	turn.Keep(ctx, func(rec *ledger.Record) { rec.Consents = withConsent(rec.Consents, *yes, time.Now()) })
	return nil
}

// withConsent adds yes to consents: joined with an equal one, in place of one for an earlier content of the same
// program, and without those that have expired.
func withConsent(consents []localapi.Consent, yes localapi.Consent, now time.Time) []localapi.Consent {
	yes.Scopes = ledger.ScopeSet(yes.Scopes)
	out := []localapi.Consent{}
	for _, c := range consents {
		switch {
		case !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt):
		case c.Host == yes.Host && c.Mode == yes.Mode:
			yes.Scopes = ledger.ScopeSet(c.Scopes, yes.Scopes)
		case c.Host != yes.Host && baseOf(c.Host) == baseOf(yes.Host) && yes.Mode == localapi.ModeAlways && c.Mode == localapi.ModeAlways:
			yes.Scopes = ledger.ScopeSet(yes.Scopes)
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
