//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

// headlessPatience is how long anything may take, with room for a machine that is busy with other tests.
const headlessPatience = 30 * time.Second

// headlessWait waits until something is so.
func headlessWait(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(headlessPatience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", headlessPatience, what)
		}
	}
}

// headless is a place for a Valet Key without a display: a home, a socket and a state directory of its own.
type headless struct {
	t   testing.TB
	dir string // short, because the path of a socket must be
	bus string // address of the session bus; "" means that there is none

	usual bool // the socket is at its usual place, for hosts that pass no VK_SOCK on
}

func newHeadless(t testing.TB) *headless {
	t.Helper()
	dir, err := os.MkdirTemp("", "vkh-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	return &headless{t: t, dir: dir}
}

func (h *headless) path(name string) string { return filepath.Join(h.dir, name) }

func (h *headless) socket() string {
	if !h.usual {
		return h.path("run/agent.sock")
	}
	if dir := fmt.Sprintf("/run/user/%d", os.Getuid()); isDir(dir) {
		return filepath.Join(dir, "valetkey", "agent.sock")
	}
	return h.path("home/.local/state/valetkey/run/agent.sock")
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// env is the whole environment of every program here.
func (h *headless) env() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.path("home"), "LANG=C.UTF-8", "TERM=dumb"}
	if !h.usual {
		env = append(env, "VK_SOCK="+h.socket())
	}
	if h.bus != "" {
		env = append(env, "DBUS_SESSION_BUS_ADDRESS="+h.bus)
	}
	return env
}

func (h *headless) write(name, text string) string {
	h.t.Helper()
	path := h.path(name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func (h *headless) read(name string) []byte {
	h.t.Helper()
	content, err := os.ReadFile(h.path(name))
	if err != nil {
		h.t.Fatal(err)
	}
	return content
}

// copyOf copies a program, so that it is another one for Valet Key.
func (h *headless) copyOf(name, to string) string {
	h.t.Helper()
	content, err := os.ReadFile(program(h.t, name))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.path(to), content, 0o700); err != nil {
		h.t.Fatal(err)
	}
	return h.path(to)
}

// command is a program that ends with the tests at the latest, together with all that it starts.
func (h *headless) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = h.env(), h.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// headlessProcess is a program that runs.
type headlessProcess struct {
	t testing.TB
	*exec.Cmd
	out, err headlessOutput // where they were not set before
	ended    chan struct{}
}

// headlessOutput is what a program has printed so far.
type headlessOutput struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *headlessOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *headlessOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// run starts cmd. It is killed when the test ends.
func (h *headless) run(cmd *exec.Cmd) *headlessProcess {
	h.t.Helper()
	p := &headlessProcess{t: h.t, Cmd: cmd, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.err
	}
	cmd.WaitDelay = 5 * time.Second // for output that a process left behind holds open
	started := make(chan error)
	go func() { // on a thread that lives as long as the process: the kernel takes the thread's end for the parent's
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(p.kill)
	return p
}

func (p *headlessProcess) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// wait waits for the end and returns the exit code, -1 after a signal.
func (p *headlessProcess) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.ProcessState.ExitCode()
	case <-time.After(headlessPatience):
		p.t.Fatalf("%s does not end\n%s", strings.Join(p.Args, " "), p.err.String())
		return 0
	}
}

func (p *headlessProcess) kill() {
	syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// appCommand is valetkey-headless. Later flags replace the first ones.
func (h *headless) appCommand(flags ...string) *exec.Cmd {
	return h.command(program(h.t, "valetkey-headless"), append([]string{
		"--headless", "--keystore", "memory", "--state-dir", h.path("state"), "--browser", program(h.t, "vkdemo") + " browser --yes",
	}, flags...)...)
}

// app starts valetkey-headless and waits until it answers.
func (h *headless) app(flags ...string) *headlessProcess {
	h.t.Helper()
	p := h.run(h.appCommand(flags...))
	h.ready(p)
	return p
}

// ready waits until app answers on its socket.
func (h *headless) ready(app *headlessProcess) {
	h.t.Helper()
	client := h.client()
	defer client.Close()
	headlessWait(h.t, "Valet Key answers", func() bool {
		if !app.running() {
			h.t.Fatalf("Valet Key ended with %v\n%s", app.ProcessState, app.err.String())
		}
		ctx, cancel := context.WithTimeout(context.Background(), headlessPatience)
		defer cancel()
		_, err := client.Status(ctx)
		return err == nil
	})
}

// client is this test as a host.
func (h *headless) client() *localapi.Client { return localapi.NewClient(h.socket()) }

// vk runs vk to its end and returns what it printed. The host behind it is this test.
func (h *headless) vk(args ...string) (out, errs string, code int) {
	h.t.Helper()
	p := h.run(h.command(program(h.t, "vk"), args...))
	code = p.wait()
	return strings.TrimSpace(p.out.String()), strings.TrimSpace(p.err.String()), code
}

// must is vk for what must go well.
func (h *headless) must(args ...string) string {
	h.t.Helper()
	out, errs, code := h.vk(args...)
	if code != 0 {
		h.t.Fatalf("vk %s: exit code %d\n%s", strings.Join(args, " "), code, errs)
	}
	return out
}

// fails is vk for what must fail, with an exit code and with all these words on standard error.
func (h *headless) fails(want int, words []string, args ...string) {
	h.t.Helper()
	out, errs, code := h.vk(args...)
	if code != want || out != "" {
		h.t.Errorf("vk %s: exit code %d, want %d; printed %q\n%s", strings.Join(args, " "), code, want, out, errs)
	}
	for _, w := range words {
		if !strings.Contains(errs, w) {
			h.t.Errorf("vk %s says\n%s\nand not %q", strings.Join(args, " "), errs, w)
		}
	}
}

// grants is what vk list knows.
func (h *headless) grants() []localapi.Grant {
	h.t.Helper()
	var all localapi.Grants
	if err := json.Unmarshal([]byte(h.must("list", "--json")), &all); err != nil {
		h.t.Fatal(err)
	}
	return all.Grants
}

// headlessEveryone is a policy that lets every program use every server.
const headlessEveryone = `{"consents": [{"host": "*", "resource": "*", "scopes": ["*"]}]}`

// headlessSum names a token as a host does that was refused it.
func headlessSum(token string) string { return secret.New(token).SHA256() }
