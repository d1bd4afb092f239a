package windows

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

// limit ends a test that hangs; nothing waits for it in a run that is right.
const limit = 20 * time.Second

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "window-for-test" {
		os.Exit(window(os.Args[2]))
	}
	os.Exit(m.Run())
}

// awaitMessage waits until there is something to receive, where the system can tell.
var awaitMessage = func() {}

// window is a window process without a display. What it is told it reports in wishes, so that tests see it.
func window(role string) int {
	end, err := inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 9
	}
	conn := face.NewConn(end)
	report := func(what, id string) {
		conn.Send(face.Message{Wish: &face.Wanted{Call: 1, Wish: report{what, id}.wish()}})
	}
	switch role {
	case "deaf":
		time.Sleep(10 * limit) // ends by force
	case "turn-away":
		awaitMessage()
		return 0 // with the message unread
	case "huge":
		end.Write([]byte(strings.Repeat("x", 2<<20)))
	case "chatter":
		end.Write([]byte("{\"hello\":1}\n{\"quit\":true}\n"))
	case "slow":
		time.Sleep(3 * stuck)
	}
	for shown := 0; ; {
		m, err := conn.Receive()
		if err != nil {
			return 0
		}
		if (m.Question != nil || m.Page != "") && role != "hung" && (role != "one" || shown == 0) {
			conn.Send(face.Message{Taken: true})
		}
		if m.Question != nil && role != "hung" && role != "unpainted" && (role != "one" || shown == 0) {
			conn.Send(face.Message{Shown: m.Question.ID})
			shown++
		}
		if m.Page != "" && role != "unpainted" {
			conn.Send(face.Message{Shown: m.Page})
		}
		switch {
		case m.Hello != 0 && role == "stranger":
			conn.Send(face.Message{Hello: m.Hello + 1})
		case m.Hello != 0 && role != "rude":
			conn.Send(face.Message{Hello: m.Hello})
		case m.Quit:
			report("quit", "")
			return 0
		case m.Question != nil && role == "crash":
			return 3
		case m.Question != nil && role == "leave":
			return 0
		case m.Question != nil && role == "answer":
			conn.Send(face.Message{Answer: &face.Answered{ID: m.Question.ID, Answer: yes(*m.Question)}})
		case m.Question != nil && role == "forge":
			a := yes(*m.Question)
			a.Mode = "for ever"
			conn.Send(face.Message{Answer: &face.Answered{ID: "another question", Answer: yes(*m.Question)}})
			conn.Send(face.Message{Answer: &face.Answered{ID: m.Question.ID, Answer: a}})
		case m.Question != nil:
			report("question", m.Question.ID)
		case m.Withdraw != "":
			report("withdraw", m.Withdraw)
		case m.State != nil:
			report("state", m.State.Version)
		case m.Page != "":
			report("page", m.Page)
		case m.Result != nil && m.Result.Err != nil:
			report("result", m.Result.Err.Code()+": "+m.Result.Err.Message+"; "+m.Result.Err.Hint)
		}
	}
}

// stuck is how long a window process may take in the tests of that.
const stuck = 300 * time.Millisecond

func yes(q face.Question) face.Answer {
	a := face.Answer{Answered: true, Allow: true, ClientID: "id for " + q.ID, ClientSecret: secret.New("secret for " + q.ID)}
	if len(q.Modes) > 0 {
		a.Mode = q.Modes[0]
	}
	for _, s := range q.Scopes {
		a.Scopes = append(a.Scopes, s.Name)
	}
	return a
}

// report is what the window process of a test was told, carried by a wish.
type report struct{ what, id string }

func (r report) wish() face.Wish { return face.WishDisconnect{Program: r.what, Name: r.id} }

func reported(w face.Wish) report {
	d, _ := w.(face.WishDisconnect)
	return report{d.Program, d.Name}
}

// harness runs windows whose processes have the given roles, in turn; the last role repeats.
type harness struct {
	*Windows
	started atomic.Int32
	wishes  chan face.Wish
	shown   chan string
	heard   []face.Wish // taken from wishes: each is done in a goroutine of its own, so they come in any order
	lost    chan error
}

func start(t *testing.T, roles ...string) *harness {
	h := &harness{wishes: make(chan face.Wish, 1000), shown: make(chan string, 1000), lost: make(chan error, 100)}
	h.Windows = New(Config{
		Command: func() *exec.Cmd {
			n := int(h.started.Add(1))
			cmd := exec.Command(os.Args[0], "window-for-test", roles[min(n, len(roles))-1])
			cmd.Stderr = os.Stderr
			cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // else every end takes a second under -race
			return cmd
		},
		OnWish: func(_ context.Context, wish face.Wish) error {
			h.wishes <- wish
			if r := reported(wish); r.what == "page" {
				return localapi.Errorf(localapi.ErrDiscovery, "nothing at %s", r.id).WithHint("look again")
			}
			return nil
		},
		OnShown: func(id string) { h.shown <- id },
		onLost:  func(err error) { h.lost <- err },
	})
	t.Cleanup(h.Close)
	return h
}

func (h *harness) wait(t *testing.T, what, id string) {
	t.Helper()
	timeout := time.After(limit)
	for {
		if slices.ContainsFunc(h.heard, func(w face.Wish) bool { return reported(w) == report{what, id} }) {
			return
		}
		select {
		case w := <-h.wishes:
			h.heard = append(h.heard, w)
		case <-timeout:
			t.Fatalf("the window never reported %s %q", what, id)
		}
	}
}

func question(id string) face.Question {
	return face.Question{ID: id, Kind: face.KindConsent, Modes: []string{localapi.ModeOnce},
		Scopes: []face.Scope{{Name: "read", Required: true}, {Name: "write"}}}
}

func TestAnswerCrossesThePairWithItsSecret(t *testing.T) {
	h := start(t, "answer")
	a, err := h.Ask(t.Context(), question("q1"))
	if err != nil {
		t.Fatal(err)
	}
	if !a.Answered || !a.Allow || a.Mode != localapi.ModeOnce || !slices.Equal(a.Scopes, []string{"read", "write"}) {
		t.Errorf("answer %+v", a)
	}
	if a.ClientID != "id for q1" || a.ClientSecret.Reveal() != "secret for q1" {
		t.Errorf("client ID %q, secret %q", a.ClientID, a.ClientSecret.Reveal())
	}
	if printed := fmt.Sprintf("%+v %#v", face.Message{Answer: &face.Answered{ID: "q1", Answer: a}}, a); strings.Contains(printed, "secret for") {
		t.Errorf("printed: %s", printed)
	}
}

func TestManyQuestionsAtOnceShareOneWindowProcess(t *testing.T) {
	h := start(t, "answer")
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			id := fmt.Sprint("q", i)
			if a, err := h.Ask(t.Context(), question(id)); err != nil || a.ClientID != "id for "+id {
				t.Errorf("%s: %+v, %v", id, a, err)
			}
			h.Update(face.State{Version: id})
		})
	}
	group.Wait()
	if n := h.started.Load(); n != 1 {
		t.Errorf("%d processes, want 1", n)
	}
}

func TestEndOfContextWithdraws(t *testing.T) {
	h := start(t, "silent")
	ctx, cancel := context.WithCancel(t.Context())
	go func() { h.wait(t, "question", "q1"); cancel() }()
	a, err := h.Ask(ctx, question("q1"))
	if err != nil || a.Answered {
		t.Errorf("%+v, %v; want nobody's answer", a, err)
	}
	h.wait(t, "withdraw", "q1")
}

func TestDeadlineWithdraws(t *testing.T) {
	h := start(t, "silent")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if a, err := h.Ask(ctx, question("q1")); err != nil || a.Answered {
		t.Errorf("%+v, %v; want nobody's answer", a, err)
	}
	h.wait(t, "withdraw", "q1")
	if a, err := h.Ask(ctx, question("q1")); err != nil || a.Answered {
		t.Errorf("past deadline: %+v, %v; want nobody's answer", a, err)
	}
}

func TestLostProcess(t *testing.T) {
	tests := map[string]struct {
		roles     []string
		processes int32
		answered  bool
		err       error
		lost      bool
	}{
		"crashes once":                    {[]string{"crash", "answer"}, 2, true, nil, true},
		"crashes always":                  {[]string{"crash"}, 2, false, errNotShown, true},
		"ends while the question arrives": {[]string{"leave", "answer"}, 2, true, nil, false},
		"ends without reading":            {[]string{"turn-away", "answer"}, 2, true, nil, false},
		"sends 2 MiB":                     {[]string{"huge", "answer"}, 2, true, nil, true},
		"sends what only the app may":     {[]string{"chatter", "answer"}, 2, true, nil, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := start(t, test.roles...)
			a, err := h.Ask(t.Context(), question("q1"))
			if !errors.Is(err, test.err) || a.Answered != test.answered {
				t.Errorf("%+v, %v; want answered %v, error %v", a, err, test.answered, test.err)
			}
			if n := h.started.Load(); n != test.processes {
				t.Errorf("%d processes, want %d", n, test.processes)
			}
			if test.lost {
				select {
				case <-h.lost:
				case <-time.After(limit):
					t.Error("OnLost was not called")
				}
			} else if len(h.lost) > 0 {
				t.Errorf("OnLost: %v", <-h.lost)
			}
		})
	}
}

func TestAWindowProcessThatStandsStill(t *testing.T) {
	for role, q2 := range map[string]bool{"hung": false, "unpainted": false, "one": true} {
		t.Run(role, func(t *testing.T) {
			h := start(t, role, "answer")
			h.limits = limits{start: stuck, stuck: stuck}
			if q2 { // it stands still only after the first
				ctx, cancel := context.WithCancel(t.Context())
				go func() { <-h.shown; cancel() }()
				h.Ask(ctx, question("q1"))
			}
			a, err := h.Ask(t.Context(), question("q2"))
			if err != nil || !a.Answered {
				t.Errorf("%+v, %v; want an answer from a second process", a, err)
			}
			select {
			case err := <-h.lost:
				if !strings.Contains(err.Error(), "killed") {
					t.Errorf("OnLost: %v", err)
				}
			case <-time.After(limit):
				t.Error("OnLost was not called")
			}
		})
	}

	h := start(t, "ask")
	h.limits = limits{start: limit, stuck: stuck}
	ctx, cancel := context.WithTimeout(t.Context(), 4*stuck)
	defer cancel()
	if a, err := h.Ask(ctx, question("q2")); err != nil || a.Answered || h.started.Load() != 1 {
		t.Errorf("%+v, %v, %d processes; a person may take longer than a process", a, err, h.started.Load())
	}
}

// TestAWindowProcessThatIsSlowToStart is waited for, and what is on the screen is told when it is there.
func TestAWindowProcessThatIsSlowToStart(t *testing.T) {
	h := start(t, "slow")
	h.limits = limits{start: limit, stuck: stuck}
	began := time.Now()
	opened := h.Show(face.PageServers)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if id := <-h.shown; id != "q1" || time.Since(began) < 3*stuck {
			t.Errorf("%q is on the screen after %v", id, time.Since(began))
		}
		cancel()
	}()
	if a, err := h.Ask(ctx, question("q1")); err != nil || a.Answered || h.started.Load() != 1 {
		t.Errorf("%+v, %v, %d processes", a, err, h.started.Load())
	}
	if err := <-opened; err != nil {
		t.Errorf("the main window: %v", err)
	}
}

// TestAnotherVersion: a window program whose messages are others is not used, and the person is told what to install.
func TestAnotherVersion(t *testing.T) {
	for _, role := range []string{"stranger", "rude"} {
		t.Run(role, func(t *testing.T) {
			h := start(t, role)
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			var told *localapi.Error
			if _, err := h.Ask(ctx, question("q1")); !errors.As(err, &told) || told.Kind != localapi.ErrUnavailable || !strings.Contains(told.Message, "another version") {
				t.Fatalf("it was asked: %v", err)
			}
			<-h.lost
			if trouble := h.Trouble(); trouble == nil || !strings.Contains(trouble.Hint, "install") {
				t.Errorf("trouble: %v", trouble)
			}
			if err := <-h.Show(face.PageServers); !errors.Is(err, errVersion) || h.started.Load() != 1 {
				t.Errorf("%v after %d processes; it is not tried again", err, h.started.Load())
			}
		})
	}
}

func TestPageForAWindowProcessThatIsEnding(t *testing.T) {
	h := start(t, "turn-away", "ask")
	if err := <-h.Show(face.PageServers); err != nil {
		t.Error(err)
	}
	h.wait(t, "page", face.PageServers)
	if n := h.started.Load(); n != 2 {
		t.Errorf("%d processes, want 2", n)
	}
}

func TestNoProgram(t *testing.T) {
	w := New(Config{Command: func() *exec.Cmd { return exec.Command("/nowhere/valetkey") }})
	defer w.Close()
	if _, err := w.Ask(t.Context(), question("q1")); !errors.Is(err, errNotShown) {
		t.Errorf("error %v, want errNotShown", err)
	}
	if err := <-w.Show(face.PageServers); !errors.Is(err, errNotShown) {
		t.Errorf("%v, want errNotShown", err)
	}
	missing := localapi.Errorf(localapi.ErrUnavailable, "it is missing")
	w = New(Config{Missing: missing})
	defer w.Close()
	if _, err := w.Ask(t.Context(), question("q1")); err != missing || w.Trouble() != missing {
		t.Errorf("%v, trouble %v", err, w.Trouble())
	}
}

func TestForgedAnswersAreNoAnswers(t *testing.T) {
	h := start(t, "forge")
	if a, err := h.Ask(t.Context(), question("q1")); err != nil || a.Answered {
		t.Errorf("%+v, %v; want nobody's answer", a, err)
	}
}

func TestHugeQuestionIsRefusedAndNothingStarted(t *testing.T) {
	h := start(t, "answer")
	q := question("q1")
	q.Reason = strings.Repeat("x", 1<<20)
	if _, err := h.Ask(t.Context(), q); !errors.Is(err, face.ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
	if h.started.Load() != 0 {
		t.Error("a window was started for it")
	}
}

func TestSlowWindowGetsTheNewestState(t *testing.T) {
	h := start(t, "deaf", "silent")
	h.Update(face.State{Version: "first"})
	h.Show(face.PageServers)
	rule := strings.Repeat("r", 100_000) // fills the socket's buffer
	for i := range 1000 {
		h.Update(face.State{Version: fmt.Sprint(i), Activity: []face.Entry{{Rule: rule}}})
	}
	h.child.Load().cmd.Process.Kill()
	<-h.lost
	h.Update(face.State{Version: "last"})
	h.Show(face.PageHosts)
	h.wait(t, "state", "last")
	h.wait(t, "page", face.PageHosts)
}

func TestWindowThatTakesNothingIsEnded(t *testing.T) {
	h := start(t, "deaf")
	h.limits.start = usual.stuck
	h.Update(face.State{Activity: []face.Entry{{Rule: strings.Repeat("r", 900_000)}}})
	h.Show(face.PageServers)
	for range maxQueued + 2 {
		h.Show(face.PageServers)
	}
	select {
	case <-h.lost:
	case <-time.After(limit):
		t.Error("it lives on")
	}
}

func TestResultOfAWishReachesTheWindow(t *testing.T) {
	h := start(t, "silent")
	h.Show("https://example.com") // the window wishes for it, OnWish refuses
	h.wait(t, "result", "discovery: nothing at https://example.com; look again")
}

func TestCloseEndsEverything(t *testing.T) {
	for _, role := range []string{"silent", "deaf"} {
		t.Run(role, func(t *testing.T) {
			h := start(t, role)
			failed := make(chan error, 1)
			go func() {
				_, err := h.Ask(t.Context(), question("q1"))
				failed <- err
			}()
			if role == "silent" {
				h.wait(t, "question", "q1")
			} else {
				h.Show(face.PageServers)
			}
			c := h.child.Load()
			h.Close()
			if err := <-failed; !errors.Is(err, errNotShown) {
				t.Errorf("the question ended with %v, want errNotShown", err)
			}
			if c.cmd.ProcessState == nil {
				t.Error("the process was not waited for")
			}
			if _, err := h.Ask(t.Context(), question("q2")); !errors.Is(err, errNotShown) {
				t.Errorf("after Close: %v, want errNotShown", err)
			}
		})
	}
}

func TestInheritedWithoutAPair(t *testing.T) {
	out, err := exec.Command(os.Args[0], "window-for-test", "silent").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 9 {
		t.Errorf("%v\n%s", err, out)
	}
}
