package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestWithoutWindows: vk status and vk doctor say why no window can be shown, and what to do about it.
func TestWithoutWindows(t *testing.T) {
	a := &app{}
	address := a.serve(t, map[string]string{"grants": `{"grants":[]}`, "status": `{"version":"1.2.3","pid":4711,"face":"window","keychain":"ok",
		"windows":{"code":"unavailable","message":"valetkey-window is not installed","hint":"install it beside valetkey"}}`})
	t.Setenv("HOME", t.TempDir())
	for _, verb := range []string{"status", "doctor"} {
		var out bytes.Buffer
		code := run(t.Context(), []string{verb}, strings.NewReader(""), &out, os.Stderr, address)
		if want := "no window can be shown: valetkey-window is not installed; install it beside valetkey"; !strings.Contains(out.String(), want) || strings.Contains(out.String(), "in a window") {
			t.Errorf("vk %s prints\n%s", verb, out.String())
		}
		if verb == "doctor" && code != 1 {
			t.Errorf("vk doctor ends with %d", code)
		}
	}
}
