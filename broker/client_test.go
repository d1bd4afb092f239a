package broker

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
)

func (h *house) register(req localapi.RegistrationRequest) error {
	req.Resource = serverURL
	_, err := h.broker.Register(h.t.Context(), host("vk"), req)
	return err
}

const identityFile = "/run/identity/token"

// A workload's identity is named by its file, which is read for each token, and again after a restart.
func TestAnIdentityFileIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says, broken, read := "a.b.1", error(nil), 0
		h := newHouse(t)
		h.config = func(c *Config) {
			c.ReadAssertion = func(path string) (secret.Text, error) {
				if read++; path != identityFile {
					t.Errorf("read %s", path)
				}
				return secret.New(says), broken
			}
		}
		h.open()
		h.issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			if r.PostFormValue("grant_type") != client.GrantJWTBearer || r.PostFormValue("client_id") != "workload" {
				oauthtest.OAuthError(400, "invalid_grant", "x")(w, r, nil)
				return
			}
			oauthtest.Body(`{"access_token":"token-for-`+r.PostFormValue("assertion")+`","token_type":"Bearer","expires_in":60,"scope":"files:read"}`)(w, r, nil)
		})
		broken = errors.New("it can be written by others")
		workload := localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "workload", AssertionFile: identityFile})}
		if err := h.register(workload); !errors.Is(err, localapi.ErrBadRequest) || !strings.Contains(err.Error(), identityFile) || !strings.Contains(err.Error(), "written by others") {
			t.Errorf("with a file that cannot be used: %v", err)
		}
		if _, ok := h.broker.signIns.PreRegistered(issuerID); ok {
			t.Error("set all the same")
		}
		broken = nil
		h.person = no
		read = 0
		if err := h.register(workload); !errors.Is(err, localapi.ErrConsentDenied) || read != 0 {
			t.Errorf("a no: %v, and the file was read %d times", err, read)
		}
		time.Sleep(2 * time.Minute) // a no holds for one
		h.person = always
		if err := h.register(workload); err != nil {
			t.Fatal(err)
		}
		q := h.questions()[2]
		if notes := strings.Join(q.Notes, " "); q.Kind != face.KindRegister || q.ClientID != "workload" || !strings.Contains(notes, identityFile) || !strings.Contains(notes, issuerID) {
			t.Errorf("asked %+v", q)
		}
		if first := h.mustToken(host("claude"), "files:read"); first.AccessToken.Reveal() != "token-for-a.b.1" || h.browsers != 0 {
			t.Errorf("%q after %d pages", first.AccessToken.Reveal(), h.browsers)
		}
		if r := h.broker.shownGrants()[0].Registration; r == nil || *r != (client.Public{ClientID: "workload", Source: "pre-registered", GrantType: client.GrantJWTBearer, AssertionFile: identityFile}) {
			t.Errorf("shown %+v", r)
		}
		h.restart()
		says = "a.b.2"
		h.person = forbidden(t)
		if next := h.mustToken(host("claude"), "files:read"); next.AccessToken.Reveal() != "token-for-a.b.2" {
			t.Errorf("after a restart: %q", next.AccessToken.Reveal())
		}
		time.Sleep(2 * time.Minute)
		broken = errors.New("it went away")
		if _, err := h.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrUnavailable) || !strings.Contains(err.Error(), identityFile) {
			t.Errorf("without the file: %v", err)
		}
		broken = nil
		h.mustToken(host("claude"), "files:read")
		h.broker.Close()
	})
}

// An enterprise that is set, and not written in a policy file, is one all the same: the person signs in there.
func TestAnEnterpriseIsSet(t *testing.T) {
	inOffice(t, func(t *testing.T, c *company) {
		c.config = nil
		c.restart()
		set := func(there client.Client) error {
			return c.register(localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "here", Secret: secret.New("hidden-words"), Enterprise: &client.Enterprise{Client: there}})})
		}
		for name, e := range map[string]client.Client{
			"misspelt": {Issuer: "https://nowhere.example.org", ClientID: "there"},
			"no ID":    {Issuer: enterpriseID, ClientID: "\x1b"},
			"bad key":  {Issuer: enterpriseID, ClientID: "there", Key: secret.New("canary")},
		} {
			err := set(e)
			_, kept := c.broker.signIns.PreRegistered(issuerID)
			if err == nil || strings.Contains(err.Error(), "canary") || kept {
				t.Errorf("%s: %v, kept %v", name, err, kept)
			}
		}
		if n := len(c.questions()); n != 1 { // that the misspelt one is not there can only be seen by asking for it
			t.Errorf("asked %d times", n)
		}
		if err := set(client.Client{Issuer: enterpriseID, ClientID: "there", Secret: secret.New("hidden-words")}); err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(c.questions()[1].Notes, " "); !strings.Contains(notes, "Your enterprise at "+enterpriseID) {
			t.Errorf("told %q", notes)
		}
		c.restart() // from the keychain
		c.mustToken(host("claude"), "files:read")
		if c.browsers != 1 || c.issuer.Count(demo.AuthorizePath) != 0 {
			t.Errorf("%d pages, %d of them of the server's issuer", c.browsers, c.issuer.Count(demo.AuthorizePath))
		}
		time.Sleep(2 * time.Minute)
		c.person = forbidden(t)
		c.mustToken(host("claude"), "files:read")

		// Who the person is there goes with the last sign-in that needed it.
		c.person = always
		if err := c.register(localapi.RegistrationRequest{Remove: true}); err != nil {
			t.Fatal(err)
		}
		c.issuer.Fault(demo.TokenPath, nil)
		if _, err := c.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL}); err != nil {
			t.Fatal(err)
		}
		if name := item(t, c.store, "identities"); name != "" {
			t.Errorf("the identity is still there: %s", name)
		}
	})
}

// A client ID that was set is removed with the person's word, and then programs register by themselves again.
func TestAClientIDIsRemoved(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		if err := h.register(localapi.RegistrationRequest{Remove: true}); !errors.Is(err, localapi.ErrBadRequest) {
			t.Errorf("none is set: %v", err)
		}
		if err := h.register(localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "mine"})}); err != nil {
			t.Fatal(err)
		}
		h.person = no
		if err := h.register(localapi.RegistrationRequest{Remove: true}); !errors.Is(err, localapi.ErrConsentDenied) {
			t.Errorf("the person said no: %v", err)
		}
		if _, ok := h.broker.signIns.PreRegistered(issuerID); !ok {
			t.Error("removed although the person said no")
		}
		time.Sleep(2 * time.Minute)
		h.person = always
		if err := h.register(localapi.RegistrationRequest{Remove: true}); err != nil {
			t.Fatal(err)
		}
		if q := h.questions(); q[len(q)-1].Kind != face.KindRegister || q[len(q)-1].ClientID != "" {
			t.Errorf("asked %+v", q[len(q)-1])
		}
		if b, err := h.store.Get(t.Context(), "index"); !errors.Is(err, keystore.ErrNotFound) {
			t.Errorf("left in the keychain: %s, %v", b, err)
		}
		h.mustToken(host("claude"))
		if r := h.broker.shownGrants()[0].Registration; r.Source != client.SourceDynamic {
			t.Errorf("signed in as %+v", r)
		}
	})
}

// What stands in the policy file comes first, so nothing else is set beside it.
func TestThePolicysClientIsNotSetElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := robot(t)
		for _, req := range []localapi.RegistrationRequest{{Sent: client.Send(client.Client{ClientID: "mine"})}, {Remove: true}} {
			if err := h.register(req); !errors.Is(err, localapi.ErrBadRequest) || !strings.Contains(err.Error(), "policy file") || len(h.questions()) != 0 {
				t.Errorf("%+v: %v, %d questions", req, err, len(h.questions()))
			}
		}
		h.broker.Close()
	})
}

// The no to an old ID token does not cost the new one that has replaced it meanwhile.
func TestALateNoToAnIDToken(t *testing.T) {
	inOffice(t, func(t *testing.T, c *company) {
		c.mustToken(host("claude"), "files:read")
		time.Sleep(2 * time.Minute)
		c.idp.Fault(demo.TokenPath, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasSuffix(r.PostFormValue("grant_type"), "token-exchange") {
				c.answer.Lock()
				c.good = oauthtest.IDToken(enterpriseID, "there", func(claims map[string]any) { claims["jti"] = "newer" })
				newer := c.good
				c.answer.Unlock()
				id, err := c.broker.ledger.Identity(t.Context(), ledger.Enterprise{Issuer: enterpriseID, ClientID: "there"}, defaultAccount)
				if err != nil {
					t.Error(err)
				}
				id.IDToken.Text = secret.New(newer)
				if err := c.broker.ledger.SetIdentity(t.Context(), id); err != nil {
					t.Error(err)
				}
				oauthtest.OAuthError(400, "invalid_grant", "x")(w, r, next)
			}
		})
		if _, err := c.token(host("claude"), "files:read"); !errors.Is(err, localapi.ErrIssuer) {
			t.Errorf("got %v", err)
		}
		c.idp.Fault(demo.TokenPath, c.sayWho)
		c.person = forbidden(t)
		c.mustToken(host("claude"), "files:read")
		if c.browsers != 1 {
			t.Errorf("%d pages", c.browsers)
		}
	})
}

// In the window the person's word is not asked about again, but the sign-in that follows is shown.
func TestAClientIsTypedIntoTheWindow(t *testing.T) {
	inOffice(t, func(t *testing.T, c *company) {
		c.config = nil
		c.restart()
		wish := func(r localapi.RegistrationRequest) error {
			return c.broker.Wish(t.Context(), face.WishClient{Server: serverURL, Registration: r})
		}
		if err := wish(localapi.RegistrationRequest{}); !errors.Is(err, localapi.ErrBadRequest) {
			t.Errorf("no client: %v", err)
		}
		twoWays := client.Client{ClientID: "here", Secret: secret.New("hidden-words"), Key: secret.New("hidden-words")}
		if err := wish(localapi.RegistrationRequest{Sent: client.Send(twoWays)}); !errors.Is(err, localapi.ErrBadRequest) || !strings.Contains(err.Error(), "not with both") {
			t.Errorf("with a secret and a key: %v", err)
		}
		err := wish(localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "here", Secret: secret.New("hidden-words"), Enterprise: &client.Enterprise{Client: client.Client{Issuer: enterpriseID, ClientID: "there", Secret: secret.New("hidden-words")}}})})
		if err != nil {
			t.Fatal(err)
		}
		q := c.questions()
		if len(q) != 1 || q[0].Kind != face.KindSignIn || !q[0].SignIn || !strings.Contains(strings.Join(q[0].Notes, " "), enterpriseID) {
			t.Errorf("asked %+v", q)
		}
		if g := c.broker.shownGrants(); len(g) != 1 || g[0].Registration.Enterprise != enterpriseID || !g[0].Renewable || c.browsers != 1 {
			t.Errorf("grants %+v after %d pages", g, c.browsers)
		}
		if err := wish(localapi.RegistrationRequest{Remove: true}); err != nil || len(c.questions()) != 1 {
			t.Errorf("%v after %d questions", err, len(c.questions()))
		}
		if _, ok := c.broker.signIns.PreRegistered(issuerID); ok {
			t.Error("it is still there")
		}
	})
}
