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
	icon := fyne.NewStaticResource("valetkey.png", assets.Icon())
	// Said here, or Fyne would look for a FyneApp.toml where the program runs.
	fyneapp.SetMetadata(fyne.AppMetadata{ID: assets.ID, Name: assets.Name, Version: assets.Version, Build: 1, Icon: icon, Migrations: map[string]bool{"fyneDo": true}})
	a := fyneapp.NewWithID(assets.ID)
	a.SetIcon(icon)
	platform, err := start(a)
	if err != nil {
		return err
	}
	if platform == glfw.PlatformX11 {
		scale(a)
	}
	app.Run(app.Config{App: a, Conn: conn, TakeFocus: takeFocus, LeaveFocus: leaveFocus, Room: room, Places: tellPlaces(os.Getenv(envPlaces))})
	return nil
}

// start has Fyne start its driver, which a first window does that is never shown, and says on what. Fyne itself goes on where
// that fails, and panics when a window is to be shown. To start GLFW for it would be to choose the platform in its place.
func start(a fyne.App) (platform glfw.Platform, err error) {
	defer func() {
		if failed := recover(); failed != nil {
			err = fmt.Errorf("no window can be shown: %v", failed)
		}
	}()
	a.NewWindow("")
	return glfw.GetPlatform(), nil
}

// scale makes windows as large as the desktop says in Xft.dpi. Fyne goes by the millimetres of the screen, which often are not
// true.
func scale(a fyne.App) {
	if os.Getenv("FYNE_SCALE") != "" {
		return
	}
	scale := float32(1)
	if m := glfw.GetPrimaryMonitor(); m != nil {
		x, _ := m.GetContentScale()
		scale = max(scale, x)
	}
	if own := a.Settings().Scale(); own > 0 { // the person's, for all programs of Fyne
		scale *= own
	}
	os.Setenv("FYNE_DISABLE_DPI_DETECTION", "1")
	os.Setenv("FYNE_SCALE", fmt.Sprint(scale))
}

// frame is what a desktop puts around a window, at most, in units of a canvas.
const frame = 40

// room is how large w may be on the primary monitor.
func room(w fyne.Window) fyne.Size {
	m := glfw.GetPrimaryMonitor()
	if m == nil {
		return fyne.Size{}
	}
	_, _, width, height := m.GetWorkarea()
	unit := w.Canvas().Scale()
	if glfw.GetPlatform() != glfw.PlatformWayland {
		return fyne.NewSize(float32(width)/unit, float32(height)/unit-frame)
	}
	x, y := m.GetContentScale() // a compositor says nothing of what it needs itself
	return fyne.NewSize(0.85*float32(width)/x/unit, 0.85*float32(height)/y/unit)
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
