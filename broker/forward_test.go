package broker

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/broker/asking"
	"github.com/valetkey/valetkey/broker/signin"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

func (h *house) forward(from *peer.Peer) (*localapi.Token, error) {
	return h.broker.Forward(h.t.Context(), from, localapi.TokenRequest{Resource: serverURL}, nil)
}

func (h *house) mustForward(from *peer.Peer) *localapi.Token {
	h.t.Helper()
	token, err := h.forward(from)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

func (h *house) ask(from *peer.Peer) (*localapi.Token, error) { return h.token(from) }

// tokenLines counts the activity log's lines about tokens.
func (h *house) tokenLines() int {
	n := 0
	for _, e := range h.broker.State().Activity {
		if e.Event == "token" {
			n++
		}
	}
	return n
}

// TestActivitySaysWhy: each line about a token says why the program got it.
func TestActivitySaysWhy(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		rule := func() string { return h.broker.State().Activity[0].Rule }
		h.mustToken(host("claude"))
		if got := rule(); got != "signed in" {
			t.Errorf("the first token: %q", got)
		}
		h.mustToken(host("claude"))
		if got := rule(); got != "the token held is still good" {
			t.Errorf("the same token: %q", got)
		}
		time.Sleep(2 * time.Hour)
		h.mustToken(host("claude"))
		if got := rule(); got != "refreshed" {
			t.Errorf("the next token: %q", got)
		}
	})
}

func TestForwardLogsWhatIsRefused(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person = no
		for i := range 2 {
			if _, err := h.forward(host("claude")); !errors.Is(err, localapi.ErrConsentDenied) {
				t.Fatal(err)
			}
			if h.tokenLines() != i+1 {
				t.Errorf("%d lines in the log", h.tokenLines())
			}
		}
	})
}

// TestRerun: a header helper that is run again within seconds gets another token, once.
func TestRerun(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		ask := func(from *peer.Peer, rerun int) string {
			t.Helper()
			token, err := h.broker.Token(t.Context(), from, localapi.TokenRequest{Resource: serverURL, RerunS: rerun, Interaction: localapi.InteractionAsk})
			if err != nil {
				t.Fatal(err)
			}
			return token.AccessToken.SHA256()
		}
		codex := host("codex")
		h.mustToken(codex) // consent and sign-in
		first := ask(codex, 10)
		time.Sleep(10 * time.Second)
		if ask(codex, 10) != first || h.refreshes() != 0 {
			t.Error("ten seconds later it counted as refused")
		}
		second := codexInAnotherRun()
		if ask(second, 10) != first {
			t.Error("another run of the host counted as a rerun")
		}
		time.Sleep(5 * time.Second)
		renewed := ask(codex, 10)
		if renewed == first || h.refreshes() != 1 {
			t.Errorf("a rerun got the same token; %d refreshes", h.refreshes())
		}
		for range 3 { // and nobody is asked to sign in because of a guess
			if ask(codex, 10) != renewed || h.refreshes() != 1 {
				t.Error("a rerun after that one got yet another token")
			}
		}
		if ask(codex, 0) != renewed {
			t.Error("a request that is no helper's counted as a rerun")
		}
		time.Sleep(time.Minute)
		if ask(codex, 10) != renewed || ask(codex, 10) == renewed || h.refreshes() != 2 {
			t.Errorf("a minute later it starts anew; %d refreshes", h.refreshes())
		}
		if len(h.questions()) != 1 {
			t.Errorf("%d questions", len(h.questions()))
		}
	})
}

// TestRerunIsNoRefusal: what was only guessed does not make the next refusal a reason to sign in again.
func TestRerunIsNoRefusal(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		codex := host("codex")
		h.mustToken(codex)
		request := localapi.TokenRequest{Resource: serverURL, RerunS: 10}
		var token *localapi.Token
		for range 2 {
			var err error
			if token, err = h.broker.Token(t.Context(), codex, request); err != nil {
				t.Fatal(err)
			}
		}
		h.person = forbidden(t)
		again, err := h.broker.Token(t.Context(), codex, localapi.TokenRequest{Resource: serverURL, Refused: token.AccessToken.SHA256()})
		if err != nil || again.AccessToken.Equal(token.AccessToken) || h.browsers != 1 {
			t.Errorf("%v, %d browsers", err, h.browsers)
		}
	})
}

// TestStepUpKeepsTheNarrowToken: STP-9.
func TestStepUpKeepsTheNarrowToken(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person = yes(localapi.ModeAlways, "files:read")
		narrow := h.mustToken(host("claude"))
		h.person = no
		demand := localapi.TokenRequest{Resource: serverURL, Refused: narrow.AccessToken.SHA256(),
			Challenges: []string{`Bearer error="insufficient_scope", scope="files:write"`}}
		if _, err := h.broker.Token(t.Context(), host("claude"), demand); !errors.Is(err, localapi.ErrConsentDenied) {
			t.Fatal(err)
		}
		if token := h.mustToken(host("claude")); !token.AccessToken.Equal(narrow.AccessToken) || h.refreshes() != 0 {
			t.Errorf("the narrow token is gone; %d refreshes", h.refreshes())
		}
	})
}

func codexInAnotherRun() *peer.Peer {
	p := host("codex")
	p.Host.Instance = "2:codex"
	return p
}

// TestAskedDuringTheSignIn: who asks again while the person is in the browser gets what they allowed already. It runs on
// the real clock: a bubble's stands still while the listener for the browser is open.
func TestAskedDuringTheSignIn(t *testing.T) {
	again := host("claude")
	again.Host.Instance = "2:claude"
	for _, c := range []struct {
		mode      string
		second    *peer.Peer
		ask       func(*house, *peer.Peer) (*localapi.Token, error)
		questions int
	}{
		{localapi.ModeAlways, host("claude"), (*house).forward, 1},
		{localapi.ModeAlways, host("claude"), (*house).ask, 1},
		{localapi.ModeOnce, host("claude"), (*house).forward, 1},
		{localapi.ModeOnce, host("claude"), (*house).ask, 2},
		{localapi.ModeAlways, again, (*house).forward, 1},
		{localapi.ModeOnce, again, (*house).forward, 2},
		{localapi.ModeRunning, again, (*house).forward, 2},
		{localapi.ModeAlways, host("cursor"), (*house).forward, 2},
	} {
		h := newHouse(t)
		h.person = yes(c.mode)
		browsing, signedIn := make(chan struct{}), make(chan struct{})
		h.issuer.Fault("/authorize", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodGet {
				close(browsing)
			}
			<-signedIn
			next.ServeHTTP(w, r)
		})
		h.open()
		results := make(chan error, 2)
		go func() { _, err := h.forward(host("claude")); results <- err }()
		<-browsing
		go func() { _, err := c.ask(h, c.second); results <- err }()
		for joined := 0; joined < 2; {
			time.Sleep(time.Millisecond)
			joined = 0
			h.broker.signIns.Agreed(&signin.Target{Server: serverURL, Account: defaultAccount}, func(signin.Allowed) bool { joined++; return false })
		}
		close(signedIn)
		for range 2 {
			if err := <-results; err != nil {
				t.Errorf("%s, %s: %v", c.mode, c.second.Host.Instance, err)
			}
		}
		if len(h.questions()) != c.questions || h.browsers != 1 {
			t.Errorf("%s, %s: %d questions, %d browsers", c.mode, c.second.Host.Instance, len(h.questions()), h.browsers)
		}
		h.broker.Close()
	}
}

// TestSignedInDuringDiscovery: who was still looking for the server's issuer when another request was through looks
// again before it asks.
func TestSignedInDuringDiscovery(t *testing.T) {
	h := newHouse(t)
	looking, found := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	h.server.Fault("", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if first.CompareAndSwap(false, true) {
			close(looking)
			<-found
		}
		next.ServeHTTP(w, r)
	})
	h.open()
	defer func() { h.broker.Close() }()
	late := make(chan error, 1)
	go func() { _, err := h.forward(host("claude")); late <- err }()
	<-looking
	h.mustForward(host("claude"))
	close(found)
	if err := <-late; err != nil || len(h.questions()) != 1 || h.browsers != 1 {
		t.Errorf("%v; %d questions, %d browsers", err, len(h.questions()), h.browsers)
	}
}

// TestSignedInDuringTheQuestion: who is answered only after another's sign-in is through opens no second page. On the real
// clock, as above.
func TestSignedInDuringTheQuestion(t *testing.T) {
	h := newHouse(t)
	browsing, asked, signedIn := make(chan struct{}), make(chan struct{}), make(chan struct{})
	h.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
		if q.Host.Name == "cursor" {
			close(asked)
			<-signedIn
		}
		return always(ctx, q)
	}
	h.issuer.Fault("/authorize", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet {
			close(browsing)
			<-asked
		}
		next.ServeHTTP(w, r)
	})
	h.open()
	defer func() { h.broker.Close() }()
	first, late := make(chan error, 1), make(chan error, 1)
	go func() { _, err := h.token(host("claude")); first <- err }()
	<-browsing
	go func() { _, err := h.token(host("cursor")); late <- err }()
	if err := <-first; err != nil {
		t.Error(err)
	}
	close(signedIn)
	if err := <-late; err != nil || len(h.questions()) != 2 || h.browsers != 1 {
		t.Errorf("%v; %d questions, %d browsers", err, len(h.questions()), h.browsers)
	}
	h.mustToken(host("cursor"))
	if len(h.questions()) != 2 {
		t.Error("the answer was not kept")
	}
}

// TestTakenBackBeforeTheAnswer: a yes for once that is taken back while the token is looked at does not hold on. On the real
// clock, as above.
func TestTakenBackBeforeTheAnswer(t *testing.T) {
	h := newHouse(t)
	h.person = yes(localapi.ModeOnce)
	g := &gate{closed: "keys", reached: make(chan struct{}), opened: make(chan struct{})}
	h.issuer.Fault(demo.JWKSPath, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		g.pass("keys")
		next.ServeHTTP(w, r)
	})
	h.open()
	defer func() { h.broker.Close() }()
	answered, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := h.broker.Forward(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL}, func(err error) { ended <- err })
		answered <- err
	}()
	<-g.reached
	if err := h.broker.Wish(t.Context(), face.WishRevoke{Resource: serverURL, Host: host("claude").Host.Key}); err != nil {
		t.Fatal(err)
	}
	<-ended
	close(g.opened)
	<-answered
	h.person = no
	if _, err := h.forward(host("claude")); !errors.Is(err, localapi.ErrConsentDenied) {
		t.Errorf("the next request: %v", err)
	}
}

// TestWithdrawn: what the person takes back ends what is under way with it, at once, and nothing else.
func TestWithdrawn(t *testing.T) {
	wish := func(w face.Wish) func(*testing.T, *house) {
		return func(t *testing.T, h *house) {
			if err := h.broker.Wish(t.Context(), w); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		take        func(*testing.T, *house)
		kind        error
		says        string
		cursorEnds  bool
		asksWhenNew bool
	}{
		"forgotten in the window": {wish(face.WishForget{Resource: serverURL}), localapi.ErrSignInRequired, "the sign-in to mcp.example.com was forgotten", true, true},
		"forgotten by a program": {func(t *testing.T, h *house) {
			if _, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL}); err != nil {
				t.Fatal(err)
			}
		}, localapi.ErrSignInRequired, "the sign-in to mcp.example.com was forgotten", true, true},
		"consent taken back": {wish(face.WishRevoke{Resource: serverURL, Host: host("claude").Host.Key}), localapi.ErrConsentDenied, "the person took back the consent to use mcp.example.com", false, true},
		"paused": {func(t *testing.T, h *house) {
			h.person = func(context.Context, face.Question) (face.Answer, error) {
				return face.Answer{Answered: true, Pause: true}, nil
			}
			h.token(host("claude"), "admin")
		}, localapi.ErrConsentDenied, "this program is paused: you said that you had not started what it asked for", false, false},
		"changed, twice": {func(_ *testing.T, h *house) {
			h.broker.desk.Suspect(host("claude").Host)
			h.broker.desk.Suspect(host("claude").Host)
		}, localapi.ErrConsentDenied, "this program is paused: it changed between its request and the answer, twice", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, func(t *testing.T, h *house) {
				begin := func(from *peer.Peer) (context.Context, context.CancelFunc) {
					t.Helper()
					ended, end := context.WithCancelCause(t.Context())
					request, over := context.WithCancel(t.Context())
					if _, err := h.broker.Forward(request, from, localapi.TokenRequest{Resource: serverURL}, func(err error) { end(err) }); err != nil {
						t.Fatal(err)
					}
					return ended, over
				}
				stream, _ := begin(host("claude"))
				call, _ := begin(host("claude"))
				done, over := begin(host("claude"))
				cursor, _ := begin(host("cursor"))
				over()
				synctest.Wait()
				c.take(t, h)
				if err := context.Cause(stream); !errors.Is(err, c.kind) || err.Error() != c.says || context.Cause(call) != err {
					t.Errorf("the stream ended with %v, the call with %v", err, context.Cause(call))
				}
				if done.Err() != nil {
					t.Error("a request that was over was ended")
				}
				if (cursor.Err() != nil) != c.cursorEnds {
					t.Errorf("another host's stream: %v", context.Cause(cursor))
				}
				h.broker.uses.mu.Lock()
				left := len(h.broker.uses.underWay)
				h.broker.uses.mu.Unlock()
				if want := map[bool]int{true: 0, false: 1}[c.cursorEnds]; left != want {
					t.Errorf("%d requests are remembered, want %d", left, want)
				}
				asked := len(h.questions())
				h.person = always
				if _, err := h.forward(host("claude")); (err == nil) != c.asksWhenNew || (len(h.questions()) > asked) != c.asksWhenNew {
					t.Errorf("the next message: %v, %d questions more", err, len(h.questions())-asked)
				}
			})
		})
	}
}

// TestPauseMissesNoRequest: a request that is let through while its host is being paused is ended.
func TestPauseMissesNoRequest(t *testing.T) {
	h := newHouse(t).open()
	defer func() { h.broker.Close() }()
	claude := host("claude")
	h.mustForward(claude)
	for round := range 30000 {
		ended, end := context.WithCancelCause(t.Context())
		started, answered := make(chan struct{}), make(chan error)
		go func() {
			close(started)
			_, err := h.broker.Forward(t.Context(), claude, localapi.TokenRequest{Resource: serverURL}, func(err error) { end(err) })
			answered <- err
		}()
		<-started
		for began, wait := time.Now(), time.Duration(round%60)*50*time.Nanosecond; time.Since(began) < wait; { // each moment of its way is met
		}
		h.broker.desk.Suspect(claude.Host)
		h.broker.desk.Suspect(claude.Host)
		if err := <-answered; err == nil && ended.Err() == nil {
			t.Fatal("a request goes on although its host is paused")
		}
		h.broker.desk.Resume(asking.HostID(claude.Host))
		end(nil)
	}
}

// TestNewIssuerEndsNothing: the request that brings in the server's new issuer is under way with a grant that goes for it.
func TestNewIssuerEndsNothing(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		var ended error
		withdrawn := func(err error) { ended = err }
		first, err := h.broker.Forward(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL}, withdrawn)
		if err != nil {
			t.Fatal(err)
		}
		other := h.world.AddIssuer("https://login.example.net")
		h.server.Metadata(func(doc map[string]any) { doc["authorization_servers"] = []string{other.ID()} })
		second, err := h.broker.Forward(t.Context(), host("claude"), localapi.TokenRequest{
			Resource: serverURL, Refused: first.AccessToken.SHA256(), Challenges: []string{`Bearer resource_metadata="` + h.server.MetadataURL() + `"`},
		}, withdrawn)
		if err != nil || second.Issuer != other.ID() || ended != nil {
			t.Fatalf("%+v, %v; ended with %v", second, err, ended)
		}
		if _, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL}); err != nil || ended == nil {
			t.Errorf("%v; ended with %v", err, ended)
		}
	})
}
