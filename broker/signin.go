package broker

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/valetkey/valetkey/broker/asking"
	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

type signInKey struct{ server, account string }

// signIn is one browser flow under way. It outlives the host that wanted it: the person may be in the middle of it.
type signIn struct {
	face.SignIn
	enterprise string // whose page may open; "" when none
	cancel     context.CancelFunc
	yes        []granted     // what the person allowed together with it, kept also when the host has hung up meanwhile
	done       chan struct{} // closed when err is set
	err        error
}

// granted is a consent for a grant that is not there yet.
type granted struct {
	host peer.Host
	localapi.Consent
}

// signInTimeout bounds one browser flow, with the exchange and the save after it.
const signInTimeout = 10 * time.Minute

// signIn runs the browser flow for t, or joins the one under way (which may be about other scopes), and waits for its
// end. The grant is in place when it returns nil, with yes in it when the person allowed host more than this once.
func (b *Broker) signIn(ctx context.Context, t *target, ask ledger.Scopes, host peer.Host, yes *localapi.Consent) (joined bool, err error) {
	key, enterprise := signInKey{t.server, t.account}, ledger.EnterpriseOf(b.registration(t.issuer.ID)).Issuer
	b.mu.Lock()
	s, joined := b.signIns[key]
	if !joined {
		b.lastID++
		jobCtx, cancel := context.WithTimeout(b.ctx, signInTimeout)
		s = &signIn{enterprise: enterprise, cancel: cancel, done: make(chan struct{})}
		s.SignIn = face.SignIn{ID: "s" + strconv.Itoa(b.lastID), Server: t.server, Issuer: t.issuer.ID, Host: host.Name, Started: time.Now()}
		b.signIns[key] = s
		b.jobs.Go(func() {
			defer cancel()
			err := b.runSignIn(jobCtx, t, ask)
			b.mu.Lock()
			delete(b.signIns, key)
			yes := s.yes
			b.mu.Unlock()
			if err == nil {
				err = b.addConsents(jobCtx, t, yes)
			}
			s.err = err
			close(s.done)
			b.cfg.OnChange()
		})
	}
	if yes != nil {
		s.yes = append(s.yes, granted{host, *yes})
	}
	b.mu.Unlock()
	b.cfg.OnChange()
	select {
	case <-s.done:
	case <-ctx.Done():
		return joined, ctx.Err()
	}
	return joined, s.err
}

// agreed is what the person allowed a's host together with the sign-in to t that is under way, if that covers offered;
// nil when there is no such thing. A yes for once is for another request, unless the gateway makes both.
func (b *Broker) agreed(t *target, a *attempt, offered ledger.Scopes) *localapi.Consent {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.signIns[signInKey{t.server, t.account}]
	if !ok {
		return nil
	}
	for _, y := range s.yes {
		same := asking.HostID(y.host) == asking.HostID(a.from.Host) && (y.Mode == localapi.ModeAlways || y.Mode == localapi.ModeHour || y.host.Instance == a.from.Host.Instance)
		if same && (y.Mode != localapi.ModeOnce || a.forward != nil) && ledger.ScopeSet(y.Scopes).Covers(offered) {
			return &y.Consent
		}
	}
	return nil
}

// addConsents keeps what the person allowed before the grant was there.
func (b *Broker) addConsents(ctx context.Context, t *target, yes []granted) error {
	g, ok := b.ledger.Find(t.id())
	if !ok {
		return nil // forgotten meanwhile; the next look says so
	}
	for _, y := range yes {
		if err := b.addConsent(context.WithoutCancel(ctx), g, y.host, &y.Consent); err != nil {
			return err
		}
	}
	return nil
}

// runSignIn runs one browser flow and writes the record. Only then does anybody learn of it.
func (b *Broker) runSignIn(ctx context.Context, t *target, ask ledger.Scopes) error {
	another := slices.ContainsFunc(b.ledger.Grants(), func(o *ledger.Grant) bool {
		r := o.Record()
		return r.Issuer == t.issuer.ID && r.Account != t.account
	})
	key, err := t.newKey(b.settled(t))
	if err != nil {
		return err
	}
	ours := b.registration(t.issuer.ID)
	request := oauthflow.Request{
		Server: t.server, ServerName: t.resource.Name, Resource: t.resource.ID, Issuer: t.issuer, Key: key,
		Scopes: askIssuer(ask, t.issuer, ours), Registration: ours, SelectAccount: another,
		ACRValues: t.acrValues, MaxAge: t.maxAge, Device: t.via == face.ViaDevice,
		AskClient: func(ctx context.Context, issuer string) (client.Client, error) {
			return b.askClient(ctx, t, issuer)
		},
	}
	if err := b.enterprise.Find(ctx, &request); err != nil {
		return err
	}
	if err := b.identify(ctx, &request, t.account, t.page); err != nil {
		b.logSignIn(t, ask, err)
		return err
	}
	before := ask
	registration, tokens, quirks, err := b.browse(ctx, t, &request)
	if refused := (*oauthflow.Error)(nil); errors.As(err, &refused) && refused.Code == "invalid_scope" && len(t.fewer) > 0 && !t.fewer.Covers(ask) {
		// TOK-15: a scope that the issuer has given up must not stand in the way for ever.
		ask, before = t.fewer, nil
		request.Scopes, request.Registration = askIssuer(ask, t.issuer, ours), registration
		registration, tokens, err = b.flow.SignIn(ctx, request)
	}
	b.noteRegistration(t.issuer.ID, request.Registration, registration, err)
	b.enterprise.Disowned(ctx, request.Registration, t.account, err)
	if refusesOffline(err) && !ours.Unattended() && slices.Contains(request.Scopes, ledger.OfflineAccess) {
		// It was our wish: what an issuer lists, it may still keep from this client or this person.
		request.Scopes, request.Registration = ask, b.registration(t.issuer.ID)
		registration, tokens, err = b.flow.SignIn(ctx, request)
		b.noteRegistration(t.issuer.ID, request.Registration, registration, err)
	}
	b.logSignIn(t, ask, err)
	if err != nil {
		return err
	}
	binding := secret.Text{}
	if key != nil {
		if binding, err = key.Text(); err != nil {
			return err
		}
	}
	got, now := ledger.ScopeSet(tokens.Scopes), time.Now()
	turn, _ := b.ledger.Claim(t.record())
	defer turn.Give()
	g, former := turn.Grant(), turn.Grant().Record()
	turn.Keep(ctx, func(r *ledger.Record) {
		r.Name, r.Prefix, r.Unpublished = t.resource.Name, t.resource.Prefix, t.resource.Unpublished
		r.SignedIn(registration, tokens.Refresh)
		r.Key.Text, r.Bindable = binding, t.resource.Bindable
		if r.Requested = ledger.ScopeSet(r.Requested, before); before == nil {
			r.Requested = ask
		}
		r.Granted = got
		r.Problem, r.Wide, r.Device = "", false, request.Device
		for _, q := range append(slices.Clone(t.quirks), quirks...) {
			r.Quirks = quirk.With(r.Quirks, q)
		}
		r.SignedInAt, r.RefreshedAt = now, now
	})
	b.consents.signedIn(g)
	b.tokens.SignedIn(g, key, tokens, got, ask.Minus(got))
	replaced := b.introduce(turn, t)
	if at := former.Enterprise(); at != (ledger.Enterprise{}) && at != ledger.EnterpriseOf(registration) {
		if err := b.forgetIdentity(context.WithoutCancel(ctx), former); err != nil {
			b.log.Warn("who you are at the enterprise that spoke for you before was not ended there", "issuer", at.Issuer, "error", err)
		}
	}
	forgotten, err := b.forgetAll(context.WithoutCancel(ctx), replaced)
	if err != nil {
		b.log.Warn("a grant at the server's former issuer could not be removed", "error", err)
	} else if len(forgotten.NotRevoked) > 0 {
		b.log.Warn("a grant at the server's former issuer was not revoked", "error", forgotten.NotRevoked)
	}
	return nil
}

// introduce lets everyone find turn's grant, and returns the grants it replaces: those of the same server and account at
// another issuer, which the server no longer names or the person has left. Nobody took anything back by that: what is under
// way with them goes on, as something of the new one's.
func (b *Broker) introduce(turn ledger.Turn, t *target) (replaced []*ledger.Grant) {
	turn.Introduce()
	for _, o := range b.ledger.Grants() {
		if r := o.Record(); o != turn.Grant() && r.Server == t.server && r.Account == t.account {
			replaced = append(replaced, o)
		}
	}
	b.uses.move(replaced, turn.Grant())
	return replaced
}

// askIssuer adds offline_access where the issuer knows it: without it there may be no refresh token. Alone it would
// replace the issuer's default scopes, so it is never sent alone; and clients that get tokens by themselves need none.
func askIssuer(ask ledger.Scopes, issuer *discovery.Issuer, client client.Client) []string {
	if client.Unattended() {
		return ask
	}
	if len(ask) > 0 && slices.Contains(issuer.Scopes, ledger.OfflineAccess) {
		return append(slices.Clone(ask), ledger.OfflineAccess)
	}
	return ask
}

// refusesOffline reports whether an issuer may have meant offline_access: by the code for any scope (RFC 6749 §4.1.2.1),
// or by Keycloak's own at the token endpoint.
func refusesOffline(err error) bool {
	var refused *oauthflow.Error
	return errors.As(err, &refused) && (refused.Code == "invalid_scope" || refused.Code == "not_allowed")
}

// showPage lets the person find the page of a sign-in again.
func (b *Broker) showPage(req oauthflow.Request, page oauthflow.Page) {
	b.mu.Lock()
	for key, s := range b.signIns {
		if key.server == req.Server && s.Issuer == req.Issuer.ID || s.enterprise == req.Issuer.ID {
			s.URL, s.Code = page.URL, page.Code
		}
	}
	b.mu.Unlock()
	b.cfg.OnChange()
}

// SignIn answers POST /v1/signin: it asks the person, then sends them to the issuer, and returns the grant.
func (b *Broker) SignIn(ctx context.Context, from *peer.Peer, req localapi.SignInRequest) (*localapi.Grant, error) {
	w, err := newWant(ctx, from, localapi.TokenRequest{
		Resource: req.Resource, Account: req.Account, Scopes: req.Scopes, Reason: req.Reason, Client: req.Client,
	})
	if err != nil {
		return nil, err
	}
	quirks, err := req.Settings()
	if err != nil {
		return nil, err
	}
	grant, err := b.signInAsked(ctx, w, quirks, req.Device)
	if err != nil {
		return nil, b.explain(err, w.url)
	}
	return grant, nil
}

// signInAsked asks the person and signs in, with quirks set for the server from then on; on another device, if they agree
// to that too.
func (b *Broker) signInAsked(ctx context.Context, w *want, quirks []quirk.Quirk, device bool) (*localapi.Grant, error) {
	if err := b.ledger.Load(ctx); err != nil {
		return nil, err
	}
	t, err := b.discoverGrant(ctx, w.url, w.account, nil)
	if err != nil {
		return nil, err
	}
	var before ledger.Scopes
	if g, ok := b.ledger.Find(t.id()); ok {
		before = ledger.ScopeSet(g.Record().Requested)
	}
	offered := ledger.ScopeSet(w.scopes, before)
	if len(offered) == 0 {
		offered = t.scopes
	}
	for _, q := range quirks {
		q.AcceptedAt = acceptedNow()
		t.quirks = append(t.quirks, q)
	}
	q := w.question(face.KindSignIn, t.record())
	q.Scopes = scopeRows(offered, nil, before)
	if device {
		t.via = face.ViaDevice
	}
	b.mention(&q, t)
	if device && q.SignIn && q.Via != face.ViaDevice {
		return nil, localapi.Errorf(localapi.ErrBadRequest, "%s does not offer to sign in on another device", words.Host(t.issuer.ID)).
			WithHint("sign in by browser, without --device; or tell the issuer's owner about RFC 8628")
	}
	q.Why = "You, or the program named above, asked to sign in to this server."
	if w.from.Host.Name == "" {
		q.Why = "You asked to sign in to this server."
	}
	answer, _, err := b.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := b.choose(t, answer); err != nil {
		return nil, err
	}
	chosen := ledger.ScopeSet(answer.Scopes).And(offered)
	if len(chosen) == 0 && len(offered) > 0 {
		return nil, localapi.Errorf(localapi.ErrConsentDenied, "the person allowed none of the scopes")
	}
	if _, err := b.signIn(ctx, t, chosen, w.from.Host, nil); err != nil {
		return nil, err
	}
	g, ok := b.ledger.Find(t.id())
	if !ok {
		return nil, localapi.Errorf(localapi.ErrUnknownServer, "%s was forgotten meanwhile", words.Host(t.server))
	}
	shown := b.shown(g)
	return &shown, nil
}

func (b *Broker) logSignIn(t *target, ask ledger.Scopes, err error) {
	e := face.Entry{Time: time.Now(), Event: "sign_in", Resource: t.resource.ID, Account: t.account, Scopes: ask, Decision: "done", Rule: "signed in at " + words.Host(t.issuer.ID)}
	if err != nil {
		e.Decision, e.Rule = "failed", words.Sentence(err.Error())
	}
	b.activity.add(e)
}
