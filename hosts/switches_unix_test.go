//go:build unix

package hosts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
)

// computer is a home in which nothing is installed, with a vk.
func computer(t *testing.T) (home string, p *Switches) {
	home = t.TempDir()
	return home, &Switches{env: func() (Env, error) {
		return Env{OS: "linux", Home: home, VK: "/opt/valetkey/vk", Socket: "/run/valetkey/agent.sock"}, nil
	}}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// after is the state after a wish.
func after(t *testing.T, p *Switches, w face.Wish) (s face.State) {
	t.Helper()
	if mine, err := p.Do(w); !mine || err != nil {
		t.Fatalf("%+v: %v %v", w, mine, err)
	}
	p.Show(&s)
	return s
}

// TestProgramsSwitchedOnAndOff writes what was shown and nothing before, and takes out the same again.
func TestProgramsSwitchedOnAndOff(t *testing.T) {
	home, p := computer(t)
	path := filepath.Join(home, ".cursor/mcp.json")
	const text = "{\n  // mine\n  \"mcpServers\": {\n    \"other\": {\"command\": \"x\"}\n  }\n}\n"
	put(t, path, text)

	s := after(t, p, face.WishLook{})
	if len(s.Programs) != 1 || s.Programs[0].Key != "cursor" || s.Programs[0].File != "~/.cursor/mcp.json" || len(s.Programs[0].Servers) != 0 || s.Edit != nil {
		t.Fatalf("found %+v, %+v", s.Programs, s.Edit)
	}
	e := after(t, p, face.WishConnect{Program: "cursor", Server: server}).Edit
	if e.Failed != nil || e.Name != "example" || e.File != path || !strings.Contains(e.Lines, server) || e.Runs != "/opt/valetkey/vk bridge "+server || e.Backup == "" {
		t.Fatalf("shown %+v", e)
	}
	if has(t, path) != text {
		t.Fatal("written before the person said so")
	}
	s = after(t, p, face.WishWrite{ID: e.ID})
	if !s.Edit.Done || s.Edit.Restart == "" || len(s.Programs[0].Servers) != 1 || s.Programs[0].Servers[0] != (face.Connected{Name: "example", Server: server}) {
		t.Fatalf("after writing %+v, %+v", s.Edit, s.Programs)
	}
	if now := has(t, path); !strings.Contains(now, strings.TrimSpace(e.Lines)) || now == text {
		t.Errorf("written\n%s\nshown\n%s", now, e.Lines)
	}
	if s = after(t, p, face.WishConnect{Program: "cursor", Server: server}); s.Edit.Failed == nil {
		t.Errorf("had it twice: %+v", s.Edit)
	}
	e = after(t, p, face.WishDisconnect{Program: "cursor", Name: "example"}).Edit
	if e.Failed != nil || !e.Remove || e.Server != server || !strings.Contains(e.Lines, server) || e.Runs != "" || e.Socket != "" {
		t.Fatalf("shown %+v", e)
	}
	s = after(t, p, face.WishWrite{ID: e.ID})
	if !s.Edit.Done || len(s.Programs[0].Servers) != 0 || has(t, path) != text {
		t.Errorf("after taking it out %+v, %+v, the file\n%s", s.Edit, s.Programs, has(t, path))
	}
	if s = after(t, p, face.WishDrop{ID: s.Edit.ID}); s.Edit != nil {
		t.Errorf("still shown: %+v", s.Edit)
	}
}

// TestProgramsGateway: a host that connects to the socket runs nothing.
func TestProgramsGateway(t *testing.T) {
	home, p := computer(t)
	put(t, filepath.Join(home, ".config/Code/User/mcp.json"), "{}")
	e := after(t, p, face.WishConnect{Program: "vscode", Server: server}).Edit
	if e.Failed != nil || e.Runs != "" || e.Socket != "/run/valetkey/agent.sock" {
		t.Errorf("shown %+v", e)
	}
}

// TestProgramsThatCannotBeWritten: the person learns why, gets the lines to paste, and the file stays as it is.
func TestProgramsThatCannotBeWritten(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		mode   os.FileMode
		before func(path string) // between what is shown and what is written
		says   string
	}{
		"does not parse":     {"{\n  \"mcpServers\": {", 0o600, nil, "is not JSON at line 2"},
		"somebody else":      {"{}", 0o600, func(path string) { put(t, path, `{"theirs": 1}`) }, "changed by another program"},
		"folder is not ours": {"{}", 0o600, func(path string) { os.Chmod(filepath.Dir(path), 0o500) }, "permission denied"},
		"write-protected":    {"{}", 0o400, func(string) {}, "write-protected"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "folder is not ours" && os.Getuid() == 0 {
				t.Skip("root may write anywhere")
			}
			home, p := computer(t)
			path := filepath.Join(home, ".cursor/mcp.json")
			put(t, path, c.text)
			os.Chmod(path, c.mode)
			s := after(t, p, face.WishConnect{Program: "cursor", Server: server})
			want := c.text
			if c.before != nil {
				if s.Edit.Failed != nil {
					t.Fatalf("failed early: %v", s.Edit.Failed)
				}
				c.before(path)
				want = has(t, path)
				s = after(t, p, face.WishWrite{ID: s.Edit.ID})
				os.Chmod(filepath.Dir(path), 0o700)
			}
			if s.Edit.Failed == nil || !strings.Contains(s.Edit.Failed.Message, c.says) || !strings.Contains(s.Edit.Block, server) || s.Edit.Done {
				t.Errorf("shown %+v", s.Edit)
			}
			if has(t, path) != want {
				t.Errorf("the file is\n%s", has(t, path))
			}
			if _, err := p.Do(face.WishWrite{ID: s.Edit.ID}); err == nil {
				t.Error("what failed can be written")
			}
		})
	}
}

// TestProgramsOnlyWhatIsOnOffer: an edit that another one has replaced is not written.
func TestProgramsOnlyWhatIsOnOffer(t *testing.T) {
	home, p := computer(t)
	path := filepath.Join(home, ".cursor/mcp.json")
	put(t, path, "{}")
	first := after(t, p, face.WishConnect{Program: "cursor", Server: server}).Edit
	second := after(t, p, face.WishConnect{Program: "cursor", Server: "https://other.example.com/mcp"}).Edit
	for _, id := range []string{first.ID, "", "edit-99"} {
		if _, err := p.Do(face.WishWrite{ID: id}); err == nil {
			t.Errorf("%q was written", id)
		}
	}
	after(t, p, face.WishDrop{ID: first.ID})
	after(t, p, face.WishDrop{ID: second.ID})
	if _, err := p.Do(face.WishWrite{ID: second.ID}); err == nil || has(t, path) != "{}" {
		t.Errorf("what was dropped is written: %s", has(t, path))
	}
	if mine, err := p.Do(face.WishForget{}); mine || err != nil {
		t.Error("it took a wish of the broker's")
	}
	if s := after(t, p, face.WishConnect{Program: "nohost", Server: server}); s.Edit.Failed == nil {
		t.Error("an unknown host")
	}
}

func TestProgramsUnreadable(t *testing.T) {
	home, p := computer(t)
	put(t, filepath.Join(home, ".codex/config.toml"), "a = '\n")
	row := after(t, p, face.WishLook{}).Programs[0]
	if row.Key != "codex" || !strings.Contains(row.Problem, "is not TOML") || strings.Contains(row.Problem, home) {
		t.Errorf("%+v", row)
	}
}

func TestBounded(t *testing.T) {
	long := strings.Repeat("line\n", maxShown)
	if got := bounded(long); len(got) > maxShown+4 || !strings.HasSuffix(got, "line\n…\n") || bounded("a\n") != "a\n" {
		t.Errorf("%d bytes, ends in %q", len(got), got[len(got)-10:])
	}
}

// TestTheVKBeside: vk is the one beside valetkey, called as it is in PATH if that is the same file.
func TestTheVKBeside(t *testing.T) {
	dir := t.TempDir()
	self, beside, named := filepath.Join(dir, "v1", "valetkey"), filepath.Join(dir, "v1", "vk"), filepath.Join(dir, "bin", "vk")
	t.Setenv("PATH", filepath.Dir(named))
	hinted := &localapi.Error{}
	if _, err := besides(os.Getenv, self, "/s"); !errors.As(err, &hinted) || !strings.Contains(hinted.Hint, "put it beside valetkey") {
		t.Errorf("without vk: %v", err)
	}
	vk := func(want string) {
		t.Helper()
		if env, err := besides(os.Getenv, self, "/s"); err != nil || env.VK != want || env.Socket != "/s" {
			t.Errorf("%v, %v, want %s", env.VK, err, want)
		}
	}
	put(t, named, "another one")
	os.Chmod(named, 0o700)
	vk(named)
	put(t, beside, "ours")
	os.Chmod(beside, 0o700)
	vk(beside)
	os.Remove(named)
	if err := os.Symlink(beside, named); err != nil {
		t.Fatal(err)
	}
	vk(named)
}
