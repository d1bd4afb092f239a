package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/valetkey/valetkey/internal/secret"
)

// TestSecretIsNotEchoed types two secrets at a real pseudo-terminal and reads what the terminal shows.
func TestSecretIsNotEchoed(t *testing.T) {
	screen, tty := openTerminal(t)
	type result struct {
		read []secret.Text
		err  error
	}
	done := make(chan result, 1)
	var prompt bytes.Buffer
	go func() {
		read, err := readSecrets(t.Context(), tty, &prompt, "client secret", "client secret at the enterprise")
		done <- result{read, err}
	}()
	waitForEcho(t, tty, false)
	screen.WriteString("canary-91b2\ncanary-3\n")
	r := <-done
	if r.err != nil || len(r.read) != 2 || r.read[0].Reveal() != "canary-91b2" || r.read[1].Reveal() != "canary-3" ||
		prompt.String() != "client secret: \nclient secret at the enterprise: \n" {
		t.Errorf("%d, %v, prompt %q", len(r.read), r.err, prompt.String())
	}
	waitForEcho(t, tty, true)
	tty.WriteString("end")
	shown := make([]byte, 100)
	n, err := screen.Read(shown)
	if err != nil || bytes.Contains(shown[:n], []byte("canary")) {
		t.Errorf("the terminal shows %q, %v", shown[:n], err)
	}
}

// TestInterruptedSecretRestoresEcho: Ctrl-C at the prompt must not leave a terminal that shows nothing.
func TestInterruptedSecretRestoresEcho(t *testing.T) {
	screen, tty := openTerminal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := readSecrets(ctx, tty, new(bytes.Buffer), "client secret")
		done <- err
	}()
	waitForEcho(t, tty, false)
	interrupt()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	waitForEcho(t, tty, true)
	screen.WriteString("\n") // lets the reader that stayed behind end
}

func openTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { screen.Close() })
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0))
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}

// waitForEcho waits until the terminal echoes what is typed, or no longer does.
func waitForEcho(t *testing.T, tty *os.File, want bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		must(t, err)
		if state.Lflag&unix.ECHO != 0 == want {
			return
		}
	}
	t.Fatalf("echo does not become %v", want)
}
