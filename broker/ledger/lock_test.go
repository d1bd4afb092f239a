package ledger

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
)

// outside is all that a Ledger calls, and stands still wherever it is told to.
type outside struct {
	*keystore.Memory
	still   atomic.Pointer[string] // the call that does not return
	reached chan struct{}
	release chan struct{}
}

func (o *outside) at(call string) {
	if s := o.still.Load(); s != nil && *s == call && o.still.CompareAndSwap(s, nil) {
		o.reached <- struct{}{}
		<-o.release
	}
}

func (o *outside) Get(ctx context.Context, name string) ([]byte, error) {
	o.at("get")
	return o.Memory.Get(ctx, name)
}

func (o *outside) Set(ctx context.Context, name string, value []byte) error {
	o.at("set")
	return o.Memory.Set(ctx, name, value)
}

func (o *outside) Delete(ctx context.Context, name string) error {
	o.at("delete")
	return o.Memory.Delete(ctx, name)
}

// TestNobodyWaitsForACallOut: whatever the ledger calls stands still, and everybody else goes on.
func TestNobodyWaitsForACallOut(t *testing.T) {
	for call, do := range map[string]func(l *Ledger, g *Grant){
		"get":     func(_ *Ledger, g *Grant) { in(t, g, func(turn Turn) { turn.Reread(t.Context()) }) },
		"set":     func(_ *Ledger, g *Grant) { in(t, g, func(turn Turn) { turn.Keep(t.Context(), func(*Record) {}) }) },
		"delete":  func(_ *Ledger, g *Grant) { in(t, g, func(turn Turn) { turn.Delete(t.Context()) }) },
		"gone":    func(_ *Ledger, g *Grant) { in(t, g, func(turn Turn) { turn.Delete(t.Context()) }) },
		"changed": func(l *Ledger, _ *Grant) { l.Note(keystore.ErrLocked) },
	} {
		t.Run(call, func(t *testing.T) {
			o := &outside{Memory: keystore.NewMemory(), reached: make(chan struct{}), release: make(chan struct{})}
			l := Open(t.Context(), Config{Store: o, Changed: func() { o.at("changed") }, Gone: func(*Grant) { o.at("gone") }, Log: slog.New(slog.DiscardHandler)})
			if err := l.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			first, second := granted(t, l, "https://one.example.com"), granted(t, l, "https://two.example.com")
			o.still.Store(&call)
			over := make(chan struct{})
			go func() {
				defer close(over)
				do(l, first)
			}()
			<-o.reached
			others := make(chan struct{})
			go func() {
				defer close(others)
				l.Grants()
				l.ReachedBy("https://two.example.com", "")
				l.Find(second.Record().id())
				l.Writable(second.Record().id())
				l.Adopt(second.Record().id(), "https://alias.example.com")
				l.Keychain()
				l.Client("https://issuer.example.com")
				l.ClientIssuers("https://two.example.com")
				l.Load(t.Context())
				second.Unsaved()
				in(t, second, func(turn Turn) { turn.Gone() })
			}()
			select {
			case <-others:
			case <-time.After(10 * time.Second):
				t.Error("somebody waits for a call out")
			}
			close(o.release)
			<-over
		})
	}
}

func in(t *testing.T, g *Grant, do func(Turn)) {
	t.Helper()
	turn, err := g.Take(context.Background())
	if err != nil {
		t.Error(err)
		return
	}
	defer turn.Give()
	do(turn)
}

func granted(t *testing.T, l *Ledger, server string) *Grant {
	t.Helper()
	turn, fresh := l.Claim(Record{Server: server, Resource: server, Issuer: "https://issuer.example.com", Account: "default"})
	if !fresh {
		t.Fatal("it was there before")
	}
	defer turn.Give()
	if err := turn.Change(t.Context(), func(r *Record) { r.SignedIn(client.Client{ClientID: "one"}, secret.New("r")) }); err != nil {
		t.Fatal(err)
	}
	turn.Introduce()
	return turn.Grant()
}
