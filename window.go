//go:build !headless

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

// appID is the program's name for desktops, as in FyneApp.toml.
const appID = "com.github.valetkey.valetkey"

// window is the role that shows windows. It ends with the last of them.
func window() error {
	conn, err := windows.Inherited()
	if err != nil {
		return err
	}
	if err := glfw.Init(); err != nil { // Fyne would go on without, and panic at the first window
		return fmt.Errorf("no window can be shown: %w", err)
	}
	a := fyneapp.NewWithID(appID)
	a.SetIcon(fyne.NewStaticResource("valetkey.png", assets.Icon()))
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
