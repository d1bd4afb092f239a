package oauthflow

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
)

// newIdentityRig is a rig whose request is one for an identity, at an issuer that adds an ID token to its answers, with
// claims that edit may change.
func newIdentityRig(t *testing.T, edit func(claims map[string]any)) *rig {
	r := newRig(t, oauthtest.StaticClients(demo.Client{ID: "there", Secret: secret.New("hidden-words"), RedirectURIs: RedirectURIs()}))
	r.cfg.HTTP = worldOnly(r, issuerID)
	r.req = Request{
		Issuer: &discovery.Issuer{
			ID: issuerID, AuthorizationEndpoint: issuerID + demo.AuthorizePath, TokenEndpoint: issuerID + demo.TokenPath, Scopes: []string{"openid", "offline_access"}, IssParameter: true,
		},
		Registration: client.Client{Issuer: issuerID, ClientID: "there", Secret: secret.New("hidden-words"), Source: client.SourcePreRegistered},
	}
	r.issuer.Fault(demo.TokenPath, oauthtest.Member("id_token", func(req *http.Request) any {
		return oauthtest.IDToken(issuerID, "there", func(claims map[string]any) {
			if pages := r.issuer.Requests(demo.AuthorizePath); req.PostFormValue("grant_type") == "authorization_code" {
				claims["nonce"] = pages[0].Get("nonce")
			}
			if edit != nil {
				edit(claims)
			}
		})
	}))
	return r
}

func TestIdentify(t *testing.T) {
	r := newIdentityRig(t, nil)
	id, err := r.flow().Identify(t.Context(), r.req)
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject != "ada" || id.IDToken.Empty() || id.Refresh.Empty() || time.Until(id.Expiry) < 50*time.Minute {
		t.Errorf("%+v", id)
	}
	page := r.issuer.Requests(demo.AuthorizePath)[0]
	if page.Get("scope") != "openid offline_access" || page.Has("resource") || len(page.Get("nonce")) < 20 || page.Get("code_challenge_method") != "S256" || page.Get("state") == "" {
		t.Errorf("asked %v", page)
	}
	again, err := r.flow().Reidentify(t.Context(), r.req, *id)
	if err != nil || again.Subject != "ada" || again.Refresh.Empty() || again.Refresh.Equal(id.Refresh) {
		t.Errorf("%+v, %v", again, err)
	}
	for _, form := range r.issuer.Requests(demo.TokenPath) {
		if form.Has("resource") {
			t.Errorf("posted %v", form)
		}
	}
}

// An enterprise that wants the person to sign in in another way, or more recently, gets that (RFC 9470 §4).
func TestIdentifyAsTheEnterpriseWants(t *testing.T) {
	r := newIdentityRig(t, nil)
	r.req.ACRValues, r.req.MaxAge = "gold silver", "300"
	if _, err := r.flow().Identify(t.Context(), r.req); err != nil {
		t.Fatal(err)
	}
	if page := r.issuer.Requests(demo.AuthorizePath)[0]; page.Get("acr_values") != "gold silver" || page.Get("max_age") != "300" {
		t.Errorf("asked %v", page)
	}
}

func TestIdentityIsChecked(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(map[string]any)
		want  string
	}{
		"another issuer": {func(c map[string]any) { c["iss"] = "https://other.example" }, "another issuer"},
		"another client": {func(c map[string]any) { c["aud"] = "other" }, "another client"},
		"among others":   {func(c map[string]any) { c["aud"] = []string{"other", "there"}; c["azp"] = "other" }, "another client"},
		"run out":        {func(c map[string]any) { c["exp"] = time.Now().Add(-time.Second).Unix() }, "run out"},
		"no end":         {func(c map[string]any) { delete(c, "exp") }, "run out"},
		"replayed":       {func(c map[string]any) { c["nonce"] = "another" }, "another sign-in"},
		"no nonce":       {func(c map[string]any) { delete(c, "nonce") }, "another sign-in"},
		"nobody":         {func(c map[string]any) { delete(c, "sub") }, "another person"},
		"two of us":      {func(c map[string]any) { c["aud"] = []string{"other", "there"} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newIdentityRig(t, test.spoil)
			_, err := r.flow().Identify(t.Context(), r.req)
			if (err == nil) != (test.want == "") || err != nil && (!errors.Is(err, ErrIdentity) || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// An ID token that comes with a refresh is about the same person (OpenID Connect Core §12.2).
func TestReidentifyIsAboutTheSamePerson(t *testing.T) {
	r := newIdentityRig(t, nil)
	id, err := r.flow().Identify(t.Context(), r.req)
	if err != nil {
		t.Fatal(err)
	}
	id.Subject = "bob"
	if _, err := r.flow().Reidentify(t.Context(), r.req, *id); !errors.Is(err, ErrIdentity) {
		t.Errorf("got %v", err)
	}
}

func TestIssuerWithoutIDTokens(t *testing.T) {
	for answer, want := range map[string]string{"": "there is none", "a.b": "no signed JWT", "a.!.c": "cannot be read", "a.e30.c": "another issuer"} {
		r := newIdentityRig(t, nil)
		r.issuer.Fault(demo.TokenPath, oauthtest.Member("id_token", func(*http.Request) any { return answer }))
		if _, err := r.flow().Identify(t.Context(), r.req); !errors.Is(err, ErrIdentity) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", answer, err)
		}
	}
}
