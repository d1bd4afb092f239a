package broker

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/localapi"
)

// offerDevices has the issuer take sign-ins on another device, which the person ends at once.
func (h *house) offerDevices() {
	h.issuer.Metadata(func(m map[string]any) { m["device_authorization_endpoint"] = issuerID + "/device" })
	h.issuer.Fault("/device", oauthtest.Body(`{"device_code":"canary-code","user_code":"WDJB-MJHT","verification_uri":"`+issuerID+`/go","expires_in":600,"interval":1}`))
	h.issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.HasSuffix(r.PostFormValue("grant_type"), ":device_code") {
			next.ServeHTTP(w, r)
			return
		}
		oauthtest.Body(`{"access_token":"by-device","token_type":"Bearer","expires_in":60,"scope":"files:read","refresh_token":"r1"}`)(w, r, next)
	})
}

// via is a person who says yes, and chooses how to get to the page.
func via(way string) func(context.Context, face.Question) (face.Answer, error) {
	return func(ctx context.Context, q face.Question) (face.Answer, error) {
		a, err := always(ctx, q)
		a.Via = way
		return a, err
	}
}

// The person may sign in on another device, where the issuer can do that; what they chose is proposed the next time.
func TestSignInOnAnotherDevice(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.offerDevices()
		h.person = via(face.ViaDevice)
		pages := make(chan face.SignIn, 100)
		h.config = func(c *Config) {
			c.OnChange = func() {
				for _, s := range h.broker.State().SignIns {
					pages <- s
				}
			}
		}
		h.restart()
		if token := h.mustToken(host("claude"), "files:read"); token.AccessToken.Reveal() != "by-device" || h.browsers != 0 {
			t.Errorf("%q, %d pages opened", token.AccessToken.Reveal(), h.browsers)
		}
		both := []string{face.ViaBrowser, face.ViaDevice}
		if q := h.questions()[0]; !q.SignIn || q.Via != face.ViaBrowser || !slices.Equal(q.Vias, both) {
			t.Errorf("asked %+v", q)
		}
		synctest.Wait() // whoever draws the lists may be told of more after the token is there
		shown := false
		for len(pages) > 0 {
			s := <-pages
			shown = shown || s.Code == "WDJB-MJHT" && s.URL == issuerID+"/go"
		}
		if !shown {
			t.Error("the code is shown nowhere")
		}
		h.config = nil
		h.restart()

		h.person = via("")
		if _, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL}); err != nil || h.browsers != 0 {
			t.Errorf("%v, %d pages opened", err, h.browsers)
		}
		if q := h.questions()[1]; q.Via != face.ViaDevice || !slices.Equal(q.Vias, both) {
			t.Errorf("asked %+v", q)
		}
		h.person = via(face.ViaBrowser)
		if _, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL}); err != nil || h.browsers != 1 {
			t.Errorf("%v, %d pages opened", err, h.browsers)
		}
	})
}

// A sign-in may be asked for in that way, and the person sees and decides it.
func TestAskingForAnotherDevice(t *testing.T) {
	request := localapi.SignInRequest{Resource: serverURL, Device: true}
	inHouse(t, func(t *testing.T, h *house) {
		if _, err := h.broker.SignIn(t.Context(), host("vk"), request); !errors.Is(err, localapi.ErrBadRequest) || len(h.questions()) != 0 {
			t.Errorf("an issuer without: %v, %d questions", err, len(h.questions()))
		}
	})
	inHouse(t, func(t *testing.T, h *house) {
		h.offerDevices()
		h.person = no
		if _, err := h.broker.SignIn(t.Context(), host("vk"), request); !errors.Is(err, localapi.ErrConsentDenied) || h.issuer.Count("/device") != 0 {
			t.Errorf("a no: %v, %d codes", err, h.issuer.Count("/device"))
		}
		time.Sleep(2 * time.Minute)
		h.person = always
		if _, err := h.broker.SignIn(t.Context(), host("vk"), request); err != nil || h.browsers != 0 {
			t.Errorf("%v, %d pages opened", err, h.browsers)
		}
		if q := h.questions()[1]; q.Via != face.ViaDevice {
			t.Errorf("asked %+v", q)
		}
	})
}

// Where no browser opens, the question says so.
func TestTheQuestionSaysHowThePageOpens(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.config = func(c *Config) { c.OpenURL = nil }
		h.restart()
		h.mustToken(host("claude"))
		if q := h.questions()[0]; q.Via != face.ViaAddress || q.Vias != nil {
			t.Errorf("asked %+v", q)
		}
	})
}
