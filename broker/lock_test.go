package broker

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

// gate is a call out that stands still, once it was closed: the first to come says so and waits.
type gate struct {
	mu      sync.Mutex
	closed  string
	reached chan struct{}
	opened  chan struct{}
}

func (g *gate) pass(call string) {
	g.mu.Lock()
	mine := g.closed == call
	if mine {
		g.closed = ""
	}
	g.mu.Unlock()
	if mine {
		close(g.reached)
		<-g.opened
	}
}

// slow is a keychain behind a gate.
type slow struct {
	*keystore.Memory
	*gate
}

func (s slow) Get(ctx context.Context, name string) ([]byte, error) {
	s.pass("keychain get")
	return s.Memory.Get(ctx, name)
}

func (s slow) Set(ctx context.Context, name string, value []byte) error {
	s.pass("keychain set")
	return s.Memory.Set(ctx, name, value)
}

func (s slow) Delete(ctx context.Context, name string) error {
	s.pass("keychain delete")
	return s.Memory.Delete(ctx, name)
}

// TestNobodyWaitsForACallOut: whatever the head calls stands still (the keychain, an issuer, the person, the policy, who draws
// the lists, a request that is being ended), and everybody whom it does not concern goes on.
func TestNobodyWaitsForACallOut(t *testing.T) {
	forget := func(h *house) { h.broker.Wish(h.t.Context(), face.WishForget{Resource: serverURL}) }
	refuse := func(h *house) {
		h.broker.Token(h.t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Scopes: []string{"files:read"}})
	}
	newcomer := func(h *house) { h.token(host("cursor")) }
	signIn := func(h *house) {
		h.broker.SignIn(h.t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL})
	}
	for call, do := range map[string]func(h *house){
		"keychain get":    refuse,
		"keychain set":    newcomer,
		"keychain delete": forget,
		"issuer":          refuse,
		"browser":         signIn,
		"ask":             newcomer,
		"policy":          newcomer,
		"settings":        signIn,
		"clients":         signIn,
		"changed":         newcomer,
		"withdrawn":       forget,
	} {
		t.Run(call, func(t *testing.T) {
			g := &gate{reached: make(chan struct{}), opened: make(chan struct{})}
			h := newHouse(t)
			h.store = slow{keystore.NewMemory(), g}
			fault := func(call string) oauthtest.FaultFunc {
				return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					g.pass(call)
					next.ServeHTTP(w, r)
				}
			}
			h.issuer.Fault("/token", fault("issuer"))
			h.issuer.Fault("/authorize", fault("browser"))
			h.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
				g.pass("ask")
				return always(ctx, q)
			}
			h.config = func(c *Config) {
				c.OnChange = func() { g.pass("changed") }
				c.Policy = func(face.Question) (face.Answer, string, bool) { g.pass("policy"); return face.Answer{}, "", false }
				c.Settings = func(string) []quirk.Quirk { g.pass("settings"); return nil }
				c.Clients = func(string) (client.Client, bool) { g.pass("clients"); return client.Client{}, false }
			}
			h.open()
			defer func() { h.broker.Close() }()
			h.mustToken(host("claude"))
			if _, err := h.broker.Forward(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL}, func(error) { g.pass("withdrawn") }); err != nil {
				t.Fatal(err)
			}
			g.mu.Lock()
			g.closed = call
			g.mu.Unlock()
			over := make(chan struct{})
			go func() {
				defer close(over)
				do(h)
			}()
			select {
			case <-g.reached:
			case <-time.After(10 * time.Second):
				t.Fatal("the call was never made")
			}
			others := make(chan struct{})
			go func() {
				defer close(others)
				h.broker.State()
				h.broker.Status(t.Context())
				h.broker.Grants(t.Context(), nil)
				h.broker.Wish(t.Context(), face.WishResume{Host: "nobody"})
				h.broker.Wish(t.Context(), face.WishCancel{ID: "none"})
				h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionNone})
				h.broker.Token(t.Context(), host("zed"), localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionNone})
			}()
			select {
			case <-others:
			case <-time.After(10 * time.Second):
				t.Error("somebody waits for a call out")
			}
			close(g.opened)
			<-over
		})
	}
}
