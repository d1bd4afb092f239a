package broker

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

const otherAudience = "https://other.example.com"

// wrongHouse is a house whose issuer makes tokens out to somebody else.
func wrongHouse(t *testing.T) *house { return newHouse(t, oauthtest.Audience(otherAudience)).open() }

func (h *house) explained(from string) *localapi.Explained {
	h.t.Helper()
	found, err := h.broker.Explain(h.t.Context(), host(from), localapi.TokenRequest{Resource: serverURL})
	if err != nil {
		h.t.Fatal(err)
	}
	return found
}

func (h *house) grant() localapi.Grant {
	h.t.Helper()
	all := h.broker.State().Grants
	if len(all) != 1 {
		h.t.Fatalf("%d grants", len(all))
	}
	return all[0]
}

// onQuirks answers questions about quirks, and says yes to all others.
func onQuirks(answer func(context.Context, face.Question) (face.Answer, error)) func(context.Context, face.Question) (face.Answer, error) {
	return func(ctx context.Context, q face.Question) (face.Answer, error) {
		if q.Kind == face.KindQuirk {
			return answer(ctx, q)
		}
		return always(ctx, q)
	}
}

// mentions reports whether a line of the activity log says this.
func (h *house) mentions(words string) bool {
	return slices.ContainsFunc(h.broker.State().Activity, func(e face.Entry) bool { return strings.Contains(e.Rule, words) })
}

func TestTokenIsCheckedOnce(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("a"))
		h.mustToken(host("a"))
		h.mustToken(host("b"))
		if n := h.issuer.Count(demo.JWKSPath); n != 1 {
			t.Errorf("the keys were fetched %d times", n)
		}
		g := h.grant()
		if g.Check == nil || g.Check.Result != localapi.CheckVerified || len(g.Check.Findings) != 5 {
			t.Errorf("%+v", g.Check)
		}
		if found := h.explained("a"); found.Check.Result != localapi.CheckVerified || found.Resource != serverURL {
			t.Errorf("%+v", found)
		}
	})
}

func TestOpaqueTokenPasses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, oauthtest.Opaque()).open()
		defer h.broker.Close()
		if token := h.mustToken(host("a")); h.good(token) != http.StatusOK {
			t.Error("it was changed")
		}
		if h.issuer.Count(demo.JWKSPath) != 0 || h.grant().Check.Result != localapi.CheckOpaque {
			t.Errorf("%+v", h.grant().Check)
		}
	})
}

func TestWrongAudienceIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := wrongHouse(t)
		defer h.broker.Close()
		h.person = onQuirks(no)
		for range 3 {
			_, err := h.token(host("a"))
			e := (*localapi.Error)(nil)
			if !errors.Is(err, localapi.ErrAudience) || !errors.As(err, &e) || !strings.Contains(e.Message, otherAudience) || !strings.Contains(e.Hint, "quirk audience") {
				t.Fatalf("%v", err)
			}
			time.Sleep(2 * time.Minute)
		}
		asked := slices.DeleteFunc(h.questions(), func(q face.Question) bool { return q.Kind != face.KindQuirk })
		if len(asked) != 1 || asked[0].Quirk.Name != quirk.Audience || asked[0].Quirk.Value != otherAudience || len(asked[0].Notes) == 0 {
			t.Errorf("%+v", asked)
		}
		if c := h.grant().Check; c.Result != localapi.CheckWrong || !h.mentions(otherAudience) {
			t.Errorf("%+v", c)
		}
		if found := h.explained("a"); found.Check.Result != localapi.CheckWrong || found.Check.Failed()[0].Expected != serverURL || found.Check.Failed()[0].Found != otherAudience {
			t.Errorf("%+v", found)
		}
	})
}

func TestQuietHostIsToldOfTheQuirk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := wrongHouse(t)
		defer h.broker.Close()
		h.person = onQuirks(no)
		h.token(host("a"))
		h.person = forbidden(t)
		_, err := h.broker.Token(t.Context(), host("a"), localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionNone})
		if e := (*localapi.Error)(nil); !errors.Is(err, localapi.ErrAudience) || !errors.As(err, &e) || !strings.Contains(e.Hint, "the quirk audience") {
			t.Errorf("%v", err)
		}
	})
}

func TestAcceptedQuirkIsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := wrongHouse(t)
		h.mustToken(host("a")) // the person says yes to everything
		h.person = forbidden(t)
		h.mustToken(host("a"))
		h.restart()
		defer func() { h.broker.Close() }()
		h.mustToken(host("a"))
		g := h.grant()
		if len(g.Quirks) != 1 || g.Quirks[0].Name != quirk.Audience || g.Quirks[0].Value != otherAudience || g.Check.Result != localapi.CheckAccepted {
			t.Errorf("%+v %+v", g.Quirks, g.Check)
		}
		if err := h.broker.Wish(t.Context(), face.WishTakeBack{Name: quirk.Audience, Resource: serverURL}); err != nil {
			t.Fatal(err)
		}
		h.person = no
		if _, err := h.token(host("a")); !errors.Is(err, localapi.ErrAudience) {
			t.Errorf("after it was taken back: %v", err)
		}
	})
}

// TestRefreshedTokenIsChecked: the checks hold for each token, not for the first alone.
func TestRefreshedTokenIsChecked(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("a"))
		h.issuer.Metadata(func(m map[string]any) { m["jwks_uri"] = otherAudience + "/jwks" })
		h.world.Handle(otherAudience, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"keys":[]}`))
		}))
		time.Sleep(25 * time.Hour) // the metadata is stale, and so is the token
		_, err := h.token(host("a"))
		if e := (*localapi.Error)(nil); !errors.Is(err, localapi.ErrIssuer) || !errors.As(err, &e) || !strings.Contains(e.Message, "does not publish") || !strings.Contains(e.Hint, "switch the checks off") {
			t.Fatalf("%v", err)
		}
		if len(h.questions()) != 1 {
			t.Errorf("the person was asked to accept a wrong signature: %+v", h.questions()[1:])
		}
		if err := h.broker.Wish(t.Context(), face.WishAccept{Name: quirk.Unchecked, Resource: serverURL}); err != nil {
			t.Fatal(err)
		}
		h.mustToken(host("a"))
		if c := h.grant().Check; c.Result != localapi.CheckWrong || !h.mentions("switched the checks off") {
			t.Errorf("switching them off must not hide the result: %+v", c)
		}
	})
}

func TestOnlyTheSwitchIsSetBeforehand(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("a"))
		for _, name := range []string{quirk.Audience, quirk.NoResource, "x", ""} {
			if err := h.broker.Wish(t.Context(), face.WishAccept{Name: name, Resource: serverURL}); !errors.Is(err, localapi.ErrBadRequest) {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}

func TestKeysThatCannotBeFetched(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.issuer.Fault(demo.JWKSPath, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		h.mustToken(host("a"))
		if c := h.grant().Check; c.Result != localapi.CheckUnknown || !h.mentions("not all of the token could be checked") {
			t.Errorf("%+v", c)
		}
		h.mustToken(host("a"))
		if n := h.issuer.Count(demo.JWKSPath); n != 1 {
			t.Errorf("%d tries within a minute", n)
		}
		h.issuer.Fault(demo.JWKSPath, nil)
		time.Sleep(time.Minute)
		h.mustToken(host("a"))
		if c := h.grant().Check; c.Result != localapi.CheckVerified {
			t.Errorf("%+v", c)
		}
	})
}

// TestSlowKeysHoldNobodyUp: the check waits a few seconds, not for as long as an issuer likes.
func TestSlowKeysHoldNobodyUp(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.issuer.Fault(demo.JWKSPath, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })
		start := time.Now()
		h.mustToken(host("a"))
		if took := time.Since(start); took > 6*time.Second {
			t.Error(took)
		}
	})
}

func TestPolicyAcceptsQuirks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, oauthtest.Audience(otherAudience))
		accept := quirk.Unchecked
		h.config = func(c *Config) {
			c.Policy = func(q face.Question) (face.Answer, string, bool) {
				if q.Kind != face.KindQuirk || q.Quirk.Name != accept {
					return face.Answer{}, "", false
				}
				return face.Answer{Answered: true, Allow: true, Mode: localapi.ModeOnce}, "allowed by the policy file", true
			}
		}
		h.person = onQuirks(no)
		h.open()
		defer h.broker.Close()
		for _, accept = range []string{quirk.Unchecked, quirk.Audience} {
			h.mustToken(host("a"))
		}
		if g := h.grant(); len(g.Quirks) != 0 {
			t.Errorf("what the policy says was kept: %+v", g.Quirks)
		}
		accept = ""
		if _, err := h.token(host("a")); !errors.Is(err, localapi.ErrAudience) {
			t.Errorf("after the policy took it back: %v", err)
		}
	})
}

// TestIssuerThatRefusesResource: RES-7.
func TestIssuerThatRefusesResource(t *testing.T) {
	refuse := func(h *house) {
		for _, path := range []string{demo.AuthorizePath, demo.TokenPath} {
			h.issuer.Fault(path, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.ParseForm()
				switch to := r.Form.Get("redirect_uri"); {
				case !r.Form.Has("resource"):
					r.Form.Set("resource", otherAudience) // the double wants one; such an issuer makes tokens out to itself
					if r.Method == http.MethodGet {
						r.URL.RawQuery = r.Form.Encode()
					}
					next.ServeHTTP(w, r)
				case path == demo.AuthorizePath && r.Method == http.MethodGet:
					http.Redirect(w, r, to+"?error=invalid_target&iss="+issuerID+"&state="+r.Form.Get("state"), http.StatusSeeOther)
				default:
					next.ServeHTTP(w, r)
				}
			})
		}
	}
	t.Run("accepted", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			h := newHouse(t).open()
			defer h.broker.Close()
			refuse(h)
			h.mustToken(host("a"))
			g := h.grant()
			if len(g.Quirks) != 1 || g.Quirks[0].Name != quirk.NoResource || g.Check.Result != localapi.CheckAccepted || h.browsers != 2 {
				t.Errorf("%+v %+v, %d browsers", g.Quirks, g.Check, h.browsers)
			}
			time.Sleep(2 * time.Hour)
			h.mustToken(host("a"))
			for _, seen := range h.issuer.Requests(demo.TokenPath) {
				if seen.Has("resource") {
					t.Errorf("%s carries a resource", seen.Get("grant_type"))
				}
			}
		})
	})
	t.Run("not accepted", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			h := newHouse(t).open()
			defer h.broker.Close()
			refuse(h)
			h.person = onQuirks(no)
			_, err := h.token(host("a"))
			if e := (*localapi.Error)(nil); !errors.Is(err, localapi.ErrIssuer) || !errors.As(err, &e) || !strings.Contains(e.Hint, "no-resource") || h.browsers != 1 {
				t.Errorf("%v after %d browsers", err, h.browsers)
			}
		})
	})
}

// TestOlderRecordHasNoQuirks: a record of version 1 as it was written before there were quirks still reads.
func TestOlderRecordHasNoQuirks(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("a"))
		name := item(t, h.store, "grants")
		b, err := h.store.Get(t.Context(), name)
		if err != nil || strings.Contains(string(b), "quirk") {
			t.Fatalf("a record without quirks is written as before: %v %s", err, b)
		}
		h.restart()
		if grants, err := h.broker.Grants(t.Context(), nil); err != nil || len(grants.Grants) != 1 || grants.Grants[0].Quirks != nil {
			t.Errorf("%v %+v", err, grants)
		}
	})
}
