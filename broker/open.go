package broker

import (
	"cmp"
	"context"
	"time"

	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/words"
)

// A server that asks for no sign-in has a grant like any other, with the consents of the hosts that use it through the
// gateway, but no issuer and no token. It ends when the server begins to ask.

// open reports whether r's server asks for no sign-in.
func (r record) open() bool { return r.Issuer == "" }

const openNote = "This server asks for no sign-in. Valet Key passes on what the program says and what the server answers, " +
	"without a token of yours."

// planOpen says what is missing before g, which is open, can serve w. Callers hold mu.
func (b *Broker) planOpen(g *grant, w *want) step {
	switch _, consented := g.allowed(w.from.Host, time.Now(), w.forward); {
	case !w.forward:
		return fail(asksForNone(g.record.Server))
	case len(w.challenges) > 0: // it asks now
		return step{do: func(ctx context.Context) error { return b.firstSignIn(ctx, w) }}
	case !consented && w.yes == nil:
		return step{do: func(ctx context.Context) error { return b.askOpen(ctx, w) }}
	}
	w.rule = cmp.Or(w.rule, "the server asks for no sign-in")
	return step{serve: &held{}}
}

// askOpen asks whether w's host may use a server that asks for no sign-in, and keeps the yes.
func (b *Broker) askOpen(ctx context.Context, w *want) error {
	account := cmp.Or(w.account, defaultAccount)
	if err := b.records.writable(w.url, "", account); err != nil {
		return err
	}
	t := &target{server: w.url, resource: &discovery.Resource{Server: w.url, ID: w.url}, issuer: &discovery.Issuer{}, account: account}
	q := w.question(face.KindConsent, t.record())
	q.Why = words.Sentence("this program has not used " + words.Host(w.url) + " before")
	q.Notes = []string{openNote}
	q.Modes = modes(w.from.Host)
	yes, err := b.consent(ctx, w, q, nil)
	if err != nil {
		return err
	}
	g, fresh := b.takeGrant(t)
	if fresh {
		b.keep(ctx, g, func(*record) {})
		b.mu.Lock()
		b.grants = append(b.grants, g)
		b.mu.Unlock()
	}
	g.give()
	return b.addConsent(ctx, g, w.from.Host, yes)
}

// asksForNone is the answer to who wants a token for an open server.
func asksForNone(server string) error {
	return localapi.Errorf(localapi.ErrDiscovery, "%s asks for no sign-in", words.Host(server)).
		WithHint("hosts can use it without a token; vk bridge and the gateway pass it on")
}
