//go:build linux

package rig

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Watch gathers whatever other programs could read of ours: arguments and environments of every process while it runs,
// what is printed, window titles. The files are read at the end.
type Watch struct {
	issuers []*Issuer // they know the secrets

	mu    sync.Mutex
	heard map[string]string // words → where they were found
}

// Said notes words that were found somewhere.
func (w *Watch) Said(where, words string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.heard[words]; !known {
		w.heard[words] = where
	}
}

// note reads a process's arguments and environment. Without the rights to read them others have none either.
func (w *Watch) note(pid int) {
	for _, what := range []string{"cmdline", "environ"} {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, what)); err == nil {
			w.Said("/proc/PID/"+what, string(b))
		}
	}
}

// watchEvery is shorter than any process of ours lives.
const watchEvery = 5 * time.Millisecond

// Follow notes a process and all that it starts, until it ends.
func (w *Watch) Follow(pid int) {
	go func() {
		for ; ; time.Sleep(watchEvery) {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d/task", pid)); err != nil {
				return
			}
			w.note(pid)
			for _, child := range children(pid) {
				w.note(child)
				for _, grandchild := range children(child) {
					w.note(grandchild)
				}
			}
		}
	}()
}

func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(b)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// Secrets are those the issuers know of, each with what it is.
func (w *Watch) Secrets() map[string]string {
	found := map[string]string{}
	for _, i := range w.issuers {
		for _, e := range i.Happened(func(e Event) bool { return e.Event == "secret" }) {
			found[e.Value] = e.Kind
		}
	}
	return found
}

// Leaks says where in what was heard and in the files of dir a secret stands.
func (w *Watch) Leaks(secrets map[string]string, dir string, except ...string) (found []string) {
	look := func(where string, words []byte) {
		for value, kind := range secrets {
			if bytes.Contains(words, []byte(value)) {
				found = append(found, "a "+kind+" stands in "+where)
			}
		}
	}
	w.mu.Lock()
	for words, where := range w.heard {
		look(where, []byte(words))
	}
	w.mu.Unlock()
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // gone meanwhile
		case e.IsDir() && slices.Contains(except, e.Name()):
			return fs.SkipDir
		case e.Type().IsRegular():
			if b, err := os.ReadFile(path); err == nil {
				look("the file "+strings.TrimPrefix(path, dir), b)
			}
		}
		return nil
	})
	slices.Sort(found)
	return slices.Compact(found)
}
