package discovery

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"
)

// Unpublished is the resource and the issuer of a server that publishes no metadata, as servers of MCP 2025-03-26 do:
// the server's own origin is the issuer. Call it only after Resource ended with [ErrUnpublished], and use what it
// returns only when the person has accepted it: nobody but us says that this issuer is the server's.
func (c *Client) Unpublished(ctx context.Context, server string) (*Resource, *Issuer, error) {
	i, err := c.OriginIssuer(ctx, server)
	if err != nil {
		return nil, nil, err
	}
	id, err := Canonical(server)
	if err != nil {
		return nil, nil, fail("server", server, &detail{ErrInvalid, inner(err)}, nil)
	}
	return &Resource{Server: server, ID: id, Issuers: []string{i.ID}, Unpublished: true}, i, nil
}

// OriginIssuer is the issuer of such a server: what the metadata at its origin says, else the endpoints that MCP
// authorization 2025-03-26 takes for granted ("Fallbacks for Servers without Metadata Discovery"). These are assumed
// only when there is plainly no metadata; whether that issuer supports PKCE cannot be known then. The error is an
// [*Error].
func (c *Client) OriginIssuer(ctx context.Context, server string) (*Issuer, error) {
	const step = "issuer metadata"
	s, err := parseServer(server)
	if err != nil {
		return nil, err
	}
	origin := s.url.Scheme + "://" + s.url.Host
	key := s.address + "\n"
	if i, ok := c.issuers.get(key); ok {
		return i.clone(), nil
	}
	hc, err := c.client(ctx, s.address)
	if err != nil {
		return nil, err
	}
	u, err := parseIssuer(origin)
	if err != nil {
		return nil, fail(step, origin, err, []try{{shown(origin), err}})
	}
	address := origin + "/.well-known/oauth-authorization-server"
	doc, until, err := fetch(ctx, hc, address)
	var i *Issuer
	if missed, ok := errors.AsType[*miss](err); ok && missed.clean {
		i, until, err = assumed(u), time.Now().Add(defaultFreshness), nil
	} else if err == nil {
		id := origin
		if said := doc.text("issuer"); said == origin+"/" {
			id = said // both lead to this address (RFC 8414 §3.1), and nobody told us which it is
		}
		if i, err = doc.issuer(id, u, s); err == nil {
			i.metadataURL = address
		}
	}
	if err != nil {
		if ok := errors.As(err, new(*miss)); ok {
			err = &detail{ErrInvalid, err}
		}
		return nil, fail(step, origin, err, []try{{shown(address), err}})
	}
	c.issuers.put(key, *i.clone(), until)
	return i, nil
}

// assumed is an issuer of which nothing is known but where it is.
func assumed(u *url.URL) *Issuer {
	origin := strings.TrimSuffix(u.String(), "/")
	return &Issuer{
		ID: origin, Assumed: true,
		AuthorizationEndpoint: origin + "/authorize", TokenEndpoint: origin + "/token", RegistrationEndpoint: origin + "/register",
	}
}
