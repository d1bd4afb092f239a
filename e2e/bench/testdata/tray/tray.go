// Package tray is the floor under the resident process: an icon with a menu, and nothing behind it.
package tray

import (
	"fyne.io/systray"

	"github.com/valetkey/valetkey/assets"
)

// Run shows the icon until somebody chooses Quit.
func Run() {
	systray.SetTitle("Bare")
	systray.Run(func() {
		systray.SetIcon(assets.TrayIcon())
		for _, label := range []string{"One server: ready", "Nobody waits", "Open"} {
			systray.AddMenuItem(label, "")
		}
		systray.AddSeparator()
		quit := systray.AddMenuItem("Quit", "")
		go func() {
			<-quit.ClickedCh
			systray.Quit()
		}()
	}, nil)
}
