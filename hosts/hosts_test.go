package hosts

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/valetkey/valetkey/localapi"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

const server = "https://mcp.example.com/mcp"

// machine is an Env in a directory of its own, with the newest Codex.
func machine(t testing.TB, system string) Env {
	t.Helper()
	home := t.TempDir()
	env := Env{
		OS: system, Home: home, VK: "/usr/local/bin/vk", Socket: "/run/user/1000/valetkey/agent.sock",
		Version: func(string) string { return "codex-cli 0.169.0" },
	}
	switch system {
	case "darwin":
		env.VK, env.Socket = "/Applications/Valet Key.app/Contents/MacOS/vk", "/Users/me/Library/Caches/valetkey/agent.sock"
	case "windows":
		env.VK, env.Socket = `C:\Program Files\Valet Key\vk.exe`, `\\.\pipe\valetkey.0123456789abcdef`
	}
	return env
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(text), 0o640))
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

func apply(t testing.TB, c *Change, err error) *Change {
	t.Helper()
	must(t, err)
	must(t, c.Apply())
	return c
}

// usual is a file as a person has it, for each format: comments, odd formatting, another server with secrets, and one
// that comes after.
func usual(h *Host) string {
	switch f := h.format.(type) {
	case jsonFile:
		at := f.at[len(f.at)-1][0]
		if f.strict {
			return fmt.Sprintf("{\n\t\"theme\": \"dark\",\n\t\"%s\": {\n\t\t\"files\": { \"command\": \"npx\", \"args\": [\"-y\", \"files\"], \"env\": {\"TOKEN\": \"s3cret\"} }\n\t},\n\t\"last\": [1,2,\n\t3]\n}", at)
		}
		return fmt.Sprintf("// mine\n{\n    \"theme\": \"dark\", // not light\n    \"%s\": { // servers\n        /* the first */\n        \"files\": { \"command\": \"npx\", \"args\": [\"-y\", \"files\"], \"env\": {\"TOKEN\": \"s3cret\"}, },\n    },\n    \"last\": [1,2,\n    3],\n}\n", at)
	case tomlFile:
		return "# mine\nmodel = \"best\" # really\n\n[mcp_servers.files]\ncommand = \"npx\"\nargs = [ \"-y\",\n  \"files\", # all of them\n]\nenv = { TOKEN = \"s3cret\" }\n\n[tui]\nnotifications = true\n# the end"
	case yamlFile:
		if f.list {
			return "# mine\nname: My Config\nversion: 1.0.0\nschema: v1\nmcpServers: # servers\n  # the first\n  - name: files\n    command: npx\n    args: [\"-y\", files]\n    env:\n      TOKEN: s3cret\nmodels: []\n"
		}
		return "# mine\nGOOSE_MODEL:   best\nextensions: # servers\n\n    # the first\n    files:\n        type: stdio\n        cmd: npx\n        args:\n        - -y\n        - files\n        envs: {TOKEN: s3cret}\nlast: |\n  text\n"
	}
	return "# mine\noption debug true\nif [[ $HOSTNAME == here ]]; then\n  mcp add files --command npx --args -y --args files --env TOKEN s3cret\nfi # the end"
}

// empty is a file that holds no entry, for each format.
func empty(h *Host) string {
	switch f := h.format.(type) {
	case jsonFile:
		return fmt.Sprintf("{\"%s\": {}, \"last\": 1}\n", f.at[len(f.at)-1][0])
	case tomlFile:
		return "model = \"best\"\r\n"
	case yamlFile:
		if f.list {
			return "name: a\nmcpServers: []\n"
		}
		return "a: 1\nextensions: {}\n"
	}
	return "# nothing\n\n"
}

// TestGolden writes what connect makes of each host's file on each system, and has disconnect undo it.
func TestGolden(t *testing.T) {
	for _, h := range All() {
		t.Run(h.Key, func(t *testing.T) {
			golden := filepath.Join("testdata", "golden", h.Key+".txtar")
			got := &txtar.Archive{}
			for _, system := range []string{"linux", "darwin", "windows"} {
				for _, via := range h.channels {
					if system == "windows" && slices.Contains(h.unixOnly, via) {
						continue
					}
					got.Files = append(got.Files, txtar.File{Name: fmt.Sprintf("%s %s missing", system, via), Data: []byte(roundTrip(t, h, system, via, ""))})
				}
				got.Files = append(got.Files, txtar.File{Name: system + " usual", Data: []byte(roundTrip(t, h, system, "", usual(h)))})
			}
			got.Files = append(got.Files, txtar.File{Name: "linux empty", Data: []byte(roundTrip(t, h, "linux", "", empty(h)))})
			compare(t, golden, txtar.Format(got))
		})
	}
}

func compare(t *testing.T, golden string, got []byte) {
	t.Helper()
	if *update {
		must(t, os.MkdirAll(filepath.Dir(golden), 0o755))
		must(t, os.WriteFile(golden, got, 0o644))
		return
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%s", golden, got)
	}
}

// roundTrip connects and disconnects, and returns the file in between. No text means no file.
func roundTrip(t *testing.T, h *Host, system string, via Channel, before string) string {
	t.Helper()
	env := machine(t, system)
	path := h.File(env)
	if before != "" {
		write(t, path, before)
	}
	c, err := h.Connect(env, server, "", via)
	must(t, err)
	must(t, c.Apply())
	after := read(t, path)
	if !strings.Contains(strings.ReplaceAll(after, "\r\n", "\n"), strings.TrimSuffix(c.Lines, "\n")) {
		t.Errorf("%s: the lines shown are not in the file:\n%s\n%s", system, c.Lines, after)
	}
	content, err := h.Read(env)
	must(t, err)
	if want := []Entry{c.Entry}; !slices.Equal(content.Entries, want) || content.Entries[0].Server != server {
		t.Errorf("%s: found %+v, want %+v", system, content.Entries, want)
	}
	if _, err := h.Connect(env, server, "", via); err == nil || !strings.Contains(err.Error(), "already has") {
		t.Errorf("%s: connecting twice: %v", system, err)
	}
	gone, err := h.Disconnect(env, c.Entry.Name)
	must(t, err)
	if gone.Lines != c.Lines {
		t.Errorf("%s: removes\n%sbut added\n%s", system, gone.Lines, c.Lines)
	}
	must(t, gone.Apply())
	if now, err := os.ReadFile(path); before == "" && !errors.Is(err, fs.ErrNotExist) || before != "" && string(now) != before {
		t.Errorf("%s: afterwards %q, %v; before\n%s", system, now, err, before)
	}
	if entries, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(entries) > 1 || before == "" && len(entries) > 0 {
		t.Errorf("%s: left behind: %v", system, entries)
	}
	return "# " + strings.TrimPrefix(filepath.ToSlash(path), filepath.ToSlash(env.Home)+"/") + "\n" + after
}

// TestPlaces checks where each host's file is, for a home and an environment as each system has them.
func TestPlaces(t *testing.T) {
	environ := map[string]map[string]string{
		"linux":   {"XDG_CONFIG_HOME": "relative, so not used"},
		"darwin":  {},
		"windows": {"APPDATA": `C:\Users\me\AppData\Roaming`, "LOCALAPPDATA": `C:\Users\me\AppData\Local`},
	}
	homes := map[string]string{"linux": "/home/me", "darwin": "/Users/me", "windows": `C:\Users\me`}
	var got bytes.Buffer
	for _, h := range All() {
		fmt.Fprintf(&got, "%s\n", h.Key)
		for _, system := range []string{"linux", "darwin", "windows"} {
			env := Env{OS: system, Home: homes[system], vars: func(name string) string { return environ[system][name] }}
			for _, p := range env.expand(h.places(env)) {
				fmt.Fprintf(&got, "\t%s\t%s\n", system, p)
			}
		}
	}
	compare(t, filepath.Join("testdata", "places.golden"), got.Bytes())
}

// TestPlacesMoved checks what the environment and the machine change.
func TestPlacesMoved(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		host   string
		system string
		vars   map[string]string
		exists []string // files
		want   string
	}{
		"variable":               {"codex", "linux", map[string]string{"CODEX_HOME": dir + "/c"}, nil, "c/config.toml"},
		"relative variable":      {"codex", "linux", map[string]string{"CODEX_HOME": "c"}, nil, "home/.codex/config.toml"},
		"home of Claude Code":    {"claude-code", "linux", map[string]string{"CLAUDE_CONFIG_DIR": dir + "/c/"}, nil, "c/.claude.json"},
		"XDG":                    {"vscode", "linux", map[string]string{"XDG_CONFIG_HOME": dir + "/x"}, nil, "x/Code/User/mcp.json"},
		"XDG on macOS":           {"vscode", "darwin", map[string]string{"XDG_CONFIG_HOME": dir + "/x"}, nil, "home/Library/Application Support/Code/User/mcp.json"},
		"Claude Desktop, Store":  {"claude-desktop", "windows", nil, []string{"home/AppData/Local/Packages/Claude_pzs8/LocalCache/Roaming/Claude/x"}, "home/AppData/Local/Packages/Claude_pzs8/LocalCache/Roaming/Claude/claude_desktop_config.json"},
		"Claude Desktop, older":  {"claude-desktop", "windows", nil, []string{"home/AppData/Roaming/Claude/claude_desktop_config.json"}, "home/AppData/Roaming/Claude/claude_desktop_config.json"},
		"Claude Desktop, claude": {"claude-desktop", "linux", nil, []string{"home/.config/claude/x"}, "home/.config/claude/claude_desktop_config.json"},
		"opencode, comments":     {"opencode", "linux", nil, []string{"home/.config/opencode/opencode.json"}, "home/.config/opencode/opencode.json"},
		"LM Studio, older":       {"lmstudio", "linux", nil, []string{"home/.cache/lm-studio/x"}, "home/.cache/lm-studio/mcp.json"},
	} {
		t.Run(name, func(t *testing.T) {
			home := filepath.Join(dir, "home")
			must(t, os.RemoveAll(home))
			for _, p := range c.exists {
				write(t, filepath.Join(dir, p), "x")
			}
			h, ok := Lookup(c.host)
			if !ok {
				t.Fatal("no such host")
			}
			env := Env{OS: c.system, Home: home, vars: func(name string) string { return c.vars[name] }}
			if got, _ := filepath.Rel(dir, h.File(env)); filepath.ToSlash(got) != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestRefused checks what Connect and Disconnect leave alone, and what they say.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		host, text, server, entry string
		via                       Channel
		want                      string
		block                     bool
	}{
		"not JSON":          {"cursor", `{"mcpServers": {`, server, "", "", "is not JSON at line", true},
		"not JSON, quoting": {"cursor", `{"a": s3cret}`, server, "", "", "is not JSON at line 1, column 7", true},
		"no object":         {"cursor", `[]`, server, "", "", "is not an object", true},
		"servers no object": {"cursor", `{"mcpServers": []}`, server, "", "", "is not an object", true},
		"comments not read": {"claude-desktop", "{} // mine", server, "", "", "comments or trailing commas", true},
		"not TOML":          {"codex", "a = 's3cret\n", server, "", "", "is not TOML at line 1", true},
		"inline table":      {"codex", "mcp_servers = { a = { command = \"x\" } }\n", server, "", "", "cannot be edited", true},
		"not YAML":          {"goose", "a: [s3cret\n", server, "", "", "is not YAML", true},
		"two documents":     {"goose", "a: 1\n---\nb: 1\n", server, "", "", "several documents", true},
		"YAML list":         {"goose", "extensions: [1]\n", server, "", "", "is not an object", true},
		"not a script":      {"crush", "if s3cret\n", server, "", "", "is not a shell script", true},
		"continued line":    {"crush", "option debug true \\", server, "", "", "cannot be edited", true},
		"name taken":        {"cursor", `{"mcpServers": {"example": {"command": "x"}}}`, server, "example", "", "already has a server called example", false},
		"name of a server":  {"cursor", ``, server, "a b", "", "cannot be the name", false},
		"no URL":            {"cursor", ``, "mcp.example.com", "", "", "not the address of an MCP server", false},
		"in the clear":      {"cursor", ``, "http://mcp.example.com/mcp", "", "", "on this computer", false},
		"user name":         {"cursor", ``, "https://me:s3cret@mcp.example.com/mcp", "", "", "not the address of an MCP server", false},
		"fragment":          {"cursor", ``, server + "#a", "", "", "fragment", false},
		"quote in the URL":  {"cursor", ``, server + "/'a", "", "", "characters", false},
		"no such channel":   {"cursor", ``, server, "", ViaGateway, "no channel", false},
		"gateway and query": {"vscode", ``, server + "?a=1", "", ViaGateway, "query", false},
		"helper and shells": {"claude-code", ``, server + "?a=1&b=$2", "", viaHelper, "quoting", false},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := Lookup(c.host)
			env := machine(t, "linux")
			if c.text != "" {
				write(t, h.File(env), c.text)
			}
			_, err := h.Connect(env, c.server, c.entry, c.via)
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, localapi.ErrBadRequest) {
				t.Fatalf("%v, want one with %q", err, c.want)
			}
			var unreadable *Unreadable
			if errors.As(err, &unreadable) != c.block || c.block && !strings.Contains(unreadable.Block, env.VK) && !strings.Contains(unreadable.Block, env.Socket) {
				t.Errorf("%#v", err)
			}
			if strings.Contains(err.Error(), "s3cret") && name != "user name" {
				t.Errorf("quotes the file: %v", err)
			}
			if c.text != "" && read(t, h.File(env)) != c.text {
				t.Error("changed the file")
			}
		})
	}
}

// TestChoice checks which channel is taken when none is asked for.
func TestChoice(t *testing.T) {
	for name, c := range map[string]struct {
		host, system, server, version string
		vk                            string
		want                          Channel
	}{
		"VS Code":                    {"vscode", "linux", server, "", "", ViaGateway},
		"VS Code, on this computer":  {"vscode", "linux", "http://127.0.0.1:8080/mcp", "", "", ViaGateway},
		"VS Code, TLS there":         {"vscode", "linux", "https://localhost:8443/mcp", "", "", ViaGateway},
		"VS Code, query":             {"vscode", "linux", server + "?a=1", "", "", viaBridge},
		"Goose":                      {"goose", "linux", server, "", "", ViaGateway},
		"Goose, Windows":             {"goose", "windows", server, "", "", viaBridge},
		"Codex":                      {"codex", "linux", server, "codex-cli 0.154.0", "", viaHelper},
		"Codex, older":               {"codex", "linux", server, "codex-cli 0.153.9", "", viaBridge},
		"Codex, much newer":          {"codex", "linux", server, "codex-cli v1.0.0-beta", "", viaHelper},
		"Codex, unknown":             {"codex", "linux", server, "", "", viaBridge},
		"Claude Code":                {"claude-code", "linux", server, "", "", viaHelper},
		"Claude Code, query":         {"claude-code", "linux", server + "?a=1&b=2", "", "", viaBridge},
		"Claude Code, dollar":        {"claude-code", "linux", server, "", "/home/$me/vk", viaBridge},
		"Claude Code, blank":         {"claude-code", "linux", server, "", "/home/a me/vk", viaHelper},
		"Claude Code, Windows x86":   {"claude-code", "windows", server, "", `C:\Program Files (x86)\vk.exe`, viaBridge},
		"Claude Code, Windows blank": {"claude-code", "windows", server, "", `C:\Program Files\vk.exe`, viaHelper},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := Lookup(c.host)
			env := machine(t, c.system)
			env.Version = func(program string) string { return c.version }
			if c.vk != "" {
				env.VK = c.vk
			}
			got, err := h.Connect(env, c.server, "n", "")
			must(t, err)
			if got.Entry.Via != c.want || got.Entry.Server != c.server {
				t.Errorf("%+v, want %s", got.Entry, c.want)
			}
		})
	}
}

// TestFileIsKept checks what surrounds the text: marks, line endings, mode, links, backup.
func TestFileIsKept(t *testing.T) {
	h, _ := Lookup("cursor")
	env := machine(t, "linux")
	path := h.File(env)
	before := mark + "{\r\n  \"a\": 1\r\n}\r\n"
	real := filepath.Join(env.Home, "dotfiles", "mcp.json")
	write(t, real, before)
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.Symlink(real, path))
	c, err := h.Connect(env, server, "", "")
	apply(t, c, err)
	want := mark + "{\r\n  \"mcpServers\": {\r\n    \"example\": {\r\n      \"command\": \"/usr/local/bin/vk\",\r\n      \"args\": [\"bridge\", \"https://mcp.example.com/mcp\"]\r\n    }\r\n  },\r\n  \"a\": 1\r\n}\r\n"
	if got := read(t, real); got != want {
		t.Errorf("%q", got)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v %v", info, err)
	}
	if info, _ := os.Stat(real); info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	if got := read(t, c.Backup); got != before || c.Backup != path+backupSuffix {
		t.Errorf("%s: %q", c.Backup, got)
	}
	if info, _ := os.Stat(c.Backup); info.Mode().Perm() != 0o640 {
		t.Errorf("mode of the backup: %v", info.Mode())
	}
	// Once: a second entry is no reason to lose the text from before the first.
	second, err := h.Connect(env, "https://mcp.example.org/mcp", "other", "")
	apply(t, second, err)
	if second.Backup != "" || read(t, path+backupSuffix) != before {
		t.Errorf("backup %q", second.Backup)
	}
	for _, name := range []string{"example", "other"} {
		c, err := h.Disconnect(env, name)
		apply(t, c, err)
	}
	if got := read(t, real); got != before {
		t.Errorf("%q", got)
	}
	if isThere(path + backupSuffix) {
		t.Error("the backup is left behind")
	}
}

// TestMeanwhile checks that a change is not made to a file that is no longer the one it was worked out for.
func TestMeanwhile(t *testing.T) {
	h, _ := Lookup("cursor")
	for name, text := range map[string]string{"changed": `{"a": 1}`, "made": ""} {
		t.Run(name, func(t *testing.T) {
			env := machine(t, "linux")
			path := h.File(env)
			if text != "" {
				write(t, path, text)
			}
			c, err := h.Connect(env, server, "", "")
			must(t, err)
			write(t, path, `{"b": 2}`)
			if err := c.Apply(); !errors.Is(err, localapi.ErrUnavailable) {
				t.Errorf("%v", err)
			}
			if got := read(t, path); got != `{"b": 2}` {
				t.Errorf("%q", got)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestStrangeFiles(t *testing.T) {
	h, _ := Lookup("cursor")
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"folder":          {func(p string) error { return os.Mkdir(p, 0o700) }, "is not a file"},
		"link to nothing": {func(p string) error { return os.Symlink(p+".gone", p) }, "link to nothing"},
		"write-protected": {func(p string) error { return os.WriteFile(p, []byte("{}"), 0o400) }, "write-protected"},
	} {
		t.Run(name, func(t *testing.T) {
			env := machine(t, "linux")
			path := h.File(env)
			must(t, os.MkdirAll(filepath.Dir(path), 0o700))
			must(t, c.make(path))
			change, err := h.Connect(env, server, "", "")
			if err == nil {
				err = change.Apply()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestDisconnectOthers checks that only what Connect wrote is taken out, and that it is found by what it is.
func TestDisconnectOthers(t *testing.T) {
	h, _ := Lookup("cursor")
	env := machine(t, "linux")
	write(t, h.File(env), `{"mcpServers": {
		"theirs": {"command": "npx", "args": ["bridge", "https://a.example/mcp"]},
		"renamed": {"env": {"A": "b"}, "args": ["bridge", "https://b.example/mcp"], "command": "/old/place/vk", "disabled": true},
	}}`)
	if _, err := h.Disconnect(env, "theirs"); !errors.Is(err, localapi.ErrBadRequest) {
		t.Errorf("%v", err)
	}
	if _, err := h.Disconnect(env, "none"); !errors.Is(err, localapi.ErrUnknownServer) {
		t.Errorf("%v", err)
	}
	c, err := h.Disconnect(env, "renamed")
	apply(t, c, err)
	if want := (Entry{Name: "renamed", Server: "https://b.example/mcp", Via: viaBridge, Program: "/old/place/vk"}); c.Entry != want {
		t.Errorf("%+v", c.Entry)
	}
	want := `{"mcpServers": {
		"theirs": {"command": "npx", "args": ["bridge", "https://a.example/mcp"]},
	}}`
	if got := read(t, h.File(env)); got != want {
		t.Errorf("%s", got)
	}
}

// TestRemotes checks which servers are found, and that nothing that may be a secret comes along.
func TestRemotes(t *testing.T) {
	for _, c := range []struct {
		host, text string
		want       []Remote
	}{
		{"cursor", `{"mcpServers": {
			"a": {"url": "https://a.example/mcp", "headers": {"Authorization": "Bearer s3cret"}},
			"b": {"url": "https://me:s3cret@b.example/mcp?key=s3cret#s3cret"},
			"c": {"command": "npx", "args": ["-y", "mcp-remote@0.1.38", "https://c.example/sse", "--header", "Authorization: s3cret"]},
			"d": {"command": "C:\\x\\mcp-remote.cmd", "args": ["https://d.example/mcp"]},
			"e": {"command": "npx", "args": ["other", "https://e.example/mcp"]},
			"f": 5, "g": {"url": "${input:url}"},
		}}`, []Remote{{"a", "https://a.example/mcp", "", false}, {"b", "https://b.example/mcp", "", true}, {"c", "https://c.example/sse", "mcp-remote", false}, {"d", "https://d.example/mcp", "mcp-remote", false}}},
		{"gemini", `{"mcpServers": {"a": {"httpUrl": "https://a.example/mcp"}}}`, []Remote{{"a", "https://a.example/mcp", "", false}}},
		{"windsurf", `{"mcpServers": {"a": {"serverUrl": "https://a.example/mcp"}}}`, []Remote{{"a", "https://a.example/mcp", "", false}}},
		{"opencode", `{"mcp": {"servers": {"a": {"type": "remote", "url": "https://a.example/mcp"}}}}`, []Remote{{"a", "https://a.example/mcp", "", false}}},
		{"codex", "[mcp_servers.a]\nurl = \"https://a.example/mcp\"\nbearer_token_env_var = \"A\"\n[mcp_servers.b]\ncommand = \"mcp-remote\"\nargs = [\"https://b.example/mcp\"]\n", []Remote{{"a", "https://a.example/mcp", "", false}, {"b", "https://b.example/mcp", "mcp-remote", false}}},
		{"goose", "extensions:\n  a: {type: streamable_http, uri: 'https://a.example/mcp'}\n", []Remote{{"a", "https://a.example/mcp", "", false}}},
		{"continue", "mcpServers:\n- {name: a, type: streamable-http, url: 'https://a.example/mcp'}\n", []Remote{{"a", "https://a.example/mcp", "", false}}},
		{"crush", "mcp add a --type http --header Authorization \"Bearer $(s3cret)\" --url \"https://a.example/mcp\"\nmcp add b --url \"$B\"\n", []Remote{{"a", "https://a.example/mcp", "", false}}},
	} {
		t.Run(c.host, func(t *testing.T) {
			h, _ := Lookup(c.host)
			env := machine(t, "linux")
			write(t, h.File(env), c.text)
			content, err := h.Read(env)
			must(t, err)
			if !slices.Equal(content.Remotes, c.want) || len(content.Entries) > 0 {
				t.Errorf("%+v", content)
			}
			if strings.Contains(fmt.Sprint(content), "s3cret") {
				t.Errorf("a secret: %+v", content)
			}
		})
	}
}

func TestDefaultName(t *testing.T) {
	for in, want := range map[string]string{
		"https://mcp.linear.app/mcp": "linear", "https://mcp.example.com": "example", "https://huggingface.co/mcp": "huggingface", "https://API.githubcopilot.com/mcp/": "githubcopilot",
		"https://www.api.example.co.uk": "example", "http://127.0.0.1:8080/mcp": "local-8080", "http://localhost": "local-80", "http://[::1]:9/": "local-9",
		"https://192.0.2.7/mcp": "192-0-2-7", "https://mcp.app/": "mcp", "https://münchen.example": "mnchen", "https://ü.example": "server",
	} {
		u, err := checkServer(in)
		must(t, err)
		if got := defaultName(u); got != want || checkName(got) != nil {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestFreeName: a name that nobody chose gives way to what is there.
func TestFreeName(t *testing.T) {
	h, _ := Lookup("cursor")
	env := machine(t, "linux")
	write(t, h.File(env), `{"mcpServers": {"example": {"command": "x"}, "example-2": {"command": "y"}}}`)
	c, err := h.Connect(env, server, "", "")
	must(t, err)
	if c.Entry.Name != "example-3" {
		t.Errorf("called %s", c.Entry.Name)
	}
	long := strings.Repeat("x", maxName)
	if got := freeName(long, func(name string) bool { return name == long }); checkName(got) != nil || got == long {
		t.Errorf("called %s", got)
	}
}

func TestShortName(t *testing.T) {
	for in, want := range map[string]string{"https://mcp.linear.app/mcp": "linear", "linear": "", "http://mcp.linear.app/mcp": "", "": ""} {
		if got := ShortName(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestFound(t *testing.T) {
	for _, h := range All() {
		env := machine(t, "linux")
		if got := h.Found(env); got != "" && !strings.HasPrefix(got, "/Applications/") {
			t.Errorf("%s found in an empty home: %s", h.Key, got)
		}
		write(t, h.File(env), "x")
		if h.Found(env) == "" {
			t.Errorf("%s not found by its file", h.Key)
		}
		env.Which = func(program string) string { return "/bin/" + program }
		if got := h.Found(env); len(h.programs) > 0 && got != "/bin/"+h.programs[0] {
			t.Errorf("%s: %s", h.Key, got)
		}
	}
}

func TestLeftovers(t *testing.T) {
	env := machine(t, "linux")
	env.vars = func(name string) string { return map[string]string{"CODEX_HOME": env.Home + "/c"}[name] }
	for _, p := range []string{".mcp-auth/mcp-remote-0.1.38/ab_tokens.json", ".mcp-auth/mcp-remote-0.1.38/ab_client_info.json", ".mcp-auth/cd_tokens.json", ".claude/.credentials.json", "c/.credentials.json", ".copilot/mcp-oauth-config/x.tokens.json"} {
		write(t, filepath.Join(env.Home, p), "s3cret")
	}
	must(t, os.Chmod(filepath.Join(env.Home, ".claude/.credentials.json"), 0o600))
	for _, dir := range []string{filepath.Dir(env.Home), env.Home, ".mcp-auth", ".claude", "c"} { // the others are closed
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(env.Home, dir)
		}
		must(t, os.Chmod(dir, 0o711))
	}
	var got []string
	for _, l := range Leftovers(env) {
		rel, _ := filepath.Rel(env.Home, l.Path)
		got = append(got, fmt.Sprint(l.Program, " ", rel, " ", l.Exposed))
	}
	want := []string{
		"mcp-remote .mcp-auth/cd_tokens.json true", "mcp-remote .mcp-auth/mcp-remote-0.1.38/ab_tokens.json false", "Claude Code .claude/.credentials.json false",
		"Codex c/.credentials.json true", "Copilot CLI .copilot/mcp-oauth-config/x.tokens.json false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestDocs checks that docs/hosts.md has a row for each host, and the lines it gets as they are.
func TestDocs(t *testing.T) {
	docs := read(t, filepath.Join("..", "docs", "hosts.md"))
	env := machine(t, "linux")
	for _, h := range All() {
		if !strings.Contains(docs, fmt.Sprintf("| %s | `%s` |", h.Name, h.Key)) {
			t.Errorf("no row for %s", h.Name)
		}
		for _, via := range h.channels {
			c, err := h.Connect(env, server, "", via)
			must(t, err)
			if !strings.Contains(docs, "\n"+c.Lines+"```") {
				t.Errorf("%s by %s is not there:\n%s", h.Name, via, c.Lines)
			}
		}
	}
	for _, row := range tokenFiles {
		if !strings.Contains(docs, "\n| "+row.program) {
			t.Errorf("no row for the tokens of %s", row.program)
		}
	}
}
