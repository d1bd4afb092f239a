package face

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
	conn, err := Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 9
	}
	report := func(what, id string) { conn.Send(Message{Wish: &Wanted{Call: 1, Wish: report{what, id}.wish()}}) }
	switch role {
	case "deaf":
		time.Sleep(10 * limit) // ends by force
	case "turn-away":
		awaitMessage()
		return 0 // with the message unread
	case "huge":
		conn.write([]byte(strings.Repeat("x", 2*maxMessage)))
	case "chatter":
		conn.write([]byte("{\"quit\":true}\n"))
	}
	for {
		m, err := conn.Receive()
		if err != nil {
			return 0
		}
		if (m.Question != nil || m.Page != "") && role != "hung" {
			conn.Send(Message{Taken: true})
		}
		switch {
		case m.Quit:
			report("quit", "")
			return 0
		case m.Question != nil && role == "crash":
			return 3
		case m.Question != nil && role == "leave":
			return 0
		case m.Question != nil && role == "answer":
			conn.Send(Message{Answer: &Answered{m.Question.ID, yes(*m.Question)}})
		case m.Question != nil && role == "forge":
			a := yes(*m.Question)
			a.Mode = "for ever"
			conn.Send(Message{Answer: &Answered{"another question", yes(*m.Question)}})
			conn.Send(Message{Answer: &Answered{m.Question.ID, a}})
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

func yes(q Question) Answer {
	a := Answer{Answered: true, Allow: true, ClientID: "id for " + q.ID, ClientSecret: secret.New("secret for " + q.ID)}
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

func (r report) wish() Wish { return WishDisconnect{Program: r.what, Name: r.id} }

func reported(w Wish) report {
	d, _ := w.(WishDisconnect)
	return report{d.Program, d.Name}
}

// harness runs windows whose processes have the given roles, in turn; the last role repeats.
type harness struct {
	*Windows
	started atomic.Int32
	wishes  chan Wish
	heard   []Wish // taken from wishes: each is done in a goroutine of its own, so they come in any order
	lost    chan error
}

func start(t *testing.T, roles ...string) *harness {
	h := &harness{wishes: make(chan Wish, 1000), lost: make(chan error, 100)}
	h.Windows = NewWindows(WindowsConfig{
		Command: func() *exec.Cmd {
			n := int(h.started.Add(1))
			cmd := exec.Command(os.Args[0], "window-for-test", roles[min(n, len(roles))-1])
			cmd.Stderr = os.Stderr
			cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // else every end takes a second under -race
			return cmd
		},
		OnWish: func(_ context.Context, wish Wish) error {
			h.wishes <- wish
			if r := reported(wish); r.what == "page" {
				return localapi.Errorf(localapi.ErrDiscovery, "nothing at %s", r.id).WithHint("look again")
			}
			return nil
		},
		OnLost: func(err error) { h.lost <- err },
	})
	t.Cleanup(h.Close)
	return h
}

func (h *harness) wait(t *testing.T, what, id string) {
	t.Helper()
	timeout := time.After(limit)
	for {
		if slices.ContainsFunc(h.heard, func(w Wish) bool { return reported(w) == report{what, id} }) {
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

func question(id string) Question {
	return Question{ID: id, Kind: KindConsent, Modes: []string{localapi.ModeOnce}, Deadline: time.Now().Add(limit),
		Scopes: []Scope{{Name: "read", Required: true}, {Name: "write"}}}
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
	if printed := fmt.Sprintf("%+v %#v", Message{Answer: &Answered{"q1", a}}, a); strings.Contains(printed, "secret for") {
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
			h.Update(State{Version: id})
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
	q := question("q1")
	q.Deadline = time.Now().Add(10 * time.Millisecond)
	if a, err := h.Ask(t.Context(), q); err != nil || a.Answered {
		t.Errorf("%+v, %v; want nobody's answer", a, err)
	}
	h.wait(t, "withdraw", "q1")
	q.Deadline = time.Now().Add(-time.Second)
	if a, err := h.Ask(t.Context(), q); err != nil || a.Answered {
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
		"crashes always":                  {[]string{"crash"}, 2, false, ErrNoFace, true},
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
	h := start(t, "hung", "answer")
	h.stuck = 300 * time.Millisecond
	a, err := h.Ask(t.Context(), question("q1"))
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

	h = start(t, "ask")
	h.stuck = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 4*h.stuck)
	defer cancel()
	if a, err := h.Ask(ctx, question("q2")); err != nil || a.Answered || h.started.Load() != 1 {
		t.Errorf("%+v, %v, %d processes; a person may take longer than a process", a, err, h.started.Load())
	}
}

func TestPageForAWindowProcessThatIsEnding(t *testing.T) {
	h := start(t, "turn-away", "ask")
	h.Show(PageServers)
	h.wait(t, "page", PageServers)
	if n := h.started.Load(); n != 2 {
		t.Errorf("%d processes, want 2", n)
	}
}

func TestNoProgram(t *testing.T) {
	lost := make(chan error, 1)
	w := NewWindows(WindowsConfig{Command: func() *exec.Cmd { return exec.Command("/nowhere/valetkey") },
		OnLost: func(err error) { lost <- err }})
	defer w.Close()
	if _, err := w.Ask(t.Context(), question("q1")); !errors.Is(err, ErrNoFace) {
		t.Errorf("error %v, want ErrNoFace", err)
	}
	w.Show(PageServers)
	if err := <-lost; !errors.Is(err, ErrNoFace) {
		t.Errorf("lost %v, want ErrNoFace", err)
	}
}

func TestForgedAnswersAreNoAnswers(t *testing.T) {
	h := start(t, "forge")
	if a, err := h.Ask(t.Context(), question("q1")); err != nil || a.Answered {
		t.Errorf("%+v, %v; want nobody's answer", a, err)
	}
}

func TestOffered(t *testing.T) {
	q := question("q1")
	q.Issuers = []string{"https://one.example", "https://two.example"}
	q.Vias = []string{ViaBrowser, ViaDevice}
	tests := map[string]struct {
		kind string
		a    Answer
		ok   bool
	}{
		"no":                     {KindConsent, Answer{Answered: true}, true},
		"nobody":                 {KindConsent, Answer{}, true},
		"yes":                    {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read"}}, true},
		"other mode":             {KindConsent, Answer{Answered: true, Allow: true, Mode: "always", Scopes: []string{"read"}}, false},
		"other scope":            {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read", "admin"}}, false},
		"without required scope": {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"write"}}, false},
		"no client ID":           {KindClientID, Answer{Answered: true, Allow: true, Scopes: []string{"read"}}, false},
		"client ID":              {KindClientID, Answer{Answered: true, Allow: true, ClientID: "x", Scopes: []string{"read"}}, true},
		"way":                    {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read"}, Via: ViaDevice}, true},
		"no such way":            {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read"}, Via: ViaAddress}, false},
		"issuer":                 {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read"}, Issuer: "https://two.example"}, true},
		"other issuer":           {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read"}, Issuer: "https://evil.example"}, false},
	}
	for name, test := range tests {
		q.Kind = test.kind
		if err := offered(q, test.a); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHugeQuestionIsRefusedAndNothingStarted(t *testing.T) {
	h := start(t, "answer")
	q := question("q1")
	q.Reason = strings.Repeat("x", maxMessage)
	if _, err := h.Ask(t.Context(), q); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
	if h.started.Load() != 0 {
		t.Error("a window was started for it")
	}
}

func TestHugeStateLosesOldActivityOnly(t *testing.T) {
	s := State{Version: "1"}
	for i := range 200 {
		s.Activity = append(s.Activity, Entry{Rule: strings.Repeat("r", 20_000), PID: i})
	}
	line, err := encodeState(s)
	if err != nil || len(line) > maxMessage {
		t.Fatalf("%d bytes, %v", len(line), err)
	}
	m, err := NewConn(readOnly{strings.NewReader(string(line))}).Receive()
	if err != nil || len(m.State.Activity) != 50 || m.State.Activity[0].PID != 0 {
		t.Errorf("%d entries, %v; want the newest 50", len(m.State.Activity), err)
	}
}

func TestSlowWindowGetsTheNewestState(t *testing.T) {
	h := start(t, "deaf", "silent")
	h.Update(State{Version: "first"})
	h.Show(PageServers)
	rule := strings.Repeat("r", 100_000) // fills the socket's buffer
	for i := range 1000 {
		h.Update(State{Version: fmt.Sprint(i), Activity: []Entry{{Rule: rule}}})
	}
	h.child.Load().cmd.Process.Kill()
	<-h.lost
	h.Update(State{Version: "last"})
	h.Show(PageHosts)
	h.wait(t, "state", "last")
	h.wait(t, "page", PageHosts)
}

func TestWindowThatTakesNothingIsEnded(t *testing.T) {
	h := start(t, "deaf")
	h.Update(State{Activity: []Entry{{Rule: strings.Repeat("r", 900_000)}}})
	h.Show(PageServers)
	for range maxQueued + 2 {
		h.Show(PageServers)
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
				h.Show(PageServers)
			}
			c := h.child.Load()
			h.Close()
			if err := <-failed; !errors.Is(err, ErrNoFace) {
				t.Errorf("the question ended with %v, want ErrNoFace", err)
			}
			if c.cmd.ProcessState == nil {
				t.Error("the process was not waited for")
			}
			if _, err := h.Ask(t.Context(), question("q2")); !errors.Is(err, ErrNoFace) {
				t.Errorf("after Close: %v, want ErrNoFace", err)
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
