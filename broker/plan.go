package broker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/broker/asking"
	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/broker/signin"
	"github.com/valetkey/valetkey/broker/tokens"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// step is the one thing to do next: serve a token, or do something and look again.
type step struct {
	serve *tokens.Token
	rule  string // why it may be served
	ahead bool   // it is to be renewed meanwhile
	do    func(ctx context.Context) error
}

func fail(err error) step { return step{do: func(context.Context) error { return err }} }

// plan looks at what there is and says what is missing before g can serve a. It changes nothing. Of a grant that is forgotten
// by now nothing counts that was seen of it.
func (b *Broker) plan(g *ledger.Grant, a *attempt) step {
	next := b.planFor(g, a)
	if g.Gone() {
		return step{do: func(context.Context) error { return nil }}
	}
	return next
}

func (b *Broker) planFor(g *ledger.Grant, a *attempt) step {
	rec := g.Record()
	allowed, consented := b.consents.allowed(g, a.from.Host, a.forward != nil)
	if rec.Open() {
		return b.planOpen(rec, a, consented)
	}
	granted := ledger.ScopeSet(rec.Granted)
	if a.yes != nil {
		allowed, consented = ledger.ScopeSet(allowed, a.yes.Scopes), true
	}
	wanted := a.set(allowed, granted, consented)
	if !consented || !allowed.Covers(wanted) {
		if a.yes == nil {
			return b.planAsk(g, rec, a, wanted, a.demanded, a.whyAsked(consented, rec))
		}
		wanted = wanted.And(allowed) // the person allowed less
	}
	missing := wanted.Minus(granted)
	missing = missing.Minus(b.tokens.Missing(g, missing)) // asked for a moment ago: the issuer does not give it (STP-5)
	switch {
	case a.escalate != "":
		return b.planSignIn(rec, a, wanted, a.escalate)
	case rec.Problem != "":
		return b.planSignIn(rec, a, wanted, rec.Problem)
	case len(missing) > 0:
		return b.planSignIn(rec, a, wanted, "these scopes were not granted yet: "+strings.Join(missing, " "))
	}
	if set := wanted.And(granted); len(set) > 0 || len(wanted) == 0 {
		return b.planToken(g, rec, a, set, allowed)
	}
	return fail(localapi.Errorf(localapi.ErrIssuer, "%s gave none of the scopes that were asked for: %s", words.Host(rec.Issuer), strings.Join(wanted, " ")).
		WithHint("ask its administrator which scopes your account may have"))
}

// planToken serves the token for set, or says how to get it.
func (b *Broker) planToken(g *ledger.Grant, rec ledger.Record, a *attempt, set, allowed ledger.Scopes) step {
	if whole, why := rec.Least(set); !whole.Equal(set) {
		if !allowed.Covers(whole) {
			return b.planWiden(g, rec, a, whole, words.Host(rec.Issuer)+why)
		}
		set = whole
	}
	if t, ok := b.tokens.Held(g, set); ok && (t.Lives(a.minValid) || a.refreshed[set.Key()] && t.Lives(0)) {
		return step{serve: &t, rule: "the token held is still good", ahead: rec.Renewable() && t.Ageing()}
	}
	if !rec.Renewable() {
		return b.planSignIn(rec, a, set, "no token is left, and the issuer gave no refresh token to get another")
	}
	if a.refreshed[set.Key()] {
		return fail(localapi.Errorf(localapi.ErrIssuer, "%s issued a token that had already run out", words.Host(rec.Issuer)).
			WithHint("check the clock of this computer"))
	}
	return step{do: func(ctx context.Context) error {
		a.refreshed[set.Key()], a.rule = true, "refreshed"
		err := b.tokens.Refresh(ctx, g, set, a.minValid)
		if err != nil && b.tokens.ServesOn(g, set, err) {
			a.rule = "the issuer could not be asked, and the token held is still good"
			return nil // the next look takes what there is
		}
		return err
	}}
}

// planWiden asks for the wider token that is all that the issuer gives; once.
func (b *Broker) planWiden(g *ledger.Grant, rec ledger.Record, a *attempt, whole ledger.Scopes, why string) step {
	if a.widened == whole.Key() {
		return fail(localapi.Errorf(localapi.ErrConsentDenied, "the person did not allow the wider token that %s issues", words.Host(rec.Issuer)))
	}
	ask := b.planAsk(g, rec, a, whole, whole, why)
	return step{do: func(ctx context.Context) error {
		a.widened = whole.Key()
		return ask.do(ctx)
	}}
}

// planAsk asks for the consent of the person; where nobody may be asked, the policy still is.
func (b *Broker) planAsk(g *ledger.Grant, rec ledger.Record, a *attempt, offered, required ledger.Scopes, why string) step {
	return step{do: func(ctx context.Context) error {
		allowed, _ := b.consents.allowed(g, a.from.Host, a.forward != nil)
		signIn := !a.quiet && (rec.Problem != "" || !ledger.ScopeSet(rec.Granted).Covers(offered))
		q, err := b.questionNow(ctx, a, face.KindConsent, rec, signIn)
		if err != nil {
			return err
		}
		q.Scopes = scopeRows(offered, required, allowed)
		q.Why = words.Sentence(why)
		q.Modes = modes(a.from.Host)
		yes, err := b.consent(ctx, a, q, a.target)
		if err != nil {
			return err
		}
		a.maySignIn = a.maySignIn || signIn
		return b.addConsent(ctx, g, a.from.Host, yes)
	}}
}

// planSignIn sends the person to the issuer, unless nobody may be asked.
func (b *Broker) planSignIn(rec ledger.Record, a *attempt, wanted ledger.Scopes, why string) step {
	switch {
	case a.quiet:
		return fail(localapi.Errorf(localapi.ErrSignInRequired, "the person must sign in to %s again: %s", words.Host(rec.Server), why).
			WithHint("run vk signin %s", rec.Server))
	case a.signedIn:
		return fail(localapi.Errorf(localapi.ErrSignInRequired, "signing in to %s did not help: %s", words.Host(rec.Server), why).
			WithHint("run vk show %s to see what was granted", rec.Server))
	}
	return step{do: func(ctx context.Context) error {
		t, err := b.where(ctx, a, rec)
		if err != nil {
			return err
		}
		if !a.maySignIn && b.signIns.OpensPage(t) {
			if err := b.askSignIn(ctx, a, t, rec, wanted, why); err != nil {
				return err
			}
		}
		a.escalate, a.rule = "", "signed in"
		t.Fewer = wanted
		joined, err := b.signIn(ctx, t, ledger.ScopeSet(wanted, rec.Requested), a.from.Host, a.yes)
		a.signedIn = !joined
		return err
	}}
}

// askSignIn asks whether the page of t may open for the person to sign in again.
func (b *Broker) askSignIn(ctx context.Context, a *attempt, t *signin.Target, rec ledger.Record, wanted ledger.Scopes, why string) error {
	q, err := b.questionNow(ctx, a, face.KindSignIn, rec, true)
	if err != nil {
		return err
	}
	q.Scopes = scopeRows(wanted, wanted, ledger.ScopeSet(rec.Granted))
	q.Why = words.Sentence(why)
	answer, rule, err := b.ask(ctx, q)
	if err != nil {
		a.rule = rule
		return err
	}
	if err := b.signIns.Choose(t, answer); err != nil {
		return err
	}
	a.maySignIn = true
	return nil
}

// where finds out, once for a, where rec's server sends people to sign in now.
func (b *Broker) where(ctx context.Context, a *attempt, rec ledger.Record) (*signin.Target, error) {
	if a.target == nil {
		t, err := b.signIns.Discover(ctx, rec.Server, rec.Account, a.challenges)
		if err != nil {
			return nil, err
		}
		a.target = t
	}
	return a.target, nil
}

// questionNow starts a question of a about rec's server. Before a sign-in it looks first: what the person is shown must
// be where the browser goes, which may be another issuer than rec's.
func (b *Broker) questionNow(ctx context.Context, a *attempt, kind string, rec ledger.Record, signIn bool) (face.Question, error) {
	if !signIn {
		return a.question(kind, rec), nil
	}
	t, err := b.where(ctx, a, rec)
	if err != nil {
		return face.Question{}, err
	}
	q := a.question(kind, t.Record())
	b.signIns.Mention(&q, t)
	return q, nil
}

// firstSignIn is for a server that nobody signed in to: discover it, ask the person, open the browser.
func (b *Broker) firstSignIn(ctx context.Context, a *attempt) error {
	if a.quiet {
		return localapi.Errorf(localapi.ErrSignInRequired, "nobody signed in to %s yet", words.Host(a.url)).WithHint("run vk signin %s", a.url)
	}
	if a.signedIn {
		return localapi.Errorf(localapi.ErrUnknownServer, "%s was forgotten meanwhile", words.Host(a.url))
	}
	t, err := b.signIns.Discover(ctx, a.url, cmp.Or(a.account, defaultAccount), a.challenges)
	if a.forward != nil && errors.Is(err, discovery.ErrNoSignIn) {
		return b.askOpen(ctx, a)
	}
	if err != nil {
		return err
	}
	if b.meanwhile(a) || b.ledger.Adopt(t.ID(), a.url) {
		return nil // somebody signed in meanwhile; or it is known under another address
	}
	offered := ledger.ScopeSet(a.scopes, a.demanded)
	if len(offered) == 0 {
		offered = t.Scopes
	}
	yes := b.agreed(t, a, offered)
	if yes != nil {
		a.yes = yes
	} else {
		q := a.question(face.KindConsent, t.Record())
		q.Scopes = scopeRows(offered, a.demanded, nil)
		q.Why = words.Sentence("this program has not used " + words.Host(a.url) + " before, and you have not signed in to it")
		b.signIns.Mention(&q, t)
		q.Modes = modes(a.from.Host)
		if yes, err = b.consent(ctx, a, q, t); err != nil {
			return err
		}
		a.rule = "signed in"
	}
	a.maySignIn, t.First = true, true
	joined, err := b.signIn(ctx, t, ledger.ScopeSet(yes.Scopes), a.from.Host, yes)
	if a.signedIn = !joined; err == nil {
		b.ledger.Adopt(t.ID(), a.url) // at the issuer they chose it may be known under another address
	}
	return err
}

// meanwhile reports whether there is a grant for a now, of a server that asks for a sign-in.
func (b *Broker) meanwhile(a *attempt) bool {
	g, known := b.find(a.url, a.account, a.from.Host)
	if !known {
		return false
	}
	rec := g.Record()
	return !rec.Open()
}

// consent puts q to the person and returns their yes, cut to what was offered. t is where a sign-in would go, for the
// issuer that they choose; nil when q is about none.
func (b *Broker) consent(ctx context.Context, a *attempt, q face.Question, t *signin.Target) (*localapi.Consent, error) {
	var answer face.Answer
	var err error
	if a.quiet {
		a.unasked = asking.Key(q)
		answer, a.rule, err = b.askQuietly(q)
	} else {
		answer, a.rule, err = b.ask(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	yes := &localapi.Consent{
		Host: a.from.Host.Key, HostName: a.from.Host.Name, Level: a.from.Host.Level, Mode: answer.Mode, GivenAt: time.Now().Round(0), // sleep counts
	}
	chosen, set := ledger.ScopeSet(answer.Scopes), ledger.Scopes{}
	for _, s := range q.Scopes {
		if s.Required || chosen.Has(s.Name) {
			set = append(set, s.Name)
		}
	}
	if yes.Scopes = ledger.ScopeSet(set); len(yes.Scopes) == 0 && len(q.Scopes) > 0 {
		return nil, localapi.Errorf(localapi.ErrConsentDenied, "the person allowed none of the scopes")
	}
	if t != nil {
		if err := b.signIns.Choose(t, answer); err != nil {
			return nil, err
		}
	}
	if !slices.Contains(q.Modes, yes.Mode) {
		yes.Mode = localapi.ModeOnce
	}
	if yes.Mode == localapi.ModeHour {
		yes.ExpiresAt = yes.GivenAt.Add(time.Hour)
	}
	a.yes = yes
	return yes, nil
}

// whyAsked says why a consent is asked for.
func (w *want) whyAsked(consented bool, rec ledger.Record) string {
	host := w.from.Host
	switch {
	case consented && len(w.demanded) > 0:
		return "the server wants more scopes for this than the program was allowed"
	case consented:
		return "the program asks for more scopes than it was allowed"
	case host.Key != "" && slices.ContainsFunc(rec.Consents, func(c localapi.Consent) bool { return c.Host != host.Key && baseOf(c.Host) == host.Base }):
		return "this program was updated or changed since you allowed it; keep its access?"
	case host.Key == "":
		return "this program cannot be told apart from others, so it is asked about every time"
	}
	return "this program has not used " + words.Host(rec.Server) + " before"
}

// modes are the consent modes that may be offered to a host, by how sure we are of it (docs/threat-model.md).
func modes(h peer.Host) []string {
	out := []string{localapi.ModeOnce}
	if h.Instance != "" && h.Level > peer.Unknown {
		out = append(out, localapi.ModeRunning)
	}
	if h.Key == "" || h.Level <= peer.Unknown {
		return out
	}
	if h.Level > peer.SelfReported {
		out = append(out, localapi.ModeHour)
	}
	return append(out, localapi.ModeAlways)
}

// scopeRows draws the checkboxes: required ones first, each list sorted.
func scopeRows(offered, required, had ledger.Scopes) []face.Scope {
	rows := []face.Scope{}
	for _, s := range required {
		rows = append(rows, face.Scope{Name: s, Required: true, New: !had.Has(s), Checked: true})
	}
	for _, s := range offered.Minus(required) {
		rows = append(rows, face.Scope{Name: s, New: !had.Has(s), Checked: true})
	}
	return rows
}
