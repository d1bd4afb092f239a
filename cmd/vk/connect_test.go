package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

// TestHostsGolden compares what vk says about hosts, on a made-up machine at a fixed time, with testdata/hosts/*.golden.
func TestHostsGolden(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	grants := `{"grants":[
		{"server":"https://mcp.example.com/mcp","resource":"https://mcp.example.com/mcp","account":"work","state":"ready","consents":[]},
		{"server":"https://old.example/mcp","resource":"https://old.example/mcp","account":"","state":"sign_in","problem":"the issuer no longer accepts the refresh token","consents":[]}]}`
	busy := map[string]string{
		".cursor/mcp.json":                      `{"mcpServers": {"example": {"command": "~/bin/vk", "args": ["bridge", "https://mcp.example.com/mcp"]}, "gone": {"command": "/gone/vk", "args": ["bridge", "https://old.example/mcp"]}, "direct": {"url": "https://direct.example/mcp", "headers": {"A": "s3cret"}}}}`,
		".config/Code/User/mcp.json":            `{"servers": {"example": {"type": "http", "url": "unix:///old/valetkey/agent.sock#/mcp/mcp.example.com/mcp"}}}`,
		".codex/config.toml":                    "[mcp_servers.example]\nurl = \"https://mcp.example.com/mcp\"\nhttp_headers_helper = '\"~/bin/vk\" headers --host codex --server https://mcp.example.com/mcp'\n",
		".gemini/settings.json":                 "{\x1b[31m",
		".config/goose/config.yaml":             "GOOSE_MODEL: a\n",
		".mcp-auth/mcp-remote-1/ab_tokens.json": "s3cret",
		".claude/.credentials.json":             "s3cret",
	}
	for _, c := range []struct {
		name, args string
		files      map[string]string
		away       bool // the app does not run
		status     string
	}{
		{"none", "connect --list", nil, false, ""},
		{"list", "connect --list", busy, false, ""},
		{"print", "connect vscode https://mcp.example.com/mcp --print", busy, false, ""},
		{"print-helper", "connect codex https://other.example/mcp --print", busy, false, ""},
		{"unasked", "connect zed https://mcp.example.com/mcp", busy, false, ""},
		{"yes-bridge", "connect zed https://mcp.example.com/mcp --yes", busy, false, ""},
		{"yes-gateway", "connect goose https://new.example/mcp --yes --name n", busy, false, ""},
		{"yes-helper", "connect codex https://new.example/mcp --yes --name n", busy, true, ""},
		{"unreadable", "connect gemini https://mcp.example.com/mcp --yes", busy, false, ""},
		{"disconnect", "disconnect codex https://mcp.example.com/mcp --yes", busy, false, ""},
		{"import", "import", busy, false, ""},
		{"doctor", "doctor", busy, false, `{"version":"1.2.3","pid":4711,"face":"window","keychain":"the keychain is locked","servers":2,"sign_ins_needed":1,"waiting":1}`},
		{"doctor-json", "doctor --json", busy, false, `{"version":"1.2.3","pid":4711,"face":"window","keychain":"the keychain is locked","servers":2,"sign_ins_needed":1,"waiting":1}`},
		{"list-json", "connect --list --json", busy, false, ""},
		{"none-json", "connect --list --json", nil, false, ""},
		{"import-json", "import --json", busy, false, ""},
		{"import-json-none", "import --json", nil, false, ""},
		{"doctor-away", "doctor", nil, true, ""},
		{"doctor-well", "doctor", map[string]string{".cursor/mcp.json": busy[".cursor/mcp.json"][:strings.Index(busy[".cursor/mcp.json"], `, "gone"`)] + "}}"}, false, `{"version":"1.2.3","pid":4711,"face":"terminal","keychain":"ok"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			for name, text := range c.files {
				path := filepath.Join(home, name)
				must(t, os.MkdirAll(filepath.Dir(path), 0o700))
				must(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "~", home)), 0o600))
				must(t, os.Chtimes(path, noon, noon.Add(-72*time.Hour)))
			}
			must(t, os.Mkdir(filepath.Join(home, "bin"), 0o700))
			must(t, os.WriteFile(filepath.Join(home, "bin", "vk"), nil, 0o700))
			must(t, os.Chmod(filepath.Join(home, "bin", "vk"), 0o700)) // a socket made at that moment in another test narrows the umask
			a, address := &app{discard: true}, noApp
			if !c.away {
				list := grants
				if c.name == "doctor-well" {
					list = `{"grants":[]}`
				}
				address = a.serve(t, map[string]string{"grants": list, "status": c.status})
			}
			var out, errs bytes.Buffer
			p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, address: address, now: func() time.Time { return noon }}
			p.machine = func() (hosts.Env, error) {
				return hosts.Env{
					OS: "linux", Home: home, VK: filepath.Join(home, "bin", "vk"), Socket: "/run/user/1000/valetkey/agent.sock",
					Which:   func(program string) string { return map[string]string{"xdg-open": "/usr/bin/xdg-open"}[program] },
					Version: func(string) string { return "codex-cli 0.169.0" },
				}, nil
			}
			err := p.dispatch(t.Context(), strings.Fields(c.args))
			var code exitCode
			switch {
			case errors.As(err, &code):
				errs.WriteString(err.Error() + "\n")
			case err != nil:
				p.complain(err)
			}
			got := strings.ReplaceAll(out.String()+"--- stderr\n"+errs.String(), home, "~")
			if strings.ContainsRune(got, 0x1b) || strings.Contains(got, "s3cret") {
				t.Errorf("an escape sequence or a secret: %q", got)
			}
			golden := filepath.Join("testdata", "hosts", c.name+".golden")
			if *update {
				must(t, os.MkdirAll(filepath.Dir(golden), 0o755))
				must(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			must(t, err)
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestConfirmInterrupted checks that a question on the terminal ends with vk.
func TestConfirmInterrupted(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &program{stdin: r, stdout: &bytes.Buffer{}}
	if yes, err := p.confirm(ctx, "Write it?"); yes || !errors.Is(err, context.Canceled) {
		t.Errorf("%v %v", yes, err)
	}
}

// TestHostExitCodes checks the codes that scripts see.
func TestHostExitCodes(t *testing.T) {
	for args, want := range map[string]int{
		"connect nohost https://mcp.example.com/mcp": localapi.ExitCode(localapi.ErrBadRequest),
		"disconnect cursor nothing":                  localapi.ExitCode(localapi.ErrUnknownServer),
		"doctor":                                     1,
	} {
		t.Setenv("HOME", t.TempDir())
		var out, errs bytes.Buffer
		if got := run(t.Context(), strings.Fields(args), strings.NewReader(""), &out, &errs, noApp); got != want {
			t.Errorf("%s: %d, want %d: %s", args, got, want, errs.String())
		}
		if args == "doctor" && errs.Len() > 0 {
			t.Errorf("doctor says on standard error: %s", errs.String())
		}
	}
}
