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
