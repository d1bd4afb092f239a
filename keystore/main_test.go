package keystore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// roles are what the test binary can be besides a test: with "child" as its first argument it plays the role that the
// second one names, with the third as its argument.
var roles = map[string]func(arg string) error{
	"real": func(string) error {
		return RunRole(context.Background(), RoleConfig{Getenv: os.Getenv, In: os.Stdin, Out: os.Stdout})
	},
	// files is a keychain in a directory.
	"files": func(dir string) error { return answering(files(dir).do) },
	// forgetful says yes to every Set and keeps nothing, as go-keyring does when the person dismisses its prompt.
	"forgetful": func(dir string) error {
		return answering(func(ctx context.Context, req request) (string, error) {
			if req.Op == opSet {
				return "", nil
			}
			return files(dir).do(ctx, req)
		})
	},
	// mirror answers with what any program of the same person can see of it.
	"mirror": func(string) error {
		return answering(func(context.Context, request) (string, error) {
			return strings.Join(append(os.Args, os.Environ()...), " "), nil
		})
	},
	"silent":  func(string) error { return nil },
	"failing": func(string) error { return errors.New("broken") },
	"babbling": func(string) error {
		_, err := fmt.Print(`{"text":"` + strings.Repeat("x", 2*maxMessage) + `"}`)
		return err
	},
	// hanging takes no request; holding waits in the middle of one. Both keep a connection open while they live.
	"hanging": hold,
	"holding": func(address string) error {
		return answering(func(context.Context, request) (string, error) { return "", hold(address) })
	},
	// breeding starts a process that hangs, and hangs.
	"breeding": func(address string) error {
		child := exec.Command(os.Args[0], "child", "hanging", address)
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		return child.Run()
	},
	// parent is a program with a Keychain whose child holds.
	"parent": func(address string) error {
		_, err := NewKeychain(KeychainConfig{Command: child("holding", address)}).Get(context.Background(), "name")
		return err
	},
}

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "child" {
		if err := roles[os.Args[2]](os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Setenv("GORACE", quick) // for the children
	os.Exit(m.Run())
}

// quick takes out the second that a program built with -race waits before it ends.
const quick = "atexit_sleep_ms=0"

// child is the command that plays a role.
func child(role, arg string) []string { return []string{os.Args[0], "child", role, arg} }

func answering(do func(context.Context, request) (string, error)) error {
	return serve(context.Background(), os.Stdin, os.Stdout, do)
}

// hold keeps a connection to address open until the process ends.
func hold(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	return err
}

// files is a keychain in a directory.
type files string

func (f files) do(_ context.Context, req request) (string, error) {
	sum := sha256.Sum256([]byte(req.Service + " " + req.Item))
	path := filepath.Join(string(f), hex.EncodeToString(sum[:]))
	var content []byte
	var err error
	switch req.Op {
	case opGet:
		content, err = os.ReadFile(path)
	case opSet:
		err = os.WriteFile(path, []byte(req.Text), 0o600)
	case opDelete:
		err = os.Remove(path)
	}
	if errors.Is(err, os.ErrNotExist) {
		err = ErrNotFound
	}
	return string(content), err
}
