package broker

import (
	"context"
	"slices"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// Wish does what the person asked for in a window or the tray. Their word is not asked about again, but a sign-in is
// still shown to them before the browser opens: which issuer, which scopes. It returns when the thing is done; an error
// is a *localapi.Error.
func (b *Broker) Wish(ctx context.Context, w face.Wish) error {
	server, err := b.wish(ctx, w)
	if err != nil {
		return b.explain(err, server)
	}
	return nil
}

// wish also says which server w is about; "" if none.
func (b *Broker) wish(ctx context.Context, w face.Wish) (server string, err error) {
	if err := b.ledger.Load(ctx); err != nil {
		return "", err
	}
	switch w := w.(type) {
	case face.WishSignIn:
		return w.Server, b.wishSignIn(ctx, w)
	case face.WishClient:
		return w.Server, b.wishClient(ctx, w)
	case face.WishCancel:
		if !b.signIns.Cancel(w.ID) {
			return "", over()
		}
		return "", nil
	case face.WishOpenURL:
		return "", b.wishOpenURL(ctx, w)
	case face.WishForget:
		return w.Resource, b.wishForget(ctx, w)
	case face.WishRevoke:
		return w.Resource, b.wishRevoke(ctx, w)
	case face.WishAccept:
		return w.Resource, b.each(w.Resource, w.Account, func(g *ledger.Grant) error { return b.accept(ctx, g, quirk.Quirk{Name: w.Name, Value: w.Value}) })
	case face.WishTakeBack:
		return w.Resource, b.each(w.Resource, w.Account, func(g *ledger.Grant) error { return b.dropQuirk(ctx, g, w.Name) })
	case face.WishResume:
		b.desk.Resume(w.Host)
		return "", nil
	}
	return "", localapi.Errorf(localapi.ErrBadRequest, "this is no wish for here: %T", w)
}

func (b *Broker) wishSignIn(ctx context.Context, w face.WishSignIn) error {
	want, err := newWant(ctx, &peer.Peer{}, localapi.TokenRequest{Resource: w.Server, Account: w.Account})
	if err != nil {
		return err
	}
	_, err = b.signInAsked(ctx, want, nil, false)
	return err
}

// wishClient sets the client that the person typed in, and signs in with it.
func (b *Broker) wishClient(ctx context.Context, w face.WishClient) error {
	want, err := newWant(ctx, &peer.Peer{}, localapi.TokenRequest{Resource: w.Server, Account: w.Account})
	if err != nil {
		return err
	}
	t, r, err := b.registering(ctx, want.url, w.Registration)
	if err != nil {
		return err
	}
	if _, err := b.setClient(ctx, want, t, r); err != nil || w.Registration.Remove {
		return err
	}
	_, err = b.signInAsked(ctx, want, nil, false)
	return err
}

func (b *Broker) wishOpenURL(ctx context.Context, w face.WishOpenURL) error {
	under := b.signIns.Shown()
	at := slices.IndexFunc(under, func(s face.SignIn) bool { return s.ID == w.ID })
	switch {
	case at < 0:
		return over()
	case b.cfg.OpenURL == nil:
		return localapi.Errorf(localapi.ErrUnavailable, "no browser is opened here").WithHint("copy the link, and open it yourself")
	case under[at].URL == "":
		return localapi.Errorf(localapi.ErrUnavailable, "the page of this sign-in is not known yet").WithHint("try again in a moment")
	}
	return b.cfg.OpenURL(ctx, under[at].URL)
}

func over() error { return localapi.Errorf(localapi.ErrUnknownServer, "this sign-in is over") }

func (b *Broker) wishForget(ctx context.Context, w face.WishForget) error {
	grants := b.ledger.ReachedBy(w.Resource, w.Account)
	if len(grants) == 0 {
		return unknownServer(w.Resource, w.Account)
	}
	forgotten, err := b.forgetAll(ctx, grants)
	if err == nil && len(forgotten.NotRevoked) > 0 {
		return localapi.Errorf(localapi.ErrIssuer, "Forgotten here. %s", words.Sentence(forgotten.NotRevoked[0]))
	}
	return err
}

// each does something with every grant for a resource and, unless it is "", an account, until one fails.
func (b *Broker) each(resource, account string, do func(*ledger.Grant) error) error {
	grants := b.ledger.ReachedBy(resource, account)
	if len(grants) == 0 {
		return unknownServer(resource, account)
	}
	for _, g := range grants {
		if err := do(g); err != nil {
			return err
		}
	}
	return nil
}

// accept sets something for a server or switches its checks off, on the person's own word.
func (b *Broker) accept(ctx context.Context, g *ledger.Grant, q quirk.Quirk) error {
	if !q.Is(quirk.Set) && !q.Is(quirk.Switched) {
		return localapi.Errorf(localapi.ErrBadRequest, "the quirk %q is not one to set beforehand", q.Name)
	}
	if _, err := quirk.Parse(q.String()); err != nil {
		return localapi.Errorf(localapi.ErrBadRequest, "“%s” %v", q.Value, err).WithHint("%s", q.Setting().Hint)
	}
	return b.setQuirk(ctx, g, q)
}

// wishRevoke takes back what a host was allowed: every mode of it.
func (b *Broker) wishRevoke(ctx context.Context, w face.WishRevoke) error {
	if err := b.each(w.Resource, w.Account, func(g *ledger.Grant) error { return b.takeBack(ctx, g, w.Host) }); err != nil {
		return err
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
