package broker

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

// slashHouse is a house whose server writes its issuer with a slash at the end, which the issuer does not.
func slashHouse(t *testing.T) *house {
	h := newHouse(t).open()
	h.server.Metadata(func(m map[string]any) { m["authorization_servers"] = []string{issuerID + "/"} })
	return h
}

// TestIssuerSlash: ASM-6.
func TestIssuerSlash(t *testing.T) {
	t.Run("accepted", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			h := slashHouse(t)
			defer func() { h.broker.Close() }()
			if token := h.mustToken(host("a")); token.Issuer != issuerID {
				t.Errorf("the issuer is recorded as %s, not as it calls itself", token.Issuer)
			}
			asked := h.questions()
			if len(asked) != 2 || asked[1].Kind != face.KindQuirk || asked[1].Quirk.Name != quirk.IssuerSlash || !strings.Contains(asked[1].Why, issuerID+"/") {
				t.Errorf("%+v", asked)
			}
			h.restart()
			h.person = forbidden(t)
			time.Sleep(2 * time.Hour)
			token := h.mustToken(host("a"))
			challenge := localapi.TokenRequest{Resource: serverURL, Challenges: []string{`Bearer error="invalid_token"`}, Refused: token.AccessToken.SHA256()}
			if _, err := h.broker.Token(t.Context(), host("a"), challenge); err != nil || h.grant().State != localapi.StateReady {
				t.Errorf("%v, %+v: a slash was taken for another issuer", err, h.grant())
			}
		})
	})
	t.Run("not accepted", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			h := slashHouse(t)
			defer h.broker.Close()
			h.person = onQuirks(no)
			_, err := h.token(host("a"))
			if e := (*localapi.Error)(nil); !errors.Is(err, localapi.ErrDiscovery) || !errors.As(err, &e) || !strings.Contains(e.Hint, "issuer-slash") {
				t.Errorf("%v", err)
			}
			if h.browsers != 0 || h.issuer.Count(demo.RegisterPath) != 0 || h.issuer.Count(demo.TokenPath) != 0 {
				t.Error("something was sent to the issuer")
			}
		})
	})
	t.Run("more than a slash", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			h := newHouse(t).open()
			defer h.broker.Close()
			h.issuer.Metadata(func(m map[string]any) { m["issuer"] = strings.ToUpper(issuerID) + "/" })
			if _, err := h.token(host("a")); !errors.Is(err, localapi.ErrDiscovery) || len(h.questions()) != 0 {
				t.Errorf("%v after %+v", err, h.questions())
			}
		})
	})
}

// TestPKCEUnlisted: ASM-10. Without the person's word nothing is sent to an issuer that does not say that it checks PKCE.
func TestPKCEUnlisted(t *testing.T) {
	silentIssuer := func(t *testing.T) *house {
		h := newHouse(t)
		h.issuer.Metadata(func(m map[string]any) { delete(m, "code_challenge_methods_supported") })
		return h
	}
	t.Run("accepted", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			h := silentIssuer(t).open()
			defer func() { h.broker.Close() }()
			h.mustToken(host("a"))
			asked := h.questions()
			if len(asked) != 2 || asked[1].Kind != face.KindQuirk || asked[1].Quirk.Name != quirk.PKCEUnlisted || !strings.Contains(asked[1].Why, "PKCE") {
				t.Errorf("%+v", asked)
			}
			if sent := h.issuer.Requests(demo.AuthorizePath); len(sent) == 0 || sent[0].Get("code_challenge_method") != "S256" {
				t.Errorf("PKCE was left out: %v", sent)
			}
			h.restart()
			h.person = forbidden(t)
			time.Sleep(2 * time.Hour)
			h.mustToken(host("a"))
			h.person = always
			if _, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL}); err != nil || len(h.questions()) != 3 {
				t.Errorf("%v, asked again: %+v", err, h.questions()[2:])
			}
		})
	})
	t.Run("not accepted", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			h := silentIssuer(t).open()
			defer h.broker.Close()
			h.person = onQuirks(no)
			_, err := h.token(host("a"))
			if e := (*localapi.Error)(nil); !errors.Is(err, localapi.ErrDiscovery) || !errors.As(err, &e) || !strings.Contains(e.Hint, "pkce-unlisted") {
				t.Errorf("%v", err)
			}
			if h.browsers != 0 || h.issuer.Count(demo.RegisterPath) != 0 || h.issuer.Count(demo.TokenPath) != 0 {
				t.Error("something was sent to the issuer")
			}
		})
	})
	t.Run("one of several issuers", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			h := silentIssuer(t)
			second := h.world.AddIssuer("https://login.example.net")
			h.world.AddServer("https://two.example.com/mcp", issuerID, second.ID())
			h.open()
			defer h.broker.Close()
			token, err := h.broker.Token(t.Context(), host("a"), localapi.TokenRequest{Resource: "https://two.example.com/mcp"})
			if err != nil || token.Issuer != second.ID() || len(h.questions()) != 1 {
				t.Errorf("%+v, %v, %d questions: the issuer that says it must be proposed", token, err, len(h.questions()))
			}
		})
	})
}

// Parameters that are not ours to set are sent where the person set them, by sign-in, window or policy file.
func TestParameters(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		signIn := func(quirks ...string) (sent string) {
			t.Helper()
			if _, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL, Quirks: quirks}); err != nil {
				t.Fatal(err)
			}
			for _, r := range slices.Backward(h.issuer.Requests(demo.AuthorizePath)) {
				if r.Has("code_challenge") {
					return r.Get("audience")
				}
			}
			return "nothing"
		}
		if sent := signIn("parameters=audience=https%3A%2F%2Fapi.example.com&prompt=login"); sent != "https://api.example.com" {
			t.Errorf("sent %q", sent)
		}
		if q := h.questions()[0]; !strings.Contains(strings.Join(q.Notes, ""), "audience=") {
			t.Errorf("the question does not say it: %q", q.Notes)
		}
		if sent := signIn(); sent != "https://api.example.com" {
			t.Errorf("later %q", sent)
		}
		if sent := signIn("parameters="); sent != "" || len(h.grant().Quirks) != 0 {
			t.Errorf("still %q, %+v", sent, h.grant().Quirks)
		}
		wish := face.WishAccept{Name: quirk.Parameters, Value: "audience=b", Resource: serverURL}
		if err := h.broker.Wish(t.Context(), wish); err != nil || signIn() != "b" {
			t.Errorf("by the window: %v", err)
		}
		wish.Value = "redirect_uri=https://evil.example"
		if err := h.broker.Wish(t.Context(), wish); !errors.Is(err, localapi.ErrBadRequest) {
			t.Errorf("ours: %v", err)
		}
		h.config = func(c *Config) {
			c.Settings = func(string) []quirk.Quirk {
				return []quirk.Quirk{{Name: quirk.Parameters, Value: "audience=c"}}
			}
		}
		h.restart()
		if sent := signIn(); sent != "c" {
			t.Errorf("by the policy: %q", sent)
		}
		for _, quirk := range []string{"unchecked", "audience=x", "parameters=state=1", "x"} {
			if _, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL, Quirks: []string{quirk}}); !errors.Is(err, localapi.ErrBadRequest) {
				t.Errorf("%s: %v", quirk, err)
			}
		}
	})
}
