//go:build linux

package rig

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program that runs.
type Process struct {
	*exec.Cmd
	Out, Err Output // where the command names no other

	t       testing.TB
	ended   chan struct{}
	answers bool // Out is the answer to a host, which may be a token
}

// Output is what a program has printed so far.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

// String is all of it.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Said is all that was printed.
func (p *Process) Said() string { return p.Out.String() + p.Err.String() }

// Running tells whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Wait waits for the end and returns the exit code, -1 after a signal.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.ProcessState.ExitCode()
	case <-time.After(Patience):
		p.t.Fatalf("%s does not end\n%s", p, p.Err.String())
		return 0
	}
}

// Must is Wait for what must go well. It returns what was printed, without the space around it.
func (p *Process) Must() string {
	p.t.Helper()
	if code := p.Wait(); code != 0 {
		p.t.Fatalf("%s: exit code %d\n%s", p, code, p.Err.String())
	}
	return strings.TrimSpace(p.Out.String())
}

// Fails is Wait for what must fail: with that exit code, with no answer if it is vk, and with all these words on standard
// error.
func (p *Process) Fails(code int, words ...string) {
	p.t.Helper()
	if got := p.Wait(); got != code || filepath.Base(p.Path) == "vk" && strings.TrimSpace(p.Out.String()) != "" {
		p.t.Errorf("%s: exit code %d, want %d; printed %q\n%s", p, got, code, p.Out.String(), p.Err.String())
	}
	Contains(p.t, p.String(), p.Err.String(), words)
}

// Stop ends it politely, and with force what is left of its group.
func (p *Process) Stop() {
	if p.Running() {
		p.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(3 * time.Second):
		}
	}
	p.Kill()
}

// Kill ends it and its group at once.
func (p *Process) Kill() {
	syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.ended
}
