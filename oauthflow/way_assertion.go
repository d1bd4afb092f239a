package oauthflow

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/internal/untrusted"
)

// StepEnterprise is the Error.Step of what the enterprise's issuer turned down.
const StepEnterprise = "token exchange"

// RFC 8693 §2.1, and the Identity Assertion Authorization Grant draft: "ID-JAG".
const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeIDToken        = "urn:ietf:params:oauth:token-type:id_token"
	typeIDJAG          = "urn:ietf:params:oauth:token-type:id-jag"
	notAToken          = "N_A" // RFC 8693 §2.2.1: what was issued is of no use as an access token
)

// byAssertion shows the issuer a word about who this is (RFC 7523 §2.1): the platform's, or that of the person's enterprise.
type byAssertion struct{}

func (byAssertion) tokens(ctx context.Context, f *Flow, web *http.Client, req Request) (client.Client, *Tokens, error) {
	ours := req.Registration
	if ours.Enterprise != nil {
		var err error
		if req, err = f.vouched(ctx, req); err != nil {
			return ours, nil, err
		}
	}
	if req.Registration.Assertion.Empty() {
		return ours, nil, fmt.Errorf("%w %s: there is no assertion to show", ErrNoRegistration, req.Issuer.ID)
	}
	tokens, err := obtain(ctx, web, req, url.Values{"assertion": {req.Registration.Assertion.Reveal()}})
	return ours, tokens, err
}

// vouched is req with what the enterprise's issuer says of the person, as the assertion to show at req.Issuer. It is
// asked for anew each time: an issuer takes each one once (EMA §7.4.2). When the enterprise gives fewer scopes than were
// asked for, only those are asked for at req.Issuer.
func (f *Flow) vouched(ctx context.Context, req Request) (Request, error) {
	e := req.Registration.Enterprise
	there := Request{Server: e.Issuer, Issuer: req.Enterprise, Registration: e.Client, Resource: req.Resource, Scopes: req.Scopes}
	if e.TokenEndpoint != "" {
		there.Server = e.TokenEndpoint // the person's own word reaches as far as a server they entered
	}
	switch {
	case there.Issuer == nil || there.Issuer.TokenEndpoint == "":
		return req, fmt.Errorf("%w %s: it is not known where the enterprise's issuer %s is asked", ErrNoRegistration, req.Issuer.ID, e.Issuer)
	case e.IDToken.Empty():
		return req, fmt.Errorf("%w %s: there is no ID token to show", ErrNoRegistration, e.Issuer)
	}
	if err := there.ownRegistration(); err != nil {
		return req, err
	}
	web, err := f.client(ctx, there)
	if err != nil {
		return req, err
	}
	assertion, scopes, err := identityAssertion(ctx, web, there, e.IDToken, req.Issuer)
	if err != nil {
		return req, err
	}
	req.Registration.Assertion, req.Scopes = assertion, scopes
	return req, nil
}

// identityAssertion posts the one token exchange (RFC 8693 §2.1) for an assertion that is good at target's issuer, for
// there's resource. Nothing is tried again: what the enterprise denies is denied (EMA §7.2).
func identityAssertion(ctx context.Context, web *http.Client, there Request, idToken secret.Text, target *discovery.Issuer) (secret.Text, []string, error) {
	r, err := postToken(ctx, web, there, StepEnterprise, grantTokenExchange, url.Values{
		"requested_token_type": {typeIDJAG},
		"audience":             {target.ID},
		"subject_token":        {idToken.Reveal()},
		"subject_token_type":   {typeIDToken},
	})
	if err != nil {
		return secret.Text{}, nil, err
	}
	var answer struct {
		tokenAnswer
		Issued string `json:"issued_token_type"`
	}
	err = json.Unmarshal(r.body, &answer)
	if r.status != http.StatusOK || answer.Error != "" {
		return secret.Text{}, nil, r.refusal(there.Issuer, StepEnterprise)
	}
	switch {
	case err != nil || !tokenText(answer.Access.Reveal()):
		return secret.Text{}, nil, r.unusable(there.Issuer, StepEnterprise, "no usable assertion")
	case answer.Issued != typeIDJAG:
		return secret.Text{}, nil, fmt.Errorf("%s at %s: %w: %q", StepEnterprise, there.Issuer.ID, ErrTokenType, untrusted.Text(answer.Issued, maxErrorCode))
	case !strings.EqualFold(answer.Type, notAToken): // RFC 8693 §2.2.1; anything else could be taken for an access token
		return secret.Text{}, nil, fmt.Errorf("%s at %s: %w: %q", StepEnterprise, there.Issuer.ID, ErrTokenType, untrusted.Text(answer.Type, maxErrorCode))
	}
	scopes := slices.DeleteFunc(answer.scopes(there.Scopes), func(s string) bool { return len(there.Scopes) > 0 && !slices.Contains(there.Scopes, s) })
	if len(scopes) == 0 {
		scopes = there.Scopes
	}
	return answer.Access, scopes, nil
}
