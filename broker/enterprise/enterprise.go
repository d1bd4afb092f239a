// Package enterprise keeps who the person is at the issuer of their enterprise, which speaks for them at others (MCP's
// Enterprise-Managed Authorization): one identity for all the servers where it does.
package enterprise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/oauthflow"
)

const (
	margin       = 30 * time.Second // that an ID token must be good for when it is shown
	renewTimeout = 60 * time.Second // of one renewal, from the moment the host can no longer stop it
	endTimeout   = 15 * time.Second // of forgetting
)

// ErrSignIn is an enterprise at which the person has to sign in.
var ErrSignIn = errors.New("your enterprise wants you to sign in there")

// Config is what Identities need. All of it is required, and called with no lock held.
type Config struct {
	Flow      *oauthflow.Flow
	Discovery *discovery.Client
	Ledger    *ledger.Ledger
	Log       *slog.Logger
}

// Identities are who the person is at their enterprises. Its methods are safe for concurrent use.
type Identities struct {
	cfg Config

	mu  sync.Mutex // guards all, and what is in it
	all map[key]*identity
}

// key names an identity.
type key struct {
	at      ledger.Enterprise
	account string
}

// identity is what is known of one beside what the keychain keeps.
type identity struct {
	turn    chan struct{}    // holds one token: who has it may talk to the enterprise about it
	unsaved *ledger.Identity // the keychain did not take it
	manner  manner           // of the next sign-in
}

// manner is how an enterprise wants the person to sign in (RFC 9470 §3).
type manner struct{ acrValues, maxAge string }

// New returns the Identities that cfg.Ledger keeps.
func New(cfg Config) *Identities { return &Identities{cfg: cfg, all: map[key]*identity{}} }

// with runs f with what is known of the identity that k names. f must not wait.
func (i *Identities) with(k key, f func(*identity)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.all[k] == nil {
		i.all[k] = &identity{turn: make(chan struct{}, 1)}
	}
	f(i.all[k])
}

// Find finds out where the enterprise of request's registration is asked, if it has one. The person named it, so it is
// reached as a server that they entered, and no server has a say in where it is.
func (i *Identities) Find(ctx context.Context, request *oauthflow.Request) error {
	id := ledger.EnterpriseOf(request.Registration).Issuer
	if id == "" {
		return nil
	}
	if endpoint := request.Registration.Enterprise.TokenEndpoint; endpoint != "" {
		request.Enterprise = &discovery.Issuer{ID: id, TokenEndpoint: endpoint}
		return nil
	}
	var err error
	if request.Enterprise, err = i.cfg.Discovery.Issuer(ctx, id, id); err != nil {
		return fmt.Errorf("find the enterprise's issuer: %w", err)
	}
	return nil
}

// OpensPage reports whether the person has to sign in at r's enterprise before it speaks for account. It does not disturb
// them.
func (i *Identities) OpensPage(ctx context.Context, r client.Client, account string) bool {
	id, err := i.kept(keystore.Quiet(ctx), key{ledger.EnterpriseOf(r), account})
	return err != nil || !lives(id) && id.Refresh.Empty()
}

// Identify puts into request's registration who the person is at its enterprise, where it must say so: the ID token that is
// kept, one more with the refresh token, or, when they know that a page opens, that of a new sign-in. ErrSignIn says that
// only such a one helps.
func (i *Identities) Identify(ctx context.Context, request *oauthflow.Request, account string, page bool) error {
	e := request.Registration.Enterprise
	if e == nil || !e.IDToken.Empty() {
		return nil
	}
	k := key{ledger.EnterpriseOf(request.Registration), account}
	give, err := i.take(ctx, k)
	if err != nil {
		return err
	}
	defer give()
	there := oauthflow.Request{Issuer: request.Enterprise, Registration: e.Client, SelectAccount: request.SelectAccount}
	id, err := i.current(ctx, there, k)
	if errors.Is(err, ErrSignIn) && page {
		id, err = i.anew(ctx, there, k)
	}
	if err != nil {
		return err
	}
	vouched := *e // the policy's own stays as it is
	vouched.IDToken = id.IDToken.Text
	request.Registration.Enterprise = &vouched
	return nil
}

// current is the identity that is kept, renewed if need be. Callers have its turn.
func (i *Identities) current(ctx context.Context, there oauthflow.Request, k key) (ledger.Identity, error) {
	id, err := i.kept(ctx, k)
	if errors.Is(err, keystore.ErrNotFound) {
		return id, fmt.Errorf("%w: %s", ErrSignIn, k.at.Issuer)
	}
	if err != nil {
		return id, err
	}
	var unsaved bool
	i.with(k, func(known *identity) { unsaved = known.unsaved != nil })
	if unsaved {
		i.save(ctx, k, id) // the keychain may be back
	}
	if lives(id) {
		return id, nil
	}
	return i.renew(ctx, there, k, id)
}

func lives(id ledger.Identity) bool { return time.Until(id.Expiry) > margin }

// anew lets the person sign in at the enterprise, in the manner it asked for when it turned the last identity down.
func (i *Identities) anew(ctx context.Context, there oauthflow.Request, k key) (ledger.Identity, error) {
	i.with(k, func(known *identity) { there.ACRValues, there.MaxAge = known.manner.acrValues, known.manner.maxAge })
	found, err := i.cfg.Flow.Identify(ctx, there)
	if err != nil {
		return ledger.Identity{}, err
	}
	i.with(k, func(known *identity) { known.manner = manner{} })
	return i.keep(ctx, k, ledger.Identity{At: k.at, Account: k.account, SignedIn: time.Now()}, found), nil
}

// renew gets another ID token with the enterprise's refresh token. As with a grant's, nobody can stop it from the POST on,
// and only the issuer's own word costs the refresh token.
func (i *Identities) renew(ctx context.Context, there oauthflow.Request, k key, id ledger.Identity) (ledger.Identity, error) {
	signIn := fmt.Errorf("%w: %s", ErrSignIn, k.at.Issuer)
	if id.Refresh.Empty() {
		return id, signIn
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
	defer cancel()
	found, err := i.cfg.Flow.Reidentify(ctx, there, oauthflow.Identity{Subject: id.Subject, Refresh: id.Refresh.Text})
	if err == nil {
		return i.keep(ctx, k, id, found), nil
	}
	refused := (*oauthflow.Error)(nil)
	if !errors.Is(err, oauthflow.ErrUnavailable) && (errors.As(err, &refused) || errors.Is(err, oauthflow.ErrIdentity)) {
		i.noteManner(k, err)
		if err = i.drop(ctx, k); err == nil {
			err = signIn
		}
	}
	return id, err
}

// Disowned takes in that an enterprise turned down, with err, the ID token that r held, where that is the one we keep for
// it: only a new sign-in there helps.
func (i *Identities) Disowned(ctx context.Context, r client.Client, account string, err error) bool {
	var refused *oauthflow.Error
	if r.Enterprise == nil || errors.Is(err, oauthflow.ErrUnavailable) || !errors.As(err, &refused) || refused.Step != oauthflow.StepEnterprise ||
		!slices.Contains([]string{"invalid_grant", "insufficient_user_authentication"}, refused.Code) {
		return false
	}
	k := key{ledger.EnterpriseOf(r), account}
	give, errTurn := i.take(ctx, k)
	if errTurn != nil {
		return false
	}
	defer give()
	if id, errKept := i.kept(ctx, k); errKept != nil || !id.IDToken.Equal(r.Enterprise.IDToken) {
		return false // it is the platform's, or another sign-in has replaced it
	}
	i.noteManner(k, err)
	return i.drop(ctx, k) == nil
}

// Forget deletes who the person is at rec's enterprise, and ends it there, when no grant is left for which it spoke. r is
// the client that they have at rec's issuer now, if any.
func (i *Identities) Forget(ctx context.Context, rec ledger.Record, r client.Client) error {
	k := key{rec.Enterprise(), rec.Account}
	if k.at == (ledger.Enterprise{}) || slices.ContainsFunc(i.cfg.Ledger.Grants(), func(g *ledger.Grant) bool {
		other := g.Record()
		return key{other.Enterprise(), other.Account} == k
	}) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	give, err := i.take(ctx, k)
	if err != nil {
		return err
	}
	defer give()
	id, err := i.kept(ctx, k)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := i.drop(ctx, k); err != nil || id.Refresh.Empty() {
		return err
	}
	if ledger.EnterpriseOf(r) != k.at {
		return errors.New("the client there was taken away")
	}
	issuer, err := i.cfg.Discovery.Issuer(ctx, k.at.Issuer, k.at.Issuer)
	if err != nil {
		return err
	}
	there := oauthflow.Request{Server: k.at.Issuer, Issuer: issuer, Registration: r.Enterprise.Client}
	return i.cfg.Flow.Revoke(ctx, there, []secret.Text{id.Refresh.Text}, nil)
}

// take waits for the turn of an identity, and returns what gives it back.
func (i *Identities) take(ctx context.Context, k key) (give func(), err error) {
	var turn chan struct{}
	i.with(k, func(known *identity) { turn = known.turn })
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// kept reads an identity: from memory what the keychain did not take, else from the keychain.
func (i *Identities) kept(ctx context.Context, k key) (ledger.Identity, error) {
	var unsaved *ledger.Identity
	i.with(k, func(known *identity) { unsaved = known.unsaved })
	if unsaved != nil {
		return *unsaved, nil
	}
	return i.cfg.Ledger.Identity(ctx, k.at, k.account)
}

// keep writes into id what the enterprise said, before anybody uses it. When the keychain does not take it, memory has it.
// Callers have its turn.
func (i *Identities) keep(ctx context.Context, k key, id ledger.Identity, found *oauthflow.Identity) ledger.Identity {
	id.Subject, id.IDToken.Text, id.Expiry, id.Refresh.Text = found.Subject, found.IDToken, found.Expiry, found.Refresh
	i.save(ctx, k, id)
	return id
}

// save writes id. Callers have its turn.
func (i *Identities) save(ctx context.Context, k key, id ledger.Identity) {
	err := i.cfg.Ledger.SetIdentity(ctx, id)
	i.with(k, func(known *identity) {
		if known.unsaved = nil; err != nil {
			known.unsaved = &id
		}
	})
	if err != nil {
		i.cfg.Log.Error("the keychain did not take who you are at your enterprise; it is kept until the program ends", "issuer", k.at.Issuer, "error", err)
	}
}

// drop deletes an identity. Callers have its turn.
func (i *Identities) drop(ctx context.Context, k key) error {
	i.with(k, func(known *identity) { known.unsaved = nil })
	return i.cfg.Ledger.DropIdentity(ctx, k.at, k.account)
}

// noteManner remembers how the enterprise wants the next sign-in, if err says so.
func (i *Identities) noteManner(k key, err error) {
	if refused := (*oauthflow.Error)(nil); errors.As(err, &refused) && refused.ACRValues+refused.MaxAge != "" {
		i.with(k, func(known *identity) { known.manner = manner{refused.ACRValues, refused.MaxAge} })
	}
}
