package app

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/widget"
)

// meter is a thin line of which a part is filled: the time left.
type meter struct {
	widget.BaseWidget
	value float32
}

func newMeter() *meter {
	m := &meter{value: 1}
	m.ExtendBaseWidget(m)
	return m
}

func (m *meter) set(value float32) {
	value = min(max(value, 0), 1)
	if int(value*1000) != int(m.value*1000) {
		m.value = value
		m.Refresh()
	}
}

// CreateRenderer is called by Fyne.
func (m *meter) CreateRenderer() fyne.WidgetRenderer {
	r := &meterRenderer{m: m, back: canvas.NewRectangle(color.Transparent), front: canvas.NewRectangle(color.Transparent)}
	r.Refresh()
	return r
}

type meterRenderer struct {
	m           *meter
	back, front *canvas.Rectangle
}

func (r *meterRenderer) Destroy()           {}
func (r *meterRenderer) MinSize() fyne.Size { return fyne.NewSize(1, 2) }
func (r *meterRenderer) Objects() []fyne.CanvasObject {
	return []fyne.CanvasObject{r.back, r.front}
}

func (r *meterRenderer) Layout(size fyne.Size) {
	r.back.Resize(size)
	r.front.Resize(fyne.NewSize(size.Width*r.m.value, size.Height))
}

func (r *meterRenderer) Refresh() {
	paint(r.back, colorBorder, "", 0)
	paint(r.front, colorArming, "", 0)
	r.Layout(r.m.Size())
	canvas.Refresh(r.m)
}

// shade takes the clicks beside an open menu.
type shade struct {
	widget.BaseWidget
	tapped func()
}

func newShade(tapped func()) *shade {
	s := &shade{tapped: tapped}
	s.ExtendBaseWidget(s)
	return s
}

// Tapped is called by Fyne.
func (s *shade) Tapped(*fyne.PointEvent) { s.tapped() }

// CreateRenderer is called by Fyne.
func (s *shade) CreateRenderer() fyne.WidgetRenderer {
	return widget.NewSimpleRenderer(canvas.NewRectangle(color.Transparent))
}
