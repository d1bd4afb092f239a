//go:build e2e && linux

package headless

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/localapi"
)

// TestHeadlessScripts runs testdata/*.txtar. Each script has a home of its own, no display and no session bus. Valet Key
// is started as `exec valetkey … &app&` and stopped with `kill -INT app`. The host behind vk is this test. The
// scripts' own commands:
//
//	serve [FLAG…]             starts vkdemo serve, and sets SERVER and ISSUER
//	site LIE                  starts an issuer and a server that are wrong in one way, and sets SERVER and ISSUER
//	ready                     waits until Valet Key answers
//	await FILE REGEXP [NAME]  waits until FILE holds a match, and sets NAME to its first group
//	raw FILE                  sends FILE as an HTTP request to the socket and prints the reply; lines before the first empty
//	                          one are its head, and Content-Length is added when a body follows
//	exit CODE VERB…           runs vk and compares its exit code
//	fill FILE…                puts the values of variables into files
func TestHeadlessScripts(t *testing.T) {
	t.Parallel()
	bin := filepath.Dir(rig.Program(t, "vk"))
	for _, name := range []string{"valetkey", "vkdemo"} {
		rig.Program(t, name)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", Deadline: time.Now().Add(4 * rig.Patience),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			env.Setenv("VK_SOCK", filepath.Join(env.WorkDir, "run", "agent.sock"))
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("UID", fmt.Sprint(os.Getuid()))
			self, err := os.Executable()
			env.Setenv("HOST", "exe:"+self) // as Valet Key names this test
			return errors.Join(err, os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o700), own(env.WorkDir))
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("there is no condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": cmdServe, "ready": cmdReady, "await": cmdAwait, "raw": cmdRaw, "exit": cmdExit, "fill": cmdFill,
			"site": func(ts *testscript.TestScript, _ bool, args []string) {
				site, err := newLiar(t, strings.Join(args, " "))
				ts.Check(err)
				ts.Setenv("SERVER", site.server)
				ts.Setenv("ISSUER", site.issuer)
			},
		},
	})
}

// own takes from others the right to write to what the script unpacked, which it has under some umasks.
func own(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.Chmod(path, info.Mode().Perm()&^0o022)
	})
}

func cmdServe(ts *testscript.TestScript, _ bool, args []string) {
	bin := filepath.SplitList(ts.Getenv("PATH"))[0]
	cmd := exec.Command(filepath.Join(bin, "vkdemo"), append([]string{"serve"}, args...)...)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	for _, name := range []string{"issuer", "server"} {
		if !lines.Scan() {
			ts.Fatalf("vkdemo serve ended")
		}
		value, ok := strings.CutPrefix(lines.Text(), name+" ")
		if !ok {
			ts.Fatalf("vkdemo serve printed %q", lines.Text())
		}
		ts.Setenv(strings.ToUpper(name), value)
	}
}

func cmdReady(ts *testscript.TestScript, _ bool, _ []string) {
	client := localapi.NewClient(ts.Getenv("VK_SOCK"))
	defer client.Close()
	var err error
	for end := time.Now().Add(rig.Patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
		_, err = client.Status(ctx)
		cancel()
		if err == nil {
			return
		}
	}
	ts.Fatalf("Valet Key does not answer: %v", err)
}

func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var text []byte
	for end := time.Now().Add(rig.Patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		text, _ = os.ReadFile(ts.MkAbs(args[0])) // it may not be there yet
		if match := want.FindSubmatch(text); match != nil {
			if len(args) > 2 {
				ts.Setenv(args[2], string(match[1]))
			}
			return
		}
	}
	ts.Fatalf("%s does not come to match %s:\n%s", args[0], args[1], text)
}

func cmdRaw(ts *testscript.TestScript, _ bool, args []string) {
	head, body, _ := strings.Cut(ts.ReadFile(args[0]), "\n\n")
	body = strings.TrimSuffix(body, "\n")
	if body != "" && !strings.Contains(head, "Content-Length") && !strings.Contains(head, "Transfer-Encoding") {
		head += fmt.Sprintf("\nContent-Length: %d", len(body))
	}
	request := strings.ReplaceAll(strings.TrimSuffix(head, "\n"), "\n", "\r\n") + "\r\nConnection: close\r\n\r\n" + body
	conn, err := net.Dial("unix", ts.Getenv("VK_SOCK"))
	ts.Check(err)
	defer conn.Close()
	ts.Check(conn.SetDeadline(time.Now().Add(rig.Patience)))
	_, err = io.WriteString(conn, request)
	ts.Check(err)
	reply, err := io.ReadAll(conn)
	ts.Check(err)
	ts.Stdout().Write(bytes.ReplaceAll(reply, []byte("\r\n"), []byte("\n")))
}

func cmdExit(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("vk", args[1:]...)
	code := 0
	if exit, ok := err.(*exec.ExitError); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("vk: %v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

func cmdFill(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}
