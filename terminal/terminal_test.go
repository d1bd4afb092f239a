package terminal

import (
	"context"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
)

// screen is what the person reads.
type screen struct {
	mu   sync.Mutex
	cond *sync.Cond
	text strings.Builder
	fail error
}

func newScreen() *screen {
	s := &screen{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	s.text.Write(b)
	s.cond.Broadcast()
	return len(b), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shows waits until words stand on the screen n times.
func (s *screen) shows(t *testing.T, words string, n int) {
	t.Helper()
	late := time.AfterFunc(10*time.Second, func() {
		s.mu.Lock()
		s.fail = errors.New("late")
		s.cond.Broadcast()
		s.mu.Unlock()
	})
	defer late.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for strings.Count(s.text.String(), words) < n {
		if s.fail != nil {
			t.Fatalf("%q did not appear %d times in:\n%s", words, n, s.text.String())
		}
		s.cond.Wait()
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func endless(kind string) face.Question {
	q := question(kind)
	q.Deadline = time.Time{}
	return q
}

func TestAskOverPipe(t *testing.T) {
	r, w := pipe(t)
	out := newScreen()
	term := New(Config{In: r, Out: out})
	if _, err := io.WriteString(w, "\nx\n2\no\r\nd\n"); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	got, err := term.Ask(ctx, endless(face.KindConsent))
	if want := (face.Answer{Answered: true, Allow: true, Mode: localapi.ModeOnce, Scopes: []string{"files:read"}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, words := range []string{"Nothing was answered.", "That is none of the choices.", "2  files:write is now off.", "Allowed once: files:read."} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("the screen lacks %q:\n%s", words, out)
		}
	}
	got, err = term.Ask(ctx, endless(face.KindForget))
	if want := (face.Answer{Answered: true}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the second question: %+v, %v, want %+v", got, err, want)
	}
	w.Close()
	if got, err = term.Ask(ctx, endless(face.KindForget)); !errors.Is(err, errNobody) || got.Answered {
		t.Errorf("at the end of the input: %+v, %v, want errNobody", got, err)
	}
}

func TestEndWithoutLineEnd(t *testing.T) {
	r, w := pipe(t)
	io.WriteString(w, "o")
	w.Close()
	got, err := New(Config{In: r, Out: io.Discard}).Ask(context.Background(), endless(face.KindConsent))
	if err != nil || !got.Allow {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestQuestionThatNobodySees(t *testing.T) {
	r, w := pipe(t)
	io.WriteString(w, "o\n")
	out := newScreen()
	out.fail = errors.New("the terminal is gone")
	got, err := New(Config{In: r, Out: out}).Ask(context.Background(), endless(face.KindConsent))
	if !errors.Is(err, errNobody) || got.Answered {
		t.Errorf("%+v, %v, want errNobody", got, err)
	}
}

func TestUnanswered(t *testing.T) {
	r, _ := pipe(t)
	out := newScreen()
	term := New(Config{In: r, Out: out})
	q := endless(face.KindConsent)
	q.Deadline = time.Now().Add(20 * time.Millisecond)
	if got, err := term.Ask(context.Background(), q); err != nil || got.Answered {
		t.Errorf("at the deadline: %+v, %v, want the zero answer", got, err)
	}
	out.shows(t, "Nobody answered in time.", 1)

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { _, err := term.Ask(ctx, endless(face.KindConsent)); done <- err }()
	out.shows(t, "Your answer", 2)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("withdrawn: %v", err)
	}
	out.shows(t, "The question was withdrawn", 2)
}

func TestOneQuestionAtATime(t *testing.T) {
	r, w := pipe(t)
	out := newScreen()
	term := New(Config{In: r, Out: out})
	type result struct {
		answer face.Answer
		err    error
	}
	ask := func(ctx context.Context) chan result {
		c := make(chan result, 1)
		go func() { a, err := term.Ask(ctx, endless(face.KindConsent)); c <- result{a, err} }()
		return c
	}
	first := ask(context.Background())
	out.shows(t, "QUESTION", 1)

	ctx, cancel := context.WithCancel(context.Background())
	second := ask(ctx)
	cancel()
	if got := <-second; !errors.Is(got.err, context.Canceled) {
		t.Errorf("a question that was withdrawn while it waited: %+v", got)
	}
	third := ask(context.Background())
	io.WriteString(w, "d\n")
	if got := <-first; got.err != nil || got.answer.Allow {
		t.Errorf("first: %+v", got)
	}
	out.shows(t, "QUESTION", 2)
	io.WriteString(w, "o\n")
	if got := <-third; got.err != nil || !got.answer.Allow {
		t.Errorf("third: %+v", got)
	}
}

func TestShowPage(t *testing.T) {
	r, w := pipe(t)
	out := newScreen()
	term := New(Config{In: r, Out: out})
	term.ShowPage("https://mcp.example.com/mcp", "https://auth.example.com/authorize?a=b&state=%1b", "")
	want := "\nTo sign in to https://mcp.example.com/mcp, open this page in a browser:\n\nhttps://auth.example.com/authorize?a=b&state=%1b\n\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
	term.ShowPage("https://mcp.example.com/mcp", "https://auth.example.com/\x1b[2J", "")
	if strings.Contains(out.String(), "\x1b") || !strings.Contains(out.String(), "cannot be shown") {
		t.Errorf("%q", out)
	}
	term.ShowPage("https://mcp.example.com/mcp", "https://auth.example.com/device", "WDJB-\x1bMJHT")
	if want := "open this page in a browser on any device:\n\nhttps://auth.example.com/device\n\nand enter this code there: WDJB-MJHT\n\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("%q, want %q", out, want)
	}

	done := make(chan error)
	go func() { _, err := term.Ask(context.Background(), endless(face.KindConsent)); done <- err }()
	out.shows(t, "Your answer", 1)
	term.ShowPage("https://mcp.example.com/mcp", "https://auth.example.com/", "")
	out.shows(t, "Your answer", 2) // the prompt comes again below
	io.WriteString(w, "d\n")
	if err := <-done; err != nil {
		t.Error(err)
	}
}
