package broker

import (
	"context"
	"errors"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// What an issuer or a server gets wrong and the person accepts, and what they set for it, is data in the record: a
// quirk.Quirk. What is wrong is asked about once, with what it means, and none is assumed.

// demand is something about a sign-in that the person decides on before anything is sent to the issuer.
type demand struct {
	quirk   quirk.Quirk
	why     string
	refusal error // what a no comes to
}

// demands are those of a sign-in to t.
func (b *Broker) demands(t *target, request oauthflow.Request) (list []demand) {
	if t.slash != "" {
		why := words.Host(t.server) + " names the issuer " + t.slash + ", which calls itself " + t.issuer.ID
		list = append(list, demand{quirk.Quirk{Name: quirk.IssuerSlash}, why, localapi.Errorf(localapi.ErrDiscovery, "%s", why).
			WithHint("tell the server's owner to write the issuer as it does itself; or sign in again and accept the quirk issuer-slash when Valet Key asks")})
	}
	if t.issuer.PKCEUnlisted && b.flow.Redirects(request) {
		why := words.Host(t.issuer.ID) + " does not say that it checks PKCE (code_challenge_methods_supported is missing from its metadata)"
		list = append(list, demand{quirk.Quirk{Name: quirk.PKCEUnlisted}, why, localapi.Errorf(localapi.ErrDiscovery, "%s", why).
			WithHint("tell the issuer's owner to publish it; or sign in again and accept the quirk pkce-unlisted when Valet Key asks")})
	}
	return list
}

// askQuirk asks whether a quirk is accepted that shows while the person signs in to t.
func (b *Broker) askQuirk(ctx context.Context, t *target, wrong quirk.Quirk, why string) (quirk.Quirk, bool) {
	wrong.AcceptedAt = acceptedNow()
	q := (&want{asker: asker{from: &peer.Peer{}}}).quirkQuestion(t.record(), wrong)
	q.Why, q.SignIn, q.Via = words.Sentence(why), true, t.via
	_, _, err := b.ask(ctx, q)
	return wrong, err == nil
}

func acceptedNow() time.Time { return time.Now().Truncate(time.Second).UTC() }

// settled are the quirks that hold for a sign-in to t: accepted or set earlier, with this one, or in the policy file.
func (b *Broker) settled(t *target) (quirks []quirk.Quirk) {
	if g, ok := b.ledger.Find(t.id()); ok {
		quirks = g.Record().Quirks
	}
	for _, set := range t.quirks {
		quirks = quirk.With(quirks, set)
	}
	return b.settings(t.resource.ID, quirks)
}

// settings are quirks and, over them, what the policy file sets for resource now.
func (b *Broker) settings(resource string, quirks []quirk.Quirk) []quirk.Quirk {
	if b.cfg.Settings == nil {
		return quirks
	}
	for _, set := range b.cfg.Settings(resource) {
		quirks = quirk.With(quirks, set)
	}
	return quirks
}

// browse runs the flow of request at t and returns the quirks that the person accepted on the way. Where the issuer refuses to
// hear of a resource (RFC 8707 §2, RES-7), the person is told what that means, and the flow runs once more without one if
// they accept it. request is left as it was sent last.
func (b *Broker) browse(ctx context.Context, t *target, request *oauthflow.Request) (client.Client, *oauthflow.Tokens, []quirk.Quirk, error) {
	quirks, accepted := b.settled(t), []quirk.Quirk(nil)
	for _, d := range b.demands(t, *request) {
		if quirk.Has(quirks, d.quirk.Name) {
			continue
		}
		wrong, yes := b.askQuirk(ctx, t, d.quirk, d.why)
		switch {
		case yes:
			quirks, accepted = append(quirks, wrong), append(accepted, wrong)
		case ctx.Err() != nil:
			return client.Client{}, nil, nil, ctx.Err()
		default:
			return client.Client{}, nil, nil, d.refusal
		}
	}
	request.Effect = quirk.Effects(quirks)
	registration, tokens, err := b.flow.SignIn(ctx, *request)
	if request.Unbound || !refusedResource(err) {
		return registration, tokens, accepted, err
	}
	deaf, yes := b.askQuirk(ctx, t, quirk.Quirk{Name: quirk.NoResource}, words.Host(t.issuer.ID)+" refuses to make out a token to "+t.resource.ID+" (invalid_target)")
	if !yes {
		return registration, nil, nil, err
	}
	if request.Unbound = true; registration.ClientID != "" {
		request.Registration = registration
	}
	registration, tokens, err = b.flow.SignIn(ctx, *request)
	return registration, tokens, append(accepted, deaf), err
}

// refusedResource reports whether the issuer turned the resource down, and nothing else. An enterprise decides about it.
func refusedResource(err error) bool {
	var refused *oauthflow.Error
	return errors.As(err, &refused) && refused.Code == "invalid_target" && refused.Step != oauthflow.StepEnterprise
}

// issuer is what id, an issuer that server names, says of itself. Where it calls itself by a name with one slash at the
// end more or less, that name is the issuer's (ASM-6): everything is compared with it from then on, byte for byte, but
// nothing is sent there before the person accepted the difference.
func (b *Broker) issuer(ctx context.Context, server, id string) (*discovery.Issuer, error) {
	issuer, err := b.cfg.Discovery.Issuer(ctx, server, id)
	if !errors.Is(err, discovery.ErrMismatch) {
		return issuer, err
	}
	if other, otherErr := b.cfg.Discovery.Issuer(ctx, server, ledger.OtherSlash(id)); otherErr == nil {
		return other, nil
	}
	return nil, err
}

// quirkQuestion asks whether a quirk of rec's server is accepted.
func (w *want) quirkQuestion(rec ledger.Record, wrong quirk.Quirk) face.Question {
	q := w.question(face.KindQuirk, rec)
	q.Quirk, q.Notes = &wrong, []string{wrong.Meaning()}
	return q
}

// setQuirk keeps what the person accepted or set for g's server, and has every token looked at again.
func (b *Broker) setQuirk(ctx context.Context, g *ledger.Grant, q quirk.Quirk) error {
	rule := "you accepted the quirk " + q.Name
	if q.Is(quirk.Set) {
		rule = "you set " + q.String() + ", which counts from the next sign-in"
	}
	return b.changeQuirks(ctx, g, rule, func(quirks []quirk.Quirk) []quirk.Quirk {
		q.AcceptedAt = acceptedNow()
		return quirk.With(quirks, q)
	})
}

// dropQuirk takes one back.
func (b *Broker) dropQuirk(ctx context.Context, g *ledger.Grant, name string) error {
	return b.changeQuirks(ctx, g, "you took the quirk "+name+" back", func(quirks []quirk.Quirk) []quirk.Quirk { return quirk.Without(quirks, name) })
}

func (b *Broker) changeQuirks(ctx context.Context, g *ledger.Grant, rule string, change func([]quirk.Quirk) []quirk.Quirk) error {
	turn, err := g.Take(ctx)
	if err != nil {
		return err
	}
	defer turn.Give()
	if err := turn.Change(ctx, func(r *ledger.Record) { r.Quirks = change(r.Quirks) }); err != nil {
		return err
	}
	b.tokens.CheckAnew(g)
	rec := g.Record()
	b.activity.add(face.Entry{Time: time.Now(), Event: face.KindQuirk, Resource: rec.Resource, Account: rec.Account, Decision: "done", Rule: words.Sentence(rule)})
	b.cfg.OnChange()
	return nil
}
