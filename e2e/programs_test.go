//go:build e2e

// Package e2e tests the programs as a person has them, with real parts around them: an issuer, MCP servers, a keychain,
// a browser, a desktop with a tray. `make test` builds the programs and installs the parts.
package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// program is the path of a program that make built: valetkey, valetkey-headless, vk, vkdemo.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is not built; make test builds and runs everything: %v", name, err)
	}
	return path
}

// peer is the path of something in peers, of which make test installs the parts that are not ours.
func peer(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("peers", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the packages in e2e/peers are not installed; make test installs them: %v", err)
	}
	return path
}

// node is the Node that the peers run on.
func node(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(peer(t, "node_modules"), "node-linux-*/bin/node"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the packages in e2e/peers are not installed (found %v); make test installs them", found)
	}
	return found[0]
}
