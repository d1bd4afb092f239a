//go:build unix && !darwin

package tray

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fyne.io/systray"
	"github.com/godbus/dbus/v5"
)

const (
	watcher = "org.kde.StatusNotifierWatcher"
	busTime = 2 * time.Second // for the bus to answer
)

var errNoHost = errors.New("no tray on this desktop") // now; an icon appears when one starts

// Available tells whether an icon would be seen now: nil, an error that says why not now, or ErrNoBus. It asks the session bus over a
// connection of its own and never starts a bus.
func Available(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	// Where there is no address, the library's usual way in runs dbus-launch, which leaves a bus behind that nobody owns.
	conn, err := dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoBus, err)
	}
	defer conn.Close()
	if err := errors.Join(conn.Auth(nil), ctx.Err()); err != nil {
		return fmt.Errorf("%w: %w", ErrNoBus, err)
	}
	if err := conn.Hello(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoBus, err)
	}
	var owned bool
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, watcher).Store(&owned); err != nil {
		return fmt.Errorf("%w: %w", ErrNoBus, err)
	}
	if !owned {
		return errNoHost
	}
	var registered dbus.Variant
	err = conn.Object(watcher, "/StatusNotifierWatcher").CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0,
		watcher, "IsStatusNotifierHostRegistered").Store(&registered)
	if is, ok := registered.Value().(bool); err != nil || !ok || !is {
		return errNoHost
	}
	return nil
}

// startable says why systray must not be started: it would start a bus, or wait for one without an end.
func startable(ctx context.Context) error {
	if err := Available(ctx); err != nil && !errors.Is(err, errNoHost) {
		return err
	}
	return nil
}

func (t *Tray) run(ctx context.Context) error {
	systray.SetTitle("Valet Key") // also the Id that tray hosts remember the icon by
	c := t.first()                // before the start: what is set while systray starts can be lost
	built := make(chan struct{})
	start, end := systray.RunWithExternalLoop(func() { defer close(built); c.show(c.now) }, nil)
	start()
	defer end()
	<-built
	bus, err := dbus.SessionBus() // the one that systray has just connected to
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoBus, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lost := context.AfterFunc(bus.Context(), cancel)
	go registerLate(ctx, bus)
	t.draw(ctx, c)
	if !lost() {
		return fmt.Errorf("%w: it went away", ErrNoBus)
	}
	return nil
}

// settled is after how long systray watches for a watcher with certainty.
const settled = time.Second

// registerLate makes up for a watcher that came after systray had looked for one and before it watched for one, as at a
// login, where all starts at once: nobody would ever see the icon.
func registerLate(ctx context.Context, bus *dbus.Conn) {
	select {
	case <-time.After(settled):
	case <-ctx.Done():
		return
	}
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	host := bus.Object(watcher, "/StatusNotifierWatcher")
	var answer dbus.Variant
	if host.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, watcher, "RegisteredStatusNotifierItems").Store(&answer) != nil {
		return // there is none yet, and systray hears of the next
	}
	items, _ := answer.Value().([]string)
	ours := func(item string) bool { // a name of ours on the bus, or that and a path
		name, _, _ := strings.Cut(item, "/")
		return slices.Contains(bus.Names(), name)
	}
	if !slices.ContainsFunc(items, ours) {
		host.CallWithContext(ctx, watcher+".RegisterStatusNotifierItem", dbus.FlagNoAutoStart, "/StatusNotifierItem")
	}
}

// escape keeps an underscore from being taken for the mark of an access key (com.canonical.dbusmenu, property label).
func escape(label string) string { return strings.ReplaceAll(label, "_", "__") }
