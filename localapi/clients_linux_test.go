package localapi

import (
	"os"
	"strings"
	"testing"
)

// TestClientsFindTheSocket: the clients in docs/clients look where Address does.
func TestClientsFindTheSocket(t *testing.T) {
	isDir := func(dir string) bool {
		info, err := os.Stat(dir)
		return err == nil && info.IsDir()
	}
	for language, program := range map[string]string{
		"python": "import valetkey\nprint(valetkey.address())",
		"ts":     `import { address } from "./valetkey.ts"; console.log(address());`,
	} {
		t.Run(language, func(t *testing.T) {
			for _, env := range []map[string]string{
				{"VK_SOCK": "/tmp/x/agent.sock", "XDG_RUNTIME_DIR": "/tmp/y", "HOME": "/home/me"},
				{"XDG_RUNTIME_DIR": "/no/such/dir", "HOME": "/home/me"},
				{"VK_SOCK": "", "XDG_RUNTIME_DIR": "relative", "HOME": "/home/me"},
				{"XDG_RUNTIME_DIR": "", "HOME": "/home/me"},
				{"HOME": "/home/me"},
			} {
				want, err := linuxAddress(func(name string) string { return env[name] }, os.Getuid(), isDir)
				must(t, err)
				var list []string
				for name, value := range env {
					list = append(list, name+"="+value)
				}
				if got, err := inLanguage(t, language, program, list...); err != nil || strings.TrimSpace(got) != want {
					t.Errorf("%v: %s, %v; want %s", env, got, err, want)
				}
			}
		})
	}
}
