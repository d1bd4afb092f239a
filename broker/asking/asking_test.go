package asking

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
)

// office is a Desk, a person who answers, and what they were asked.
type office struct {
	*Desk
	t *testing.T

	mu      sync.Mutex
	person  func(context.Context, face.Question) (face.Answer, error)
	shown   []face.Question
	settled []face.Answer
	halted  []string
	news    int
}

// inOffice runs f in a bubble, where the clock jumps over waits.
func inOffice(t *testing.T, f func(t *testing.T, o *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &office{t: t, person: yes}
		o.Desk = New(t.Context(), Config{
			Ask: func(ctx context.Context, q face.Question) (face.Answer, error) {
				o.mu.Lock()
				o.shown = append(o.shown, q)
				person := o.person
				o.mu.Unlock()
				return person(ctx, q)
			},
			OnChange: func() { o.note(func() { o.news++ }) },
			Settled:  func(_ face.Question, a face.Answer, _ error) { o.note(func() { o.settled = append(o.settled, a) }) },
			Halted: func(host string, why *localapi.Error) {
				o.note(func() { o.halted = append(o.halted, host+": "+why.Message) })
			},
		})
		defer o.Close()
		f(t, o)
	})
}

func (o *office) note(what func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	what()
}

func (o *office) answers(person func(context.Context, face.Question) (face.Answer, error)) {
	o.note(func() { o.person = person })
}

func (o *office) questions() []face.Question {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.shown)
}

func (o *office) ask(name string, scopes ...string) error {
	_, _, err := o.Ask(o.t.Context(), question(name, scopes...))
	return err
}

func (o *office) mustAsk(name string, scopes ...string) {
	o.t.Helper()
	if err := o.ask(name, scopes...); err != nil {
		o.t.Errorf("%s: %v", name, err)
	}
}

func host(name string) peer.Host { return peer.Host{Key: "exe:/usr/bin/" + name, Name: name} }

func question(name string, scopes ...string) face.Question {
	q := face.Question{Kind: face.KindConsent, Host: host(name), Server: "https://mcp.example.com/mcp"}
	for _, s := range scopes {
		q.Scopes = append(q.Scopes, face.Scope{Name: s})
	}
	return q
}

func yes(context.Context, face.Question) (face.Answer, error) {
	return face.Answer{Answered: true, Allow: true}, nil
}

func no(context.Context, face.Question) (face.Answer, error) {
	return face.Answer{Answered: true}, nil
}

func doubt(context.Context, face.Question) (face.Answer, error) {
	return face.Answer{Answered: true, Pause: true}, nil
}

func silent(ctx context.Context, _ face.Question) (face.Answer, error) {
	<-ctx.Done()
	return face.Answer{}, nil
}

func denied(t *testing.T, err error, words string, after time.Duration) {
	t.Helper()
	var e *localapi.Error
	if !errors.As(err, &e) || !errors.Is(err, localapi.ErrConsentDenied) || !strings.Contains(e.Message, words) || e.RetryAfter != after {
		t.Errorf("err = %v (%+v), want %q again after %v", err, e, words, after)
	}
}

func TestSameQuestionIsShownOnce(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.answers(func(ctx context.Context, q face.Question) (face.Answer, error) {
			time.Sleep(3 * time.Second)
			return yes(ctx, q)
		})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { o.mustAsk("cursor") })
		}
		wg.Wait()
		if n := len(o.questions()); n != 1 {
			t.Errorf("%d questions, want 1", n)
		}
		o.mustAsk("cursor")
		if n := len(o.questions()); n != 2 {
			t.Error("a yes is for those who waited for it")
		}
		synctest.Wait()
		if len(o.settled) != 2 || o.news == 0 {
			t.Errorf("%d settled, %d times news", len(o.settled), o.news)
		}
	})
}

func TestKeyTellsQuestionsApart(t *testing.T) {
	keys := map[string]bool{}
	for _, change := range []func(*face.Question){
		func(*face.Question) {},
		func(q *face.Question) { q.Kind = face.KindForget },
		func(q *face.Question) { q.Host.Key = "exe:/usr/bin/other" },
		func(q *face.Question) { q.Host.Key, q.Host.Instance = "", "1:2" },
		func(q *face.Question) { q.Host.Key, q.Host.Instance = "", "1:3" },
		func(q *face.Question) { q.Resource = "https://mcp.example.com" },
		func(q *face.Question) { q.Server = "https://two.example.com/mcp" },
		func(q *face.Question) { q.Issuer = "https://login.example.com" },
		func(q *face.Question) { q.Account = "work" },
		func(q *face.Question) { q.ClientID = "id" },
		func(q *face.Question) { q.Scopes = []face.Scope{{Name: "read"}} },
		func(q *face.Question) { q.Quirk = &quirk.Quirk{Name: quirk.NoResource} },
	} {
		q := question("claude")
		change(&q)
		if keys[Key(q)] {
			t.Errorf("%+v is taken for another question", q)
		}
		keys[Key(q)] = true
		q.ID, q.Reason, q.Asked = "q9", "please", time.Now()
		if !keys[Key(q)] {
			t.Errorf("%+v is not taken for the same question", q)
		}
	}
}

func TestNoAndSilenceQuietAHost(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.answers(no)
		denied(t, o.ask("cursor"), "said no", 60*time.Second)
		time.Sleep(20 * time.Second)
		denied(t, o.ask("cursor"), "a moment ago", 40*time.Second)
		time.Sleep(40 * time.Second)

		o.answers(silent)
		began := time.Now()
		denied(t, o.ask("cursor"), "did not answer", 0)
		if took := time.Since(began); took != answerTime {
			t.Errorf("the question stood for %v", took)
		}
		o.ask("cursor")
		denied(t, o.ask("cursor"), "paused", quietTime)
		if p := o.Pauses(); len(p) != 1 || p[0].Name != "cursor" {
			t.Errorf("paused = %+v", p)
		}
		if err := o.Paused(host("cursor")); err != nil || len(o.halted) != 0 {
			t.Errorf("a host that was not answered gets no tokens: %v", err)
		}
		o.answers(yes)
		o.Resume(HostID(host("cursor")))
		o.mustAsk("cursor")

		o.answers(silent)
		o.ask("cursor")
		o.ask("cursor")
		o.answers(yes)
		time.Sleep(quietTime)
		if n := len(o.Pauses()); n != 0 {
			t.Errorf("%d pauses hold on", n)
		}
		o.mustAsk("cursor")
	})
}

func TestFloodsAreBounded(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.answers(silent)
		var wg sync.WaitGroup
		for _, s := range []string{"s1", "s2", "s3"} {
			wg.Go(func() { o.ask("greedy", s) })
		}
		synctest.Wait()
		denied(t, o.ask("greedy", "s4"), "too many questions", 10*time.Second)
		if n := len(o.questions()); n != 1 {
			t.Errorf("%d questions were shown at once", n)
		}
		if n := len(o.Waiting()); n != 3 {
			t.Errorf("%d questions wait", n)
		}
		for n := range 5 {
			wg.Go(func() { o.ask("host " + strconv.Itoa(n)) })
		}
		synctest.Wait()
		denied(t, o.ask("one more"), "too many questions", 10*time.Second)
		if n := len(o.Waiting()); n != 8 {
			t.Errorf("%d questions wait", n)
		}
		wg.Wait()

		o.answers(no)
		var err error
		for n := range 7 {
			err = o.ask("pushy", "p"+strconv.Itoa(n))
		}
		denied(t, err, "too many questions", asksWindow)
	})
}

func TestHangingUpTakesTheQuestionAway(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		stands := make(chan time.Duration, 1)
		o.answers(func(ctx context.Context, q face.Question) (face.Answer, error) {
			began := time.Now()
			<-ctx.Done()
			stands <- time.Since(began)
			return face.Answer{}, nil
		})
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if _, _, err := o.Ask(ctx, question("cursor")); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("err = %v", err)
			}
			cancel()
			if stood := <-stands; stood != 12*time.Second {
				t.Errorf("the question stood for %v, want the host's 10 s and 2 s of grace", stood)
			}
		}
		o.answers(yes)
		o.mustAsk("cursor") // it was not the person's silence
	})
}

// TestAskingWhileAQuestionIsBeingWithdrawn: who asks again while the window of the question closes asks anew, and is not
// told that the person did not answer.
func TestAskingWhileAQuestionIsBeingWithdrawn(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.answers(func(ctx context.Context, _ face.Question) (face.Answer, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // the window closes
			return face.Answer{}, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, _, err := o.Ask(ctx, question("cursor")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(hangUpGrace + time.Second/2)
		o.answers(yes)
		o.mustAsk("cursor")
	})
}

// TestCallingAgainKeepsTheQuestion: who asks again within the grace finds the question where it was.
func TestCallingAgainKeepsTheQuestion(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.answers(func(ctx context.Context, q face.Question) (face.Answer, error) {
			select {
			case <-time.After(time.Minute):
				return yes(ctx, q)
			case <-ctx.Done():
				return face.Answer{}, nil
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		o.Ask(ctx, question("cursor"))
		time.Sleep(time.Second)
		o.mustAsk("cursor")
		if n := len(o.questions()); n != 1 {
			t.Errorf("%d questions, want 1", n)
		}
	})
}

// TestDoubtHalts: a host that the person doubts, or that changes twice, gets no tokens, and its end is told once it holds.
func TestDoubtHalts(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		o.answers(doubt)
		denied(t, o.ask("cursor"), "said no", denyCooldown)
		o.Suspect(host("claude"))
		if err := o.Paused(host("claude")); err != nil {
			t.Errorf("one change: %v", err)
		}
		o.Suspect(host("claude"))
		denied(t, o.Paused(host("cursor")), "you said that you had not started what it asked for", 0)
		denied(t, o.Paused(host("claude")), "it changed between its request and the answer, twice", quietTime)
		synctest.Wait()
		want := []string{
			HostID(host("cursor")) + ": this program is paused: you said that you had not started what it asked for",
			HostID(host("claude")) + ": this program is paused: it changed between its request and the answer, twice",
		}
		if !slices.Equal(o.halted, want) {
			t.Errorf("halted %q", o.halted)
		}
		time.Sleep(48 * time.Hour)
		if err := o.Paused(host("claude")); err != nil {
			t.Errorf("a change is held against it for ever: %v", err)
		}
		denied(t, o.ask("cursor"), "paused", 0)
	})
}

func TestMayAsk(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		q := question("cursor")
		if err := o.MayAsk(q.Host, Key(q)); err != nil {
			t.Error(err)
		}
		o.answers(no)
		o.ask("cursor")
		denied(t, o.MayAsk(q.Host, Key(q)), "a moment ago", denyCooldown)
		if err := o.MayAsk(q.Host, ""); err != nil {
			t.Errorf("a question that is not known yet: %v", err)
		}
		o.answers(silent)
		for _, s := range []string{"s1", "s2", "s3"} {
			go o.ask("cursor", s)
		}
		synctest.Wait()
		if err := o.MayAsk(q.Host, Key(question("cursor", "s1"))); err != nil {
			t.Errorf("a question that waits: %v", err)
		}
		denied(t, o.MayAsk(q.Host, ""), "too many questions", 10*time.Second)
	})
	d := New(t.Context(), Config{})
	defer d.Close()
	if err := d.MayAsk(host("cursor"), Key(question("cursor"))); !errors.Is(err, localapi.ErrConsentRequired) {
		t.Errorf("nobody is there: %v", err)
	}
	if err := d.MayAsk(host("cursor"), ""); err != nil {
		t.Errorf("nobody is there, and there may be no question: %v", err)
	}
	if _, _, err := d.Ask(t.Context(), question("cursor")); !errors.Is(err, localapi.ErrConsentRequired) {
		t.Errorf("nobody is there: %v", err)
	}
}

// TestTimeBeginsOnTheScreen: what a face takes to put a question on the screen is not taken from the person, and that it is
// there is believed once.
func TestTimeBeginsOnTheScreen(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		const takes = 50 * time.Second
		o.answers(func(ctx context.Context, q face.Question) (face.Answer, error) {
			time.Sleep(takes)
			o.Shown("another")
			o.Shown(q.ID)
			if got := o.Waiting()[0].Deadline; !got.Equal(time.Now().Add(answerTime)) {
				t.Errorf("it stands until %v, and that began at %v", got, time.Now())
			}
			time.Sleep(time.Second)
			o.Shown(q.ID)
			return silent(ctx, q)
		})
		began := time.Now()
		denied(t, o.ask("cursor"), "did not answer", 0)
		if took := time.Since(began); took != takes+answerTime {
			t.Errorf("the question stood for %v", took)
		}
		o.Shown("q1")
	})
}

// TestNoWindowIsNoNo: a host learns what kept the person from being asked, where the face can say it.
func TestNoWindowIsNoNo(t *testing.T) {
	inOffice(t, func(t *testing.T, o *office) {
		why := localapi.Errorf(localapi.ErrUnavailable, "no window can be shown").WithHint("do this")
		for err, want := range map[error]error{why: localapi.ErrUnavailable, errors.New("it broke"): localapi.ErrConsentRequired} {
			o.answers(func(context.Context, face.Question) (face.Answer, error) { return face.Answer{}, err })
			if got := o.ask("cursor"); !errors.Is(got, want) || !strings.Contains(got.Error(), err.Error()) {
				t.Errorf("%v: the host is told %v", err, got)
			}
		}
	})
}

// TestNothingWaitsForAFunction: while a function of the Config is stuck, all that does not need it goes on.
func TestNothingWaitsForAFunction(t *testing.T) {
	for _, name := range []string{"Ask", "OnChange", "Settled", "Halted"} {
		t.Run(name, func(t *testing.T) {
			stuck, over := make(chan struct{}), make(chan struct{})
			var first atomic.Bool
			call := func(called string) {
				if called == name && first.CompareAndSwap(false, true) {
					close(stuck)
					<-over
				}
			}
			d := New(t.Context(), Config{
				Ask: func(ctx context.Context, q face.Question) (face.Answer, error) {
					call("Ask")
					if q.Host.Name == "doubted" {
						return doubt(ctx, q)
					}
					return yes(ctx, q)
				},
				OnChange: func() { call("OnChange") },
				Settled:  func(face.Question, face.Answer, error) { call("Settled") },
				Halted:   func(string, *localapi.Error) { call("Halted") },
			})
			answered := make(chan struct{})
			go func() { d.Ask(t.Context(), question("doubted")); close(answered) }()
			<-stuck

			done := make(chan struct{})
			go func() {
				defer close(done)
				if name == "Settled" {
					<-answered
				}
				gone, hangUp := context.WithCancel(t.Context())
				if name == "Ask" { // then the screen is taken
					hangUp()
				}
				if _, _, err := d.Ask(gone, question("claude")); name != "Ask" && err != nil {
					t.Error(err)
				}
				hangUp()
				d.MayAsk(host("claude"), "")
				d.Paused(host("claude"))
				d.Suspect(host("claude"))
				d.Suspect(host("claude"))
				d.Resume(HostID(host("claude")))
				d.Waiting()
				d.Pauses()
			}()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Error("something waits")
			}
			close(over)
			<-answered
			d.Close()
		})
	}
}
