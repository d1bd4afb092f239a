package broker

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// Bounds of a token request.
const (
	defaultMinValid = 60 * time.Second
	maxScopes       = 200
	maxChallenges   = 16
	maxReason       = 200 // characters
	maxAccount      = 64  // characters
	aheadShare      = 5   // a token in the last fifth of its life is renewed while it is being served
	missingFor      = 10 * time.Minute
	refusalFor      = time.Hour
)

// defaultAccount is the label of the first account at a server, unless the person gave it another.
const defaultAccount = "default"

// want is one token request, checked, and what happened to it so far.
type want struct {
	from       *peer.Peer
	url        string // canonical form of what the host called the resource
	account    string
	scopes     scopes // the host asked for these
	demanded   scopes // the server's insufficient_scope challenge asked for these
	challenges []discovery.Challenge
	proof      *localapi.Proof // the request the token is for, where the host named it
	minValid   time.Duration
	quiet      bool        // nobody may be asked
	forward    bool        // the gateway asks, for one request of the host
	withdrawn  func(error) // see Forward
	refused    string
	guessed    bool          // refused is only concluded from the host asking again
	rerun      time.Duration // within which that is concluded; 0: never
	reason     string
	clientName string
	id         string

	yes       *localapi.Consent // the person's answer to this very request
	maySignIn bool              // the person knows that a browser opens
	signedIn  bool
	refreshed map[string]bool // scope sets
	widened   string          // key of the wider set that the person was asked for
	unasked   string          // the question that nobody may be asked
	escalate  string          // why only a new sign-in can help; "" when something else may
	rule      string
	target    *target // where to sign in, once that was looked up

	explain    bool            // the token stays here; only what was found in it leaves
	check      *localapi.Check // of the token to be served
	askedQuirk bool
	tolerated  bool // the policy file lets this token through
}

// Token answers POST /v1/token: a token for one server, alive for at least MinValidS seconds (but never more than half
// of what the issuer gives), with the scopes the host was allowed.
func (b *Broker) Token(ctx context.Context, from *peer.Peer, req localapi.TokenRequest) (*localapi.Token, error) {
	w, err := newWant(ctx, from, req)
	if err != nil {
		return nil, err
	}
	if w.rerun > 0 {
		b.noteRerun(w)
	}
	token, err := b.token(ctx, w)
	if err == nil && w.rerun > 0 {
		b.noteHanded(w, token)
	}
	if req.Interaction == localapi.InteractionAsk && (errors.Is(err, localapi.ErrConsentRequired) || errors.Is(err, localapi.ErrSignInRequired)) {
		err = b.askBeside(from, req, w.unasked, err)
	}
	if err != nil {
		err = b.explain(err, w.url)
	}
	b.logToken(w, token, err)
	return token, err
}

// askBeside has the person asked what req misses, for a host that does not wait for them, and returns what that host is
// told: that they are asked now, or why they cannot be. question is the one that was not put to them; "" if there was none.
func (b *Broker) askBeside(from *peer.Peer, req localapi.TokenRequest, question string, missing error) error {
	if err := b.desk.MayAsk(from.Host, question); err != nil {
		return err
	}
	req.Interaction = localapi.InteractionAuto
	b.jobs.Go(func() { b.askWithout(from, req) })
	var said *localapi.Error
	if errors.As(missing, &said) {
		said.Hint = "Valet Key asks about it now: answer there, then try again"
	}
	return missing
}

// askWithout asks the person what req needs, for a host that cannot wait for them: what they allow for longer than once
// is there when it asks again. Nobody gets the token, so nothing is released to a peer that may be gone.
func (b *Broker) askWithout(from *peer.Peer, req localapi.TokenRequest) {
	w, err := newWant(b.ctx, from, req)
	if err != nil {
		return // the same request was good a moment ago
	}
	if _, err := b.token(b.ctx, w); err != nil {
		b.log.Debug("asked for a host that did not wait", "resource", w.url, "error", b.explain(err, w.url))
	}
}

func newWant(ctx context.Context, from *peer.Peer, req localapi.TokenRequest) (*want, error) {
	url, err := canonical(req.Resource)
	if err != nil {
		return nil, err
	}
	for _, s := range req.Scopes {
		if !validScope(s) {
			return nil, localapi.Errorf(localapi.ErrBadRequest, "%q is not a scope (RFC 6749, section 3.3)", untrusted.Text(s, 80))
		}
	}
	switch {
	case len(req.Scopes) > maxScopes:
		return nil, localapi.Errorf(localapi.ErrBadRequest, "%d scopes are too many; %d is the limit", len(req.Scopes), maxScopes)
	case len(req.Challenges) > maxChallenges:
		return nil, localapi.Errorf(localapi.ErrBadRequest, "%d challenges are too many; %d is the limit", len(req.Challenges), maxChallenges)
	case req.MinValidS < 0:
		return nil, localapi.Errorf(localapi.ErrBadRequest, "min_valid_s is negative")
	case req.RerunS < 0 || req.RerunS > localapi.MaxRerunS:
		return nil, localapi.Errorf(localapi.ErrBadRequest, "rerun_s must lie between 0 and %d", localapi.MaxRerunS)
	case !slices.Contains([]string{"", localapi.InteractionAuto, localapi.InteractionNone, localapi.InteractionAsk}, req.Interaction):
		return nil, localapi.Errorf(localapi.ErrBadRequest, "interaction is %q; it must be \"auto\", \"none\" or \"ask\"", untrusted.Text(req.Interaction, 20))
	}
	if req.Refused != "" {
		if sum, err := hex.DecodeString(req.Refused); err != nil || len(sum) != 32 {
			return nil, localapi.Errorf(localapi.ErrBadRequest, "refused must be the SHA-256 of a token, as 64 hex digits")
		}
	}
	account, err := accountLabel(req.Account)
	if err != nil {
		return nil, err
	}
	w := &want{
		from: from, url: url, account: account, scopes: scopeSet(req.Scopes),
		challenges: discovery.ParseChallenges(req.Challenges), proof: req.Proof,
		minValid: time.Duration(req.MinValidS) * time.Second, quiet: req.Interaction == localapi.InteractionNone || req.Interaction == localapi.InteractionAsk,
		refused: strings.ToLower(req.Refused), rerun: time.Duration(req.RerunS) * time.Second, reason: untrusted.Text(req.Reason, maxReason), id: localapi.RequestID(ctx),
		rule: "the token held is still good", refreshed: map[string]bool{},
	}
	if w.minValid == 0 {
		w.minValid = defaultMinValid
	}
	if req.Client != nil {
		w.clientName = untrusted.Text(strings.TrimSpace(req.Client.Name+" "+req.Client.Version), 60)
	}
	tooNarrow := false
	for _, c := range w.challenges {
		if c.Code() == "insufficient_scope" { // RFC 6750 §3.1; the only challenge that asks for a step-up
			tooNarrow = true
			w.demanded = scopeSet(w.demanded, c.Scopes())
		}
	}
	if tooNarrow && len(w.demanded) == 0 {
		w.refused = "" // the token is good, and no renewal or sign-in brings scopes that nobody names (STP-9)
	}
	return w, nil
}

func accountLabel(label string) (string, error) {
	if clean := untrusted.Text(label, maxAccount); clean != label {
		return "", localapi.Errorf(localapi.ErrBadRequest, "the account label must be at most %d printable characters", maxAccount)
	}
	return label, nil
}

// canonical is discovery.Canonical with an error for the host.
func canonical(url string) (string, error) {
	c, err := discovery.Canonical(url)
	if err != nil {
		return "", localapi.Errorf(localapi.ErrBadRequest, "%v", err).WithHint("give the server's URL, such as https://mcp.example.com/mcp")
	}
	return c, nil
}

// token goes on until w can be served or not: it looks at what is missing, does that one thing, and looks again, because
// meanwhile the person or another host may have changed everything.
func (b *Broker) token(ctx context.Context, w *want) (*localapi.Token, error) {
	if w.quiet {
		ctx = keystore.Quiet(ctx)
	}
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	if err := b.paused(w); err != nil {
		return nil, err
	}
	switch {
	case w.refused != "":
		if err := b.noteRefusal(ctx, w); err != nil {
			return nil, err
		}
	case slices.ContainsFunc(w.challenges, func(c discovery.Challenge) bool { return c.ResourceMetadata() != "" }):
		if err := b.noteChallenge(ctx, w); err != nil {
			return nil, err
		}
	}
	for range 8 { // each pass asks, signs in or refreshes at most once, and none of them twice for the same cause
		next := step{do: func(ctx context.Context) error { return b.firstSignIn(ctx, w) }}
		b.mu.Lock()
		g := b.find(w.url, w.account, w.from.Host)
		if g != nil {
			next = b.plan(g, w)
		}
		if next.serve != nil {
			b.begin(ctx, g, w)
		}
		b.mu.Unlock()
		if err := b.paused(w); err != nil { // meanwhile; whoever pauses a host does so before they end what it has under way
			return nil, err
		}
		if next.serve != nil {
			again, err := b.guard(ctx, g, w, next.serve)
			switch {
			case err != nil:
				return nil, err
			case again:
				continue
			}
			return b.release(g, w, next.serve)
		}
		if err := next.do(ctx); err != nil {
			return nil, err
		}
	}
	return nil, localapi.Errorf(localapi.ErrUnavailable, "the sign-in at %s kept changing while a token was being fetched", words.Host(w.url)).WithHint("try again")
}

// find returns the grant for url: the account's, else the one this host may use, else the oldest. Callers hold mu.
func (b *Broker) find(url, account string, host peer.Host) *grant {
	var first *grant
	for _, g := range b.grants {
		if g.gone || !g.reachedBy(url) || account != "" && g.record.Account != account {
			continue
		}
		if first == nil {
			first = g
		}
		if _, ok := g.allowed(host, time.Now(), true); ok {
			return g
		}
	}
	return first
}

// release looks at the peer once more and hands the token out.
func (b *Broker) release(g *grant, w *want, h *held) (*localapi.Token, error) {
	if err := w.from.Check(); err != nil {
		b.desk.Suspect(w.from.Host)
		w.rule = "the program changed between its request and the answer"
		return nil, localapi.Errorf(localapi.ErrConsentDenied, "the program that asked is gone or has become another: %v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.forward && w.yes != nil && w.yes.Mode == localapi.ModeOnce && w.from.Host.Instance != "" {
		g.addOnce(w.from.Host, *w.yes, h.expiry)
	}
	token := &localapi.Token{
		AccessToken: h.access, TokenType: "Bearer", ExpiresAt: h.expiry, Scope: h.scopes.key(),
		Resource: g.record.Resource, Issuer: g.record.Issuer, Account: g.record.Account,
	}
	if w.explain {
		token.AccessToken = secret.Text{}
		return token, nil
	}
	if err := g.prove(token, w); err != nil {
		return nil, err
	}
	return token, nil
}

// lives reports whether h is good for another d. A token cannot be asked to live longer than half its life.
func (h *held) lives(d time.Duration) bool {
	return h.expiry.IsZero() || time.Until(h.expiry) > min(d, h.expiry.Sub(h.got)/2)
}

// ageing reports whether h is in the last part of its life.
func (h *held) ageing() bool {
	return !h.expiry.IsZero() && time.Until(h.expiry) < h.expiry.Sub(h.got)/aheadShare
}

func (b *Broker) logToken(w *want, token *localapi.Token, err error) {
	e := face.Entry{
		Time: time.Now(), Event: "token", RequestID: w.id, Host: w.from.Host.Name, HostKey: w.from.Host.Key, PID: w.from.Host.Process.PID,
		Resource: w.url, Account: w.account, Scopes: w.scopes, Decision: "allowed", Rule: w.rule,
	}
	if w.explain {
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
	if w.yes != nil {
		e.Mode = w.yes.Mode
	}
	b.activity.add(e)
	b.cfg.OnChange()
}
