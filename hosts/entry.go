package hosts

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/valetkey/valetkey/localapi"
)

// fields is an object in the order it is written in. A value is a string, a bool, an int, a []string, fields, or
// verbatim.
type fields []field

type field struct {
	key   string
	value any
}

// verbatim is a value as the file shall hold it.
type verbatim string

// found is an entry as it was read from a file.
type found struct {
	name  string
	value map[string]any // values are string, bool, numbers, []any, map[string]any, or what the format has beyond
}

// fill returns the entry of a shape for a server: in its strings, {vk}, {url}, {name}, {socket}, {gateway-url},
// {gateway-path} and {command:HOST} are replaced.
func fill(env Env, shape fields, via Channel, server *url.URL, name string) (fields, error) {
	if !isVK(env.VK) {
		return nil, fmt.Errorf("the program would not be found again: it is not called vk but %s", env.VK)
	}
	words := map[string]string{"{vk}": env.VK, "{url}": server.String(), "{name}": name, "{socket}": env.Socket}
	switch via {
	case ViaGateway:
		p, err := gatewayPath(server)
		switch {
		case err != nil:
			return nil, err
		case env.Socket == "":
			return nil, errors.New("the address of the app is not known")
		}
		words["{gateway-path}"], words["{gateway-url}"] = p, gatewayURL(env.Socket, p)
	case viaHelper:
		for _, host := range []string{"claude-code", "codex"} {
			command, err := helperCommand(env, host, server)
			if err != nil {
				return nil, err
			}
			words["{command:"+host+"}"] = command
		}
	}
	var pairs []string
	for word, with := range words {
		pairs = append(pairs, word, with)
	}
	return shape.replaced(strings.NewReplacer(pairs...)), nil
}

func (f fields) replaced(r *strings.Replacer) fields {
	out := make(fields, len(f))
	for i, one := range f {
		switch v := one.value.(type) {
		case string:
			one.value = r.Replace(v)
		case []string:
			list := make([]string, len(v))
			for j, s := range v {
				list[j] = r.Replace(s)
			}
			one.value = list
		case fields:
			one.value = v.replaced(r)
		}
		out[i] = one
	}
	return out
}

// gatewayPath is where the gateway answers for server. A query or an escaped character would not come through VS Code
// as it was written: it unescapes the path and escapes question marks.
func gatewayPath(server *url.URL) (string, error) {
	if server.RawQuery != "" || strings.Contains(server.EscapedPath(), "%") {
		return "", errors.New("the URL has a query or escaped characters")
	}
	return localapi.MCPPath(server.String())
}

const pipePrefix = `\\.\pipe\`

// gatewayURL is how VS Code writes an HTTP path on a socket or pipe.
func gatewayURL(socket, at string) string {
	if name, ok := strings.CutPrefix(socket, pipePrefix); ok {
		return (&url.URL{Scheme: "pipe", Path: "/pipe/" + name}).String() + "#" + at
	}
	return "unix://" + (&url.URL{Path: socket}).EscapedPath() + "#" + at
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// helperCommand is the line a host gives to a shell. It is refused where any shell could read it otherwise than it is
// meant: sh, cmd, or on Windows an sh that came with Git.
func helperCommand(env Env, host string, server *url.URL) (string, error) {
	special := func(plain string) func(rune) bool {
		return func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("/.:_-+,~"+plain, c))
		}
	}
	inQuotes := " @()"
	if env.OS == "windows" {
		inQuotes = ` \` // cmd /C drops the quotes if it sees one of @() anywhere
	}
	if strings.ContainsFunc(env.VK, special(inQuotes)) {
		return "", errors.New("the path of vk would need quoting that shells do not agree on")
	}
	if strings.ContainsFunc(server.String(), special("")) {
		return "", errors.New("the URL would need quoting that shells do not agree on")
	}
	return fmt.Sprintf(`"%s" headers --host %s --server %s`, env.VK, host, server), nil
}

// ourEntry recognises what Connect wrote: by the program it runs or the socket it connects to, not by its name.
func ourEntry(env Env, f found) (Entry, bool) {
	e := Entry{Name: f.name}
	for _, key := range []string{"headersHelper", "http_headers_helper"} {
		words := commandWords(stringAt(f.value, key))
		i := slices.Index(words, "--server")
		if i > 1 && i+1 < len(words) && isVK(words[0]) && words[1] == "headers" {
			e.Via, e.Program, e.Server = viaHelper, words[0], words[i+1]
			return e, true
		}
	}
	if line := commandLine(f.value); len(line) > 2 && isVK(line[0]) && line[1] == "bridge" {
		e.Via, e.Program, e.Server = viaBridge, line[0], line[len(line)-1]
		return e, true
	}
	socket, at := stringAt(f.value, "socket"), &url.URL{}
	if u, err := url.Parse(stringAt(f.value, "url")); err == nil && (u.Scheme == "unix" || u.Scheme == "pipe") {
		socket, at = u.Path, &url.URL{Path: u.Fragment}
		if name, ok := strings.CutPrefix(u.Path, "/pipe/"); ok && u.Scheme == "pipe" {
			socket = pipePrefix + name
		}
	} else if u, err := url.Parse(stringAt(f.value, "uri")); err == nil {
		at = u
	}
	server, err := localapi.MCPServer(at)
	if err != nil || socket == "" || socket != env.Socket && !isOurSocket(socket) {
		return Entry{}, false
	}
	e.Via, e.Socket, e.Server = ViaGateway, socket, server
	return e, true
}

// isOurSocket reports whether socket is one of the usual places of the app's: an entry may have been written when
// another one was in use.
func isOurSocket(socket string) bool {
	name, isPipe := strings.CutPrefix(socket, pipePrefix)
	return isPipe && strings.HasPrefix(name, "valetkey.") || !isPipe && path.Base(socket) == "agent.sock" && strings.Contains(socket, "valetkey")
}

// isVK reports whether program is called vk.
func isVK(program string) bool {
	name := strings.ToLower(program[strings.LastIndexAny(program, `/\`)+1:])
	return name == "vk" || name == "vk.exe"
}

// remoteEntry recognises a remote server: by its URL, or by the command line of a bridge to it. It looks at nothing
// else of the entry.
func remoteEntry(f found) (Remote, bool) {
	for _, key := range []string{"url", "httpUrl", "serverUrl", "uri"} {
		if server, hidden, ok := publicURL(stringAt(f.value, key)); ok {
			return Remote{Name: f.name, Server: server, Hidden: hidden}, true
		}
	}
	line := commandLine(f.value)
	for i, word := range line {
		bridge := bridgeName(word)
		if bridge == "" {
			continue
		}
		for _, arg := range line[i+1:] {
			if server, hidden, ok := publicURL(arg); ok {
				return Remote{Name: f.name, Server: server, Bridge: bridge, Hidden: hidden}, true
			}
		}
	}
	return Remote{}, false
}

// bridgeName recognises programs that carry a remote server to a host that only starts commands: mcp-remote,
// mcp-remote@1.2.3, /usr/bin/mcp-remote, .../mcp-remote.cmd.
func bridgeName(word string) string {
	word = word[strings.LastIndexAny(word, `/\`)+1:]
	word, _, _ = strings.Cut(word, "@")
	word, _, _ = strings.Cut(word, ".")
	if word == "mcp-remote" || word == "mcp-remote-go" {
		return word
	}
	return ""
}

// publicURL returns an http(s) URL without the parts that may hold a secret.
func publicURL(s string) (server string, hidden, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", false, false
	}
	hidden = u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Contains(s, "${")
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return u.String(), hidden, true
}

// commandLine is the program of an entry and its arguments.
func commandLine(value map[string]any) []string {
	var line []string
	for _, key := range []string{"command", "cmd", "args"} {
		switch v := value[key].(type) {
		case string:
			line = append(line, v)
		case []any:
			for _, arg := range v {
				s, _ := arg.(string)
				line = append(line, s)
			}
		}
	}
	return line
}

// commandWords splits a helper's line: words between blanks, the first one perhaps in double quotes.
func commandWords(line string) []string {
	if rest, ok := strings.CutPrefix(line, `"`); ok {
		program, args, _ := strings.Cut(rest, `"`)
		return append([]string{program}, strings.Fields(args)...)
	}
	return strings.Fields(line)
}

func stringAt(value map[string]any, key string) string {
	s, _ := value[key].(string)
	return s
}

// checkServer parses the URL of a server that a host is to be connected to.
func checkServer(server string) (*url.URL, error) {
	if _, err := localapi.MCPPath(server); err != nil {
		return nil, err
	}
	u, err := url.Parse(server)
	if err != nil || u.Fragment != "" || strings.ContainsFunc(server, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune("\"'`\\", c) }) {
		return nil, localapi.Errorf(localapi.ErrBadRequest, "the URL holds a fragment or characters that no server needs: %s", server)
	}
	return u, nil
}

// ShortName is what a server is called where its URL is too long: mcp.linear.app is linear. It is made of the URL alone,
// not of what the server says of itself, and two servers may have the same. It is "" for what is no server's URL.
func ShortName(server string) string {
	u, err := checkServer(server)
	if err != nil {
		return ""
	}
	return defaultName(u)
}

// defaultName makes a name for a server's entry out of its host name.
func defaultName(server *url.URL) string {
	host := strings.ToLower(server.Hostname())
	if isLoopback(host) {
		return "local-" + orElse(server.Port(), "80")
	}
	if ip := net.ParseIP(host); ip != nil {
		host = strings.NewReplacer(".", "-", ":", "-").Replace(host)
	}
	labels := strings.Split(host, ".")
	for len(labels) > 2 && slices.Contains([]string{"mcp", "www", "api", "app"}, labels[0]) {
		labels = labels[1:]
	}
	name := strings.Trim(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			return c
		}
		return -1
	}, labels[0]), "-")
	return orElse(name[:min(len(name), maxName)], "server")
}

const maxName = 48

// freeName is name, or if that is taken name with a number behind it.
func freeName(name string, taken func(string) bool) string {
	free := name
	for n := 2; taken(free); n++ {
		free = fmt.Sprintf("%s-%d", name[:min(len(name), maxName-3)], n)
	}
	return free
}

// checkName accepts the names that every host and every format takes as they are.
func checkName(name string) error {
	ok := name != "" && len(name) <= maxName
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = ok && (letter || i > 0 && (c == '-' || c == '_'))
	}
	if !ok {
		return localapi.Errorf(localapi.ErrBadRequest, "%q cannot be the name of an entry", name).
			WithHint("it takes at most %d letters, digits, - and _, and begins with a letter or digit", maxName)
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
