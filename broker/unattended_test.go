package broker

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
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

// robot is a house whose person set a client that gets tokens by itself. The issuer gives it the scopes it asks for,
// for a minute; the returned function takes the client away.
func robot(t *testing.T) (h *house, takeAway func()) {
	h = newHouse(t)
	there := true
	h.config = func(c *Config) {
		c.Clients = func(issuer string) (client.Client, bool) {
			return client.Client{Issuer: issuer, ClientID: "robot", Secret: secret.New("s"), GrantType: client.GrantClientCredentials, Source: client.SourcePreRegistered}, there
		}
	}
	n := 0
	h.issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if id, _, ok := r.BasicAuth(); !ok || id != "robot" || r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("resource") != serverURL {
			oauthtest.OAuthError(400, "invalid_client", "x")(w, r, nil)
			return
		}
		n++
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"access_token": "token-" + strconv.Itoa(n), "token_type": "Bearer", "expires_in": 60, "scope": r.PostFormValue("scope")})
	})
	return h.open(), func() { there = false }
}

func TestAClientThatGetsTokensByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, takeAway := robot(t)
		first := h.mustToken(host("claude"), "files:read", "files:write")
		if first.AccessToken.Reveal() != "token-1" || h.browsers != 0 {
			t.Errorf("%q after %d pages", first.AccessToken.Reveal(), h.browsers)
		}
		q := h.questions()
		if len(q) != 1 || q[0].Kind != face.KindConsent || q[0].SignIn || !strings.Contains(strings.Join(q[0].Notes, " "), "robot") {
			t.Errorf("asked %+v", q)
		}

		h.person = forbidden(t)
		narrow := h.mustToken(host("claude"), "files:read")
		if narrow.Scope != "files:read" || narrow.AccessToken.Reveal() != "token-2" {
			t.Errorf("for one scope: %q %q", narrow.Scope, narrow.AccessToken.Reveal())
		}
		time.Sleep(2 * time.Minute)
		if again := h.mustToken(host("claude"), "files:read", "files:write"); again.AccessToken.Reveal() != "token-3" {
			t.Errorf("after it ran out: %q", again.AccessToken.Reveal())
		}

		h.restart()
		time.Sleep(2 * time.Minute)
		if again := h.mustToken(host("claude"), "files:read", "files:write"); again.AccessToken.Reveal() != "token-4" {
			t.Errorf("after a restart: %q", again.AccessToken.Reveal())
		}

		takeAway()
		time.Sleep(2 * time.Minute)
		if _, err := h.token(host("claude"), "files:read", "files:write"); !errors.Is(err, localapi.ErrSignInRequired) || !strings.Contains(err.Error(), "was taken away") {
			t.Errorf("without the client: %v", err)
		}
		h.broker.Close()
	})
}

// More scopes are asked of the person, and then had without a page.
func TestAnUnattendedClientStepsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := robot(t)
		h.mustToken(host("claude"), "files:read")
		wide := h.mustToken(host("claude"), "files:read", "files:write")
		if wide.Scope != "files:read files:write" || h.browsers != 0 {
			t.Errorf("%q after %d pages", wide.Scope, h.browsers)
		}
		for _, q := range h.questions() {
			if q.Kind != face.KindConsent || q.SignIn {
				t.Errorf("asked %s, sign-in %v", q.Kind, q.SignIn)
			}
		}
		if n := len(h.questions()); n != 2 {
			t.Errorf("%d questions, want 2", n)
		}
		h.broker.Close()
	})
}

func TestSettingAnUnattendedClientIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t).open()
		set := func(c client.Client) error {
			c.ClientID = "robot"
			_, err := h.broker.Register(t.Context(), host("vk"), localapi.RegistrationRequest{Resource: serverURL, Sent: client.Send(c)})
			return err
		}
		for name, c := range map[string]client.Client{
			"no secret":   {GrantType: "client_credentials"},
			"another":     {GrantType: "password", Secret: secret.New("s")},
			"no real key": {GrantType: "client_credentials", Key: secret.New("canary")},
		} {
			if err := set(c); !errors.Is(err, localapi.ErrBadRequest) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := len(h.questions()); n != 0 {
			t.Errorf("the person was asked %d times about what cannot be", n)
		}
		if err := set(client.Client{GrantType: "client_credentials", Secret: secret.New("s")}); err != nil {
			t.Fatal(err)
		}
		if q := h.questions(); len(q) != 1 || !strings.Contains(strings.Join(q[0].Notes, " "), "client_credentials") {
			t.Errorf("asked %+v", q)
		}
		h.restart()
		if err := h.broker.ledger.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r, ok := h.broker.signIns.PreRegistered(issuerID); !ok || r.GrantType != client.GrantClientCredentials || r.Secret.Reveal() != "s" {
			t.Errorf("kept %+v, %v", r, ok)
		}
		h.broker.Close()
	})
}
