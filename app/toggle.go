package app

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"
)

// toggle is a switch beside what it stands for. It does not move by itself: it is drawn anew once something has come of
// pressing it.
type toggle struct {
	control
	on      bool
	pending bool // drawn half: what it shows is wanted and not so yet
	label   fyne.CanvasObject
}

func newToggle(id string, on bool, label fyne.CanvasObject, press func()) *toggle {
	t := &toggle{on: on, label: label}
	t.id, t.self, t.press = id, t, press
	t.ExtendBaseWidget(t)
	return t
}

const (
	toggleWide, toggleHigh, toggleKnob = 30, 18, 12
	toggleLeft, toggleRight, togglePad = 6 + toggleWide + 9, 4, 5
)

func (t *toggle) heightFor(w float32) float32 {
	return max(20, heightFor(t.label, w-toggleLeft-toggleRight)) + 2*togglePad
}

// CreateRenderer is called by Fyne.
func (t *toggle) CreateRenderer() fyne.WidgetRenderer {
	r := &toggleRenderer{t: t, ring: canvas.NewRectangle(color.Transparent), track: canvas.NewRectangle(color.Transparent),
		knob: canvas.NewRectangle(color.Transparent)}
	r.Refresh()
	return r
}

type toggleRenderer struct {
	t                 *toggle
	ring, track, knob *canvas.Rectangle
	got               width
}

func (r *toggleRenderer) Destroy() {}

func (r *toggleRenderer) Objects() []fyne.CanvasObject {
	return []fyne.CanvasObject{r.ring, r.track, r.knob, r.t.label}
}

func (r *toggleRenderer) MinSize() fyne.Size {
	return fyne.NewSize(r.t.label.MinSize().Width+toggleLeft+toggleRight, r.t.heightFor(r.got.orFirst()))
}

func (r *toggleRenderer) Layout(size fyne.Size) {
	r.got = width(size.Width)
	r.ring.Resize(size)
	r.track.Move(fyne.NewPos(6, togglePad+1))
	r.track.Resize(fyne.NewSize(toggleWide, toggleHigh))
	const inset = (toggleHigh - toggleKnob) / 2
	x := float32(6 + inset)
	if r.t.on {
		x = 6 + toggleWide - inset - toggleKnob
	}
	r.knob.Move(fyne.NewPos(x, togglePad+1+inset))
	r.knob.Resize(fyne.NewSquareSize(toggleKnob))
	r.t.label.Move(fyne.NewPos(toggleLeft, togglePad))
	r.t.label.Resize(fyne.NewSize(size.Width-toggleLeft-toggleRight, size.Height-2*togglePad))
}

func (r *toggleRenderer) Refresh() {
	t := r.t
	fill, edge, knob := theme.ColorNameInputBackground, theme.ColorNameInputBorder, theme.ColorNamePlaceHolder
	switch {
	case t.pending && t.on:
		fill, edge, knob = colorArming, "", theme.ColorNameForegroundOnPrimary
	case t.pending:
		edge, knob = colorArming, colorArming
	case t.on:
		fill, edge, knob = theme.ColorNamePrimary, "", theme.ColorNameForegroundOnPrimary
	}
	paint(r.track, fill, edge, 1)
	paint(r.knob, knob, "", 0)
	r.track.CornerRadius, r.knob.CornerRadius = toggleHigh/2, toggleKnob/2
	t.paintRing(r.ring)
	canvas.Refresh(t)
}
