package broker

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// What an issuer or a server gets wrong and the person accepts, and what they set for it, is data in the record: a
// localapi.Quirk. What is wrong is asked about once, with what it means, and none is assumed.

// demand is something about a sign-in that the person decides on before anything is sent to the issuer.
type demand struct {
	quirk   localapi.Quirk
	why     string
	refusal error // what a no comes to
}

// demands are those of a sign-in to t.
func (b *Broker) demands(t *target, request oauthflow.Request) (list []demand) {
	if t.slash != "" {
		why := words.Host(t.server) + " names the issuer " + t.slash + ", which calls itself " + t.issuer.ID
		list = append(list, demand{localapi.Quirk{Name: localapi.QuirkIssuerSlash}, why, localapi.Errorf(localapi.ErrDiscovery, "%s", why).
			WithHint("tell the server's owner to write the issuer as it does itself; or sign in again and accept the quirk issuer-slash when Valet Key asks")})
	}
	if t.issuer.PKCEUnlisted && b.flow.Redirects(request) {
		why := words.Host(t.issuer.ID) + " does not say that it checks PKCE (code_challenge_methods_supported is missing from its metadata)"
		list = append(list, demand{localapi.Quirk{Name: localapi.QuirkPKCEUnlisted}, why, localapi.Errorf(localapi.ErrDiscovery, "%s", why).
			WithHint("tell the issuer's owner to publish it; or sign in again and accept the quirk pkce-unlisted when Valet Key asks")})
	}
	return list
}

// askQuirk asks whether a quirk is accepted that shows while the person signs in to t.
func (b *Broker) askQuirk(ctx context.Context, t *target, quirk localapi.Quirk, why string) (localapi.Quirk, bool) {
	quirk.AcceptedAt = acceptedNow()
	q := (&want{asker: asker{from: &peer.Peer{}}}).quirkQuestion(t.record(), quirk)
	q.Why, q.SignIn, q.Via = words.Sentence(why), true, t.via
	_, _, err := b.ask(ctx, q)
	return quirk, err == nil
}

func acceptedNow() time.Time { return time.Now().Truncate(time.Second).UTC() }

// settled are the quirks that hold for a sign-in to t: accepted or set earlier, with this one, or in the policy file.
func (b *Broker) settled(t *target) (quirks []localapi.Quirk) {
	if g, ok := b.ledger.Find(t.id()); ok {
		quirks = g.Record().Quirks
	}
	for _, quirk := range t.quirks {
		quirks = with(quirks, quirk)
	}
	return b.settings(t.resource.ID, quirks)
}

// settings are quirks and, over them, what the policy file sets for resource now.
func (b *Broker) settings(resource string, quirks []localapi.Quirk) []localapi.Quirk {
	if b.cfg.Settings == nil {
		return quirks
	}
	for _, quirk := range b.cfg.Settings(resource) {
		quirks = with(quirks, quirk)
	}
	return quirks
}

// browse runs the flow of request at t and returns the quirks that the person accepted on the way. Where the issuer refuses to
// hear of a resource (RFC 8707 §2, RES-7), the person is told what that means, and the flow runs once more without one if
// they accept it. request is left as it was sent last.
func (b *Broker) browse(ctx context.Context, t *target, request *oauthflow.Request) (client.Client, *oauthflow.Tokens, []localapi.Quirk, error) {
	quirks, accepted := b.settled(t), []localapi.Quirk(nil)
	for _, d := range b.demands(t, *request) {
		if _, ok := localapi.FindQuirk(quirks, d.quirk.Name); ok {
			continue
		}
		quirk, yes := b.askQuirk(ctx, t, d.quirk, d.why)
		switch {
		case yes:
			quirks, accepted = append(quirks, quirk), append(accepted, quirk)
		case ctx.Err() != nil:
			return client.Client{}, nil, nil, ctx.Err()
		default:
			return client.Client{}, nil, nil, d.refusal
		}
	}
	apply(quirks, request)
	registration, tokens, err := b.flow.SignIn(ctx, *request)
	if request.Unbound || !refusedResource(err) {
		return registration, tokens, accepted, err
	}
	quirk, yes := b.askQuirk(ctx, t, localapi.Quirk{Name: localapi.QuirkNoResource}, words.Host(t.issuer.ID)+" refuses to make out a token to "+t.resource.ID+" (invalid_target)")
	if !yes {
		return registration, nil, nil, err
	}
	if request.Unbound = true; registration.ClientID != "" {
		request.Registration = registration
	}
	registration, tokens, err = b.flow.SignIn(ctx, *request)
	return registration, tokens, append(accepted, quirk), err
}

// apply makes request what it must be where quirks hold.
func apply(quirks []localapi.Quirk, request *oauthflow.Request) {
	_, request.Unbound = localapi.FindQuirk(quirks, localapi.QuirkNoResource)
	_, request.PKCEUnlisted = localapi.FindQuirk(quirks, localapi.QuirkPKCEUnlisted)
	request.Parameters = parameters(quirks)
}

// parameters are those that quirks add; nil for none. What a record or a policy holds was checked when it came there.
func parameters(quirks []localapi.Quirk) url.Values {
	quirk, ok := localapi.FindQuirk(quirks, localapi.QuirkParameters)
	if !ok {
		return nil
	}
	added, _ := localapi.ParseParameters(quirk.Value)
	return added
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
func (w *want) quirkQuestion(rec ledger.Record, quirk localapi.Quirk) face.Question {
	q := w.question(face.KindQuirk, rec)
	q.Quirk, q.Notes = &quirk, []string{quirk.Meaning()}
	return q
}

// setQuirk keeps what the person accepted or set for g's server, and has every token looked at again.
func (b *Broker) setQuirk(ctx context.Context, g *ledger.Grant, quirk localapi.Quirk) error {
	rule := "you accepted the quirk " + quirk.Name
	if quirk.Chosen() {
		rule = "you set " + quirk.String() + ", which counts from the next sign-in"
	}
	return b.changeQuirks(ctx, g, rule, func(quirks []localapi.Quirk) []localapi.Quirk {
		quirk.AcceptedAt = acceptedNow()
		return with(quirks, quirk)
	})
}

// dropQuirk takes one back.
func (b *Broker) dropQuirk(ctx context.Context, g *ledger.Grant, name string) error {
	return b.changeQuirks(ctx, g, "you took the quirk "+name+" back", func(quirks []localapi.Quirk) []localapi.Quirk { return without(quirks, name) })
}

// with is quirks with one more, in place of one of that name. Parameters without any are the end of them.
func with(quirks []localapi.Quirk, quirk localapi.Quirk) []localapi.Quirk {
	quirks = without(quirks, quirk.Name)
	if quirk.Name == localapi.QuirkParameters && quirk.Value == "" {
		return quirks
	}
	return append(quirks, quirk)
}

func without(quirks []localapi.Quirk, name string) []localapi.Quirk {
	return slices.DeleteFunc(slices.Clone(quirks), func(q localapi.Quirk) bool { return q.Name == name })
}

func (b *Broker) changeQuirks(ctx context.Context, g *ledger.Grant, rule string, change func([]localapi.Quirk) []localapi.Quirk) error {
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

// badQuirk is a value that quirk cannot have.
func badQuirk(quirk localapi.Quirk, err error) error {
	return localapi.Errorf(localapi.ErrBadRequest, "“%s” %v", quirk.Value, err).
		WithHint("write it as the issuer's documentation does: access_type=offline, or audience=https://api.example.com")
}
