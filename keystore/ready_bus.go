//go:build !windows && !darwin

package keystore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godbus/dbus/v5"
)

const (
	// The Secret Service sets no limit; this one holds the largest value whole.
	itemLimit = 128 << 10

	// The child looks before it calls, so no dialog comes as a surprise.
	asksUnannounced = false

	unlockHint = "unlock it (log in to the desktop, or open the password manager) and try again"
)

const (
	secretsName     = "org.freedesktop.secrets"
	secretsPath     = "/org/freedesktop/secrets"
	secretsService  = "org.freedesktop.Secret.Service"
	loginCollection = "/org/freedesktop/secrets/collection/login"
)

const choices = "start a keychain for this session (gnome-keyring, KWallet or KeePassXC), " +
	"or run with --keystore memory, which forgets all sign-ins when it stops"

// ready tells whether go-keyring can be called: it would start a bus of its own where there is none, show a dialog
// where it must not, and tell nothing of all this apart. It looks over a connection of its own, and leaves go-keyring
// that same bus by setting the environment of this process, which is the only way to tell it.
func ready(ctx context.Context, getenv func(string) string, req request) error {
	address, err := busAddress(getenv)
	if err != nil {
		return err
	}
	if err := os.Setenv("DBUS_SESSION_BUS_ADDRESS", address); err != nil {
		return fmt.Errorf("set the bus address: %w", err)
	}
	conn, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return &Error{kind: ErrUnavailable, Hint: choices,
			reason: "the session bus cannot be reached, so no keychain can: " + err.Error()}
	}
	defer conn.Close()
	if err := provided(ctx, conn); err != nil {
		return err
	}
	collection, err := defaultCollection(ctx, conn)
	if err != nil {
		return err
	}
	return unlocked(ctx, conn, collection, req)
}

// busAddress returns the address of the session bus, without the ways of guessing that start one.
func busAddress(getenv func(string) string) (string, error) {
	if address := getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" && address != "autolaunch:" {
		return address, nil
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		socket := filepath.Join(dir, "bus")
		if info, err := os.Stat(socket); err == nil && info.Mode().Type() == os.ModeSocket {
			return "unix:path=" + dbus.EscapeBusAddressValue(socket), nil
		}
	}
	return "", &Error{kind: ErrUnavailable, Hint: choices,
		reason: "there is no session bus, so no keychain can be reached (neither DBUS_SESSION_BUS_ADDRESS nor a socket in XDG_RUNTIME_DIR)"}
}

// provided tells whether some program is the keychain of this session, or would be started for it.
func provided(ctx context.Context, conn *dbus.Conn) error {
	var owned bool
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, secretsName).Store(&owned); err != nil {
		return refused(err)
	}
	if owned {
		return nil
	}
	var names []string
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.ListActivatableNames", 0).Store(&names); err != nil {
		return refused(err)
	}
	for _, name := range names {
		if name == secretsName {
			return nil
		}
	}
	return &Error{kind: ErrUnavailable, Hint: choices, reason: "no keychain runs in this session and none is installed that would be started"}
}

// defaultCollection returns the collection that go-keyring uses: login, else what the default alias stands for.
func defaultCollection(ctx context.Context, conn *dbus.Conn) (dbus.ObjectPath, error) {
	service := conn.Object(secretsName, secretsPath)
	var collections []dbus.ObjectPath
	if err := property(ctx, service, secretsService, "Collections", &collections); err != nil {
		return "", refused(err)
	}
	for _, path := range collections {
		if path == loginCollection {
			return path, nil
		}
	}
	var path dbus.ObjectPath
	if err := service.CallWithContext(ctx, secretsService+".ReadAlias", 0, "default").Store(&path); err != nil {
		return "", refused(err)
	}
	if path == "/" {
		return "", &Error{kind: ErrUnavailable, reason: "the keyring has no collection yet where secrets could go",
			Hint: "log in to the desktop once with a password, create a default keyring in its password program, or open a database in KeePassXC"}
	}
	return path, nil
}

// unlocked tells whether the call can do without the person: the collection is open, and so is the item if it exists
// (KeePassXC can ask about each item). With a dialog allowed it is go-keyring that has it shown.
func unlocked(ctx context.Context, conn *dbus.Conn, collection dbus.ObjectPath, req request) error {
	if req.Dialog {
		return nil
	}
	object := conn.Object(secretsName, collection)
	var locked bool
	if err := property(ctx, object, "org.freedesktop.Secret.Collection", "Locked", &locked); err != nil {
		return refused(err)
	}
	if !locked && req.Item != "" {
		var items []dbus.ObjectPath
		search := map[string]string{"username": req.Item, "service": req.Service}
		if err := object.CallWithContext(ctx, "org.freedesktop.Secret.Collection.SearchItems", 0, search).Store(&items); err != nil {
			return refused(err)
		}
		if len(items) > 0 {
			if err := property(ctx, conn.Object(secretsName, items[0]), "org.freedesktop.Secret.Item", "Locked", &locked); err != nil {
				return refused(err)
			}
		}
	}
	if locked {
		return &Error{kind: ErrLocked, reason: "the keychain is locked", Hint: unlockHint}
	}
	return nil
}

func property(ctx context.Context, object dbus.BusObject, iface, name string, into any) error {
	var v dbus.Variant
	if err := object.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, iface, name).Store(&v); err != nil {
		return err
	}
	return v.Store(into)
}

// explain says what a failure of go-keyring means. Its own words do not tell a dismissed dialog from one that nothing
// could show, so the keychain is looked at again: if it is still locked, that was it.
func explain(ctx context.Context, getenv func(string) string, req request, err error) error {
	req.Dialog = false
	switch now := ready(ctx, getenv, req); {
	case errors.Is(now, ErrLocked):
		return &Error{kind: ErrLocked, Hint: unlockHint,
			reason: "the keychain stayed locked: its unlock dialog was dismissed, or nothing in this session can show it"}
	case now != nil:
		return now
	}
	return refused(err)
}
