package peer

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary plays the programs that connect: "helper MODE ARG…" as its arguments. Copied to another file it is
// another program for a Namer.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		if err := help(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func help(mode string, args []string) error {
	switch mode {
	case "run": // a program that starts another, and waits for it
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		return cmd.Run()
	case "run-exec": // a program that starts another, and becomes cat when told
		if err := exec.Command(args[0], args[1:]...).Start(); err != nil {
			return err
		}
		if _, err := io.ReadFull(os.Stdin, make([]byte, len("go\n"))); err != nil { // the rest is for cat
			return err
		}
		return syscall.Exec("/bin/cat", []string{"cat"}, nil)
	case "serve":
		return helpServe(args[0], len(args) > 1)
	case "harden":
		if err := Harden(); err != nil {
			return err
		}
	}
	conn, err := net.Dial("unix", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	switch mode {
	case "connect", "harden":
		_, err = io.Copy(io.Discard, os.Stdin) // until the test lets go
		return err
	case "hold":
		_, err = io.Copy(io.Discard, conn)
		return err
	case "server-user":
		err := ServerUser(conn)
		fmt.Println(err)
		return nil
	}
	f, err := conn.(*net.UnixConn).File()
	if err != nil {
		return err
	}
	switch mode {
	case "exec": // keep the connection, become another program when told
		if _, err := io.ReadFull(os.Stdin, make([]byte, len("go\n"))); err != nil { // the rest is for the next program
			return err
		}
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
			return err
		}
		return syscall.Exec(args[1], args[1:], nil)
	case "leave": // end, and leave the connection to a child
		cmd := exec.Command("/bin/cat")
		cmd.Stdin, cmd.ExtraFiles = os.Stdin, []*os.File{f}
		return cmd.Start()
	}
	return fmt.Errorf("no mode %q", mode)
}

// helpServe names one peer and prints what it found.
func helpServe(socket string, harden bool) error {
	if harden {
		if err := Harden(); err != nil {
			return err
		}
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := os.Chmod(socket, 0o777); err != nil {
		return err
	}
	fmt.Println("ready")
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	p, err := newNamer(nil).Of(conn)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Check(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(p.Host)
}

// door is a socket with a directory that other users may enter too.
type door struct {
	*net.UnixListener
	dir, path string
}

func openDoor(t testing.TB) door {
	t.Helper()
	dir := publicDir(t)
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if err := os.Chmod(filepath.Join(dir, "s"), 0o777); err != nil {
		t.Fatal(err)
	}
	return door{ln.(*net.UnixListener), dir, filepath.Join(dir, "s")}
}

func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (d door) accept(t testing.TB) net.Conn {
	t.Helper()
	d.SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// name accepts one connection and names its peer.
func (d door) name(t testing.TB, n *Namer) *Peer {
	t.Helper()
	p, err := n.Of(d.accept(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// child is a process whose standard input a test holds.
type child struct {
	*exec.Cmd
	stdin io.WriteCloser
}

func start(t testing.TB, name string, args ...string) *child {
	t.Helper()
	return startCmd(t, exec.Command(name, args...))
}

func startCmd(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, stdin}
	t.Cleanup(c.end)
	return c
}

// end lets the process end, and makes sure that it did.
func (c *child) end() {
	c.stdin.Close()
	if c.ProcessState == nil {
		c.Process.Kill()
		c.Wait()
	}
}

// program copies the test binary to a path below dir and returns that path.
func copyTo(t testing.TB, path string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func sh(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh here")
	}
	return path
}
