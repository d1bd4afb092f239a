package hosts

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Leftover is a file in which another program keeps tokens in the clear. It is never opened.
type Leftover struct {
	Program  string
	Path     string
	Mode     fs.FileMode
	Modified time.Time
	Exposed  bool // other users of this computer may read it
}

// tokenFiles says where programs keep MCP tokens in plain files; docs/hosts.md says where each row comes from. A file
// of Claude Code, opencode or Goose may hold other sign-ins of that program as well.
var tokenFiles = []struct {
	program string
	places  []string
}{
	{"mcp-remote", []string{"{MCP_REMOTE_CONFIG_DIR|~/.mcp-auth}/*_tokens.json", "{MCP_REMOTE_CONFIG_DIR|~/.mcp-auth}/*/*_tokens.json"}},
	{"Claude Code", []string{"{CLAUDE_CONFIG_DIR|~/.claude}/.credentials.json"}},
	{"Codex", []string{"{CODEX_HOME|~/.codex}/.credentials.json"}},
	{"Gemini CLI", []string{"~/.gemini/mcp-oauth-tokens.json"}},
	{"Goose", []string{"{xdg}/goose/secrets.yaml", "{config}/Block/goose/config/secrets.yaml"}},
	{"Copilot CLI", []string{"{COPILOT_HOME|~/.copilot}/mcp-oauth-config/*.tokens.json"}},
	{"opencode", []string{"{XDG_DATA_HOME|~/.local/share}/opencode/mcp-auth.json"}},
	{"Crush", []string{"{xdg}/crush/mcp-oauth-tokens.json"}},
}

// Leftovers lists the files in which other programs keep tokens in the clear on this machine.
func Leftovers(env Env) []Leftover {
	var all []Leftover
	for _, row := range tokenFiles {
		for _, path := range env.expand(row.places) {
			info, err := os.Stat(path)
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			all = append(all, Leftover{row.program, path, info.Mode().Perm(), info.ModTime(), env.OS != "windows" && exposed(path, info.Mode())})
		}
	}
	return all
}

// exposed reports whether a mode lets others read the file at path, and they can get there.
func exposed(path string, mode fs.FileMode) bool {
	if mode&0o044 == 0 {
		return false
	}
	for dir := filepath.Dir(path); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode()&0o011 == 0 {
			return false
		}
	}
	return true
}
