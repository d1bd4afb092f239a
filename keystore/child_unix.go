//go:build unix

package keystore

import (
	"os/exec"
	"syscall"
)

// ownGroup gives the child a process group, so that what it starts (on macOS: /usr/bin/security) dies with it, and so
// that a Ctrl-C on our terminal does not end a save half-way.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
