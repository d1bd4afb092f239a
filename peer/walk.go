package peer

import (
	"errors"
	"fmt"
	"path/filepath"
)

// walk goes up from a peer to its host, keeping every process on the way open until the answer is known.
type walk struct {
	n     *Namer
	procs []*proc
}

// found is the host together with what Check must look at again.
type found struct {
	Host
	proc   *proc
	facts  *facts // of proc; nil when it was not found for certain
	script *script
}

func (w *walk) add(p *proc) {
	w.n.know(p)
	w.procs = append(w.procs, p)
}

func (w *walk) close() {
	for _, p := range w.procs {
		p.close()
	}
}

// host finds the host. For a peer that was named before and still has the same parent it is the process that was found
// then, if that still runs the same: who started whom does not change, so only the two ends are looked at again.
func (w *walk) host() (found, error) {
	peer := w.procs[0]
	if known := peer.facts.found.Load(); known != nil {
		if p, err := w.n.open(known.Process.PID); err == nil {
			if known.facts.runs(p) && (known.script == nil || known.script.check() == nil) {
				p.Process, p.facts = known.facts.Process, known.facts
				w.procs = append(w.procs, p)
				return found{known.Host, p, known.facts, known.script}, nil
			}
			p.close()
		}
	}
	f, err := w.up()
	if err == nil && f.proc != peer && f.facts != nil {
		peer.facts.found.Store(&found{f.Host, nil, f.facts, f.script})
	}
	return f, err
}

// up finds the host the long way: the first process that is neither our own nor a launcher. An error means that the peer itself
// ended or changed while it was looked at.
func (w *walk) up() (found, error) {
	for {
		p := w.procs[len(w.procs)-1]
		if p.facts.kind.isHost() {
			if p.fresh {
				if _, err := p.again(); err != nil {
					return w.broken(p, err)
				}
			}
			host := p.facts.host
			if below := w.procs[:len(w.procs)-1]; len(below) > 0 {
				host.Chain = append(chain(below), host.Chain...)
			}
			return found{host, p, p.facts, p.facts.script}, nil
		}
		if len(w.procs) > maxHops {
			return w.broken(p, nil)
		}
		parent, err := w.n.parent(p)
		if errors.Is(err, errTop) {
			return w.nobody()
		}
		if err != nil {
			return w.broken(p, err)
		}
		w.add(parent)
	}
}

// parent opens the process that started p, and makes sure that it is that one: it is not younger than p, and p still
// names it as its parent and runs what it ran, now that the parent is held.
func (n *Namer) parent(p *proc) (*proc, error) {
	parent, err := n.open(p.PPID)
	if err != nil {
		if _, gone := p.again(); gone != nil {
			return nil, gone
		}
		return nil, err
	}
	ppid, err := p.again()
	if err == nil {
		err = begot(parent.Process, p.Process, ppid)
	}
	if err != nil {
		parent.close()
		return nil, err
	}
	return parent, nil
}

var errOrphan = errors.New("the process that started it is gone")

// begot reports whether parent can have started p: p still names it as its parent, and it is not younger.
func begot(parent, p Process, ppidNow int) error {
	if ppidNow != parent.PID || parent.Start > p.Start {
		return errOrphan
	}
	return nil
}

func chain(procs []*proc) []Process {
	chain := make([]Process, len(procs))
	for i, p := range procs {
		chain[i] = p.Process
	}
	return chain
}

// broken is the answer when the way up ends in the dark before a host was found. It is "unknown", never "no parent".
func (w *walk) broken(last *proc, err error) (found, error) {
	if last == w.procs[0] && (errors.Is(err, errGone) || errors.Is(err, errChanged)) {
		return found{}, err
	}
	why := "by a program that cannot be seen any more"
	if err == nil {
		why = fmt.Sprintf("through more than %d programs", maxHops)
	}
	return found{proc: last, Host: Host{
		Name:     "an unknown program",
		Level:    Unknown,
		Facts:    clean(fmt.Sprintf("process %d (%s), started %s", last.PID, filepath.Base(last.Exe), why)),
		Process:  last.Process,
		Chain:    chain(w.procs),
		Instance: last.instance(),
	}}, nil
}

// nobody is the answer when there are only launchers and our own programs up to the system's first process or another
// user's: a remote shell, a terminal multiplexer, a service, a timer. A shell script on that way stands for itself, as
// the script of any interpreter does, so that a service can have a consent. Else the launcher nearest to the peer is
// shown for what it is, without a key.
func (w *walk) nobody() (found, error) {
	shown := w.procs[0]
	for i := len(w.procs) - 1; i >= 0; i-- { // the nearest wins
		if w.procs[i].facts.kind == launcher {
			shown = w.procs[i]
		}
	}
	for _, p := range w.procs {
		if p.facts.kind != launcher {
			continue
		}
		if s := w.n.shellScript(p); s != nil {
			f := found{scriptHost(p.Process, s), p, p.facts, s}
			f.Chain = chain(w.procs)
			return f, nil
		}
	}
	name := displayName(shown.Exe)
	article := "a launcher"
	switch {
	case shown.facts.kind != launcher:
		article = "our own program"
	case isShell(shown.Exe):
		article = "a shell"
	}
	return found{proc: shown, facts: shown.facts, Host: Host{
		Name:     clean(fmt.Sprintf("%s (%s)", article, name)),
		Level:    Unknown,
		Facts:    clean(shown.Exe + ", with no program of yours above it that could be named"),
		Process:  shown.Process,
		Chain:    chain(w.procs),
		Instance: shown.instance(),
	}}, nil
}

// above reads the chain above a host, for show: what cannot be read ends it.
func (n *Namer) above(p *proc) (chain []Process) {
	child := p
	for range maxHops {
		parent, err := n.parent(child)
		if child != p {
			child.close()
		}
		if err != nil {
			return chain
		}
		s := n.look(parent)
		parent.Exe, parent.Args = s.exe, s.args
		chain = append(chain, parent.Process)
		child = parent
	}
	child.close()
	return chain
}
