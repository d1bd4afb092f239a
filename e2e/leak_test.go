//go:build e2e && linux

package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// watch gathers whatever other programs could read of ours: arguments and environments of every process while it runs,
// what is printed, window titles. The files are read at the end.
type watch struct {
	issuers []*issuer // they know the secrets

	mu    sync.Mutex
	heard map[string]string // words → where they were found
}

func newWatch() *watch { return &watch{heard: map[string]string{}} }

func (w *watch) said(where, words string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.heard[words]; !known {
		w.heard[words] = where
	}
}

func (d *desktop) noteTitles() { d.watch.said("window titles", d.output("xwininfo", "-root", "-tree")) }

// note reads a process's arguments and environment. Without the rights to read them others have none either.
func (w *watch) note(pid int) {
	for _, what := range []string{"cmdline", "environ"} {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, what)); err == nil {
			w.said("/proc/PID/"+what, string(b))
		}
	}
}

// watchEvery is shorter than any process of ours lives.
const watchEvery = 5 * time.Millisecond

// follow notes a process and all that it starts, until it ends.
func (w *watch) follow(pid int) {
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

// secrets are those the issuers know of, each with what it is.
func (w *watch) secrets() map[string]string {
	found := map[string]string{}
	for _, i := range w.issuers {
		for _, e := range i.happened(func(e event) bool { return e.Event == "secret" }) {
			found[e.Value] = e.Kind
		}
	}
	return found
}

// leaks says where in what was heard and in the files of dir a secret stands.
func (w *watch) leaks(secrets map[string]string, dir string, except ...string) (found []string) {
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

// checkLeaks fails the test if a secret left the few places where it belongs. The browser's own profile is the browser's.
func (d *desktop) checkLeaks() {
	d.t.Helper()
	for _, leak := range d.watch.leaks(d.watch.secrets(), d.dir, "chromium") {
		d.t.Error(leak)
	}
}

// TestALeakWouldBeFound plants a secret in each place where the other tests look for one.
func TestALeakWouldBeFound(t *testing.T) {
	d := newDesktop(t)
	secrets := map[string]string{}
	plant := func(kind string) string {
		secrets["planted-"+kind] = kind
		return "planted-" + kind
	}
	d.write("log/program", plant("file"), 0o600)
	cmd := d.command("sh", "-c", "sleep 60 & wait", plant("argument"))
	cmd.Env = append(cmd.Env, "PLANTED="+plant("environment"))
	d.watch.follow(d.run(cmd).Process.Pid)
	d.watch.follow(d.run(d.command("sh", "-c", "sh -c 'sleep 60 & wait' "+plant("child")+" & wait")).Process.Pid)
	d.must("xprop", "-root", "-f", "WM_NAME", "8s", "-set", "WM_NAME", plant("title"))
	d.watch.said("standard error", "it says "+plant("print"))
	until(t, "every planted secret is found", func() bool {
		d.noteTitles()
		for value, kind := range secrets {
			if len(d.watch.leaks(map[string]string{value: kind}, d.dir)) == 0 {
				return false
			}
		}
		return true
	})
}
