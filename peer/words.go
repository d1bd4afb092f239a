package peer

import (
	"path"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// maxName bounds a host's name, in runes; maxText any other line made from what a process controls.
const (
	maxName = 60
	maxText = 600
)

// clean makes text from a path or an id fit to be shown: what does not print (controls, bidirectional overrides,
// zero-width characters, broken UTF-8) shows as U+FFFD, so that it cannot hide.
func clean(s string) string {
	return short(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s), maxText)
}

// short keeps the beginning and the end of s, within n runes.
func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n/2]) + "…" + string(r[len(r)-(n-n/2-1):])
}

// version compiles on first use: vk, which starts often, never needs it.
var version = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[vV]?\d+([.\-_+]\w+)*$`) })

// platform is how npm packages of programs built for one system end. It compiles on first use, too.
var platform = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`-(linux|darwin|win32|windows|freebsd)-(x64|arm64|arm|ia32)(-(gnu|musl|msvc|gnueabihf|baseline))*$`)
})

// plainNames say nothing of whose they are: the directory says more.
var plainNames = map[string]bool{
	"__main__": true, "app": true, "bin": true, "bundle": true, "cli": true, "current": true, "dist": true, "index": true,
	"launcher": true, "main": true, "mcp": true, "run": true, "server": true, "src": true, "start": true, "versions": true,
}

// displayName is a short name for the program at a path: the package of what is in node_modules, the bundle of a
// program on macOS, else the last component, with the one before it when it says nothing by itself.
func displayName(file string) string {
	file = strings.ReplaceAll(file, `\`, "/")
	if _, in, ok := cutLast(file, "/node_modules/"); ok {
		parts := strings.SplitN(in, "/", 3)
		name := parts[0]
		if strings.HasPrefix(name, "@") && len(parts) > 1 {
			name += "/" + parts[1]
		}
		return platform().ReplaceAllString(name, "")
	}
	if bundle, _, ok := strings.Cut(file, ".app/Contents/"); ok {
		return path.Base(bundle)
	}
	base := path.Base(file)
	if cut, ok := strings.CutSuffix(strings.ToLower(base), ".exe"); ok {
		base = base[:len(cut)]
	}
	if version().MatchString(base) { // …/claude/versions/2.0.1
		for dir := path.Dir(file); dir != "/" && dir != "."; dir = path.Dir(dir) {
			if d := path.Base(dir); !version().MatchString(d) && !plainNames[d] {
				return d
			}
		}
	}
	if stem := strings.TrimSuffix(base, path.Ext(base)); plainNames[stem] {
		for dir := path.Dir(file); dir != "/" && dir != "."; dir = path.Dir(dir) {
			if d := path.Base(dir); !plainNames[d] {
				return d + "/" + base
			}
		}
	}
	return base
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
