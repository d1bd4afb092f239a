package broker

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
)

// inOffice is inCompany where no platform says who the person is: they sign in to the enterprise by browser. Its ID tokens
// live for an hour, and the newest is the good one.
func inOffice(t *testing.T, f func(t *testing.T, c *company)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCompany(t, oauthtest.StaticClients(demo.Client{ID: "there", Secret: secret.New("hidden-words"), RedirectURIs: oauthflow.RedirectURIs()}))
		c.client.Enterprise.IDToken = secret.Text{}
		c.idp.Metadata(func(m map[string]any) { m["scopes_supported"] = []string{"openid", "offline_access"} })
		c.idp.Fault(demo.TokenPath, c.sayWho)
		defer func() { c.broker.Close() }()
		f(t, c)
	})
}

func (c *company) sayWho(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if strings.HasSuffix(r.PostFormValue("grant_type"), "token-exchange") {
		c.vouch(w, r, next)
		return
	}
	oauthtest.Member("id_token", func(r *http.Request) any {
		c.answer.Lock()
		defer c.answer.Unlock()
		c.good = oauthtest.IDToken(enterpriseID, "there", func(claims map[string]any) {
			for _, page := range c.idp.Requests(demo.AuthorizePath) {
				if r.PostFormValue("grant_type") == "authorization_code" && page.Has("nonce") { // not that of the form on it
					claims["nonce"] = page.Get("nonce")
				}
			}
		})
		return c.good
	})(w, r, next)
}

// posts counts the POSTs to the enterprise of one grant type.
func (c *company) posts(grantType string) (n int) {
	for _, form := range c.idp.Requests(demo.TokenPath) {
		if form.Get("grant_type") == grantType {
			n++
		}
	}
	return n
}

func TestSignInAtTheEnterprise(t *testing.T) {
	inOffice(t, func(t *testing.T, c *company) {
		first := c.mustToken(host("claude"), "files:read")
		if first.AccessToken.Reveal() != "token-1" || c.browsers != 1 || c.issuer.Count(demo.AuthorizePath) != 0 {
			t.Errorf("%q after %d pages, %d of them of the server's issuer", first.AccessToken.Reveal(), c.browsers, c.issuer.Count(demo.AuthorizePath))
		}
		if q := c.questions(); len(q) != 1 || !q[0].SignIn || !strings.Contains(strings.Join(q[0].Notes, " "), enterpriseID) {
			t.Errorf("asked %+v", q)
		}

		c.person = forbidden(t)
		time.Sleep(2 * time.Minute)
		c.mustToken(host("claude"), "files:read")
		if n := c.posts("refresh_token"); n != 0 {
			t.Errorf("an ID token that is good was renewed %d times", n)
		}
		for range 2 { // rotation
			time.Sleep(2 * time.Hour)
			c.restart()
			c.mustToken(host("claude"), "files:read")
		}
		if n := c.posts("refresh_token"); n != 2 || c.browsers != 1 {
			t.Errorf("%d refreshes, %d pages", n, c.browsers)
		}
	})
}

// One sign-in at the enterprise is for all servers that it speaks at, and one of their renewals renews it for all.
func TestOneSignInAtTheEnterprise(t *testing.T) {
	const other = "https://two.example.com/mcp"
	inOffice(t, func(t *testing.T, c *company) {
		c.world.AddServer(other, issuerID)
		both := func() {
			t.Helper()
			done := make(chan error)
			for _, server := range []string{serverURL, other} {
				go func() {
					_, err := c.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: server, Scopes: []string{"files:read"}})
					done <- err
				}()
			}
			for range 2 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}
		both()
		if c.browsers != 1 {
			t.Errorf("%d pages for two servers", c.browsers)
		}
		c.person = forbidden(t)
		time.Sleep(2 * time.Hour)
		both()
		if n := c.posts("refresh_token"); n != 1 || c.browsers != 1 {
			t.Errorf("%d refreshes, %d pages", n, c.browsers)
		}
		c.person = always
		if _, err := c.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: other}); err != nil {
			t.Fatal(err)
		}
		if n := c.idp.Count(demo.RevocationPath); n != 0 {
			t.Errorf("a sign-in that another server needs was revoked %d times", n)
		}
		c.mustToken(host("claude"), "files:read")
	})
}

func TestForgettingEndsTheSignInAtTheEnterprise(t *testing.T) {
	inOffice(t, func(t *testing.T, c *company) {
		c.mustToken(host("claude"), "files:read")
		if _, err := c.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL}); err != nil {
			t.Fatal(err)
		}
		if n := c.idp.Count(demo.RevocationPath); n != 1 {
			t.Errorf("the enterprise's refresh token was revoked %d times", n)
		}
		if b, err := c.store.Get(t.Context(), "index"); !errors.Is(err, keystore.ErrNotFound) {
			t.Errorf("left in the keychain: %s, %v", b, err)
		}
		c.mustToken(host("claude"), "files:read")
		if c.browsers != 2 {
			t.Errorf("%d pages", c.browsers)
		}
	})
}

// When the enterprise ends the sign-in, the person is asked before a page opens again.
func TestTheEnterpriseEndsTheSignIn(t *testing.T) {
	for name, end := range map[string]func(c *company){
		"its refresh token": func(c *company) {
			time.Sleep(2 * time.Hour)
			c.idp.Fault(demo.TokenPath, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.PostFormValue("grant_type") == "refresh_token" {
					oauthtest.OAuthError(400, "invalid_grant", "x")(w, r, next)
					return
				}
				c.sayWho(w, r, next)
			})
		},
		"its ID token": func(c *company) {
			time.Sleep(2 * time.Minute)
			c.good = "none"
		},
	} {
		t.Run(name, func(t *testing.T) {
			inOffice(t, func(t *testing.T, c *company) {
				c.mustToken(host("claude"), "files:read")
				end(c)
				c.person = no
				if _, err := c.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrConsentDenied) || c.browsers != 1 {
					t.Errorf("%v after %d pages", err, c.browsers)
				}
				time.Sleep(2 * time.Minute) // a no holds for one
				c.person = always
				c.mustToken(host("claude"), "files:read")
				q := c.questions()
				if last := q[len(q)-1]; c.browsers != 2 || last.Kind != face.KindSignIn || !last.SignIn {
					t.Errorf("%d pages, asked %+v", c.browsers, last)
				}
			})
		})
	}
}

// An enterprise that cannot be reached decides nothing, whatever its answer says.
func TestAnEnterpriseThatIsAwayCostsNoIdentity(t *testing.T) {
	inOffice(t, func(t *testing.T, c *company) {
		c.mustToken(host("claude"), "files:read")
		time.Sleep(2 * time.Minute)
		c.person = forbidden(t)
		c.idp.Fault(demo.TokenPath, oauthtest.OAuthError(503, "invalid_grant", "busy"))
		if _, err := c.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		c.idp.Fault(demo.TokenPath, c.sayWho)
		time.Sleep(2 * time.Minute)
		c.mustToken(host("claude"), "files:read")
		if c.browsers != 1 {
			t.Errorf("%d pages", c.browsers)
		}
	})
}

// An enterprise may want the person to sign in in another way, or more recently, than they did (RFC 9470). The next
// sign-in there is as it wants, until one succeeds.
func TestTheEnterpriseWantsAnotherSignIn(t *testing.T) {
	for grantType, wait := range map[string]time.Duration{
		"urn:ietf:params:oauth:grant-type:token-exchange": 2 * time.Minute,
		"refresh_token": 2 * time.Hour, // the ID token ran out
	} {
		t.Run(grantType, func(t *testing.T) {
			inOffice(t, func(t *testing.T, c *company) {
				c.mustToken(host("claude"), "files:read")
				refuses := func(grantType string, answer oauthtest.FaultFunc) {
					c.idp.Fault(demo.TokenPath, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
						if r.PostFormValue("grant_type") == grantType {
							answer(w, r, next)
							return
						}
						c.sayWho(w, r, next)
					})
				}
				time.Sleep(wait)
				refuses(grantType, oauthtest.Body(`{"error":"insufficient_user_authentication","acr_values":"gold silver","max_age":300}`))
				c.person = no
				if _, err := c.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrConsentDenied) || c.browsers != 1 {
					t.Errorf("%v after %d pages", err, c.browsers)
				}
				if !c.mentions("Your enterprise wants you to sign in there: ") {
					t.Error("the activity log does not say why the refresh failed")
				}

				time.Sleep(2 * time.Minute) // a no holds for one
				c.person = always
				refuses("authorization_code", oauthtest.OAuthError(400, "invalid_request", "x"))
				if _, err := c.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrIssuer) {
					t.Errorf("a sign-in that fails: %v", err)
				}
				c.idp.Fault(demo.TokenPath, c.sayWho)
				c.mustToken(host("claude"), "files:read")

				time.Sleep(2 * time.Minute)
				c.good = "none"
				c.mustToken(host("claude"), "files:read")
				for i, want := range []string{"", "gold silver 300", "gold silver 300", ""} {
					page := pages(c.idp)[i]
					if got := strings.TrimSpace(page.Get("acr_values") + " " + page.Get("max_age")); got != want {
						t.Errorf("page %d wants %q, not %q", i, got, want)
					}
				}
			})
		})
	}
}

func TestTheEnterpriseIsAwayWhenAnIDTokenRanOut(t *testing.T) {
	inOffice(t, func(t *testing.T, c *company) {
		c.mustToken(host("claude"), "files:read")
		time.Sleep(2 * time.Hour)
		c.idp.Fault(demo.TokenPath, oauthtest.Status(503))
		if _, err := c.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		c.idp.Fault(demo.TokenPath, c.sayWho)
		c.mustToken(host("claude"), "files:read")
		if c.browsers != 1 {
			t.Errorf("%d pages", c.browsers)
		}
	})
}

// Nothing of who the person is lies outside the keychain, and nobody gets it but the enterprise.
func TestIdentityStaysHere(t *testing.T) {
	inOffice(t, func(t *testing.T, c *company) {
		token := c.mustToken(host("claude"), "files:read")
		if token.AccessToken.Reveal() == c.good {
			t.Error("the host got the ID token")
		}
		for _, form := range c.issuer.Requests(demo.TokenPath) {
			for name, values := range form {
				if strings.Contains(strings.Join(values, " "), c.good) {
					t.Errorf("the server's issuer got the ID token as %s", name)
				}
			}
		}
	})
}

// The enterprise's refresh token is not lost when the keychain fails between our look and our write.
func TestKeychainFailsWhileTheEnterpriseAnswers(t *testing.T) {
	inOffice(t, func(t *testing.T, c *company) {
		tape := newTape()
		c.store = tape
		c.restart()
		c.mustToken(host("claude"), "files:read")
		time.Sleep(2 * time.Hour)
		c.idp.Fault(demo.TokenPath, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			tape.breaks(keystore.ErrLocked)
			c.sayWho(w, r, next)
		})
		c.mustToken(host("claude"), "files:read")
		c.idp.Fault(demo.TokenPath, c.sayWho)
		tape.breaks(nil)
		time.Sleep(2 * time.Minute)
		c.mustToken(host("claude"), "files:read")
		if n := c.posts("refresh_token"); n != 1 {
			t.Errorf("%d refreshes", n)
		}
		c.restart()
		c.person = forbidden(t)
		time.Sleep(2 * time.Hour)
		c.mustToken(host("claude"), "files:read") // with what was rotated
		tape.breaks(keystore.ErrLocked)
		time.Sleep(2 * time.Hour)
		before := c.posts("refresh_token")
		if _, err := c.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrLocked) || c.posts("refresh_token") != before {
			t.Errorf("%v; a locked keychain would not keep what is rotated", err)
		}
	})
}
