package windows

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/valetkey/valetkey/assets"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/tray"
)

// DesktopConfig is what a Desktop needs.
type DesktopConfig struct {
	Program *Program // nil: Missing says why
	Missing *localapi.Error
	OnWish  func(context.Context, face.Wish) error // does what the person wants
	OnShown func(id string)                        // hears that the question with that ID is on the screen
	OnLost  func()                                 // hears that Trouble may have changed
	Log     *slog.Logger
}

// Desktop is the face of windows and the tray. What a window shows of a sign-in is written down as well.
type Desktop struct {
	windows *Windows
	icon    *tray.Tray
	written face.Nobody
	log     *slog.Logger
}

// NewDesktop shows nothing yet.
func NewDesktop(cfg DesktopConfig) *Desktop {
	d := &Desktop{written: face.Nobody{Out: os.Stderr}, log: cfg.Log}
	d.windows = New(Config{Command: cfg.Program.Command, Missing: cfg.Missing, OnWish: cfg.OnWish, OnShown: cfg.OnShown, onLost: func(error) { cfg.OnLost() }, Log: cfg.Log})
	d.icon = tray.New(tray.Config{
		Icon: assets.TrayIcon(), IconAttention: assets.TrayAttention(), IconProblem: assets.TrayProblem(),
		OnOpen: func() { d.windows.Show(face.PageServers) },
		OnWish: func(w face.Wish) {
			if err := cfg.OnWish(context.Background(), w); err != nil {
				cfg.Log.Warn("what was clicked in the tray could not be done", "error", err)
				d.windows.Show(face.PageServers)
			}
		},
		Log: cfg.Log,
	})
	return d
}

// Trouble says why no window will be shown until Valet Key is started again; nil: none is known.
func (d *Desktop) Trouble() *localapi.Error { return d.windows.Trouble() }

// Name is face.NameWindow.
func (*Desktop) Name() string { return face.NameWindow }

// Ask puts q to the person in a window.
func (d *Desktop) Ask(ctx context.Context, q face.Question) (face.Answer, error) {
	return d.windows.Ask(ctx, q)
}

// ShowPage writes what to open, and opens the page of the main window where it stands too.
func (d *Desktop) ShowPage(server, page, code string) {
	d.written.ShowPage(server, page, code)
	d.windows.Show(face.PageWaiting)
}

// Paste has nothing to do: the browser comes back to this computer.
func (*Desktop) Paste(context.Context, string, func(string) error) {}

// Open opens the main window, and returns when it is on the screen.
func (d *Desktop) Open() error { return <-d.windows.Show(face.PageServers) }

// Update gives windows and tray a newer state to draw.
func (d *Desktop) Update(s face.State) {
	d.windows.Update(s)
	d.icon.Update(s)
}

// Run shows the tray until ctx ends, or the tray does.
func (d *Desktop) Run(ctx context.Context) {
	if err := tray.Available(ctx); err != nil {
		d.log.Info("there is no tray now; start valetkey again to open its window, or use vk", "reason", err)
	}
	if err := d.icon.Run(ctx); err != nil && !errors.Is(err, tray.ErrNoBus) && ctx.Err() == nil {
		d.log.Warn("the tray ended", "error", err)
	}
}

// Close withdraws every question and ends the windows.
func (d *Desktop) Close() { d.windows.Close() }
