package app

import (
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
)

// focusWatch learns from its controls whether their window has the focus: Fyne tells no window, only the object in
// focus, and tells it also when the focus moves inside the window. A window that gains the focus tells the object that
// had it before; a move tells another one. For that to work some object must always have it: see rest.
type focusWatch struct {
	canvas  fyne.Canvas
	home    fyne.Focusable // gets the focus when nothing has it
	changed func(window bool)
	later   func(func()) // runs a function after the event under way

	current fyne.Focusable // last one told
	own     bool           // we move the focus ourselves: that tells nothing
}

// hear is control.onFocus.
func (f *focusWatch) hear(o fyne.Focusable, gained bool) {
	if f.own {
		if gained {
			f.current = o
		}
		return
	}
	if gained {
		if f.current == o {
			f.changed(true)
		}
		f.current = o
		return
	}
	f.later(func() {
		if f.canvas.Focused() == o { // nothing else got it, yet it was lost: the window lost it
			f.changed(false)
		}
	})
}

// rest gives the focus to home when nothing has it. It does not ask the desktop for anything.
func (f *focusWatch) rest() {
	if f.canvas.Focused() != nil {
		return
	}
	f.own = true
	f.canvas.Focus(f.home)
	f.own = false
	f.current = f.home
}

// idOf is the name of a control, "" for none.
func idOf(o fyne.Focusable) string {
	switch o := o.(type) {
	case *button:
		return o.id
	case *tick:
		return o.id
	case *toggle:
		return o.id
	case *field:
		return o.id
	}
	return ""
}

// findID finds the control of that name in a tree of containers.
func findID(o fyne.CanvasObject, id string) (found fyne.Focusable) {
	if id == "" {
		return nil
	}
	each(o, func(f fyne.Focusable) bool {
		if idOf(f) == id {
			found = f
		}
		return found != nil
	})
	return found
}

// each calls f for the controls in a tree of containers, in their order, until it returns true.
func each(o fyne.CanvasObject, f func(fyne.Focusable) bool) bool {
	if c, ok := o.(fyne.Focusable); ok && f(c) {
		return true
	}
	var children []fyne.CanvasObject
	switch o := o.(type) {
	case *fyne.Container:
		children = o.Objects
	case *container.Scroll:
		children = []fyne.CanvasObject{o.Content}
	}
	return slices.ContainsFunc(children, func(child fyne.CanvasObject) bool { return each(child, f) })
}
