package ledger

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/valetkey/valetkey/keystore"
)

func opened(t *testing.T, store keystore.Store) *Ledger {
	l := Open(t.Context(), Config{Store: store, Changed: func() {}, Gone: func(*Grant) {}, Log: slog.New(slog.DiscardHandler)})
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestOneGrantOfAName: who claims a grant that another is about to introduce waits, and gets that one; if it is given back
// without, the next one is fresh.
func TestOneGrantOfAName(t *testing.T) {
	for name, introduces := range map[string]bool{"introduced": true, "given back": false} {
		t.Run(name, func(t *testing.T) {
			l := opened(t, keystore.NewMemory())
			rec := Record{Server: "https://one.example.com", Resource: "https://one.example.com", Account: "default"}
			first, fresh := l.Claim(rec)
			if !fresh || len(l.Grants()) != 0 {
				t.Fatalf("fresh %v, %d known", fresh, len(l.Grants()))
			}
			type claim struct {
				turn  Turn
				fresh bool
			}
			claimed := make(chan claim)
			go func() {
				turn, fresh := l.Claim(rec)
				claimed <- claim{turn, fresh}
			}()
			select {
			case second := <-claimed:
				t.Fatalf("two have a turn of one name: %+v", second)
			case <-time.After(20 * time.Millisecond):
			}
			if introduces {
				first.Introduce()
			}
			first.Give()
			second := <-claimed
			if (second.turn.Grant() == first.Grant()) != introduces || second.fresh == introduces || first.Gone() == introduces {
				t.Errorf("the same %v, fresh %v, the first gone %v", second.turn.Grant() == first.Grant(), second.fresh, first.Gone())
			}
			second.turn.Introduce()
			second.turn.Give()
			if len(l.Grants()) != 1 {
				t.Errorf("%d grants", len(l.Grants()))
			}
		})
	}
}

// TestForgottenTwice: who waited to forget a grant that is gone by then leaves alone what was given again under its name.
func TestForgottenTwice(t *testing.T) {
	store := keystore.NewMemory()
	l := opened(t, store)
	g := granted(t, l, "https://one.example.com")
	in(t, g, func(turn Turn) {
		if _, err := turn.Delete(t.Context()); err != nil {
			t.Error(err)
		}
	})
	again := granted(t, l, "https://one.example.com")
	in(t, g, func(turn Turn) {
		if _, err := turn.Delete(t.Context()); err != nil {
			t.Error(err)
		}
	})
	in(t, again, func(turn Turn) {
		if _, err := turn.Reread(t.Context()); errors.Is(err, keystore.ErrNotFound) || turn.Gone() {
			t.Errorf("the new one is lost: %v", err)
		}
	})
}
