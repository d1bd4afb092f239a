package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
)

// refreshTimeout bounds one renewal at an enterprise, from the moment the host can no longer stop it.
const refreshTimeout = 60 * time.Second

// identityMargin is how long an ID token must be good for when it is shown.
const identityMargin = 30 * time.Second

func lives(id ledger.Identity) bool { return time.Until(id.Expiry) > identityMargin }

// identityKey names an identity.
type identityKey struct {
	at      ledger.Enterprise
	account string
}

// errIdentity is an enterprise at which the person has to sign in.
var errIdentity = errors.New("your enterprise wants you to sign in there")

// identify puts into request's registration who this is, where it must say so: what the platform wrote, or who the person
// is at its enterprise. That is the ID token that is kept, one more with the refresh token, or, when they know that a page
// opens, that of a new sign-in.
func (b *Broker) identify(ctx context.Context, request *oauthflow.Request, account string, page bool) error {
	if r := &request.Registration; r.AssertionFile != "" && r.Assertion.Empty() {
		var err error
		r.Assertion, err = b.assertion(*r, localapi.ErrUnavailable)
		return err
	}
	e := request.Registration.Enterprise
	if e == nil || !e.IDToken.Empty() {
		return nil
	}
	at := ledger.EnterpriseOf(request.Registration)
	give, err := b.takeIdentity(ctx, at, account)
	if err != nil {
		return err
	}
	defer give()
	id, err := b.identity(ctx, at, account)
	if err != nil && !errors.Is(err, keystore.ErrNotFound) {
		return err
	}
	b.mu.Lock()
	_, unsaved := b.unsaved[identityKey{at, account}]
	b.mu.Unlock()
	if unsaved {
		b.saveIdentity(ctx, id) // the keychain may be back
	}
	there := oauthflow.Request{Issuer: request.Enterprise, Registration: e.Client, SelectAccount: request.SelectAccount}
	if err == nil && !lives(id) {
		id, err = b.reidentify(ctx, there, id)
	}
	if err != nil {
		if !errors.Is(err, errIdentity) && !errors.Is(err, keystore.ErrNotFound) {
			return err
		}
		if !page {
			return fmt.Errorf("%w: %s", errIdentity, at.Issuer)
		}
		found, err := b.identifyAnew(ctx, there, identityKey{at, account})
		if err != nil {
			return err
		}
		id = b.keepIdentity(ctx, ledger.Identity{At: at, Account: account, SignedIn: time.Now()}, found)
	}
	vouched := *e // the policy's own stays as it is
	vouched.IDToken = id.IDToken.Text
	request.Registration.Enterprise = &vouched
	return nil
}

// manner is how an enterprise wants the person to sign in (RFC 9470 §3).
type manner struct{ acrValues, maxAge string }

// identifyAnew lets the person sign in at the enterprise, in the manner it asked for when it turned down the identity
// called name.
func (b *Broker) identifyAnew(ctx context.Context, there oauthflow.Request, name identityKey) (*oauthflow.Identity, error) {
	b.mu.Lock()
	there.ACRValues, there.MaxAge = b.manners[name].acrValues, b.manners[name].maxAge
	b.mu.Unlock()
	found, err := b.flow.Identify(ctx, there)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	delete(b.manners, name)
	b.mu.Unlock()
	return found, nil
}

// noteManner remembers how the enterprise wants the next sign-in, if err says so.
func (b *Broker) noteManner(at ledger.Enterprise, account string, err error) {
	if refused := (*oauthflow.Error)(nil); errors.As(err, &refused) && refused.ACRValues+refused.MaxAge != "" {
		b.mu.Lock()
		b.manners[identityKey{at, account}] = manner{refused.ACRValues, refused.MaxAge}
		b.mu.Unlock()
	}
}

// reidentify gets another ID token with the enterprise's refresh token. As with a grant's, nobody can stop it from the POST
// on, and only the issuer's own word costs the refresh token.
func (b *Broker) reidentify(ctx context.Context, there oauthflow.Request, id ledger.Identity) (ledger.Identity, error) {
	if id.Refresh.Empty() {
		return ledger.Identity{}, errIdentity
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	found, err := b.flow.Reidentify(ctx, there, oauthflow.Identity{Subject: id.Subject, Refresh: id.Refresh.Text})
	var refused *oauthflow.Error
	switch {
	case err == nil:
		return b.keepIdentity(ctx, id, found), nil
	case errors.Is(err, oauthflow.ErrUnavailable):
		return ledger.Identity{}, err
	case errors.As(err, &refused), errors.Is(err, oauthflow.ErrIdentity):
		b.noteManner(id.At, id.Account, err)
		if err := b.deleteIdentity(ctx, id.At, id.Account); err != nil {
			return ledger.Identity{}, err
		}
		return ledger.Identity{}, errIdentity
	}
	return ledger.Identity{}, err
}

// takeIdentity waits for the turn of one identity: who has it may talk to the enterprise about it.
func (b *Broker) takeIdentity(ctx context.Context, at ledger.Enterprise, account string) (give func(), err error) {
	name := identityKey{at, account}
	b.mu.Lock()
	turn := b.identities[name]
	if turn == nil {
		turn = make(chan struct{}, 1)
		b.identities[name] = turn
	}
	b.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// identity reads what is kept: from memory what the keychain did not take, else from the keychain.
func (b *Broker) identity(ctx context.Context, at ledger.Enterprise, account string) (id ledger.Identity, err error) {
	name := identityKey{at, account}
	b.mu.Lock()
	id, unsaved := b.unsaved[name]
	b.mu.Unlock()
	if unsaved {
		return id, nil
	}
	return b.ledger.Identity(ctx, at, account)
}

// keepIdentity writes what the enterprise said, before anybody uses it. When the keychain does not take it, memory has it.
func (b *Broker) keepIdentity(ctx context.Context, id ledger.Identity, found *oauthflow.Identity) ledger.Identity {
	id.Subject, id.IDToken.Text, id.Expiry, id.Refresh.Text = found.Subject, found.IDToken, found.Expiry, found.Refresh
	b.saveIdentity(ctx, id)
	return id
}

// saveIdentity writes id. Callers have its turn.
func (b *Broker) saveIdentity(ctx context.Context, id ledger.Identity) {
	err := b.ledger.SetIdentity(ctx, id)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.unsaved, identityKey{id.At, id.Account})
	if err != nil {
		b.log.Error("the keychain did not take who you are at your enterprise; it is kept until the program ends", "issuer", id.At.Issuer, "error", err)
		b.unsaved[identityKey{id.At, id.Account}] = id
	}
}

func (b *Broker) deleteIdentity(ctx context.Context, at ledger.Enterprise, account string) error {
	b.mu.Lock()
	delete(b.unsaved, identityKey{at, account})
	b.mu.Unlock()
	return b.ledger.DropIdentity(ctx, at, account)
}

// opensPage reports whether a sign-in to t takes the person to a page: of t's issuer, or of the enterprise that speaks for
// them there.
func (b *Broker) opensPage(t *target) bool {
	r := b.registration(t.issuer.ID)
	if r.Enterprise == nil || !r.Enterprise.IDToken.Empty() {
		return !r.Unattended()
	}
	id, err := b.identity(keystore.Quiet(b.ctx), ledger.EnterpriseOf(r), cmp.Or(t.account, defaultAccount))
	return err != nil || !lives(id) && id.Refresh.Empty()
}

// noteDisowned takes in that an enterprise turned down, with err, the ID token that r held, where that is the one we keep
// for it: only a new sign-in there helps.
func (b *Broker) noteDisowned(ctx context.Context, r client.Client, account string, err error) (disowned bool) {
	var refused *oauthflow.Error
	if r.Enterprise == nil || errors.Is(err, oauthflow.ErrUnavailable) || !errors.As(err, &refused) || refused.Step != oauthflow.StepEnterprise ||
		!slices.Contains([]string{"invalid_grant", "insufficient_user_authentication"}, refused.Code) {
		return false
	}
	at := ledger.EnterpriseOf(r)
	give, errTurn := b.takeIdentity(ctx, at, account)
	if errTurn != nil {
		return false
	}
	defer give()
	if id, errKept := b.identity(ctx, at, account); errKept != nil || !id.IDToken.Equal(r.Enterprise.IDToken) {
		return false // it is the platform's, or another sign-in has replaced it
	}
	b.noteManner(at, account, err)
	return b.deleteIdentity(ctx, at, account) == nil
}

// forgetIdentity deletes who the person is at rec's enterprise, and ends it there, when rec was the last grant for which
// it spoke.
func (b *Broker) forgetIdentity(ctx context.Context, rec ledger.Record) error {
	at := rec.Enterprise()
	needed := slices.ContainsFunc(b.ledger.Grants(), func(g *ledger.Grant) bool {
		r := g.Record()
		return r.Enterprise() == at && r.Account == rec.Account
	})
	if at == (ledger.Enterprise{}) || needed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	give, err := b.takeIdentity(ctx, at, rec.Account)
	if err != nil {
		return err
	}
	defer give()
	id, err := b.identity(ctx, at, rec.Account)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := b.deleteIdentity(ctx, at, rec.Account); err != nil || id.Refresh.Empty() {
		return err
	}
	r, ok := b.preRegistered(rec.Issuer)
	if !ok || ledger.EnterpriseOf(r) != at {
		return errors.New("the client there was taken away")
	}
	issuer, err := b.cfg.Discovery.Issuer(ctx, at.Issuer, at.Issuer)
	if err != nil {
		return err
	}
	return b.flow.Revoke(ctx, oauthflow.Request{Server: at.Issuer, Issuer: issuer, Registration: r.Enterprise.Client}, []secret.Text{id.Refresh.Text}, nil)
}
