package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	watcherName = "org.kde.StatusNotifierWatcher"
	watcherPath = "/StatusNotifierWatcher"
)

// trayHost is the least a desktop's tray is (StatusNotifierItem of freedesktop.org): it takes icons and looks at each
// once, as a panel that draws it does.
type trayHost struct {
	conn  *dbus.Conn
	items chan item
}

type item struct {
	path dbus.ObjectPath
	from dbus.Sender
}

func newTrayHost(bus string) (*trayHost, error) {
	conn, err := dbus.Connect(bus)
	if err != nil {
		return nil, err
	}
	h := &trayHost{conn: conn, items: make(chan item, 8)}
	reply, err := dbus.RequestNameReply(0), error(nil)
	if err = errors.Join(conn.Export(watcherMethods{h}, watcherPath, watcherName),
		conn.Export(watcherProperties{}, watcherPath, "org.freedesktop.DBus.Properties")); err == nil {
		reply, err = conn.RequestName(watcherName, dbus.NameFlagDoNotQueue)
	}
	if err == nil && reply != dbus.RequestNameReplyPrimaryOwner {
		err = fmt.Errorf("%s has another owner", watcherName)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return h, nil
}

// next waits for an icon, looks at it, and tells the pid of its program.
func (h *trayHost) next(ctx context.Context) (pid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	select {
	case it := <-h.items:
		var properties map[string]dbus.Variant
		if err := h.conn.Object(string(it.from), it.path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0,
			"org.kde.StatusNotifierItem").Store(&properties); err != nil {
			return 0, err
		}
		var id uint32
		err := h.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, string(it.from)).Store(&id)
		return int(id), err
	case <-ctx.Done():
		return 0, errors.New("no icon came into the tray")
	}
}

type watcherMethods struct{ h *trayHost }

func (w watcherMethods) RegisterStatusNotifierItem(path string, from dbus.Sender) *dbus.Error {
	select {
	case w.h.items <- item{dbus.ObjectPath(path), from}:
		return nil
	default:
		return dbus.MakeFailedError(errors.New("the tray is full"))
	}
}

type watcherProperties struct{}

func (watcherProperties) Get(_, name string) (dbus.Variant, *dbus.Error) {
	if name != "IsStatusNotifierHostRegistered" {
		return dbus.Variant{}, dbus.MakeFailedError(errors.New("no such property"))
	}
	return dbus.MakeVariant(true), nil
}
