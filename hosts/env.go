package hosts

import (
	"path/filepath"
	"slices"
	"strings"
)

// Places of files are written with slashes and may hold
//
//	~               the home directory
//	{xdg}           XDG_CONFIG_HOME, else ~/.config, on every system: programs that came from Unix
//	{config}        where desktop programs keep their settings: {xdg} on Linux, ~/Library/Application Support on macOS,
//	                APPDATA on Windows
//	{NAME|other}    the variable NAME if it is set to an absolute path, else other
//	*               anything within one name; the place is dropped where nothing has such a name

// expand returns the paths that places name here.
func (e Env) expand(places []string) []string {
	var paths []string
	for _, place := range places {
		p := e.path(place)
		stem, rest, globbed := cutGlob(p)
		if !globbed {
			paths = append(paths, filepath.FromSlash(p))
			continue
		}
		matches, _ := filepath.Glob(filepath.FromSlash(stem)) // no error: the patterns are ours
		for _, m := range matches {
			paths = append(paths, filepath.FromSlash(filepath.ToSlash(m)+rest))
		}
	}
	return paths
}

// cutGlob splits a path after the last element with a star in it.
func cutGlob(p string) (stem, rest string, ok bool) {
	star := strings.LastIndex(p, "*")
	if star < 0 {
		return p, "", false
	}
	if end := strings.Index(p[star:], "/"); end >= 0 {
		return p[:star+end], p[star+end:], true
	}
	return p, "", true
}

func (e Env) path(place string) string {
	for {
		open := strings.LastIndex(place, "{")
		if open < 0 {
			break
		}
		length := strings.Index(place[open:], "}")
		name, other, hasOther := strings.Cut(place[open+1:open+length], "|")
		value := other
		switch {
		case name == "xdg":
			value = "{XDG_CONFIG_HOME|~/.config}"
		case name == "config":
			value = e.configDir()
		case hasOther && e.isAbs(e.getenv(name)):
			value = strings.TrimRight(e.slashes(e.getenv(name)), "/")
		}
		place = place[:open] + value + place[open+length+1:]
	}
	if rest, ok := strings.CutPrefix(place, "~"); ok {
		place = e.slashes(e.Home) + rest
	}
	return place
}

func (e Env) configDir() string {
	switch e.OS {
	case "darwin":
		return "~/Library/Application Support"
	case "windows":
		return "{APPDATA|~/AppData/Roaming}"
	}
	return "{xdg}"
}

func (e Env) slashes(p string) string {
	if e.OS == "windows" {
		return strings.ReplaceAll(p, `\`, "/")
	}
	return p
}

func (e Env) isAbs(p string) bool {
	p = e.slashes(p)
	return strings.HasPrefix(p, "/") || e.OS == "windows" && len(p) > 2 && p[1:3] == ":/"
}

func (e Env) getenv(name string) string {
	if e.vars == nil {
		return ""
	}
	return e.vars(name)
}

func (e Env) which(program string) string {
	if e.Which == nil {
		return ""
	}
	return e.Which(program)
}

// atLeast reports whether the first version number in what a program said is at least want.
func atLeast(said, want string) bool {
	for _, word := range strings.Fields(said) {
		if v := numbers(strings.TrimPrefix(word, "v")); len(v) > 1 {
			return slices.Compare(v, numbers(want)) >= 0
		}
	}
	return false
}

// numbers reads 1.22.333, up to anything that is not part of it; no numbers if it does not start as one.
func numbers(version string) []int {
	var all []int
	for part := range strings.SplitSeq(version, ".") {
		n, digits := 0, 0
		for _, c := range part {
			if c < '0' || c > '9' || digits == 6 {
				break
			}
			n, digits = n*10+int(c-'0'), digits+1
		}
		if digits == 0 {
			break
		}
		all = append(all, n)
		if digits < len(part) {
			break
		}
	}
	return all
}

func (e Env) version(program string) string {
	if e.Version == nil {
		return ""
	}
	return e.Version(program)
}
