package terminal

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/valetkey/valetkey/face"
)

// pty opens a terminal: what is written to keyboard is typed, and what the terminal echoes can be read from it.
func pty(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

func typed(t *testing.T, keyboard *os.File, text string) {
	t.Helper()
	if _, err := io.WriteString(keyboard, text); err != nil {
		t.Fatal(err)
	}
}

// echoed waits until the terminal has taken in what was typed.
func echoed(t *testing.T, keyboard *os.File, text string) {
	t.Helper()
	got := make([]byte, 0, 4096)
	for !bytes.Contains(got, []byte(text)) {
		n, err := keyboard.Read(got[len(got):cap(got)])
		if err != nil || n == 0 {
			t.Fatalf("%q was echoed, not %q: %v", got, text, err)
		}
		got = got[:len(got)+n]
	}
}

// onTerminal asks on a terminal whose clock moves by step at each look.
func onTerminal(t *testing.T, step time.Duration) (term *Terminal, out *screen, keyboard, tty *os.File) {
	keyboard, tty = pty(t)
	out = newScreen()
	term = New(Config{In: tty, Out: out})
	if !term.in.terminal {
		t.Fatal("not taken for a terminal")
	}
	clock := noon
	term.now = func() time.Time { clock = clock.Add(step); return clock }
	return term, out, keyboard, tty
}

func asked(term *Terminal, q face.Question) chan face.Answer {
	c := make(chan face.Answer, 1)
	go func() {
		a, err := term.Ask(context.Background(), q)
		if err != nil {
			a = face.Answer{ClientID: "error: " + err.Error()}
		}
		c <- a
	}()
	return c
}

func TestTypedBeforeTheQuestion(t *testing.T) {
	term, out, keyboard, _ := onTerminal(t, time.Hour) // so that only the flush can help
	typed(t, keyboard, "a\no")                         // and a line that only lacks its Enter
	echoed(t, keyboard, "a\r\no")
	answer := asked(term, endless(face.KindConsent))
	out.shows(t, "Your answer", 1)
	typed(t, keyboard, "\nd\n")
	if got := <-answer; !reflect.DeepEqual(got, face.Answer{Answered: true}) {
		t.Errorf("%+v, want a denial", got)
	}
	if !strings.Contains(out.String(), "Nothing was answered.") {
		t.Errorf("the line begun before the question was not forgotten:\n%s", out)
	}
}

func TestTypedTooSoon(t *testing.T) {
	term, out, keyboard, _ := onTerminal(t, armTime*2/5)
	answer := asked(term, endless(face.KindConsent)) // looks at the clock: text, shown, and once a line
	out.shows(t, "Your answer", 1)
	typed(t, keyboard, "a\n")
	out.shows(t, "too soon", 1)
	out.shows(t, "Your answer", 2)
	typed(t, keyboard, "a\n")
	out.shows(t, "too soon", 2)
	out.shows(t, "Your answer", 3)
	typed(t, keyboard, "d\n")
	if got := <-answer; !reflect.DeepEqual(got, face.Answer{Answered: true}) {
		t.Errorf("%+v, want a denial", got)
	}
}

func TestSecretIsNotEchoed(t *testing.T) {
	term, out, keyboard, tty := onTerminal(t, time.Hour)
	echo := func() bool {
		state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return state.Lflag&unix.ECHO != 0
	}
	answer := asked(term, endless(face.KindClientID))
	out.shows(t, "Your answer", 1)
	typed(t, keyboard, "c\nmy-id\n")
	out.shows(t, "Client secret", 1)
	if echo() {
		t.Error("the echo is on")
	}
	typed(t, keyboard, "s3cret\n")
	got := <-answer
	if got.ClientID != "my-id" || got.ClientSecret.Reveal() != "s3cret" {
		t.Errorf("%+v", got)
	}
	if !echo() {
		t.Error("the echo stays off")
	}
	seen := make([]byte, 4096)
	n, err := keyboard.Read(seen)
	if err != nil || !bytes.Contains(seen[:n], []byte("my-id")) || bytes.Contains(seen[:n], []byte("s3cret")) {
		t.Errorf("echoed: %q, %v", seen[:n], err)
	}

	// withdrawn while the echo is off
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { _, err := term.Ask(ctx, endless(face.KindClientID)); done <- err }()
	out.shows(t, "Your answer", 2)
	typed(t, keyboard, "c\nid\n")
	out.shows(t, "Client secret", 2)
	if echo() {
		t.Error("the echo is on")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !echo() {
		t.Errorf("withdrawn: %v, echo %v", err, echo())
	}
}

func TestTerminalGone(t *testing.T) {
	term, out, keyboard, _ := onTerminal(t, time.Hour)
	done := make(chan error, 1)
	go func() { _, err := term.Ask(context.Background(), endless(face.KindConsent)); done <- err }()
	out.shows(t, "Your answer", 1)
	keyboard.Close()
	if err := <-done; !errors.Is(err, errNobody) {
		t.Errorf("%v, want errNobody", err)
	}
}

// TestBackground runs an app in the background of its own terminal, where reading or flushing would stop it.
func TestBackground(t *testing.T) {
	self := func(role string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestBackground$", role)
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
		return cmd
	}
	switch flag.Arg(0) {
	case "leader": // has the terminal, and puts the asker in the background
		cmd := self("asker")
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		var status unix.WaitStatus
		_, err := unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil)
		if err != nil || status.Stopped() {
			fmt.Println("the asker was stopped:", status.StopSignal(), err)
			cmd.Process.Kill()
		}
		os.Exit(0)
	case "asker":
		_, err := New(Config{In: os.Stdin, Out: io.Discard}).Ask(context.Background(), endless(face.KindConsent))
		fmt.Println(err, "/ nobody:", errors.Is(err, errNobody))
		os.Exit(0)
	}
	_, tty := pty(t)
	cmd := self("leader")
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "foreground with fg / nobody: true") {
		t.Errorf("%v: %s", err, out.String())
	}
}
