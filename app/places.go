package app

import (
	"fmt"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
)

// places says where the controls of the windows are now, a line for each that a mouse can reach: the window's title, the
// control's name, and its left, upper, right and lower edge in pixels of the window. What is in a control is not said.
func (d *desk) places() string {
	var lines strings.Builder
	say := func(w fyne.Window) {
		placed(w.Canvas().Content(), box{to: fyne.NewPos(w.Canvas().Size().Components())}, fyne.Position{}, func(id string, b box) {
			left, upper := w.Canvas().PixelCoordinateForPosition(b.from)
			right, lower := w.Canvas().PixelCoordinateForPosition(b.to)
			fmt.Fprintf(&lines, "%q %q %d %d %d %d\n", w.Title(), id, left, upper, right, lower)
		})
	}
	if d.ask != nil {
		say(d.ask.win)
	}
	if d.main != nil {
		say(d.main.win)
	}
	return lines.String()
}

// box is a rectangle in a window.
type box struct{ from, to fyne.Position }

// placed calls say for the controls in a tree of containers whose middle can be seen through a part of the window. at is
// where o's own container is.
func placed(o fyne.CanvasObject, seen box, at fyne.Position, say func(id string, b box)) {
	if !o.Visible() {
		return
	}
	at = at.Add(o.Position())
	b := box{at, at.Add(o.Size())}
	switch o := o.(type) {
	case *fyne.Container:
		for _, child := range o.Objects {
			placed(child, seen, at, say)
		}
	case *container.Scroll:
		seen.from = fyne.NewPos(max(seen.from.X, b.from.X), max(seen.from.Y, b.from.Y))
		seen.to = fyne.NewPos(min(seen.to.X, b.to.X), min(seen.to.Y, b.to.Y))
		placed(o.Content, seen, at, say)
	case fyne.Focusable:
		x, y := (b.from.X+b.to.X)/2, (b.from.Y+b.to.Y)/2
		if x >= seen.from.X && x < seen.to.X && y >= seen.from.Y && y < seen.to.Y {
			say(idOf(o), b)
		}
	}
}
