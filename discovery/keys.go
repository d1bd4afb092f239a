package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"
)

// keysAgain is how long an issuer's keys are not fetched anew only because a token names one that is not among them:
// anybody can make up a name.
const keysAgain = time.Minute

// Keys returns the keys that i signs with, a JSON Web Key Set (RFC 7517), fetched on behalf of server. again says that a
// key was missing from the last answer: then the set is fetched anew, but at most once a minute. The error is an [*Error].
func (c *Client) Keys(ctx context.Context, server string, i *Issuer, again bool) ([]byte, error) {
	const step = "issuer keys"
	if i.keysEndpoint == "" {
		return nil, fail(step, i.ID, &detail{ErrNotFound, errors.New("the issuer publishes no keys")}, nil)
	}
	s, err := parseServer(server)
	if err != nil {
		return nil, err
	}
	// The issuer is part of the key: two issuers that name one address still share nothing.
	key := s.address + "\n" + i.ID + "\n" + i.keysEndpoint
	_, lately := c.fetchedKeys.get(key)
	if set, ok := c.keys.get(key); ok && (!again || lately) {
		return bytes.Clone(set), nil
	}
	c.fetchedKeys.put(key, struct{}{}, time.Now().Add(keysAgain))
	hc, err := c.client(ctx, s.address)
	if err != nil {
		return nil, err
	}
	doc, until, err := fetch(ctx, hc, i.keysEndpoint)
	if err == nil && doc.members["keys"] == nil {
		err = &detail{ErrInvalid, errors.New("the document has no keys")}
	}
	if err != nil {
		return nil, fail(step, i.keysEndpoint, err, []try{{shown(i.keysEndpoint), err}})
	}
	set, err := json.Marshal(map[string]json.RawMessage{"keys": doc.members["keys"]})
	if err != nil {
		return nil, fail(step, i.keysEndpoint, &detail{ErrInvalid, err}, nil)
	}
	c.keys.put(key, set, until)
	return bytes.Clone(set), nil
}
