//go:build e2e && linux

package desktop

import (
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

// TestALeakWouldBeFound plants a secret in each place where the other tests look for one.
func TestALeakWouldBeFound(t *testing.T) {
	d := newDesktop(t)
	secrets := map[string]string{}
	plant := func(kind string) string {
		secrets["planted-"+kind] = kind
		return "planted-" + kind
	}
	d.Write("program", plant("file"))
	cmd := d.Command("sh", "-c", "sleep 60 & wait", plant("argument"))
	cmd.Env = append(cmd.Env, "PLANTED="+plant("environment"))
	d.Watch.Follow(d.Run(cmd).Process.Pid)
	d.Watch.Follow(d.Run(d.Command("sh", "-c", "sh -c 'sleep 60 & wait' "+plant("child")+" & wait")).Process.Pid)
	d.must("xprop", "-root", "-f", "WM_NAME", "8s", "-set", "WM_NAME", plant("title"))
	d.Watch.Said("standard error", "it says "+plant("print"))
	rig.Until(t, "every planted secret is found", func() bool {
		d.noteTitles()
		for value, kind := range secrets {
			if len(d.Watch.Leaks(map[string]string{value: kind}, d.Dir)) == 0 {
				return false
			}
		}
		return true
	})
}
