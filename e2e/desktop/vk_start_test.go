//go:build e2e && linux

package desktop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

// notStarted is a desktop on which Valet Key is installed and does not run.
type notStarted struct{ *desktop }

func newNotStarted(t *testing.T) notStarted {
	d := notStarted{newDesktop(t)}
	d.More = append(d.More, "VK_SOCK=", "VENDOR_API_KEY=s3cret")
	d.keyring(password)
	t.Cleanup(d.end)
	return d
}

// pid is the process of the app, 0 if none runs.
func (d notStarted) pid() int {
	d.T.Helper()
	vk := d.VK("status", "--json")
	if vk.Wait() != 0 {
		return 0
	}
	var status struct{ PID int }
	if err := json.Unmarshal([]byte(vk.Out.String()), &status); err != nil {
		d.T.Fatal(err)
	}
	return status.PID
}

// end ends the app as the end of a session does.
func (d notStarted) end() {
	if pid := d.pid(); pid != 0 {
		syscall.Kill(pid, syscall.SIGTERM)
		rig.Until(d.T, "the app has ended", func() bool { return d.pid() == 0 })
	}
}

const nowhere = "http://127.0.0.1:9/mcp" // where nobody listens

// TestVKStartsTheApp has hosts ask while Valet Key does not run.
func TestVKStartsTheApp(t *testing.T) {
	d := newNotStarted(t)
	d.VK("token", nowhere, "--no-interaction", "--no-start").Fails(8, "Valet Key is not running", "run valetkey")
	if d.pid() != 0 {
		t.Fatal("--no-start started it")
	}

	t.Run("vk token, several at once", func(t *testing.T) {
		var calls []*rig.Process
		for range 4 {
			calls = append(calls, d.VK("token", nowhere, "--no-interaction"))
		}
		for _, c := range calls {
			c.Fails(4, "nobody signed in")
		}
		d.apart(t)
		if len(d.windows(titleMain)) > 0 {
			t.Error("a window opened")
		}
		rig.Until(t, "one app is left of those that were started", func() bool { return len(d.running("--background")) == 1 })
	})
	t.Run("it is started again after it ended with a session, and lives on without the host", func(t *testing.T) {
		d.end()
		host := d.bridge(t)
		pid := d.pid()
		d.apart(t)
		host.Kill()
		if got := d.pid(); got != pid || got == 0 {
			t.Errorf("process %d was started, and now %d answers", pid, got)
		}
	})
	t.Run("vk headers", func(t *testing.T) {
		d.end()
		d.VK("headers", "--host", "codex", "--server", nowhere).Wait()
		d.apart(t)
	})
	t.Run("not after the person quit it, until they start it", func(t *testing.T) {
		d.end()
		d.Start(rig.Program(t, "valetkey")) // vk passes no test's wishes on
		rig.Until(t, "it runs", func() bool { return d.pid() != 0 })
		d.Host(rig.Program(t, "valetkey")).Must() // opens the window
		w := d.window(titleMain)
		w.focus()
		w.click("quit")
		w.waitColored("quit-yes", colorDanger)
		w.click("quit-yes")
		rig.Until(t, "it has quit", func() bool { return d.pid() == 0 })
		d.VK("token", nowhere, "--no-interaction").Fails(8, "you quit it", "run valetkey")
		if said := d.VK("start").Must(); said != "Valet Key is running" {
			t.Errorf("vk start says %q", said)
		}
		d.end()
		d.VK("token", nowhere, "--no-interaction").Fails(4)
	})
}

// TestVKDoesNotStartTheApp where it could not be of use, or where that is not vk's business.
func TestVKDoesNotStartTheApp(t *testing.T) {
	d := newNotStarted(t)
	usual := slices.Clip(d.More)
	for name, c := range map[string]struct {
		env  []string
		says []string
	}{
		"no display":  {[]string{"VK_SOCK=", "DISPLAY="}, []string{"Valet Key is not running", "run valetkey"}},
		"VK_SOCK set": {[]string{"VK_SOCK=" + filepath.Join(d.Dir, "run", "other", "agent.sock")}, []string{"Valet Key is not running", "run valetkey"}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { d.More = usual }()
			d.More = append(usual, c.env...)
			d.VK("token", nowhere, "--no-interaction").Fails(8, c.says...)
			if n := d.running("--background"); len(n) > 0 {
				t.Errorf("started: %v", n)
			}
		})
	}
	// Beside the vk of these lies another valetkey.
	for name, c := range map[string]struct {
		app  string // "": none, and none in PATH
		says []string
	}{
		"not installed":           {"", []string{"there is no valetkey beside vk or in PATH", "install it there"}},
		"no windows beside it":    {rig.Program(t, "valetkey"), []string{"ended at once", "to see why, run in a terminal"}},
		"a program that will not": {"/bin/false", []string{"ended at once: exit status 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			copyProgram(t, rig.Program(t, "vk"), filepath.Join(bin, "vk"))
			if c.app != "" {
				copyProgram(t, c.app, filepath.Join(bin, "valetkey"))
			}
			defer func() { d.More = usual }()
			d.More = append(usual, "PATH=/usr/bin:/bin")
			d.Host(filepath.Join(bin, "vk"), "token", nowhere, "--no-interaction").Fails(8, c.says...)
		})
	}
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// running are the processes of this desktop whose command line has a word.
func (d *desktop) running(word string) (pids []int) {
	for pid, cmdline := range d.leftovers() {
		if strings.Contains(cmdline, word) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// apart fails unless an app runs that has a session of its own, and nothing of the host that made vk start it.
func (d notStarted) apart(t *testing.T) {
	t.Helper()
	pid := d.pid()
	if pid == 0 {
		t.Fatal("no app runs")
	}
	proc := fmt.Sprint("/proc/", pid)
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		t.Fatal(err)
	}
	var parent, group, session int
	after := string(stat[strings.LastIndexByte(string(stat), ')')+4:]) // behind the name and the state
	if _, err := fmt.Sscan(after, &parent, &group, &session); err != nil {
		t.Fatal(err)
	}
	if session != pid || group != pid {
		t.Errorf("process %d is in session %d and group %d", pid, session, group)
	}
	if comm, _ := os.ReadFile(fmt.Sprint("/proc/", parent, "/comm")); strings.TrimSpace(string(comm)) == "vk" {
		t.Errorf("it is a child of vk, process %d", parent)
	}
	for fd := range 3 {
		if at, err := os.Readlink(filepath.Join(proc, "fd", fmt.Sprint(fd))); err != nil || at != os.DevNull {
			t.Errorf("its descriptor %d is %s (%v)", fd, at, err)
		}
	}
	if env, err := os.ReadFile(filepath.Join(proc, "environ")); err != nil || strings.Contains(string(env), "s3cret") {
		t.Errorf("it has the environment of the host (%v)", err)
	}
	if at, err := os.Readlink(filepath.Join(proc, "cwd")); err != nil || at != "/" {
		t.Errorf("it holds the host's directory %s (%v)", at, err)
	}
}

// bridge starts vk bridge, has it answer one request, and returns it.
func (d notStarted) bridge(t *testing.T) *rig.Process {
	t.Helper()
	cmd := d.Command(rig.Program(t, "vk"), "bridge", nowhere)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := d.Run(cmd)
	if _, err := io.WriteString(in, `{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, `"id":1`) || strings.Contains(line, "not running") {
		t.Fatalf("the bridge says %q, %v", line, err)
	}
	return p
}
