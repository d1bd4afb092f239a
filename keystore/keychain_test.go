package keystore

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeychain(t *testing.T) {
	t.Run("real children", func(t *testing.T) {
		k := NewKeychain(KeychainConfig{Command: child("files", t.TempDir())})
		k.limit = 32 << 10
		testStore(t, k)
		if err := k.Probe(context.Background()); err != nil {
			t.Errorf("Probe: %v", err)
		}
	})
	t.Run("smallest items", func(t *testing.T) {
		k := (&ring{items: make(map[string]string)}).keychain()
		k.limit = 2560
		testStore(t, k)
	})
}

func TestServicesAreApart(t *testing.T) {
	dir := t.TempDir()
	one := NewKeychain(KeychainConfig{Command: child("files", dir)})
	two := NewKeychain(KeychainConfig{Command: child("files", dir), Service: "two"})
	mustSet(t, one, "name", []byte("one"))
	if _, err := two.Get(context.Background(), "name"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the other service: %v", err)
	}
}

func TestChildrenThatFail(t *testing.T) {
	for _, c := range []struct {
		name    string
		command []string
		want    string
	}{
		{"no command", nil, "no command is set that runs the keychain process"},
		{"no such program", []string{t.TempDir() + "/none"}, "start the keychain process"},
		{"silent", child("silent", ""), "the keychain process gave no answer"},
		{"failing", child("failing", ""), "the keychain process ended without success: exit status 1"},
		{"babbling", child("babbling", ""), "the keychain process ended without success"},
		{"forgetful", child("forgetful", t.TempDir()), "the keychain said that it saved the value, but it did not keep it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := NewKeychain(KeychainConfig{Command: c.command})
			err := k.Set(context.Background(), "name", []byte("canary"))
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestSecretIsNotInArgumentsOrEnvironment(t *testing.T) {
	k := NewKeychain(KeychainConfig{Command: child("mirror", "argument")})
	h, _, err := split([]byte("canary"), itemLimit, 1)
	if err != nil {
		t.Fatal(err)
	}
	a, err := k.spawn(context.Background(), request{Op: opSet, Item: "name", Text: h.encode()})
	if err != nil || !strings.Contains(a.Text, "argument") {
		t.Fatalf("%v, %q", err, a.Text)
	}
	for _, secret := range []string{"canary", base64.StdEncoding.EncodeToString([]byte("canary")), h.SHA256} {
		if strings.Contains(a.Text, secret) {
			t.Errorf("%q can be seen from outside", secret)
		}
	}
}

// witness listens for the child that shall die and returns its address, and what waits until it is dead.
func witness(t *testing.T) (address string, arrived, dead func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	l.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
	var conn net.Conn
	arrived = func() {
		t.Helper()
		if conn, err = l.Accept(); err != nil {
			t.Fatalf("the child never came: %v", err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	dead = func() {
		t.Helper()
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the child lives on")
		}
	}
	return l.Addr().String(), arrived, dead
}

func TestHangingChildIsKilled(t *testing.T) {
	for _, role := range []string{"hanging", "holding"} {
		t.Run(role, func(t *testing.T) {
			before := runtime.NumGoroutine()
			address, arrived, dead := witness(t)
			k := NewKeychain(KeychainConfig{Command: child(role, address)})
			ctx, cancel := context.WithCancel(context.Background())
			result := make(chan error)
			// The request is larger than a pipe holds, so a child that does not read blocks the writer too.
			go func() { _, err := k.spawn(ctx, request{Op: opSet, Text: strings.Repeat("x", maxValue)}); result <- err }()
			arrived()
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("the call: %v", err)
			}
			dead()
			for range 1000 {
				if runtime.NumGoroutine() <= before {
					return
				}
				runtime.Gosched()
				time.Sleep(time.Millisecond)
			}
			t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		})
	}
}

func TestDeadline(t *testing.T) {
	address, _, _ := witness(t)
	k := NewKeychain(KeychainConfig{Command: child("holding", address), deadline: 200 * time.Millisecond, unlockDeadline: time.Second})
	if err := k.Probe(context.Background()); !errors.Is(err, ErrTimeout) {
		t.Errorf("Probe: %v", err)
	}
	if _, err := k.Get(context.Background(), "name"); !errors.Is(err, ErrTimeout) {
		t.Errorf("Get: %v", err)
	}
}

// A child whose parent is gone must not wait for the keychain for ever.
func TestChildEndsWithItsParent(t *testing.T) {
	address, arrived, dead := witness(t)
	command := child("parent", address)
	parent := exec.Command(command[0], command[1:]...)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	arrived()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	dead()
}

func TestWaitingForTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeychain(KeychainConfig{})
		k.run = func(ctx context.Context, _ request) (answer, error) {
			<-ctx.Done()
			return answer{}, ctx.Err()
		}
		began := time.Now()
		first := make(chan error)
		go func() { _, err := k.Get(context.Background(), "name"); first <- err }()
		synctest.Wait()

		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := k.Set(ctx, "name", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("the second call: %v after %v", err, time.Since(began))
		}
		if err := <-first; !errors.Is(err, ErrTimeout) || asksUnannounced == (time.Since(began) == 10*time.Second) {
			t.Errorf("the first call: %v after %v", err, time.Since(began))
		}
	})
}

// asker is a locked keychain that unlocks when answer says so.
type asker struct {
	dialogs  int
	unlocked bool
	answer   func(ctx context.Context) bool
	ring     ring
}

func (a *asker) run(ctx context.Context, req request) (answer, error) {
	locked := answer{Failure: "locked", Reason: "the keychain is locked", Hint: "unlock it"}
	if !a.unlocked && !req.Dialog {
		return locked, nil
	}
	if !a.unlocked {
		a.dialogs++
		if a.unlocked = a.answer(ctx); ctx.Err() != nil {
			return answer{}, ctx.Err()
		}
	}
	if !a.unlocked {
		return locked, nil
	}
	return a.ring.run(ctx, req)
}

func TestUnlocking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asker{ring: ring{items: make(map[string]string)}}
		k := NewKeychain(KeychainConfig{})
		k.run = a.run
		ctx := context.Background()

		if err := k.Probe(ctx); !errors.Is(err, ErrLocked) {
			t.Errorf("Probe: %v", err)
		}
		if !asksUnannounced {
			if err := k.Set(Quiet(ctx), "name", nil); !errors.Is(err, ErrLocked) || a.dialogs != 0 {
				t.Errorf("quiet: %v, %d dialogs", err, a.dialogs)
			}
		}

		a.answer = func(ctx context.Context) bool { time.Sleep(100 * time.Second); return true }
		mustSet(t, k, "name", []byte("value"))
		if a.dialogs != 1 {
			t.Errorf("%d dialogs for one Set", a.dialogs)
		}
		mustHave(t, k, "name", []byte("value"))
	})
}

func TestUnlockDialogUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asker{answer: func(ctx context.Context) bool { <-ctx.Done(); return false }}
		k := NewKeychain(KeychainConfig{})
		k.run = a.run
		began := time.Now()
		_, err := k.Get(context.Background(), "name")
		if !asksUnannounced && !errors.Is(err, ErrLocked) || time.Since(began) != 2*time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// Dismissing the dialog answers for all who were waiting; who comes later asks again.
func TestUnlockDialogDismissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asker{answer: func(context.Context) bool { time.Sleep(time.Second); return false }}
		k := NewKeychain(KeychainConfig{})
		k.run = a.run
		results := make(chan error)
		for range 5 {
			go func() { _, err := k.Get(context.Background(), "name"); results <- err }()
		}
		for range 5 {
			if err := <-results; !errors.Is(err, ErrLocked) {
				t.Error(err)
			}
		}
		if a.dialogs != 1 {
			t.Errorf("%d dialogs for calls that waited together", a.dialogs)
		}
		time.Sleep(time.Second)
		if _, err := k.Get(context.Background(), "name"); !errors.Is(err, ErrLocked) || a.dialogs != 2 {
			t.Errorf("later: %v, %d dialogs", err, a.dialogs)
		}
	})
}

func TestServe(t *testing.T) {
	echo := func(_ context.Context, req request) (string, error) {
		switch req.Op {
		case opGet:
			return req.Service + req.Item, nil
		case opSet:
			return "", &Error{kind: ErrLocked, reason: "why", Hint: "what to do"}
		case opDelete:
			return "", ErrNotFound
		}
		return "", errors.New("unforeseen")
	}
	for _, c := range []struct{ in, want string }{
		{`{"op":"get","service":"s","item":"i"}`, `{"text":"si"}`},
		{`{"op":"set","text":"x"}`, `{"failure":"locked","reason":"why","hint":"what to do"}`},
		{`{"op":"delete"}`, `{"failure":"not_found","reason":"not in the keychain"}`},
		{`{"op":"probe"}`, `{"failure":"unavailable","reason":"unforeseen"}`},
	} {
		in, ask, err := os.Pipe() // open, as the parent leaves it
		if err != nil {
			t.Fatal(err)
		}
		ask.WriteString(c.in + "\n")
		var out bytes.Buffer
		if err := serve(context.Background(), in, &out, echo); err != nil || strings.TrimSpace(out.String()) != c.want {
			t.Errorf("%s: %v, %s", c.in, err, out.String())
		}
		ask.Close()
		in.Close()
	}
	for _, in := range []string{"", "nonsense canary", `{"op":7}`, `{"text":"` + strings.Repeat("x", maxMessage) + `"}`} {
		var out bytes.Buffer
		err := serve(context.Background(), strings.NewReader(in), &out, echo)
		if err == nil || out.Len() > 0 || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.20q: %v, %s", in, err, out.String())
		}
	}
}

// A parent that dies after it asked for a Set must find the value saved when it starts again; anything else is of no use
// to anybody then, and a dialog must not stay on the screen.
func TestOnlyASetOutlivesItsParent(t *testing.T) {
	for _, c := range []struct {
		request string
		takes   time.Duration
		ends    time.Duration
		done    bool
	}{
		{`{"op":"set","text":"x"}`, 5 * time.Second, 5 * time.Second, true},
		{`{"op":"set","text":"x"}`, time.Hour, lateSet, false},
		{`{"op":"set","text":"x","dialog":true}`, 5 * time.Second, 0, false},
		{`{"op":"get"}`, 5 * time.Second, 0, false},
		{`{"op":"delete"}`, 5 * time.Second, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			var out bytes.Buffer
			err := serve(context.Background(), strings.NewReader(c.request), &out, func(ctx context.Context, _ request) (string, error) {
				select {
				case <-time.After(c.takes):
				case <-ctx.Done():
				}
				return "", ctx.Err()
			})
			if took := time.Since(began); took != c.ends || (err == nil) != c.done {
				t.Errorf("%s of %v: ended after %v, %v", c.request, c.takes, took, err)
			}
		})
	}
}

func TestAnswersKeepTheirMeaning(t *testing.T) {
	for _, kind := range []error{ErrNotFound, ErrLocked, ErrUnavailable, ErrTimeout} {
		if err := answerTo("", &Error{kind: kind, reason: "r"}).err(); !errors.Is(err, kind) {
			t.Errorf("%v became %v", kind, err)
		}
	}
	if err := (answer{Failure: "of a later version"}).err(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an unknown failure: %v", err)
	}
	if long := refused(errors.New(strings.Repeat("é", 1000))).Error(); len([]rune(long)) > 350 {
		t.Errorf("%d characters of a foreign error", len([]rune(long)))
	}
}

func BenchmarkChild(b *testing.B) {
	k := NewKeychain(KeychainConfig{Command: child("files", b.TempDir())})
	for b.Loop() {
		k.Get(context.Background(), "name")
	}
}
