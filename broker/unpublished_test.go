package broker

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
)

const serverOrigin = "https://mcp.example.com"

// newOldHouse has a server of MCP 2025-03-26, which publishes nothing and is its own issuer.
func newOldHouse(t *testing.T, opts ...oauthtest.IssuerOption) *house {
	h := &house{t: t, world: oauthtest.NewWorld(t), store: keystore.NewMemory(), person: always}
	h.issuer = h.world.AddIssuer(serverOrigin, opts...)
	h.server = h.world.AddServer(serverURL, serverOrigin)
	h.server.Fault(oauthtest.ResourcePath, oauthtest.Status(http.StatusNotFound))
	h.server.Challenge("Bearer")
	return h
}

// BCK-1, BCK-4: the person is told, the record remembers, and refresh and forgetting find the issuer again.
func TestServerThatNamesNoIssuer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newOldHouse(t).open()
		defer func() { h.broker.Close() }()
		first := h.mustToken(host("claude"))
		if h.good(first) != http.StatusOK || first.Issuer != serverOrigin || first.Resource != serverURL {
			t.Errorf("token for %s from %s", first.Resource, first.Issuer)
		}
		q := h.questions()[0]
		if !q.Unpublished || q.Issuer != serverOrigin || !slices.Contains(q.Notes, "This server does not say who issues its tokens, as MCP has wanted since June 2025. "+
			"Valet Key would take the server itself for the issuer, which nobody else confirms.") {
			t.Errorf("question %+v", q)
		}
		h.restart()
		second := h.mustToken(host("claude"))
		if h.good(second) != http.StatusOK || second.AccessToken.Equal(first.AccessToken) || len(h.questions()) != 1 {
			t.Errorf("no new token after a restart; %d questions", len(h.questions()))
		}
		if grants, err := h.broker.Grants(t.Context(), nil); err != nil || !grants.Grants[0].Unpublished {
			t.Errorf("grants %+v, %v", grants, err)
		}
		if _, err := h.token(host("cursor")); err != nil {
			t.Error(err)
		}
		if q := h.questions()[1]; q.Kind != face.KindConsent || !q.Unpublished {
			t.Errorf("the question about another program does not say so: %+v", q)
		}
		forgotten, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL})
		if err != nil || len(forgotten.Grants) != 1 || len(forgotten.NotRevoked) != 0 {
			t.Errorf("forgotten %+v, %v", forgotten, err)
		}
	})
}

// A token that such a server refuses says nothing new about its issuer.
func TestRefusedByAServerThatNamesNoIssuer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newOldHouse(t).open()
		defer func() { h.broker.Close() }()
		first := h.mustToken(host("claude"))
		h.server.Refuse(first.AccessToken.Reveal())
		second, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Refused: first.AccessToken.SHA256(), Challenges: []string{"Bearer"}})
		if err != nil || second.AccessToken.Equal(first.AccessToken) || h.browsers != 1 {
			t.Errorf("%v after %d browsers", err, h.browsers)
		}
	})
}

// BCK-2, BCK-3: nothing at the origin either, so the endpoints are taken for granted; PKCE is sent all the same.
func TestServerWithDefaultEndpoints(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newOldHouse(t)
		h.world.Fault(serverOrigin+"/.well-known/oauth-authorization-server", oauthtest.Status(http.StatusNotFound))
		h.open()
		defer func() { h.broker.Close() }()
		if token := h.mustToken(host("claude")); h.good(token) != http.StatusOK {
			t.Error("the token is no good")
		}
		if seen := h.issuer.Seen("/authorize"); len(seen) == 0 || seen[0].Values.Get("code_challenge_method") != "S256" || seen[0].Values.Get("resource") != serverURL {
			t.Errorf("authorization requests %+v", seen)
		}
	})
}

// ISS-8: nothing says whether that issuer names itself in its answers; if it does, it must be the origin.
func TestDefaultEndpointsWithAnotherIss(t *testing.T) {
	for iss, is := range map[string]error{"": nil, serverOrigin: nil, serverOrigin + "/": localapi.ErrIssuer, "https://evil.example": localapi.ErrIssuer} {
		bubble(t, func(t *testing.T) {
			h := newOldHouse(t, oauthtest.Iss(iss))
			h.world.Fault(serverOrigin+"/.well-known/oauth-authorization-server", oauthtest.Status(http.StatusNotFound))
			h.open()
			defer func() { h.broker.Close() }()
			if _, err := h.token(host("claude")); !errors.Is(err, is) {
				t.Errorf("iss %q: %v", iss, err)
			}
		})
	}
}

func TestNoIssuerAtTheOrigin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		h.server.Fault(oauthtest.ResourcePath, oauthtest.Status(http.StatusNotFound))
		h.server.Challenge("Bearer")
		h.open()
		defer func() { h.broker.Close() }()
		_, err := h.token(host("claude"))
		if !errors.Is(err, localapi.ErrIssuer) || !strings.Contains(err.Error(), "publishes no metadata, and its origin does not register programs") {
			t.Error(err)
		}
		if h.browsers != 0 || len(h.questions()) != 1 {
			t.Errorf("%d browsers, %d questions", h.browsers, len(h.questions()))
		}
	})
}

// BCK-4: what stands in the way of the metadata must not make a server one of 2025-03-26.
func TestNotEveryMissMeansAnOldServer(t *testing.T) {
	for name, spoil := range map[string]func(h *house){
		"out of order": func(h *house) { h.server.Fault(oauthtest.ResourcePath, oauthtest.Status(http.StatusBadGateway)) },
		"broken":       func(h *house) { h.server.Fault(oauthtest.ResourcePath, oauthtest.Body("{")) },
		"another's": func(h *house) {
			h.server.Fault(oauthtest.ResourcePath, oauthtest.Body(`{"resource":"https://evil.example"}`))
		},
		"a page": func(h *house) {
			h.server.Fault(oauthtest.ResourcePath, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.Write([]byte("<html>")) })
		},
		"it names a place":    func(h *house) { h.server.Challenge(`Bearer resource_metadata="` + serverOrigin + `/prm"`) },
		"asks for a password": func(h *house) { h.server.Challenge(`Basic realm="x"`) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newOldHouse(t)
				spoil(h)
				h.open()
				defer func() { h.broker.Close() }()
				if _, err := h.token(host("claude")); err == nil || len(h.questions()) != 0 || h.issuer.Count("/register") != 0 {
					t.Errorf("%v after %d questions", err, len(h.questions()))
				}
			})
		})
	}
}
