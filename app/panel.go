package app

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// block is a filled rectangle in colours of the theme.
type block struct {
	widget.BaseWidget
	fill, edge fyne.ThemeColorName // "": none
	radius     float32
	least      fyne.Size
	lifted     bool // casts a shadow
}

func newBlock(fill, edge fyne.ThemeColorName, radius float32) *block {
	b := &block{fill: fill, edge: edge, radius: radius}
	b.ExtendBaseWidget(b)
	return b
}

// CreateRenderer is called by Fyne.
func (b *block) CreateRenderer() fyne.WidgetRenderer {
	r := &blockRenderer{b: b, rect: canvas.NewRectangle(color.Transparent)}
	r.Refresh()
	return r
}

type blockRenderer struct {
	b    *block
	rect *canvas.Rectangle
}

func (r *blockRenderer) Destroy()                     {}
func (r *blockRenderer) Layout(size fyne.Size)        { r.rect.Resize(size) }
func (r *blockRenderer) MinSize() fyne.Size           { return r.b.least }
func (r *blockRenderer) Objects() []fyne.CanvasObject { return []fyne.CanvasObject{r.rect} }

func (r *blockRenderer) Refresh() {
	paint(r.rect, r.b.fill, r.b.edge, 1)
	r.rect.CornerRadius = r.b.radius
	if r.b.lifted {
		r.rect.Shadow = canvas.Shadow{Color: theme.Color(theme.ColorNameShadow), BlurRadius: 14, Offset: fyne.NewPos(0, 4)}
	}
	r.rect.Refresh()
}

// paint gives a rectangle colours of the theme.
func paint(r *canvas.Rectangle, fill, edge fyne.ThemeColorName, stroke float32) {
	r.FillColor, r.StrokeColor, r.StrokeWidth = color.Transparent, color.Transparent, 0
	if fill != "" {
		r.FillColor = theme.Color(fill)
	}
	if edge != "" {
		r.StrokeColor, r.StrokeWidth = theme.Color(edge), stroke
	}
}

// card is a surface with a margin around what it shows.
func card(o fyne.CanvasObject) *fyne.Container {
	return over(newBlock(colorSurface, colorBorder, 10), pad(12, 14, 12, 14, o))
}

// banner is a coloured surface for one thing to notice.
func banner(fill fyne.ThemeColorName, icon fyne.Resource, ink fyne.ThemeColorName, o fyne.CanvasObject) *fyne.Container {
	return over(newBlock(fill, "", 8), pad(8, 12, 8, 10, beside(8, 1, symbol(icon, ink, 18), o)))
}

// chip is a short word on a pill.
func chip(word string, fill, ink fyne.ThemeColorName) *fyne.Container {
	t := line(span{text: word, color: ink, size: sizeSmall, style: fyne.TextStyle{Bold: true}})
	return over(newBlock(fill, "", 9), pad(1, 8, 1, 8, t))
}

// symbol is an icon of a colour and size.
func symbol(icon fyne.Resource, ink fyne.ThemeColorName, size float32) fyne.CanvasObject {
	i := widget.NewIcon(theme.NewColoredResource(icon, ink))
	return over(fixed(size, size), i)
}

// fixed takes room and shows nothing.
func fixed(w, h float32) fyne.CanvasObject {
	b := newBlock("", "", 0)
	b.least = fyne.NewSize(w, h)
	return b
}

// ruler is a thin line across.
func ruler() fyne.CanvasObject {
	b := newBlock(colorBorder, "", 0)
	b.least = fyne.NewSize(1, 1)
	return b
}

// tile is a square with the first letter of a name, as a face for a program.
func tile(name string, fill, ink fyne.ThemeColorName) fyne.CanvasObject {
	letter := "?"
	for _, r := range name {
		letter = string(r)
		break
	}
	t := line(span{text: letter, color: ink, size: sizeTitle, style: fyne.TextStyle{Bold: true}})
	b := newBlock(fill, "", 10)
	b.least = fyne.NewSize(40, 40)
	return over(b, hbox(0, -1, fixed((40-t.MinSize().Width)/2, 40), t))
}

// dot is a small disc that shows a state by its colour.
func dot(ink fyne.ThemeColorName) fyne.CanvasObject {
	b := newBlock(ink, "", 5)
	b.least = fyne.NewSize(10, 10)
	return pad(5, 0, 0, 0, b)
}
