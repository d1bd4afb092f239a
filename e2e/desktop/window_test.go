//go:build e2e && linux

package desktop

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valetkey/valetkey/e2e/rig"
)

// Titles of our windows.
const (
	titleMain     = "Valet Key"
	titleQuestion = "Valet Key asks"
)

// Colours of the light theme that tell something.
var (
	colorReady   = color.RGBA{0x1a, 0x7f, 0x4e, 0xff}
	colorPrimary = color.RGBA{0x2a, 0x5b, 0xd7, 0xff} // a live button that says yes; the ring of the focus
	colorDanger  = color.RGBA{0xc0, 0x35, 0x2b, 0xff} // a button that takes something away
)

// window is a window on the screen.
type window struct {
	t     testing.TB
	d     *desktop
	id    string
	title string
}

// windows are the visible ones with a title.
func (d *desktop) windows(title string) (ids []string) {
	return strings.Fields(d.output("xdotool", "search", "--onlyvisible", "--name", "^"+title+"$"))
}

// window waits for a window.
func (d *desktop) window(title string) *window {
	d.T.Helper()
	w := &window{t: d.T, d: d, title: title}
	defer func() {
		if w.id == "" {
			d.stacks()
		}
	}()
	rig.Until(d.T, "the window “"+title+"”", func() bool {
		if ids := d.windows(title); len(ids) > 0 {
			w.id = ids[0]
		}
		return w.id != ""
	})
	d.noteTitles()
	rig.Until(d.T, "the window “"+title+"” is painted", func() bool { return !blank(w.look()) })
	return w
}

func (d *desktop) noteTitles() { d.Watch.Said("window titles", d.output("xwininfo", "-root", "-tree")) }

// stacks has our programs print what they are doing, and ends them: why is there no window?
func (d *desktop) stacks() {
	for pid, cmdline := range d.leftovers() {
		if strings.Contains(cmdline, "valetkey") {
			syscall.Kill(pid, syscall.SIGQUIT)
		}
	}
	time.Sleep(time.Second) // for printing
}

// blank tells whether a picture is all of one colour.
func blank(m image.Image) bool {
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y += 3 {
		for x := b.Min.X; x < b.Max.X; x += 3 {
			if m.At(x, y) != m.At(b.Min.X, b.Min.Y) {
				return false
			}
		}
	}
	return true
}

// open tells whether the window is still on the screen.
func (w *window) open() bool {
	return strings.Contains(w.d.output("xwininfo", "-id", w.id), "IsViewable")
}

func (w *window) waitGone() {
	w.t.Helper()
	rig.Until(w.t, "the window is gone", func() bool { return !w.open() })
}

func (w *window) size() (width, height int) {
	w.t.Helper()
	for line := range strings.Lines(w.d.output("xdotool", "getwindowgeometry", "--shell", w.id)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "WIDTH":
			width = n
		case "HEIGHT":
			height = n
		}
	}
	if width == 0 || height == 0 {
		w.t.Fatal("the window has no size: it is gone")
	}
	return width, height
}

// place is where a control is in the window, as the window's program says it from now on; empty when no mouse can reach it.
// It is named as in package app, up to a line's end of its name; of several the first is meant.
func (w *window) place(name string) (at image.Rectangle) {
	w.t.Helper()
	asked := time.Now()
	rig.Until(w.t, "the windows' program says where its controls are", func() bool {
		said, err := os.Stat(w.d.places)
		return err == nil && said.ModTime().After(asked)
	})
	for line := range strings.Lines(string(w.d.Read(filepath.Base(w.d.places)))) {
		var title, id string
		var r image.Rectangle
		if _, err := fmt.Sscanf(line, "%q %q %d %d %d %d\n", &title, &id, &r.Min.X, &r.Min.Y, &r.Max.X, &r.Max.Y); err != nil {
			w.t.Fatalf("the windows' program says %q: %v", line, err)
		}
		if title == w.title && (id == name || strings.HasPrefix(id, name+"\n")) {
			return r
		}
	}
	return at
}

// has tells whether a mouse can reach a control now.
func (w *window) has(name string) bool { return !w.place(name).Empty() }

// find waits for a control.
func (w *window) find(name string) (at image.Rectangle) {
	w.t.Helper()
	rig.Until(w.t, "the window has "+name, func() bool {
		at = w.place(name)
		return !at.Empty()
	})
	return at
}

// click presses the left mouse button over the middle of a control.
func (w *window) click(name string) {
	w.t.Helper()
	at := w.find(name)
	w.move((at.Min.X+at.Max.X)/2, (at.Min.Y+at.Max.Y)/2)
	w.d.must("xdotool", "click", "1")
}

// move puts the mouse over a point of the window.
func (w *window) move(x, y int) {
	w.t.Helper()
	w.d.must("xdotool", "mousemove", "--window", w.id, fmt.Sprint(x), fmt.Sprint(y))
}

// focus gives the window the keyboard. The window manager calls a window active before it gives it that.
func (w *window) focus() {
	w.t.Helper()
	w.d.must("xdotool", "windowactivate", "--sync", w.id)
	rig.Until(w.t, "the window has the keyboard", func() bool {
		return strings.TrimSpace(w.d.output("xdotool", "getwindowfocus")) == w.id
	})
}

// key presses keys, in whatever window has the keyboard.
func (d *desktop) key(names ...string) {
	d.T.Helper()
	d.must("xdotool", append([]string{"key", "--delay", "20"}, names...)...)
}

// close presses the close button in the window's frame.
func (w *window) close() {
	w.t.Helper()
	var x, y int
	for line := range strings.Lines(w.d.output("xwininfo", "-id", w.id)) {
		fmt.Sscanf(strings.TrimSpace(line), "Absolute upper-left X: %d", &x)
		fmt.Sscanf(strings.TrimSpace(line), "Absolute upper-left Y: %d", &y)
	}
	width, _ := w.size()
	w.d.must("xdotool", "mousemove", "--sync", fmt.Sprint(x+width-9), fmt.Sprint(y-12))
	w.d.must("xdotool", "click", "1")
}

// look is a picture of the window; of nothing when it has just gone.
func (w *window) look() image.Image {
	w.t.Helper()
	m, err := png.Decode(strings.NewReader(w.d.output("import", "-window", w.id, "png:-")))
	if err != nil {
		return image.NewRGBA(image.Rect(0, 0, 1, 1))
	}
	return m
}

// photo keeps a picture of the window.
func (w *window) photo(name string) {
	w.t.Helper()
	w.d.keep(name, w.look())
}

// photo keeps a picture of the whole screen.
func (d *desktop) photo(name string) {
	d.T.Helper()
	d.keep(name, d.look())
}

func (d *desktop) look() image.Image {
	d.T.Helper()
	return (&window{t: d.T, d: d, id: "root"}).look()
}

func (d *desktop) keep(name string, m image.Image) {
	d.T.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		d.T.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Pictures, name+".png"), b.Bytes(), 0o644); err != nil {
		d.T.Fatal(err)
	}
}

// waitArmed waits until a button that says yes is live: until it is coloured to its end, give or take the tint that the
// mouse over it adds.
func (w *window) waitArmed(name string) {
	w.t.Helper()
	at := w.find(name)
	rig.Until(w.t, name+" is armed", func() bool {
		got := color.RGBAModel.Convert(w.look().At(at.Max.X-8, (at.Min.Y+at.Max.Y)/2)).(color.RGBA)
		near := func(a, b uint8) bool { return max(a, b)-min(a, b) < 24 }
		return near(got.R, colorPrimary.R) && near(got.G, colorPrimary.G) && near(got.B, colorPrimary.B)
	})
}

// waitColored waits until a control has a colour inside the ring of its focus.
func (w *window) waitColored(name string, want color.RGBA) {
	w.t.Helper()
	rig.Until(w.t, "the window has "+name+" in its colour", func() bool { return w.colored(name, want) })
}

// colored tells whether a control has a colour inside the ring of its focus.
func (w *window) colored(name string, want color.RGBA) bool {
	w.t.Helper()
	return has(w.look(), w.place(name).Inset(4), want)
}

// has tells whether a part of a picture has a colour.
func has(m image.Image, part image.Rectangle, want color.RGBA) bool {
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			if same(m.At(x, y), want) {
				return true
			}
		}
	}
	return false
}

func same(a, b color.Color) bool {
	r1, g1, b1, _ := a.RGBA()
	r2, g2, b2, _ := b.RGBA()
	return r1>>8 == r2>>8 && g1>>8 == g2>>8 && b1>>8 == b2>>8
}
