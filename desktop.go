//go:build !headless

package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"runtime"

	"github.com/valetkey/valetkey/assets"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/tray"
	"github.com/valetkey/valetkey/windows"
)

// windowsPossible says why no window can be shown; nil when one can, as far as can be told without trying.
func windowsPossible(getenv func(string) string) error {
	if runtime.GOOS != "windows" && runtime.GOOS != "darwin" && getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
		return errors.New("there is no display")
	}
	return nil
}

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
