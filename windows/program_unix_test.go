//go:build unix

package windows

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// install puts a copy of a program somewhere, with a mode.
func install(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	from, err := exec.LookPath(from)
	if err != nil {
		t.Skip(err)
	}
	content, err := os.ReadFile(from)
	err = errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to+".new", content, 0o700), os.Chmod(to+".new", mode), os.Rename(to+".new", to))
	if err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		at   string // of true, which is found; "": nowhere
		mode os.FileMode
		want string // of the error
	}{
		"beside":            {"bin/valetkey-window", 0o755, ""},
		"in libexec":        {"libexec/valetkey/valetkey-window", 0o755, ""},
		"nowhere":           {"", 0, "valetkey-window is not installed"},
		"elsewhere":         {"valetkey-window", 0o755, "valetkey-window is not installed"},
		"others can change": {"bin/valetkey-window", 0o775, "can be written by others"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			self := filepath.Join(dir, "bin", "valetkey")
			install(t, "true", self, 0o755)
			if c.at != "" {
				install(t, "true", filepath.Join(dir, c.at), c.mode)
			}
			link := filepath.Join(dir, "link")
			if err := os.Symlink(self, link); err != nil {
				t.Fatal(err)
			}
			p, why := Find(func(string) string { return ":0" }, link)
			if c.want != "" {
				if why == nil || !strings.Contains(why.Message, c.want) || !strings.Contains(why.Hint, "install") {
					t.Errorf("%v, want %q", why, c.want)
				}
			} else if why != nil {
				t.Error(why)
			} else if err := p.Command().Run(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnUpdateChangesNothingThatRuns: what is run is the file that was found, not another that took its place.
func TestAnUpdateChangesNothingThatRuns(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("an open file cannot be run here")
	}
	dir := t.TempDir()
	self, window := filepath.Join(dir, "valetkey"), filepath.Join(dir, "valetkey-window")
	install(t, "true", self, 0o755)
	install(t, "true", window, 0o755)
	p, why := find(self)
	if why != nil {
		t.Fatal(why)
	}
	install(t, "false", window, 0o755)
	for range 2 {
		cmd := p.Command()
		conn, done, err := attach(cmd) // its descriptor must not cover the file's
		if err != nil {
			t.Fatal(err)
		}
		err = cmd.Run()
		done()
		conn.Close()
		if err != nil {
			t.Error(err)
		}
	}
}
