package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/valetkey/valetkey/hosts"
)

const (
	versionLimit = 5 * time.Second // for a host to say its version
	versionBytes = 4 << 10
)

// thisMachine is where vk looks for hosts.
func (p *program) thisMachine() (hosts.Env, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return hosts.Env{}, err
	}
	vk, err := thisProgram()
	if err != nil {
		return hosts.Env{}, err
	}
	socket, err := p.address()
	if err != nil {
		return hosts.Env{}, err
	}
	return hosts.Env{OS: runtime.GOOS, Home: home, Getenv: os.Getenv, VK: vk, Socket: socket, Which: which, Version: versionOf}, nil
}

// thisProgram is the absolute path of vk: the one in PATH if that is this program, because it stays the same when a
// package manager puts a new version in a folder of its own.
func thisProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	named := which("vk")
	a, errA := os.Stat(self)
	b, errB := os.Stat(named)
	if named != "" && errA == nil && errB == nil && os.SameFile(a, b) {
		return named, nil
	}
	return self, nil
}

// which finds a program in PATH.
func which(program string) string {
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
	path := which(program)
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
