package oauthflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/internal/untrusted"
)

const bearer = "Bearer" // RFC 6750

// tokenAnswer is the body of a token answer; members that are of another type than expected are judged by their reader.
type tokenAnswer struct {
	Access    secret.Text     `json:"access_token"`
	Refresh   secret.Text     `json:"refresh_token"`
	Type      string          `json:"token_type"`
	ExpiresIn json.RawMessage `json:"expires_in"`
	Scope     json.RawMessage `json:"scope"`
	IDToken   secret.Text     `json:"id_token"`
	Error     string          `json:"error"`
}

// addTo adds to form what the issuer is asked for: the resource (RFC 8707 §2), the scopes, and the person's parameters, of
// which none changes what is there.
func (r Request) addTo(form url.Values) {
	if !r.Unbound {
		form.Set("resource", r.Resource)
	}
	if len(r.Scopes) > 0 {
		form.Set("scope", strings.Join(r.Scopes, " "))
	}
	for name, values := range r.Parameters {
		if !form.Has(name) {
			form[name] = values
		}
	}
}

// decided is r once the issuer has heard what it is asked for, and decided: now there is only for what resource.
func (r Request) decided() Request {
	r.Scopes, r.Parameters = nil, nil
	return r
}

// postToken posts every request for tokens: the grant type, what is own to it, and what is asked for; with our
// authentication, and a proof where the tokens are bound.
func postToken(ctx context.Context, web *http.Client, req Request, step, grantType string, own url.Values) (*reply, error) {
	own.Set("grant_type", grantType)
	req.addTo(own)
	return postForm(ctx, web, req, step, req.Issuer.TokenEndpoint, own)
}

// refreshTokens is Flow.Refresh (RFC 6749 §6).
func refreshTokens(ctx context.Context, web *http.Client, req Request, refresh secret.Text) (*Tokens, error) {
	req.Parameters = nil // they were for the sign-in
	r, err := postToken(ctx, web, req, "refresh", "refresh_token", url.Values{"refresh_token": {refresh.Reveal()}})
	if err != nil {
		return nil, err
	}
	return r.readTokens(req, "refresh")
}

// revokeTokens is Flow.Revoke (RFC 7009 §2).
func revokeTokens(ctx context.Context, web *http.Client, req Request, refresh, access []secret.Text) error {
	var grants error
	for _, token := range refresh {
		if err := revoke(ctx, web, req, "refresh_token", token); err != nil {
			grants = fmt.Errorf("refresh token not revoked: %w", err) // one word is enough, they are refused for one reason
		}
	}
	var outlives error
	for _, token := range access {
		err := revoke(ctx, web, req, "access_token", token)
		if refused := (*Error)(nil); errors.As(err, &refused) && refused.Code == "unsupported_token_type" {
			continue // RFC 7009 §2.2.1: this issuer lets access tokens run out
		}
		if err != nil {
			outlives = fmt.Errorf("access token not revoked: %w", err)
		}
	}
	if outlives != nil && grants == nil && len(refresh) > 0 {
		return fmt.Errorf("%w: %w", ErrOutlives, outlives)
	}
	if grants != nil && outlives != nil {
		return fmt.Errorf("%w; %w", grants, outlives)
	}
	return cmp.Or(grants, outlives)
}

func revoke(ctx context.Context, web *http.Client, req Request, hint string, token secret.Text) error {
	if req.Issuer.RevocationEndpoint == "" {
		return fmt.Errorf("%w: %s", errNoRevocation, req.Issuer.ID)
	}
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}}
	r, err := postForm(ctx, web, req, "revocation", req.Issuer.RevocationEndpoint, form)
	if err == nil && req.Registration.Secret.Empty() && r.refusal(req.Issuer, "revocation").Code == "invalid_request" {
		// Servers on the Python SDK insist on the parameter. An empty one says the same as none (RFC 6749 §2.3.1), and to
		// revoke twice does no harm.
		form.Set("client_secret", "")
		r, err = postForm(ctx, web, req, "revocation", req.Issuer.RevocationEndpoint, form)
	}
	if err != nil {
		return err
	}
	if r.status != http.StatusOK {
		return r.refusal(req.Issuer, "revocation")
	}
	return nil
}

// postForm posts form with our authentication as registered (RFC 6749 §2.3.1), by one way only.
func postForm(ctx context.Context, web *http.Client, req Request, step, endpoint string, form url.Values) (*reply, error) {
	reg := req.Registration
	method, err := authMethod(reg, req.Issuer)
	if err != nil {
		return nil, err
	}
	var sign func(*http.Request)
	switch method {
	case methodBasic:
		sign = func(r *http.Request) {
			r.SetBasicAuth(url.QueryEscape(reg.ClientID), url.QueryEscape(reg.Secret.Reveal()))
		}
	case methodPost:
		form.Set("client_id", reg.ClientID)
		form.Set("client_secret", reg.Secret.Reveal())
	case methodKey: // the assertion names the client; client_id beside it could only differ
		assertion, err := keyAssertion(reg, req.Issuer.AssertionAlgorithms)
		if err != nil {
			return nil, err
		}
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	default:
		form.Set("client_id", reg.ClientID)
	}
	post := func() (*reply, error) {
		return send(ctx, web, req.Issuer, step, endpoint, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()), func(r *http.Request) error {
			if sign != nil {
				sign(r)
			}
			return prove(r, req, endpoint)
		})
	}
	r, err := post()
	if err == nil && req.Key != nil && r.wantsNonce(req.Key) {
		return post()
	}
	return r, err
}

// prove gives a request the proof that binds what comes back: a token (RFC 9449 §5), or a code (§10.1).
func prove(r *http.Request, req Request, endpoint string) error {
	if req.Key == nil || endpoint != req.Issuer.TokenEndpoint && endpoint != req.Issuer.PushEndpoint {
		return nil
	}
	return req.Key.Sign(r, secret.Text{})
}

// readTokens is the one reader of token answers (RFC 6749 §5.1). It is strict about what would be handed on, and lenient
// about the rest: after a rotation, an answer that is thrown away is a grant that is lost.
func (r *reply) readTokens(req Request, step string) (*Tokens, error) {
	issuer, kind := req.Issuer, bearer
	if req.Key != nil {
		kind = dpop.TokenType // a bearer token instead would be a downgrade
	}
	received := time.Now().Round(0) // by the wall clock alone: the other one stands still while the computer sleeps
	var answer tokenAnswer
	err := json.Unmarshal(r.body, &answer)
	if r.status != http.StatusOK || answer.Error != "" {
		return nil, r.refusal(issuer, step)
	}
	if err != nil {
		return nil, r.unusable(issuer, step, "an answer that is no JSON object with tokens")
	}
	if !tokenText(answer.Access.Reveal()) {
		return nil, r.unusable(issuer, step, "no usable access token")
	}
	if !strings.EqualFold(answer.Type, kind) {
		return nil, fmt.Errorf("%s at %s: %w: %q", step, issuer.ID, ErrTokenType, untrusted.Text(answer.Type, maxErrorCode))
	}
	t := &Tokens{Access: answer.Access, Refresh: answer.Refresh, kind: kind, Scopes: req.Scopes, idToken: answer.IDToken}
	if life := seconds(answer.ExpiresIn); life > 0 {
		t.Expiry = received.Add(life)
	}
	if given := answer.scopes(req.Scopes); given != nil {
		t.Scopes = given
	}
	return t, nil
}

// scopes are those that the issuer named; nil when it named none. Spaces separate them. A comma may stand within one
// (RFC 6749 §3.3), but some issuers separate by it: so it does where the whole is no scope that was asked for and a part is.
func (a tokenAnswer) scopes(asked []string) []string {
	var scope string
	if json.Unmarshal(a.Scope, &scope) != nil || strings.TrimSpace(scope) == "" {
		return nil
	}
	given := scopeList(scope)
	for i, s := range given {
		parts := strings.Split(s, ",")
		if !slices.Contains(asked, s) && slices.ContainsFunc(parts, func(part string) bool { return slices.Contains(asked, part) }) {
			given[i] = strings.Join(parts, " ")
		}
	}
	return scopeList(strings.Join(given, " "))
}

// tokenText reports whether s can stand in an Authorization header (RFC 6750 §2.1, taken widely).
func tokenText(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// scopeList splits a scope value (RFC 6749 §3.3) and drops repetitions.
func scopeList(scope string) []string {
	var list []string
	seen := map[string]bool{}
	for _, s := range strings.Fields(scope) {
		if !seen[s] {
			seen[s] = true
			list = append(list, s)
		}
	}
	return list
}
