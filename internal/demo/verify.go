package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	keysTTL    = 10 * time.Minute // how long fetched keys are trusted
	missPause  = 10 * time.Second // between two fetches that an unknown kid causes
	maxFetched = 1 << 20          // bytes of metadata or keys
)

// errKeys says that a token could not be checked at all, which is not the token's fault.
var errKeys = errors.New("the issuer's keys cannot be had")

// tokenAlgorithms are the signatures we accept: none without a public key.
var tokenAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.RS256, jose.PS256, jose.EdDSA}

// verifier checks JWT access tokens (RFC 9068 §4) of one issuer for one resource.
type verifier struct {
	issuer   string
	resource string
	client   *http.Client
	plainJWT bool // takes typ "JWT" too

	mu       sync.Mutex
	jwksURL  string // "" until found in the issuer's metadata
	keys     jose.JSONWebKeySet
	fetched  time.Time
	lastMiss time.Time
}

// claims is what a checked token says.
type claims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// verify checks signature, issuer, audience and expiry. The scope is the caller's: it depends on the request.
// An error that is not errKeys says what is wrong with the token, in words that may be sent back.
func (v *verifier) verify(ctx context.Context, token string) (*claims, error) {
	parsed, err := jwt.ParseSigned(token, tokenAlgorithms)
	if err != nil {
		return nil, errors.New("the token is not a signed JWT")
	}
	head := parsed.Headers[0]
	kind, _ := head.ExtraHeaders[jose.HeaderType].(string)
	if kind = strings.TrimPrefix(strings.ToLower(kind), "application/"); kind != "at+jwt" && !(v.plainJWT && kind == "jwt") {
		return nil, errors.New("the JWT is not an access token")
	}
	keys, err := v.keysFor(ctx, head.KeyID)
	if err != nil {
		return nil, err
	}
	var c claims
	if !signedByAny(parsed, keys, &c) {
		return nil, errors.New("the signature is not the issuer's")
	}
	if c.Expiry == nil || c.Subject == "" {
		return nil, errors.New("the token lacks exp or sub")
	}
	err = c.ValidateWithLeeway(jwt.Expected{Issuer: v.issuer, AnyAudience: jwt.Audience{v.resource}, Time: time.Now()}, 0)
	switch {
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return nil, errors.New("the token is from another issuer")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return nil, errors.New("the token is for another audience")
	case errors.Is(err, jwt.ErrExpired):
		return nil, errors.New("the token has expired")
	case err != nil:
		return nil, errors.New("the token is not valid now")
	}
	return &c, nil
}

func signedByAny(token *jwt.JSONWebToken, keys []jose.JSONWebKey, c *claims) bool {
	for _, key := range keys {
		if token.Claims(key.Key, c) == nil {
			return true
		}
		*c = claims{}
	}
	return false
}

// keysFor returns the issuer's keys of one kid, or all of them for a token without one. An unknown kid fetches the
// keys anew, for the issuer may have rotated them, but not as often as somebody may invent kids.
func (v *verifier) keysFor(ctx context.Context, kid string) ([]jose.JSONWebKey, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fetched.IsZero() || time.Since(v.fetched) >= keysTTL {
		if err := v.fetchKeys(ctx); err != nil {
			return nil, err
		}
	} else if len(v.match(kid)) == 0 && time.Since(v.lastMiss) >= missPause {
		v.lastMiss = time.Now()
		if err := v.fetchKeys(ctx); err != nil {
			return nil, err
		}
	}
	return v.match(kid), nil
}

func (v *verifier) match(kid string) []jose.JSONWebKey {
	if kid == "" {
		return v.keys.Keys
	}
	return v.keys.Key(kid)
}

// fetchKeys gets the key set, after finding out where it is. The caller holds the lock.
func (v *verifier) fetchKeys(ctx context.Context) error {
	if v.jwksURL == "" {
		if err := v.findKeys(ctx); err != nil {
			return err
		}
	}
	var set jose.JSONWebKeySet
	if err := v.getJSON(ctx, v.jwksURL, &set); err != nil {
		return err
	}
	v.keys, v.fetched = set, time.Now()
	return nil
}

// findKeys takes jwks_uri from the issuer's metadata: RFC 8414 §3.1, then the two places of OpenID Connect Discovery.
func (v *verifier) findKeys(ctx context.Context) error {
	u, err := url.Parse(v.issuer)
	if err != nil {
		return fmt.Errorf("%w: %w", errKeys, err)
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	for _, place := range []string{
		origin + MetadataPath + path, origin + "/.well-known/openid-configuration" + path, origin + path + "/.well-known/openid-configuration",
	} {
		var doc struct {
			Issuer  string `json:"issuer"`
			JWKSURI string `json:"jwks_uri"`
		}
		if err = v.getJSON(ctx, place, &doc); err == nil && doc.Issuer == v.issuer && doc.JWKSURI != "" {
			v.jwksURL = doc.JWKSURI
			return nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%w: its metadata has another issuer or no jwks_uri", errKeys)
	}
	return err
}

func (v *verifier) getJSON(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errKeys, err)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errKeys, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s answered HTTP %d", errKeys, address, resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxFetched)).Decode(into); err != nil {
		return fmt.Errorf("%w: %s: %w", errKeys, address, err)
	}
	return nil
}
