package peer

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const statTail = " 10 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 1000 20 18446744073709551615 4096 8192 140000 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

func TestParseStat(t *testing.T) {
	for _, comm := range []string{"cat", "a b", "x) S 1 1 1", ")", "((", "", "\x1b[2J)"} {
		st, err := parseStat([]byte("42 (" + comm + ") S" + statTail))
		if want := (stat{'S', 10, 777, [2]uint64{4096, 140000}}); err != nil || st != want {
			t.Errorf("%q: %+v, %v", comm, st, err)
		}
	}
	good := "42 (x) S" + statTail
	for _, bad := range []string{"", "42 (x", "42 (x)", "42 (x) ", "42 (x) S", "42 (x)S 1", strings.Replace(good, " 777 ", " x ", 1),
		strings.Replace(good, " 10 ", " -1 ", 1), strings.Replace(good, " 10 ", " 99999999999 ", 1), strings.Replace(good, " 777 ", " 99999999999999999999 ", 1)} {
		if st, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, st)
		}
	}
}

func TestReadStatOfThisProcess(t *testing.T) {
	fd, err := unix.Open("/proc/self/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	st, err := readStat(fd)
	if err != nil || st.ppid != os.Getppid() || st.start == 0 || st.mark[0] <= 1 || st.mark[1] <= 1 {
		t.Errorf("%+v, %v", st, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (x) S" + statTail))
	f.Add([]byte("42 (x) ) S 1 2 3"))
	f.Fuzz(func(t *testing.T, line []byte) {
		st, err := parseStat(line)
		if err == nil && st.ppid < 0 {
			t.Errorf("%+v", st)
		}
		if i := strings.LastIndexByte(string(line), ')'); err == nil { // what stands in the name never counts
			other, err := parseStat([]byte("1 ()" + string(line[i+1:])))
			if err != nil || other != st {
				t.Errorf("%+v and %+v, %v", st, other, err)
			}
		}
	})
}

func TestSplitArgs(t *testing.T) {
	for in, want := range map[string][]string{
		"":                  nil,
		"\x00\x00":          nil,
		"a\x00":             {"a"},
		"a":                 {"a"},
		"a\x00\x00b c\x00":  {"a", "", "b c"},
		"title\x00\x00\x00": {"title"},
		"a\x00" + strings.Repeat("b", maxArgBytes-2): {"a"}, // cut off: no part of an argument
		strings.Repeat("a\x00", 100):                 slices.Repeat([]string{"a"}, maxArgs),
	} {
		if got := splitArgs([]byte(in)); !slices.Equal(got, want) {
			t.Errorf("%.20q: %q", in, got)
		}
	}
}

func FuzzSplitArgs(f *testing.F) {
	f.Add([]byte("a\x00b\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		args := splitArgs(b[:min(len(b), maxArgBytes)])
		if len(args) > maxArgs || strings.Contains(strings.Join(args, ""), "\x00") || len(strings.Join(args, "")) > len(b) {
			t.Errorf("%q", args)
		}
	})
}

func TestFlatpakID(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "",
		"name=org.example.A\n":              "",
		"[Runtime]\nname=org.example.A\n":   "",
		"[Application]\nname=org.example.A": "org.example.A",
		"[Application]\r\nname=org.a.B-c_d\n[X]\nname=org.b.C\n": "org.a.B-c_d",
		"[Application]\nname=plain\n":                            "",
		"[Application]\nname=org.example/../A\n":                 "",
		"[Application]\nname=org.exa mple\n":                     "",
		"[Application]\nname=org." + strings.Repeat("a", 300):    "",
		"[Application]\nname=org.exa\u202emple.A\n":              "",
	} {
		if got := flatpakID([]byte(in)); got != want {
			t.Errorf("%.40q: %q", in, got)
		}
	}
}

func FuzzFlatpakID(f *testing.F) {
	f.Add([]byte("[Application]\nname=org.example.A\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id := flatpakID(b); id != "" && (!isAppID(id) || keyPath(id) != id || clean(id) != id) {
			t.Errorf("%q", id)
		}
	})
}

func TestSnap(t *testing.T) {
	for label, want := range map[string]string{
		"snap.firefox.firefox (enforce)\n":   "firefox",
		"snap.a-b.c.hook.install (enforce)":  "a-b",
		"snap.code.code (complain)\n":        "",
		"snap.code.code\n":                   "",
		"unconfined\n":                       "",
		"snap. (enforce)":                    "",
		"firefox (enforce)":                  "",
		"unconfined_u:unconfined_r:x:s0\x00": "",
	} {
		if got, confined := snapLabel(label); got != want || confined != (want != "") {
			t.Errorf("%q: %q, %v", label, got, confined)
		}
	}
	for path, want := range map[string]string{
		"/snap/code/123/usr/share/code/code": "code",
		"/var/lib/snapd/snap/go/1/bin/x":     "go",
		"/snap/bin/code":                     "",
		"/snap/x":                            "",
		"/home/u/snap/code/1/x":              "",
	} {
		if got := snapOfPath(path); got != want {
			t.Errorf("%q: %q", path, got)
		}
	}
}

func TestKindsThatNeedNoProcess(t *testing.T) {
	n := newNamer(nil)
	for name, c := range map[string]struct {
		seen seen
		kind kind
		key  string
		lvl  Level
	}{
		"confined snap":       {seen{exe: "/usr/bin/python3.11", place: unseen, snap: "x", confined: true}, sandboxed, "snap:x", Sandbox},
		"classic snap":        {seen{exe: "/snap/code/1/code", place: fixed, system: true, snap: "code"}, program, "snap:code", SystemPath},
		"interpreter of snap": {seen{exe: "/snap/x/1/bin/python3", place: fixed, system: true, snap: "x"}, interpreter, "", SelfReported},
		"no executable":       {seen{}, hidden, "", Unknown},
		"elsewhere":           {seen{exe: "/usr/bin/code", place: unseen, system: true}, hidden, "", Unknown},
		"a shell elsewhere":   {seen{exe: "/usr/bin/bash", place: unseen, system: true}, hidden, "", Unknown},
		"updated shell":       {seen{exe: "/usr/bin/bash", place: removed, system: true}, launcher, "", Path},
		"loader":              {seen{exe: "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", place: fixed, system: true}, interpreter, "", SelfReported},
		"odd path":            {seen{exe: "/opt/a#b|c%d\n\u202e", place: fixed, system: true}, program, "exe:/opt/a%23b%7Cc%25d%0A%E2%80%AE", SystemPath},
	} {
		p := &proc{Process: Process{PID: 1 << 30, Exe: c.seen.exe}, life: life{-1, -1, -1, -1, unix.Stat_t{}}}
		f := &facts{Process: p.Process}
		n.judge(f, p, c.seen)
		if f.kind != c.kind || c.kind != launcher && (f.host.Key != c.key || f.host.Level != c.lvl) {
			t.Errorf("%s: kind %d, %+v", name, f.kind, f.host)
		}
		if s := f.host.Name + f.host.Facts; clean(s) != s {
			t.Errorf("%s: %q is shown", name, s)
		}
	}
}

func TestKnowForgetsWhatNoLongerRuns(t *testing.T) {
	n := newNamer(nil)
	for i := range maxFacts + 1 {
		n.facts[1<<30+i] = &facts{}
	}
	p := selfProc(t)
	n.know(p)
	if len(n.facts) != 1 || n.facts[p.PID] == nil {
		t.Errorf("%d", len(n.facts))
	}
	n.facts[p.PID].Args = []string{"remembered"}
	n.know(p)
	if !slices.Equal(p.Args, []string{"remembered"}) {
		t.Error("read twice")
	}
	p.mark[1]++ // as after an exec
	n.know(p)
	if slices.Equal(p.Args, []string{"remembered"}) || p.Args[0] != os.Args[0] {
		t.Errorf("%q of %s is remembered after an exec", p.Args, strconv.Itoa(p.PID))
	}
}
