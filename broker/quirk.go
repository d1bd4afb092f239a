package broker

import (
	"context"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// What an issuer or a server gets wrong and the person accepts, and what they set for it, is data in the record: a
// quirk.Quirk. What is wrong is asked about once, with what it means, and none is assumed.

func acceptedNow() time.Time { return time.Now().Truncate(time.Second).UTC() }

// quirkQuestion asks whether a quirk of rec's server is accepted.
func (w *want) quirkQuestion(rec ledger.Record, wrong quirk.Quirk) face.Question {
	q := w.question(face.KindQuirk, rec)
	q.Quirk, q.Notes = &wrong, []string{wrong.Meaning()}
	return q
}

// setQuirk keeps what the person accepted or set for g's server, and has every token looked at again.
func (b *Broker) setQuirk(ctx context.Context, g *ledger.Grant, q quirk.Quirk) error {
	rule := "you accepted the quirk " + q.Name
	if q.Is(quirk.Set) {
		rule = "you set " + q.String() + ", which counts from the next sign-in"
	}
	return b.changeQuirks(ctx, g, rule, func(quirks []quirk.Quirk) []quirk.Quirk {
		q.AcceptedAt = acceptedNow()
		return quirk.With(quirks, q)
	})
}

// dropQuirk takes one back.
func (b *Broker) dropQuirk(ctx context.Context, g *ledger.Grant, name string) error {
	return b.changeQuirks(ctx, g, "you took the quirk "+name+" back", func(quirks []quirk.Quirk) []quirk.Quirk { return quirk.Without(quirks, name) })
}

func (b *Broker) changeQuirks(ctx context.Context, g *ledger.Grant, rule string, change func([]quirk.Quirk) []quirk.Quirk) error {
	turn, err := g.Take(ctx)
	if err != nil {
		return err
	}
	defer turn.Give()
	if err := turn.Change(ctx, func(r *ledger.Record) { r.Quirks = change(r.Quirks) }); err != nil {
		return err
	}
	b.tokens.CheckAnew(g)
	rec := g.Record()
	b.activity.add(face.Entry{Time: time.Now(), Event: face.KindQuirk, Resource: rec.Resource, Account: rec.Account, Decision: "done", Rule: words.Sentence(rule)})
	b.cfg.OnChange()
	return nil
}
