package hosts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
)

// Bounds of what is shown: a face takes 1 MiB at once.
const (
	maxConnected = 100      // servers of one program
	maxShown     = 64 << 10 // bytes of lines, in each of two blocks
	maxProblem   = 400      // letters
)

// Switches is what the switches of the window work on: the hosts that are installed on this computer, and the one change
// of a file that the person was shown and has not answered. Only the person's own wishes reach it. That a host has a
// server gives it nothing: when it asks for a token, the person is asked. Its methods are safe for concurrent use.
type Switches struct {
	env func() (Env, error)

	mu     sync.Mutex
	found  []face.Program
	edit   *face.Edit
	change *Change // behind edit, until it is made or has failed
	edits  int     // so far
}

// NewSwitches looks for hosts on this computer, for a resident process with that executable and socket.
func NewSwitches(getenv func(string) string, self, socket string) *Switches {
	return &Switches{env: func() (Env, error) { return besides(getenv, self, socket) }}
}

// errNoVK says that a host could not be given a command to run.
var errNoVK = localapi.Errorf(localapi.ErrUnavailable, "vk, which programs run to reach Valet Key, is neither beside valetkey nor in PATH").
	WithHint("put it beside valetkey")

// besides is this computer with the vk that lies beside self, else the one in PATH.
func besides(getenv func(string) string, self, socket string) (Env, error) {
	vk := Which("vk") // stays the same when a package manager puts a new version in a folder of its own
	if beside := filepath.Join(filepath.Dir(self), "vk"+filepath.Ext(self)); !sameFile(vk, beside) {
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			vk = beside
		}
	}
	if vk == "" {
		return Env{}, errNoVK
	}
	return ThisMachine(getenv, vk, socket)
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// Show adds what is known to a state.
func (s *Switches) Show(state *face.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state.Programs = s.found
	if s.edit != nil {
		shown := *s.edit
		state.Edit = &shown
	}
}

// Do does what the person wants. What comes of it is in the next state; mine is false for a wish that is not about
// programs.
func (s *Switches) Do(w face.Wish) (mine bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch w := w.(type) {
	case face.WishLook:
		return true, s.look()
	case face.WishConnect:
		s.work(w.Program, face.Edit{Server: w.Server}, func(env Env, h *Host) (*Change, error) { return h.Connect(env, w.Server, "", "") })
	case face.WishDisconnect:
		s.work(w.Program, face.Edit{Server: w.Server, Name: w.Name, Remove: true}, func(env Env, h *Host) (*Change, error) { return h.Disconnect(env, w.Name) })
	case face.WishWrite:
		return true, s.write(w.ID)
	case face.WishDrop:
		if s.edit != nil && s.edit.ID == w.ID {
			s.edit, s.change = nil, nil
		}
	default:
		return false, nil
	}
	return true, nil
}

// look finds the hosts anew, and reads their files.
func (s *Switches) look() error {
	env, err := s.env()
	if err != nil {
		return err
	}
	s.found = nil
	for _, h := range All() {
		if h.Found(env) == "" {
			continue
		}
		row := face.Program{Key: h.Key, Name: h.Name, File: fromHome(env, h.File(env))}
		content, err := h.Read(env)
		if err != nil {
			row.Problem = untrusted.Text(Cause(err).Error(), maxProblem)
		} else {
			for _, e := range content.Entries[:min(len(content.Entries), maxConnected)] {
				row.Servers = append(row.Servers, face.Connected{Name: e.Name, Server: e.Server})
			}
		}
		s.found = append(s.found, row)
	}
	return nil
}

// fromHome is path as people write it. What is written is shown with its whole path.
func fromHome(env Env, path string) string {
	if rest, ok := strings.CutPrefix(path, env.Home+string(filepath.Separator)); ok && env.OS != "windows" {
		return "~/" + rest
	}
	return path
}

// work works out a change of a program's file, which takes the place of the one before.
func (s *Switches) work(program string, edit face.Edit, out func(Env, *Host) (*Change, error)) {
	s.edits++
	edit.ID, edit.Program = fmt.Sprint("edit-", s.edits), program
	s.edit, s.change = &edit, nil
	h, ok := Lookup(program)
	if !ok {
		s.fail(localapi.Errorf(localapi.ErrBadRequest, "there is no host called %q here", program))
		return
	}
	env, err := s.env()
	if err != nil {
		s.fail(err)
		return
	}
	s.edit.File, s.edit.Restart = h.File(env), h.Restart
	c, err := out(env, h)
	if err != nil {
		s.fail(err)
		return
	}
	s.change = c
	s.edit.Server, s.edit.Name, s.edit.File = c.Entry.Server, c.Entry.Name, c.File
	s.edit.Lines, s.edit.Runs, s.edit.Backup = bounded(c.Lines), c.Runs, c.Backup
	if c.Runs == "" && !s.edit.Remove {
		s.edit.Socket = c.Entry.Socket
	}
}

// fail says why the change cannot be made, and what the person may do by hand.
func (s *Switches) fail(err error) {
	var u *Unreadable
	if errors.As(err, &u) {
		s.edit.Block = bounded(u.Block)
		err = localapi.Errorf(localapi.ErrBadRequest, "%s cannot be changed: %v", u.file, u.err).WithHint("nothing was written; mend the file and try again")
	} else if s.change != nil {
		s.edit.Block = bounded(s.change.Block)
	}
	if !errors.As(err, &s.edit.Failed) {
		s.edit.Failed = localapi.Errorf(localapi.ErrUnavailable, "%v", err)
	}
	s.change = nil
}

// write makes the change that the person was shown, and no other.
func (s *Switches) write(id string) error {
	if s.change == nil || s.edit.ID != id {
		return localapi.Errorf(localapi.ErrBadRequest, "this change is no longer on offer").WithHint("turn the switch again")
	}
	if err := s.change.Apply(); err != nil {
		s.fail(err)
	} else {
		s.edit.Done, s.change = true, nil
	}
	return s.look()
}

// bounded keeps the beginning of a text that is too long to be shown.
func bounded(text string) string {
	if len(text) <= maxShown {
		return text
	}
	text = text[:maxShown]
	return strings.ToValidUTF8(text[:strings.LastIndexByte(text, '\n')+1], "\ufffd") + "…\n"
}
