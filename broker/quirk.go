package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/peer"
)

// What an issuer or a server gets wrong and the person accepts is data in the record: a localapi.Quirk. Each is asked
// about once, with what it means, and none is assumed.

// askQuirk asks whether a quirk is accepted that shows while the person signs in to t.
func (b *Broker) askQuirk(ctx context.Context, t *target, name, why string) (localapi.Quirk, bool) {
	quirk := localapi.Quirk{Name: name, AcceptedAt: time.Now().Truncate(time.Second).UTC()}
	q := (&want{from: &peer.Peer{}}).quirkQuestion(t.record(), quirk)
	q.Why, q.SignIn = sentence(why), true
	_, _, err := b.ask(ctx, q)
	return quirk, err == nil
}

// accepted is what the person accepted earlier about the grant that t leads to.
func (b *Broker) accepted(t *target) []localapi.Quirk {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.grantOf(t); g != nil {
		return slices.Clone(g.record.Quirks)
	}
	return nil
}

// browse runs the flow of request at t and returns the quirks that the person accepted on the way. Where the issuer refuses to
// hear of a resource (RFC 8707 §2, RES-7), the person is told what that means, and the flow runs once more without one if
// they accept it. request is left as it was sent last.
func (b *Broker) browse(ctx context.Context, t *target, request *oauthflow.Request) (oauthflow.Registration, *oauthflow.Tokens, []localapi.Quirk, error) {
	earlier, quirks := b.accepted(t), []localapi.Quirk(nil)
	if _, ok := localapi.FindQuirk(earlier, localapi.QuirkIssuerSlash); t.slash != "" && !ok {
		quirk, yes := b.askQuirk(ctx, t, localapi.QuirkIssuerSlash, hostOf(t.server)+" names the issuer "+t.slash+", which calls itself "+t.issuer.ID)
		if !yes {
			return oauthflow.Registration{}, nil, nil, localapi.Errorf(localapi.ErrDiscovery, "%s names the issuer %s, which calls itself %s", hostOf(t.server), t.slash, t.issuer.ID).
				WithHint("tell the server's owner to write the issuer as it does itself; or sign in again and accept the quirk issuer-slash when Valet Key asks")
		}
		quirks = append(quirks, quirk)
	}
	_, request.Unbound = localapi.FindQuirk(earlier, localapi.QuirkNoResource)
	registration, tokens, err := b.flow.SignIn(ctx, *request)
	if request.Unbound || !refusedResource(err) {
		return registration, tokens, quirks, err
	}
	quirk, yes := b.askQuirk(ctx, t, localapi.QuirkNoResource, hostOf(t.issuer.ID)+" refuses to make out a token to "+t.resource.ID+" (invalid_target)")
	if !yes {
		return registration, nil, nil, err
	}
	if request.Unbound = true; registration.ClientID != "" {
		request.Registration = registration
	}
	registration, tokens, err = b.flow.SignIn(ctx, *request)
	return registration, tokens, append(quirks, quirk), err
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
	if other, otherErr := b.cfg.Discovery.Issuer(ctx, server, otherSlash(id)); otherErr == nil {
		return other, nil
	}
	return nil, err
}

func otherSlash(id string) string {
	if bare, ok := strings.CutSuffix(id, "/"); ok {
		return bare
	}
	return id + "/"
}

// namedBy reports whether r's issuer is among those that a server names.
func (r *record) namedBy(issuers []string) bool {
	_, slash := localapi.FindQuirk(r.Quirks, localapi.QuirkIssuerSlash)
	return slices.Contains(issuers, r.Issuer) || slash && slices.Contains(issuers, otherSlash(r.Issuer))
}

// quirkQuestion asks whether a quirk of rec's server is accepted.
func (w *want) quirkQuestion(rec record, quirk localapi.Quirk) face.Question {
	q := w.question(face.KindQuirk, rec)
	q.Quirk, q.Notes = &quirk, []string{quirk.Meaning()}
	return q
}

// setQuirk keeps what the person accepted for g's server, and has every token looked at again.
func (b *Broker) setQuirk(ctx context.Context, g *grant, quirk localapi.Quirk) error {
	return b.changeQuirks(ctx, g, "you accepted the quirk "+quirk.Name, func(quirks []localapi.Quirk) []localapi.Quirk {
		quirk.AcceptedAt = time.Now().Truncate(time.Second).UTC()
		return append(without(quirks, quirk.Name), quirk)
	})
}

// dropQuirk takes one back.
func (b *Broker) dropQuirk(ctx context.Context, g *grant, name string) error {
	return b.changeQuirks(ctx, g, "you took the quirk "+name+" back", func(quirks []localapi.Quirk) []localapi.Quirk { return without(quirks, name) })
}

func without(quirks []localapi.Quirk, name string) []localapi.Quirk {
	return slices.DeleteFunc(slices.Clone(quirks), func(q localapi.Quirk) bool { return q.Name == name })
}

func (b *Broker) changeQuirks(ctx context.Context, g *grant, rule string, change func([]localapi.Quirk) []localapi.Quirk) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer g.give()
	if err := b.save(ctx, g, func(r *record) { r.Quirks = change(r.Quirks) }); err != nil {
		return err
	}
	b.mu.Lock()
	for _, h := range g.held {
		h.check = nil
	}
	rec := g.record
	b.mu.Unlock()
	b.activity.add(face.Entry{Time: time.Now(), Event: face.KindQuirk, Resource: rec.Resource, Account: rec.Account, Decision: "done", Rule: sentence(rule)})
	b.cfg.OnChange()
	return nil
}

// wishQuirk switches the checks of a server off, or takes a quirk back, on the person's own word.
func (b *Broker) wishQuirk(ctx context.Context, w face.Wish) error {
	grants := b.matching(w.Resource, w.Account)
	if len(grants) == 0 {
		return unknownServer(w.Resource, w.Account)
	}
	for _, g := range grants {
		var err error
		switch {
		case w.Kind == face.WishTakeBack:
			err = b.dropQuirk(ctx, g, w.ID)
		case w.ID == localapi.QuirkUnchecked:
			err = b.setQuirk(ctx, g, localapi.Quirk{Name: w.ID})
		default:
			err = localapi.Errorf(localapi.ErrBadRequest, "the quirk %q is not one to set beforehand", w.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
