//go:build !windows && !darwin

package keystore

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBusAddress(t *testing.T) {
	dir, err := os.MkdirTemp("", "vk") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	notSocket := t.TempDir()
	if err := os.WriteFile(filepath.Join(notSocket, "bus"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, address, runtimeDir, want string }{
		{"given", "unix:path=/x", dir, "unix:path=/x"},
		{"in the runtime directory", "", dir, "unix:path=" + dir + "/bus"},
		{"autolaunch", "autolaunch:", "", ""},
		{"nothing", "", "", ""},
		{"empty runtime directory", "", t.TempDir(), ""},
		{"not a socket", "", notSocket, ""},
	} {
		got, err := busAddress(func(name string) string {
			return map[string]string{"DBUS_SESSION_BUS_ADDRESS": c.address, "XDG_RUNTIME_DIR": c.runtimeDir}[name]
		})
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

// Where there is no bus the real child says so and starts none.
func TestNoBus(t *testing.T) {
	k := NewKeychain(KeychainConfig{
		Command: child("real", ""),
		env:     []string{"HOME=" + t.TempDir(), "XDG_RUNTIME_DIR=" + t.TempDir(), "PATH=" + t.TempDir()},
	})
	ctx := context.Background()
	_, getErr := k.Get(ctx, "name")
	for _, err := range []error{getErr, k.Set(ctx, "name", []byte("value")), k.Delete(ctx, "name"), k.Probe(ctx)} {
		var e *Error
		if !errors.As(err, &e) || e.kind != ErrUnavailable || !strings.Contains(e.reason, "no session bus") || e.Hint == "" {
			t.Errorf("%v", err)
		}
	}
}

func TestDeadBus(t *testing.T) {
	k := NewKeychain(KeychainConfig{
		Command: child("real", ""),
		env:     []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + t.TempDir() + "/none"},
	})
	if err := k.Probe(context.Background()); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("%v", err)
	}
}
