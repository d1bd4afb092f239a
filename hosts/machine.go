package hosts

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

const (
	versionLimit = 5 * time.Second // for a host to say its version
	versionBytes = 4 << 10
)

// ThisMachine is the machine we run on, for the person's own hosts. vk is the absolute path of that program, socket the
// app's address.
func ThisMachine(getenv func(string) string, vk, socket string) (Env, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return Env{}, err
	}
	return Env{OS: runtime.GOOS, Home: home, vars: getenv, VK: vk, Socket: socket, Which: Which, Version: versionOf}, nil
}

// Which is the absolute path of a program in PATH, or "".
func Which(program string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	if path, err = filepath.Abs(path); err != nil {
		return ""
	}
	return path
}

// versionOf is what a program in PATH says to --version, or "".
func versionOf(program string) string {
	path := Which(program)
	if path == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), versionLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = time.Second
	out := &head{}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil && !errors.Is(err, errEnough) {
		return ""
	}
	return out.String()
}

var errEnough = errors.New("enough")

// head keeps the first bytes that are written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(b []byte) (int, error) {
	if h.Len()+len(b) > versionBytes {
		return 0, errEnough
	}
	return h.Buffer.Write(b)
}
