// Package hosts knows the programs that run MCP clients: where each keeps the list of its servers and how an entry for
// a server behind Valet Key looks there. It adds such entries, finds them again and takes them out, and leaves every
// other byte of the file as it was. It parses whole files, but looks at no token and no header in them.
package hosts

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/valetkey/valetkey/localapi"
)

// Channel is how a host reaches a server through Valet Key.
type Channel string

// The channels, in the order of docs/hosts.md.
const (
	ViaGateway Channel = "gateway" // the host speaks MCP over the app's socket; it never sees a token
	viaHelper  Channel = "helper"  // the host speaks to the server itself, with a header that `vk headers` prints
	viaBridge  Channel = "bridge"  // the host starts `vk bridge` and speaks MCP over its standard input and output
)

// Host is a program that runs MCP clients.
type Host struct {
	Key     string // for command lines
	Name    string // for people
	Restart string // what makes it read its file again, as a sentence

	files, onWindows []string // where its file is, best first: see Env.expand. onWindows replaces files there
	signs            []string // files and folders that show that it is installed
	programs         []string // likewise, programs in PATH
	format           format
	blank            string // what a new file starts with
	channels         []Channel
	entry            map[Channel]fields
	unixOnly         []Channel
	helperSince      string // the first version of programs[0] that has the helper; "" for all
}

// Env is the machine that hosts are looked for on. All of it can be made up, for tests.
type Env struct {
	OS      string                      // as runtime.GOOS
	Home    string                      // the person's home directory
	vars    func(name string) string    // nil: no variable is set
	VK      string                      // the absolute path of vk
	Socket  string                      // the app's address, as localapi.Address gives it
	Which   func(program string) string // the path of a program in PATH, or ""; nil: there are none
	Version func(program string) string // what `program --version` prints, or ""; nil: unknown
}

// Entry is a server that a host has through Valet Key.
type Entry struct {
	Name    string
	Server  string // its URL
	Via     Channel
	Program string // the vk it runs; "" for ViaGateway
	Socket  string // the address it connects to; "" for the others
}

// Remote is a remote server that a host has without Valet Key.
type Remote struct {
	Name   string
	Server string // its URL, without user name, query and fragment: they may hold a secret
	Bridge string // the program that carries it, such as "mcp-remote"; "" if the host does so itself
	Hidden bool   // the URL had one of those parts
}

// Content is what a host's file says about servers.
type Content struct {
	Entries []Entry
	Remotes []Remote
}

// Lookup returns the host with a key, or false.
func Lookup(key string) (*Host, bool) {
	all := All()
	i := slices.IndexFunc(all, func(h *Host) bool { return h.Key == strings.ToLower(key) })
	if i < 0 {
		return nil, false
	}
	return all[i], true
}

// File returns the file h keeps its servers in: the first of its possible places that exists, else the first whose
// folder does, else the first.
func (h *Host) File(env Env) string {
	places := env.expand(h.places(env))
	for _, exists := range []func(string) bool{isThere, func(p string) bool { return isThere(filepath.Dir(p)) }} {
		if i := slices.IndexFunc(places, exists); i >= 0 {
			return places[i]
		}
	}
	return places[0]
}

func (h *Host) places(env Env) []string {
	if env.OS == "windows" && h.onWindows != nil {
		return h.onWindows
	}
	return h.files
}

// Found returns what shows that h is on this machine, or "".
func (h *Host) Found(env Env) string {
	for _, program := range h.programs {
		if path := env.which(program); path != "" {
			return path
		}
	}
	for _, path := range slices.Concat(env.expand(h.places(env)), env.expand(h.signs)) {
		if isThere(path) {
			return path
		}
	}
	return ""
}

// Read returns what h's file says about servers. A file that does not exist says nothing. A file that does not parse
// is an *Unreadable.
func (h *Host) Read(env Env) (*Content, error) {
	f, err := readFile(h.File(env))
	if err != nil {
		return nil, err
	}
	content := &Content{}
	found, err := h.entries(f)
	if err != nil {
		return nil, err
	}
	for _, e := range found {
		if ours, ok := ourEntry(env, e); ok {
			content.Entries = append(content.Entries, ours)
		} else if remote, ok := remoteEntry(e); ok {
			content.Remotes = append(content.Remotes, remote)
		}
	}
	return content, nil
}

func (h *Host) entries(f *file) ([]found, error) {
	entries, err := h.format.entries(f.text)
	if err != nil {
		return nil, &Unreadable{file: f.path, err: err}
	}
	return entries, nil
}

// Unreadable says that a host's file does not parse, or is not built as that host's files are, so that nobody should
// change it but the person.
type Unreadable struct {
	file  string
	Block string // what the person may put into the file; "" if nothing was to be added
	err   error
}

func (e *Unreadable) Error() string { return e.file + ": " + e.err.Error() }

// Unwrap makes an Unreadable a localapi.ErrBadRequest.
func (e *Unreadable) Unwrap() []error { return []error{localapi.ErrBadRequest, e.err} }

var errTooLarge = errors.New("the file is too large")

func isThere(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist) && err == nil
}

// Cause is err without the name of the host's file, for where that stands beside it.
func Cause(err error) error {
	if u, ok := errors.AsType[*Unreadable](err); ok {
		return u.err
	}
	return err
}
