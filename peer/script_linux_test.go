package peer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clients are scripts that connect to the socket named by their argument and hold the connection.
var clients = map[string]string{
	"/usr/bin/perl":    "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; <STDIN>;\n",
	"/usr/bin/python3": "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nsys.stdin.read()\n",
	"/usr/bin/node":    "require('net').connect(process.argv[2]); process.stdin.resume();\n",
}

func TestAScriptIsNamedByItsFile(t *testing.T) {
	for tool, text := range clients {
		t.Run(filepath.Base(tool), func(t *testing.T) {
			interpreter, err := filepath.EvalSymlinks(tool)
			if err != nil {
				t.Skipf("there is no %s here", tool)
			}
			d := openDoor(t)
			file := filepath.Join(d.dir, "my-agent.x")
			write(t, file, text)
			link := filepath.Join(d.dir, "link")
			if err := os.Symlink(file, link); err != nil {
				t.Fatal(err)
			}
			want := Host{Key: "script:" + interpreter + "|" + file + "#" + hashOf(t, file), Base: "script:" + interpreter + "|" + file,
				Name: "my-agent.x", Level: SelfReported, Facts: "script " + file + ", run by " + interpreter}
			for name, cmd := range map[string]*exec.Cmd{
				"absolute": exec.Command(tool, file, d.path),
				"relative": exec.Command(tool, "my-agent.x", d.path),
				"link":     exec.Command(tool, link, d.path),
			} {
				cmd.Dir = d.dir
				startCmd(t, cmd)
				p := d.name(t, newNamer(nil))
				h := p.Host
				if h.Key != want.Key || h.Base != want.Base || h.Name != want.Name || h.Level != want.Level || h.Facts != want.Facts || !Running(h.Instance) {
					t.Errorf("%s: got  %+v\nwant %+v", name, h, want)
				}
				if err := p.Check(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCodeThatIsNoFileHasNoKey(t *testing.T) {
	perl := "/usr/bin/perl"
	if _, err := os.Stat(perl); err != nil {
		t.Skip("there is no perl here")
	}
	d := openDoor(t)
	start(t, perl, "-e", clients[perl], d.path)
	h := d.name(t, newNamer(nil)).Host
	if h.Key != "" || h.Base != "" || h.Level != SelfReported || h.Name != "perl" {
		t.Errorf("%+v", h)
	}
}

func TestCheckHashesAScriptAgainThatWasWrittenTo(t *testing.T) {
	perl := "/usr/bin/perl"
	if _, err := os.Stat(perl); err != nil {
		t.Skip("there is no perl here")
	}
	d := openDoor(t)
	file := filepath.Join(d.dir, "agent.pl")
	write(t, file, clients[perl])
	start(t, perl, file, d.path)
	conn := d.accept(t)
	n := newNamer(nil)
	p, err := n.Of(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		t.Errorf("touched: %v", err)
	}
	write(t, file, clients[perl]+"# more\n")
	if err := p.Check(); err != errChanged {
		t.Errorf("written to: %v", err)
	}
	q, err := n.Of(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if q.Host.Base != p.Host.Base || q.Host.Key == p.Host.Key || q.Check() != nil {
		t.Errorf("before %s\nafter  %s", p.Host.Key, q.Host.Key)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := q.Check(); err != errChanged {
		t.Errorf("removed: %v", err)
	}
}

func TestAScriptIsAHostOfOurOwnProgram(t *testing.T) {
	perl := "/usr/bin/perl"
	if _, err := os.Stat(perl); err != nil {
		t.Skip("there is no perl here")
	}
	d := openDoor(t)
	vk := copyTo(t, filepath.Join(d.dir, "vk"))
	file := filepath.Join(d.dir, "node_modules", "@example", "agent", "cli.js")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, file, "system @ARGV;\n")
	start(t, perl, file, vk, "helper", "connect", d.path)
	if h := d.name(t, newNamer([]string{vk})).Host; h.Name != "@example/agent" || !strings.HasPrefix(h.Key, "script:"+perl+"|"+file+"#") {
		t.Errorf("%+v", h)
	}
}

// A pipe or a device as a script must not be opened: the first blocks, the second may have effects.
func TestAScriptThatIsNoRegularFileHasNoKey(t *testing.T) {
	self := selfProc(t)
	dir := t.TempDir()
	for _, arg := range []string{"/dev/zero", dir, filepath.Join(dir, "missing"), "", "missing"} {
		if f, path, _, err := self.openScript(arg); err == nil {
			f.Close()
			t.Errorf("%q opened as %s", arg, path)
		}
	}
}

func selfProc(t *testing.T) *proc {
	t.Helper()
	n := newNamer(nil)
	p, err := n.open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

func TestHashesAreRemembered(t *testing.T) {
	var h hashes
	sum := func(path string) string {
		f, err := openPath(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s, _, err := h.of(f)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	old, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skip("there is no sh here")
	}
	if sum(old) != hashOf(t, old) || len(h.sums) != 1 {
		t.Errorf("%d hashes", len(h.sums))
	}
	for id := range h.sums {
		h.sums[id] = "remembered"
	}
	if sum(old) != "remembered" {
		t.Error("hashed twice")
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	for _, text := range []string{"one", "two"} { // same size, same moment
		write(t, fresh, text)
		if sum(fresh) != hashOf(t, fresh) {
			t.Error("the hash of another content")
		}
	}
	if len(h.sums) != 1 {
		t.Error("a file that was just written is remembered")
	}
}

func TestFixedPath(t *testing.T) {
	for path, want := range map[string]bool{"/usr/bin/x": true, "/tmp/x": false, "/missing/x": false, "x": false, "": false, "/x": true} {
		if got := fixedPath(path); got != want {
			t.Errorf("fixedPath(%q) = %v", path, got)
		}
	}
}
