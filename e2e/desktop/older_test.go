//go:build e2e && linux

package desktop

import (
	"os"
	"syscall"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/face"
)

// TestAValetKeyThatIsOlderThanItsFile was started before an update: it runs the new file in its role "window" and greets
// nobody. Its windows come up, and nothing is said to it that it does not know.
func TestAValetKeyThatIsOlderThanItsFile(t *testing.T) {
	d := newDesktop(t)
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := d.Command(rig.Program(t, "valetkey"), "window")
	theirs := os.NewFile(uintptr(pair[1]), "window")
	cmd.ExtraFiles = []*os.File{theirs}
	window := d.Run(cmd)
	theirs.Close()
	conn := face.NewConn(os.NewFile(uintptr(pair[0]), "resident"))
	for _, m := range []face.Message{{State: &face.State{Keychain: "ok"}}, {Page: face.PageServers}} {
		if err := conn.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	d.window(titleMain)
	for _, want := range []string{"the wish to look for programs", "that the page was taken"} {
		m, err := conn.Receive()
		if err != nil || m.Wish == nil && !m.Taken {
			t.Errorf("it says %+v (%v), want %s", m, err, want)
		}
	}
	conn.Close()
	if code := window.Wait(); code != 0 {
		t.Errorf("it ended with %d: %s", code, window.Err.String())
	}
}
