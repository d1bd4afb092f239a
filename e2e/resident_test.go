//go:build e2e && linux

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valetkey/valetkey/localapi"
)

// resident is a valetkey that runs on a desktop.
type resident struct {
	*process
	d *desktop
}

// opener is the browser command: it hands the page to the test.
const opener = "#!/bin/sh\nprintf '%s\\n' \"$1\" >\"$(dirname \"$0\")/pages\"\n"

// valetkey starts the program and waits until it answers. env is added to the desktop's, over what is there.
func (d *desktop) valetkey(env ...string) *resident {
	d.t.Helper()
	a := d.valetkeyStarting(env...)
	until(d.t, "Valet Key answers", func() bool {
		if !a.alive() {
			d.t.Fatalf("Valet Key ended: exit code %d\n%s", a.ProcessState.ExitCode(), a.said())
		}
		return a.vk("status").wait().code == 0
	})
	return a
}

// valetkeyStarting only starts it. The test ends with a search for leaks.
func (d *desktop) valetkeyStarting(env ...string) *resident {
	d.t.Helper()
	cmd := d.command(program(d.t, "valetkey"), "--state-dir", filepath.Join(d.dir, "state"), "--browser", "sh "+d.write("open-page", opener, 0o700))
	cmd.Env = append(cmd.Env, env...)
	a := &resident{d.run(cmd), d}
	d.watch.follow(a.Process.Pid)
	return a
}

// hearPages takes what an opener in dir hands over.
func hearPages(t testing.TB, dir string) <-chan string {
	t.Helper()
	fifo := filepath.Join(dir, "pages")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	handed, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { handed.Close() })
	pages := make(chan string, 16)
	go func() {
		for lines := bufio.NewScanner(handed); lines.Scan(); {
			pages <- lines.Text()
		}
	}()
	return pages
}

// page waits for the page that Valet Key opens in the browser.
func (a *resident) page() string {
	a.d.t.Helper()
	select {
	case url := <-a.d.pages:
		return url
	case <-time.After(patience):
		a.d.t.Fatalf("no page was opened\n%s", a.said())
		return ""
	}
}

// noPage fails if a page was opened.
func (a *resident) noPage() {
	a.d.t.Helper()
	select {
	case <-a.d.pages:
		a.d.t.Error("a page was opened in the browser")
	default:
	}
}

// noWindow fails if a question is on the screen.
func (a *resident) noWindow() {
	a.d.t.Helper()
	if len(a.d.windows(titleQuestion)) > 0 {
		a.d.photo("unexpected")
		a.d.t.Error("a window asks")
	}
}

// call is a program that asks Valet Key for something.
type call struct {
	t    testing.TB
	d    *desktop
	cmd  *exec.Cmd
	out  bytes.Buffer
	err  bytes.Buffer
	done chan struct{}
}

// answer is what it printed, and its exit code.
type answer struct {
	out, err string
	code     int
}

// vk starts vk. The host that it stands for is this test.
func (a *resident) vk(args ...string) *call { return a.d.call(program(a.d.t, "vk"), args...) }

// demoHost starts another host.
func (a *resident) demoHost(server string) *call {
	return a.d.call(program(a.d.t, "vkdemo"), "host", "--server", server)
}

func (d *desktop) call(name string, args ...string) *call {
	d.t.Helper()
	return d.callWith(nil, name, args...)
}

// callWith is call with more environment, over what is there.
func (d *desktop) callWith(env []string, name string, args ...string) *call {
	d.t.Helper()
	c := &call{t: d.t, d: d, cmd: d.command(name, args...), done: make(chan struct{})}
	c.cmd.Env = append(c.cmd.Env, env...)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.err
	p := &process{Cmd: c.cmd, ended: c.done}
	d.launch(p)
	d.watch.note(c.cmd.Process.Pid)
	d.t.Cleanup(p.kill)
	return c
}

// pending tells whether it still waits.
func (c *call) pending() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *call) wait() answer {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatalf("%s got no answer within %v", c.cmd, patience)
	}
	c.d.watch.said(filepath.Base(c.cmd.Path)+"'s standard error", c.err.String())
	return answer{c.out.String(), c.err.String(), c.cmd.ProcessState.ExitCode()}
}

// must is wait for what must go well. It returns what was printed.
func (c *call) must() string {
	c.t.Helper()
	a := c.wait()
	if a.code != 0 {
		c.t.Fatalf("%s: exit code %d\n%s", strings.Join(c.cmd.Args, " "), a.code, a.err)
	}
	return strings.TrimSpace(a.out)
}

// fails is wait for what must fail: with that exit code, and with all these words on standard error.
func (c *call) fails(code int, words ...string) {
	c.t.Helper()
	a := c.wait()
	if a.code != code {
		c.t.Errorf("%s: exit code %d, want %d\n%s", strings.Join(c.cmd.Args[1:], " "), a.code, code, a.err)
	}
	for _, w := range words {
		if !strings.Contains(a.err, w) {
			c.t.Errorf("%s says\n%s, which does not contain %q", strings.Join(c.cmd.Args[1:], " "), a.err, w)
		}
	}
}

// grants is what Valet Key says it has.
func (a *resident) grants() []localapi.Grant {
	a.d.t.Helper()
	var all localapi.Grants
	if err := json.Unmarshal([]byte(a.vk("list", "--json").must()), &all); err != nil {
		a.d.t.Fatal(err)
	}
	return all.Grants
}

// letIn is the whole of a first use: a host asks, the person allows it always by mouse and signs in. It returns what
// the host printed.
func (a *resident) letIn(c *call, b *chromium) string {
	a.d.t.Helper()
	a.allowAlways()
	b.signIn(a.page())
	return c.must()
}

// allowAlways answers the question on the screen.
func (a *resident) allowAlways() {
	a.d.t.Helper()
	w := a.d.window(titleQuestion)
	w.focus()
	w.waitArmed(spotAllowOnceEnd)
	w.click(spotAllowMore)
	w.click(spotAlways)
	w.waitGone()
}

// crash ends the program itself at once, and nothing else.
func (a *resident) crash() {
	a.Process.Kill()
	<-a.ended
}

// waitAlone waits until what a crashed program had started has ended as well.
func (a *resident) waitAlone() {
	a.d.t.Helper()
	until(a.d.t, "no child of the crashed program is left", func() bool {
		for _, cmdline := range a.d.leftovers() {
			if strings.HasSuffix(strings.TrimSpace(cmdline), " keychain") {
				return false
			}
		}
		return true
	})
}
