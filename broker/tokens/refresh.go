package tokens

import (
	"context"
	"errors"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// refreshTimeout bounds one refresh, from the moment the host can no longer stop it.
const refreshTimeout = 60 * time.Second

// Refresh gets a token for set with g's refresh token, or as its client gets them, unless there is one by now that lives for
// minValid. From the POST on it cannot be stopped by the host that caused it: the issuer may have rotated the refresh token,
// and the new one must be kept. It returns nil when the caller is to look again: there may be a token, or g needs a sign-in.
func (t *Tokens) Refresh(ctx context.Context, g *ledger.Grant, set ledger.Scopes, minValid time.Duration) error {
	turn, err := g.Take(ctx)
	if err != nil {
		return err
	}
	defer turn.Give()
	if h, ok := t.Held(g, set); ok && h.Lives(minValid) || turn.Gone() || g.Record().Problem != "" {
		return nil
	}
	rec, err := turn.Reread(ctx)
	if errors.Is(err, keystore.ErrNotFound) {
		rec := g.Record()
		return localapi.Errorf(localapi.ErrSignInRequired, "the sign-in at %s is no longer in the keychain", words.Host(rec.Server)).
			WithHint("run vk signin %s", rec.Server)
	}
	if err != nil {
		return err
	}
	issuer, err := t.issuer(ctx, rec)
	if err != nil {
		t.noteDown(g, err)
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	return t.post(ctx, turn, rec, issuer, set)
}

// issuer is what is known now of the issuer of rec.
func (t *Tokens) issuer(ctx context.Context, rec ledger.Record) (*discovery.Issuer, error) {
	if rec.Unpublished {
		return t.cfg.Discovery.OriginIssuer(ctx, rec.Server)
	}
	return t.cfg.Discovery.Issuer(ctx, rec.Server, rec.Issuer)
}

// post sends the one POST and keeps what comes back.
func (t *Tokens) post(ctx context.Context, turn ledger.Turn, rec ledger.Record, issuer *discovery.Issuer, set ledger.Scopes) error {
	g, all := turn.Grant(), ledger.ScopeSet(rec.Granted)
	key, err := t.Key(g)
	if err != nil {
		return err
	}
	request := oauthflow.Request{
		Server: rec.Server, ServerName: rec.Name, Resource: rec.Resource, Issuer: issuer, Registration: rec.Registration.At(rec.Issuer), Key: key,
		Effect: quirk.Effects(t.cfg.Settled(rec.Resource, rec.Quirks)),
	}
	if !set.Equal(all) || rec.Unattended() {
		// RFC 6749 §6: a subset of what was granted. What comes by itself is not asked for, unless there is nothing else:
		// without the parameter everything would come.
		request.Scopes = set.Minus(rec.Always)
		if len(request.Scopes) == 0 {
			request.Scopes = set
		}
	}
	tokens, problem, err := t.renew(ctx, rec, request)
	var refused *oauthflow.Error
	if errors.As(err, &refused) && refused.Code == "invalid_scope" && refused.Step != oauthflow.StepEnterprise && len(request.Scopes) > 0 {
		turn.Keep(ctx, func(r *ledger.Record) { r.Wide = true }) // it narrows no tokens; the next look asks for all of them
		return nil
	}
	t.log(rec, set, err)
	switch {
	case problem != "":
		return t.needsSignIn(ctx, turn, problem)
	case err != nil:
		return t.failed(ctx, turn, rec, err)
	}
	t.take(ctx, turn, tokens, answer{asked: request.Scopes, set: set, all: all, requested: ledger.ScopeSet(rec.Requested)})
	return nil
}

// renew gets new tokens for rec: with its refresh token, or the way its client got the first ones.
func (t *Tokens) renew(ctx context.Context, rec ledger.Record, request oauthflow.Request) (tokens *oauthflow.Tokens, problem string, err error) {
	if rec.Unattended() {
		return t.cfg.Obtain(ctx, rec, request)
	}
	tokens, err = t.cfg.Flow.Refresh(ctx, request, rec.Refresh.Text)
	return tokens, "", err
}

// answer is what a refresh was about.
type answer struct {
	asked     ledger.Scopes // of the issuer; none: all that was granted
	set       ledger.Scopes // that a token was wanted for
	all       ledger.Scopes // that was granted so far
	requested ledger.Scopes // by anybody, ever
}

// take keeps what the issuer answered: first the record, then the token.
func (t *Tokens) take(ctx context.Context, turn ledger.Turn, tokens *oauthflow.Tokens, a answer) {
	got := ledger.ScopeSet(tokens.Scopes)
	more, narrowed := got.Minus(a.set), len(a.asked) > 0
	// An issuer that narrows may yet add what nobody ever asked for: what a client has there by default.
	adds := narrowed && len(more) > 0 && len(more.And(a.requested)) == 0
	wide := narrowed && len(more) > 0 && !adds
	if !narrowed && len(tokens.Scopes) == 0 {
		got = a.all
	}
	if !tokens.Refresh.Empty() || wide || adds || !narrowed && !got.Equal(a.all) {
		turn.Keep(ctx, func(r *ledger.Record) {
			if !tokens.Refresh.Empty() {
				r.Refresh.Text = tokens.Refresh
			}
			r.Wide = r.Wide || wide
			if adds {
				r.Always = ledger.ScopeSet(r.Always, more)
			}
			if !narrowed {
				r.Granted = got
			}
			r.RefreshedAt = time.Now()
		})
	}
	turn.Refreshed(time.Now())
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(turn.Grant())
	l.down = ""
	l.hold(tokens, got, true)
	if a.set.Covers(got) && !got.Equal(a.set) {
		l.held[a.set.Key()] = l.held[got.Key()] // the issuer gave less; asking again gives no more
	}
}

// needsSignIn notes why only the person can help.
func (t *Tokens) needsSignIn(ctx context.Context, turn ledger.Turn, problem string) error {
	turn.Keep(ctx, func(r *ledger.Record) { r.Problem = problem })
	t.cfg.Changed()
	return nil
}

// failed decides what a failed refresh means for the grant: only the issuer's own word costs the refresh token.
func (t *Tokens) failed(ctx context.Context, turn ledger.Turn, rec ledger.Record, err error) error {
	var refused *oauthflow.Error
	if !errors.As(err, &refused) || errors.Is(err, oauthflow.ErrUnavailable) {
		t.noteDown(turn.Grant(), err)
		return err
	}
	if rec.Unattended() { // nobody can sign in anew, and nothing is asked for twice; tomorrow the answer may be another
		t.noteDown(turn.Grant(), err)
		if refused.Step != oauthflow.StepEnterprise {
			t.let(turn.Grant()) // the issuer's no is about our client there
		}
		return err
	}
	unknown := refused.Code == "invalid_client" || refused.Code == "unauthorized_client"
	if refused.Code != "invalid_grant" && !unknown { // RFC 6749 §5.2; the first may be a revocation (RFC 7009)
		return err
	}
	why := words.Host(rec.Issuer) + " ended the sign-in"
	if unknown {
		why = words.Host(rec.Issuer) + " no longer knows this program"
	}
	turn.Keep(ctx, func(r *ledger.Record) {
		r.Problem, r.Refresh.Text = why, secret.Text{}
		if unknown && r.Registration.Source == client.SourceDynamic {
			r.Registration = client.Sealed{} // register anew; REG-19
		}
	})
	t.let(turn.Grant())
	if unknown {
		t.cfg.Unknown(rec.Issuer)
	}
	t.cfg.Changed()
	return nil // look again: what is wanted now is a sign-in
}

// let lets go of the tokens that are held for g.
func (t *Tokens) let(g *ledger.Grant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.of(g).held)
}

// noteDown remembers that the issuer could not be reached. The record stays as it is.
func (t *Tokens) noteDown(g *ledger.Grant, err error) {
	t.mu.Lock()
	t.of(g).down = words.Sentence(err.Error())
	t.mu.Unlock()
	t.cfg.Changed()
}

// ServesOn reports whether a refresh failed, with err, for want of an answer, while the token held for set is still alive.
func (t *Tokens) ServesOn(g *ledger.Grant, set ledger.Scopes, err error) bool {
	var undecided bool
	for _, kind := range []error{oauthflow.ErrUnavailable, discovery.ErrUnreachable, keystore.ErrLocked, keystore.ErrUnavailable, keystore.ErrTimeout} {
		undecided = undecided || errors.Is(err, kind)
	}
	h, ok := t.Held(g, set)
	return undecided && ok && h.Lives(0)
}

// RefreshAhead refreshes in the background. The token that is ageing is served meanwhile.
func (t *Tokens) RefreshAhead(g *ledger.Grant, set ledger.Scopes) {
	t.mu.Lock()
	l := t.live[g]
	if l == nil || l.ahead || time.Now().Before(l.aheadAgain) {
		t.mu.Unlock()
		return
	}
	l.ahead = true
	t.mu.Unlock()
	t.jobs.Go(func() {
		const anyLife = 1<<63 - 1 // no ageing token lives long enough
		err := t.Refresh(keystore.Quiet(t.ctx), g, set, anyLife)
		t.mu.Lock()
		l := t.of(g)
		l.ahead = false
		if err != nil {
			wait := 30 * time.Second
			if refused := (*oauthflow.Error)(nil); errors.As(err, &refused) {
				wait = max(wait, refused.RetryAfter)
			}
			l.aheadAgain = time.Now().Add(wait)
		}
		t.mu.Unlock()
		t.cfg.Changed()
	})
}

// Revoke tells rec's issuer that its tokens, and access, are to end (RFC 7009).
func (t *Tokens) Revoke(ctx context.Context, rec ledger.Record, access []secret.Text) error {
	refresh := rec.RefreshTokens()
	if len(refresh) == 0 && len(access) == 0 {
		return nil
	}
	issuer, err := t.issuer(ctx, rec)
	if err != nil {
		return err
	}
	if issuer.RevocationEndpoint == "" {
		return errors.New("it has no revocation endpoint")
	}
	return t.cfg.Flow.Revoke(ctx, oauthflow.Request{
		Server: rec.Server, Resource: rec.Resource, Issuer: issuer, Registration: rec.Registration.At(rec.Issuer),
	}, refresh, access)
}

func (t *Tokens) log(rec ledger.Record, set ledger.Scopes, err error) {
	e := face.Entry{Time: time.Now(), Event: "refresh", Resource: rec.Resource, Account: rec.Account, Scopes: set, Decision: "done", Rule: "the token had run out or was about to"}
	if err != nil {
		e.Decision, e.Rule = "failed", words.Sentence(err.Error())
	}
	t.cfg.Log(e)
}
