package broker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

func readAll(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

func denied(t *testing.T, err error, words string, after time.Duration) {
	t.Helper()
	var e *localapi.Error
	if !errors.As(err, &e) || !errors.Is(err, localapi.ErrConsentDenied) || !strings.Contains(e.Message, words) || e.RetryAfter != after {
		t.Errorf("err = %v (%+v), want %q again after %v", err, e, words, after)
	}
}

func TestQuietRequestAsksNobody(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		quiet := localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionNone}
		if _, err := h.broker.Token(t.Context(), host("claude"), quiet); !errors.Is(err, localapi.ErrSignInRequired) {
			t.Errorf("err = %v", err)
		}
		h.mustToken(host("claude"))
		h.person = forbidden(t)
		if _, err := h.broker.Token(t.Context(), host("cursor"), quiet); !errors.Is(err, localapi.ErrConsentRequired) {
			t.Errorf("err = %v", err)
		}
		if _, err := h.broker.Token(t.Context(), host("claude"), quiet); err != nil {
			t.Error(err)
		}
	})
}

func TestAskAnswersAtOnce(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		h.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
			time.Sleep(30 * time.Second)
			return always(ctx, q)
		}
		ask := localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionAsk}
		began := time.Now()
		for range 3 {
			_, err := h.broker.Token(t.Context(), host("cursor"), ask)
			hinted(t, err, localapi.ErrConsentRequired, "cursor was not allowed to use mcp.example.com yet", "Valet Key asks about it now: answer there, then try again")
			if time.Since(began) != 0 {
				t.Fatalf("after %v", time.Since(began))
			}
		}
		time.Sleep(time.Minute)
		if n := len(h.questions()); n != 2 {
			t.Errorf("%d questions, want 2", n)
		}
		if _, err := h.broker.Token(t.Context(), host("cursor"), ask); err != nil {
			t.Error(err)
		}
	})
}

// TestAskSaysWhatIsSo: a host that does not wait is told what happens meanwhile, and what does not.
func TestAskSaysWhatIsSo(t *testing.T) {
	ask := localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionAsk}
	asking := "Valet Key asks about it now: answer there, then try again"
	inHouse(t, func(t *testing.T, h *house) {
		person := func(answers func(context.Context, face.Question) (face.Answer, error)) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.person = answers
		}
		person(silent)
		missing := func(name string) error {
			t.Helper()
			_, err := h.broker.Token(t.Context(), host(name), ask)
			return err
		}
		hinted(t, missing("claude"), localapi.ErrSignInRequired, "nobody signed in to mcp.example.com yet", asking)
		time.Sleep(121 * time.Second)
		person(always)
		h.mustToken(host("cursor"))
		person(no)
		hinted(t, missing("claude"), localapi.ErrConsentRequired, "claude was not allowed to use mcp.example.com yet", asking)
		time.Sleep(time.Second)
		denied(t, missing("claude"), "said no to this a moment ago", 59*time.Second)
		time.Sleep(60 * time.Second)
		person(silent)
		for range 2 {
			hinted(t, missing("claude"), localapi.ErrConsentRequired, "claude was not allowed to use mcp.example.com yet", asking)
			time.Sleep(121 * time.Second)
		}
		denied(t, missing("claude"), "two of its questions were not answered", 5*time.Minute-time.Second)
		if n := len(h.questions()); n != 5 {
			t.Errorf("%d questions", n)
		}
	})
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		h.open()
		h.mustToken(host("claude"))
		h.broker.Close()
		h.config = func(c *Config) { c.Ask = nil }
		h.open()
		defer func() { h.broker.Close() }()
		_, err := h.broker.Token(t.Context(), host("cursor"), ask)
		hinted(t, err, localapi.ErrConsentRequired, "there is nobody to ask", "run valetkey with a display, or in a terminal with --headless, or write it down for --policy")
	})
}

// hinted checks an error of a kind: what it says and which hint it gives.
func hinted(t *testing.T, err, kind error, says, hint string) {
	t.Helper()
	var e *localapi.Error
	if !errors.As(err, &e) || !errors.Is(err, kind) || !strings.Contains(e.Message, says) || e.Hint != hint {
		t.Errorf("%+v, want %v: %s; %s", err, kind, says, hint)
		if e != nil {
			t.Errorf("its hint: %s", e.Hint)
		}
	}
}

func TestSameQuestionIsShownOnce(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		h.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
			time.Sleep(3 * time.Second)
			return yes(localapi.ModeOnce)(ctx, q)
		}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := h.token(host("cursor")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := len(h.questions()); n != 2 {
			t.Errorf("%d questions, want 2", n)
		}
		h.mustToken(host("cursor"))
		if n := len(h.questions()); n != 3 {
			t.Error("once is for one token only")
		}
	})
}

func TestPause(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		h.person = func(context.Context, face.Question) (face.Answer, error) {
			return face.Answer{Answered: true, Pause: true}, nil
		}
		h.token(host("cursor"))
		h.person = always
		h.token(host("claude"), "files:write") // a yes that it has must not help it
		h.person = func(context.Context, face.Question) (face.Answer, error) {
			return face.Answer{Answered: true, Pause: true}, nil
		}
		h.token(host("claude"), "admin")
		time.Sleep(48 * time.Hour)
		h.person = forbidden(t)
		for _, name := range []string{"claude", "cursor"} {
			_, err := h.token(host(name))
			denied(t, err, "paused", 0)
		}
		if n := len(h.broker.State().Paused); n != 2 {
			t.Errorf("%d paused hosts", n)
		}
		h.person = always
		if err := h.broker.Wish(t.Context(), face.WishResume{Host: host("cursor").Host.Key}); err != nil {
			t.Fatal(err)
		}
		h.mustToken(host("cursor"))
	})
}

func TestModesFollowAssurance(t *testing.T) {
	key := func(level peer.Level) peer.Host { return peer.Host{Key: "k", Level: level, Instance: "1:2"} }
	for _, test := range []struct {
		host peer.Host
		want []string
	}{
		{peer.Host{}, []string{"once"}},
		{peer.Host{Instance: "1:2"}, []string{"once"}},
		{peer.Host{Instance: "1:2", Level: peer.SelfReported}, []string{"once", "running"}},
		{key(peer.Unknown), []string{"once"}},
		{key(peer.SelfReported), []string{"once", "running", "always"}},
		{key(peer.Path), []string{"once", "running", "hour", "always"}},
		{key(peer.SystemPath), []string{"once", "running", "hour", "always"}},
	} {
		if got := modes(test.host); !slices.Equal(got, test.want) {
			t.Errorf("modes(%+v) = %v, want %v", test.host, got, test.want)
		}
	}
}

func TestUpdatedProgramIsAskedAboutAgain(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		program := func(hash string) *peer.Peer {
			return &peer.Peer{Host: peer.Host{Key: "exe:/home/p/agent#" + hash, Base: "exe:/home/p/agent", Name: "agent", Level: peer.Path, Instance: "1:2"}}
		}
		h.mustToken(program("aa"))
		h.mustToken(program("bb"))
		if q := h.questions(); len(q) != 2 || q[1].Why != "This program was updated or changed since you allowed it; keep its access?" {
			t.Fatalf("questions = %+v", q)
		}
		grants, _ := h.broker.Grants(t.Context(), nil)
		if c := grants.Grants[0].Consents; len(c) != 1 || c[0].Host != "exe:/home/p/agent#bb" {
			t.Errorf("consents = %+v", c)
		}
	})
}

func TestHourEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		h.person = yes(localapi.ModeHour)
		h.open()
		defer func() { h.broker.Close() }()
		h.mustToken(host("claude"))
		time.Sleep(59 * time.Minute)
		h.mustToken(host("claude"))
		if len(h.questions()) != 1 {
			t.Error("asked within the hour")
		}
		time.Sleep(2 * time.Minute)
		h.mustToken(host("claude"))
		if len(h.questions()) != 2 {
			t.Error("not asked after the hour")
		}
	})
}

func TestRevokedConsentIsAskedForAgain(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		if err := h.broker.Wish(t.Context(), face.WishRevoke{Resource: serverURL, Host: host("claude").Host.Key}); err != nil {
			t.Fatal(err)
		}
		h.restart()
		h.mustToken(host("claude"))
		if len(h.questions()) != 2 {
			t.Error("the consent outlived its revocation")
		}
	})
}

func TestNobodyToAsk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		h.config = func(c *Config) { c.Ask = nil }
		h.open()
		defer func() { h.broker.Close() }()
		var e *localapi.Error
		if _, err := h.token(host("claude")); !errors.Is(err, localapi.ErrConsentRequired) || !errors.As(err, &e) || e.Hint == "" {
			t.Errorf("err = %v", err)
		}
		h.broker.Close()
		h.config, h.person = nil, func(context.Context, face.Question) (face.Answer, error) {
			return face.Answer{}, errors.New("no window can be shown")
		}
		h.open()
		if _, err := h.token(host("claude")); !errors.Is(err, localapi.ErrConsentRequired) || !strings.Contains(err.Error(), "no window") {
			t.Errorf("err = %v", err)
		}
	})
}
