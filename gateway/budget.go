package gateway

import (
	"sync"
	"time"
)

const (
	coolDown = 10 * time.Minute
	maxSpent = 1000 // budgets remembered; past that the oldest is forgotten
)

// budget remembers for which operations more scopes were asked for in vain, so that nobody is asked again and again
// (STP-4). Step-ups that were denied are not counted here: the broker has its own measure for those.
type budget struct {
	mu    sync.Mutex
	spent map[string]time.Time // since when
}

// spend notes that for key no more may be asked for a while.
func (b *budget) spend(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, oldest := time.Now(), ""
	for k, since := range b.spent {
		if now.Sub(since) >= coolDown {
			delete(b.spent, k)
		} else if oldest == "" || since.Before(b.spent[oldest]) {
			oldest = k
		}
	}
	if len(b.spent) >= maxSpent {
		delete(b.spent, oldest)
	}
	b.spent[key] = now
}

// left reports whether the budget of key is spent, and how long that lasts.
func (b *budget) left(key string) (wait time.Duration, spent bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	since, ok := b.spent[key]
	wait = coolDown - time.Since(since)
	return wait, ok && wait > 0
}
