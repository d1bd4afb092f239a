package oauthflow

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
)

// inPEM is key as PKCS #8.
func inPEM(t *testing.T, key any) secret.Text {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// granting is a token endpoint that answers everybody.
func granting(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"access_token":"at","token_type":"Bearer","expires_in":60,"refresh_token":"not wanted"}`)
}

func TestClientCredentials(t *testing.T) {
	for name, test := range map[string]struct {
		methods []string
		basic   bool
	}{"by Basic": {[]string{methodBasic, methodPost}, true}, "in the body": {[]string{methodPost}, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.req.Issuer.AuthMethods = test.methods
				r.req.Registration = client.Client{Issuer: issuerID, ClientID: "robot", Secret: secret.New("s%cret"), GrantType: client.GrantClientCredentials, Source: client.SourcePreRegistered}
				r.issuer.Fault(demo.TokenPath, granting)
				reg, tokens := r.signIn()
				if reg.ClientID != "robot" || tokens.Access.Reveal() != "at" || !tokens.Refresh.Empty() || len(r.urls) != 0 {
					t.Errorf("%+v, %d pages, refresh token %v", reg, len(r.urls), !tokens.Refresh.Empty())
				}
				form := r.one(demo.TokenPath)
				if form.Get("grant_type") != "client_credentials" || form.Get("resource") != serverURL || form.Get("scope") != "files:read offline_access" {
					t.Errorf("posted %v", form)
				}
				header := r.issuer.Seen(demo.TokenPath)[0].Header
				id, password, basic := (&http.Request{Header: header}).BasicAuth()
				if basic != test.basic || basic && (id != "robot" || password != "s%25cret" || form.Has("client_secret")) || !basic && form.Get("client_secret") != "s%cret" {
					t.Errorf("authenticated as %q, Basic %v, body %v", id, basic, form)
				}
			})
		})
	}
}

func TestPrivateKeyJWT(t *testing.T) {
	ec := func(curve elliptic.Curve) any { k, _ := ecdsa.GenerateKey(curve, rand.Reader); return k }
	weak, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for _, test := range []struct {
		key    any
		listed []string
		want   jose.SignatureAlgorithm // "" is an error
	}{
		{ec(elliptic.P256()), nil, jose.ES256},
		{ec(elliptic.P384()), []string{"ES256", "ES384"}, jose.ES384},
		{ec(elliptic.P521()), nil, jose.ES512},
		{weak, nil, jose.RS256},
		{weak, []string{"PS256", "ES256"}, jose.PS256},
		{ed, nil, jose.EdDSA},
		{ec(elliptic.P256()), []string{"RS256"}, ""},
		{ec(elliptic.P224()), nil, ""},
	} {
		t.Run(fmt.Sprintf("%T %v", test.key, test.listed), func(t *testing.T) {
			r := newRig(t)
			r.req.Issuer.AuthMethods, r.req.Issuer.AssertionAlgorithms = []string{methodKey}, test.listed
			r.req.Registration = client.Client{Issuer: issuerID, ClientID: "robot", Key: inPEM(t, test.key), KeyID: "k1", GrantType: client.GrantClientCredentials, Source: client.SourcePreRegistered}
			r.issuer.Fault(demo.TokenPath, granting)
			_, err := r.flow().Obtain(t.Context(), r.req)
			if test.want == "" {
				if err == nil || r.issuer.Count(demo.TokenPath) != 0 {
					t.Errorf("%v, %d requests", err, r.issuer.Count(demo.TokenPath))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			form := r.one(demo.TokenPath)
			if form.Get("client_assertion_type") != assertionType || form.Has("client_id") || form.Has("client_secret") {
				t.Errorf("posted %v", form)
			}
			token, err := jwt.ParseSigned(form.Get("client_assertion"), []jose.SignatureAlgorithm{test.want})
			if err != nil {
				t.Fatal(err)
			}
			var claims jwt.Claims
			if err := token.Claims(test.key.(crypto.Signer).Public(), &claims); err != nil {
				t.Fatal(err)
			}
			if err := claims.Validate(jwt.Expected{Issuer: "robot", Subject: "robot", AnyAudience: jwt.Audience{issuerID}, Time: time.Now()}); err != nil {
				t.Error(err)
			}
			if life := claims.Expiry.Time().Sub(claims.IssuedAt.Time()); len(claims.Audience) != 1 || claims.ID == "" || life > 5*time.Minute || token.Headers[0].KeyID != "k1" {
				t.Errorf("claims %+v, life %v, key %q", claims, life, token.Headers[0].KeyID)
			}
		})
	}
}

// An assertion is for one POST, so that one that was seen is of no use again.
func TestEachAssertionIsNew(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	reg := client.Client{Issuer: issuerID, ClientID: "robot", Key: inPEM(t, key)}
	one, err := keyAssertion(reg, nil)
	two, errTwo := keyAssertion(reg, nil)
	if err != nil || errTwo != nil || one == two {
		t.Errorf("%v, %v, the same %v", err, errTwo, one == two)
	}
}

func TestWorkloadIdentity(t *testing.T) {
	r := newRig(t)
	r.req.Registration = client.Client{Issuer: issuerID, ClientID: "workload", Assertion: secret.New("a.b.c"), GrantType: client.GrantJWTBearer, Source: client.SourcePreRegistered}
	r.issuer.Fault(demo.TokenPath, granting)
	if _, err := r.flow().Obtain(t.Context(), r.req); err != nil {
		t.Fatal(err)
	}
	form := r.one(demo.TokenPath)
	if form.Get("grant_type") != client.GrantJWTBearer || form.Get("assertion") != "a.b.c" || form.Get("resource") != serverURL || form.Get("client_id") != "workload" {
		t.Errorf("posted %v", form)
	}
}

// What the issuer turns down is final (SEP-1933): no second POST, no other grant type, no browser.
func TestUnattendedIsNotTriedTwice(t *testing.T) {
	for _, code := range []string{"invalid_grant", "invalid_client", "invalid_scope", "unauthorized_client"} {
		r := newRig(t)
		r.req.Registration = client.Client{Issuer: issuerID, ClientID: "workload", Assertion: secret.New("a.b.c"), GrantType: client.GrantJWTBearer, Source: client.SourcePreRegistered}
		r.issuer.Fault(demo.TokenPath, oauthtest.OAuthError(400, code, "the assertion a.b.c is not good"))
		_, _, err := r.flow().SignIn(t.Context(), r.req)
		var refused *Error
		if !errors.As(err, &refused) || refused.Code != code || strings.Contains(err.Error(), "a.b.c") {
			t.Errorf("%s: %v", code, err)
		}
		if n := r.issuer.Count(demo.TokenPath); n != 1 || len(r.urls) != 0 || r.issuer.Count(demo.RegisterPath) != 0 {
			t.Errorf("%s: %d requests, %d pages", code, n, len(r.urls))
		}
	}
}

// Each grant type that a person can give a client has its way.
func TestEveryGrantTypeHasAWay(t *testing.T) {
	for _, grantType := range client.GrantTypes {
		if unattended[grantType] == nil {
			t.Errorf("%s has none", grantType)
		}
	}
	if len(unattended) != len(client.GrantTypes) {
		t.Errorf("%d ways for %d grant types", len(unattended), len(client.GrantTypes))
	}
}

func TestUnattendedNeedsWhatItShows(t *testing.T) {
	for name, reg := range map[string]client.Client{
		"no secret":      {Issuer: issuerID, ClientID: "c", GrantType: client.GrantClientCredentials},
		"no assertion":   {Issuer: issuerID, ClientID: "c", GrantType: client.GrantJWTBearer},
		"unknown":        {Issuer: issuerID, ClientID: "c", Secret: secret.New("s"), GrantType: "password"},
		"another issuer": {Issuer: "https://other.example.com", ClientID: "c", Secret: secret.New("s"), GrantType: client.GrantClientCredentials},
		"no method":      {Issuer: issuerID, ClientID: "c", Key: secret.New("k"), GrantType: client.GrantClientCredentials}, // none of its methods is with a key
	} {
		r := newRig(t)
		r.req.Registration = reg
		if _, err := r.flow().Obtain(t.Context(), r.req); !errors.Is(err, ErrNoRegistration) || r.issuer.Count(demo.TokenPath) != 0 {
			t.Errorf("%s: %v, %d requests", name, err, r.issuer.Count(demo.TokenPath))
		}
	}
}

func TestParseKey(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	sec1, _ := x509.MarshalECPrivateKey(key)
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	big, _ := rsa.GenerateKey(rand.Reader, 2048)
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for name, test := range map[string]struct {
		text string
		good bool
	}{
		"PKCS 8":         {inPEM(t, key).Reveal(), true},
		"SEC 1":          {block("EC PRIVATE KEY", sec1), true},
		"PKCS 1":         {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(big)), true},
		"short":          {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), false},
		"two":            {inPEM(t, key).Reveal() + inPEM(t, key).Reveal(), false},
		"not PEM":        {"canary-key", false},
		"rubbish inside": {block("PRIVATE KEY", []byte("canary-key")), false},
		"empty":          {"", false},
	} {
		_, err := ParseKey(secret.New(test.text))
		if (err == nil) != test.good || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
