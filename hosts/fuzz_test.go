package hosts

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// everyWay adds two entries to a text and takes them out again in both orders. Texts that are refused are left alone;
// every other one must come back as it was.
func everyWay(t *testing.T, f format, text []byte) {
	shape := fields{{"name", "first"}, {"command", `C:\x\vk.exe`}, {"args", []string{"bridge", "https://a.example/mcp"}}, {"enabled", true}}
	if _, ok := f.(shellFile); ok {
		shape = shape[1:3]
	}
	other := append(fields{{"name", "second"}}, shape[1:]...)
	has := func(text []byte, n int) {
		entries, err := f.entries(text)
		if err != nil || len(entries) != n {
			t.Fatalf("%d entries, want %d: %v\n%s", len(entries), n, err, text)
		}
	}
	before, err := f.entries(text)
	if err != nil || hasLoneCR(text) || slices.ContainsFunc(before, func(e found) bool { return e.name == "first" || e.name == "second" }) {
		return
	}
	i, err := f.add(text, "first", shape)
	if err != nil {
		return
	}
	one := i.into(text)
	has(one, len(before)+1)
	i, err = f.add(one, "second", other)
	must(t, err)
	two := i.into(one)
	has(two, len(before)+2)
	take := func(text []byte, name string, was []byte) []byte {
		out, err := f.remove(text, name, was)
		if err != nil {
			t.Fatalf("remove %s: %v\n%q", name, err, text)
		}
		return out
	}
	was := append([]byte{}, text...)
	if got := take(two, "second", was); !bytes.Equal(got, one) {
		t.Errorf("the second taken out:\n%q, want\n%q", got, one)
	} else if got := take(got, "first", was); !bytes.Equal(got, text) {
		t.Errorf("then the first:\n%q, want\n%q, from\n%q", got, text, one)
	}
	if got := take(take(two, "first", was), "second", was); !bytes.Equal(got, text) {
		t.Errorf("the first taken out, then the second:\n%q, want\n%q", got, text)
	}
}

func seed(f *testing.F, of func(*Host) bool) {
	for _, h := range All() {
		if !of(h) {
			continue
		}
		f.Add([]byte(usual(h)))
		f.Add([]byte(empty(h)))
		golden, err := os.ReadFile(filepath.Join("testdata", "golden", h.Key+".txtar"))
		must(f, err)
		for _, file := range txtar.Parse(golden).Files {
			f.Add(file.Data)
			f.Add(bytes.TrimSuffix(bytes.ReplaceAll(file.Data, []byte("\n"), []byte("\r\n")), []byte("\r\n")))
		}
	}
	f.Add([]byte(nil))
	f.Add([]byte("\n\n"))
	f.Add([]byte("# mine"))
}

func FuzzJSON(f *testing.F) {
	seed(f, func(h *Host) bool { _, ok := h.format.(jsonFile); return ok })
	for _, s := range []string{
		"{}", "{ }", "{\n}", " { // c\n } ", `{"s":{}}`, "{\"s\":{\n}}", "{\n\t\"s\": { /* a\n b */ \"x\": 1 }\n}", `{"s":{"a":1,"b":2,}}`, "{\"s\": {\"a\": 1 // c\n, \"b\": 2}}", "// only", "/* a */\n", "{\"s\": {},\n}",
		"{\"m\":{\"s\":{}}}", "{\"m\":{}}", "{\"s\":{}, \"s\":{\"a\":1}}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		everyWay(t, jsonFile{at: [][]string{{"m", "s"}, {"s"}}}, text)
		everyWay(t, jsonFile{at: [][]string{{"mcpServers"}}, strict: true}, text)
	})
}

func FuzzTOML(f *testing.F) {
	seed(f, func(h *Host) bool { _, ok := h.format.(tomlFile); return ok })
	for _, s := range []string{
		"a = 1", "[mcp_servers]\n", "[mcp_servers]\na.command = 'x'\n[b]\n", "mcp_servers.a.command = 'x'", "x = '''\n[mcp_servers.first]\n'''", "[[a]]\n[[a]]\n# [mcp_servers.first]\n",
		"[ mcp_servers . \"a b\" ]\n", "a = [\n1, # one\n]\n\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) { everyWay(t, tomlFile{table: "mcp_servers"}, text) })
}

func FuzzYAML(f *testing.F) {
	seed(f, func(h *Host) bool { _, ok := h.format.(yamlFile); return ok })
	for _, key := range []string{"extensions", "mcpServers"} {
		for _, s := range []string{
			"%s:", "%s:\n", "%s: # c\n\n", "%s: {}", "%s: []", "{%s: {}}", "{%s: []}", "{}", "{a: 1}", "---\n", "--- \na: 1\n...\n", "a: |+\n  x\n\n", "a: |\n  x", "%s:\n- name: a\n", "%s:\n    b: {c: d}\nz: 1", "? %s\n: a: {}\n",
			"%s: &x\n  a: {}\nb: *x\n", "  %s:\n    a: {}\n", "%s:\n  a:\n    b: 'x\n\n      y'\n# c\n", "%s: null\n", "%s: !", "%s: # c\n     !", "%s:\n   #", "é: {%s: 1}\n%s: {é: {a: 1}}\n", "{ \"é\": 1, %s: { \"é\": {} } }",
		} {
			f.Add([]byte(fmt.Sprintf(s, key)))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		everyWay(t, yamlFile{key: "extensions"}, text)
		everyWay(t, yamlFile{key: "mcpServers", list: true}, text)
	})
}

func FuzzShell(f *testing.F) {
	seed(f, func(h *Host) bool { _, ok := h.format.(shellFile); return ok })
	for _, s := range []string{"cat <<E\nx\nE", "cat <<E\nx", "a \\\n", "a \\", "a &", "a;", "{ a\n}", "mcp add x # c", "exit 0", "(", "'"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) { everyWay(t, shellFile{}, text) })
}
