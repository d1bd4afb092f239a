//go:build unix

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// socketAddress is in a directory of its own with a short path: socket addresses are limited.
func socketAddress(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "agent.sock")
}
