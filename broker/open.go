package broker

import (
	"cmp"
	"context"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/broker/signin"
	"github.com/valetkey/valetkey/broker/tokens"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/words"
)

// A server that asks for no sign-in has a grant like any other, with the consents of the hosts that use it through the
// gateway, but no issuer and no token. It ends when the server begins to ask.

const openNote = "This server asks for no sign-in. Valet Key passes on what the program says and what the server answers, " +
	"without a token of yours."

// planOpen says what is missing before g, which is open, can serve a.
func (b *Broker) planOpen(rec ledger.Record, a *attempt, consented bool) step {
	switch {
	case a.forward == nil:
		return fail(asksForNone(rec.Server))
	case len(a.challenges) > 0: // it asks now
		return step{do: func(ctx context.Context) error { return b.firstSignIn(ctx, a) }}
	case !consented && a.yes == nil:
		return step{do: func(ctx context.Context) error { return b.askOpen(ctx, a) }}
	}
	return step{serve: &tokens.Token{}, rule: "the server asks for no sign-in"}
}

// askOpen asks whether a's host may use a server that asks for no sign-in, and keeps the yes.
func (b *Broker) askOpen(ctx context.Context, a *attempt) error {
	t := signin.Open(a.url, cmp.Or(a.account, defaultAccount))
	if err := b.ledger.Writable(t.ID()); err != nil {
		return err
	}
	q := a.question(face.KindConsent, t.Record())
	q.Why = words.Sentence("this program has not used " + words.Host(a.url) + " before")
	q.Notes = []string{openNote}
	q.Modes = modes(a.from.Host)
	yes, err := b.consent(ctx, a, q, nil)
	if err != nil {
		return err
	}
	turn, fresh := b.ledger.Claim(t.Record())
	if fresh {
		turn.Keep(ctx, func(*ledger.Record) {})
		turn.Introduce()
	}
	turn.Give()
	return b.addConsent(ctx, turn.Grant(), a.from.Host, yes)
}

// asksForNone is the answer to who wants a token for an open server.
func asksForNone(server string) error {
	return localapi.Errorf(localapi.ErrDiscovery, "%s asks for no sign-in", words.Host(server)).
		WithHint("hosts can use it without a token; vk bridge and the gateway pass it on")
}
