//go:build e2e && linux

package headless

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

// TestHeadlessRefreshLoop asks for a token again and again while they run out: each is alive, and the issuer is asked for
// no more of them than were handed out. The issuer rotates refresh tokens and ends the grant when one comes twice.
func TestHeadlessRefreshLoop(t *testing.T) {
	t.Parallel()
	h := rig.New(t)
	site := newDemoSite(t, func(cfg *demo.IssuerConfig) { cfg.AccessTTL = 3 * time.Second }, nil)
	h.App("--policy", h.Write("policy.json", rig.Everyone))
	seen := map[string]bool{}
	began := time.Now()
	for time.Since(began) < 8*time.Second {
		token := h.VK("token", site.server).Must()
		if access, alive := site.inspect(token); !alive || !time.Now().Before(access.Expiry) {
			t.Fatalf("a dead token was handed out: %+v", access)
		}
		seen[token] = true
	}
	// A token is renewed when half of its life is left (docs/decisions/0006).
	if most := int(time.Since(began)/(1500*time.Millisecond)) + 1; len(seen) < 2 || len(seen) > most {
		t.Errorf("%d tokens in %v, want 2 to %d", len(seen), time.Since(began), most)
	}
	if refreshes := site.refreshes(); refreshes != len(seen)-1 || site.signIns() != 1 {
		t.Errorf("%d refreshes and %d sign-ins for %d tokens", refreshes, site.signIns(), len(seen))
	}
}

// expiring starts a site whose first token runs out at once, signs in, and waits until it has.
func expiring(h *rig.Place) *demoSite {
	h.T.Helper()
	var once sync.Once
	site := newDemoSite(h.T, nil, func(r *http.Request, doc map[string]any) int {
		if r.URL.Path == demo.TokenPath {
			once.Do(func() { doc["expires_in"] = 1 })
		}
		return 0
	})
	h.App("--policy", h.Write("policy.json", rig.Everyone))
	h.VK("signin", site.server).Must()
	time.Sleep(time.Until(h.Grants()[0].ExpiresAt))
	return site
}

// TestHeadlessRefreshOnce: however many programs find that the token has run out, the refresh token is posted once.
func TestHeadlessRefreshOnce(t *testing.T) {
	t.Parallel()
	h := rig.New(t)
	site := expiring(h)
	site.onWork(func(r *http.Request) {
		if r.URL.Path == demo.TokenPath {
			time.Sleep(300 * time.Millisecond) // so that many come to wait for it
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
	defer cancel()
	var hosts sync.WaitGroup
	tokens := make(chan string, 200)
	start := make(chan struct{})
	for range cap(tokens) {
		hosts.Go(func() {
			client := h.Client()
			defer client.Close()
			<-start
			token, err := client.Token(ctx, localapi.TokenRequest{Resource: site.server})
			if err != nil {
				t.Error(err)
				return
			}
			tokens <- token.AccessToken.Reveal()
		})
	}
	close(start)
	hosts.Wait()
	close(tokens)
	seen := map[string]int{}
	for token := range tokens {
		seen[token]++
	}
	if len(seen) != 1 || site.refreshes() != 1 || site.signIns() != 1 {
		t.Errorf("%d tokens, %d refreshes, %d sign-ins", len(seen), site.refreshes(), site.signIns())
	}

	// What the policy allows stays allowed, however often it is asked for.
	client := h.Client()
	defer client.Close()
	for range 500 {
		if token, err := client.Token(ctx, localapi.TokenRequest{Resource: site.server}); err != nil || seen[token.AccessToken.Reveal()] == 0 {
			t.Fatalf("another token, or none: %v", err)
		}
	}
}

// TestHeadlessHangUp: a host that ends while its refresh is under way loses nothing, for the issuer has already taken the
// old refresh token.
func TestHeadlessHangUp(t *testing.T) {
	t.Parallel()
	h := rig.New(t)
	site := expiring(h)
	posted, release := make(chan struct{}), make(chan struct{})
	site.onWork(func(r *http.Request) {
		if r.URL.Path == demo.TokenPath {
			posted <- struct{}{}
			<-release
		}
	})
	hang := func(up func()) {
		t.Helper()
		select {
		case <-posted:
		case <-time.After(rig.Patience):
			t.Fatal("no refresh was posted")
		}
		up()
		release <- struct{}{}
	}
	vk := h.Start(rig.Program(t, "vk"), "token", site.server)
	hang(func() {
		vk.Process.Signal(syscall.SIGKILL)
		vk.Wait()
	})
	site.onWork(nil)
	first := h.VK("token", site.server).Must()
	if site.refreshes() != 1 {
		t.Errorf("%d refreshes, want the one that nobody waited for", site.refreshes())
	}
	if vk.Out.String() != "" {
		t.Error("vk was not killed in mid-refresh")
	}

	// The refresh token that came with it is the one that counts: the next refresh works as well.
	site.onWork(func(r *http.Request) {
		if r.URL.Path == demo.TokenPath {
			posted <- struct{}{}
			<-release
		}
	})
	client := h.Client()
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := client.Token(ctx, localapi.TokenRequest{Resource: site.server, Refused: secret.New(first).SHA256()})
		ended <- err
	}()
	hang(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the host that hung up got %v", err)
		}
	})
	site.onWork(nil)
	second := h.VK("token", site.server).Must()
	if _, alive := site.inspect(second); !alive || second == first || site.refreshes() != 2 || site.signIns() != 1 {
		t.Errorf("alive: %v, another: %v, %d refreshes, %d sign-ins", alive, second != first, site.refreshes(), site.signIns())
	}
}
