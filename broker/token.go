package broker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/broker/signin"
	"github.com/valetkey/valetkey/broker/tokens"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// attempt is a want and what happened to it so far.
type attempt struct {
	*want
	yes        *localapi.Consent // the person's answer to this very request
	maySignIn  bool              // the person knows that a browser opens
	signedIn   bool
	refreshed  map[string]bool // scope sets
	widened    string          // key of the wider set that the person was asked for
	unasked    string          // the question that nobody may be asked
	escalate   string          // why only a new sign-in can help; "" when something else may
	rule       string          // why the answer is what it is
	target     *signin.Target  // where to sign in, once that was looked up
	guess      string          // SHA-256 of the token that is only taken for refused
	check      *localapi.Check // of the token to be served
	askedQuirk bool
	tolerated  bool // the policy file lets this token through
}

func (w *want) attempt() *attempt { return &attempt{want: w, refreshed: map[string]bool{}} }

// Token answers POST /v1/token: a token for one server, alive for at least MinValidS seconds (but never more than half
// of what the issuer gives), with the scopes the host was allowed.
func (b *Broker) Token(ctx context.Context, from *peer.Peer, req localapi.TokenRequest) (*localapi.Token, error) {
	w, err := newWant(ctx, from, req)
	if err != nil {
		return nil, err
	}
	a := w.attempt()
	a.guess = b.uses.guess(w)
	token, err := b.token(ctx, a)
	if err == nil && w.rerun > 0 {
		b.uses.hand(a, token)
	}
	if req.Interaction == localapi.InteractionAsk && (errors.Is(err, localapi.ErrConsentRequired) || errors.Is(err, localapi.ErrSignInRequired)) {
		err = b.askBeside(from, req, a.unasked, err)
	}
	if err != nil {
		err = b.explain(err, w.url)
	}
	b.logToken(a, token, err)
	return token, err
}

// Forward is Token for the gateway, which uses the token itself and asks for each request of a host anew. So a yes for
// once holds, for this run of the host, as long as the token it was given for, but for an hour at most; and the activity
// log gets a line for each token rather than for each request.
//
// While ctx lasts, the request is taken to be under way. If the person takes back what allowed it (they forget the
// sign-in, take the consent back, pause the host), withdrawn is called with an error that says so.
func (b *Broker) Forward(ctx context.Context, from *peer.Peer, req localapi.TokenRequest, withdrawn func(error)) (*localapi.Token, error) {
	w, err := newWant(ctx, from, req)
	if err != nil {
		return nil, err
	}
	if w.forward = withdrawn; withdrawn == nil {
		w.forward = func(error) {}
	}
	a := w.attempt()
	token, err := b.token(ctx, a)
	if err != nil {
		err = b.explain(err, w.url)
	}
	if err != nil || b.uses.first(w, token) {
		b.logToken(a, token, err)
	}
	return token, err
}

// Explain answers POST /v1/explain: what was found in the token that this request would get. The token stays here, also
// one that would be handed out.
func (b *Broker) Explain(ctx context.Context, from *peer.Peer, req localapi.TokenRequest) (*localapi.Explained, error) {
	w, err := newWant(ctx, from, req)
	if err != nil {
		return nil, err
	}
	w.explain = true
	a := w.attempt()
	token, err := b.token(ctx, a)
	if err != nil {
		err = b.explain(err, w.url)
	}
	b.logToken(a, token, err)
	if err != nil {
		return nil, err
	}
	return &localapi.Explained{
		Resource: token.Resource, Issuer: token.Issuer, Account: token.Account, Scope: token.Scope, ExpiresAt: token.ExpiresAt, Check: *a.check,
	}, nil
}

// token goes on until a can be served or not: it looks at what is missing, does that one thing, and looks again, because
// meanwhile the person or another host may have changed everything.
func (b *Broker) token(ctx context.Context, a *attempt) (*localapi.Token, error) {
	if a.quiet {
		ctx = keystore.Quiet(ctx)
	}
	if err := b.ledger.Load(ctx); err != nil {
		return nil, err
	}
	if err := b.paused(a); err != nil {
		return nil, err
	}
	if err := b.noteTurnedDown(ctx, a); err != nil {
		return nil, err
	}
	for range 8 { // each pass asks, signs in or refreshes at most once, and none of them twice for the same cause
		token, err := b.pass(ctx, a)
		if token != nil || err != nil {
			return token, err
		}
	}
	return nil, localapi.Errorf(localapi.ErrUnavailable, "the sign-in at %s kept changing while a token was being fetched", words.Host(a.url)).WithHint("try again")
}

// pass serves a, or does the one thing that is missing; then the caller looks again.
func (b *Broker) pass(ctx context.Context, a *attempt) (*localapi.Token, error) {
	g, known := b.find(a.url, a.account, a.from.Host)
	if !known {
		if err := b.paused(a); err != nil {
			return nil, err
		}
		return nil, b.firstSignIn(ctx, a)
	}
	leave, goesOn := b.uses.enter(ctx, g, a)
	if err := b.paused(a); err != nil { // meanwhile
		leave()
		return nil, err
	}
	next := b.plan(g, a)
	if next.serve == nil {
		leave()
		return nil, next.do(ctx)
	}
	a.rule = cmp.Or(a.rule, next.rule)
	if next.ahead {
		b.tokens.RefreshAhead(g, next.serve.Scopes)
	}
	again, err := b.guard(ctx, g, a, *next.serve)
	if err != nil || again {
		leave()
		return nil, err
	}
	token, err := b.release(g, a, *next.serve, goesOn)
	if err != nil {
		leave()
	}
	return token, err
}

// find returns the grant for url: the account's, else the one this host may use, else the oldest.
func (b *Broker) find(url, account string, host peer.Host) (*ledger.Grant, bool) {
	grants := b.ledger.ReachedBy(url, account)
	if len(grants) == 0 {
		return nil, false
	}
	for _, g := range grants {
		if _, ok := b.consents.allowed(g, host, true); ok {
			return g, true
		}
	}
	return grants[0], true
}

// release looks at the peer once more and hands the token out. A yes for once holds on unless it was taken back meanwhile.
func (b *Broker) release(g *ledger.Grant, a *attempt, t tokens.Token, goesOn func() bool) (*localapi.Token, error) {
	if err := a.from.Check(); err != nil {
		b.desk.Suspect(a.from.Host)
		a.rule = "the program changed between its request and the answer"
		return nil, localapi.Errorf(localapi.ErrConsentDenied, "the program that asked is gone or has become another: %v", err)
	}
	if a.forward != nil && a.yes != nil && a.yes.Mode == localapi.ModeOnce && a.from.Host.Instance != "" && goesOn() {
		b.consents.addOnce(g, a.from.Host, *a.yes, t.Expiry)
	}
	rec := g.Record()
	token := &localapi.Token{
		AccessToken: t.Access, TokenType: "Bearer", ExpiresAt: t.Expiry, Scope: t.Scopes.Key(),
		Resource: rec.Resource, Issuer: rec.Issuer, Account: rec.Account,
	}
	if a.explain {
		token.AccessToken = secret.Text{}
		return token, nil
	}
	key, err := b.tokens.Key(g)
	if err != nil {
		return nil, err
	}
	if err := prove(token, key, a.want); err != nil {
		return nil, err
	}
	return token, nil
}

// noteTurnedDown takes in that a server turned a token down, or pointed to its metadata in another answer.
func (b *Broker) noteTurnedDown(ctx context.Context, a *attempt) error {
	switch {
	case a.refused != "" || a.guess != "":
		return b.noteRefusal(ctx, a)
	case slices.ContainsFunc(a.challenges, func(c discovery.Challenge) bool { return c.ResourceMetadata() != "" }):
		return b.noteChallenge(ctx, a)
	}
	return nil
}

// noteRefusal takes in that a server turned a token down. A token we still hold is dropped, and the server's metadata is
// read anew, because its challenge is the only sign of a new issuer (RFC 9728 §5.2). A token fetched because of an
// earlier refusal that is refused as well cannot be helped by refreshing (RFC 6750 §3.1).
func (b *Broker) noteRefusal(ctx context.Context, a *attempt) error {
	g, known := b.find(a.url, a.account, a.from.Host)
	if !known {
		return nil
	}
	dropped, fresh := b.tokens.Refused(g, cmp.Or(a.refused, a.guess), a.demanded, a.guess != "")
	if fresh && len(a.demanded) == 0 {
		a.escalate = "the server turned down a fresh token"
	}
	if dropped && slices.ContainsFunc(a.challenges, func(c discovery.Challenge) bool { _, _, ok := c.Reauthentication(); return ok }) {
		a.escalate = "the server wants you to sign in again, in another way or more recently"
	}
	if !dropped || len(a.demanded) > 0 {
		return nil // not ours any more: what we hold now is newer; or only more scopes were demanded
	}
	a.rule = "the server turned the last token down"
	if a.guess != "" {
		a.rule = "it asked again at once, so the server may have turned the last token down"
	}
	return b.lookAnew(ctx, g, a)
}

// noteChallenge takes in a challenge that came with another answer than a refusal, and points to the server's metadata:
// that may have changed (RFC 9728 §5.2).
func (b *Broker) noteChallenge(ctx context.Context, a *attempt) error {
	g, known := b.find(a.url, a.account, a.from.Host)
	if !known {
		return nil
	}
	if rec := g.Record(); rec.Open() || !b.tokens.LookDue(g) {
		return nil
	}
	return b.lookAnew(ctx, g, a)
}

// lookAnew reads the server's metadata where a's challenges say. If it names g's issuer no more, g needs a sign-in.
func (b *Broker) lookAnew(ctx context.Context, g *ledger.Grant, a *attempt) error {
	rec := g.Record()
	resource, _, err := b.cfg.Discovery.Resource(ctx, rec.Server, a.challenges)
	switch {
	case errors.Is(err, discovery.ErrUnreachable), errors.Is(err, discovery.ErrNoSignIn), errors.Is(err, discovery.ErrUnpublished) && rec.Unpublished:
		return nil // nothing new was learned
	case err != nil:
		return err
	}
	if now := g.Record(); now.NamedBy(resource.Issuers) {
		return nil
	}
	turn, err := g.Take(ctx)
	if err != nil {
		return err
	}
	defer turn.Give()
	turn.Keep(ctx, func(r *ledger.Record) {
		r.Problem = words.Host(rec.Server) + " now trusts another issuer than " + words.Host(rec.Issuer)
	})
	b.cfg.OnChange()
	return nil
}

func (b *Broker) logToken(a *attempt, token *localapi.Token, err error) {
	e := face.Entry{
		Time: time.Now(), Event: "token", RequestID: a.id, Host: a.from.Host.Name, HostKey: a.from.Host.Key, PID: a.from.Host.Process.PID,
		Resource: a.url, Account: a.account, Scopes: a.scopes, Decision: "allowed", Rule: a.rule,
	}
	if a.explain {
		e.Event = "explain"
	}
	var refused *localapi.Error
	switch {
	case errors.As(err, &refused):
		e.Decision, e.Rule = "failed", refused.Message
		if errors.Is(err, localapi.ErrConsentDenied) || errors.Is(err, localapi.ErrConsentRequired) {
			e.Decision = "denied"
		}
	case err != nil:
		e.Decision, e.Rule = "failed", "the program hung up"
	default:
		if token.AccessToken.Empty() {
			e.Event = "use"
		}
		e.Resource, e.Account, e.Scopes = token.Resource, token.Account, strings.Fields(token.Scope)
	}
	if a.yes != nil {
		e.Mode = a.yes.Mode
	}
	b.activity.add(e)
	b.cfg.OnChange()
}
