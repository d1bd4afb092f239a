package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

const doctorHelp = `Looks whether everything is as it should be: the app, the keychain, each server,
each host's configuration; and which files of other programs hold tokens in the
clear (it never opens those). It changes nothing. Exits with 1 if there is
something for you to do.`

// exitCode ends vk with a code, when everything has been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

const somethingToDo = exitCode(1)

// examination is what vk doctor found so far.
type examination struct {
	out  strings.Builder
	rows [][]string
	bad  bool
}

// What stands before a finding.
const (
	fine  = "ok"
	note  = "--"
	wrong = "!!"
)

func (e *examination) find(mark, what, how string) {
	e.bad = e.bad || mark == wrong
	e.rows = append(e.rows, []string{mark, clean(what), clean(how)})
}

// section ends the findings under a heading.
func (e *examination) section(heading string) {
	if len(e.rows) == 0 {
		return
	}
	if e.out.Len() > 0 {
		e.out.WriteString("\n")
	}
	e.out.WriteString(heading + "\n" + table("  ", e.rows))
	e.rows = nil
}

type doctor struct{ *program }

func newDoctor(p *program) *cobra.Command {
	c := verb("doctor", "look whether everything is as it should be", doctorHelp, 0, 0, doctor{p}.run)
	c.SuggestFor = []string{"check"}
	return c
}

func (v doctor) run(ctx context.Context, _ []string) error {
	env, err := v.machine()
	if err != nil {
		return err
	}
	e := &examination{}
	running := v.examineApp(ctx, e, env)
	e.section("Valet Key")
	if running {
		v.examineServers(ctx, e)
		e.section("Servers")
	}
	for _, h := range hosts.All() {
		examineHost(e, env, h)
	}
	e.section("Hosts")
	v.examineLeftovers(e, env)
	e.section("Tokens that other programs keep in plain files")
	if err := v.print(e.out.String()); err != nil {
		return err
	}
	if e.bad {
		return somethingToDo
	}
	return nil
}

// openers are the programs that show a page, of which one must be there.
var openers = map[string][]string{
	"linux":  {"xdg-open", "x-www-browser", "www-browser"},
	"darwin": {"open"},
}

func (v doctor) examineApp(ctx context.Context, e *examination, env hosts.Env) (running bool) {
	s, err := ask(v.program, ctx, (*localapi.Client).Status)
	if err != nil {
		e.find(wrong, "app", err.Error()+hintOf(err))
	} else {
		running = true
		e.find(fine, "app", fmt.Sprintf("%s is running, process %d", s.Version, s.PID))
		e.find(fine, "socket", env.Socket+", and it is yours") // the client has looked who answers before it said a word
		e.find(markOf(s.Keychain == "ok"), "keychain", s.Keychain)
		e.find(fine, "questions", faceWords(s.Face))
		if s.Waiting > 0 {
			e.find(wrong, "waiting", fmt.Sprintf("questions for you: %d", s.Waiting))
		}
	}
	if wanted := openers[env.OS]; wanted != nil {
		found := ""
		for _, program := range wanted {
			if found = env.Which(program); found != "" {
				break
			}
		}
		if found == "" {
			e.find(wrong, "browser", "no page can be opened: there is none of "+strings.Join(wanted, ", "))
		} else {
			e.find(fine, "browser", "opened by "+found)
		}
	}
	e.find(note, "tray icon", "vk cannot see it; look at your panel")
	return running
}

func markOf(good bool) string {
	if good {
		return fine
	}
	return wrong
}

func hintOf(err error) string {
	var e *localapi.Error
	if errors.As(err, &e) && e.Hint != "" {
		return "; " + e.Hint
	}
	return ""
}

func (v doctor) examineServers(ctx context.Context, e *examination) {
	all, err := v.grants(ctx)
	if err != nil {
		e.find(wrong, "list", err.Error())
		return
	}
	for _, g := range all.Grants {
		how := stateWords(g.State)
		if g.Problem != "" {
			how += ": " + g.Problem
		}
		if g.State == localapi.StateSignIn {
			how += "; run: vk signin " + g.Server
		}
		e.find(markOf(g.State == localapi.StateReady), named(g), how)
	}
}

func examineHost(e *examination, env hosts.Env, h *hosts.Host) {
	if h.Found(env) == "" {
		return
	}
	content, err := h.Read(env)
	if err != nil {
		e.find(wrong, h.Name, err.Error())
		return
	}
	for _, entry := range content.Entries {
		what := h.Name + ": " + entry.Name
		again := fmt.Sprintf("; run: vk disconnect %s %s, then vk connect %s %s", h.Key, entry.Name, h.Key, entry.Server)
		switch {
		case entry.Via == hosts.ViaGateway && entry.Socket != env.Socket:
			e.find(wrong, what, "connects to "+entry.Socket+", where Valet Key is not"+again)
		case entry.Via != hosts.ViaGateway && !canRun(env, entry.Program):
			e.find(wrong, what, "runs "+entry.Program+", which is not there"+again)
		default:
			e.find(fine, what, fmt.Sprintf("%s, by %s", entry.Server, entry.Via))
		}
	}
	for _, r := range content.Remotes {
		e.find(note, h.Name+": "+r.Name, r.Server+", "+remoteWords(r))
	}
	if len(content.Entries)+len(content.Remotes) == 0 {
		e.find(note, h.Name, "no remote server")
	}
}

func canRun(env hosts.Env, program string) bool {
	info, err := os.Stat(program)
	return err == nil && info.Mode().IsRegular() && (env.OS == "windows" || info.Mode()&0o111 != 0)
}

func (v doctor) examineLeftovers(e *examination, env hosts.Env) {
	for _, l := range hosts.Leftovers(env) {
		mark, how := note, fmt.Sprintf("%s, %v, written %s", l.Program, l.Mode, relative(l.Modified, v.now()))
		if l.Exposed {
			mark, how = wrong, how+": other users can read it; run: chmod 600 "+l.Path
		}
		e.find(mark, l.Path, how)
	}
}
