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
	"github.com/valetkey/valetkey/tray"
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

// windowsPossible says why no window can be shown; nil when one can, as far as can be told without trying.
func windowsPossible(getenv func(string) string) error {
	if runtime.GOOS != "windows" && runtime.GOOS != "darwin" && getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
		return errNoDisplay
	}
	return nil
}

// errNoDisplay says why there are no windows.
var errNoDisplay = errors.New("there is no display")

// desktop is the face of windows and the tray. What a window shows of a sign-in is written down as well.
type desktop struct {
	windows *windows.Windows
	icon    *tray.Tray
	written face.Nobody
	log     *slog.Logger
}

func newDesktop(self string, wish func(context.Context, face.Wish) error, log *slog.Logger) face.Face {
	d := &desktop{written: face.Nobody{Out: os.Stderr}, log: log}
	d.windows = windows.New(windows.Config{
		Command: func() *exec.Cmd {
			cmd := exec.Command(self, roleWindow)
			cmd.Stderr = os.Stderr
			return cmd
		},
		OnWish: wish,
		Log:    log,
	})
	d.icon = tray.New(tray.Config{
		Icon: assets.TrayIcon(), IconAttention: assets.TrayAttention(), IconProblem: assets.TrayProblem(),
		OnOpen: func() { d.Open() },
		OnWish: func(w face.Wish) {
			if err := wish(context.Background(), w); err != nil {
				log.Warn("what was clicked in the tray could not be done", "error", err)
				d.Open()
			}
		},
		Log: log,
	})
	return d
}

func (*desktop) Name() string { return face.NameWindow }

func (d *desktop) Ask(ctx context.Context, q face.Question) (face.Answer, error) {
	return d.windows.Ask(ctx, q)
}

func (d *desktop) ShowPage(server, page, code string) {
	d.written.ShowPage(server, page, code)
	d.windows.Show(face.PageWaiting)
}

// Paste has nothing to do: the browser comes back to this computer.
func (*desktop) Paste(context.Context, string, func(string) error) {}

func (d *desktop) Open() error {
	d.windows.Show(face.PageServers)
	return nil
}

func (d *desktop) Update(s face.State) {
	d.windows.Update(s)
	d.icon.Update(s)
}

func (d *desktop) Run(ctx context.Context) {
	if err := tray.Available(ctx); err != nil {
		d.log.Info("there is no tray now; start valetkey again to open its window, or use vk", "reason", err)
	}
	if err := d.icon.Run(ctx); err != nil && !errors.Is(err, tray.ErrNoBus) && ctx.Err() == nil {
		d.log.Warn("the tray ended", "error", err)
	}
}

func (d *desktop) Close() { d.windows.Close() }
