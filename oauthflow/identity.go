package oauthflow

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/secret"
)

// Identity is what an enterprise's issuer says of who the person is (OpenID Connect Core §2).
type Identity struct {
	IDToken secret.Text
	Expiry  time.Time   // of IDToken
	Subject string      // the person, as this issuer names them
	Refresh secret.Text // gets another ID token; empty: none was issued
}

// ErrIdentity is an ID token that is missing, or about another sign-in, person, client or issuer.
var ErrIdentity = errors.New("the enterprise's issuer gave no ID token of use")

// Identify lets the person sign in at an enterprise's issuer by browser, with the client registered there. Of req it takes
// ServerName, Issuer, Registration, SelectAccount, ACRValues, MaxAge and AskClient; scopes and resource are OpenID Connect's own.
//
// Errors: those of [Flow.SignIn], and [ErrIdentity].
func (f *Flow) Identify(ctx context.Context, req Request) (*Identity, error) {
	req = atEnterprise(req)
	if !f.ByDevice(req) {
		req.nonce = rand.Text() // on another device there is no request that could carry it, and no code to be injected
	}
	req.Scopes = []string{"openid"}
	if slices.Contains(req.Issuer.Scopes, "offline_access") {
		req.Scopes = append(req.Scopes, "offline_access")
	}
	_, tokens, err := f.SignIn(ctx, req)
	if err != nil {
		return nil, err
	}
	return tokens.identity(req, "")
}

// Reidentify gets another ID token for before, with its refresh token, in one POST. What was rotated is in the answer.
//
// Errors: those of [Flow.Refresh], and [ErrIdentity].
func (f *Flow) Reidentify(ctx context.Context, req Request, before Identity) (*Identity, error) {
	req = atEnterprise(req)
	tokens, err := f.Refresh(ctx, req, before.Refresh)
	if err != nil {
		return nil, err
	}
	if tokens.Refresh.Empty() {
		tokens.Refresh = before.Refresh
	}
	return tokens.identity(req, before.Subject)
}

// atEnterprise is req as it is asked at an enterprise's issuer: on the person's own behalf, for no server's resource.
func atEnterprise(req Request) Request {
	req.Server, req.Resource, req.Unbound, req.Key, req.Scopes = req.Issuer.ID, "", true, nil, nil
	return req
}

// identity checks the ID token that came with t (OpenID Connect Core §3.1.3.7, §12.2). It came from the token endpoint
// itself, over TLS, which stands for its signature there (item 6). subject is who it must be about; "" is anyone.
func (t *Tokens) identity(req Request, subject string) (*Identity, error) {
	claims, err := readClaims(t.idToken)
	if err == nil {
		err = claims.check(req.Issuer, req.Registration.ClientID, req.nonce, subject)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrIdentity, req.Issuer.ID, err)
	}
	return &Identity{IDToken: t.idToken, Expiry: time.Unix(int64(claims.Expiry), 0), Subject: claims.Subject, Refresh: t.Refresh}, nil
}

// idClaims are the claims of an ID token that decide whether it is ours.
type idClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Party    string   `json:"azp"`
	Expiry   float64  `json:"exp"`
	Nonce    string   `json:"nonce"`
}

// audience is a string, or a list of them (RFC 7519 §4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

func readClaims(idToken secret.Text) (c idClaims, err error) {
	if idToken.Empty() {
		return c, errors.New("there is none in the answer")
	}
	parts := strings.Split(idToken.Reveal(), ".")
	if len(parts) != 3 {
		return c, errors.New("it is no signed JWT")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(body, &c) != nil { // their words could quote it
		return c, errors.New("it cannot be read")
	}
	return c, nil
}

func (c idClaims) check(issuer *discovery.Issuer, clientID, nonce, subject string) error {
	switch {
	case c.Issuer != issuer.ID:
		return errors.New("it is from another issuer")
	case !slices.Contains(c.Audience, clientID) || c.Party != "" && c.Party != clientID:
		return errors.New("it is for another client")
	case c.Expiry <= float64(time.Now().Unix()) || c.Expiry > 1<<40:
		return errors.New("it has run out")
	case nonce != "" && c.Nonce != nonce:
		return errors.New("it belongs to another sign-in")
	case c.Subject == "" || subject != "" && c.Subject != subject:
		return errors.New("it is about another person")
	}
	return nil
}
