package broker

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// instance names the run of a process that lives; consents for runs that have ended are dropped.
func instance(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	name := fmt.Sprintf("%d:%s", pid, fields[19])
	if !peer.Running(name) {
		t.Fatalf("%s names nothing that runs", name)
	}
	return name
}

// TestForwardedOnce: a yes for once holds for this run of the host as long as its token, and no longer than an hour.
func TestForwardedOnce(t *testing.T) {
	for _, ttl := range []time.Duration{20 * time.Minute, 24 * time.Hour} {
		t.Run(fmt.Sprint(ttl), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHouse(t, oauthtest.AccessTTL(ttl)).open()
				defer func() { h.broker.Close() }()
				h.person = yes(localapi.ModeOnce)
				from := host("claude")
				from.Host.Instance = instance(t, os.Getpid())
				first := h.mustForward(from)
				for range 5 {
					if again := h.mustForward(from); !again.AccessToken.Equal(first.AccessToken) {
						t.Error("another token without need")
					}
				}
				if len(h.questions()) != 1 || h.tokenLines() != 1 {
					t.Errorf("%d questions, %d lines in the log; want one of each", len(h.questions()), h.tokenLines())
				}
				other := host("claude")
				other.Host.Instance = instance(t, os.Getppid())
				h.mustForward(other)
				if len(h.questions()) != 2 {
					t.Error("another run of the host was not asked about")
				}
				asked := len(h.questions())
				h.mustToken(from)
				if len(h.questions()) != asked+1 {
					t.Error("what was allowed once by way of the gateway gave the host itself a token")
				}
				time.Sleep(min(ttl, time.Hour) + time.Second)
				asked = len(h.questions())
				h.mustForward(from)
				if len(h.questions()) != asked+1 {
					t.Error("the yes outlived its token, or its hour")
				}
			})
		})
	}
}

// TestForwardedOnceLeavesOtherConsents: a yes for once beside one for this run of the host takes nothing from it.
func TestForwardedOnceLeavesOtherConsents(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		from := host("claude")
		from.Host.Instance = instance(t, os.Getpid())
		h.person = yes(localapi.ModeRunning, "files:read")
		h.mustForward(from)
		h.person = yes(localapi.ModeOnce)
		wide, err := h.broker.Forward(t.Context(), from, localapi.TokenRequest{Resource: serverURL, Scopes: []string{"files:write"}}, nil)
		if err != nil || wide.Scope != "files:write" {
			t.Fatalf("%+v, %v", wide, err)
		}
		time.Sleep(2 * time.Hour)
		h.person = forbidden(t)
		if token := h.mustForward(from); token.Scope != "files:read" {
			t.Errorf("scope %q after the yes for once was over", token.Scope)
		}
	})
}
