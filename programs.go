package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
)

// Bounds of what is shown: a face takes 1 MiB at once.
const (
	maxConnected = 100      // servers of one program
	maxShown     = 64 << 10 // bytes of lines, in each of two blocks
	maxProblem   = 400      // letters
)

// programs is what the switches of the window work on: the hosts that are installed on this computer, and the one change
// of a file that the person was shown and has not answered. Only the person's own wishes reach it. That a host has a
// server gives it nothing: when it asks for a token, the person is asked.
type programs struct {
	env func() (hosts.Env, error)

	mu     sync.Mutex
	found  []face.Program
	edit   *face.Edit
	change *hosts.Change // behind edit, until it is made or has failed
	edits  int           // so far
}

// errNoVK says that a host could not be given a command to run.
var errNoVK = localapi.Errorf(localapi.ErrUnavailable, "vk, which programs run to reach Valet Key, is neither beside valetkey nor in PATH").
	WithHint("put it beside valetkey")

// thisComputer is where a resident process with that executable and socket looks for hosts.
func thisComputer(self, socket string) (hosts.Env, error) {
	vk := hosts.Which("vk") // stays the same when a package manager puts a new version in a folder of its own
	if beside := filepath.Join(filepath.Dir(self), "vk"+filepath.Ext(self)); !sameFile(vk, beside) {
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			vk = beside
		}
	}
	if vk == "" {
		return hosts.Env{}, errNoVK
	}
	return hosts.ThisMachine(os.Getenv, vk, socket)
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// show adds what is known to a state.
func (p *programs) show(s *face.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Programs = p.found
	if p.edit != nil {
		shown := *p.edit
		s.Edit = &shown
	}
}

// wish does what the person wants. What comes of it is in the next state; mine is false for the wishes of others.
func (p *programs) wish(w face.Wish) (mine bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch w.Kind {
	case face.WishLook:
		return true, p.look()
	case face.WishConnect:
		p.work(w, func(env hosts.Env, h *hosts.Host) (*hosts.Change, error) { return h.Connect(env, w.Server, "", "") })
	case face.WishDisconnect:
		p.work(w, func(env hosts.Env, h *hosts.Host) (*hosts.Change, error) { return h.Disconnect(env, w.Name) })
	case face.WishWrite:
		return true, p.write(w.ID)
	case face.WishDrop:
		if p.edit != nil && p.edit.ID == w.ID {
			p.edit, p.change = nil, nil
		}
	default:
		return false, nil
	}
	return true, nil
}

// look finds the hosts anew, and reads their files.
func (p *programs) look() error {
	env, err := p.env()
	if err != nil {
		return err
	}
	p.found = nil
	for _, h := range hosts.All() {
		if h.Found(env) == "" {
			continue
		}
		row := face.Program{Key: h.Key, Name: h.Name, File: fromHome(env, h.File(env))}
		content, err := h.Read(env)
		if err != nil {
			row.Problem = untrusted.Text(hosts.Cause(err).Error(), maxProblem)
		} else {
			for _, e := range content.Entries[:min(len(content.Entries), maxConnected)] {
				row.Servers = append(row.Servers, face.Connected{Name: e.Name, Server: e.Server})
			}
		}
		p.found = append(p.found, row)
	}
	return nil
}

// fromHome is path as people write it. What is written is shown with its whole path.
func fromHome(env hosts.Env, path string) string {
	if rest, ok := strings.CutPrefix(path, env.Home+string(filepath.Separator)); ok && env.OS != "windows" {
		return "~/" + rest
	}
	return path
}

// work works out a change, which takes the place of the one before.
func (p *programs) work(w face.Wish, out func(hosts.Env, *hosts.Host) (*hosts.Change, error)) {
	p.edits++
	p.change = nil
	p.edit = &face.Edit{ID: fmt.Sprint("edit-", p.edits), Program: w.Host, Server: w.Server, Name: w.Name, Remove: w.Kind == face.WishDisconnect}
	h, ok := hosts.Lookup(w.Host)
	if !ok {
		p.fail(localapi.Errorf(localapi.ErrBadRequest, "there is no host called %q here", w.Host))
		return
	}
	env, err := p.env()
	if err != nil {
		p.fail(err)
		return
	}
	p.edit.File, p.edit.Restart = h.File(env), h.Restart
	c, err := out(env, h)
	if err != nil {
		p.fail(err)
		return
	}
	p.change = c
	p.edit.Server, p.edit.Name, p.edit.File = c.Entry.Server, c.Entry.Name, c.File
	p.edit.Lines, p.edit.Runs, p.edit.Backup = bounded(c.Lines), c.Runs, c.Backup
	if c.Runs == "" && !p.edit.Remove {
		p.edit.Socket = c.Entry.Socket
	}
}

// fail says why the change cannot be made, and what the person may do by hand.
func (p *programs) fail(err error) {
	var u *hosts.Unreadable
	if errors.As(err, &u) {
		p.edit.Block = bounded(u.Block)
		err = localapi.Errorf(localapi.ErrBadRequest, "%s cannot be changed: %v", u.File, u.Err).WithHint("nothing was written; mend the file and try again")
	} else if p.change != nil {
		p.edit.Block = bounded(p.change.Block)
	}
	if !errors.As(err, &p.edit.Failed) {
		p.edit.Failed = localapi.Errorf(localapi.ErrUnavailable, "%v", err)
	}
	p.change = nil
}

// write makes the change that the person was shown, and no other.
func (p *programs) write(id string) error {
	if p.change == nil || p.edit.ID != id {
		return localapi.Errorf(localapi.ErrBadRequest, "this change is no longer on offer").WithHint("turn the switch again")
	}
	if err := p.change.Apply(); err != nil {
		p.fail(err)
	} else {
		p.edit.Done, p.change = true, nil
	}
	return p.look()
}

// bounded keeps the beginning of a text that is too long to be shown.
func bounded(text string) string {
	if len(text) <= maxShown {
		return text
	}
	text = text[:maxShown]
	return strings.ToValidUTF8(text[:strings.LastIndexByte(text, '\n')+1], "\ufffd") + "…\n"
}
