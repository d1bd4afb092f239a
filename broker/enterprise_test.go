package broker

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

const enterpriseID = "https://idp.example.org"

// company is a house whose person set a client for which their enterprise speaks. The enterprise gives an assertion for
// each ID token named good, and the server's issuer a token that lives for a minute for each assertion, once.
type company struct {
	*house
	idp    *oauthtest.Issuer
	client client.Client

	answer sync.Mutex // guards the rest while both issuers answer
	good   string
	given  int // assertions
	used   map[string]bool
}

func newCompany(t *testing.T, idp ...oauthtest.IssuerOption) *company {
	c := &company{house: newHouse(t), good: "canary-id-1", used: map[string]bool{}}
	c.idp = c.world.AddIssuer(enterpriseID, idp...)
	c.client = client.Client{
		Issuer: issuerID, ClientID: "here", Secret: secret.New("hidden-words"), GrantType: client.GrantJWTBearer, Source: client.SourcePreRegistered,
		Enterprise: &client.Enterprise{Client: client.Client{Issuer: enterpriseID, ClientID: "there", Secret: secret.New("hidden-words")}, IDToken: secret.New(c.good)},
	}
	c.config = func(cfg *Config) {
		cfg.Clients = func(issuer string) (client.Client, bool) { return c.client, issuer == issuerID }
	}
	c.idp.Fault(demo.TokenPath, c.vouch)
	c.issuer.Fault(demo.TokenPath, c.grant)
	c.open()
	return c
}

func (c *company) vouch(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	c.answer.Lock()
	defer c.answer.Unlock()
	id, _, _ := r.BasicAuth()
	switch {
	case id != "there" || r.PostFormValue("audience") != issuerID || !strings.HasSuffix(r.PostFormValue("resource"), "/mcp"):
		oauthtest.OAuthError(400, "invalid_request", "x")(w, r, nil)
	case r.PostFormValue("subject_token") != c.good:
		oauthtest.OAuthError(400, "invalid_grant", "the ID token ran out")(w, r, nil)
	default:
		c.given++
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{
			"access_token": "canary-jag-" + strconv.Itoa(c.given), "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A",
		})
	}
}

func (c *company) grant(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	c.answer.Lock()
	defer c.answer.Unlock()
	id, _, _ := r.BasicAuth()
	assertion := r.PostFormValue("assertion")
	if id != "here" || r.PostFormValue("grant_type") != client.GrantJWTBearer || !strings.HasPrefix(assertion, "canary-jag-") || c.used[assertion] {
		oauthtest.OAuthError(400, "invalid_grant", "x")(w, r, nil)
		return
	}
	c.used[assertion] = true
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"access_token": "token-" + strconv.Itoa(len(c.used)), "token_type": "Bearer", "expires_in": 60, "scope": r.PostFormValue("scope")})
}

// asked counts the POSTs: to the enterprise, to the server's issuer.
func (c *company) asked() (there, here int) {
	return c.idp.Count(demo.TokenPath), c.issuer.Count(demo.TokenPath)
}

func inCompany(t *testing.T, f func(t *testing.T, c *company)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t)
		defer func() { c.broker.Close() }()
		f(t, c)
	})
}

func TestAnEnterpriseSpeaksForThePerson(t *testing.T) {
	inCompany(t, func(t *testing.T, c *company) {
		first := c.mustToken(host("claude"), "files:read", "files:write")
		if first.AccessToken.Reveal() != "token-1" || c.browsers != 0 || c.issuer.Count(demo.RegisterPath) != 0 {
			t.Errorf("%q after %d pages", first.AccessToken.Reveal(), c.browsers)
		}
		if scope := c.idp.Requests(demo.TokenPath)[0].Get("scope"); scope != "files:read files:write" {
			t.Errorf("asked the enterprise for %q", scope)
		}
		q := c.questions()
		if len(q) != 1 || q[0].Kind != face.KindConsent || q[0].SignIn || !strings.Contains(strings.Join(q[0].Notes, " "), "Your enterprise at "+enterpriseID) {
			t.Errorf("asked %+v", q)
		}

		c.person = forbidden(t)
		time.Sleep(2 * time.Minute)
		if again := c.mustToken(host("claude"), "files:read", "files:write"); again.AccessToken.Reveal() != "token-2" {
			t.Errorf("after it ran out: %q", again.AccessToken.Reveal())
		}
		c.good = "canary-id-2" // and the platform writes it
		c.client.Enterprise.IDToken = secret.New(c.good)
		c.restart()
		if again := c.mustToken(host("claude"), "files:read", "files:write"); again.AccessToken.Reveal() != "token-3" {
			t.Errorf("after a restart: %q", again.AccessToken.Reveal())
		}
		if there, here := c.asked(); there != 3 || here != 3 {
			t.Errorf("asked %d times there and %d times here for three tokens", there, here)
		}
	})
}

// More scopes are asked of the person, then of the enterprise, and the token has both.
func TestAnEnterpriseStepsUp(t *testing.T) {
	inCompany(t, func(t *testing.T, c *company) {
		c.mustToken(host("claude"), "files:read")
		wide := c.mustToken(host("claude"), "files:read", "files:write")
		asked := c.idp.Requests(demo.TokenPath)
		if wide.Scope != "files:read files:write" || c.browsers != 0 || len(asked) != 2 || !strings.Contains(asked[1].Get("scope"), "files:write") {
			t.Errorf("%q after %d pages, %v", wide.Scope, c.browsers, asked)
		}
	})
}

// What an enterprise says no to is not asked for in another way, nor twice, and costs the grant nothing.
func TestAnEnterprisesNoIsFinal(t *testing.T) {
	for code, hint := range map[string]string{
		"access_denied":                    "your enterprise decided this",
		"invalid_grant":                    "renew the file",
		"insufficient_user_authentication": "renew the file",
		"invalid_client":                   "does not take this client",
		"invalid_target":                   "your enterprise decided this",
	} {
		for _, when := range []string{"at first", "later"} {
			t.Run(code+" "+when, func(t *testing.T) {
				inCompany(t, func(t *testing.T, c *company) {
					if when == "later" {
						c.mustToken(host("claude"), "files:read")
						time.Sleep(2 * time.Minute)
						c.person = forbidden(t)
					}
					there, here := c.asked()
					c.idp.Fault(demo.TokenPath, oauthtest.OAuthError(400, code, "not with canary-id-1"))
					_, err := c.token(host("claude"), "files:read")
					var said *localapi.Error
					if !errors.Is(err, localapi.ErrIssuer) || !errors.As(err, &said) || !strings.Contains(said.Hint, hint) || strings.Contains(err.Error(), "canary") {
						t.Errorf("%v, hint %q", err, said.Hint)
					}
					if nowThere, nowHere := c.asked(); nowThere != there+1 || nowHere != here || c.browsers != 0 {
						t.Errorf("asked %d times there, %d times here, %d pages", nowThere-there, nowHere-here, c.browsers)
					}
					c.idp.Fault(demo.TokenPath, c.vouch)
					c.mustToken(host("claude"), "files:read") // the next request may find another policy there
				})
			})
		}
	}
}

func TestAnEnterpriseThatIsAway(t *testing.T) {
	inCompany(t, func(t *testing.T, c *company) {
		c.mustToken(host("claude"), "files:read")
		time.Sleep(50 * time.Second)
		c.idp.Fault(demo.TokenPath, oauthtest.Status(503))
		if again := c.mustToken(host("claude"), "files:read"); again.AccessToken.Reveal() != "token-1" {
			t.Errorf("while it lives: %q", again.AccessToken.Reveal())
		}
		time.Sleep(time.Minute)
		if _, err := c.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrUnavailable) {
			t.Errorf("after that: %v", err)
		}
		c.idp.Fault(demo.TokenPath, c.vouch)
		c.mustToken(host("claude"), "files:read")
	})
}

// The issuer of the server may say no as well: that is final too, and the enterprise is not asked for another assertion.
func TestAnIssuersNoToAnAssertionIsFinal(t *testing.T) {
	inCompany(t, func(t *testing.T, c *company) {
		c.mustToken(host("claude"), "files:read")
		c.person = forbidden(t)
		time.Sleep(2 * time.Minute)
		c.issuer.Fault(demo.TokenPath, oauthtest.OAuthError(400, "invalid_grant", "x"))
		if _, err := c.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrIssuer) {
			t.Errorf("got %v", err)
		}
		if there, here := c.asked(); there != 2 || here != 2 || c.browsers != 0 {
			t.Errorf("asked %d times there, %d times here, %d pages", there, here, c.browsers)
		}
		c.issuer.Fault(demo.TokenPath, c.grant)
		c.mustToken(host("claude"), "files:read")
	})
}

// A person who names another enterprise, or none, speaks of another identity: the grant that was is not carried on.
func TestAnEnterpriseTakenAway(t *testing.T) {
	for name, change := range map[string]func(*client.Client){
		"none":    func(r *client.Client) { r.Enterprise, r.Assertion = nil, secret.New("x") },
		"another": func(r *client.Client) { r.Enterprise.Issuer = "https://other.example.org" },
	} {
		t.Run(name, func(t *testing.T) {
			inCompany(t, func(t *testing.T, c *company) {
				c.mustToken(host("claude"), "files:read")
				change(&c.client)
				there, here := c.asked()
				time.Sleep(2 * time.Minute)
				_, err := c.token(host("claude"), "files:read")
				nowThere, nowHere := c.asked()
				if !errors.Is(err, localapi.ErrSignInRequired) || nowThere != there || nowHere != here {
					t.Errorf("%v; asked %d times there, %d times here", err, nowThere-there, nowHere-here)
				}
			})
		})
	}
}

// An endpoint set by hand is for enterprises whose metadata says nothing of use.
func TestAnEnterprisesEndpointByHand(t *testing.T) {
	inCompany(t, func(t *testing.T, c *company) {
		c.idp.Metadata(func(m map[string]any) { delete(m, "authorization_endpoint") })
		if _, err := c.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrDiscovery) || !strings.Contains(err.Error(), "find the enterprise's issuer") {
			t.Errorf("without: %v", err)
		}
		c.client.Enterprise.TokenEndpoint = enterpriseID + demo.TokenPath
		c.mustToken(host("claude"), "files:read")
	})
}

// The person is told when an issuer shows no sign that it takes an enterprise's word; it is asked all the same.
func TestIssuerThatShowsNoSignOfEnterprises(t *testing.T) {
	const note = "does not say that it gives tokens for that"
	for name, test := range map[string]struct {
		edit func(map[string]any)
		told bool
	}{
		"neither": {func(m map[string]any) {}, true},
		"profile": {func(m map[string]any) {
			m["authorization_grant_profiles_supported"] = []string{"urn:ietf:params:oauth:grant-profile:id-jag"}
		}, false},
		"grant type": {func(m map[string]any) {
			m["grant_types_supported"] = []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inCompany(t, func(t *testing.T, c *company) {
				c.issuer.Metadata(test.edit)
				c.mustToken(host("claude"), "files:read")
				if q := c.questions(); len(q) != 1 || strings.Contains(strings.Join(q[0].Notes, " "), note) != test.told {
					t.Errorf("asked %+v", q)
				}
			})
		})
	}
}
