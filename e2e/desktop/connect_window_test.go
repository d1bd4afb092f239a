//go:build e2e && linux

package desktop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

// TestThePersonSwitchesAServerOnAndOff connects Cursor with the mouse, and disconnects it again.
func TestThePersonSwitchesAServerOnAndOff(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	const text = "{\r\n\t// what I wrote\r\n\t\"mcpServers\" : {\r\n\t\t\"own\": {\"command\": \"x\",},\r\n\t},\r\n}"
	path := filepath.Join(d.Dir, "home", ".cursor", "mcp.json")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	d.WriteMode("home/.cursor/mcp.json", text, 0o640)
	file := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	a := d.valetkey()
	person := d.Browser()
	signing := d.VK("signin", server.URL)
	ask := d.window(titleQuestion)
	ask.focus()
	ask.waitArmed("allow")
	ask.click("allow")
	person.SignIn(a.page())
	signing.Must()

	d.Host(rig.Program(t, "valetkey")).Must() // opens the window
	w := d.window(titleMain)
	w.focus()
	d.must("xdotool", "windowsize", "--sync", w.id, "880", "740")
	w.click("page-hosts")
	w.photo("hosts-before")
	turn := func() {
		t.Helper()
		w.click("switch\ncursor")
		w.move(0, 0) // the mouse tints what it is over
	}
	turn()
	w.waitColored("write", colorPrimary)
	w.photo("hosts-write")
	w.click("drop") // Cancel
	rig.Until(t, "the change is off the window", func() bool { return !w.has("write") })
	if file() != text {
		t.Fatalf("written before the person said so, or after they said no:\n%s", file())
	}
	turn()
	w.waitColored("write", colorPrimary)
	w.click("write")
	rig.Until(t, "the file has the server", func() bool { return strings.Contains(file(), server.URL) })
	w.move(0, 0)
	w.waitColored("switch\ncursor", colorPrimary)
	w.photo("hosts-connected")
	if listed := d.VK("connect", "--list").Must(); !strings.Contains(listed, server.URL) || !strings.Contains(listed, "through Valet Key, via bridge") {
		t.Errorf("vk connect --list says\n%s", listed)
	}
	for _, line := range strings.Split(text, "\r\n") {
		if !strings.Contains(file(), line) {
			t.Errorf("the person's own line %q is gone:\n%s", line, file())
		}
	}

	turn()
	w.waitColored("write", colorDanger)
	w.click("write") // Take out
	rig.Until(t, "the file is as it was, byte for byte", func() bool { return file() == text })
	rig.Until(t, "the switch is off", func() bool { return w.has("switch\ncursor") && !w.colored("switch\ncursor", colorPrimary) })
	w.photo("hosts-disconnected")
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("beside the file is left: %v", left)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
	d.VK("token", server.URL, "--no-interaction").Fails(3) // being connected was no consent
}
