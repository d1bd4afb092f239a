//go:build e2e && linux

package e2e

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

// spot is a place in a window, in pixels. Below 0 it counts from the right or the lower edge.
type spot struct{ x, y int }

// Where things are in our windows. Of a question: its lowest row stands still at any height.
var (
	spotAllowOnce     = spot{-168, -34}
	spotAllowOnceEnd  = spot{-122, -34} // coloured last while the button arms
	spotAllowMore     = spot{-64, -34}
	spotAlways        = spot{-90, -88} // the last entry of its menu
	spotSignIn        = spot{-100, -34}
	spotSignInEnd     = spot{-28, -34}
	spotPageWaiting   = spot{67, 147}
	spotCancelSignIn  = spot{523, 144} // of the first sign-in
	spotForget        = spot{769, 91}  // of the first server
	spotServerIsReady = spot{239, 82}  // its dot
)

// window is a window on the screen.
type window struct {
	t  testing.TB
	d  *desktop
	id string
}

// windows are the visible ones with a title.
func (d *desktop) windows(title string) (ids []string) {
	return strings.Fields(d.output("xdotool", "search", "--onlyvisible", "--name", "^"+title+"$"))
}

// window waits for a window.
func (d *desktop) window(title string) *window {
	d.t.Helper()
	w := &window{t: d.t, d: d}
	defer func() {
		if w.id == "" {
			d.stacks()
		}
	}()
	until(d.t, "the window “"+title+"”", func() bool {
		if ids := d.windows(title); len(ids) > 0 {
			w.id = ids[0]
		}
		return w.id != ""
	})
	d.noteTitles()
	until(d.t, "the window “"+title+"” is painted", func() bool { return !blank(w.look()) })
	return w
}

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
	until(w.t, "the window is gone", func() bool { return !w.open() })
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

func (w *window) at(s spot) (x, y int) {
	w.t.Helper()
	width, height := w.size()
	if x = s.x; x < 0 {
		x += width
	}
	if y = s.y; y < 0 {
		y += height
	}
	return x, y
}

// click presses the left mouse button over a place.
func (w *window) click(s spot) {
	w.t.Helper()
	x, y := w.at(s)
	w.d.must("xdotool", "mousemove", "--sync", "--window", w.id, fmt.Sprint(x), fmt.Sprint(y))
	w.d.must("xdotool", "click", "1")
}

// focus gives the window the keyboard. The window manager calls a window active before it gives it that.
func (w *window) focus() {
	w.t.Helper()
	w.d.must("xdotool", "windowactivate", "--sync", w.id)
	until(w.t, "the window has the keyboard", func() bool {
		return strings.TrimSpace(w.d.output("xdotool", "getwindowfocus")) == w.id
	})
}

// key presses keys, in whatever window has the keyboard.
func (d *desktop) key(names ...string) {
	d.t.Helper()
	d.must("xdotool", append([]string{"key", "--delay", "20"}, names...)...)
}

func (d *desktop) must(name string, args ...string) {
	d.t.Helper()
	cmd := d.command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
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
	d.t.Helper()
	d.keep(name, d.look())
}

func (d *desktop) look() image.Image {
	d.t.Helper()
	return (&window{t: d.t, d: d, id: "root"}).look()
}

func (d *desktop) keep(name string, m image.Image) {
	d.t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.pictures, name+".png"), b.Bytes(), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// shows tells whether a place in the window has a colour, give or take the tint that the mouse over it adds.
func (w *window) shows(s spot, want color.RGBA) bool {
	w.t.Helper()
	x, y := w.at(s)
	got := color.RGBAModel.Convert(w.look().At(x, y)).(color.RGBA)
	near := func(a, b uint8) bool { return max(a, b)-min(a, b) < 24 }
	return near(got.R, want.R) && near(got.G, want.G) && near(got.B, want.B)
}

func same(a, b color.Color) bool {
	r1, g1, b1, _ := a.RGBA()
	r2, g2, b2, _ := b.RGBA()
	return r1>>8 == r2>>8 && g1>>8 == g2>>8 && b1>>8 == b2>>8
}

// waitArmed waits until the buttons of a question that say yes are live: until one of them is coloured to its end.
func (w *window) waitArmed(end spot) {
	w.t.Helper()
	until(w.t, "the buttons are armed", func() bool { return w.shows(end, colorPrimary) })
}

// find is the middle of what has a colour in the window; it waits for it to appear.
func (w *window) find(what string, want color.RGBA) spot {
	w.t.Helper()
	var at spot
	until(w.t, what, func() bool {
		m, box := w.look(), image.Rectangle{}
		b := m.Bounds()
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				if same(m.At(x, y), want) {
					box = box.Union(image.Rect(x, y, x+1, y+1))
				}
			}
		}
		at = spot{(box.Min.X + box.Max.X) / 2, (box.Min.Y + box.Max.Y) / 2}
		return !box.Empty()
	})
	return at
}
