package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

var forgetIt = face.WishForget{Resource: serverURL}

func TestForgottenWhileAHostWasAskedAbout(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		h.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
			if q.SignIn { // the second question: the sign-in is gone
				return no(ctx, q)
			}
			if err := h.broker.Wish(ctx, forgetIt); err != nil {
				t.Error(err)
			}
			return always(ctx, q)
		}
		if _, err := h.token(host("cursor")); !errors.Is(err, localapi.ErrConsentDenied) {
			t.Errorf("err = %v", err)
		}
		h.restart() // what counts is in the keychain
		if grants, _ := h.broker.Grants(t.Context(), nil); len(grants.Grants) != 0 {
			t.Errorf("what was forgotten is back: %+v", grants.Grants)
		}
	})
}

// TestForgottenWhileItIsLookedAt: of a grant that goes between finding and looking nothing counts, so that nobody is served,
// refused or asked because of it.
func TestForgottenWhileItIsLookedAt(t *testing.T) {
	for name, open := range map[string]bool{"signed in": false, "no sign-in": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHouse(t)
				if open {
					h = newOpenHouse(t)
				}
				h.open()
				defer func() { h.broker.Close() }()
				claude := host("claude")
				h.mustForward(claude)
				g := h.broker.ledger.Grants()[0]
				if g.Record().Open() != open {
					t.Fatalf("the grant is %+v", g.Record())
				}
				if err := h.broker.Wish(t.Context(), forgetIt); err != nil {
					t.Fatal(err)
				}
				w, err := newWant(t.Context(), claude, localapi.TokenRequest{Resource: serverURL})
				if err != nil {
					t.Fatal(err)
				}
				w.forward = func(error) {}
				if next := h.broker.plan(g, w.attempt()); next.serve != nil || next.do(t.Context()) != nil || len(h.questions()) != 1 {
					t.Errorf("served %v, asked %d times", next.serve != nil, len(h.questions()))
				}
			})
		})
	}
}

// TestForgottenWhileSigningIn runs on the real clock: a bubble's stands still while the listener for the browser is open.
func TestForgottenWhileSigningIn(t *testing.T) {
	h := newHouse(t).open()
	defer func() { h.broker.Close() }()
	h.mustToken(host("claude"))
	h.issuer.Fault("/authorize", oauthtest.Times(1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := h.broker.Wish(r.Context(), forgetIt); err != nil {
			t.Error(err)
		}
		next.ServeHTTP(w, r)
	}))
	if _, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL}); err != nil {
		t.Fatalf("the person signed in after they had forgotten: %v", err)
	}
	for range 2 {
		grants, err := h.broker.Grants(t.Context(), nil)
		if err != nil || len(grants.Grants) != 1 || len(grants.Grants[0].Consents) != 0 {
			t.Errorf("grants = %+v, err %v; want the new one, which nobody may use yet", grants, err)
		}
		h.restart()
	}
}

func TestForgetUnderAnotherAddress(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		const alias = "https://mcp.example.com/mcp/v2"
		h.world.AddServer(alias, issuerID).Metadata(func(doc map[string]any) { doc["resource"] = serverURL })
		h.mustToken(host("claude"))
		if _, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: alias}); err != nil {
			t.Fatal(err)
		}
		if forgotten, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: alias}); err != nil || len(forgotten.Grants) != 1 {
			t.Errorf("forgotten %+v, err %v", forgotten, err)
		}
	})
}

// TestForgettingWhatIsNotThereAnyMore: a server and an issuer that are gone cannot keep what the person gave us.
func TestForgettingWhatIsNotThereAnyMore(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		h.restart()
		h.server.Fault(demo.ResourcePath+"/mcp", oauthtest.Dropped())
		h.issuer.Fault(demo.MetadataPath, oauthtest.Dropped())
		forgotten, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL})
		if err != nil || len(forgotten.Grants) != 1 || len(forgotten.NotRevoked) != 1 {
			t.Errorf("forgotten = %+v, err %v", forgotten, err)
		}
		if grants, err := h.broker.Grants(t.Context(), nil); err != nil || len(grants.Grants) != 0 {
			t.Errorf("left: %+v, %v", grants, err)
		}
	})
}

func TestForgettingRevokesEachTokenThatIsHeld(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		tokens := map[string]bool{}
		for _, scopes := range [][]string{{"read", "write"}, {"read"}, {"write"}} {
			tokens[h.mustToken(host("claude"), scopes...).AccessToken.Reveal()] = true
		}
		if _, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL}); err != nil {
			t.Fatal(err)
		}
		for i, sent := range h.issuer.Requests("/revoke") {
			if hint := sent.Get("token_type_hint"); (i == 0) != (hint == "refresh_token") {
				t.Errorf("revocation %d is of %s", i, hint)
			}
			delete(tokens, sent.Get("token"))
		}
		if len(tokens) > 0 {
			t.Errorf("%d of 3 access tokens were not revoked", len(tokens))
		}
	})
}

// TestForgettingRevokesWhatASignInReplaced: the refresh token of an earlier sign-in may live on at the issuer.
func TestForgettingRevokesWhatASignInReplaced(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		issued := map[string]bool{}
		h.issuer.Fault("/token", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			var answer struct {
				Refresh string `json:"refresh_token"`
			}
			if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || answer.Refresh == "" {
				t.Errorf("no refresh token: %v", err)
			}
			issued[answer.Refresh] = true
			w.Header().Set("Content-Type", "application/json")
			w.Write(rec.Body.Bytes())
		})
		h.mustToken(host("claude"), "read")
		h.mustToken(host("claude"), "read", "write")
		h.restart()
		if n := h.issuer.Count("/revoke"); h.browsers != 2 || n != 0 {
			t.Fatalf("%d browsers, %d revocations before anything was forgotten", h.browsers, n)
		}
		if _, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL}); err != nil {
			t.Fatal(err)
		}
		for _, sent := range h.issuer.Requests("/revoke") {
			delete(issued, sent.Get("token"))
		}
		if len(issued) > 0 {
			t.Errorf("%d of 2 refresh tokens were not revoked", len(issued))
		}
	})
}

// TestNothingIsKeptOfWhatIsForgotten: what a request notes about a grant that is forgotten by then is kept nowhere.
func TestNothingIsKeptOfWhatIsForgotten(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		g, k := h.broker.ledger.Grants()[0], h.broker.consents
		if err := h.broker.Wish(t.Context(), forgetIt); err != nil {
			t.Fatal(err)
		}
		k.addOnce(g, host("claude").Host, localapi.Consent{Mode: localapi.ModeOnce}, time.Time{})
		k.decline(g, quirk.Quirk{Name: quirk.NoResource})
		k.takeBack(g, host("claude").Host.Key)
		if len(k.running)+len(k.declined) != 0 {
			t.Errorf("kept: %v, %v", k.running, k.declined)
		}
	})
}
