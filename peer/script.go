package peer

import "strings"

// baseName is a program's name as the tables below spell it: lower case, no ".exe", no version behind it.
func baseName(exe string) string {
	if i := strings.LastIndexAny(exe, `/\`); i >= 0 {
		exe = exe[i+1:]
	}
	return strings.TrimSuffix(strings.ToLower(exe), ".exe")
}

func words(s string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		set[w] = true
	}
	return set
}

// shells run what they are told to, for whoever started them.
var shells = words(`sh bash zsh fish dash ash ksh ksh93 mksh tcsh csh busybox nu elvish cmd powershell pwsh`)

// launchers also only run others, or carry bytes for others: a consent for one of them would be one for everything.
var launchers = words(`env sudo doas timeout nohup xargs setsid nice stdbuf time watch parallel find entr strace
	npx npm uv uvx corepack make gmake just ninja go cargo git
	tmux screen zellij login sshd sshd-session systemd init tini dumb-init catatonit docker-init
	curl socat nc nc.openbsd nc.traditional ncat
	conhost openconsole`)

// launcherScripts are launchers that are scripts of an interpreter.
var launcherScripts = words(`npm npm-cli.js npx npx-cli.js corepack corepack.js pnpm pnpm.cjs yarn yarn.js`)

func isShell(exe string) bool { return shells[baseName(exe)] }

func isLauncher(exe string) bool { return isShell(exe) || launchers[baseName(exe)] }

// syntax says which arguments of an interpreter may stand before its script. Every other option means doubt: it may
// run code from elsewhere (-e, -c, -m, --require), so there is no key and the person is asked each time.
type syntax struct {
	flags  string          // letters of options that take no value and may be run together: -uI
	bare   map[string]bool // options that take no value, or carry it behind "="; "-X*" stands for all that begin with -X
	valued map[string]bool // options whose value is the next argument
	file   map[string]bool // options whose value is the script
	sub    map[string]bool // commands before the script
	dotted bool            // a name without "." and "/" may be a task instead of a file
	opaque bool            // what runs is never one file among the arguments
}

var shellSyntax = syntax{
	flags:  "aefhlmpuvxBCEHPT",
	bare:   words(`--login --norc --noprofile --posix -NoLogo -NoProfile -NonInteractive`),
	valued: words(`-o -O +o +O`),
	file:   words(`-File`),
}

// interpreters is the syntax of each program whose name says nothing of what it runs.
var interpreters = map[string]syntax{
	"python": pythonSyntax, "pythonw": pythonSyntax, "pypy": pythonSyntax,
	"node": nodeSyntax, "nodejs": nodeSyntax,
	"deno":      {sub: words("run"), bare: words("-A -q --quiet --allow-* --deny-* --unstable* --no-check --no-prompt --cached-only --no-lock"), dotted: true},
	"bun":       {sub: words("run"), bare: words("--silent --bun --no-install --smol"), dotted: true},
	"ruby":      {flags: "wUvW", bare: words("--yjit --jit -W*")},
	"perl":      {flags: "wWtTX"},
	"php":       {flags: "qn", file: words("-f --file")},
	"lua":       {flags: "EW"},
	"luajit":    {},
	"java":      {bare: words("-Xmx* -Xms* -Xss* -D* -ea -server --enable-preview --enable-native-access=*"), file: words("-jar")},
	"javaw":     {bare: words("-Xmx* -Xms* -Xss* -D* -ea -server"), file: words("-jar")},
	"r":         {},
	"rscript":   {bare: words("--vanilla --no-save --no-restore")},
	"osascript": {},
	"tclsh":     {}, "wish": {}, "expect": {},
	"julia": {}, "guile": {}, "gjs": {}, "qjs": {}, "escript": {}, "dotnet": {}, "mono": {}, "mono-sgen": {},
	"electron": {}, "wscript": {}, "cscript": {}, "py": {}, "pyw": {},
	"awk": opaque, "gawk": opaque, "mawk": opaque, "beam.smp": opaque, "emacs": opaque, "mshta": opaque, "rundll32": opaque,
	"wine": opaque, "wine64": opaque, "wine-preloader": opaque, "wine64-preloader": opaque,
}

var opaque = syntax{opaque: true}

var pythonSyntax = syntax{
	flags:  "bBdEIOPqRsSuvx",
	bare:   words(`-W* -X*`),
	valued: words(`-W -X --check-hash-based-pycs`),
}

var nodeSyntax = syntax{
	bare: words(`--no-warnings --no-deprecation --throw-deprecation --pending-deprecation --trace-warnings --trace-deprecation
		--trace-uncaught --enable-source-maps --expose-gc --preserve-symlinks --preserve-symlinks-main --use-system-ca
		--use-openssl-ca --use-bundled-ca --experimental-strip-types --experimental-transform-types --experimental-vm-modules
		--max-old-space-size=* --max-semi-space-size=* --max-http-header-size=* --stack-size=* --unhandled-rejections=*
		--dns-result-order=* --disable-warning=*`),
}

// interpreterOf finds the syntax for an executable. The dynamic loader counts as one: it runs the program it is given.
func interpreterOf(exe string) (syntax, bool) {
	base := baseName(exe)
	if syn, ok := interpreters[base]; ok {
		return syn, true
	}
	if syn, ok := interpreters[strings.TrimRight(base, "0123456789.-_")]; ok { // python3.11, lua5.4, node-22
		return syn, true
	}
	for _, prefix := range []string{"python", "pypy", "php"} { // python3.11-dbg, php-cgi8.2
		if strings.HasPrefix(base, prefix) {
			return interpreters[prefix], true
		}
	}
	for _, prefix := range []string{"ld-linux", "ld-musl", "ld.so", "ld-2."} {
		if strings.HasPrefix(base, prefix) {
			return opaque, true
		}
	}
	return syntax{}, false
}

// script returns the argument that names the script; false when there is none or any doubt.
func (s syntax) script(args []string) (string, bool) {
	if s.opaque || len(args) < 2 {
		return "", false
	}
	args = args[1:]
	if s.sub[args[0]] {
		args = args[1:]
	}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case s.file[arg]:
			if i+1 == len(args) || args[i+1] == "" {
				return "", false
			}
			return args[i+1], true
		case s.valued[arg]:
			i++
		case arg == "" || arg == "-":
			return "", false
		case arg[0] != '-' && arg[0] != '+':
			if s.dotted && !strings.ContainsAny(arg, "./") {
				return "", false
			}
			return arg, true
		case s.isBare(arg) || s.isFlags(arg):
		default:
			return "", false
		}
	}
	return "", false
}

func (s syntax) isBare(arg string) bool {
	if s.bare[arg] {
		return true
	}
	for option := range s.bare {
		if prefix, ok := strings.CutSuffix(option, "*"); ok && strings.HasPrefix(arg, prefix) && len(arg) > len(prefix) {
			return true
		}
	}
	return false
}

func (s syntax) isFlags(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' && strings.Trim(arg[1:], s.flags) == "" && s.flags != ""
}
