package peer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func hashOf(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// namers are a Namer on a kernel with SO_PEERPIDFD and one on a kernel without (before Linux 6.5).
func namers(own ...string) map[string]*Namer {
	old := newNamer(own)
	old.system.peerPidfd = func(int) (int, error) { return -1, unix.ENOPROTOOPT }
	return map[string]*Namer{"peerpidfd": newNamer(own), "pidfd_open": old}
}

func TestOfNamesAHostThatConnectsItself(t *testing.T) {
	for name, n := range namers() {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t)
			exe := copyTo(t, filepath.Join(d.dir, "claude"))
			c := start(t, exe, "helper", "connect", d.path)
			p := d.name(t, n)
			h := p.Host
			want := Host{Key: "exe:" + exe + "#" + hashOf(t, exe), Base: "exe:" + exe, Name: "claude", Level: Path,
				Facts: "in your own files at " + exe, Instance: fmt.Sprintf("%d:%d", c.Process.Pid, p.process.Start)}
			if h.Key != want.Key || h.Base != want.Base || h.Name != want.Name || h.Level != want.Level || h.Facts != want.Facts || h.Instance != want.Instance {
				t.Errorf("got  %+v\nwant %+v", h, want)
			}
			if p.process.PID != c.Process.Pid || p.process.PPID != os.Getpid() || p.process.Exe != exe || strings.Join(p.process.Args, " ") != exe+" helper connect "+d.path {
				t.Errorf("process %+v", p.process)
			}
			if len(h.Chain) < 2 || h.Chain[0].PID != c.Process.Pid || h.Chain[1].PID != os.Getpid() {
				t.Errorf("chain %+v", h.Chain)
			}
			if err := p.Check(); err != nil {
				t.Error(err)
			}
			if !Running(h.Instance) || Running(fmt.Sprintf("%d:%d", c.Process.Pid, p.process.Start+1)) {
				t.Error("Running does not tell this run from another")
			}
			c.end()
			if err := p.Check(); err != errGone {
				t.Errorf("Check after the end: %v", err)
			}
			if Running(h.Instance) {
				t.Error("still running")
			}
		})
	}
}

func TestRunningRefusesWhatIsNoInstance(t *testing.T) {
	for _, s := range []string{"", ":", "1", "x:1", "1:x", "-1:1", "0:0", strconv.Itoa(os.Getpid()) + ":0"} {
		if Running(s) {
			t.Errorf("Running(%q)", s)
		}
	}
}

func TestOfGoesUpPastOurOwnAndLaunchers(t *testing.T) {
	d := openDoor(t)
	vk := copyTo(t, filepath.Join(d.dir, "vk"))
	host := copyTo(t, filepath.Join(d.dir, "agent"))
	for name, n := range namers(vk) {
		for way, argv := range map[string][]string{
			"direct": {vk, "helper", "connect", d.path},
			"shell":  {sh(t), "-c", vk + " helper connect " + d.path + "; true"},
			"shells": {sh(t), "-c", sh(t) + " -c '" + vk + " helper connect " + d.path + "; true'; true"},
		} {
			t.Run(name+"/"+way, func(t *testing.T) {
				c := start(t, host, append([]string{"helper", "run"}, argv...)...)
				p := d.name(t, n)
				if p.Host.Name != "agent" || p.Host.Process.PID != c.Process.Pid || p.process.Exe != vk {
					t.Fatalf("peer %+v\nhost %+v", p.process, p.Host)
				}
				if err := p.Check(); err != nil {
					t.Fatal(err)
				}
				c.Process.Kill() // the host dies; vk and the shell do not notice at once
				waitExit(t, c)
				if err := p.Check(); err != errGone {
					t.Errorf("Check without a host: %v", err)
				}
			})
		}
	}
}

// waitExit waits until the process ended without taking it away: it stays a zombie.
func waitExit(t testing.TB, c *child) {
	t.Helper()
	if err := unix.Waitid(unix.P_PID, c.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
}

func TestOwnProgramIsKnownAfterAnUpdateReplacedIt(t *testing.T) {
	d := openDoor(t)
	vk := copyTo(t, filepath.Join(d.dir, "vk"))
	host := copyTo(t, filepath.Join(d.dir, "agent"))
	n := newNamer([]string{vk})
	start(t, host, "helper", "run", vk, "helper", "connect", d.path)
	conn := d.accept(t)
	if err := os.Remove(vk); err != nil {
		t.Fatal(err)
	}
	copyTo(t, vk)
	start(t, host, "helper", "run", vk, "helper", "connect", d.path)
	for which, conn := range map[string]net.Conn{"old": conn, "new": d.accept(t)} {
		p, err := n.Of(conn)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if p.Host.Name != "agent" {
			t.Errorf("%s vk: host %+v", which, p.Host)
		}
	}
}

func TestALauncherThatIsNotTheSystemsIsAHostWithoutAKey(t *testing.T) {
	d := openDoor(t)
	fake := copyTo(t, filepath.Join(d.dir, "bash"))
	if err := os.Chmod(fake, 0o775); err != nil { // written by a group: not the system's own, whoever owns it
		t.Fatal(err)
	}
	start(t, fake, "helper", "connect", d.path)
	h := d.name(t, newNamer(nil)).Host
	if h.Name != "bash" || h.Key != "" || h.Base != "" || h.Level != Path {
		t.Errorf("%+v", h)
	}
}

func TestOfNamesAReplacedProgramByItsRunningImage(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		d := openDoor(t)
		exe := copyTo(t, filepath.Join(d.dir, "agent"))
		hash := hashOf(t, exe)
		start(t, exe, "helper", "connect", d.path)
		conn := d.accept(t)
		if err := os.Remove(exe); err != nil {
			t.Fatal(err)
		}
		if replaced {
			if err := os.WriteFile(exe, []byte("something else"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		p, err := newNamer(nil).Of(conn)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if p.Host.Key != "exe:"+exe+"#"+hash || p.Host.Level != Path || !strings.Contains(p.Host.Facts, "replaced or removed") {
			t.Errorf("%+v", p.Host)
		}
		if err := p.Check(); err != nil {
			t.Error(err)
		}
	}
}

// E3 of the design: the process that connected ends, its child keeps the connection.
func TestAConnectionLeftToAChildNamesNobody(t *testing.T) {
	for name, n := range namers() {
		for _, reaped := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/reaped=", reaped), func(t *testing.T) {
				d := openDoor(t)
				c := start(t, copyTo(t, filepath.Join(d.dir, "agent")), "helper", "leave", d.path)
				if reaped {
					c.Wait()
				} else {
					waitExit(t, c)
				}
				if p, err := n.Of(d.accept(t)); !errors.Is(err, errGone) {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
	}
}

// E2 of the design, the half that is caught.
func TestCheckCatchesAnExecThatCameAfterOf(t *testing.T) {
	d := openDoor(t)
	exe := copyTo(t, filepath.Join(d.dir, "agent"))
	for name, argv := range map[string][]string{
		"another program":  {"/bin/cat"},
		"the same program": {exe, "helper", "run", "/bin/cat"},
	} {
		t.Run(name, func(t *testing.T) {
			c, lines := startExec(t, append([]string{exe, "helper", "exec", d.path}, argv...)...)
			p := d.name(t, newNamer(nil))
			if p.Host.Name != "agent" {
				t.Fatalf("%+v", p.Host)
			}
			becomes(t, c, lines)
			if err := p.Check(); err != errChanged {
				t.Errorf("Check: %v", err)
			}
			if exited(p.pins.list[0].(*proc).pidfd) || !Running(p.Host.Instance) {
				t.Error("the kernel's own pins were to stay valid: the test shows nothing")
			}
		})
	}
}

// E2 of the design, the half that is not caught: no look that comes after the exec can tell. The threat model says so.
func TestLimitationAnExecThatCameBeforeOfIsNamedAsTheProgramItBecame(t *testing.T) {
	d := openDoor(t)
	c, lines := startExec(t, copyTo(t, filepath.Join(d.dir, "attacker")), "helper", "exec", d.path, "/bin/cat")
	conn := d.accept(t)
	becomes(t, c, lines)
	p, err := newNamer(nil).Of(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if strings.Contains(p.Host.Key, "attacker") || p.Host.Level != SystemPath {
		t.Errorf("%+v", p.Host)
	}
	if err := p.Check(); err != nil {
		t.Error(err)
	}
}

func startExec(t *testing.T, argv ...string) (*child, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	out.(*os.File).SetReadDeadline(time.Now().Add(20 * time.Second))
	return startCmd(t, cmd), bufio.NewReader(out)
}

// becomes tells the process to become cat, and waits until cat answers.
func becomes(t *testing.T, c *child, lines *bufio.Reader) {
	t.Helper()
	for _, line := range []string{"go\n", "there\n"} {
		if _, err := c.stdin.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := lines.ReadString('\n'); err != nil || got != "there\n" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestAPeerThatIsNamedAgain(t *testing.T) {
	d := openDoor(t)
	vk := copyTo(t, filepath.Join(d.dir, "vk"))
	n := newNamer([]string{vk})
	c, lines := startExec(t, copyTo(t, filepath.Join(d.dir, "agent")), "helper", "run-exec", sh(t), "-c", vk+" helper hold "+d.path+"; true")
	conn := d.accept(t)
	name := func() *Peer {
		p, err := n.Of(conn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	first, second := name(), name()
	if first.Host.Name != "agent" || !reflect.DeepEqual(first.Host, second.Host) || first.process.PID != second.process.PID || second.Check() != nil {
		t.Errorf("first  %+v\nsecond %+v", first.Host, second.Host)
	}
	becomes(t, c, lines)
	for _, p := range []*Peer{first, second} {
		if err := p.Check(); err != errChanged {
			t.Errorf("the host became another program: %v", err)
		}
	}
	if p := name(); p.Host.Name != "cat" || p.Check() != nil {
		t.Errorf("%+v", p.Host)
	}
	c.end()
	if p := name(); p.Host.Process.PID == c.Process.Pid {
		t.Errorf("%+v is gone", p.Host)
	}
}

func TestCheckComparesTheStartTime(t *testing.T) {
	d := openDoor(t)
	start(t, copyTo(t, filepath.Join(d.dir, "agent")), "helper", "connect", d.path)
	p := d.name(t, newNamer(nil))
	p.pins.list[0].(*proc).Start++
	if err := p.Check(); err != errChanged {
		t.Error(err)
	}
}

func TestAPeerThatHasNoPidfdIsGone(t *testing.T) {
	for _, errno := range []error{unix.ESRCH, unix.EINVAL, unix.ENODATA} {
		d := openDoor(t)
		start(t, copyTo(t, filepath.Join(d.dir, "agent")), "helper", "connect", d.path)
		n := newNamer(nil)
		n.system.peerPidfd = func(int) (int, error) { return -1, errno }
		if _, err := n.Of(d.accept(t)); !errors.Is(err, errGone) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

func TestABrokenChainIsUnknown(t *testing.T) {
	d := openDoor(t)
	vk := copyTo(t, filepath.Join(d.dir, "vk"))
	host := copyTo(t, filepath.Join(d.dir, "agent"))
	n := newNamer([]string{vk})
	start(t, host, "helper", "run", vk, "helper", "connect", d.path)
	p, err := n.connected(d.accept(t))
	if err != nil {
		t.Fatal(err)
	}
	p.PPID = os.Getpid() // as if the parent had gone, and the process been given to another, since it was read
	w := walk{n: n}
	w.add(p)
	defer w.close()
	f, err := w.up()
	if err != nil || f.Level != Unknown || f.Key != "" || f.Name != "an unknown program" || f.proc != p {
		t.Errorf("%+v, %v", f, err)
	}
	if begot(Process{PID: 5, Start: 7}, Process{Start: 7}, 5) != nil {
		t.Error("a parent of the same tick is one")
	}
	if begot(Process{PID: 5, Start: 8}, Process{Start: 7}, 5) == nil || begot(Process{PID: 5, Start: 6}, Process{Start: 7}, 1) == nil {
		t.Error("neither a younger process nor another one is the parent")
	}
}

func TestTooManyHopsAreUnknown(t *testing.T) {
	d := openDoor(t)
	vk := copyTo(t, filepath.Join(d.dir, "vk"))
	host := copyTo(t, filepath.Join(d.dir, "agent"))
	var argv []string
	for range maxHops + 1 {
		argv = append(argv, vk, "helper", "run")
	}
	argv = append([]string{"helper", "run"}, append(argv, vk, "helper", "connect", d.path)...)
	start(t, host, argv...)
	if h := d.name(t, newNamer([]string{vk})).Host; h.Level != Unknown || h.Key != "" || len(h.Chain) != maxHops+1 {
		t.Errorf("%+v", h)
	}
}

func TestOfRefusesWhatIsNoUnixSocket(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	tcp, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	for _, conn := range []net.Conn{tcp, a} {
		if _, err := newNamer(nil).Of(conn); !errors.Is(err, errUnsupported) {
			t.Errorf("Of(%T): %v", conn, err)
		}
		if err := ServerUser(conn); !errors.Is(err, errUnsupported) {
			t.Errorf("ServerUser(%T): %v", conn, err)
		}
	}
}

func TestTheSystemsProgramHasAKeyWithoutAHash(t *testing.T) {
	exe, err := filepath.EvalSymlinks("/bin/sleep")
	if err != nil {
		t.Skip("there is no sleep here")
	}
	c := start(t, exe, "1000")
	n := newNamer(nil)
	p := opened(t, n, c.Process.Pid, exe)
	if h := p.facts.host; h.Key != "exe:"+exe || h.Base != h.Key || h.Level != SystemPath || h.Facts != "installed by the system at "+exe {
		t.Errorf("%+v", h)
	}
}

// opened opens a process once it runs exe: between fork and exec it still is a copy of this one.
func opened(t *testing.T, n *Namer, pid int, exe string) *proc {
	t.Helper()
	p, err := n.open(pid) // exec.Cmd.Start returns when the exec is done
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	n.know(p)
	if p.Exe != exe {
		t.Fatalf("runs %s", p.Exe)
	}
	return p
}

func TestNothingIsLeftOpen(t *testing.T) {
	d := openDoor(t)
	vk := copyTo(t, filepath.Join(d.dir, "vk"))
	host := copyTo(t, filepath.Join(d.dir, "agent"))
	n := newNamer([]string{vk})
	start(t, host, "helper", "run", sh(t), "-c", vk+" helper connect "+d.path+"; true")
	conn := d.accept(t)
	gone := start(t, host, "helper", "leave", d.path)
	gone.Wait()
	left := d.accept(t)
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	before := count()
	for range 3 {
		p, err := n.Of(conn)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		p.Close()
		if err := p.Check(); err != errGone {
			t.Errorf("Check after Close: %v", err)
		}
		if _, err := n.Of(left); err == nil {
			t.Error("a connection that was left has a peer")
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestCheckAndCloseAtOnce(t *testing.T) {
	d := openDoor(t)
	start(t, copyTo(t, filepath.Join(d.dir, "agent")), "helper", "connect", d.path)
	p := d.name(t, newNamer(nil))
	done := make(chan error)
	for range 4 {
		go func() {
			for {
				if err := p.Check(); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	p.Close()
	for range 4 {
		if err := <-done; err != errGone {
			t.Error(err)
		}
	}
}

func TestAPeerMadeInATestPasses(t *testing.T) {
	p := &Peer{Host: Host{Key: "exe:/x"}}
	defer p.Close()
	if err := p.Check(); err != nil {
		t.Error(err)
	}
}
