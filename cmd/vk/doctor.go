package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

const doctorHelp = `Checks Valet Key, the keychain, your servers, and the configuration of your apps. It
also looks for files in which other programs keep tokens unencrypted, but never opens
them. It changes nothing. Exits with 1 if there is something for you to do.`

// exitCode ends vk with a code, when everything has been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

const somethingToDo = exitCode(1)

// finding is one thing that vk doctor looked at.
type finding struct {
	Section string `json:"section"`
	Result  string `json:"result"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
}

// What a finding may be, and what stands before it.
const (
	fine  = "ok"
	note  = "note"
	wrong = "problem"
)

var marks = map[string]string{fine: "ok", note: "--", wrong: "!!"}

// sections are the sections of findings, in the order they are looked at, with what stands over each.
var sections = []struct{ name, heading string }{
	{"valetkey", "Valet Key"}, {"servers", "Servers"}, {"hosts", "Apps"}, {"files", "Files in which other programs keep tokens unencrypted"},
}

// examination is what vk doctor found so far.
type examination struct {
	section  string // of the next finding
	findings []finding
}

func (e *examination) find(result, subject, text string) {
	e.findings = append(e.findings, finding{e.section, result, subject, text})
}

func (e *examination) well() bool {
	return !slices.ContainsFunc(e.findings, func(f finding) bool { return f.Result == wrong })
}

// text is what a person reads of the findings.
func (e *examination) text() string {
	var parts []string
	for _, s := range sections {
		var rows [][]string
		for _, f := range e.findings {
			if f.Section == s.name {
				rows = append(rows, []string{marks[f.Result], clean(f.Subject), clean(f.Text)})
			}
		}
		if rows != nil {
			parts = append(parts, s.heading+"\n"+table("  ", rows))
		}
	}
	return strings.Join(parts, "\n")
}

type doctor struct {
	*program
	json bool
}

func newDoctor(p *program) *cobra.Command {
	v := &doctor{program: p}
	c := verb("doctor", "check that everything works", doctorHelp, 0, 0, v.run)
	c.SuggestFor = []string{"check"}
	jsonFlag(c, &v.json)
	return c
}

func (v *doctor) run(ctx context.Context, _ []string) error {
	env, err := v.machine()
	if err != nil {
		return err
	}
	e := &examination{section: "valetkey"}
	if v.examineApp(ctx, e, env) {
		e.section = "servers"
		v.examineServers(ctx, e)
	}
	e.section = "hosts"
	for _, h := range hosts.All() {
		examineHost(e, env, h)
	}
	e.section = "files"
	v.examineLeftovers(e, env)
	if v.json {
		err = v.printJSON(struct {
			OK       bool      `json:"ok"`
			Findings []finding `json:"findings"`
		}{e.well(), e.findings})
	} else {
		err = v.print(e.text())
	}
	if err == nil && !e.well() {
		err = somethingToDo
	}
	return err
}

// openers are the programs that show a page, of which one must be there.
var openers = map[string][]string{
	"linux":  {"xdg-open", "x-www-browser", "www-browser"},
	"darwin": {"open"},
}

func (v *doctor) examineApp(ctx context.Context, e *examination, env hosts.Env) (running bool) {
	s, err := ask(v.program, ctx, (*localapi.Client).Status)
	if err != nil {
		e.find(wrong, "valetkey", err.Error()+hintOf(err))
	} else {
		running = true
		e.find(fine, "valetkey", fmt.Sprintf("%s is running, process %d", s.Version, s.PID))
		e.find(fine, "socket", env.Socket+", and it is yours") // the client has looked who answers before it said a word
		e.find(resultOf(s.Keychain == "ok"), "keychain", s.Keychain)
		e.find(resultOf(s.Windows == nil), "questions", askWords(s))
		if s.Waiting > 0 {
			e.find(wrong, "waiting", fmt.Sprintf("questions waiting for you: %d", s.Waiting))
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
			e.find(wrong, "browser", "vk found none to open pages with: "+strings.Join(wanted, ", "))
		} else {
			e.find(fine, "browser", "opened by "+found)
		}
	}
	e.find(note, "tray icon", "vk can't see it; look at your panel")
	return running
}

func resultOf(good bool) string {
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

func (v *doctor) examineServers(ctx context.Context, e *examination) {
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
		e.find(resultOf(g.State == localapi.StateReady), named(g), how)
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
			e.find(wrong, what, "connects to "+entry.Socket+", where Valet Key isn't listening"+again)
		case entry.Via != hosts.ViaGateway && !canRun(env, entry.Program):
			e.find(wrong, what, "runs "+entry.Program+", which doesn't exist"+again)
		default:
			e.find(fine, what, fmt.Sprintf("%s, via %s", entry.Server, entry.Via))
		}
	}
	for _, r := range content.Remotes {
		e.find(note, h.Name+": "+r.Name, r.Server+", "+remoteServer(r).way())
	}
	if len(content.Entries)+len(content.Remotes) == 0 {
		e.find(note, h.Name, "no remote servers")
	}
}

func canRun(env hosts.Env, program string) bool {
	info, err := os.Stat(program)
	return err == nil && info.Mode().IsRegular() && (env.OS == "windows" || info.Mode()&0o111 != 0)
}

func (v *doctor) examineLeftovers(e *examination, env hosts.Env) {
	for _, l := range hosts.Leftovers(env) {
		result, how := note, fmt.Sprintf("%s, %v, written %s", l.Program, l.Mode, relative(l.Modified, v.now()))
		if l.Exposed {
			result, how = wrong, how+": other users can read it; run: chmod 600 "+l.Path
		}
		e.find(result, l.Path, how)
	}
}
