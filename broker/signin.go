package broker

import (
	"cmp"
	"context"

	"github.com/valetkey/valetkey/broker/asking"
	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/broker/signin"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// SignIn answers POST /v1/signin: it asks the person, then sends them to the issuer, and returns the grant.
func (b *Broker) SignIn(ctx context.Context, from *peer.Peer, req localapi.SignInRequest) (*localapi.Grant, error) {
	w, err := newWant(ctx, from, localapi.TokenRequest{
		Resource: req.Resource, Account: req.Account, Scopes: req.Scopes, Reason: req.Reason, Client: req.Client,
	})
	if err != nil {
		return nil, err
	}
	quirks, err := req.Settings()
	if err != nil {
		return nil, err
	}
	grant, err := b.signInAsked(ctx, w, quirks, req.Device)
	if err != nil {
		return nil, b.explain(err, w.url)
	}
	return grant, nil
}

// signInAsked asks the person and signs in, with quirks set for the server from then on; on another device, if they agree
// to that too.
func (b *Broker) signInAsked(ctx context.Context, w *want, quirks []quirk.Quirk, device bool) (*localapi.Grant, error) {
	if err := b.ledger.Load(ctx); err != nil {
		return nil, err
	}
	t, err := b.signIns.Discover(ctx, w.url, cmp.Or(w.account, defaultAccount), nil)
	if err != nil {
		return nil, err
	}
	var before ledger.Scopes
	if g, ok := b.ledger.Find(t.ID()); ok {
		before = ledger.ScopeSet(g.Record().Requested)
	}
	offered := ledger.ScopeSet(w.scopes, before)
	if len(offered) == 0 {
		offered = t.Scopes
	}
	for _, q := range quirks {
		q.AcceptedAt = acceptedNow()
		t.Quirks = append(t.Quirks, q)
	}
	q := w.question(face.KindSignIn, t.Record())
	q.Scopes = scopeRows(offered, nil, before)
	if device {
		t.Via = face.ViaDevice
	}
	b.signIns.Mention(&q, t)
	if device && q.SignIn && q.Via != face.ViaDevice {
		return nil, localapi.Errorf(localapi.ErrBadRequest, "%s does not offer to sign in on another device", words.Host(t.Issuer.ID)).
			WithHint("sign in by browser, without --device; or tell the issuer's owner about RFC 8628")
	}
	q.Why = "You, or the program named above, asked to sign in to this server."
	if w.from.Host.Name == "" {
		q.Why = "You asked to sign in to this server."
	}
	answer, _, err := b.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := b.signIns.Choose(t, answer); err != nil {
		return nil, err
	}
	chosen := ledger.ScopeSet(answer.Scopes).And(offered)
	if len(chosen) == 0 && len(offered) > 0 {
		return nil, localapi.Errorf(localapi.ErrConsentDenied, "the person allowed none of the scopes")
	}
	if _, err := b.signIn(ctx, t, chosen, w.from.Host, nil); err != nil {
		return nil, err
	}
	g, ok := b.ledger.Find(t.ID())
	if !ok {
		return nil, localapi.Errorf(localapi.ErrUnknownServer, "%s was forgotten meanwhile", words.Host(t.Server))
	}
	shown := b.shown(g)
	return &shown, nil
}

// signIn signs in to t, or joins those who do, and waits for the end. The grant is in place when it returns nil, with yes in
// it when the person allowed host more than this once.
func (b *Broker) signIn(ctx context.Context, t *signin.Target, ask ledger.Scopes, host peer.Host, yes *localapi.Consent) (joined bool, err error) {
	return b.signIns.Join(ctx, t, ask, host, yes, b.settle)
}

// agreed is what the person allowed a's host together with the sign-in to t that is under way, if that covers offered;
// nil when there is no such thing. A yes for once is for another request, unless the gateway makes both.
func (b *Broker) agreed(t *signin.Target, a *attempt, offered ledger.Scopes) *localapi.Consent {
	return b.signIns.Agreed(t, func(y signin.Allowed) bool {
		same := asking.HostID(y.Host) == asking.HostID(a.from.Host) && (y.Mode == localapi.ModeAlways || y.Mode == localapi.ModeHour || y.Host.Instance == a.from.Host.Instance)
		return same && (y.Mode != localapi.ModeOnce || a.forward != nil) && ledger.ScopeSet(y.Scopes).Covers(offered)
	})
}

// settle keeps what came of a sign-in: first in the record, then for everybody else. allowed is what the person allowed
// together with it.
func (b *Broker) settle(ctx context.Context, out *signin.Outcome, allowed func() []signin.Allowed) error {
	if out.Tokens != nil {
		b.enter(ctx, out)
	}
	g, ok := b.ledger.Find(out.Target.ID())
	for _, yes := range allowed() {
		if !ok {
			return nil // forgotten meanwhile; the next look says so
		}
		if err := b.addConsent(context.WithoutCancel(ctx), g, yes.Host, &yes.Consent); err != nil {
			return err
		}
	}
	return nil
}

// enter writes the record, tells memory, and then lets go of what the new grant replaces: whoever has one grant's turn must
// not wait for another's.
func (b *Broker) enter(ctx context.Context, out *signin.Outcome) {
	former, replaced := b.write(ctx, out)
	if at := former.Enterprise(); at != (ledger.Enterprise{}) && at != ledger.EnterpriseOf(out.Client) {
		if err := b.forgetIdentity(context.WithoutCancel(ctx), former); err != nil {
			b.cfg.Log.Warn("who you are at the enterprise that spoke for you before was not ended there", "issuer", at.Issuer, "error", err)
		}
	}
	forgotten, err := b.forgetAll(context.WithoutCancel(ctx), replaced)
	if err != nil {
		b.cfg.Log.Warn("a grant at the server's former issuer could not be removed", "error", err)
	} else if len(forgotten.NotRevoked) > 0 {
		b.cfg.Log.Warn("a grant at the server's former issuer was not revoked", "error", forgotten.NotRevoked)
	}
}

// write keeps the outcome of a sign-in. former is the record that was there before, replaced are the grants that the new one
// takes the place of.
func (b *Broker) write(ctx context.Context, out *signin.Outcome) (former ledger.Record, replaced []*ledger.Grant) {
	turn, _ := b.ledger.Claim(out.Target.Record())
	defer turn.Give()
	g := turn.Grant()
	former = g.Record()
	turn.Keep(ctx, out.Enter)
	b.consents.signedIn(g)
	b.tokens.SignedIn(g, out.Key, out.Tokens, out.Got(), out.Asked.Minus(out.Got()))
	return former, b.introduce(turn, out.Target)
}

// introduce lets everyone find turn's grant, and returns the grants it replaces: those of the same server and account at
// another issuer, which the server no longer names or the person has left. Nobody took anything back by that: what is under
// way with them goes on, as something of the new one's.
func (b *Broker) introduce(turn ledger.Turn, t *signin.Target) (replaced []*ledger.Grant) {
	turn.Introduce()
	for _, o := range b.ledger.Grants() {
		if r := o.Record(); o != turn.Grant() && r.Server == t.Server && r.Account == t.Account {
			replaced = append(replaced, o)
		}
	}
	b.uses.move(replaced, turn.Grant())
	return replaced
}
