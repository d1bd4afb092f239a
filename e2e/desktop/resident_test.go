//go:build e2e && linux

package desktop

import (
	"strings"
	"time"

	"github.com/valetkey/valetkey/e2e/rig"
)

// resident is a valetkey that runs on a desktop.
type resident struct {
	*rig.Process
	d *desktop
}

// valetkey starts the program and waits until it answers. env is added to the desktop's, over what is there.
func (d *desktop) valetkey(env ...string) *resident {
	d.T.Helper()
	cmd := d.Command(rig.Program(d.T, "valetkey"), "--state-dir", d.Path("state"), "--browser", d.opener)
	cmd.Env = append(cmd.Env, env...)
	a := &resident{d.Run(cmd), d}
	d.Watch.Follow(a.Process.Process.Pid)
	d.Ready(a.Process)
	return a
}

// demoHost starts another host.
func (d *desktop) demoHost(server string) *rig.Process {
	return d.Host(rig.Program(d.T, "vkdemo"), "host", "--server", server)
}

// page waits for the page that Valet Key opens in the browser.
func (a *resident) page() string {
	a.d.T.Helper()
	select {
	case url := <-a.d.pages:
		return url
	case <-time.After(rig.Patience):
		a.d.T.Fatalf("no page was opened\n%s", a.Said())
		return ""
	}
}

// noPage fails if a page was opened.
func (a *resident) noPage() {
	a.d.T.Helper()
	select {
	case <-a.d.pages:
		a.d.T.Error("a page was opened in the browser")
	default:
	}
}

// noWindow fails if a question is on the screen.
func (a *resident) noWindow() {
	a.d.T.Helper()
	if len(a.d.windows(titleQuestion)) > 0 {
		a.d.photo("unexpected")
		a.d.T.Error("a window asks")
	}
}

// letIn is the whole of a first use: a host asks, the person allows it always by mouse and signs in. It returns what
// the host printed.
func (a *resident) letIn(c *rig.Process, b *rig.Browser) string {
	a.d.T.Helper()
	a.allowAlways()
	b.SignIn(a.page())
	return c.Must()
}

// allowAlways answers the question on the screen.
func (a *resident) allowAlways() {
	a.d.T.Helper()
	w := a.d.window(titleQuestion)
	w.focus()
	w.waitArmed("allow")
	w.click("allow-more")
	w.click("allow-always")
	w.waitGone()
}

// crash ends the program itself at once, and nothing else.
func (a *resident) crash() {
	a.Process.Process.Kill()
	a.Wait()
}

// waitAlone waits until what a crashed program had started has ended as well.
func (a *resident) waitAlone() {
	a.d.T.Helper()
	rig.Until(a.d.T, "no child of the crashed program is left", func() bool {
		for _, cmdline := range a.d.leftovers() {
			if strings.HasSuffix(strings.TrimSpace(cmdline), " keychain") {
				return false
			}
		}
		return true
	})
}
