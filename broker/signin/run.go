package signin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// Outcome is what came of a sign-in to Target.
type Outcome struct {
	Target *Target
	Client client.Client
	Tokens *oauthflow.Tokens // nil: there was nothing to do
	Key    *dpop.Key         // that the tokens are bound to; nil for bearer tokens
	Asked  ledger.Scopes     // of the issuer, in the end

	request oauthflow.Request // as it was sent last
	quirks  []quirk.Quirk     // that the person accepted on the way
	anew    bool              // what was asked for before is given up by the issuer
	binding secret.Text       // Key, as text
}

// Got are the scopes of the tokens.
func (o *Outcome) Got() ledger.Scopes { return ledger.ScopeSet(o.Tokens.Scopes) }

// Enter writes the outcome into the record of its grant.
func (o *Outcome) Enter(r *ledger.Record) {
	t, now := o.Target, time.Now()
	r.Name, r.Prefix, r.Unpublished = t.Resource.Name, t.Resource.Prefix, t.Resource.Unpublished
	r.SignedIn(o.Client, o.Tokens.Refresh)
	r.Key.Text, r.Bindable = o.binding, t.Resource.Bindable
	if r.Requested = ledger.ScopeSet(r.Requested, o.Asked); o.anew {
		r.Requested = o.Asked
	}
	r.Granted = o.Got()
	r.Problem, r.Wide, r.Device = "", false, o.request.Device
	for _, q := range append(slices.Clone(t.Quirks), o.quirks...) {
		r.Quirks = quirk.With(r.Quirks, q)
	}
	r.SignedInAt, r.RefreshedAt = now, now
}

// run is one sign-in on its way to an outcome.
type run struct {
	*SignIns
	Outcome
}

// run signs in to t.
func (s *SignIns) run(ctx context.Context, t *Target, ask ledger.Scopes) (*Outcome, error) {
	quirks := t.Quirks
	if g, ok := s.cfg.Ledger.Find(t.ID()); ok {
		quirks = g.Record().Quirks
		for _, q := range t.Quirks {
			quirks = quirk.With(quirks, q)
		}
	}
	quirks = s.Quirks(t.Resource.ID, quirks)
	r := &run{SignIns: s, Outcome: Outcome{Target: t, Asked: ask}}
	if err := r.bind(quirk.Effects(quirks).Bound); err != nil {
		return nil, err
	}
	ours := s.ours(t.Issuer.ID)
	r.request = oauthflow.Request{
		Server: t.Server, ServerName: t.Resource.Name, Resource: t.Resource.ID, Issuer: t.Issuer, Key: r.Key,
		Scopes: askIssuer(ask, t.Issuer, ours), Registration: ours, SelectAccount: s.another(t),
		ACRValues: t.acrValues, MaxAge: t.maxAge, Device: t.Via == face.ViaDevice,
		AskClient: func(ctx context.Context, issuer string) (client.Client, error) {
			return s.cfg.AskClient(ctx, t, issuer)
		},
	}
	err := s.cfg.Vouch(ctx, &r.request, t.Account, t.page)
	if err == nil {
		err = r.demand(ctx, quirks)
	}
	if err == nil {
		err = r.try(ctx)
	}
	s.log(t, r.Asked, err)
	if err != nil {
		return nil, err
	}
	return &r.Outcome, nil
}

// another reports whether the person is signed in at t's issuer with another account, so that they have to choose.
func (s *SignIns) another(t *Target) bool {
	return slices.ContainsFunc(s.cfg.Ledger.Grants(), func(g *ledger.Grant) bool {
		r := g.Record()
		return r.Issuer == t.Issuer.ID && r.Account != t.Account
	})
}

// try tries until it works or nothing is left to concede. Each concession is made once.
func (r *run) try(ctx context.Context) error {
	left := slices.Clone(concessions)
	for {
		used := r.request.Registration
		made, tokens, err := r.cfg.Flow.SignIn(ctx, r.request)
		r.noteClient(r.Target.Issuer.ID, used, made, err)
		if err == nil {
			r.Client, r.Tokens = made, tokens
			return nil
		}
		next := slices.IndexFunc(left, func(c concession) bool { return c.helps(r, err) })
		if next < 0 {
			r.cfg.Disowned(ctx, used, r.Target.Account, err)
			return err
		}
		if !left[next].make(ctx, r) {
			return err
		}
		left = slices.Delete(left, next, next+1)
		if r.request.Registration = made; made.ClientID == "" {
			r.request.Registration = r.SignIns.ours(r.Target.Issuer.ID)
		}
	}
}

// concession is what the next try does without, after the issuer refused the last one.
type concession struct {
	helps func(r *run, err error) bool
	make  func(ctx context.Context, r *run) bool // false: the person does not agree
}

var concessions = []concession{
	{ // The issuer refuses to hear of a resource (RFC 8707 §2, RES-7). The person is told what that means.
		func(r *run, err error) bool { return RefusedResource(err) && !r.request.Unbound },
		func(ctx context.Context, r *run) bool {
			t := r.Target
			q, err := r.askQuirk(ctx, t, quirk.Quirk{Name: quirk.NoResource}, words.Host(t.Issuer.ID)+" refuses to make out a token to "+t.Resource.ID+" (invalid_target)")
			if err != nil {
				return false
			}
			r.request.Unbound, r.quirks = true, append(r.quirks, q)
			return true
		},
	},
	{ // TOK-15: a scope that the issuer has given up must not stand in the way for ever.
		func(r *run, err error) bool {
			fewer := r.Target.Fewer
			return code(err) == "invalid_scope" && len(fewer) > 0 && !fewer.Covers(r.Asked)
		},
		func(_ context.Context, r *run) bool {
			r.Asked, r.anew = r.Target.Fewer, true
			offline := slices.Contains(r.request.Scopes, ledger.OfflineAccess) // else that was conceded before, or never asked for
			if r.request.Scopes = r.Asked; offline {
				r.request.Scopes = append(slices.Clone(r.Asked), ledger.OfflineAccess)
			}
			return true
		},
	},
	{ // offline_access was our wish: what an issuer lists, it may still keep from this client or this person. It says so by the
		// code for any scope (RFC 6749 §4.1.2.1), or by Keycloak's own at the token endpoint.
		func(r *run, err error) bool {
			return (code(err) == "invalid_scope" || code(err) == "not_allowed") &&
				!r.request.Registration.Unattended() && slices.Contains(r.request.Scopes, ledger.OfflineAccess)
		},
		func(_ context.Context, r *run) bool {
			r.request.Scopes = r.Asked
			return true
		},
	},
}

// code is the issuer's code for what it refuses; "" when err is something else.
func code(err error) string {
	var refused *oauthflow.Error
	if !errors.As(err, &refused) {
		return ""
	}
	return refused.Code
}

// RefusedResource reports whether the issuer turned the resource down, and nothing else. An enterprise decides about it.
func RefusedResource(err error) bool {
	var refused *oauthflow.Error
	return errors.As(err, &refused) && refused.Code == "invalid_target" && refused.Step != oauthflow.StepEnterprise
}

// askIssuer adds offline_access where the issuer knows it: without it there may be no refresh token. Alone it would
// replace the issuer's default scopes, so it is never sent alone; and clients that get tokens by themselves need none.
func askIssuer(ask ledger.Scopes, issuer *discovery.Issuer, ours client.Client) []string {
	if ours.Unattended() {
		return ask
	}
	if len(ask) > 0 && slices.Contains(issuer.Scopes, ledger.OfflineAccess) {
		return append(slices.Clone(ask), ledger.OfflineAccess)
	}
	return ask
}

// demand is something about a sign-in that the person decides on before anything is sent to the issuer.
type demand struct {
	quirk string
	why   string
	tell  string // to do with a no, beside signing in again and accepting the quirk
}

// demands are those of r.
func (r *run) demands() (list []demand) {
	t := r.Target
	if t.slash != "" {
		list = append(list, demand{quirk.IssuerSlash, words.Host(t.Server) + " names the issuer " + t.slash + ", which calls itself " + t.Issuer.ID,
			"tell the server's owner to write the issuer as it does itself"})
	}
	if t.Issuer.PKCEUnlisted && r.cfg.Flow.Redirects(r.request) {
		list = append(list, demand{quirk.PKCEUnlisted, words.Host(t.Issuer.ID) + " does not say that it checks PKCE (code_challenge_methods_supported is missing from its metadata)",
			"tell the issuer's owner to publish it"})
	}
	return list
}

// demand asks about what was not accepted yet, and makes the request what it must be where quirks hold.
func (r *run) demand(ctx context.Context, quirks []quirk.Quirk) error {
	for _, d := range r.demands() {
		if quirk.Has(quirks, d.quirk) {
			continue
		}
		q, err := r.askQuirk(ctx, r.Target, quirk.Quirk{Name: d.quirk}, d.why)
		switch {
		case err == nil:
			quirks, r.quirks = append(slices.Clone(quirks), q), append(r.quirks, q)
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			return localapi.Errorf(localapi.ErrDiscovery, "%s", d.why).
				WithHint("%s; or sign in again and accept the quirk %s when Valet Key asks", d.tell, d.quirk)
		}
	}
	r.request.Effect = quirk.Effects(quirks)
	return nil
}

// bind makes the key that the tokens are bound to. A server that takes bearer tokens gets those, unless the person wants
// bound ones. One that takes no others is never shown a bearer token.
func (r *run) bind(wanted bool) (err error) {
	t := r.Target
	switch {
	case t.Resource.Bound:
	case !wanted:
		return nil
	case !t.Resource.Bindable:
		return localapi.Errorf(localapi.ErrDiscovery, "%s does not say that it takes tokens that are bound to a key (DPoP), which you set for it", words.Host(t.Server)).
			WithHint("take the setting dpop back on the server's page in Valet Key, or in the policy file")
	}
	if known := t.Issuer.DPoPAlgorithms; known != nil && !slices.Contains(known, dpop.Algorithm) {
		return localapi.Errorf(localapi.ErrDiscovery, "tokens for %s are to be bound to a key (DPoP), and %s knows no key that Valet Key can make (%s)",
			words.Host(t.Server), words.Host(t.Issuer.ID), dpop.Algorithm).WithHint("tell the owner of the server")
	}
	if r.Key, err = dpop.New(); err != nil {
		return err
	}
	r.binding, err = r.Key.Text()
	return err
}
