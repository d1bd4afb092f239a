package broker

import (
	"context"
	"errors"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
)

// browse runs the flow of request at t. Where the issuer refuses to hear of a resource (RFC 8707 §2, RES-7), the person is
// told what that means, and the flow runs once more without one if they accept it. unbound is the quirk they accepted now
// or earlier; nil when the resource was sent.
func (b *Broker) browse(ctx context.Context, t *target, request *oauthflow.Request) (registration oauthflow.Registration, tokens *oauthflow.Tokens, unbound *localapi.Quirk, err error) {
	b.mu.Lock()
	if g := b.grantOf(t); g != nil {
		if quirk, ok := localapi.FindQuirk(g.record.Quirks, localapi.QuirkNoResource); ok {
			request.Unbound, unbound = true, &quirk
		}
	}
	b.mu.Unlock()
	registration, tokens, err = b.flow.SignIn(ctx, *request)
	if request.Unbound || !refusedResource(err) {
		return registration, tokens, unbound, err
	}
	quirk := localapi.Quirk{Name: localapi.QuirkNoResource, AcceptedAt: time.Now().Truncate(time.Second).UTC()}
	rec := t.record()
	if _, _, no := b.ask(ctx, face.Question{
		Kind: face.KindQuirk, Server: rec.Server, ServerName: rec.Name, Resource: rec.Resource, Issuer: rec.Issuer,
		Account: rec.Account, Quirk: &quirk, Notes: []string{quirk.Meaning()}, SignIn: true,
		Why: sentence(hostOf(rec.Issuer) + " refuses to make out a token to " + rec.Resource + " (invalid_target)"),
	}); no != nil {
		return registration, nil, nil, err
	}
	if request.Unbound = true; registration.ClientID != "" {
		request.Registration = registration
	}
	registration, tokens, err = b.flow.SignIn(ctx, *request)
	return registration, tokens, &quirk, err
}

// refusedResource reports whether the issuer turned the resource down, and nothing else.
func refusedResource(err error) bool {
	var refused *oauthflow.Error
	return errors.As(err, &refused) && refused.Code == "invalid_target"
}
