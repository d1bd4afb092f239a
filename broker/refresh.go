package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/words"
)

// refreshTimeout bounds one refresh, from the moment the host can no longer stop it.
const refreshTimeout = 60 * time.Second

// refresh gets a token for set with g's refresh token, unless somebody did so meanwhile. From the POST on it cannot be
// stopped by the host that caused it: the issuer may have rotated the refresh token, and the new one must be kept.
func (b *Broker) refresh(ctx context.Context, g *grant, set scopes, minValid time.Duration) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	b.mu.Lock()
	h, rec := g.held[set.key()], g.record.clone()
	gone, unsaved := g.gone, g.unsaved
	b.mu.Unlock()
	if gone || h != nil && h.lives(minValid) || rec.Problem != "" {
		return nil // look again
	}
	if !unsaved {
		err := b.reread(ctx, g, &rec)
		if err != nil {
			return err
		}
	}
	issuer, err := b.issuerOf(ctx, rec)
	if err != nil {
		b.noteDown(g, err)
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	return b.post(ctx, g, rec, issuer, set)
}

// reread looks whether the keychain still has g's record before the refresh token is spent: a keychain that cannot be
// read would not take the next one either.
func (b *Broker) reread(ctx context.Context, g *grant, rec *record) error {
	var kept record
	err := get(ctx, b.cfg.Store, grantName(rec.Resource, rec.Issuer, rec.Account), &kept)
	b.noteKeychain(err)
	if errors.Is(err, keystore.ErrNotFound) { // deleted with the keychain's own program: the person's word
		b.drop(g)
		return localapi.Errorf(localapi.ErrSignInRequired, "the sign-in at %s is no longer in the keychain", words.Host(rec.Server)).
			WithHint("run vk signin %s", rec.Server)
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	if kept.RefreshedAt.Before(g.record.RefreshedAt) {
		kept.RefreshedAt = g.record.RefreshedAt // not worth a write of its own
	}
	g.record = kept
	b.mu.Unlock()
	*rec = kept.clone()
	return nil
}

// post sends the one POST and keeps what comes back.
func (b *Broker) post(ctx context.Context, g *grant, rec record, issuer *discovery.Issuer, set scopes) error {
	all := scopeSet(rec.Granted)
	request := oauthflow.Request{
		Server: rec.Server, ServerName: rec.Name, Resource: rec.Resource, Issuer: issuer, Registration: rec.Registration.At(rec.Issuer),
	}
	b.mu.Lock()
	key, err := g.proofKey()
	b.mu.Unlock()
	if err != nil {
		return err
	}
	request.Key = key
	apply(b.settings(rec.Resource, rec.Quirks), &request)
	if !set.equal(all) || rec.unattended() {
		// RFC 6749 §6: a subset of what was granted. What comes by itself is not asked for, unless there is nothing else:
		// without the parameter everything would come.
		request.Scopes = set.minus(rec.Always)
		if len(request.Scopes) == 0 {
			request.Scopes = set
		}
	}
	tokens, err := b.renew(ctx, rec, request)
	var refused *oauthflow.Error
	if errors.As(err, &refused) && refused.Code == "invalid_scope" && refused.Step != oauthflow.StepEnterprise && len(request.Scopes) > 0 {
		b.keep(ctx, g, func(r *record) { r.Wide = true }) // it narrows no tokens; the next look asks for all of them
		return nil
	}
	b.logRefresh(rec, set, err)
	if err != nil {
		return b.refreshFailed(ctx, g, rec, err)
	}
	got := scopeSet(tokens.Scopes)
	more := got.minus(set)
	wide := len(request.Scopes) > 0 && len(more) > 0
	// An issuer that narrows may yet add what nobody ever asked for: what a client has there by default.
	adds := wide && len(more.and(scopeSet(rec.Requested))) == 0
	wide = wide && !adds
	if len(request.Scopes) == 0 && len(tokens.Scopes) == 0 {
		got = all
	}
	if !tokens.Refresh.Empty() || wide || adds || len(request.Scopes) == 0 && !got.equal(all) {
		b.keep(ctx, g, func(r *record) {
			if !tokens.Refresh.Empty() {
				r.Refresh = kept{tokens.Refresh}
			}
			r.Wide = r.Wide || wide
			if adds {
				r.Always = scopeSet(r.Always, more)
			}
			if len(request.Scopes) == 0 {
				r.Granted = got
			}
			r.RefreshedAt = time.Now()
		})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	g.record.RefreshedAt = time.Now()
	g.down = ""
	g.hold(tokens, got, true)
	if set.covers(got) && !got.equal(set) {
		g.held[set.key()] = g.held[got.key()] // the issuer gave less; asking again gives no more
	}
	return nil
}

// renew gets new tokens for rec: with its refresh token, or the way its client got the first ones. Such a client is the
// person's own, and what they say of it now counts, not what the record remembers.
func (b *Broker) renew(ctx context.Context, rec record, request oauthflow.Request) (*oauthflow.Tokens, error) {
	if !rec.unattended() {
		return b.flow.Refresh(ctx, request, rec.Refresh.Text)
	}
	now, ok := b.preRegistered(rec.Issuer)
	if !ok || now.GrantType != rec.Registration.GrantType || now.ClientID != rec.Registration.ClientID || enterpriseOf(now) != enterpriseOf(rec.Registration.Client) {
		return nil, localapi.Errorf(localapi.ErrSignInRequired, "the client %s at %s, which signs in by itself, was taken away", rec.Registration.ClientID, words.Host(rec.Issuer)).
			WithHint("set it again, or run vk forget %s and sign in another way", rec.Server)
	}
	request.Registration = now
	if err := b.findEnterprise(ctx, &request); err != nil {
		return nil, err
	}
	if err := b.identify(ctx, &request, rec.Account, false); err != nil {
		return nil, err
	}
	tokens, err := b.flow.Obtain(ctx, request)
	if b.noteDisowned(ctx, request.Registration, rec.Account, err) {
		return nil, fmt.Errorf("%w: %w", errIdentity, err)
	}
	return tokens, err
}

// hold keeps an access token while it lives. Callers hold Broker.mu.
func (g *grant) hold(tokens *oauthflow.Tokens, got scopes, refreshed bool) {
	now := time.Now()
	for key, h := range g.held {
		if !h.lives(0) {
			delete(g.held, key)
		}
	}
	renewed := false
	for sum, r := range g.refused {
		if now.Sub(r.at) > refusalFor {
			delete(g.refused, sum)
			continue
		}
		if refreshed && r.key == got.key() && !r.answered {
			renewed, r.answered = true, true
			g.refused[sum] = r
		}
	}
	g.held[got.key()] = &held{access: tokens.Access, scopes: got, expiry: tokens.Expiry, got: now, renewed: renewed}
}

// refreshFailed decides what a failed refresh means for the grant: only the issuer's own word costs the refresh token.
func (b *Broker) refreshFailed(ctx context.Context, g *grant, rec record, err error) error {
	var refused *oauthflow.Error
	if errors.Is(err, errIdentity) {
		b.keep(ctx, g, func(r *record) { r.Problem = errIdentity.Error() })
		b.cfg.OnChange()
		return nil // look again: the plan is now a sign-in
	}
	if !errors.As(err, &refused) || errors.Is(err, oauthflow.ErrUnavailable) {
		b.noteDown(g, err)
		return err
	}
	if rec.unattended() { // nobody can sign in anew, and nothing is asked for twice; tomorrow the answer may be another
		b.noteDown(g, err)
		if refused.Step != oauthflow.StepEnterprise {
			b.mu.Lock()
			clear(g.held) // the issuer's no is about our client there
			b.mu.Unlock()
		}
		return err
	}
	switch refused.Code {
	case "invalid_grant", "invalid_client", "unauthorized_client": // RFC 6749 §5.2; the first may be a revocation (RFC 7009)
		why := words.Host(rec.Issuer) + " ended the sign-in"
		if refused.Code != "invalid_grant" {
			why = words.Host(rec.Issuer) + " no longer knows this program"
		}
		b.keep(ctx, g, func(r *record) {
			r.Problem, r.Refresh = why, kept{}
			if refused.Code != "invalid_grant" && r.Registration.Source == client.SourceDynamic {
				r.Registration = client.Sealed{} // register anew; REG-19
			}
		})
		b.mu.Lock()
		clear(g.held)
		if refused.Code != "invalid_grant" {
			delete(b.made, rec.Issuer)
		}
		b.mu.Unlock()
		b.cfg.OnChange()
		return nil // look again: the plan is now a sign-in
	}
	return err
}

// servesOn reports whether a refresh failed for want of an answer, while the token held for set is still alive.
func (b *Broker) servesOn(g *grant, set scopes, err error) bool {
	var undecided bool
	for _, kind := range []error{oauthflow.ErrUnavailable, discovery.ErrUnreachable, keystore.ErrLocked, keystore.ErrUnavailable, keystore.ErrTimeout} {
		undecided = undecided || errors.Is(err, kind)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h := g.held[set.key()]
	return undecided && h != nil && h.lives(0)
}

// noteDown remembers that the issuer could not be reached. The record stays as it is.
func (b *Broker) noteDown(g *grant, err error) {
	b.mu.Lock()
	g.down = words.Sentence(err.Error())
	b.mu.Unlock()
	b.cfg.OnChange()
}

// renewAhead refreshes in the background. The token that is ageing is served meanwhile. Callers hold mu.
func (b *Broker) renewAhead(g *grant, set scopes) {
	if g.ahead || time.Now().Before(g.aheadAgain) {
		return
	}
	g.ahead = true
	b.jobs.Go(func() {
		const anyLife = 1<<63 - 1 // no ageing token lives long enough
		err := b.refresh(keystore.Quiet(b.ctx), g, set, anyLife)
		b.mu.Lock()
		g.ahead = false
		if err != nil {
			wait := 30 * time.Second
			if refused := (*oauthflow.Error)(nil); errors.As(err, &refused) {
				wait = max(wait, refused.RetryAfter)
			}
			g.aheadAgain = time.Now().Add(wait)
		}
		b.mu.Unlock()
		b.cfg.OnChange()
	})
}

// noteRefusal takes in that a server turned a token down. A token we still hold is dropped, and the server's metadata is
// read anew, because its challenge is the only sign of a new issuer (RFC 9728 §5.2). A token fetched because of an
// earlier refusal that is refused as well cannot be helped by refreshing (RFC 6750 §3.1).
func (b *Broker) noteRefusal(ctx context.Context, w *want) error {
	b.mu.Lock()
	g := b.find(w.url, w.account, w.from.Host)
	var dropped *held
	var server, issuer string
	if g != nil {
		server, issuer = g.record.Server, g.record.Issuer
		for key, h := range g.held {
			if h.access.SHA256() == w.refused && h.scopes.covers(w.demanded) { // else it is good, and only too narrow (STP-9)
				dropped = h
				delete(g.held, key)
			}
		}
		if dropped != nil && !w.guessed {
			g.refused[w.refused] = refusal{at: time.Now(), key: dropped.scopes.key(), renewed: dropped.renewed}
		}
		if g.refused[w.refused].renewed && len(w.demanded) == 0 && !w.guessed {
			w.escalate = "the server turned down a fresh token"
		}
		if dropped != nil && slices.ContainsFunc(w.challenges, func(c discovery.Challenge) bool { _, _, ok := c.Reauthentication(); return ok }) {
			w.escalate = "the server wants you to sign in again, in another way or more recently"
		}
	}
	b.mu.Unlock()
	if dropped == nil || len(w.demanded) > 0 {
		return nil // not ours any more: what we hold now is newer; or only more scopes were demanded
	}
	w.rule = "the server turned the last token down"
	if w.guessed {
		w.rule = "it asked again at once, so the server may have turned the last token down"
	}
	return b.lookAnew(ctx, g, w, server, issuer)
}

// lookEvery bounds how often an answer that is no refusal has metadata read anew: some servers point to it with each.
const lookEvery = time.Minute

// noteChallenge takes in a challenge that came with another answer than a refusal, and points to the server's metadata:
// that may have changed (RFC 9728 §5.2).
func (b *Broker) noteChallenge(ctx context.Context, w *want) error {
	b.mu.Lock()
	g := b.find(w.url, w.account, w.from.Host)
	if g == nil || g.record.open() || time.Since(g.looked) < lookEvery {
		b.mu.Unlock()
		return nil
	}
	g.looked = time.Now()
	server, issuer := g.record.Server, g.record.Issuer
	b.mu.Unlock()
	return b.lookAnew(ctx, g, w, server, issuer)
}

// lookAnew reads the server's metadata where w's challenges say. If it names g's issuer no more, g needs a sign-in.
func (b *Broker) lookAnew(ctx context.Context, g *grant, w *want, server, issuer string) error {
	resource, _, err := b.cfg.Discovery.Resource(ctx, server, w.challenges)
	b.mu.Lock()
	unpublished := g.record.Unpublished
	b.mu.Unlock()
	switch {
	case errors.Is(err, discovery.ErrUnreachable), errors.Is(err, discovery.ErrNoSignIn), errors.Is(err, discovery.ErrUnpublished) && unpublished:
		return nil // nothing new was learned
	case err != nil:
		return err
	}
	b.mu.Lock()
	named := g.record.namedBy(resource.Issuers)
	b.mu.Unlock()
	if named {
		return nil
	}
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	b.keep(ctx, g, func(r *record) {
		r.Problem = words.Host(server) + " now trusts another issuer than " + words.Host(issuer)
	})
	b.cfg.OnChange()
	return nil
}

func (b *Broker) logRefresh(rec record, set scopes, err error) {
	e := face.Entry{Time: time.Now(), Event: "refresh", Resource: rec.Resource, Account: rec.Account, Scopes: set, Decision: "done", Rule: "the token had run out or was about to"}
	if err != nil {
		e.Decision, e.Rule = "failed", words.Sentence(err.Error())
	}
	b.activity.add(e)
}
