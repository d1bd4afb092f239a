package peer

import (
	"slices"
	"strings"
	"testing"
)

func TestScriptArgument(t *testing.T) {
	for line, want := range map[string]string{
		"python3.11 a.py -c x":               "a.py",
		"python3 -u a.py":                    "a.py",
		"python3 -uI -W ignore -X dev a.py":  "a.py",
		"python3 -Wignore a.py":              "a.py",
		"python3 -c code a.py":               "",
		"python3 -Ic code a.py":              "",
		"python3 -m mod a.py":                "",
		"python3 -i a.py":                    "",
		"python3 --unknown a.py":             "",
		"python3 - a.py":                     "",
		"python3 -W":                         "",
		"python3":                            "",
		"node a.js":                          "a.js",
		"node --no-warnings a.js":            "a.js",
		"node --max-old-space-size=4096 a":   "a",
		"node --max-old-space-size= a":       "",
		"node --max-old-space-size 4096 a":   "",
		"node -r ./b.js a.js":                "",
		"node --require ./b.js a.js":         "",
		"node --require=./b.js a.js":         "",
		"node --import tsx a.ts":             "",
		"node -e code a.js":                  "",
		"node --inspect a.js":                "",
		"deno run -A --allow-net=x a.ts":     "a.ts",
		"deno task build":                    "",
		"deno eval code":                     "",
		"bun run dev":                        "",
		"bun run ./dev":                      "./dev",
		"bun a.ts":                           "a.ts",
		"java -Xmx1g -jar a.jar":             "a.jar",
		"java -cp a.jar Main":                "",
		"java -javaagent:x.jar -jar a.jar":   "",
		"java -jar":                          "",
		"ruby -w a.rb":                       "a.rb",
		"ruby -rb a.rb":                      "",
		"perl -wT a.pl":                      "a.pl",
		"perl -MX a.pl":                      "",
		"php -f a.php":                       "a.php",
		"php -r code":                        "",
		"osascript a.scpt":                   "a.scpt",
		"osascript -e code":                  "",
		"lua5.4 a.lua":                       "a.lua",
		"gawk a.awk":                         "",
		"ld-linux-x86-64.so.2 /usr/bin/code": "",
		"python3.11-dbg a.py":                "a.py",
		"Python a.py":                        "a.py",
		"python.exe a.py":                    "a.py",
	} {
		args := strings.Fields(line)
		syn, ok := interpreterOf("/usr/bin/" + args[0])
		if !ok {
			t.Errorf("%s is no interpreter", args[0])
		}
		if got, ok := syn.script(args); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", line, got, ok)
		}
	}
	for line, want := range map[string]string{
		"bash a.sh": "a.sh", "-bash": "", "bash": "", "bash -c x": "", "bash -l": "", "bash -ex a.sh": "a.sh", "sh -s a": "",
		"bash --rcfile x a.sh": "", "bash -o pipefail a.sh": "a.sh", "bash +x a.sh": "", "pwsh -NoProfile -File a.ps1": "a.ps1",
		"bash -xc x": "",
	} {
		if got, _ := shellSyntax.script(strings.Fields(line)); got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func TestWhatIsAnInterpreterOrLauncher(t *testing.T) {
	for _, exe := range []string{"/usr/bin/python3.11", "/usr/bin/nodejs", "/usr/lib/R/bin/exec/R", "/x/php-cgi8.2", "/x/ruby3.1", "/x/pypy3.10", "/lib/ld-musl-x86_64.so.1", `C:\Python\python.exe`} {
		if _, ok := interpreterOf(exe); !ok {
			t.Errorf("%s is one", exe)
		}
	}
	for _, exe := range []string{"/usr/bin/claude", "/usr/bin/luakit", "/usr/bin/node_exporter", "/usr/bin/code", "/usr/bin/rustc", "/usr/bin/pyright"} {
		if _, ok := interpreterOf(exe); ok || isLauncher(exe) {
			t.Errorf("%s is none", exe)
		}
	}
	for exe, shell := range map[string]bool{"/usr/bin/bash": true, "/usr/bin/sudo": false, `C:\Windows\System32\cmd.exe`: true, "/usr/bin/tmux": false, "/usr/lib/systemd/systemd": false, "/usr/bin/curl": false} {
		if !isLauncher(exe) || isShell(exe) != shell {
			t.Errorf("%s", exe)
		}
	}
}

func FuzzScriptArgument(f *testing.F) {
	f.Add("python3", "-u\x00a.py")
	f.Add("node", "--require\x00x\x00a.js")
	f.Fuzz(func(t *testing.T, exe, line string) {
		syn, _ := interpreterOf(exe)
		args := append([]string{exe}, strings.Split(line, "\x00")...)
		if arg, ok := syn.script(args); ok != (arg != "") || ok && !slices.Contains(args[1:], arg) {
			t.Errorf("%q of %q, %v", arg, args, ok)
		}
	})
}

func TestDisplayName(t *testing.T) {
	for path, want := range map[string]string{
		"/usr/bin/code": "code",
		"/home/u/.local/share/claude/versions/2.0.1":                                   "claude",
		"/home/u/.local/bin/claude":                                                    "claude",
		"/home/u/x/my-agent.py":                                                        "my-agent.py",
		"/home/u/myagent/main.py":                                                      "myagent/main.py",
		"/home/u/myagent/src/__main__.py":                                              "myagent/__main__.py",
		"/usr/lib/node_modules/@example/agent/cli.js":                                  "@example/agent",
		"/x/node_modules/a/node_modules/b/dist/index.js":                               "b",
		"/x/node_modules/@openai/codex-linux-x64/vendor/bin/codex":                     "@openai/codex",
		"/x/node_modules/agent-linux-arm64-musl/bin/agent":                             "agent",
		"/x/node_modules/linux-arm-tools/index.js":                                     "linux-arm-tools",
		"/Applications/Claude.app/Contents/MacOS/Claude":                               "Claude",
		"/Applications/A.app/Contents/Frameworks/A Helper.app/Contents/MacOS/A Helper": "A",
		`C:\Program Files\Code\Code.exe`:                                               "Code",
		"/index.js":                                                                    "index.js",
		"/1.0":                                                                         "1.0",
	} {
		if got := displayName(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	if got := clean("a\u202eb\x1b[2J\nc\u200bd\xff é 日本"); got != "a\ufffdb\ufffd[2J\ufffdc\ufffdd\ufffd é 日本" {
		t.Errorf("%q", got)
	}
	if got := short(strings.Repeat("é", 100), maxName); len([]rune(got)) != maxName || !strings.Contains(got, "…") {
		t.Errorf("%q", got)
	}
	if got := clean("/" + strings.Repeat("a", 5000) + "/end"); len([]rune(got)) != maxText || !strings.HasSuffix(got, "/end") {
		t.Errorf("%q", got)
	}
	for in, want := range map[string]string{"/usr/bin/x y": "/usr/bin/x y", "/a#b|c%": "/a%23b%7Cc%25", "/\xff\n": "/%FF%0A"} {
		if got := keyPath(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestLevelNames(t *testing.T) {
	for l, want := range map[Level]string{Unknown: "unknown", SelfReported: "self-reported", Path: "path", SystemPath: "system path", Sandbox: "sandbox", Signed: "signed"} {
		if l.String() != want {
			t.Errorf("%d: %s", l, l)
		}
	}
}

func TestSplitProcArgs(t *testing.T) {
	for in, want := range map[string][]string{
		"":                       nil,
		"\x02\x00\x00":           nil,
		"\x02\x00\x00\x00/bin/x": nil,
		"\x02\x00\x00\x00/bin/x\x00\x00\x00x\x00-a\x00HOME=/x\x00": {"x", "-a"},
		"\x01\x00\x00\x00/bin/x\x00x\x00SECRET=1\x00":              {"x"},
		"\x09\x00\x00\x00/bin/x\x00x\x00cut":                       {"x"},
		"\xff\xff\xff\xff/bin/x\x00x\x00":                          {"x"},
	} {
		if got := splitProcArgs([]byte(in)); !slices.Equal(got, want) {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func FuzzSplitProcArgs(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00/bin/x\x00\x00\x00x\x00-a\x00HOME=/x\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		args := splitProcArgs(b)
		if size := len(strings.Join(args, "")); len(args) > maxArgs || size > maxArgBytes || size > len(b) {
			t.Errorf("%q", args)
		}
	})
}
