//go:build !linux

package windows

import (
	"os"
	"os/exec"
)

func hold(f *os.File) *os.File { return f }

// Command runs the file that is there now.
func (p *Program) Command() *exec.Cmd { return exec.Command(p.path) }
