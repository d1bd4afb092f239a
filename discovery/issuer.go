package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Issuer finds and checks the metadata of the issuer id, one of a [Resource]'s, on behalf of server, the URL the person
// entered. RFC 8414 and OpenID Connect documents are looked for in the order of MCP authorization 2026-07-28; what is
// returned comes from one document, whose issuer is id byte for byte. The error is an [*Error].
func (c *Client) Issuer(ctx context.Context, server, id string) (*Issuer, error) {
	const step = "issuer metadata"
	s, err := parseServer(server)
	if err != nil {
		return nil, err
	}
	u, err := parseIssuer(id)
	if err != nil {
		return nil, fail(step, id, err, []try{{shown(id), err}})
	}
	key := s.address + "\n" + id
	if i, ok := c.issuers.get(key); ok {
		return i.clone(), nil
	}
	hc, err := c.client(ctx, s.address)
	if err != nil {
		return nil, err
	}
	var tried []try
	worst := ErrNotFound
	for _, address := range issuerPlaces(u) {
		doc, until, err := fetch(ctx, hc, address)
		if err == nil {
			var i *Issuer
			if i, err = doc.issuer(id, u, s); err == nil {
				i.metadataURL = address
				c.issuers.put(key, *i.clone(), until)
				return i, nil
			}
		}
		tried = append(tried, try{shown(address), err})
		missed, isMiss := errors.AsType[*miss](err)
		switch {
		case errors.Is(err, ErrMismatch):
			// Another issuer's document in this place is passed over; none of it was used (RFC 8414 §3.3).
			worst = ErrMismatch
		case !isMiss:
			return nil, fail(step, id, err, tried)
		case !missed.clean && worst == ErrNotFound:
			worst = ErrInvalid
		}
	}
	return nil, fail(step, id, worst, tried)
}

// parseIssuer takes what RFC 8414 §2 allows: https, no query, no fragment; plain http on this computer.
func parseIssuer(id string) (*url.URL, error) {
	u, err := url.Parse(id)
	switch {
	case len(id) > maxURL:
		err = fmt.Errorf("the issuer is longer than %d bytes", maxURL)
	case err != nil:
		err = fmt.Errorf("the issuer is not a URL: %w", inner(err))
	case u.Scheme != "https" && (u.Scheme != "http" || !isLocal(u)):
		err = errors.New("the issuer is not an https address")
	case u.Hostname() == "" || u.User != nil || strings.ContainsAny(id, "?#"):
		err = errors.New("the issuer is not a plain https address of a host and a path")
	case hasDotSegment(u.EscapedPath()):
		err = errors.New(`the issuer's path has a part that is "." or ".."`)
	}
	if err != nil {
		return nil, &detail{ErrInvalid, err}
	}
	return u, nil
}

// issuerPlaces lists where the metadata of an issuer may be. One trailing slash does not count (RFC 8414 §3.1, OpenID
// Connect Discovery §4.1). An issuer with a path is never looked for at the root: another tenant may answer there. The
// last place is none of MCP's three: some issuers append where RFC 8414 inserts. It lies below the issuer's own path, and
// the document must name the issuer as any other.
func issuerPlaces(issuer *url.URL) []string {
	const oauth, openID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	root, path := issuer.Scheme+"://"+issuer.Host, strings.TrimSuffix(issuer.EscapedPath(), "/")
	if path == "" {
		return []string{root + oauth, root + openID}
	}
	return []string{root + oauth + path, root + openID + path, root + path + openID, root + path + oauth}
}

// issuer reads RFC 8414 §2 metadata of the issuer id, found on behalf of server.
func (d *document) issuer(id string, u *url.URL, server target) (*Issuer, error) {
	if said := d.text("issuer"); d.err == nil && said != id {
		if said == "" {
			said = "no issuer"
		}
		return nil, &detail{ErrMismatch, fmt.Errorf("the document speaks for %s, not for %s", shown(said), shown(id))}
	}
	i := &Issuer{
		ID:                      id,
		AuthorizationEndpoint:   d.endpoint("authorization_endpoint", u),
		TokenEndpoint:           d.endpoint("token_endpoint", u),
		RegistrationEndpoint:    d.endpoint("registration_endpoint", u),
		RevocationEndpoint:      d.endpoint("revocation_endpoint", u),
		PushEndpoint:            d.endpoint("pushed_authorization_request_endpoint", u),
		DeviceEndpoint:          d.endpoint("device_authorization_endpoint", u),
		keysEndpoint:            d.endpoint("jwks_uri", u),
		Scopes:                  scopeTokens(d.list("scopes_supported")),
		AuthMethods:             d.list("token_endpoint_auth_methods_supported"),
		AssertionAlgorithms:     d.list("token_endpoint_auth_signing_alg_values_supported"),
		DPoPAlgorithms:          d.list("dpop_signing_alg_values_supported"),
		grantTypes:              d.list("grant_types_supported"),
		grantProfiles:           d.list("authorization_grant_profiles_supported"),
		ClientMetadataDocuments: d.flag("client_id_metadata_document_supported"),
		IssParameter:            d.flag("authorization_response_iss_parameter_supported"),
		PushRequired:            d.flag("require_pushed_authorization_requests"),
	}
	served := d.list("protected_resources")
	i.Unlisted = len(served) > 0 && !slices.ContainsFunc(served, func(r string) bool { return speaksFor(r, server.address, server) })
	responses, methods := d.list("response_types_supported"), d.list("code_challenge_methods_supported")
	switch {
	case i.AuthorizationEndpoint == "":
		d.refuse("authorization_endpoint", "is missing")
	case i.TokenEndpoint == "":
		d.refuse("token_endpoint", "is missing")
	case len(responses) > 0 && !slices.Contains(responses, "code"):
		d.refuse("response_types_supported", "leaves out the only one we use, code")
	case i.PushRequired && i.PushEndpoint == "":
		d.refuse("require_pushed_authorization_requests", "is set, and no pushed_authorization_request_endpoint is named")
	}
	if d.err != nil {
		return nil, d.err
	}
	// RFC 8414 lets the list be absent. MCP authorization does not, so no code is asked for there without the person's word.
	if i.PKCEUnlisted = methods == nil; !i.PKCEUnlisted && !slices.Contains(methods, "S256") {
		return nil, &detail{ErrNoPKCE, errors.New("the document lists code_challenge_methods_supported without S256")}
	}
	return i, nil
}

// TakesAssertions reports whether i says that it takes an enterprise's word for its people (MCP's Enterprise-Managed
// Authorization §6). Issuers from before that was a member of its own list the grant type alone.
func (i *Issuer) TakesAssertions() bool {
	return slices.Contains(i.grantProfiles, "urn:ietf:params:oauth:grant-profile:id-jag") ||
		slices.Contains(i.grantTypes, "urn:ietf:params:oauth:grant-type:jwt-bearer")
}
