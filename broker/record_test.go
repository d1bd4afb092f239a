package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
)

// tape is a keychain that remembers what it held after each write, and can fail.
type tape struct {
	*keystore.Memory
	mu     sync.Mutex
	now    map[string]string
	frames []map[string]string
	fail   error // of every call while it is set
}

func newTape() *tape { return &tape{Memory: keystore.NewMemory(), now: map[string]string{}} }

func (s *tape) Get(ctx context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	return s.Memory.Get(ctx, name)
}

func (s *tape) Set(ctx context.Context, name string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.now[name] = string(value)
	s.frames = append(s.frames, maps.Clone(s.now))
	return s.Memory.Set(ctx, name, value)
}

func (s *tape) Delete(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	delete(s.now, name)
	s.frames = append(s.frames, maps.Clone(s.now))
	return s.Memory.Delete(ctx, name)
}

func (s *tape) breaks(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// after is the keychain as a process that was killed after the nth write left it.
func (s *tape) after(t *testing.T, n int) *keystore.Memory {
	t.Helper()
	m := keystore.NewMemory()
	for name, value := range s.frames[n] {
		if err := m.Set(t.Context(), name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// TestKilledAtEachWrite kills the program after each write of a first sign-in, a refresh, a second consent and a
// forgetting, and starts it again on what the keychain then held.
func TestKilledAtEachWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		tape := newTape()
		h.store = tape
		h.open()
		h.mustToken(host("claude"))
		signedIn := len(tape.frames)
		time.Sleep(2 * time.Hour)
		h.mustToken(host("claude"))
		refreshed := len(tape.frames)
		h.mustToken(host("cursor"))
		consented := len(tape.frames)
		if signedIn < 2 || refreshed == signedIn || consented == refreshed {
			t.Fatalf("writes: %d, %d, %d", signedIn, refreshed, consented)
		}
		h.broker.Close()
		// From the refresh's own write on, the grant must work; the issuer has moved on from all before it.
		for n := range tape.frames {
			h.store = tape.after(t, n)
			h.person = forbidden(t)
			h.open()
			grants, err := h.broker.Grants(t.Context(), nil)
			if err != nil {
				t.Fatalf("after write %d: %v", n, err)
			}
			if n+1 >= signedIn {
				if len(grants.Grants) != 1 || len(grants.Grants[0].Consents) == 0 && n+1 > signedIn {
					t.Errorf("after write %d: the grant or its consents are gone: %+v", n, grants.Grants)
				}
			}
			h.broker.Close()
		}
		h.store = tape.after(t, len(tape.frames)-1)
		h.open()
		defer func() { h.broker.Close() }()
		time.Sleep(2 * time.Hour)
		h.mustToken(host("claude"))
	})
}

// TestKilledAroundARefresh kills the program at each step of one refresh. The grant is never lost; only between the
// issuer's rotation and our write must the person sign in again.
func TestKilledAroundARefresh(t *testing.T) {
	for _, test := range []struct {
		step  string
		fault oauthtest.FaultFunc // what becomes of the POST
		dies  bool                // before the write
		works bool
	}{
		{"before the issuer heard of it", oauthtest.Dropped(), true, true},
		{"after the issuer rotated, before the answer", oauthtest.Lost(), true, false},
		{"after the answer, before the write", nil, true, false},
		{"after the write", nil, false, true},
	} {
		t.Run(test.step, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHouse(t)
				tape := newTape()
				h.store = tape
				h.open()
				h.mustToken(host("claude"))
				time.Sleep(2 * time.Hour)
				if test.dies {
					h.issuer.Fault("/token", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
						tape.breaks(fmt.Errorf("killed: %w", keystore.ErrUnavailable)) // nothing is written any more
						if test.fault != nil {
							test.fault(w, r, next)
							return
						}
						next.ServeHTTP(w, r)
					})
				}
				h.token(host("claude"))
				h.store = tape.after(t, len(tape.frames)-1)
				h.broker.Close()
				h.issuer.Fault("/token", nil)

				h.open()
				defer func() { h.broker.Close() }()
				grants, err := h.broker.Grants(t.Context(), nil)
				if err != nil || len(grants.Grants) != 1 || len(grants.Grants[0].Consents) != 1 {
					t.Fatalf("grants = %+v, err %v", grants, err)
				}
				token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionNone})
				switch {
				case test.works && (err != nil || h.good(token) != 200):
					t.Errorf("err = %v", err)
				case !test.works && !errors.Is(err, localapi.ErrSignInRequired):
					t.Errorf("err = %v, want sign-in required", err)
				case !test.works:
					h.mustToken(host("claude")) // signing in again is all it takes
					if h.issuer.Count("/register") != 1 {
						t.Error("the registration was lost")
					}
				}
			})
		})
	}
}

func TestKeychainFailsWhileRefreshing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		tape := newTape()
		h.store = tape
		h.open()
		h.mustToken(host("claude"))
		time.Sleep(2 * time.Hour)
		h.issuer.Fault("/token", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			tape.breaks(keystore.ErrLocked) // it locks between our look and our write
			next.ServeHTTP(w, r)
		})
		h.mustToken(host("claude"))
		grants, err := h.broker.Grants(t.Context(), nil)
		if err != nil || grants.Grants[0].State != localapi.StateUnsaved {
			t.Fatalf("grants = %+v, err %v", grants, err)
		}
		h.issuer.Fault("/token", nil)
		time.Sleep(2 * time.Hour)
		h.mustToken(host("claude")) // the pair in memory goes on working
		tape.breaks(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if grants, _ := h.broker.Grants(t.Context(), nil); grants.Grants[0].State != localapi.StateReady {
			t.Errorf("state = %s", grants.Grants[0].State)
		}
		h.restart()
		defer func() { h.broker.Close() }()
		h.person = forbidden(t)
		h.mustToken(host("claude"))
	})
}

func TestLockedKeychainSpendsNoRefreshToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		tape := newTape()
		h.store = tape
		h.open()
		defer func() { h.broker.Close() }()
		h.mustToken(host("claude"))
		time.Sleep(2 * time.Hour)
		tape.breaks(keystore.ErrLocked)
		_, err := h.token(host("claude"))
		var e *localapi.Error
		if !errors.Is(err, localapi.ErrLocked) || !errors.As(err, &e) || e.Hint == "" {
			t.Errorf("err = %v", err)
		}
		if h.refreshes() != 0 {
			t.Error("the refresh token was posted although its successor could not have been kept")
		}
		if s := h.broker.State(); !strings.Contains(s.Keychain, "locked") || !strings.Contains(s.Keychain, "Unlock your keychain") {
			t.Errorf("keychain = %q; want what is so, and what to do", s.Keychain)
		}
		tape.breaks(nil)
		h.mustToken(host("claude"))
	})
}

func TestStartsOnALockedKeychain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		tape := newTape()
		h.store = tape
		h.open()
		h.mustToken(host("claude"))
		tape.breaks(keystore.ErrLocked)
		h.restart()
		defer func() { h.broker.Close() }()
		if _, err := h.token(host("claude")); !errors.Is(err, localapi.ErrLocked) {
			t.Errorf("err = %v", err)
		}
		tape.breaks(nil)
		h.person = forbidden(t)
		h.mustToken(host("claude"))
	})
}

func TestNewerRecordIsLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t).open()
		h.mustToken(host("claude"))
		h.broker.Close()
		name := item(t, h.store, "grants")
		newer := []byte(`{"v":2,"server":"https://mcp.example.com/mcp","shape":"of tomorrow"}`)
		if err := h.store.Set(t.Context(), name, newer); err != nil {
			t.Fatal(err)
		}
		h.open()
		defer func() { h.broker.Close() }()
		if _, err := h.broker.Grants(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if s := h.broker.State(); !strings.Contains(s.Keychain, "newer") {
			t.Errorf("keychain = %q", s.Keychain)
		}
		if _, err := h.token(host("claude")); !errors.Is(err, localapi.ErrUnavailable) {
			t.Errorf("signing in over a newer record: err = %v", err)
		}
		if got, err := h.store.Get(t.Context(), name); err != nil || string(got) != string(newer) {
			t.Errorf("the record is now %s (%v)", got, err)
		}
	})
}

// item is the keychain item that the index names last in its list of that kind; "" for none.
func item(t *testing.T, store keystore.Store, kind string) string {
	t.Helper()
	b, err := store.Get(t.Context(), "index")
	if errors.Is(err, keystore.ErrNotFound) {
		return ""
	}
	lists := map[string]any{}
	if err == nil {
		err = json.Unmarshal(b, &lists)
	}
	if err != nil {
		t.Fatal(err)
	}
	names, _ := lists[kind].([]any)
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1].(string)
}

// TestRefreshedAtIsKept: when the last refresh was goes into the keychain with whatever is written next, and is there after a
// restart.
func TestRefreshedAtIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, oauthtest.NoRotation()).open()
		defer func() { h.broker.Close() }()
		refreshed := func() time.Time { return h.broker.shownGrants()[0].RefreshedAt }
		h.mustToken(host("claude"))
		time.Sleep(2 * time.Hour)
		h.mustToken(host("claude"))
		last := refreshed()
		if time.Since(last) > time.Minute {
			t.Errorf("it was refreshed %v ago", time.Since(last))
		}
		h.mustToken(host("cursor"))
		h.restart()
		if _, err := h.broker.Grants(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := refreshed(); !got.Equal(last) {
			t.Errorf("after a restart it was refreshed at %v, not %v", got, last)
		}
	})
}
