//go:build !headless

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"

	"fyne.io/fyne/v2"
	fyneapp "fyne.io/fyne/v2/app"
	"github.com/go-gl/glfw/v3.4/glfw"

	"github.com/valetkey/valetkey/app"
	"github.com/valetkey/valetkey/assets"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/tray"
)

// appID is the program's name for desktops, as in FyneApp.toml.
const appID = "com.github.valetkey.valetkey"

// window is the role that shows windows. It ends with the last of them.
func window() error {
	conn, err := face.Inherited()
	if err != nil {
		return err
	}
	if err := glfw.Init(); err != nil { // Fyne would go on without, and panic at the first window
		return fmt.Errorf("no window can be shown: %w", err)
	}
	a := fyneapp.NewWithID(appID)
	a.SetIcon(fyne.NewStaticResource("valetkey.png", assets.Icon()))
	app.Run(app.Config{App: a, Conn: conn, TakeFocus: takeFocus, LeaveFocus: leaveFocus})
	return nil
}

// takeFocus tells GLFW whether the next window may ask for the focus. Fyne has no call for it.
func takeFocus(take bool) {
	hint := glfw.False
	if take {
		hint = glfw.True
	}
	glfw.WindowHint(glfw.FocusOnShow, hint)
}

// windowsPossible says why no window can be shown; nil when one can, as far as can be told without trying.
func windowsPossible(getenv func(string) string) error {
	if runtime.GOOS != "windows" && runtime.GOOS != "darwin" && getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
		return errNoDisplay
	}
	return nil
}

// useWindows asks in windows and shows the tray.
func (f *faces) useWindows(self string, quit func(), log *slog.Logger) {
	windows := face.NewWindows(face.WindowsConfig{
		Command: func() *exec.Cmd {
			cmd := exec.Command(self, roleWindow)
			cmd.Stderr = os.Stderr
			return cmd
		},
		OnWish: func(ctx context.Context, w face.Wish) error { return f.wish(ctx, quit, w) },
		Log:    log,
	})
	icon := tray.New(tray.Config{
		Icon: assets.TrayIcon(), IconAttention: assets.TrayAttention(), IconProblem: assets.TrayProblem(),
		OnOpen: func() { windows.Show(face.PageServers) },
		OnQuit: quit,
		OnWish: func(w face.Wish) {
			if err := f.wish(context.Background(), quit, w); err != nil {
				log.Warn("what was clicked in the tray could not be done", "error", err)
				windows.Show(face.PageServers)
			}
		},
		Log: log,
	})
	f.kind, f.ask = "window", windows.Ask
	f.show = func() error { windows.Show(face.PageServers); return nil }
	onStderr := f.showPage
	f.showPage = func(server string, page oauthflow.Page) {
		onStderr(server, page)
		windows.Show(face.PageWaiting)
	}
	f.update = func(s face.State) { windows.Update(s); icon.Update(s) }
	f.close = windows.Close
	f.run = func(ctx context.Context) {
		if err := tray.Available(ctx); err != nil {
			log.Info("there is no tray now; start valetkey again to open its window, or use vk", "reason", err)
		}
		if err := icon.Run(ctx); err != nil && !errors.Is(err, tray.ErrNoBus) && ctx.Err() == nil {
			log.Warn("the tray ended", "error", err)
		}
	}
}
