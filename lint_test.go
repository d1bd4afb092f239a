package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// elsewhere are the files that only CI reads, on another system.
var elsewhere = []string{"tray/escape_darwin.go"} // cgo, which needs Apple's SDK there

// pretender stands in for go: what `make lint` and `make cross` would have it read, it writes down, each call a line. A build
// without cgo reads nothing that is not vetted too.
const pretender = `#!/bin/sh
case "$CGO_ENABLED$1" in
*vet | 1build) { printf '%s\t' "GOOS=$GOOS" "GOARCH=$GOARCH" "CGO_ENABLED=$CGO_ENABLED" "$@"; echo; } >>"$PRETENDED" ;;
*list) exec "$REAL_GO" "$@" ;;
esac
`

// TestNothingRotsUnseen: every Go file in the tree, also of a program under testdata or behind a build tag, is read by
// `make lint` or, where it is for another system, by `make cross`.
func TestNothingRotsUnseen(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("there is no make here")
	}
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(pretender), 0o700); err != nil {
		t.Fatal(err)
	}
	said := filepath.Join(dir, "said")
	make := exec.Command("make", "--no-print-directory", "lint", "cross")
	make.Env = append(os.Environ(), "MAKEFLAGS=", "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"), "PRETENDED="+said, "REAL_GO="+real,
		"GOOS=", "GOARCH=", "CGO_ENABLED=")
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("make lint cross: %v\n%s", err, out)
	}
	calls, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for call := range strings.Lines(string(calls)) {
		for _, file := range filesOf(t, strings.Split(strings.TrimSpace(call), "\t")) {
			seen[file] = true
		}
	}
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() != "." && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go") && !seen[path] && !slices.Contains(elsewhere, path):
			t.Errorf("%s is read by neither make lint nor make cross", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// filesOf are the files that a call of go vet or go build reads, from the module's root. The first words of a call are its
// environment.
func filesOf(t *testing.T, call []string) (files []string) {
	t.Helper()
	env, args := call[:3], call[4:]
	if i := slices.Index(args, "-o"); i >= 0 {
		args = slices.Delete(args, i, i+2)
	}
	list := exec.Command("go", append([]string{"list", "-e", "-json=Dir,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles"}, args...)...)
	list.Env = append(os.Environ(), env...)
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%q: %v", call, err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			Dir                                          string
			GoFiles, CgoFiles, TestGoFiles, XTestGoFiles []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return files
		} else if err != nil {
			t.Fatal(err)
		}
		within, err := filepath.Rel(root, p.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if call[3] == "build" {
			p.TestGoFiles, p.XTestGoFiles = nil, nil
		}
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.TestGoFiles, p.XTestGoFiles) {
			files = append(files, filepath.Join(within, name))
		}
	}
}
