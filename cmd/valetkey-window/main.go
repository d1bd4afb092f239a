// Valetkey-window shows the windows of Valet Key. Valetkey starts it when there is something to show, over a pair that it
// inherits, and it ends with its last window. It is Fyne's driver and package app, and nothing else.
package main

import (
	"fmt"
	"os"

	"fyne.io/fyne/v2"
	fyneapp "fyne.io/fyne/v2/app"
	"github.com/go-gl/glfw/v3.4/glfw"

	"github.com/valetkey/valetkey/app"
	"github.com/valetkey/valetkey/assets"
	"github.com/valetkey/valetkey/windows"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "valetkey-window:", err)
		os.Exit(1)
	}
}

func run() error {
	os.WriteFile("/proc/self/comm", []byte("valetkey-window"), 0) // Linux took its name from the descriptor it was run by
	conn, err := windows.Inherited()
	if err != nil {
		return err
	}
	if err := glfw.Init(); err != nil { // Fyne would go on without, and panic at the first window
		return fmt.Errorf("no window can be shown: %w", err)
	}
	icon := fyne.NewStaticResource("valetkey.png", assets.Icon())
	// Said here, or Fyne would look for a FyneApp.toml where the program runs.
	fyneapp.SetMetadata(fyne.AppMetadata{ID: assets.ID, Name: assets.Name, Version: assets.Version, Build: 1, Icon: icon, Migrations: map[string]bool{"fyneDo": true}})
	a := fyneapp.NewWithID(assets.ID)
	a.SetIcon(icon)
	app.Run(app.Config{App: a, Conn: conn, TakeFocus: takeFocus, LeaveFocus: leaveFocus, Places: tellPlaces(os.Getenv(envPlaces))})
	return nil
}

// envPlaces names a file for the places of the windows' controls, so that an end-to-end test need not know them. Who can set
// it learns the names of buttons and where they are, and nothing of what is in a window.
const envPlaces = "VK_WINDOW_PLACES"

// tellPlaces keeps what a test wants to know in its file, which is whole at any time; nil without one.
func tellPlaces(file string) func(lines string) {
	if file == "" {
		return nil
	}
	return func(lines string) {
		if os.WriteFile(file+".new", []byte(lines), 0o600) == nil {
			os.Rename(file+".new", file)
		}
	}
}

// takeFocus tells GLFW whether the next window may ask for the focus. Fyne has no call for it.
func takeFocus(take bool) {
	hint := glfw.False
	if take {
		hint = glfw.True
	}
	glfw.WindowHint(glfw.FocusOnShow, hint)
}
