package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/broker/asking"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/words"
)

// step is the one thing to do next: serve a token, or do something and look again.
type step struct {
	serve *held
	do    func(ctx context.Context) error
}

func fail(err error) step { return step{do: func(context.Context) error { return err }} }

// plan looks at memory and says what is missing before g can serve w. Callers hold mu.
func (b *Broker) plan(g *grant, w *want) step {
	if g.record.open() {
		return b.planOpen(g, w)
	}
	now := time.Now()
	granted := scopeSet(g.record.Granted)
	allowed, consented := g.allowed(w.from.Host, now, w.forward)
	if w.yes != nil {
		allowed, consented = scopeSet(allowed, w.yes.Scopes), true
	}
	wanted := w.wanted(allowed, granted, consented)
	if !consented || !allowed.covers(wanted) {
		if w.yes == nil {
			return b.planAsk(g, w, wanted, w.demanded, w.whyAsked(consented, allowed, g))
		}
		wanted = wanted.and(allowed) // the person allowed less
	}
	missing := wanted.minus(granted)
	for _, s := range missing {
		if at, ok := g.missing[s]; ok && now.Sub(at) < missingFor {
			missing = missing.minus(scopes{s}) // asked for a moment ago: the issuer does not give it (STP-5)
		}
	}
	switch {
	case w.escalate != "":
		return b.planSignIn(g, w, wanted, w.escalate)
	case g.record.Problem != "":
		return b.planSignIn(g, w, wanted, g.record.Problem)
	case len(missing) > 0:
		return b.planSignIn(g, w, wanted, "these scopes were not granted yet: "+strings.Join(missing, " "))
	}
	if set := wanted.and(granted); len(set) > 0 || len(wanted) == 0 {
		return b.planToken(g, w, set, allowed)
	}
	return fail(localapi.Errorf(localapi.ErrIssuer, "%s gave none of the scopes that were asked for: %s", words.Host(g.record.Issuer), strings.Join(wanted, " ")).
		WithHint("ask its administrator which scopes your account may have"))
}

// planToken serves the token for set, or says how to get it.
func (b *Broker) planToken(g *grant, w *want, set, allowed scopes) step {
	rec := &g.record
	if whole, why := rec.least(set); !whole.equal(set) {
		if !allowed.covers(whole) {
			if w.widened == whole.key() {
				return fail(localapi.Errorf(localapi.ErrConsentDenied, "the person did not allow the wider token that %s issues", words.Host(rec.Issuer)))
			}
			w.widened = whole.key()
			return b.planAsk(g, w, whole, whole, words.Host(rec.Issuer)+why)
		}
		set = whole
	}
	if h := g.held[set.key()]; h != nil && (h.lives(w.minValid) || w.refreshed[set.key()] && h.lives(0)) {
		if rec.renewable() && h.ageing() {
			b.renewAhead(g, set)
		}
		return step{serve: h}
	}
	if !rec.renewable() {
		return b.planSignIn(g, w, set, "no token is left, and the issuer gave no refresh token to get another")
	}
	if w.refreshed[set.key()] {
		return fail(localapi.Errorf(localapi.ErrIssuer, "%s issued a token that had already run out", words.Host(rec.Issuer)).
			WithHint("check the clock of this computer"))
	}
	return step{do: func(ctx context.Context) error {
		w.refreshed[set.key()], w.rule = true, "refreshed"
		err := b.refresh(ctx, g, set, w.minValid)
		if err != nil && b.servesOn(g, set, err) {
			w.rule = "the issuer could not be asked, and the token held is still good"
			return nil // the next look takes what there is
		}
		return err
	}}
}

// planAsk asks for the consent of the person; where nobody may be asked, the policy still is.
func (b *Broker) planAsk(g *grant, w *want, offered, required scopes, why string) step {
	rec := g.record.clone()
	granted := scopeSet(rec.Granted)
	allowed, _ := g.allowed(w.from.Host, time.Now(), w.forward)
	return step{do: func(ctx context.Context) error {
		signIn := !w.quiet && (rec.Problem != "" || !granted.covers(offered))
		q, err := b.questionNow(ctx, w, face.KindConsent, rec, signIn)
		if err != nil {
			return err
		}
		q.Scopes = scopeRows(offered, required, allowed)
		q.Why = words.Sentence(why)
		q.Modes = modes(w.from.Host)
		yes, err := b.consent(ctx, w, q, w.target)
		if err != nil {
			return err
		}
		w.maySignIn = w.maySignIn || signIn
		return b.addConsent(ctx, g, w.from.Host, yes)
	}}
}

// planSignIn sends the person to the issuer, unless nobody may be asked.
func (b *Broker) planSignIn(g *grant, w *want, wanted scopes, why string) step {
	rec := g.record.clone()
	switch {
	case w.quiet:
		return fail(localapi.Errorf(localapi.ErrSignInRequired, "the person must sign in to %s again: %s", words.Host(rec.Server), why).
			WithHint("run vk signin %s", rec.Server))
	case w.signedIn:
		return fail(localapi.Errorf(localapi.ErrSignInRequired, "signing in to %s did not help: %s", words.Host(rec.Server), why).
			WithHint("run vk show %s to see what was granted", rec.Server))
	}
	return step{do: func(ctx context.Context) error {
		t, err := b.where(ctx, w, rec)
		if err != nil {
			return err
		}
		if !w.maySignIn && b.opensPage(t) {
			q, err := b.questionNow(ctx, w, face.KindSignIn, rec, true)
			if err != nil {
				return err
			}
			q.Scopes = scopeRows(wanted, wanted, scopeSet(rec.Granted))
			q.Why = words.Sentence(why)
			answer, rule, err := b.ask(ctx, q)
			if err != nil {
				w.rule = rule
				return err
			}
			if err := b.choose(t, answer); err != nil {
				return err
			}
			w.maySignIn = true
		}
		w.escalate, w.rule = "", "signed in"
		t.fewer = wanted
		joined, err := b.signIn(ctx, t, scopeSet(wanted, rec.Requested), w.from.Host, w.yes)
		w.signedIn = !joined
		return err
	}}
}

// where finds out, once for w, where rec's server sends people to sign in now.
func (b *Broker) where(ctx context.Context, w *want, rec record) (*target, error) {
	if w.target == nil {
		t, err := b.discoverGrant(ctx, rec.Server, rec.Account, w.challenges)
		if err != nil {
			return nil, err
		}
		w.target = t
	}
	return w.target, nil
}

// questionNow starts a question of w about rec's server. Before a sign-in it looks first: what the person is shown must
// be where the browser goes, which may be another issuer than rec's.
func (b *Broker) questionNow(ctx context.Context, w *want, kind string, rec record, signIn bool) (face.Question, error) {
	if !signIn {
		return w.question(kind, rec), nil
	}
	t, err := b.where(ctx, w, rec)
	if err != nil {
		return face.Question{}, err
	}
	q := w.question(kind, t.record())
	b.mention(&q, t)
	return q, nil
}

// firstSignIn is for a server that nobody signed in to: discover it, ask the person, open the browser.
func (b *Broker) firstSignIn(ctx context.Context, w *want) error {
	if w.quiet {
		return localapi.Errorf(localapi.ErrSignInRequired, "nobody signed in to %s yet", words.Host(w.url)).WithHint("run vk signin %s", w.url)
	}
	if w.signedIn {
		return localapi.Errorf(localapi.ErrUnknownServer, "%s was forgotten meanwhile", words.Host(w.url))
	}
	t, err := b.discoverGrant(ctx, w.url, w.account, w.challenges)
	if w.forward && errors.Is(err, discovery.ErrNoSignIn) {
		return b.askOpen(ctx, w)
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	g := b.find(w.url, w.account, w.from.Host)
	b.mu.Unlock()
	if g != nil && !g.record.open() || b.adopt(t, w.url) {
		return nil // somebody signed in meanwhile; or it is known under another address
	}
	offered := scopeSet(w.scopes, w.demanded)
	if len(offered) == 0 {
		offered = t.scopes
	}
	if yes := b.agreed(t, w, offered); yes != nil {
		w.yes, w.maySignIn = yes, true
		joined, err := b.signIn(ctx, t, scopeSet(yes.Scopes), w.from.Host, yes)
		w.signedIn = !joined
		return err
	}
	q := w.question(face.KindConsent, t.record())
	q.Scopes = scopeRows(offered, w.demanded, nil)
	q.Why = words.Sentence("this program has not used " + words.Host(w.url) + " before, and you have not signed in to it")
	b.mention(&q, t)
	q.Modes = modes(w.from.Host)
	yes, err := b.consent(ctx, w, q, t)
	if err != nil {
		return err
	}
	w.maySignIn, w.rule = true, "signed in"
	joined, err := b.signIn(ctx, t, scopeSet(yes.Scopes), w.from.Host, yes)
	w.signedIn = !joined
	return err
}

// question starts a question of w about a grant.
func (w *want) question(kind string, rec record) face.Question {
	return face.Question{
		Kind: kind, Host: w.from.Host, ClientName: w.clientName, Server: rec.Server, ServerName: rec.Name, Resource: rec.Resource,
		Issuer: rec.Issuer, Unpublished: rec.Unpublished, Account: rec.Account, Reason: w.reason,
	}
}

// consent puts q to the person and returns their yes, cut to what was offered. t is where a sign-in would go, for the
// issuer that they choose; nil when q is about none.
func (b *Broker) consent(ctx context.Context, w *want, q face.Question, t *target) (*localapi.Consent, error) {
	var answer face.Answer
	var err error
	if w.quiet {
		w.unasked = asking.Key(q)
		answer, w.rule, err = b.askQuietly(q)
	} else {
		answer, w.rule, err = b.ask(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	yes := &localapi.Consent{
		Host: w.from.Host.Key, HostName: w.from.Host.Name, Level: w.from.Host.Level, Mode: answer.Mode, GivenAt: time.Now().Round(0), // sleep counts
	}
	chosen, set := scopeSet(answer.Scopes), scopes{}
	for _, s := range q.Scopes {
		if s.Required || chosen.has(s.Name) {
			set = append(set, s.Name)
		}
	}
	if yes.Scopes = scopeSet(set); len(yes.Scopes) == 0 && len(q.Scopes) > 0 {
		return nil, localapi.Errorf(localapi.ErrConsentDenied, "the person allowed none of the scopes")
	}
	if t != nil {
		if err := b.choose(t, answer); err != nil {
			return nil, err
		}
	}
	if !slices.Contains(q.Modes, yes.Mode) {
		yes.Mode = localapi.ModeOnce
	}
	if yes.Mode == localapi.ModeHour {
		yes.ExpiresAt = yes.GivenAt.Add(time.Hour)
	}
	w.yes = yes
	return yes, nil
}

// wanted is the set of scopes that w is about, given what its host was allowed.
func (w *want) wanted(allowed, granted scopes, consented bool) scopes {
	base := scopeSet(w.scopes, w.demanded)
	switch {
	case len(w.demanded) > 0:
		return scopeSet(base, allowed) // a step-up must not lose what the host had
	case len(base) > 0:
		return base
	case consented:
		return allowed
	}
	return granted
}

// whyAsked says why a consent is asked for, for a host that may use allowed.
func (w *want) whyAsked(consented bool, allowed scopes, g *grant) string {
	host := w.from.Host
	switch {
	case consented && len(w.demanded) > 0:
		return "the server wants more scopes for this than the program was allowed"
	case consented:
		return "the program asks for more scopes than it was allowed"
	case host.Key != "" && slices.ContainsFunc(g.record.Consents, func(c localapi.Consent) bool { return c.Host != host.Key && baseOf(c.Host) == host.Base }):
		return "this program was updated or changed since you allowed it; keep its access?"
	case host.Key == "":
		return "this program cannot be told apart from others, so it is asked about every time"
	}
	return "this program has not used " + words.Host(g.record.Server) + " before"
}
