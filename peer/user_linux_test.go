package peer

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const nobody = 65534

// asNobody makes cmd run as nobody. Only root can do that.
func asNobody(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("to run a process as another user, the test must run as root")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

func TestAnotherUserIsRefused(t *testing.T) {
	d := openDoor(t)
	exe := copyTo(t, filepath.Join(d.dir, "agent"))
	startCmd(t, asNobody(t, exec.Command(exe, "helper", "connect", d.path)))
	if _, err := newNamer(nil).Of(d.accept(t)); !errors.Is(err, ErrOtherUser) {
		t.Error(err)
	}
}

func TestServerUser(t *testing.T) {
	d := openDoor(t)
	exe := copyTo(t, filepath.Join(d.dir, "vk"))
	out, err := exec.Command(exe, "helper", "server-user", d.path).Output()
	if err != nil || string(out) != "<nil>\n" {
		t.Errorf("the same user: %q, %v", out, err)
	}
	out, err = asNobody(t, exec.Command(exe, "helper", "server-user", d.path)).Output()
	if err != nil || string(out) != ErrOtherUser.Error()+"\n" {
		t.Errorf("another user: %q, %v", out, err)
	}
}

// Above a process of nobody's is this test, of another user: the way up ends there.
func TestOnlyLaunchersUpToAnotherUser(t *testing.T) {
	d := openDoor(t)
	vk := copyTo(t, filepath.Join(d.dir, "vk"))
	n := newNamer([]string{vk})
	n.system.uid = nobody
	shell, err := filepath.EvalSymlinks(sh(t))
	if err != nil {
		t.Fatal(err)
	}
	job := filepath.Join(d.dir, "job.sh")
	if err := os.WriteFile(job, []byte("#!"+shell+"\n"+vk+" helper connect "+d.path+"\ntrue\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		argv []string
		want Host
	}{
		"a command line": {[]string{shell, "-c", vk + " helper connect " + d.path + "; true"},
			Host{Name: "a shell (" + filepath.Base(shell) + ")", Level: Unknown, Facts: shell + ", with no program of yours above it that could be named"}},
		"a shell script": {[]string{job},
			Host{Key: "script:" + shell + "|" + job + "#" + hashOf(t, job), Base: "script:" + shell + "|" + job, Name: "job.sh", Level: SelfReported,
				Facts: "script " + job + ", run by " + shell}},
		"nothing but vk": {[]string{vk, "helper", "connect", d.path},
			Host{Name: "our own program (vk)", Level: Unknown, Facts: vk + ", with no program of yours above it that could be named"}},
	} {
		t.Run(name, func(t *testing.T) {
			child := startCmd(t, asNobody(t, exec.Command(c.argv[0], c.argv[1:]...)))
			p := d.name(t, n)
			h := p.Host
			if h.Key != c.want.Key || h.Base != c.want.Base || h.Name != c.want.Name || h.Level != c.want.Level || h.Facts != c.want.Facts {
				t.Errorf("got  %+v\nwant %+v", h, c.want)
			}
			if h.Process.PID != child.Process.Pid || !Running(h.Instance) {
				t.Errorf("process %+v, instance %s", h.Process, h.Instance)
			}
			if err := p.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A hardened app must still be able to name its peers; a hardened peer cannot be named.
func TestHarden(t *testing.T) {
	dir := publicDir(t)
	if os.Geteuid() == 0 { // root may read everything: only nobody shows what Harden does
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	app, agent := copyTo(t, filepath.Join(dir, "app")), copyTo(t, filepath.Join(dir, "agent"))
	for name, c := range map[string]struct {
		serve []string
		mode  string
		want  Host
	}{
		"the app":  {[]string{"hardened"}, "connect", Host{Key: "exe:" + agent + "#" + hashOf(t, agent), Name: "agent", Level: Path}},
		"the peer": {nil, "harden", Host{Name: "an unknown program", Level: Unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			as := func(cmd *exec.Cmd) *exec.Cmd {
				if os.Geteuid() == 0 {
					return asNobody(t, cmd)
				}
				return cmd
			}
			socket := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			cmd := as(exec.Command(app, append([]string{"helper", "serve", socket}, c.serve...)...))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			out.(*os.File).SetReadDeadline(time.Now().Add(20 * time.Second))
			startCmd(t, cmd)
			in := bufio.NewReader(out)
			if line, err := in.ReadString('\n'); err != nil || line != "ready\n" {
				t.Fatalf("%q, %v", line, err)
			}
			startCmd(t, as(exec.Command(agent, "helper", c.mode, socket)))
			var h Host
			if err := json.NewDecoder(in).Decode(&h); err != nil {
				t.Fatal(err)
			}
			if h.Key != c.want.Key || h.Name != c.want.Name || h.Level != c.want.Level {
				t.Errorf("%+v", h)
			}
		})
	}
}

// A real process whose root holds a .flatpak-info, as Flatpak makes it.
func TestAFlatpakIsNamedByItsID(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to give a process another root, the test must run as root")
	}
	d := openDoor(t)
	copyTo(t, filepath.Join(d.dir, "agent"))
	info := "[Application]\nname=org.example.Agent\nruntime=runtime/org.freedesktop.Platform/x86_64/25.08\n\n[Instance]\nname=org.example.Other\n"
	if err := os.WriteFile(filepath.Join(d.dir, ".flatpak-info"), []byte(info), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/agent", "helper", "connect", "/s")
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: d.dir}
	if probe := exec.Command("/agent", "-test.list", "^$"); true {
		probe.Dir, probe.SysProcAttr = cmd.Dir, cmd.SysProcAttr
		if err := probe.Run(); err != nil {
			t.Skip("the test binary needs shared libraries, which that root does not have; run with CGO_ENABLED=0")
		}
	}
	startCmd(t, cmd)
	p := d.name(t, newNamer(nil))
	if h := p.Host; h.Key != "flatpak:org.example.Agent" || h.Base != h.Key || h.Level != Sandbox || h.Name != "org.example.Agent" || h.Facts != "Flatpak app org.example.Agent" {
		t.Errorf("%+v", h)
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
}

// A process in another mount namespace, whose program is gone from its path: the path is its word alone.
func TestARemovedProgramOfAnotherMountNamespaceIsUnknown(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to give a process mounts of its own, the test must run as root")
	}
	d := openDoor(t)
	c := exec.Command(copyTo(t, filepath.Join(d.dir, "agent")), "helper", "connect", d.path)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS}
	startCmd(t, c)
	conn := d.accept(t)
	if err := os.Remove(c.Path); err != nil {
		t.Fatal(err)
	}
	p, err := newNamer(nil).Of(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Host.Level != Unknown || p.Host.Key != "" {
		t.Errorf("%+v", p.Host)
	}
}
