package oauthflow

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
)

// byCredentials gets tokens for the client itself, which shows its secret or its key (RFC 6749 §4.4).
type byCredentials struct{}

func (byCredentials) tokens(ctx context.Context, _ *Flow, web *http.Client, req Request) (client.Client, *Tokens, error) {
	ours := req.Registration
	if ours.Key.Empty() && ours.Secret.Empty() { // RFC 6749 §4.4: confidential clients only
		return ours, nil, fmt.Errorf("%w %s: the grant type %s needs a client secret or a key", ErrNoRegistration, req.Issuer.ID, ours.GrantType)
	}
	tokens, err := obtain(ctx, web, req, url.Values{})
	return ours, tokens, err
}

// obtain posts once for tokens of a client that needs nobody (RFC 6749 §4.4.2, RFC 7523 §2.1), with the resource. What the
// issuer turns down is final: no other grant type is tried.
func obtain(ctx context.Context, web *http.Client, req Request, own url.Values) (*Tokens, error) {
	const step = "token"
	r, err := postToken(ctx, web, req, step, req.Registration.GrantType, own)
	if err != nil {
		return nil, err
	}
	tokens, err := r.readTokens(req, step)
	if err != nil {
		return nil, err
	}
	tokens.Refresh = secret.Text{} // RFC 6749 §4.4.3: there should be none, and a new token is to be had without
	return tokens, nil
}
