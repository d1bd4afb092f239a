//go:build unix

package oauthflow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPagesAreOpenedWithoutAShell: the address is one argument of the browser, whatever stands in it (SEC-9).
func TestPagesAreOpenedWithoutAShell(t *testing.T) {
	dir := t.TempDir()
	const address = "https://issuer.example.com/a?x=$(touch%20never)&y=;reboot|`id`'\"%0a --flag"
	out := filepath.Join(dir, "arguments")
	for _, name := range []string{"xdg-open", "open", "mine"} {
		script := "#!/bin/sh\nprintf '%s\\n' \"$@\" > '" + out + "'\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, c := range []struct{ browser, want string }{
		{"", address + "\n"},
		{`mine --new-tab "my profile"`, "--new-tab\nmy profile\n" + address + "\n"},
	} {
		argv, err := SplitBrowser(c.browser)
		if err != nil {
			t.Fatal(err)
		}
		if err := Browser(argv)(t.Context(), address); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(out)
		if err != nil || string(got) != c.want {
			t.Errorf("%q was started with %q, want %q", c.browser, got, c.want)
		}
		if err := os.Remove(out); err != nil {
			t.Fatal(err)
		}
	}
	if err := Browser([]string{filepath.Join(dir, "gone")})(t.Context(), address); err == nil || strings.Contains(err.Error(), address) {
		t.Errorf("a browser that is not there: %v", err)
	}
}
