package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// revokeTimeout bounds the issuer's part of forgetting.
const revokeTimeout = 15 * time.Second

// Forget answers POST /v1/forget: when the person agrees, it deletes the grants here and revokes them at the issuer.
func (b *Broker) Forget(ctx context.Context, from *peer.Peer, req localapi.ForgetRequest) (*localapi.Forgotten, error) {
	w, err := newWant(ctx, from, localapi.TokenRequest{Resource: req.Resource, Account: req.Account, Client: req.Client})
	if err != nil {
		return nil, err
	}
	forgotten, err := b.forgetAsked(ctx, w)
	if err != nil {
		return nil, b.explain(err, w.url)
	}
	return forgotten, nil
}

func (b *Broker) forgetAsked(ctx context.Context, w *want) (*localapi.Forgotten, error) {
	if err := b.ledger.Load(ctx); err != nil {
		return nil, err
	}
	grants := b.ledger.ReachedBy(w.url, w.account)
	if len(grants) == 0 {
		return nil, unknownServer(w.url, w.account)
	}
	q := w.question(face.KindForget, grants[0].Record())
	q.Account = w.account
	q.Why = "The program named above asked to forget this sign-in. Every program that uses it will have to ask again."
	if len(grants) > 1 {
		q.Notes = []string{fmt.Sprintf("There are %d accounts at this server; all of them are forgotten.", len(grants))}
	}
	if _, _, err := b.ask(ctx, q); err != nil {
		return nil, err
	}
	return b.forgetAll(ctx, grants)
}

func unknownServer(url, account string) error {
	if account != "" {
		return localapi.Errorf(localapi.ErrUnknownServer, "there is no account %q at %s", account, words.Host(url)).WithHint("vk list shows what there is")
	}
	return localapi.Errorf(localapi.ErrUnknownServer, "nobody signed in to %s", words.Host(url)).WithHint("vk list shows what there is")
}

func (b *Broker) forgetAll(ctx context.Context, grants []*ledger.Grant) (*localapi.Forgotten, error) {
	out := &localapi.Forgotten{}
	for _, g := range grants {
		shown := b.shown(g)
		turn, err := g.Take(ctx)
		if err != nil {
			return nil, err
		}
		err = b.forget(ctx, turn)
		turn.Give()
		if notRevoked := (*revokeError)(nil); errors.As(err, &notRevoked) {
			out.NotRevoked = append(out.NotRevoked, notRevoked.Error())
		} else if err != nil {
			return nil, err
		}
		out.Grants = append(out.Grants, shown)
	}
	return out, nil
}

// revokeError is a grant that is gone here but that the issuer did not take back, or not wholly.
type revokeError struct {
	issuer string
	err    error
}

func (e *revokeError) Error() string {
	if errors.Is(e.err, oauthflow.ErrOutlives) {
		return fmt.Sprintf("%s took the sign-in back, but a token that it issued before works until it runs out (%v)", words.Host(e.issuer), e.err)
	}
	return fmt.Sprintf("%s did not take the sign-in back (%v); you can end it on its own page of connected applications", words.Host(e.issuer), e.err)
}

func (e *revokeError) Unwrap() error { return e.err }

// forget deletes turn's record, lets go of it in memory, and then tells the issuer (RFC 7009). Deleting comes first: a
// grant must not survive here because its issuer is away. A failed revocation is a *revokeError. Callers have the turn, so
// that nobody is about to write it.
func (b *Broker) forget(ctx context.Context, turn ledger.Turn) error {
	ctx = context.WithoutCancel(ctx)
	access := b.tokens.Access(turn.Grant())
	rec, err := turn.Delete(ctx)
	if err != nil {
		return err
	}
	atEnterprise := b.forgetIdentity(ctx, rec)
	err = b.revoke(ctx, rec, access)
	e := face.Entry{Time: time.Now(), Event: "forget", Resource: rec.Resource, Account: rec.Account, Decision: "done", Rule: "deleted here and revoked at " + words.Host(rec.Issuer)}
	switch {
	case rec.Open():
		e.Rule = "deleted here; there was no sign-in to revoke"
	case err != nil:
		err = &revokeError{rec.Issuer, err}
		e.Rule = "deleted here; " + err.Error()
	case atEnterprise != nil:
		err = &revokeError{rec.Enterprise().Issuer, atEnterprise}
		e.Rule = "deleted here; " + err.Error()
	}
	b.activity.add(e)
	b.cfg.OnChange()
	return err
}

func (b *Broker) revoke(ctx context.Context, rec ledger.Record, access []secret.Text) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	return b.tokens.Revoke(ctx, rec, access)
}

// gone ends what goes on with g, which is in the keychain no more, and lets go of what memory has of it.
func (b *Broker) gone(g *ledger.Grant) {
	b.tokens.Drop(g)
	b.consents.drop(g)
	b.uses.withdraw(localapi.Errorf(localapi.ErrSignInRequired, "the sign-in to %s was forgotten", words.Host(g.Record().Server)).
		WithHint("ask again to have the person sign in anew"), func(of *ledger.Grant, _ peer.Host) bool { return of == g })
}
