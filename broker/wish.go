package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// Wish does what the person asked for in a window or the tray. Their word is not asked about again, but a sign-in is
// still shown to them before the browser opens: which issuer, which scopes. It returns when the thing is done; an error
// is a *localapi.Error.
func (b *Broker) Wish(ctx context.Context, w face.Wish) error {
	err := b.wish(ctx, w)
	if err != nil {
		return b.explain(err, cmp.Or(w.Server, w.Resource))
	}
	return nil
}

func (b *Broker) wish(ctx context.Context, w face.Wish) error {
	if err := b.ledger.Load(ctx); err != nil {
		return err
	}
	switch w.Kind {
	case face.WishSignIn:
		want, err := newWant(ctx, &peer.Peer{}, localapi.TokenRequest{Resource: cmp.Or(w.Server, w.Resource), Account: w.Account, Scopes: w.Scopes})
		if err != nil {
			return err
		}
		_, err = b.signInAsked(ctx, want, nil, false)
		return err
	case face.WishClient:
		return b.wishClient(ctx, w)
	case face.WishCancel:
		return b.withSignIn(w.ID, func(s *signIn) { s.cancel() })
	case face.WishOpenURL:
		var url string
		if err := b.withSignIn(w.ID, func(s *signIn) { url = s.URL }); err != nil {
			return err
		}
		switch {
		case b.cfg.OpenURL == nil:
			return localapi.Errorf(localapi.ErrUnavailable, "no browser is opened here").WithHint("copy the link, and open it yourself")
		case url == "":
			return localapi.Errorf(localapi.ErrUnavailable, "the page of this sign-in is not known yet").WithHint("try again in a moment")
		}
		return b.cfg.OpenURL(ctx, url)
	case face.WishForget:
		grants := b.ledger.ReachedBy(w.Resource, w.Account)
		if len(grants) == 0 {
			return unknownServer(w.Resource, w.Account)
		}
		forgotten, err := b.forgetAll(ctx, grants)
		if err == nil && len(forgotten.NotRevoked) > 0 {
			return localapi.Errorf(localapi.ErrIssuer, "Forgotten here. %s", words.Sentence(forgotten.NotRevoked[0]))
		}
		return err
	case face.WishRevoke:
		return b.revokeConsent(ctx, w)
	case face.WishAccept, face.WishTakeBack:
		return b.wishQuirk(ctx, w)
	case face.WishResume:
		b.desk.Resume(w.Host)
		return nil
	}
	return localapi.Errorf(localapi.ErrBadRequest, "there is no wish %q", w.Kind)
}

// wishClient sets the client that the person typed in, and signs in with it.
func (b *Broker) wishClient(ctx context.Context, w face.Wish) error {
	want, err := newWant(ctx, &peer.Peer{}, localapi.TokenRequest{Resource: w.Server, Account: w.Account})
	if err != nil {
		return err
	}
	if w.Registration == nil {
		return localapi.Errorf(localapi.ErrBadRequest, "which client?")
	}
	t, r, err := b.registering(ctx, want.url, *w.Registration)
	if err != nil {
		return err
	}
	if _, err := b.setClient(ctx, want, t, r); err != nil || w.Registration.Remove {
		return err
	}
	_, err = b.signInAsked(ctx, want, nil, false)
	return err
}

func (b *Broker) withSignIn(id string, do func(*signIn)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.signIns {
		if s.ID == id {
			do(s)
			return nil
		}
	}
	return localapi.Errorf(localapi.ErrUnknownServer, "this sign-in is over")
}

// revokeConsent takes back what a host was allowed: every mode of it, at one grant.
func (b *Broker) revokeConsent(ctx context.Context, w face.Wish) error {
	grants := b.ledger.ReachedBy(w.Resource, w.Account)
	if len(grants) == 0 {
		return unknownServer(w.Resource, w.Account)
	}
	for _, g := range grants {
		if err := b.takeBack(ctx, g, w.Host); err != nil {
			return err
		}
	}
	b.activity.add(face.Entry{Time: time.Now(), Event: "revoke", HostKey: w.Host, Resource: w.Resource, Account: w.Account, Decision: "done", Rule: "you took the consent back"})
	b.cfg.OnChange()
	return nil
}

// takeBack ends what the host with that key may do with g: in the record, in memory, and what is under way.
func (b *Broker) takeBack(ctx context.Context, g *ledger.Grant, host string) error {
	turn, err := g.Take(ctx)
	if err != nil {
		return err
	}
	defer turn.Give()
	is := func(c localapi.Consent) bool { return c.Host == host }
	b.consents.takeBack(g, host)
	if slices.ContainsFunc(g.Record().Consents, is) {
		if err := turn.Change(ctx, func(r *ledger.Record) { r.Consents = slices.DeleteFunc(r.Consents, is) }); err != nil {
			return err
		}
	}
	b.uses.withdraw(localapi.Errorf(localapi.ErrConsentDenied, "the person took back the consent to use %s", words.Host(g.Record().Server)).
		WithHint("ask again to have them decide anew"), func(of *ledger.Grant, by peer.Host) bool { return of == g && by.Key == host })
	return nil
}
