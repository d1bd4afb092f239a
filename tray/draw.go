//go:build !darwin || cgo

package tray

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"time"

	"fyne.io/systray"
)

var (
	ran          atomic.Bool
	errRanBefore = errors.New("the tray runs once a process") // a limit of the library below
)

// Run shows the icon until ctx ends, and then returns nil. It returns ErrNoBus when there is no session bus or it went
// away; without a tray host it stays and the icon appears when one starts. On macOS it must be called from the main
// goroutine. It cannot be called twice.
func (t *Tray) Run(ctx context.Context) error {
	if err := startable(ctx); err != nil {
		return err
	}
	if !ran.CompareAndSwap(false, true) {
		return errRanBefore
	}
	return t.run(ctx)
}

// drawing is all that is on the screen.
type drawing struct {
	look    look
	tooltip string
	menu    []item
	until   time.Time // when it must be drawn again; zero: not before the next Update
}

func (t *Tray) drawing(now time.Time) drawing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return drawing{lookOf(t.state), tooltip(t.state), menu(t.state, now), nextChange(t.state, now)}
}

// row is an item as systray holds it.
type row struct {
	item
	menuItem *systray.MenuItem // nil for a separator
	sub      []row
}

// canvas is what systray shows now. Only one goroutine touches it, and no other calls systray: its own locks do not
// cover a rebuild as a whole.
type canvas struct {
	tray *Tray
	now  drawing
	rows []row
	stop chan struct{} // ends the goroutines that wait for clicks on rows
}

// first shows the icon before the menu is built.
func (t *Tray) first() *canvas {
	c := &canvas{tray: t, now: t.drawing(time.Now())}
	systray.SetIcon(t.icon(c.now.look))
	systray.SetTooltip(c.now.tooltip)
	return c
}

// draw keeps c up to date until ctx ends. Nothing ticks: it wakes for a new state, when a time that the menu names has
// passed, and when the menu is opened, where the desktop tells: a timer stands still while the computer sleeps.
func (t *Tray) draw(ctx context.Context, c *canvas) {
	defer func() { close(c.stop) }()
	for {
		var passed <-chan time.Time
		if !c.now.until.IsZero() {
			passed = time.After(time.Until(c.now.until))
		}
		select {
		case <-t.changed:
		case <-passed:
		case <-systray.TrayOpenedCh:
		case <-ctx.Done():
			return
		}
		if !c.show(t.drawing(time.Now())) {
			continue
		}
		select {
		case <-time.After(t.gap):
		case <-ctx.Done():
			return
		}
	}
}

// show brings the screen to d and reports whether anything had to change. Rows that keep their place and their meaning
// are relabelled; else the menu is built anew, with new ids, so that a click meant for an old row reaches nothing.
func (c *canvas) show(d drawing) bool {
	if reflect.DeepEqual(c.now, d) && c.stop != nil {
		return false
	}
	if d.look != c.now.look {
		systray.SetIcon(c.tray.icon(d.look))
	}
	if d.tooltip != c.now.tooltip {
		systray.SetTooltip(d.tooltip)
	}
	if c.stop != nil && sameShape(c.now.menu, d.menu) {
		relabel(c.rows, d.menu)
	} else {
		c.clear()
		c.stop = make(chan struct{})
		c.rows = c.build(nil, d.menu)
	}
	c.now = d
	return true
}

// clear takes all rows away. systray sends a click on a row's channel after letting go of its lock and closes that
// channel on removal, which can meet in a panic; a row without a channel is neither sent to nor closed.
func (c *canvas) clear() {
	if c.stop == nil {
		return
	}
	close(c.stop)
	c.stop = nil
	deafen(c.rows)
	c.rows = nil
	systray.ResetMenu()
}

func deafen(rows []row) {
	for _, r := range rows {
		if r.menuItem != nil {
			r.menuItem.ClickedCh = nil
		}
		deafen(r.sub)
	}
}

func (c *canvas) build(parent *systray.MenuItem, items []item) []row {
	rows := make([]row, len(items))
	for n, i := range items {
		rows[n].item = i
		switch {
		case i.line:
			systray.AddSeparator() // only ever between top rows
			continue
		case parent == nil:
			rows[n].menuItem = systray.AddMenuItem(escape(i.label), "")
		default:
			rows[n].menuItem = parent.AddSubMenuItem(escape(i.label), "")
		}
		rows[n].sub = c.build(rows[n].menuItem, i.sub)
		switch {
		case i.open || i.wish != nil:
			go c.tray.listen(i, rows[n].menuItem.ClickedCh, c.stop)
		case len(i.sub) == 0:
			rows[n].menuItem.Disable()
		}
	}
	return rows
}

func (t *Tray) listen(i item, clicked <-chan struct{}, stop <-chan struct{}) {
	for {
		select {
		case <-clicked:
			t.click(i)
		case <-stop:
			return
		}
	}
}

// click does what a row is for.
func (t *Tray) click(i item) {
	t.log.Debug("tray", "row", i.label)
	switch {
	case i.open && t.cfg.OnOpen != nil:
		t.cfg.OnOpen()
	case i.wish != nil && t.cfg.OnWish != nil:
		t.cfg.OnWish(i.wish)
	}
}

// sameShape reports whether a and b differ in labels only.
func sameShape(a, b []item) bool {
	if len(a) != len(b) {
		return false
	}
	for n := range a {
		x, y := a[n], b[n]
		if x.open != y.open || x.line != y.line || x.wish != y.wish || !sameShape(x.sub, y.sub) {
			return false
		}
	}
	return true
}

func relabel(rows []row, items []item) {
	for n, i := range items {
		if i.label != rows[n].label {
			rows[n].menuItem.SetTitle(escape(i.label))
		}
		relabel(rows[n].sub, i.sub)
		rows[n].item = i
	}
}
