// Package dpop binds tokens to a key of ours (RFC 9449): each request carries a proof that we hold the key, so a token
// that somebody else saw is of no use to them.
package dpop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/valetkey/valetkey/internal/secret"
)

// Algorithm is what proofs are signed with: the one that every issuer with DPoP knows.
const Algorithm = "ES256"

// TokenType is the type of a bound token, and the scheme it is sent with (RFC 9449 §5 and §7.1).
const TokenType = "DPoP"

const (
	header     = "DPoP"
	proofType  = "dpop+jwt"
	nonceError = "use_dpop_nonce"

	maxNonce   = 1024 // bytes; longer ones are not kept
	maxOrigins = 16   // whose nonces are kept: an issuer's and a server's are two
)

// Key makes proofs. It remembers the newest nonce that each origin gave. Its methods may be called at the same time.
type Key struct {
	private *ecdsa.PrivateKey

	mu     sync.Mutex
	nonces map[string]string // by origin (RFC 9449 §8.2: an issuer's is no server's)
}

// New makes a key.
func New() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for proofs: %w", err)
	}
	return &Key{private: private}, nil
}

// Parse reads what Text gave.
func Parse(text secret.Text) (*Key, error) {
	der, err := base64.StdEncoding.DecodeString(text.Reveal())
	if err != nil {
		return nil, errKept
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	private, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || private.Curve != elliptic.P256() {
		return nil, errKept
	}
	return &Key{private: private}, nil
}

var errKept = errors.New("this is no key for proofs") // the decoders' own errors could quote it

// Text is the key for the keychain.
func (k *Key) Text() (secret.Text, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return secret.Text{}, fmt.Errorf("keep a key for proofs: %w", err)
	}
	return secret.New(base64.StdEncoding.EncodeToString(der)), nil
}

// Proof is a new proof for one request (RFC 9449 §4.2). token is the one that goes with the request, empty for none.
// nonce is the server's; "" takes the newest that was heard from address's origin.
func (k *Key) Proof(method, address string, token secret.Text, nonce string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("prove: the address is no URL")
	}
	if nonce == "" {
		k.mu.Lock()
		nonce = k.nonces[origin(u)]
		k.mu.Unlock()
	}
	claims := struct {
		jwt.Claims
		Method  string `json:"htm"`
		Address string `json:"htu"`
		Token   string `json:"ath,omitempty"`
		Nonce   string `json:"nonce,omitempty"`
	}{Claims: jwt.Claims{ID: rand.Text(), IssuedAt: jwt.NewNumericDate(time.Now())}, Method: method, Nonce: nonce}
	bare := *u
	bare.RawQuery, bare.Fragment, bare.RawFragment, bare.ForceQuery, bare.User = "", "", "", false, nil
	claims.Address = bare.String()
	if !token.Empty() {
		sum := sha256.Sum256([]byte(token.Reveal()))
		claims.Token = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	options := (&jose.SignerOptions{EmbedJWK: true}).WithType(proofType)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k.private}, options)
	if err != nil {
		return "", fmt.Errorf("prove: %w", err)
	}
	proof, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", fmt.Errorf("prove: %w", err)
	}
	return proof, nil
}

// Sign gives req the one proof it needs, in place of one it had; with a token also the token.
func (k *Key) Sign(req *http.Request, token secret.Text) error {
	proof, err := k.Proof(req.Method, req.URL.String(), token, "")
	if err != nil {
		return err
	}
	req.Header.Set(header, proof)
	if !token.Empty() {
		req.Header.Set("Authorization", TokenType+" "+token.Reveal())
	}
	return nil
}

// Again takes in the nonce that resp may carry, whatever its status, and reports whether the request is to be sent once
// more because of it (RFC 9449 §8 and §9). code is the OAuth error code in the body of an issuer's answer; of a server's
// answer, which has it in its challenge, it is "". The request was not carried out then.
func (k *Key) Again(resp *http.Response, code string) bool {
	nonce := resp.Header.Get("DPoP-Nonce")
	if nonce == "" || len(nonce) > maxNonce || strings.ContainsFunc(nonce, func(r rune) bool { return r <= ' ' || r > '~' }) || resp.Request == nil {
		return false
	}
	k.mu.Lock()
	if k.nonces == nil || len(k.nonces) >= maxOrigins {
		k.nonces = map[string]string{}
	}
	k.nonces[origin(resp.Request.URL)] = nonce
	k.mu.Unlock()
	if code != "" {
		return code == nonceError
	}
	if resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	for _, challenge := range resp.Header.Values("WWW-Authenticate") {
		if strings.Contains(challenge, nonceError) { // an error code that no other parameter has a reason to hold
			return true
		}
	}
	return false
}

func origin(u *url.URL) string { return strings.ToLower(u.Scheme + "://" + u.Host) }
