package demo

import (
	"crypto/rand"
	"time"
)

// table is a map that forgets: each row has an end, and when the table is full the row that ends first makes room.
type table[V any] struct {
	max  int
	rows map[string]row[V]
}

type row[V any] struct {
	value V
	end   time.Time
}

func newTable[V any](max int) table[V] { return table[V]{max, map[string]row[V]{}} }

func (t *table[V]) put(key string, value V, ttl time.Duration) {
	if _, replaces := t.rows[key]; !replaces && len(t.rows) >= t.max {
		t.makeRoom()
	}
	t.rows[key] = row[V]{value, time.Now().Add(ttl)}
}

func (t *table[V]) get(key string) (V, bool) {
	r, ok := t.rows[key]
	if !ok || !time.Now().Before(r.end) {
		var none V
		return none, false
	}
	return r.value, true
}

func (t *table[V]) drop(key string) { delete(t.rows, key) }

func (t *table[V]) makeRoom() {
	now, first := time.Now(), ""
	for key, r := range t.rows {
		if !now.Before(r.end) {
			delete(t.rows, key)
		} else if first == "" || r.end.Before(t.rows[first].end) {
			first = key
		}
	}
	if len(t.rows) >= t.max {
		delete(t.rows, first)
	}
}

// random returns 26 characters that nobody can guess (130 bits).
func random() string { return rand.Text() }
