//go:build e2e && linux

package headless

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

	"github.com/valetkey/valetkey/e2e/rig"
)

// terminal is a terminal: what programs print on it, and its keyboard.
type terminal struct {
	t        testing.TB
	keyboard *os.File
	output   rig.Output
	read     int // of output, by the test
}

// runOnTerminal starts cmd as the leader of a new terminal's session.
func onTerminal(h *rig.Place, cmd *exec.Cmd) (*rig.Process, *terminal) {
	h.T.Helper()
	s := &terminal{t: h.T}
	var err error
	if s.keyboard, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		h.T.Fatal(err)
	}
	fd := int(s.keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		h.T.Fatal(err)
	}
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		h.T.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		h.T.Fatal(err)
	}
	defer tty.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	drained := make(chan struct{})
	h.T.Cleanup(func() { <-drained; s.keyboard.Close() }) // after the process was killed
	p := h.Run(cmd)
	go func() {
		io.Copy(&s.output, s.keyboard) // ends with an error when nobody has the terminal open any more
		close(drained)
	}()
	return p, s
}

// shows waits until the screen shows words that were not read yet, and reads up to their end.
func (s *terminal) shows(words string) (before string) {
	s.t.Helper()
	for end := time.Now().Add(rig.Patience); ; time.Sleep(5 * time.Millisecond) {
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
func (s *terminal) rest() string {
	return strings.ReplaceAll(s.output.String(), "\r\n", "\n")[s.read:]
}

func (s *terminal) types(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keyboard, text); err != nil {
		s.t.Fatal(err)
	}
}

// asks waits for a question and for as long as one must stand before it can be answered. It returns the question.
func (s *terminal) asks(headline string) string {
	s.t.Helper()
	s.shows("QUESTION: " + headline)
	question := s.shows("Your answer (")
	time.Sleep(1100 * time.Millisecond)
	return question
}

const ctrlC = "\x03"

// TestHeadlessTerminal is a person at a terminal.
func TestHeadlessTerminal(t *testing.T) {
	t.Parallel()
	h := rig.New(t)
	site := newDemoSite(t, nil, nil)
	app, screen := onTerminal(h, h.Command(rig.Program(t, "valetkey"), "--headless", "--keystore", "memory", "--state-dir", h.Path("state"),
		"--browser", rig.Program(t, "vkdemo")+" browser --yes"))
	h.Ready(app)
	dialog(t, h, site, screen)

	waiting := h.Start(h.CopyOf("vkdemo", "last"), "host", "--server", site.server)
	screen.asks("last wants to use")
	screen.types(ctrlC)
	if code := app.Wait(); code != 0 && code != 130 {
		t.Errorf("Valet Key ended with %v:\n%s", app.ProcessState, screen.rest())
	}
	if code := waiting.Wait(); code != 8 {
		t.Errorf("the host that waited got exit code %d: %s", code, waiting.Err.String())
	}
	if left, _ := filepath.Glob(h.Path("run/*.sock")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, bad := range []string{"level=ERROR", "panic:", "%!"} {
		if strings.Contains(screen.output.String(), bad) {
			t.Errorf("the terminal shows %q:\n%s", bad, screen.output.String())
		}
	}
}

// dialog is what is asked on the terminal, and what each answer leads to.
func dialog(t *testing.T, h *rig.Place, site *demoSite, screen *terminal) {
	demoHost := func(path string, flags ...string) *rig.Process {
		return h.Start(path, append([]string{"host", "--server", site.server}, flags...)...)
	}
	served := func(p *rig.Process) {
		t.Helper()
		if code := p.Wait(); code != 0 || !strings.Contains(p.Out.String(), "list_notes answers, for alice:") {
			t.Fatalf("exit code %d\n%s%s\nthe terminal shows:\n%s", code, p.Out.String(), p.Err.String(), screen.output.String())
		}
	}

	// What was typed before a question is no answer to it.
	one := h.CopyOf("vkdemo", "one")
	screen.types("a\na\n")
	screen.shows("a\na\n") // echoed
	first := demoHost(one)
	question := screen.asks("one wants to use " + strings.TrimSuffix(strings.TrimPrefix(site.server, "http://"), "/mcp") + " as default.")
	for _, fact := range []string{
		"Program: one, ", h.Dir + "/one", `It calls itself: "vkdemo 1.0.0"`, "Server: " + site.server, "Issuer: " + site.issuer, "1  notes:read: on",
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
	two := demoHost(h.CopyOf("vkdemo", "two"))
	screen.asks("two wants to use")
	screen.types("o\n")
	screen.shows("Allowed once: notes:read.")
	served(two)
	appendTo(h, "one", "x")
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
	if !strings.Contains(adding.Out.String(), "from the terminal") {
		t.Errorf("the note is not there:\n%s", adding.Out.String())
	}
	if signIns := site.signIns(); signIns != 2 {
		t.Errorf("%d sign-ins, want one and one for the wider scope", signIns)
	}

	// A no holds for a minute, without a question. The host behind vk is this test.
	denied := make(chan struct{})
	go func() {
		defer close(denied)
		h.VK("token", site.server).Fails(3, "vk: the person said no\n", "  wait 60 s before you try again")
	}()
	screen.asks("headless.test wants to use")
	screen.types("d\n")
	screen.shows("Denied.")
	<-denied
	h.VK("token", site.server).Fails(3, "the person said no to this a moment ago", "s before you try again")
	if asked := screen.rest(); strings.Contains(asked, "QUESTION") {
		t.Errorf("asked again:\n%s", asked)
	}
	h.VK("token", "--no-interaction", site.server).Fails(3, "was not allowed to use")

	if grants := h.Grants(); len(grants) != 1 || len(grants[0].Consents) != 1 || grants[0].Consents[0].HostName != "one" || grants[0].Consents[0].Mode != "always" {
		t.Errorf("grants %+v", grants)
	}
}

// appendTo changes a program without harm.
func appendTo(h *rig.Place, name, text string) {
	h.T.Helper()
	f, err := os.OpenFile(h.Path(name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		h.T.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		h.T.Fatal(err)
	}
}

// TestHeadlessShutdown: SIGTERM, as a service manager sends it, ends Valet Key cleanly, also in mid-question.
func TestHeadlessShutdown(t *testing.T) {
	t.Parallel()
	h := rig.New(t)
	site := newDemoSite(t, nil, nil)
	questions, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer answers.Close()
	cmd := h.AppCommand()
	cmd.Stdin = questions
	app := h.Run(cmd)
	questions.Close()
	h.Ready(app)
	waiting := h.Start(rig.Program(t, "vk"), "token", site.server)
	rig.Until(t, "a question", func() bool { return strings.Contains(app.Out.String(), "Your answer (") })
	app.Process.Signal(syscall.SIGTERM)
	if code := app.Wait(); code != 0 {
		t.Errorf("Valet Key ended with %v\n%s", app.ProcessState, app.Err.String())
	}
	if code := waiting.Wait(); code != 8 || !strings.Contains(waiting.Err.String(), "Valet Key is closing") {
		t.Errorf("the host that waited got exit code %d: %s", code, waiting.Err.String())
	}
	if _, err := os.Lstat(h.Socket()); !os.IsNotExist(err) {
		t.Errorf("the socket: %v", err)
	}
}
