package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/valetkey/valetkey/localapi"
)

// TestHeadersFromHomeAlone: some hosts clear the environment of what they run (Codex), so HOME and the uid must do.
func TestHeadersFromHomeAlone(t *testing.T) {
	if dir := fmt.Sprintf("/run/user/%d", os.Getuid()); isDir(dir) {
		t.Skip(dir, "is where a real app would listen")
	}
	home, err := os.MkdirTemp("", "vk")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(home) })
	for _, pair := range os.Environ() { // restored by Setenv
		name, _, _ := bytes.Cut([]byte(pair), []byte("="))
		t.Setenv(string(name), "")
		os.Unsetenv(string(name))
	}
	t.Setenv("HOME", home)
	must(t, os.MkdirAll(filepath.Join(home, ".local/state/valetkey"), 0o700))
	a := &app{discard: true}
	must(t, a.start(filepath.Join(home, ".local/state/valetkey/run/agent.sock"), map[string]json.RawMessage{"token": json.RawMessage(`{"access_token":"tok.en","token_type":"Bearer"}`)}))
	t.Cleanup(a.quit)
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"headers", "--host", hostCodex, "--server", "https://mcp.example.com/mcp"}, nil, &out, &errs, localapi.Address)
	if code != 0 || out.String() != `{"Authorization":"Bearer tok.en"}`+"\n" || errs.Len() > 0 {
		t.Errorf("exit %d, %q, %q", code, out.String(), errs.String())
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
