package oauthflow

import (
	"context"
	"fmt"
	"net/http"

	"github.com/valetkey/valetkey/client"
)

// way is one way of getting tokens. A new one is a file way_….go, its line in unattended or in [Flow.way], and, where the
// person says that a client goes it, that client's grant type and rule in package client.
type way interface {
	// tokens gets them at req.Issuer. The client that they are issued to is the one in req, or one that is found or made; it
	// comes beside an error too.
	tokens(ctx context.Context, f *Flow, web *http.Client, req Request) (client.Client, *Tokens, error)
}

// unattended are the ways of clients that get tokens with nobody at a browser, by grant type.
var unattended = map[string]way{
	client.GrantClientCredentials: byCredentials{},
	client.GrantJWTBearer:         byAssertion{},
}

// way is the one that SignIn goes.
func (f *Flow) way(req Request) (way, error) {
	ours := req.Registration
	if !ours.Unattended() && f.ByDevice(req) {
		return byDevice{}, nil
	}
	if !ours.Unattended() {
		return byRedirect{}, nil
	}
	if err := req.ownRegistration(); err != nil {
		return nil, err
	}
	w, known := unattended[ours.GrantType]
	if !known {
		return nil, fmt.Errorf("%w %s: the grant type %.60q is not known", ErrNoRegistration, req.Issuer.ID, ours.GrantType)
	}
	return w, nil
}

// Redirects reports whether SignIn would have a code brought back by redirect, which PKCE protects.
func (f *Flow) Redirects(req Request) bool { return !req.Registration.Unattended() && !f.ByDevice(req) }

// ByDevice reports whether SignIn would have the person sign in on another device (RFC 8628).
func (f *Flow) ByDevice(req Request) bool {
	return (f.cfg.Device || req.Device) && req.Issuer.DeviceEndpoint != ""
}
