package broker

import (
	"strings"

	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/words"
)

// prove completes the answer for a token that is bound to key, unless that is nil. The gateway makes proofs as it goes;
// another host gets one, for the request that it named. The key leaves for nobody.
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
