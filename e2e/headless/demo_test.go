//go:build e2e && linux

package headless

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/e2e/rig"
)

// TestHeadlessDemo runs scripts/demo, as make demo does, where there is no display and no session bus.
func TestHeadlessDemo(t *testing.T) {
	for _, test := range []struct {
		name string
		play func(*terminal)
		code int
		ends []string // what the last part of the screen shows
	}{
		{"to the end", func(s *terminal) {
			s.asks("vkdemo wants to use")
			s.types("o\n")
			s.shows("Allowed once: notes:read.")
			s.shows("Choose alice or bob")
			s.types("bob\n")
			s.shows("2) Cancel")
			s.types("1\n")
			s.shows("You are signed in")
			s.shows("list_notes answers, for bob:")
			s.shows("Water the tomatoes on Tuesday")
			s.shows("SERVER")
			s.shows("ready")
			s.asks("headless.test asks to forget")
			s.types("y\n")
		}, 0, []string{"forgot http://127.0.0.1:"}},
		{"denied", func(s *terminal) {
			s.asks("vkdemo wants to use")
			s.types("d\n")
		}, 3, []string{"Denied.", "no token from Valet Key: the person said no"}},
		{"denied at the issuer", func(s *terminal) {
			s.asks("vkdemo wants to use")
			s.types("o\n")
			s.shows("Choose alice or bob")
			s.types("\n")
			s.shows("2) Cancel")
			s.types("2\n")
		}, 3, []string{"the issuer answered access_denied"}},
		{"interrupted", func(s *terminal) {
			s.asks("vkdemo wants to use")
			s.types(ctrlC)
		}, 130, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range []string{"valetkey", "vk", "vkdemo"} {
				rig.Program(t, name)
			}
			h := rig.New(t)
			cmd := h.Command(rig.Root(t, "scripts", "demo"))
			cmd.Dir = ""
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.Path("home"), "TERM=dumb", "TMPDIR=" + h.Dir}
			demo, screen := onTerminal(h, cmd)
			session := demo.Process.Pid
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the terminal shows:\n%s", screen.output.String())
				}
			})
			screen.shows("1. A demo issuer and a demo MCP server start on this computer.")
			screen.shows("There is no display here")
			test.play(screen)
			if code := demo.Wait(); code != test.code {
				t.Errorf("it ended with %v, want %d", demo.ProcessState, test.code)
			}
			for _, words := range test.ends {
				if !strings.Contains(screen.rest(), words) {
					t.Errorf("its end does not show %q", words)
				}
			}
			var left []string
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				if left = leftOf(session, h.Dir); len(left) == 0 {
					break
				}
			}
			if len(left) > 0 {
				t.Errorf("still running: %q", left)
			}
			if files, _ := filepath.Glob(h.Path("tmp.*")); len(files) > 0 {
				t.Errorf("left behind: %q", files)
			}
			filepath.WalkDir(h.Path("home"), func(path string, e fs.DirEntry, err error) error {
				if err == nil && !e.IsDir() && filepath.Ext(path) != ".lock" { // which is empty, and must not be removed
					t.Errorf("left in the home: %s", path)
				}
				return err
			})
		})
	}
}

// leftOf are the arguments of processes of a terminal's session, or with dir in their environment or arguments.
func leftOf(session int, dir string) (left []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		said, _ := os.ReadFile(stat)
		fields := bytes.Fields(said[bytes.LastIndexByte(said, ')')+1:]) // state, parent, group, session
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(stat), "cmdline"))
		env, _ := os.ReadFile(filepath.Join(filepath.Dir(stat), "environ"))
		if len(fields) < 4 || string(fields[0]) == "Z" {
			continue
		}
		in := string(fields[3]) == strconv.Itoa(session)
		if in || bytes.Contains(env, []byte(dir)) || bytes.Contains(args, []byte(dir)) {
			left = append(left, string(bytes.ReplaceAll(args, []byte{0}, []byte(" "))))
		}
	}
	return left
}
