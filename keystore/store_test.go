package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

func TestMemory(t *testing.T) { testStore(t, NewMemory()) }

// sample is n bytes that are not text, the same ones for the same n.
func sample(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), 1}).Read(b)
	return b
}

// testStore is the contract of every Store. store is empty.
func testStore(t *testing.T, store Store) {
	ctx := context.Background()
	t.Run("never set", func(t *testing.T) {
		if value, err := store.Get(ctx, "nobody"); !errors.Is(err, ErrNotFound) || value != nil {
			t.Errorf("Get of a name never set: %q, %v", value, err)
		}
		if err := store.Delete(ctx, "nobody"); err != nil {
			t.Errorf("Delete of a name never set: %v", err)
		}
	})
	t.Run("round trips", func(t *testing.T) {
		for _, n := range []int{0, 1, 100, 4 << 10, maxValue, 3 << 10, 7} {
			mustSet(t, store, "size", sample(n))
			mustHave(t, store, "size", sample(n))
		}
		mustSet(t, store, "size", nil)
		mustHave(t, store, "size", []byte{})
		if err := store.Set(ctx, "size", sample(maxValue+1)); err == nil {
			t.Error("a value above 64 KiB was taken")
		}
		mustHave(t, store, "size", []byte{})
	})
	t.Run("names", func(t *testing.T) {
		long := strings.Repeat("n", maxName)
		for _, name := range []string{"a", "a/b:c@d-e_f.9", long} {
			mustSet(t, store, name, []byte(name))
		}
		for _, name := range []string{"a", "a/b:c@d-e_f.9", long} {
			mustHave(t, store, name, []byte(name))
		}
		for _, name := range []string{"", "a b", "a#b", "a\x00b", "ä", "a'b", long + "n"} {
			_, getErr := store.Get(ctx, name)
			setErr, deleteErr := store.Set(ctx, name, nil), store.Delete(ctx, name)
			if getErr == nil || errors.Is(getErr, ErrNotFound) || setErr == nil || deleteErr == nil {
				t.Errorf("name %q: Get %v, Set %v, Delete %v", name, getErr, setErr, deleteErr)
			}
		}
	})
	t.Run("delete", func(t *testing.T) {
		for _, n := range []int{10, 5000} {
			mustSet(t, store, "short-lived", sample(n))
			mustSet(t, store, "neighbour", sample(n+1))
			if err := store.Delete(ctx, "short-lived"); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Get(ctx, "short-lived"); !errors.Is(err, ErrNotFound) {
				t.Errorf("after Delete: %v", err)
			}
			mustHave(t, store, "neighbour", sample(n+1))
		}
	})
	t.Run("no shared memory", func(t *testing.T) {
		value := []byte("as set")
		mustSet(t, store, "copy", value)
		copy(value, "xxxxxx")
		got := mustHave(t, store, "copy", []byte("as set"))
		copy(got, "yyyyyy")
		mustHave(t, store, "copy", []byte("as set"))
	})
	t.Run("a call that is over", func(t *testing.T) {
		mustSet(t, store, "kept", []byte("before"))
		over, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := store.Get(over, "kept"); !errors.Is(err, context.Canceled) {
			t.Errorf("Get: %v", err)
		}
		if err := store.Set(over, "kept", []byte("after")); !errors.Is(err, context.Canceled) {
			t.Errorf("Set: %v", err)
		}
		if err := store.Delete(over, "kept"); !errors.Is(err, context.Canceled) {
			t.Errorf("Delete: %v", err)
		}
		mustHave(t, store, "kept", []byte("before"))
	})
	t.Run("at the same time", func(t *testing.T) {
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				own := fmt.Sprintf("own-%d", i)
				for n := range 3 {
					if err := store.Set(ctx, own, sample(n+i)); err != nil {
						t.Errorf("%s: %v", own, err)
					}
					if got, err := store.Get(ctx, own); err != nil || !bytes.Equal(got, sample(n+i)) {
						t.Errorf("%s: wrong value, %v", own, err)
					}
				}
			})
		}
		all.Wait()
	})
	t.Run("printing shows no value", func(t *testing.T) {
		mustSet(t, store, "canary", []byte("canary-in-clear"))
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			shown := fmt.Sprintf(verb, store)
			for _, spelling := range []string{"%s", "%x", "%d"} {
				if strings.Contains(shown, strings.Trim(fmt.Sprintf(spelling, []byte("canary-in-clear")), "[]")) {
					t.Errorf("%s shows a value", verb)
				}
			}
		}
	})
}

func mustSet(t *testing.T, store Store, name string, value []byte) {
	t.Helper()
	if err := store.Set(context.Background(), name, value); err != nil {
		t.Fatalf("Set %s, %d bytes: %v", name, len(value), err)
	}
}

func mustHave(t *testing.T, store Store, name string, want []byte) []byte {
	t.Helper()
	got, err := store.Get(context.Background(), name)
	if err != nil {
		t.Fatalf("Get %s: %v", name, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("Get %s: %d bytes that are not the %d that were set", name, len(got), len(want))
	}
	return got
}
