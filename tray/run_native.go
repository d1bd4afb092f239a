//go:build windows || (darwin && cgo)

package tray

import (
	"context"

	"fyne.io/systray"
)

// Available is nil: these systems always have a tray.
func Available(context.Context) error { return nil }

func startable(context.Context) error { return nil }

// run gives this thread to the system's event loop.
func (t *Tray) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := func() {
		c := t.first()
		c.show(c.now)
		go func() {
			t.draw(ctx, c)
			systray.Quit()
		}()
	}
	systray.Run(ready, nil)
	return nil
}
