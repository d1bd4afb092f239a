package mcpauth

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

func TestLives(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		got, left, need time.Duration
		want            bool
	}{
		{0, time.Hour, time.Minute, true},
		{0, time.Hour, 2 * time.Hour, true}, // no token of this issuer lives longer
		{-time.Hour, 61 * time.Second, time.Minute, true},
		{-time.Hour, 59 * time.Second, time.Minute, false},
		{-5 * time.Second, 6 * time.Second, time.Minute, true}, // short-lived: half of it
		{-5 * time.Second, 4 * time.Second, time.Minute, false},
		{-time.Hour, time.Second, 0, true},
		{-time.Hour, 0, 0, false},
		{-time.Hour, -time.Second, 0, false},
	} {
		h := &held{&localapi.Token{ExpiresAt: now.Add(test.left)}, now.Add(test.got)}
		if got := h.lives(now, test.need); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
	if none := (*held)(nil); none.lives(now, 0) {
		t.Error("no token lives")
	}
	if !(&held{&localapi.Token{}, now}).lives(now, time.Hour) {
		t.Error("a token without an end does not live")
	}
}

// TestCannotRenew: a token about to run out is used to its end when there is no other, and then no more.
func TestCannotRenew(t *testing.T) {
	nobody := localapi.NewClient(filepath.Join(t.TempDir(), "agent.sock"))
	for _, test := range []struct {
		left time.Duration
		want bool
	}{{time.Hour, true}, {30 * time.Second, true}, {0, false}} {
		h := New(nobody, localapi.TokenRequest{Resource: "https://mcp.example.com/mcp"})
		h.held = &held{&localapi.Token{AccessToken: secret.New("old"), ExpiresAt: time.Now().Add(test.left)}, time.Now().Add(-time.Hour)}
		if got, err := h.Source(t.Context()).Token(); (err == nil) != test.want || test.want && got.AccessToken != "old" {
			t.Errorf("Source, %v left: %v, %v", test.left, got, err)
		}
		if source, err := h.TokenSource(t.Context()); (source != nil) != test.want || err != nil {
			t.Errorf("TokenSource, %v left: %v, %v", test.left, source, err)
		}
	}
}
