package app

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// control is what a button and a tick box have in common: focus with a ring that is easy to see, hover, Space, and
// Escape, which Fyne gives to nobody but the object in focus.
type control struct {
	widget.DisableableWidget

	id       string // names it across redraws of its window, so that the focus can stay
	onEscape func()
	onFocus  func(c fyne.Focusable, gained bool) // hears what Fyne says, also when the window gains or loses focus

	self             fyne.Focusable
	press            func()
	hovered, focused bool
}

func (c *control) FocusGained() { c.focus(true) }
func (c *control) FocusLost()   { c.focus(false) }

func (c *control) focus(gained bool) {
	c.focused = gained
	c.Refresh()
	if c.onFocus != nil {
		c.onFocus(c.self, gained)
	}
}

// MouseIn is called by Fyne.
func (c *control) MouseIn(*desktop.MouseEvent) { c.hovered = true; c.Refresh() }

// MouseMoved is called by Fyne.
func (c *control) MouseMoved(*desktop.MouseEvent) {}

// MouseOut is called by Fyne.
func (c *control) MouseOut() { c.hovered = false; c.Refresh() }

// Tapped is called by Fyne, which takes the focus away from all before.
func (c *control) Tapped(*fyne.PointEvent) {
	if c.Disabled() {
		return
	}
	if canvas := fyne.CurrentApp().Driver().CanvasForObject(c.self.(fyne.CanvasObject)); canvas != nil {
		canvas.Focus(c.self)
	}
	c.press()
}

// TypedRune is called by Fyne.
func (c *control) TypedRune(rune) {}

// TypedKey presses at Space and, on purpose, not at Enter.
func (c *control) TypedKey(e *fyne.KeyEvent) {
	switch {
	case e.Name == fyne.KeySpace:
		c.Tapped(nil)
	case e.Name == fyne.KeyEscape && c.onEscape != nil:
		c.onEscape()
	}
}

// paintRing shows that c has the focus, or that the pointer is over it.
func (c *control) paintRing(ring *canvas.Rectangle) {
	ring.CornerRadius = 7
	switch {
	case c.focused:
		paint(ring, "", theme.ColorNamePrimary, 2)
	case c.hovered && !c.Disabled():
		paint(ring, theme.ColorNameHover, "", 0)
	default:
		paint(ring, "", "", 0)
	}
}

// weight is how a button looks.
type weight int

const (
	ordinary weight = iota
	primary
	quiet  // no frame
	danger // ends or deletes something
	entry  // of a side bar or a menu: quiet, text at the left
)

// ringRoom is left around a button for the ring of the focus.
const ringRoom = 3

type button struct {
	control
	text   string
	icon   fyne.Resource
	weight weight
	chosen bool    // the current one of several
	armed  float32 // below 1: not yet armed, and how far it is
	badge  string  // at the right of an entry
	tail   bool    // the icon stands behind the text
}

func newButton(id, text string, w weight, press func()) *button {
	b := &button{text: text, weight: w, armed: 1}
	b.id, b.press, b.self = id, press, b
	b.ExtendBaseWidget(b)
	return b
}

func (b *button) withIcon(icon fyne.Resource) *button {
	b.icon = icon
	return b
}

// AccessibilityLabel is the button's text.
func (b *button) AccessibilityLabel() string { return b.text }

// AccessibilityRole is that of a button.
func (b *button) AccessibilityRole() fyne.AccessibleRole { return fyne.AccessibleRoleButton }

// CreateRenderer is called by Fyne.
func (b *button) CreateRenderer() fyne.WidgetRenderer {
	r := &buttonRenderer{b: b, ring: canvas.NewRectangle(color.Transparent), back: canvas.NewRectangle(color.Transparent), fill: canvas.NewRectangle(color.Transparent),
		wash: canvas.NewRectangle(color.Transparent), text: canvas.NewText("", color.Transparent), badge: canvas.NewText("", color.Transparent), icon: canvas.NewImageFromResource(nil)}
	r.icon.FillMode = canvas.ImageFillContain
	r.apply()
	return r
}

type buttonRenderer struct {
	b                      *button
	ring, back, fill, wash *canvas.Rectangle
	text, badge            *canvas.Text
	icon                   *canvas.Image
}

func (r *buttonRenderer) Destroy() {}

func (r *buttonRenderer) Objects() []fyne.CanvasObject {
	return []fyne.CanvasObject{r.ring, r.back, r.fill, r.wash, r.icon, r.text, r.badge}
}

const buttonPad, buttonIcon, buttonGap = 14, 16, 6

func (r *buttonRenderer) Refresh() {
	r.apply()
	r.Layout(r.b.Size())
	canvas.Refresh(r.b)
}

// colors are those of the ground, its edge and the text.
func (b *button) colors() (fill, edge, text fyne.ThemeColorName) {
	switch b.weight {
	case primary:
		fill, text = theme.ColorNamePrimary, theme.ColorNameForegroundOnPrimary
		if b.armed < 1 {
			fill = colorArming
		}
	case quiet:
		text = colorMuted
	case entry:
		text = theme.ColorNameForeground
		if b.armed < 1 {
			text = colorMuted
		}
	case danger:
		fill, edge, text = colorSurface, theme.ColorNameError, theme.ColorNameError
	default:
		fill, edge, text = colorSurface, theme.ColorNameInputBorder, theme.ColorNameForeground
		if b.armed < 1 {
			text = colorMuted
		}
	}
	if b.chosen {
		fill, text = colorTint, theme.ColorNameHyperlink
	}
	if b.Disabled() {
		text = theme.ColorNameDisabled
		if fill != "" {
			fill = colorSunken
		}
		if edge != "" {
			edge = colorBorder
		}
	}
	return fill, edge, text
}

func (r *buttonRenderer) apply() {
	b := r.b
	fill, edge, textColor := b.colors()
	radius := theme.Size(theme.SizeNameButtonRadius)
	paint(r.back, fill, edge, 1)
	r.ring.Hidden = !b.focused
	paint(r.ring, "", theme.ColorNamePrimary, 2)
	r.wash.Hidden = !b.hovered || b.Disabled()
	paint(r.wash, theme.ColorNameHover, "", 0)
	r.fill.Hidden = b.armed >= 1 || b.armed <= 0 || b.Disabled()
	switch b.weight {
	case primary:
		paint(r.fill, theme.ColorNamePrimary, "", 0)
	default:
		paint(r.fill, colorTint, "", 0)
	}
	r.ring.CornerRadius = radius + ringRoom
	r.back.CornerRadius, r.wash.CornerRadius, r.fill.CornerRadius = radius, radius, radius
	r.text.Text, r.text.Color = b.text, theme.Color(textColor)
	r.text.TextSize = theme.Size(theme.SizeNameText)
	r.text.TextStyle = fyne.TextStyle{Bold: b.weight != entry || b.chosen}
	r.badge.Text, r.badge.Color, r.badge.TextSize = b.badge, theme.Color(colorMuted), theme.Size(sizeSmall)
	r.badge.TextStyle = fyne.TextStyle{Bold: true}
	r.icon.Hidden = b.icon == nil
	if b.icon != nil {
		r.icon.Resource = theme.NewColoredResource(b.icon, textColor)
		r.icon.Refresh()
	}
}

// inner is the size of icon, gap and text.
func (r *buttonRenderer) inner() fyne.Size {
	size := r.text.MinSize()
	if r.b.text == "" {
		size.Width = 0
	}
	if r.b.icon != nil {
		size.Width += buttonIcon
		if r.b.text != "" {
			size.Width += buttonGap
		}
	}
	return size
}

func (r *buttonRenderer) MinSize() fyne.Size {
	in := r.inner()
	pads := float32(2 * buttonPad)
	switch {
	case r.b.text == "":
		pads = 2 * 9
	case r.b.weight == quiet:
		pads = 2 * 8
	case r.b.weight == entry:
		pads = 2 * 10
	}
	if r.b.badge != "" {
		in.Width += r.badge.MinSize().Width + 12
	}
	return fyne.NewSize(in.Width+pads+2*ringRoom, in.Height+12+2*ringRoom)
}

func (r *buttonRenderer) Layout(size fyne.Size) {
	at, ground := fyne.NewPos(ringRoom, ringRoom), fyne.NewSize(size.Width-2*ringRoom, size.Height-2*ringRoom)
	r.ring.Resize(size)
	for _, o := range []*canvas.Rectangle{r.back, r.wash, r.fill} {
		o.Move(at)
		o.Resize(ground)
	}
	r.fill.Resize(fyne.NewSize(ground.Width*min(max(r.b.armed, 0), 1), ground.Height))
	in := r.inner()
	x := (size.Width - in.Width) / 2
	if r.b.weight == entry {
		x = ringRoom + 10
	}
	text := r.text.MinSize()
	if r.b.icon != nil {
		at := x
		if r.b.tail {
			at = x + text.Width + buttonGap
		} else {
			x += buttonIcon + buttonGap
		}
		r.icon.Move(fyne.NewPos(at, (size.Height-buttonIcon)/2))
		r.icon.Resize(fyne.NewSquareSize(buttonIcon))
	}
	r.text.Move(fyne.NewPos(x, (size.Height-text.Height)/2))
	r.text.Resize(text)
	badge := r.badge.MinSize()
	r.badge.Move(fyne.NewPos(size.Width-ringRoom-10-badge.Width, (size.Height-badge.Height)/2))
	r.badge.Resize(badge)
}

// tick is a box to tick beside what it stands for.
type tick struct {
	control
	checked bool
	round   bool // one of several, of which one is ticked
	label   fyne.CanvasObject
	onTick  func()
}

func newTick(id string, checked bool, label fyne.CanvasObject, onTick func()) *tick {
	t := &tick{checked: checked, label: label, onTick: onTick}
	t.id, t.self = id, t
	t.press = func() {
		t.checked = !t.checked || t.round
		t.Refresh()
		t.onTick()
	}
	t.ExtendBaseWidget(t)
	return t
}

func (t *tick) heightFor(w float32) float32 {
	return max(20, heightFor(t.label, w-tickLeft-tickRight)) + 2*tickPad
}

const tickLeft, tickRight, tickPad = 34, 8, 5

// CreateRenderer is called by Fyne.
func (t *tick) CreateRenderer() fyne.WidgetRenderer {
	r := &tickRenderer{t: t, ring: canvas.NewRectangle(color.Transparent), box: canvas.NewRectangle(color.Transparent),
		mark: canvas.NewImageFromResource(nil)}
	r.Refresh()
	return r
}

type tickRenderer struct {
	t         *tick
	ring, box *canvas.Rectangle
	mark      *canvas.Image
	got       width
}

func (r *tickRenderer) Destroy() {}

func (r *tickRenderer) Objects() []fyne.CanvasObject {
	return []fyne.CanvasObject{r.ring, r.box, r.mark, r.t.label}
}

func (r *tickRenderer) MinSize() fyne.Size {
	w := r.t.label.MinSize().Width + tickLeft + tickRight
	return fyne.NewSize(w, r.t.heightFor(r.got.orFirst()))
}

func (r *tickRenderer) Layout(size fyne.Size) {
	r.got = width(size.Width)
	r.ring.Resize(size)
	r.box.Move(fyne.NewPos(8, tickPad+1))
	r.box.Resize(fyne.NewSquareSize(16))
	r.mark.Move(fyne.NewPos(9, tickPad+2))
	r.mark.Resize(fyne.NewSquareSize(14))
	r.t.label.Move(fyne.NewPos(tickLeft, tickPad))
	r.t.label.Resize(fyne.NewSize(size.Width-tickLeft-tickRight, size.Height-2*tickPad))
}

func (r *tickRenderer) Refresh() {
	t := r.t
	fill, edge, mark := theme.ColorNameInputBackground, theme.ColorNameInputBorder, theme.ColorNameForegroundOnPrimary
	switch {
	case t.checked && t.Disabled():
		fill, edge, mark = colorSunken, theme.ColorNameInputBorder, colorMuted
	case t.checked:
		fill, edge = theme.ColorNamePrimary, ""
	}
	paint(r.box, fill, edge, 1)
	if r.box.CornerRadius = 4; t.round {
		r.box.CornerRadius = 8
	}
	t.paintRing(r.ring)
	r.mark.Hidden = !t.checked
	r.mark.Resource = theme.NewColoredResource(theme.ConfirmIcon(), mark)
	r.mark.Refresh()
	canvas.Refresh(t)
}

// field is a line to type into. Enter in it does nothing unless onEnter is set.
type field struct {
	widget.Entry
	id       string
	onEscape func()
	onFocus  func(fyne.Focusable, bool)
}

func newField(id, hint string, hidden bool) *field {
	f := &field{id: id}
	f.PlaceHolder, f.Password = hint, hidden
	f.ExtendBaseWidget(f)
	return f
}

// FocusGained is called by Fyne.
func (f *field) FocusGained() {
	f.Entry.FocusGained()
	if f.onFocus != nil {
		f.onFocus(f, true)
	}
}

// FocusLost is called by Fyne.
func (f *field) FocusLost() {
	f.Entry.FocusLost()
	if f.onFocus != nil {
		f.onFocus(f, false)
	}
}

// TypedKey hands Escape on.
func (f *field) TypedKey(e *fyne.KeyEvent) {
	if e.Name == fyne.KeyEscape && f.onEscape != nil {
		f.onEscape()
		return
	}
	f.Entry.TypedKey(e)
}
