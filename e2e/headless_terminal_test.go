//go:build e2e && linux

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// headlessScreen is a terminal: what programs print on it, and its keyboard.
type headlessScreen struct {
	t        testing.TB
	keyboard *os.File
	output   headlessOutput
	read     int // of output, by the test
}

// runOnTerminal starts cmd as the leader of a new terminal's session.
func (h *headless) runOnTerminal(cmd *exec.Cmd) (*headlessProcess, *headlessScreen) {
	h.t.Helper()
	s := &headlessScreen{t: h.t}
	var err error
	if s.keyboard, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		h.t.Fatal(err)
	}
	fd := int(s.keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		h.t.Fatal(err)
	}
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		h.t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	defer tty.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	drained := make(chan struct{})
	h.t.Cleanup(func() { <-drained; s.keyboard.Close() }) // after the process was killed
	p := h.run(cmd)
	go func() {
		io.Copy(&s.output, s.keyboard) // ends with an error when nobody has the terminal open any more
		close(drained)
	}()
	return p, s
}

// shows waits until the screen shows words that were not read yet, and reads up to their end.
func (s *headlessScreen) shows(words string) (before string) {
	s.t.Helper()
	for end := time.Now().Add(headlessPatience); ; time.Sleep(5 * time.Millisecond) {
		text := strings.ReplaceAll(s.output.String(), "\r\n", "\n")
		if at := strings.Index(text[s.read:], words); at >= 0 {
			before = text[s.read : s.read+at]
			s.read += at + len(words)
			return before
		}
		if time.Now().After(end) {
			s.t.Fatalf("the terminal does not show %q:\n%s", words, text)
		}
	}
}

// rest is what was not read yet.
func (s *headlessScreen) rest() string {
	return strings.ReplaceAll(s.output.String(), "\r\n", "\n")[s.read:]
}

func (s *headlessScreen) types(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keyboard, text); err != nil {
		s.t.Fatal(err)
	}
}

// asks waits for a question and for as long as one must stand before it can be answered. It returns the question.
func (s *headlessScreen) asks(headline string) string {
	s.t.Helper()
	s.shows("QUESTION: " + headline)
	question := s.shows("Your answer (")
	time.Sleep(1100 * time.Millisecond)
	return question
}

const ctrlC = "\x03"

// TestHeadlessTerminal is a person at a terminal, with either program.
func TestHeadlessTerminal(t *testing.T) {
	for _, name := range []string{"valetkey", "valetkey-headless"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHeadless(t)
			site := newHeadlessSite(t, nil, nil)
			app, screen := h.runOnTerminal(h.command(program(t, name), "--headless", "--keystore", "memory", "--state-dir", h.path("state"),
				"--browser", program(t, "vkdemo")+" browser --yes"))
			h.ready(app)
			headlessDialog(t, h, site, screen)

			waiting := h.run(h.command(h.copyOf("vkdemo", "last"), "host", "--server", site.server))
			screen.asks("last wants to use")
			screen.types(ctrlC)
			if code := app.wait(); code != 0 && code != 130 {
				t.Errorf("Valet Key ended with %v:\n%s", app.ProcessState, screen.rest())
			}
			if code := waiting.wait(); code != 8 {
				t.Errorf("the host that waited got exit code %d: %s", code, waiting.err.String())
			}
			if left, _ := filepath.Glob(h.path("run/*.sock")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			for _, bad := range []string{"level=ERROR", "panic:", "%!"} {
				if strings.Contains(screen.output.String(), bad) {
					t.Errorf("the terminal shows %q:\n%s", bad, screen.output.String())
				}
			}
		})
	}
}

// headlessDialog is what is asked on the terminal, and what each answer leads to.
func headlessDialog(t *testing.T, h *headless, site *headlessSite, screen *headlessScreen) {
	demoHost := func(path string, flags ...string) *headlessProcess {
		return h.run(h.command(path, append([]string{"host", "--server", site.server}, flags...)...))
	}
	served := func(p *headlessProcess) {
		t.Helper()
		if code := p.wait(); code != 0 || !strings.Contains(p.out.String(), "list_notes answers, for alice:") {
			t.Fatalf("exit code %d\n%s%s\nthe terminal shows:\n%s", code, p.out.String(), p.err.String(), screen.output.String())
		}
	}

	// What was typed before a question is no answer to it.
	one := h.copyOf("vkdemo", "one")
	screen.types("a\na\n")
	screen.shows("a\na\n") // echoed
	first := demoHost(one)
	question := screen.asks("one wants to use " + strings.TrimSuffix(strings.TrimPrefix(site.server, "http://"), "/mcp") + " as default.")
	for _, fact := range []string{
		"Program: one, ", h.dir + "/one", `It calls itself: "vkdemo 1.0.0"`, "Server: " + site.server, "Issuer: " + site.issuer, "1  notes:read: on",
		`Reason, in the program's own words: "list your notes"`, "Then you sign in to the issuer with a browser.", "a  always allow",
	} {
		if !strings.Contains(question, fact) {
			t.Errorf("the question does not say %q:\n%s", fact, question)
		}
	}
	screen.types("?\n")
	if said := screen.shows("Details. How the program was recognised: "); strings.Contains(said, "Allowed") || strings.Contains(said, "too soon") {
		t.Errorf("an answer typed before the question counted:\n%s", said)
	}
	screen.types("a\n")
	screen.shows("Allowed always: notes:read.")
	served(first)

	// Always means: not asked again. Another program is, and so is the same one after it has changed.
	served(demoHost(one))
	if asked := screen.rest(); strings.Contains(asked, "QUESTION") {
		t.Errorf("asked again:\n%s", asked)
	}
	two := demoHost(h.copyOf("vkdemo", "two"))
	screen.asks("two wants to use")
	screen.types("o\n")
	screen.shows("Allowed once: notes:read.")
	served(two)
	h.appendTo("one", "x")
	changed := demoHost(one)
	if question := screen.asks("one wants to use"); !strings.Contains(question, "Why you are asked: This program was updated or changed since you allowed it; keep its access?\n") {
		t.Errorf("the question does not say that the program changed:\n%s", question)
	}
	screen.types("a\n")
	served(changed)

	// Writing needs one more scope: the question marks it, and what was allowed stays.
	adding := demoHost(one, "--add", "from the terminal")
	if question := screen.asks("one wants to use"); !strings.Contains(question, "notes:write: on, required by the server, new") || strings.Contains(question, "notes:read: on, required by the server, new") {
		t.Errorf("the question of a step-up:\n%s", question)
	}
	screen.types("a\n")
	screen.shows("Allowed always: notes:read, notes:write.")
	served(adding)
	if !strings.Contains(adding.out.String(), "from the terminal") {
		t.Errorf("the note is not there:\n%s", adding.out.String())
	}
	if signIns := site.signIns(); signIns != 2 {
		t.Errorf("%d sign-ins, want one and one for the wider scope", signIns)
	}

	// A no holds for a minute, without a question. The host behind vk is this test.
	denied := make(chan struct{})
	go func() {
		defer close(denied)
		h.fails(3, []string{"vk: the person said no\n", "  wait 60 s before you try again"}, "token", site.server)
	}()
	screen.asks("e2e.test wants to use")
	screen.types("d\n")
	screen.shows("Denied.")
	<-denied
	h.fails(3, []string{"the person said no to this a moment ago", "s before you try again"}, "token", site.server)
	if asked := screen.rest(); strings.Contains(asked, "QUESTION") {
		t.Errorf("asked again:\n%s", asked)
	}
	h.fails(3, []string{"was not allowed to use"}, "token", "--no-interaction", site.server)

	if grants := h.grants(); len(grants) != 1 || len(grants[0].Consents) != 1 || grants[0].Consents[0].HostName != "one" || grants[0].Consents[0].Mode != "always" {
		t.Errorf("grants %+v", grants)
	}
}

// appendTo changes a program without harm.
func (h *headless) appendTo(name, text string) {
	h.t.Helper()
	f, err := os.OpenFile(h.path(name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		h.t.Fatal(err)
	}
}

// TestHeadlessShutdown: SIGTERM, as a service manager sends it, ends Valet Key cleanly, also in mid-question.
func TestHeadlessShutdown(t *testing.T) {
	t.Parallel()
	h := newHeadless(t)
	site := newHeadlessSite(t, nil, nil)
	questions, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer answers.Close()
	cmd := h.appCommand()
	cmd.Stdin = questions
	app := h.run(cmd)
	questions.Close()
	h.ready(app)
	waiting := h.run(h.command(program(t, "vk"), "token", site.server))
	headlessWait(t, "a question", func() bool { return strings.Contains(app.out.String(), "Your answer (") })
	app.Process.Signal(syscall.SIGTERM)
	if code := app.wait(); code != 0 {
		t.Errorf("Valet Key ended with %v\n%s", app.ProcessState, app.err.String())
	}
	if code := waiting.wait(); code != 8 || !strings.Contains(waiting.err.String(), "Valet Key is closing") {
		t.Errorf("the host that waited got exit code %d: %s", code, waiting.err.String())
	}
	if _, err := os.Lstat(h.socket()); !os.IsNotExist(err) {
		t.Errorf("the socket: %v", err)
	}
}
