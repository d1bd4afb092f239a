package app

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
)

// Fyne asks an object for its size without telling the width it will get, so wrapped text cannot answer. What is drawn
// here can also say how high it is at a width; a container remembers the width it got last for the question without.

// firstWidth is assumed until a container was laid out.
const firstWidth = 440

// tall is an object or a layout whose height depends on its width.
type tall interface{ heightFor(width float32) float32 }

type tallLayout interface {
	heightFor(objects []fyne.CanvasObject, width float32) float32
}

func heightFor(o fyne.CanvasObject, width float32) float32 {
	switch o := o.(type) {
	case tall:
		return o.heightFor(width)
	case *fyne.Container:
		if l, ok := o.Layout.(tallLayout); ok {
			return l.heightFor(o.Objects, width)
		}
	}
	return o.MinSize().Height
}

// width is what a layout got last.
type width float32

func (w width) orFirst() float32 {
	if w == 0 {
		return firstWidth
	}
	return float32(w)
}

// column stacks its objects, each as wide as the column.
type column struct {
	gap float32
	got width
}

func vbox(gap float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(&column{gap: gap}, objects...)
}

func (l *column) heightFor(objects []fyne.CanvasObject, width float32) (h float32) {
	for _, o := range objects {
		if o.Visible() {
			h += heightFor(o, width) + l.gap
		}
	}
	return max(0, h-l.gap)
}

func (l *column) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(widest(objects), l.heightFor(objects, l.got.orFirst()))
}

func (l *column) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	l.got = width(size.Width)
	var y float32
	for _, o := range objects {
		if o.Visible() {
			h := heightFor(o, size.Width)
			o.Move(fyne.NewPos(0, y))
			o.Resize(fyne.NewSize(size.Width, h))
			y += h + l.gap
		}
	}
}

func widest(objects []fyne.CanvasObject) (w float32) {
	for _, o := range objects {
		if o.Visible() {
			w = max(w, o.MinSize().Width)
		}
	}
	return w
}

// row sets its objects side by side; the one at flex takes the width that the others leave.
type row struct {
	gap  float32
	flex int // -1: none
	mid  bool
	got  width
}

// hbox centres its objects vertically; beside sets them to the top.
func hbox(gap float32, flex int, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(&row{gap: gap, flex: flex, mid: true}, objects...)
}

func beside(gap float32, flex int, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(&row{gap: gap, flex: flex}, objects...)
}

func (l *row) widths(objects []fyne.CanvasObject, width float32) []float32 {
	ws := make([]float32, len(objects))
	rest := width + l.gap
	for i, o := range objects {
		if o.Visible() {
			rest -= l.gap
			if i != l.flex {
				ws[i] = o.MinSize().Width
				rest -= ws[i]
			}
		}
	}
	if l.flex >= 0 {
		ws[l.flex] = max(rest, 0)
	}
	return ws
}

func (l *row) heightFor(objects []fyne.CanvasObject, width float32) (h float32) {
	for i, w := range l.widths(objects, width) {
		if objects[i].Visible() {
			h = max(h, heightFor(objects[i], w))
		}
	}
	return h
}

func (l *row) MinSize(objects []fyne.CanvasObject) fyne.Size {
	w := -l.gap
	for _, o := range objects {
		if o.Visible() {
			w += o.MinSize().Width + l.gap
		}
	}
	return fyne.NewSize(max(w, 0), l.heightFor(objects, l.got.orFirst()))
}

func (l *row) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	l.got = width(size.Width)
	var x float32
	for i, w := range l.widths(objects, size.Width) {
		o := objects[i]
		if !o.Visible() {
			continue
		}
		h, y := heightFor(o, w), float32(0)
		if l.mid {
			y = (size.Height - h) / 2
		}
		o.Move(fyne.NewPos(x, y))
		o.Resize(fyne.NewSize(w, h))
		x += w + l.gap
	}
}

// grid sets its objects in as many columns of one width as there is room for.
type grid struct {
	least float32 // width of a column
	got   width
}

func (l *grid) columns(width float32) (n int, w float32) {
	n = max(1, int(width/l.least))
	return n, width / float32(n)
}

// rows is the height of each row.
func (l *grid) rows(objects []fyne.CanvasObject, width float32) []float32 {
	n, w := l.columns(width)
	rows := make([]float32, (len(objects)+n-1)/n)
	for i, o := range objects {
		rows[i/n] = max(rows[i/n], heightFor(o, w))
	}
	return rows
}

func (l *grid) heightFor(objects []fyne.CanvasObject, width float32) (h float32) {
	for _, row := range l.rows(objects, width) {
		h += row
	}
	return h
}

func (l *grid) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(l.least, l.heightFor(objects, l.got.orFirst()))
}

func (l *grid) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	l.got = width(size.Width)
	n, w := l.columns(size.Width)
	var y float32
	for i, row := range l.rows(objects, size.Width) {
		for j, o := range objects[i*n : min(len(objects), (i+1)*n)] {
			o.Move(fyne.NewPos(float32(j)*w, y))
			o.Resize(fyne.NewSize(w, row))
		}
		y += row
	}
}

// inset leaves a margin around one object.
type inset struct {
	top, right, bottom, left float32
	got                      width
}

func pad(top, right, bottom, left float32, o fyne.CanvasObject) *fyne.Container {
	return container.New(&inset{top: top, right: right, bottom: bottom, left: left}, o)
}

func (l *inset) heightFor(objects []fyne.CanvasObject, width float32) float32 {
	return l.top + heightFor(objects[0], width-l.left-l.right) + l.bottom
}

func (l *inset) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(objects[0].MinSize().Width+l.left+l.right, l.heightFor(objects, l.got.orFirst()))
}

func (l *inset) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	l.got = width(size.Width)
	objects[0].Move(fyne.NewPos(l.left, l.top))
	objects[0].Resize(fyne.NewSize(size.Width-l.left-l.right, size.Height-l.top-l.bottom))
}

// pile lays its objects over each other.
type pile struct{ got width }

func over(objects ...fyne.CanvasObject) *fyne.Container { return container.New(&pile{}, objects...) }

func (l *pile) heightFor(objects []fyne.CanvasObject, width float32) (h float32) {
	for _, o := range objects {
		if o.Visible() {
			h = max(h, heightFor(o, width))
		}
	}
	return h
}

// MinSize is that of the largest: one that scrolls asks for less here than heightFor would give it.
func (l *pile) MinSize(objects []fyne.CanvasObject) (size fyne.Size) {
	for _, o := range objects {
		if o.Visible() {
			size = size.Max(o.MinSize())
		}
	}
	return size
}

func (l *pile) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	l.got = width(size.Width)
	for _, o := range objects {
		o.Move(fyne.NewPos(0, 0))
		o.Resize(size)
	}
}

// viewport scrolls one object vertically. most bounds its own wish for height; 0: it takes what it is given.
type viewport struct {
	content fyne.CanvasObject
	least   float32
	most    float32
}

// scrolling asks for its content's height within [least, most].
func scrolling(least, most float32, content fyne.CanvasObject) (*fyne.Container, *container.Scroll) {
	s := container.NewVScroll(content)
	return container.New(&viewport{content, least, most}, s), s
}

func (l *viewport) heightFor(_ []fyne.CanvasObject, width float32) float32 {
	return min(max(heightFor(l.content, width), l.least), l.most)
}

func (l *viewport) MinSize([]fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(l.content.MinSize().Width, l.least)
}

func (l *viewport) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	s := objects[0].(*container.Scroll)
	l.content = s.Content
	l.content.Resize(fyne.NewSize(size.Width, heightFor(l.content, size.Width))) // tells it the width
	s.Resize(size)
	s.Refresh()
}
