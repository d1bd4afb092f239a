package peer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// kind is what a process is on the way up.
type kind int

const (
	hidden      kind = iota // what it runs cannot be told
	own                     // our own program
	launcher                // a shell or another program that only runs others
	interpreter             // runs a script, which names it
	program                 // anything else
	sandboxed               // has the id of a sandbox
)

// isHost reports whether such a process ends the walk.
func (k kind) isHost() bool { return k != own && k != launcher }

// place is what is known of an executable's file.
type place int

const (
	unseen  place = iota // cannot be read, or is not the file at the path that the process names
	removed              // was at its path once; replaced or deleted since
	private              // at its path, which somebody other than the system can write
	fixed                // owned by the system, as is every component of its path, and written by nobody else
)

// seen is what the platform file reads of one process.
type seen struct {
	exe      string
	args     []string
	place    place
	system   bool   // the file is the system's own, wherever it lies
	mine     bool   // the file belongs to this user
	flatpak  string // application id
	snap     string // name
	confined bool   // the snap is a sandbox; a classic snap is not
}

// judge decides what the process is, and for one that ends the walk how it is named.
func (n *Namer) judge(f *facts, p *proc, s seen) {
	f.host = Host{Process: f.Process, Instance: f.instance(), Name: displayName(s.exe)}
	h := &f.host
	switch {
	case s.flatpak != "":
		f.kind = sandboxed
		h.key("flatpak:"+keyPath(s.flatpak), "")
		h.Name, h.Level, h.Facts = s.flatpak, Sandbox, "Flatpak app "+s.flatpak
	case s.snap != "" && s.confined:
		f.kind = sandboxed
		h.key("snap:"+keyPath(s.snap), "")
		h.Name, h.Level, h.Facts = s.snap, Sandbox, "Snap app "+s.snap
	case s.place == unseen:
		f.kind = hidden
		h.Name, h.Level = "an unknown program", Unknown
		h.Facts = fmt.Sprintf("process %d, whose program file cannot be read", f.PID)
		if s.exe != "" {
			h.Facts = fmt.Sprintf("process %d, whose program is not the file at %s", f.PID, s.exe)
		}
	case n.isOurs(s.exe, p.image):
		f.kind = own
	case isLauncher(s.exe) && s.system:
		f.kind = launcher
	default:
		if syn, ok := interpreterOf(s.exe); ok {
			n.judgeScript(f, p, syn)
		} else {
			n.judgeProgram(f, p, s)
		}
	}
	h.Name, h.Facts = short(clean(h.Name), maxName), clean(h.Facts)
}

func (n *Namer) judgeScript(f *facts, p *proc, syn syntax) {
	f.kind = interpreter
	f.script = n.script(p, syn)
	switch {
	case f.script == nil:
		f.host.Level = SelfReported
		f.host.Facts = f.Exe + ", running code that cannot be told apart"
	case f.script.launch:
		f.kind, f.script = launcher, nil
	default:
		f.host = scriptHost(f.Process, f.script)
	}
}

func (n *Namer) judgeProgram(f *facts, p *proc, s seen) {
	f.kind = program
	h := &f.host
	h.Level = Path
	switch {
	case s.place == fixed:
		h.Level = SystemPath
		h.Facts = "installed by the system at " + s.exe
	case s.place == removed:
		h.Facts = "ran from " + s.exe + ", which was replaced or removed since"
	case s.mine:
		h.Facts = "in your own files at " + s.exe
	default:
		h.Facts = "at " + s.exe + ", which is not protected by the system"
	}
	if isLauncher(s.exe) {
		h.Facts += "; it runs other programs"
		return
	}
	switch {
	case s.place == fixed && s.snap != "":
		h.key("snap:"+keyPath(s.snap), "")
		h.Name = s.snap
		h.Facts = "installed by the system as a Snap without a sandbox at " + s.exe
	case s.place == fixed:
		h.key("exe:"+keyPath(s.exe), "")
	default:
		if hash, err := n.hashExe(p); err == nil {
			h.key("exe:"+keyPath(s.exe), hash)
		} else {
			h.Facts += "; its content cannot be read"
		}
	}
}

func (n *Namer) hashExe(p *proc) (string, error) {
	f, err := p.openExe()
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash, _, err := n.hashes.of(f)
	return hash, err
}

// script finds the file that the interpreter p runs: nil when its arguments leave any doubt.
func (n *Namer) script(p *proc, syn syntax) *script {
	arg, ok := syn.script(p.Args)
	if !ok {
		return nil
	}
	f, path, system, err := p.openScript(arg)
	if err != nil {
		return nil
	}
	defer f.Close()
	return n.hashScript(f, path, system)
}

func (n *Namer) hashScript(f *os.File, path string, system bool) *script {
	hash, id, err := n.hashes.of(f)
	if err != nil {
		return nil
	}
	return &script{path: path, hash: hash, id: id, hashes: &n.hashes, launch: system && launcherScripts[filepath.Base(path)]}
}

func (n *Namer) shellScript(p *proc) *script {
	if !isShell(p.Exe) {
		return nil
	}
	return n.script(p, shellSyntax)
}

func scriptHost(p Process, s *script) Host {
	h := Host{
		Name:     short(clean(displayName(s.path)), maxName),
		Level:    SelfReported,
		Facts:    clean(fmt.Sprintf("script %s, run by %s", s.path, p.Exe)),
		Process:  p,
		Instance: p.instance(),
	}
	if !launcherScripts[filepath.Base(s.path)] { // a launcher never has a key, whoever installed it
		h.key("script:"+keyPath(p.Exe)+"|"+keyPath(s.path), s.hash)
	}
	return h
}

// key sets Key and Base; hash "" means that the key needs none.
func (h *Host) key(base, hash string) {
	h.Base, h.Key = base, base
	if hash != "" {
		h.Key += "#" + hash
	}
}

// keyPath writes a path so that it can be a part of a key: what separates the parts of a key, and what JSON could not
// carry unchanged, is written as %XX.
func keyPath(path string) string {
	plain := func(c byte) bool { return c > ' ' && c < 0x7f && c != '#' && c != '|' && c != '%' || c == ' ' }
	var b strings.Builder
	for i := range len(path) {
		if c := path[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
