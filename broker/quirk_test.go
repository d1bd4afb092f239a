package broker

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
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
			if len(asked) != 2 || asked[1].Kind != face.KindQuirk || asked[1].Quirk.Name != localapi.QuirkIssuerSlash || !strings.Contains(asked[1].Why, issuerID+"/") {
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
