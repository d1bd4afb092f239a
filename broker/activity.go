package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/valetkey/valetkey/face"
)

const (
	activityFile  = "activity.jsonl"
	activityBytes = 1 << 20 // then the file is rotated; one old file is kept
	activityShown = 200     // entries kept in memory, newest
	activityQueue = 4096    // entries that may wait for the disk; more are dropped from the file, and it says so

	activityGather = 50 * time.Millisecond // entries of so long are written at once, so that a burst wakes nobody for each
)

// activity is the log of decisions: one JSON line each, bounded, owner-only, without secrets. Entries are written by
// one goroutine, so that a slow disk holds up no host.
type activity struct {
	mu      sync.Mutex
	recent  []face.Entry // newest last
	waiting []face.Entry
	dropped int
	closed  bool
	wake    chan struct{} // holds one token while entries wait
	closing chan struct{}
	done    chan struct{}

	path string
	file *os.File
	size int64
}

// openActivity opens the log in dir; "" keeps it in memory.
func openActivity(dir string) (*activity, error) {
	a := &activity{wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	if dir == "" {
		close(a.done)
		a.closed = true
		return a, nil
	}
	a.path = filepath.Join(dir, activityFile)
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("open the activity log: %w", err)
	}
	go a.write()
	return a, nil
}

func (a *activity) open() error {
	f, err := os.OpenFile(a.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	a.file, a.size = f, info.Size()
	return nil
}

func (a *activity) add(e face.Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recent = append(a.recent, e)
	if len(a.recent) > 2*activityShown {
		a.recent = append(a.recent[:0:0], a.recent[len(a.recent)-activityShown:]...)
	}
	if a.closed {
		return
	}
	if len(a.waiting) == activityQueue {
		a.dropped++
		return
	}
	a.waiting = append(a.waiting, e)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// shown returns the newest entries, newest first.
func (a *activity) shown() []face.Entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := slices.Clone(a.recent[max(0, len(a.recent)-activityShown):])
	slices.Reverse(out)
	return out
}

func (a *activity) close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
	a.mu.Unlock()
	<-a.done
}

func (a *activity) write() {
	defer close(a.done)
	for open := true; open; {
		select {
		case <-a.wake:
		case <-a.closing:
		}
		select {
		case <-time.After(activityGather):
		case <-a.closing:
			open = false
		}
		a.mu.Lock()
		batch, dropped := a.waiting, a.dropped
		a.waiting, a.dropped = nil, 0
		select {
		case <-a.wake:
		default:
		}
		a.mu.Unlock()
		var lines []byte
		for _, e := range batch {
			line, err := json.Marshal(e)
			if err != nil {
				continue // an Entry holds only text, numbers and times
			}
			lines = append(append(lines, line...), '\n')
		}
		if dropped > 0 {
			lines = fmt.Appendf(lines, "{\"event\":\"log\",\"rule\":\"%d entries were not written: the disk was too slow\"}\n", dropped)
		}
		a.append(lines)
	}
	if a.file != nil {
		a.file.Close()
	}
}

// append writes lines and rotates the file when it is full. A disk that fails costs lines of the log and nothing else.
func (a *activity) append(lines []byte) {
	if a.file == nil && a.open() != nil {
		return
	}
	n, err := a.file.Write(lines)
	a.size += int64(n)
	if err == nil && a.size < activityBytes {
		return
	}
	a.file.Close()
	a.file = nil
	if err == nil {
		if err := os.Rename(a.path, a.path+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return
		}
	}
}
