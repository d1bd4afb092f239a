package peer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// maxHops bounds the walk from a peer up to its host and beyond.
const maxHops = 12

// maxFacts bounds how many processes a Namer remembers.
const maxFacts = 256

// maxArgBytes and maxArgs bound what is read of a process's arguments.
const (
	maxArgBytes = 8 << 10
	maxArgs     = 64
)

// Namer names the processes at the other end of connections. It remembers what it read of executables and of processes
// that still run, so that the second connection of a host costs microseconds. It is safe for concurrent use.
type Namer struct {
	own    []string // where our own programs lie
	hashes hashes
	system system // what the platform file keeps

	mu    sync.Mutex
	ours  map[fileID]bool // our own programs, also those that an update has replaced while they run
	facts map[int]*facts  // by pid
}

// New makes a Namer. Our own programs never are a host, the process that started them may be: that is the running
// program, the vk beside it, and those at the paths own.
func New(own ...string) *Namer {
	if self, err := os.Executable(); err == nil {
		own = append(own, self, filepath.Join(filepath.Dir(self), "vk"+filepath.Ext(self)))
	}
	return newNamer(own)
}

func newNamer(own []string) *Namer {
	n := &Namer{own: own, system: newSystem(), ours: map[fileID]bool{}, facts: map[int]*facts{}}
	n.lookForOwn()
	return n
}

// Of names the process that opened conn. Call it the moment the connection is accepted and before a byte is read: what
// the process executes later is then noticed by [Peer.Check]. The caller closes the Peer.
//
// The first connection of a host in a place the person can write reads its executable once, to hash it; that may take
// a second for a very large one, so one peer must not be named in the way of another.
//
// It returns ErrOtherUser when the process runs as another user, errGone when it has ended (also when it left the
// connection to a child), errChanged when it executed another program meanwhile, and errUnsupported for a connection
// that is neither a Unix socket nor a named pipe.
func (n *Namer) Of(conn net.Conn) (*Peer, error) {
	p, err := n.connected(conn)
	if err != nil {
		return nil, fmt.Errorf("name the peer: %w", err)
	}
	w := walk{n: n}
	w.add(p)
	found, err := w.host()
	if err != nil {
		w.close()
		return nil, fmt.Errorf("name the peer: %w", err)
	}
	list := []pin{p}
	if found.proc != p {
		list = append(list, found.proc)
	}
	if found.script != nil {
		list = append(list, found.script)
	}
	for _, q := range w.procs {
		if q != p && q != found.proc {
			q.close()
		}
	}
	return &Peer{process: p.Process, Host: found.Host, pins: &pins{list: list}}, nil
}

// Running reports whether the run of a host that [Host.Instance] names is still alive.
func Running(instance string) bool {
	pid, start, ok := strings.Cut(instance, ":")
	id, err := strconv.Atoi(pid)
	began, err2 := strconv.ParseUint(start, 10, 64)
	if !ok || err != nil || err2 != nil || id <= 0 {
		return false
	}
	now, err := startOf(id)
	return err == nil && now == began
}

func (p Process) instance() string { return fmt.Sprintf("%d:%d", p.PID, p.Start) }

// proc is one process, pinned: while it is open, its numbers cannot come to mean another process.
type proc struct {
	Process
	image fileID    // the executable; zero when it could not be read
	mark  [2]uint64 // where the kernel put code and stack: differs after every exec; zero where that is not known
	facts *facts
	fresh bool // facts were read just now, and must be confirmed by another look at the process
	life       // what pins it
}

// errTop ends a walk: there is no process of ours above.
var errTop = errors.New("the process above is the system's or another user's")

// facts are what is known of one life and one image of a process.
type facts struct {
	Process
	image  fileID
	mark   [2]uint64
	kind   kind
	host   Host    // complete when kind is one that ends the walk, its Chain from here upwards
	script *script // what an interpreter runs
	found  atomic.Pointer[found]
}

// runs reports whether f are facts of this life and this image of p, by everything that is cheap to see. The image was
// opened before mark was read: had the process executed something in between, mark would tell.
func (f *facts) runs(p *proc) bool {
	return f.Start == p.Start && f.mark == p.mark && f.image == p.image
}

// know fills p.facts from memory when the process is the same as before in everything that is cheap to see, else by
// reading.
func (n *Namer) know(p *proc) {
	n.mu.Lock()
	f := n.facts[p.PID]
	n.mu.Unlock()
	if f == nil || !f.runs(p) || f.PPID != p.PPID || f.script != nil && f.script.check() != nil {
		f, p.fresh = n.read(p), true
		n.mu.Lock()
		if len(n.facts) >= maxFacts {
			clear(n.facts)
		}
		n.facts[p.PID] = f
		n.mu.Unlock()
	}
	p.facts, p.Process = f, f.Process
}

func (n *Namer) read(p *proc) *facts {
	s := n.look(p)
	p.Exe, p.Args = s.exe, s.args
	f := &facts{Process: p.Process, image: p.image, mark: p.mark}
	n.judge(f, p, s)
	if f.kind.isHost() {
		f.host.Chain = append([]Process{f.Process}, n.above(p)...)
	}
	return f
}

// isOurs reports whether the executable at path is one of our own programs.
func (n *Namer) isOurs(path string, image fileID) bool {
	if image == (fileID{}) {
		return false
	}
	for _, own := range n.own {
		if filepath.Base(own) == filepath.Base(path) {
			n.lookForOwn()
			break
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ours[image.lasting()]
}

// lookForOwn learns which files our own programs are now; an update may have put others there.
func (n *Namer) lookForOwn() {
	for _, path := range n.own {
		if id, err := idOfPath(path); err == nil {
			n.mu.Lock()
			n.ours[id.lasting()] = true
			n.mu.Unlock()
		}
	}
}
