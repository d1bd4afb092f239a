package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/valetkey/valetkey/localapi"
)

// Change is an edit of a host's file that has been worked out and not been made.
type Change struct {
	host   *Host
	Entry  Entry  // what is added or removed
	Runs   string // of an addition: the command that the host will run, in full; "" if it runs none
	File   string // that is written
	Lines  string // exactly what is added, or was found and is removed; ends in a line ending
	Block  string // of an addition: what the file would hold if it held nothing else
	Backup string // of an addition: where the file as it is now is kept; "" if there is nothing to keep

	file    *file
	content []byte // what the file shall hold
	delete  bool   // the file goes: it was made for our entry and holds nothing else
}

// Connect works out how to add a server to a host. An empty name means one made of the URL that the host has given to no
// other server, and that the host must not have this one yet. An empty via means the best channel that the host has for
// it. A file that cannot be edited gives an *Unreadable with the block to put there by hand.
func (h *Host) Connect(env Env, server, name string, via Channel) (*Change, error) {
	u, err := checkServer(server)
	if err != nil {
		return nil, err
	}
	f, err := readFile(h.File(env))
	if err != nil {
		return nil, err
	}
	before, unreadable := h.format.entries(f.text)
	taken := func(name string) bool {
		return slices.ContainsFunc(before, func(e found) bool { return e.name == name })
	}
	if name == "" {
		if had := ourName(env, before, u.String()); had != "" {
			return nil, localapi.Errorf(localapi.ErrBadRequest, "%s already has a server called %s, which is this one", h.Name, had).WithHint("to have it twice, give this one another name, with --name")
		}
		name = freeName(defaultName(u), taken)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	via, value, err := h.choose(env, u, name, via)
	if err != nil {
		return nil, err
	}
	c := &Change{host: h, File: f.path, file: f, Entry: Entry{Name: name, Server: u.String(), Via: via}}
	switch via {
	case viaBridge:
		c.Runs = env.VK + " bridge " + u.String()
	case viaHelper:
		if c.Runs, err = helperCommand(env, h.Key, u); err != nil {
			return nil, err
		}
	}
	empty, err := h.format.add([]byte(h.blank), name, value)
	if err != nil {
		return nil, err
	}
	c.Block = shown(empty.text)
	if taken(name) {
		return nil, localapi.Errorf(localapi.ErrBadRequest, "%s already has a server called %s", h.Name, name).WithHint("give this one another name, with --name")
	}
	if unreadable == nil {
		unreadable = c.insert(env, before, value)
	}
	if unreadable != nil {
		return nil, &Unreadable{file: f.path, Block: c.Block, err: unreadable}
	}
	return c, nil
}

// ourName is the name of an entry of ours for a server, "" if there is none.
func ourName(env Env, entries []found, server string) string {
	for _, e := range entries {
		if ours, ok := ourEntry(env, e); ok && localapi.SameServer(ours.Server, server) {
			return ours.Name
		}
	}
	return ""
}

// insert works out the edit of an addition, and looks at the outcome: all entries as they were, the new one found again
// as ours, and nothing left of it once it is taken out again.
func (c *Change) insert(env Env, before []found, value fields) error {
	text := c.file.text
	if c.file.missing {
		text = []byte(c.host.blank)
	}
	if hasLoneCR(text) {
		return errStrange
	}
	i, err := c.host.format.add(text, c.Entry.Name, value)
	if err != nil {
		return err
	}
	after := i.into(text)
	all, err := c.host.format.entries(after)
	if err != nil {
		return errStrange
	}
	at := slices.IndexFunc(all, func(e found) bool { return e.name == c.Entry.Name })
	if at < 0 {
		return errStrange
	}
	ours, ok := ourEntry(env, all[at])
	if !ok || ours.Via != c.Entry.Via || ours.Server != c.Entry.Server || !reflect.DeepEqual(slices.Delete(all, at, at+1), append([]found{}, before...)) {
		return errStrange
	}
	if back, err := c.host.format.remove(after, c.Entry.Name, text); err != nil || !bytes.Equal(back, text) {
		return errStrange // what cannot be undone is not done
	}
	c.Entry, c.content, c.Lines = ours, c.file.with(after), shown(i.text)
	if c.file.missing {
		c.Lines = shown(string(after))
	}
	if !c.file.missing && !slices.ContainsFunc(before, func(e found) bool { _, ok := ourEntry(env, e); return ok }) {
		c.Backup = c.File + backupSuffix
	}
	return nil
}

// shown is text as whole lines, without blank lines around them.
func shown(text string) string {
	return strings.Trim(strings.ReplaceAll(text, "\r\n", "\n"), "\n") + "\n"
}

// choose picks the channel and fills in its shape.
func (h *Host) choose(env Env, server *url.URL, name string, via Channel) (Channel, fields, error) {
	for _, ch := range h.channels {
		if via != "" && via != ch {
			continue
		}
		value, err := h.filled(env, server, name, ch)
		if err == nil {
			return ch, value, nil
		}
		if via != "" {
			return "", nil, localapi.Errorf(localapi.ErrBadRequest, "%s cannot reach this server by %s: %v", h.Name, via, err).WithHint("leave --via out")
		}
	}
	var has []string
	for _, ch := range h.channels {
		has = append(has, string(ch))
	}
	return "", nil, localapi.Errorf(localapi.ErrBadRequest, "%s has no channel called %q", h.Name, via).WithHint("it has: %s", strings.Join(has, ", "))
}

func (h *Host) filled(env Env, server *url.URL, name string, via Channel) (fields, error) {
	switch {
	case via == ViaGateway && env.OS == "windows" && slices.Contains(h.unixOnly, via):
		return nil, fmt.Errorf("%s cannot use a pipe", h.Name)
	case via == viaHelper && h.helperSince != "":
		if said := env.version(h.programs[0]); !atLeast(said, h.helperSince) {
			return nil, fmt.Errorf("it needs %s %s or newer", h.Name, h.helperSince)
		}
	}
	return fill(env, h.entry[via], via, server, name)
}

// Disconnect works out how to remove an entry that Connect added.
func (h *Host) Disconnect(env Env, name string) (*Change, error) {
	f, err := readFile(h.File(env))
	if err != nil {
		return nil, err
	}
	before, err := h.entries(f)
	if err != nil {
		return nil, err
	}
	c := &Change{host: h, File: f.path, file: f}
	i := slices.IndexFunc(before, func(e found) bool { return e.name == name })
	if i < 0 {
		return nil, localapi.Errorf(localapi.ErrUnknownServer, "%s has no server called %s", h.Name, name).WithHint("run: vk connect --list")
	}
	var ours bool
	if c.Entry, ours = ourEntry(env, before[i]); !ours {
		return nil, localapi.Errorf(localapi.ErrBadRequest, "%s was not added to %s by Valet Key", name, h.Name).WithHint("remove it from %s yourself", f.path)
	}
	was, err := f.before()
	if err != nil {
		return nil, err
	}
	text, err := h.format.remove(f.text, name, was)
	if err == nil {
		var after []found
		if after, err = h.format.entries(text); err == nil && !reflect.DeepEqual(append([]found{}, after...), slices.Delete(append([]found{}, before...), i, i+1)) {
			err = errStrange
		}
	}
	if err != nil {
		return nil, &Unreadable{file: f.path, err: err}
	}
	if c.delete = was == nil && slices.Contains([]string{"", "{}", strings.TrimSpace(h.blank)}, strings.TrimSpace(string(text))); c.delete {
		text = nil
	}
	c.content, c.Lines = f.with(text), removedLines(f.text, text)
	return c, nil
}

// removedLines is the part of before that is not in after.
func removedLines(before, after []byte) string {
	from := 0
	for from < len(after) && before[from] == after[from] {
		from++
	}
	to := 0
	for to < len(after)-from && before[len(before)-1-to] == after[len(after)-1-to] {
		to++
	}
	// Text that repeats what comes before it can be cut out in several places: show it from the start of a line.
	end := len(before) - to
	switch head := before[lineStart(before, from):from]; {
	case bytes.HasSuffix(before[from:end], head):
		from, end = from-len(head), end-len(head)
	case isBlank(head):
		from -= len(head)
	}
	return shown(string(before[from:end]))
}

// Apply makes the change. It refuses if the file is no longer as it was when the change was worked out.
func (c *Change) Apply() error {
	if c.Backup != "" {
		if err := c.file.backup(); err != nil {
			return err
		}
	} else if c.file.missing { // a backup from earlier would be taken for what was here before
		if err := os.Remove(c.File + backupSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if c.delete {
		return c.file.remove()
	}
	if err := c.file.replace(c.content); err != nil {
		return err
	}
	// A backup that says what the file says is of no more use.
	if kept, err := readFile(c.File + backupSuffix); err == nil && !kept.missing && bytes.Equal(kept.raw, c.content) {
		return os.Remove(kept.path)
	}
	return nil
}
