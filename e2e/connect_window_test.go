//go:build e2e && linux

package e2e

import (
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where the switch of the first program is on the page of hosts while no host has access, and the page itself.
var (
	spotPageHosts   = spot{67, 109}
	spotFirstSwitch = spot{459, 289}
	spotAwayOfIt    = spot{400, 34}
)

// cancelLeftOf is how far the middle of Cancel is from that of Write.
const cancelLeftOf = 80

// TestThePersonSwitchesAServerOnAndOff connects Cursor with the mouse, and disconnects it again.
func TestThePersonSwitchesAServerOnAndOff(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.newIssuer()
	server := newMCPServer(t, issuer)
	const text = "{\r\n\t// what I wrote\r\n\t\"mcpServers\" : {\r\n\t\t\"own\": {\"command\": \"x\",},\r\n\t},\r\n}"
	path := filepath.Join(d.dir, "home", ".cursor", "mcp.json")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	d.write("home/.cursor/mcp.json", text, 0o640)
	file := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	a := d.valetkey()
	person := d.browser()
	signing := a.vk("signin", server.url)
	ask := d.window(titleQuestion)
	ask.focus()
	ask.waitArmed(spotSignInEnd)
	ask.click(spotSignIn)
	person.signIn(a.page())
	signing.must()

	d.call(program(t, "valetkey")).must() // opens the window
	w := d.window(titleMain)
	w.focus()
	d.must("xdotool", "windowsize", "--sync", w.id, "880", "740")
	w.click(spotPageHosts)
	w.photo("hosts-before")
	turn := func() {
		t.Helper()
		w.click(spotFirstSwitch)
		w.move(spotAwayOfIt)
	}
	turn()
	write := w.findFilled("the button Write", colorPrimary, 40, 4)
	w.photo("hosts-write")
	w.click(spot{write.x - cancelLeftOf, write.y})
	until(t, "the change is off the window", func() bool { return w.filled(colorPrimary, 40, 4).Empty() })
	if file() != text {
		t.Fatalf("written before the person said so, or after they said no:\n%s", file())
	}
	turn()
	w.click(w.findFilled("the button Write", colorPrimary, 40, 4))
	until(t, "the file has the server", func() bool { return strings.Contains(file(), server.url) })
	w.move(spotAwayOfIt)
	until(t, "the switch is on", func() bool { return w.shows(spot{spotFirstSwitch.x - 8, spotFirstSwitch.y}, colorPrimary) })
	w.photo("hosts-connected")
	if listed := a.vk("connect", "--list").must(); !strings.Contains(listed, server.url) || !strings.Contains(listed, "through Valet Key, by bridge") {
		t.Errorf("vk connect --list says\n%s", listed)
	}
	for _, line := range strings.Split(text, "\r\n") {
		if !strings.Contains(file(), line) {
			t.Errorf("the person's own line %q is gone:\n%s", line, file())
		}
	}

	turn()
	w.click(w.find("the button Take out", colorDanger))
	until(t, "the file is as it was, byte for byte", func() bool { return file() == text })
	until(t, "the switch is off", func() bool { return !w.shows(spot{spotFirstSwitch.x - 8, spotFirstSwitch.y}, colorPrimary) })
	w.photo("hosts-disconnected")
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("beside the file is left: %v", left)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
	a.vk("token", server.url, "--no-interaction").fails(3) // being connected was no consent
}

// move puts the mouse over a place.
func (w *window) move(s spot) {
	w.t.Helper()
	x, y := w.at(s)
	w.d.must("xdotool", "mousemove", "--window", w.id, fmt.Sprint(x), fmt.Sprint(y))
}

// filled is what is covered by rectangles of a colour that are at least that large: the ground of a button, and not its
// frame or a letter.
func (w *window) filled(want color.RGBA, width, height int) (box image.Rectangle) {
	w.t.Helper()
	m := w.look()
	b := m.Bounds()
	all := func(r image.Rectangle) bool {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				if !same(m.At(x, y), want) {
					return false
				}
			}
		}
		return true
	}
	for y := b.Min.Y; y+height <= b.Max.Y; y++ {
		for x := b.Min.X; x+width <= b.Max.X; x++ {
			if r := image.Rect(x, y, x+width, y+height); same(m.At(x, y), want) && all(r) {
				box = box.Union(r)
			}
		}
	}
	return box
}

// findFilled waits for such a button, and is its middle.
func (w *window) findFilled(what string, want color.RGBA, width, height int) spot {
	w.t.Helper()
	var box image.Rectangle
	until(w.t, what, func() bool {
		box = w.filled(want, width, height)
		return !box.Empty()
	})
	return spot{(box.Min.X + box.Max.X) / 2, (box.Min.Y + box.Max.Y) / 2}
}
