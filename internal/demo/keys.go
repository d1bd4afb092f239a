package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/valetkey/valetkey/internal/secret"
)

// maxKeys is how many keys are published: the one that signs and its predecessors.
const maxKeys = 3

type signingKey struct {
	public jose.JSONWebKey
	signer jose.Signer
}

// accessToken is what the issuer remembers of an access token, under the token's hash.
type accessToken struct {
	grant   *grant
	scopes  []string
	expiry  time.Time
	revoked bool
}

// Access is what an access token is good for.
type Access struct {
	Account  string
	Audience string // the resource
	Scopes   []string
	Expiry   time.Time
}

// rotateKey makes a new signing key. Older keys stay published for tokens they signed, three keys in all.
func (i *Issuer) rotateKey() error {
	key, err := newSigningKey()
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, key)
	if len(i.keys) > maxKeys {
		i.keys = i.keys[1:]
	}
	return nil
}

func newSigningKey() (signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return signingKey{}, fmt.Errorf("signing key: %w", err)
	}
	jwk := jose.JSONWebKey{Key: private, KeyID: random(), Algorithm: string(jose.ES256), Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jwk}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		return signingKey{}, fmt.Errorf("signing key: %w", err)
	}
	return signingKey{jwk.Public(), signer}, nil
}

func (i *Issuer) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	var set jose.JSONWebKeySet
	for _, key := range i.keys {
		set.Keys = append(set.Keys, key.public)
	}
	i.mu.Unlock()
	w.Header().Set("Cache-Control", "public, max-age=300")
	writeJSON(w, http.StatusOK, set)
}

// sign makes a JWT of claims with the newest key. The caller holds the lock.
func (i *Issuer) sign(claims ...any) (string, error) {
	b := jwt.Signed(i.keys[len(i.keys)-1].signer)
	for _, c := range claims {
		b = b.Claims(c)
	}
	return b.Serialize()
}

// newAccessToken issues an access token of g for scopes (RFC 9068). The caller holds the lock.
func (i *Issuer) newAccessToken(g *grant, scopes []string) (string, error) {
	now := time.Now()
	token := random() + random()
	if !i.cfg.Opaque {
		more := map[string]any{"client_id": g.client, "scope": strings.Join(scopes, " ")}
		maps.Copy(more, i.cfg.Claims)
		signed, err := i.sign(jwt.Claims{
			Issuer: i.cfg.ID, Subject: g.account, Audience: jwt.Audience{i.audience(g)}, ID: random(),
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(i.cfg.AccessTTL)),
		}, more)
		if err != nil {
			return "", fmt.Errorf("access token: %w", err)
		}
		token = signed
	}
	i.access.put(hash(token), &accessToken{g, scopes, now.Add(i.cfg.AccessTTL), false}, i.cfg.AccessTTL)
	return token, nil
}

// audience is the resource the grant is for. Without one, it is the issuer itself, so that the token opens nothing else.
func (i *Issuer) audience(g *grant) string {
	switch {
	case i.cfg.Audience != "":
		return i.cfg.Audience
	case g.resource != "":
		return g.resource
	}
	return i.cfg.ID
}

// Inspect tells what an access token of this issuer is good for right now; false when it is unknown, expired or
// revoked. It is what an introspection endpoint (RFC 7662) would answer.
func (i *Issuer) Inspect(token string) (Access, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t, ok := i.access.get(hash(token))
	if !ok || t.revoked || t.grant.revoked {
		return Access{}, false
	}
	return Access{t.grant.account, i.audience(t.grant), t.scopes, t.expiry}, true
}

// hash names a code, a token or a client secret in memory without keeping it.
func hash(value string) string { return secret.New(value).SHA256() }
