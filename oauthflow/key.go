package oauthflow

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
)

const (
	assertionLife = 2 * time.Minute // of one that we sign; 5 is the most that issuers take
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// keyAssertion is our proof of being reg (RFC 7523 §2.2, §3), signed with its key. The audience is the issuer, not the
// endpoint: an assertion for one issuer must be of no use at another.
func keyAssertion(reg client.Client, algorithms []string) (string, error) {
	key, err := ParseKey(reg.Key)
	if err != nil {
		return "", err
	}
	algorithm := algorithmOf(key)
	if _, ok := key.(*rsa.PrivateKey); ok && !slices.Contains(algorithms, string(algorithm)) && slices.Contains(algorithms, string(jose.PS256)) {
		algorithm = jose.PS256
	}
	if len(algorithms) > 0 && !slices.Contains(algorithms, string(algorithm)) {
		return "", fmt.Errorf("%w %s: it takes assertions signed with %.100s, and the key is for %s", ErrNoRegistration, reg.Issuer, strings.Join(algorithms, " "), algorithm)
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if reg.KeyID != "" {
		options = options.WithHeader("kid", reg.KeyID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		return "", fmt.Errorf("sign an assertion: %w", err)
	}
	now := time.Now()
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: reg.ClientID, Subject: reg.ClientID, Audience: jwt.Audience{reg.Issuer}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(assertionLife)),
	}).Serialize()
}

// ParseKey reads a private key in PEM (PKCS #8, SEC 1 or PKCS #1): RSA of at least 2048 bits, P-256, P-384, P-521 or
// Ed25519. No error quotes any of it.
func ParseKey(text secret.Text) (crypto.Signer, error) {
	block, rest := pem.Decode([]byte(text.Reveal()))
	if block == nil || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errors.New("this is not one private key in PEM (-----BEGIN PRIVATE KEY-----)")
	}
	var parsed any
	for _, parse := range []func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey,
		func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
		func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
	} {
		if key, err := parse(block.Bytes); err == nil {
			parsed = key
			break
		}
	}
	key, ok := parsed.(crypto.Signer)
	if !ok || algorithmOf(key) == "" {
		return nil, errors.New("this private key is of a kind that cannot sign assertions, or is under a passphrase; RSA of 2048 bits, P-256, P-384, P-521 and Ed25519 can")
	}
	return key, nil
}

// algorithmOf is the one a key signs with (RFC 7518 §3.1, RFC 8037 §3.1); "" when it cannot.
func algorithmOf(key crypto.Signer) jose.SignatureAlgorithm {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() >= 2048 {
			return jose.RS256
		}
	case *ecdsa.PrivateKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return jose.ES256
		case 384:
			return jose.ES384
		case 521:
			return jose.ES512
		}
	case ed25519.PrivateKey:
		return jose.EdDSA
	}
	return ""
}
