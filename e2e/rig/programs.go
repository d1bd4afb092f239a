// Package rig is what the end-to-end tests stand on: the programs as a person has them, a home to run them in, and real
// parts around them, that is an issuer, MCP servers, a keychain and a browser. `make test` builds the programs and installs
// the parts; `make test-all` installs those that only some rooms need.
package rig

import (
	"os"
	"path/filepath"
	"testing"
)

// Root is the path of something in the repository, seen from a room of e2e.
func Root(t testing.TB, name ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"..", ".."}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Program is the path of a program that make built: valetkey, valetkey-window, vk, vkdemo.
func Program(t testing.TB, name string) string {
	t.Helper()
	path := Root(t, "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is not built; make test builds and runs everything: %v", name, err)
	}
	return path
}

// Peer is the path of something in e2e/peers or, as "more/…", in e2e/peers/more, of which make installs the parts that
// are not ours.
func Peer(t testing.TB, name string) string {
	t.Helper()
	path := Root(t, "e2e", "peers", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the packages in e2e/peers are not installed; make test installs them, and make test-all those in more: %v", err)
	}
	return path
}

// Node is the Node that the peers run on.
func Node(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(Peer(t, "node_modules"), "node-linux-*/bin/node"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the packages in e2e/peers are not installed (found %v); make test installs them", found)
	}
	return found[0]
}
