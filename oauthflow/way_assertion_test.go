package oauthflow

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
)

const (
	enterpriseID = "https://idp.example.com"
	idToken      = "canary-header.canary-claims.canary-signature"
	assertion    = "id.jag.one"
)

// newEnterprise is a rig whose client gets its tokens through an enterprise, which gives it an assertion.
func newEnterprise(t *testing.T) (*rig, *oauthtest.Issuer) {
	r := newRig(t)
	idp := r.world.AddIssuer(enterpriseID)
	r.cfg.HTTP = worldOnly(r, serverURL, enterpriseID)
	r.req.Issuer.AuthMethods = []string{methodBasic}
	r.req.Registration = client.Client{
		Issuer: issuerID, ClientID: "here", Secret: secret.New("secret-here"), GrantType: client.GrantJWTBearer, Source: client.SourcePreRegistered,
		Enterprise: &client.Enterprise{Client: client.Client{Issuer: enterpriseID, ClientID: "there", Secret: secret.New("secret-there")}, IDToken: secret.New(idToken)},
	}
	r.req.Enterprise = &discovery.Issuer{ID: enterpriseID, TokenEndpoint: enterpriseID + demo.TokenPath}
	idp.Fault(demo.TokenPath, vouching(""))
	r.issuer.Fault(demo.TokenPath, granting)
	return r, idp
}

// vouching is an enterprise's token endpoint that gives everybody the assertion, with more members in its answer.
func vouching(more string) oauthtest.FaultFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"`+assertion+`","issued_token_type":"urn:ietf:params:oauth:token-type:id-jag","token_type":"N_A","expires_in":300`+more+`}`)
	}
}

func TestEnterprise(t *testing.T) {
	r, idp := newEnterprise(t)
	reg, tokens := r.signIn()
	if reg.ClientID != "here" || tokens.Access.Reveal() != "at" || !tokens.Refresh.Empty() || len(r.urls) != 0 || r.issuer.Count(demo.RegisterPath) != 0 {
		t.Errorf("%+v, %d pages", reg, len(r.urls))
	}
	asked := idp.Requests(demo.TokenPath)
	if len(asked) != 1 {
		t.Fatalf("the enterprise was asked %d times", len(asked))
	}
	for name, want := range map[string]string{
		"grant_type":           "urn:ietf:params:oauth:grant-type:token-exchange",
		"requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
		"audience":             issuerID,
		"resource":             serverURL,
		"scope":                "files:read offline_access",
		"subject_token":        idToken,
		"subject_token_type":   "urn:ietf:params:oauth:token-type:id_token",
	} {
		if got := asked[0].Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if id, password, _ := (&http.Request{Header: idp.Seen(demo.TokenPath)[0].Header}).BasicAuth(); id != "there" || password != "secret-there" {
		t.Errorf("at the enterprise we are %q", id)
	}
	form := r.one(demo.TokenPath)
	if form.Get("grant_type") != client.GrantJWTBearer || form.Get("assertion") != assertion || form.Get("resource") != serverURL || form.Get("scope") != "files:read offline_access" {
		t.Errorf("posted %v", form)
	}
	if id, password, _ := (&http.Request{Header: r.issuer.Seen(demo.TokenPath)[0].Header}).BasicAuth(); id != "here" || password != "secret-here" {
		t.Errorf("at the server's issuer we are %q", id)
	}
}

// Each token takes a new assertion: issuers take one once (EMA §7.4.2).
func TestEnterpriseIsAskedEachTime(t *testing.T) {
	r, idp := newEnterprise(t)
	for range 2 {
		if _, err := r.flow().Obtain(t.Context(), r.req); err != nil {
			t.Fatal(err)
		}
	}
	if n := idp.Count(demo.TokenPath); n != 2 {
		t.Errorf("asked %d times for two tokens", n)
	}
}

func TestEnterpriseGivesFewerScopes(t *testing.T) {
	r, idp := newEnterprise(t)
	idp.Fault(demo.TokenPath, vouching(`,"scope":"files:read admin"`)) // one of them nobody asked for
	_, tokens := r.signIn()
	if scope := r.one(demo.TokenPath).Get("scope"); scope != "files:read" || strings.Join(tokens.Scopes, " ") != "files:read" {
		t.Errorf("asked for %q, got %v", scope, tokens.Scopes)
	}
}

func TestEnterpriseWithoutASecret(t *testing.T) {
	r, idp := newEnterprise(t)
	r.req.Registration.Enterprise.Secret = secret.Text{}
	r.signIn()
	if form := idp.Requests(demo.TokenPath)[0]; form.Get("client_id") != "there" || form.Has("client_secret") {
		t.Errorf("posted %v", form)
	}
}

// What the enterprise says no to goes no further, and it is asked once (EMA §7.2).
func TestEnterpriseSaysNo(t *testing.T) {
	body := func(issued, kind, token string) oauthtest.FaultFunc {
		return oauthtest.Body(`{"access_token":"` + token + `","issued_token_type":"` + issued + `","token_type":"` + kind + `"}`)
	}
	for name, test := range map[string]struct {
		answer oauthtest.FaultFunc
		want   error  // nil: an *Error
		code   string // of it
	}{
		"denied":               {oauthtest.OAuthError(400, "access_denied", "not for "+idToken), nil, "access_denied"},
		"ID token ran out":     {oauthtest.OAuthError(400, "invalid_grant", "expired"), nil, "invalid_grant"},
		"an error that is 200": {oauthtest.Body(`{"error":"access_denied"}`), nil, "access_denied"},
		"away":                 {oauthtest.Status(503), ErrUnavailable, ""},
		"an access token":      {body("urn:ietf:params:oauth:token-type:access_token", "N_A", "x"), ErrTokenType, ""},
		"no type":              {oauthtest.Body(`{"access_token":"x","token_type":"N_A"}`), ErrTokenType, ""},
		"a bearer token":       {body(typeIDJAG, "Bearer", "x"), ErrTokenType, ""},
		"nothing":              {body(typeIDJAG, "N_A", ""), nil, ""},
		"no JSON":              {oauthtest.Body("hello"), nil, ""},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, "https://other.example.com/", http.StatusTemporaryRedirect)
		}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, idp := newEnterprise(t)
			idp.Fault(demo.TokenPath, test.answer)
			_, _, err := r.flow().SignIn(t.Context(), r.req)
			var refused *Error
			switch {
			case err == nil, strings.Contains(err.Error(), "canary"):
				t.Errorf("got %v", err)
			case test.want != nil && !errors.Is(err, test.want):
				t.Errorf("got %v, want %v", err, test.want)
			case test.want == nil && (!errors.As(err, &refused) || refused.Code != test.code || refused.Step != StepEnterprise || refused.issuer != enterpriseID):
				t.Errorf("got %v", err)
			}
			if idp.Count(demo.TokenPath) != 1 || r.issuer.Count(demo.TokenPath) != 0 || len(r.urls) != 0 {
				t.Errorf("asked %d times there, %d times here, %d pages", idp.Count(demo.TokenPath), r.issuer.Count(demo.TokenPath), len(r.urls))
			}
		})
	}
}

// A refusal may say how the person is to sign in anew. What it says goes into an address, so only what is fit for one is
// taken, and what was posted to it never comes back.
func TestEnterpriseWantsAnotherSignIn(t *testing.T) {
	const wants = `"error":"insufficient_user_authentication"`
	for members, want := range map[string][2]string{
		wants + `,"acr_values":"gold silver","max_age":300`:                     {"gold silver", "300"},
		wants + `,"acr_values":"gold","max_age":"300"`:                          {"gold", "300"},
		wants + `,"max_age":0`:                                                  {"", "0"},
		wants:                                                                   {},
		wants + `,"acr_values":["gold"],"max_age":[300]`:                        {},
		wants + `,"acr_values":null,"max_age":null`:                             {},
		wants + `,"acr_values":"` + strings.Repeat("x", 501) + `","max_age":-1`: {},
		wants + `,"acr_values":"for ` + idToken + `","max_age":9999999999`:      {},
		`"error":"invalid_grant","acr_values":"gold","max_age":300`:             {},
	} {
		r, idp := newEnterprise(t)
		idp.Fault(demo.TokenPath, oauthtest.Body("{"+members+"}"))
		_, err := r.flow().Obtain(t.Context(), r.req)
		var refused *Error
		if !errors.As(err, &refused) || !strings.Contains(members, `"`+refused.Code+`"`) {
			t.Errorf("%s: got %v", members, err)
		} else if got := [2]string{refused.ACRValues, refused.MaxAge}; got != want {
			t.Errorf("%s: %q, want %q", members, got, want)
		}
	}
}

func TestEnterpriseNeedsWhatItShows(t *testing.T) {
	for name, spoil := range map[string]func(*Request){
		"no ID token":      func(r *Request) { r.Registration.Enterprise.IDToken = secret.Text{} },
		"no metadata":      func(r *Request) { r.Enterprise = nil },
		"another's client": func(r *Request) { r.Registration.Enterprise.Issuer = issuerID },
		"no client":        func(r *Request) { r.Registration.Enterprise.ClientID = "" },
	} {
		r, idp := newEnterprise(t)
		r.cfg.HTTP = worldOnly(r, serverURL, enterpriseID, issuerID)
		spoil(&r.req)
		if _, err := r.flow().Obtain(t.Context(), r.req); !errors.Is(err, ErrNoRegistration) || idp.Count(demo.TokenPath)+r.issuer.Count(demo.TokenPath) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An endpoint that the person named is reached as they may reach it, and its metadata is not needed.
func TestEnterpriseEndpointByHand(t *testing.T) {
	r, idp := newEnterprise(t)
	endpoint := enterpriseID + demo.TokenPath
	r.cfg.HTTP = worldOnly(r, serverURL, endpoint)
	r.req.Registration.Enterprise.TokenEndpoint = endpoint
	r.signIn()
	if n := idp.Count(demo.TokenPath); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
