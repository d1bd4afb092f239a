package localapi

import (
	"errors"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	never := func(string) bool { return false }
	run1000 := func(dir string) bool { return dir == "/run/user/1000" }
	long := "/home/" + strings.Repeat("x", 90)
	linux := func(isDir func(string) bool) func(func(string) string) (string, error) {
		return func(env func(string) string) (string, error) { return linuxAddress(env, 1000, isDir) }
	}
	darwin := func(env func(string) string) (string, error) { return darwinAddress(env, 501) }
	windows := func(env func(string) string) (string, error) { return windowsAddress(env, "S-1-5-21-1-2-3-1001") }
	for name, c := range map[string]struct {
		address func(func(string) string) (string, error)
		env     map[string]string
		want    string
		says    string // of the error
	}{
		"linux moved":          {linux(run1000), map[string]string{"VK_SOCK": "/x/../y.sock", "XDG_RUNTIME_DIR": "/run/user/7"}, "/y.sock", ""},
		"linux relative":       {linux(run1000), map[string]string{"VK_SOCK": "y.sock"}, "", "VK_SOCK is not an absolute path: y.sock"},
		"linux nul":            {linux(run1000), map[string]string{"VK_SOCK": "/a\x00b"}, "", "VK_SOCK holds a NUL character"},
		"linux xdg":            {linux(never), map[string]string{"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/u"}, "/run/user/7/valetkey/agent.sock", ""},
		"linux relative xdg":   {linux(never), map[string]string{"XDG_RUNTIME_DIR": "run", "HOME": "/home/u"}, "/home/u/.local/state/valetkey/run/agent.sock", ""},
		"linux bare":           {linux(run1000), nil, "/run/user/1000/valetkey/agent.sock", ""},
		"linux home":           {linux(never), map[string]string{"HOME": "/home/u"}, "/home/u/.local/state/valetkey/run/agent.sock", ""},
		"linux no home":        {linux(never), nil, "", "HOME is not set to an absolute path"},
		"linux at the limit":   {linux(never), map[string]string{"VK_SOCK": "/" + strings.Repeat("x", 106)}, "/" + strings.Repeat("x", 106), ""},
		"linux over the limit": {linux(never), map[string]string{"VK_SOCK": "/" + strings.Repeat("x", 107)}, "", "is 108 bytes long, and this system allows 107"},
		"linux long home":      {linux(never), map[string]string{"HOME": long}, "", "this system allows 107"},
		"darwin moved":         {darwin, map[string]string{"VK_SOCK": "/y.sock"}, "/y.sock", ""},
		"darwin limit":         {darwin, map[string]string{"VK_SOCK": "/" + strings.Repeat("x", 103)}, "", "is 104 bytes long, and this system allows 103"},
		"darwin home":          {darwin, map[string]string{"HOME": "/Users/u", "XDG_RUNTIME_DIR": "/r"}, "/Users/u/Library/Caches/valetkey/agent.sock", ""},
		"darwin long home":     {darwin, map[string]string{"HOME": long, "TMPDIR": "/var/folders/ab/T/"}, "/var/folders/ab/T/valetkey-501/agent.sock", ""},
		"darwin bare long":     {darwin, map[string]string{"HOME": long}, "/tmp/valetkey-501/agent.sock", ""},
		"darwin no home":       {darwin, nil, "", "HOME is not set"},
		"windows":              {windows, map[string]string{"HOME": "/home/u"}, `\\.\pipe\valetkey.c169ebe52e9c0ba4`, ""},
		"windows moved":        {windows, map[string]string{"VK_SOCK": `\\.\pipe\other`}, `\\.\pipe\other`, ""},
		"windows path":         {windows, map[string]string{"VK_SOCK": `C:\x.sock`}, "", "VK_SOCK is not the name of a pipe"},
		"windows remote":       {windows, map[string]string{"VK_SOCK": `\\.\pipe\a\b`}, "", "VK_SOCK is not the name of a pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.address(func(name string) string { return c.env[name] })
			if got != c.want {
				t.Errorf("address %q, want %q", got, c.want)
			}
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %v, want %q", err, c.says)
			}
			if e := new(Error); err != nil && (!errors.As(err, &e) || ExitCode(err) != 2) {
				t.Errorf("%v is not ErrBadRequest", err)
			}
		})
	}
}
