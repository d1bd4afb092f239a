package keystore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestClaim(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	release, err := Claim(dir, "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Claim(dir, "one"); !errors.Is(err, ErrClaimed) {
		t.Errorf("a second claim: %v", err)
	}
	other, err := Claim(dir, "two")
	if err != nil {
		t.Fatalf("another service: %v", err)
	}
	other()
	release()
	again, err := Claim(dir, "one")
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	again()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Claim(filepath.Join(file, "below"), "one"); err == nil {
		t.Error("claimed below a file")
	}
}
