package broker

import (
	"slices"
	"strings"

	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// newKey is the key that the tokens of a sign-in at t are bound to. A server that takes bearer tokens gets those, nil,
// unless quirks say that the person wants bound ones. One that takes no others is never shown a bearer token.
func (t *target) newKey(quirks []quirk.Quirk) (*dpop.Key, error) {
	switch {
	case t.resource.Bound:
	case !quirk.Effects(quirks).Bound:
		return nil, nil
	case !t.resource.Bindable:
		return nil, localapi.Errorf(localapi.ErrDiscovery, "%s does not say that it takes tokens that are bound to a key (DPoP), which you set for it", words.Host(t.server)).
			WithHint("take the setting dpop back on the server's page in Valet Key, or in the policy file")
	}
	if known := t.issuer.DPoPAlgorithms; known != nil && !slices.Contains(known, dpop.Algorithm) {
		return nil, localapi.Errorf(localapi.ErrDiscovery, "tokens for %s are to be bound to a key (DPoP), and %s knows no key that Valet Key can make (%s)",
			words.Host(t.server), words.Host(t.issuer.ID), dpop.Algorithm).WithHint("tell the owner of the server")
	}
	return dpop.New()
}

// prove completes the answer for a token that is bound to key, unless that is nil. The gateway makes proofs as it goes; another host gets one, for the
// request that it named. The key leaves for nobody.
func prove(token *localapi.Token, key *dpop.Key, w *want) (err error) {
	if key == nil {
		return nil
	}
	token.TokenType = dpop.TokenType
	if w.forward != nil {
		token.Binding = key
		return nil
	}
	if w.proof == nil {
		return localapi.Errorf(localapi.ErrBadRequest, "tokens for %s are bound to a key (DPoP) and are of no use without a proof for each request", words.Host(token.Resource)).
			WithHint("use the server through vk bridge or the gateway, or name the request in \"proof\"")
	}
	if !within(token.Resource, w.proof.URL) {
		return localapi.Errorf(localapi.ErrBadRequest, "the request to prove goes to another place than %s", token.Resource)
	}
	token.DPoP, err = key.Proof(w.proof.Method, w.proof.URL, token.AccessToken, w.proof.Nonce)
	return err
}

// within reports whether address lies in resource, by whole segments of the path (USE-5).
func within(resource, address string) bool {
	address, _, _ = strings.Cut(address, "?")
	inside, err := discovery.Canonical(address)
	outside, errOutside := discovery.Canonical(resource)
	if err != nil || errOutside != nil {
		return false
	}
	outside, _, _ = strings.Cut(outside, "?")
	return inside == outside || strings.HasPrefix(inside, strings.TrimSuffix(outside, "/")+"/")
}
