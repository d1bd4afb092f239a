package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
)

// ring is a keychain in memory, behind the same calls as a real one, that can fail at a given call.
type ring struct {
	items map[string]string
	calls int
	at    int // the call that fails; 0: none
	how   fault
}

type fault int

const (
	refuses    fault = iota // the call is not carried out and says so
	losesWord               // it is carried out, but no answer comes
	diesBefore              // it is not carried out, and neither is any later one: we or the keychain are gone
	diesAfter               // it is carried out, and no later one is
	lies                    // a Set or Delete is not carried out and says it was; others refuse
)

var faults = map[string]fault{
	"refuses": refuses, "loses its answer": losesWord, "dies before": diesBefore, "dies after": diesAfter, "lies": lies,
}

var errInjected = errors.New("injected")

func (r *ring) run(_ context.Context, req request) (answer, error) {
	r.calls++
	now := r.at > 0 && r.calls == r.at
	if r.at > 0 && r.calls > r.at && (r.how == diesBefore || r.how == diesAfter) {
		return answer{}, errInjected
	}
	if now {
		switch {
		case r.how == lies && (req.Op == opSet || req.Op == opDelete):
			return answer{}, nil
		case r.how == refuses, r.how == lies, r.how == diesBefore:
			return answer{}, errInjected
		}
	}
	a := answerTo(r.do(req))
	if now {
		return answer{}, errInjected
	}
	return a, nil
}

func (r *ring) do(req request) (string, error) {
	text, ok := r.items[req.Item]
	switch {
	case req.Op == opSet:
		r.items[req.Item] = req.Text
		return "", nil
	case !ok:
		return "", ErrNotFound
	case req.Op == opDelete:
		delete(r.items, req.Item)
		return "", nil
	}
	return text, nil
}

// keychain is a new process on the ring, in which nothing fails until arm.
func (r *ring) keychain() *Keychain {
	k := NewKeychain(KeychainConfig{})
	k.limit = 512
	k.run = r.run
	r.at = 0
	return k
}

func (r *ring) arm(at int, how fault) { r.calls, r.at, r.how = 0, at, how }

const name = "grant"

// mustHoldOnly fails unless the ring holds value and not one item more than it needs.
func (r *ring) mustHoldOnly(t *testing.T, value []byte) {
	t.Helper()
	mustHave(t, r.keychain(), name, value)
	_, pieces, err := split(value, 512, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.items) != 1+len(pieces) {
		t.Fatalf("%d items are left of a value that needs %d", len(r.items), 1+len(pieces))
	}
}

// changes are pairs of an old value and a new one, by size; -1 stands for none.
var changes = []struct{ old, new int }{{-1, 100}, {-1, 1000}, {100, 101}, {100, 1000}, {1000, 100}, {1000, 2500}, {2500, 1000}}

// Whatever call a Set fails at, in whatever way, the old value or the new one is whole; and the next Set leaves nothing
// behind of either.
func TestSetSurvivesAnyFailure(t *testing.T) {
	for how, f := range faults {
		for _, c := range changes {
			for _, known := range []bool{false, true} { // is the old value known to the process that fails
				t.Run(fmt.Sprintf("%s/%d to %d/known %v", how, c.old, c.new, known), func(t *testing.T) {
					for at, done := 1, false; !done; at++ {
						done = failSet(t, f, at, c.old, c.new, known)
					}
				})
			}
		}
	}
}

// failSet fails at call at and returns true when a Set has no such call.
func failSet(t *testing.T, f fault, at, oldSize, newSize int, known bool) bool {
	t.Helper()
	ctx := context.Background()
	r := &ring{items: make(map[string]string)}
	k := r.keychain()
	if oldSize >= 0 {
		mustSet(t, k, name, sample(oldSize))
	}
	if !known {
		k = r.keychain()
	}
	r.arm(at, f)
	err := k.Set(ctx, name, sample(newSize))
	if r.calls < at {
		if err != nil {
			t.Fatalf("without a failure: %v", err)
		}
		r.mustHoldOnly(t, sample(newSize))
		return true
	}
	var e *Error
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("call %d: %v is not an *Error", at, err)
	}

	got, getErr := r.keychain().Get(ctx, name)
	isNew := getErr == nil && bytes.Equal(got, sample(newSize))
	isOld := getErr == nil && oldSize >= 0 && bytes.Equal(got, sample(oldSize)) ||
		errors.Is(getErr, ErrNotFound) && oldSize < 0
	if !isNew && !isOld {
		t.Fatalf("call %d: neither the old nor the new value: %v", at, getErr)
	}
	if err == nil && !isNew {
		t.Fatalf("call %d: Set said yes and the old value is there", at)
	}
	if f != diesBefore && f != diesAfter {
		r.at = 0
		mustSet(t, k, name, sample(1500))
		r.mustHoldOnly(t, sample(1500))
	} else {
		mustSet(t, r.keychain(), name, sample(99))
		r.mustHoldOnly(t, sample(99))
	}
	return false
}

// Whatever call a Delete fails at, the value is whole or gone, and another Delete leaves nothing.
func TestDeleteSurvivesAnyFailure(t *testing.T) {
	ctx := context.Background()
	for how, f := range faults {
		for _, size := range []int{100, 1000} {
			for _, known := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/known %v", how, size, known), func(t *testing.T) {
					for at := 1; ; at++ {
						r := &ring{items: make(map[string]string)}
						k := r.keychain()
						mustSet(t, k, name, sample(size))
						if !known {
							k = r.keychain()
						}
						r.arm(at, f)
						err := k.Delete(ctx, name)
						failed := r.calls >= at
						if !failed && err != nil {
							t.Fatalf("without a failure: %v", err)
						}
						got, getErr := r.keychain().Get(ctx, name)
						if gone := errors.Is(getErr, ErrNotFound); !gone && (err == nil || !bytes.Equal(got, sample(size))) {
							t.Fatalf("call %d: Delete: %v; then %d bytes, %v", at, err, len(got), getErr)
						}
						if err != nil {
							if err := r.keychain().Delete(ctx, name); err != nil {
								t.Fatal(err)
							}
						}
						if len(r.items) != 0 {
							t.Fatalf("call %d: %d items are left", at, len(r.items))
						}
						if !failed {
							return
						}
					}
				})
			}
		}
	}
}

// A caller that leaves right after the keychain said yes is not told that the value was saved, or is gone.
func TestCallerLeavesBeforeReadBack(t *testing.T) {
	for _, op := range []string{opSet, opDelete} {
		r := &ring{items: make(map[string]string)}
		k := r.keychain()
		mustSet(t, k, name, sample(10))
		ctx, cancel := context.WithCancel(context.Background())
		k.run = func(runCtx context.Context, req request) (answer, error) {
			if runCtx.Err() != nil {
				return answer{}, runCtx.Err()
			}
			if req.Op == op {
				cancel()
				return answer{}, nil
			}
			return r.run(runCtx, req)
		}
		var err error
		if op == opSet {
			err = k.Set(ctx, name, sample(11))
		} else {
			err = k.Delete(ctx, name)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", op, err)
		}
		cancel()
	}
}

// A change costs as many calls as its layout needs, and no more once this process knows the name.
func TestCallsOfASet(t *testing.T) {
	for _, c := range []struct {
		old, new   int
		first, now int
	}{
		{100, 101, 5, 2},     // head; write and read; is there a piece in either generation
		{1000, 1001, 17, 14}, // head; three pieces and the head, each written and read; three old pieces removed and looked for
	} {
		r := &ring{items: make(map[string]string)}
		k := r.keychain()
		mustSet(t, k, name, sample(c.old))
		r.calls = 0
		mustSet(t, k, name, sample(c.new))
		if r.calls != c.now {
			t.Errorf("%d to %d: %d calls, want %d", c.old, c.new, r.calls, c.now)
		}
		k = r.keychain()
		r.calls = 0
		mustSet(t, k, name, sample(c.old))
		if r.calls < c.first {
			t.Errorf("%d to %d in a new process: %d calls, want at least %d", c.new, c.old, r.calls, c.first)
		}
	}
}

func TestDamage(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name   string
		size   int
		damage func(items map[string]string)
		want   error
	}{
		{"a piece is gone", 1000, func(i map[string]string) { delete(i, pieceName(name, 1, 1)) }, errDamaged},
		{"a piece is another", 1000, func(i map[string]string) { i[pieceName(name, 1, 1)] = i[pieceName(name, 1, 0)] }, errDamaged},
		{"a piece is not base64", 1000, func(i map[string]string) { i[pieceName(name, 1, 1)] = "?" }, errDamaged},
		{"the head is nothing", 1000, func(i map[string]string) { i[name] = "" }, errDamaged},
		{"the value is cut", 100, func(i map[string]string) { i[name] = i[name][:50] }, errDamaged},
		{"the head is newer", 1000, func(i map[string]string) { i[name] = `{"v":2}` }, errNewer},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &ring{items: make(map[string]string)}
			k := r.keychain()
			mustSet(t, k, name, sample(c.size))
			c.damage(r.items)
			if _, err := k.Get(ctx, name); !errors.Is(err, c.want) || !errors.Is(err, ErrUnreadable) {
				t.Fatalf("Get: %v", err)
			}
			if c.want == errNewer {
				if err := k.Set(ctx, name, sample(5)); !errors.Is(err, ErrUnreadable) {
					t.Errorf("Set: %v", err)
				}
				if err := k.Delete(ctx, name); !errors.Is(err, ErrUnreadable) {
					t.Errorf("Delete: %v", err)
				}
				if r.items[name] != `{"v":2}` || len(r.items) != 4 {
					t.Error("what a newer program wrote was changed")
				}
				return
			}
			mustSet(t, k, name, sample(1200))
			mustHave(t, r.keychain(), name, sample(1200))
			if err := k.Delete(ctx, name); err != nil || len(r.items) > 1 {
				t.Errorf("Delete: %v, %d items are left", err, len(r.items))
			}
		})
	}
}
