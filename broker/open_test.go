package broker

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/localapi"
)

// newOpenHouse has a server that asks for no sign-in.
func newOpenHouse(t *testing.T) *house {
	h := newHouse(t)
	h.server.Fault("", oauthtest.Body(`{"jsonrpc":"2.0","id":1,"result":{}}`))
	h.server.Fault(oauthtest.ResourcePath, oauthtest.Status(http.StatusNotFound))
	return h
}

func TestOpenServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newOpenHouse(t).open()
		defer func() { h.broker.Close() }()
		if token := h.mustForward(host("claude")); !token.AccessToken.Empty() || token.Resource != serverURL {
			t.Errorf("token for %s", token.Resource)
		}
		q := h.questions()[0]
		if q.Kind != face.KindConsent || q.SignIn || q.Issuer != "" || len(q.Scopes) != 0 || !slices.Equal(q.Notes, []string{openNote}) || len(q.Modes) < 2 {
			t.Errorf("question %+v", q)
		}
		h.restart() // the yes was for always
		h.mustForward(host("claude"))
		if n := len(h.questions()); n != 1 || h.browsers != 0 {
			t.Errorf("%d questions, %d browsers", n, h.browsers)
		}
		grants, err := h.broker.Grants(t.Context(), nil)
		if err != nil || len(grants.Grants) != 1 || grants.Grants[0].State != localapi.StateReady || grants.Grants[0].Issuer != "" || len(grants.Grants[0].Consents) != 1 {
			t.Errorf("grants %+v, %v", grants, err)
		}
		h.person = no
		if _, err := h.forward(host("cursor")); !errors.Is(err, localapi.ErrConsentDenied) {
			t.Errorf("another program: %v", err)
		}
		h.person = always
		if forgotten, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL}); err != nil || len(forgotten.NotRevoked) != 0 {
			t.Errorf("forgotten %+v, %v", forgotten, err)
		}
	})
}

// A yes for once holds for this run of the host, and no question is put for a host that may not wait.
func TestOpenServerOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newOpenHouse(t).open()
		defer func() { h.broker.Close() }()
		h.person = yes(localapi.ModeOnce)
		h.mustForward(host("claude"))
		h.mustForward(host("claude"))
		if n := len(h.questions()); n != 1 {
			t.Errorf("%d questions", n)
		}
		quiet := localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionNone}
		if _, err := h.broker.Forward(t.Context(), host("cursor"), quiet, nil); !errors.Is(err, localapi.ErrConsentRequired) {
			t.Error(err)
		}
	})
}

// There is no token of such a server, so nobody gets an empty one.
func TestOpenServerHasNoToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newOpenHouse(t).open()
		defer func() { h.broker.Close() }()
		for range 2 {
			if _, err := h.token(host("claude")); !errors.Is(err, localapi.ErrDiscovery) {
				t.Error(err)
			}
			h.mustForward(host("claude"))
		}
	})
}

// A server that begins to ask is one to sign in to; what was allowed without a token does not hold with one.
func TestOpenServerBeginsToAsk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newOpenHouse(t).open()
		defer func() { h.broker.Close() }()
		ended := func(err error) { t.Errorf("ended with %v", err) }
		if _, err := h.broker.Forward(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL}, ended); err != nil {
			t.Fatal(err)
		}
		h.server.Fault("", nil)
		h.server.Fault(oauthtest.ResourcePath, nil)
		challenged := localapi.TokenRequest{Resource: serverURL, Challenges: []string{`Bearer resource_metadata="` + h.server.MetadataURL() + `"`}}
		token, err := h.broker.Forward(t.Context(), host("claude"), challenged, ended)
		if err != nil || h.good(token) != http.StatusOK {
			t.Fatalf("%+v, %v", token, err)
		}
		if q := h.questions(); len(q) != 2 || !q[1].SignIn || q[1].Issuer != issuerID {
			t.Errorf("questions %+v", q)
		}
		grants, err := h.broker.Grants(t.Context(), nil)
		if err != nil || len(grants.Grants) != 1 || grants.Grants[0].Issuer != issuerID {
			t.Errorf("grants %+v, %v", grants, err)
		}
	})
}
