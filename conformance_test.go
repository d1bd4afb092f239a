package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rules says how many rules docs/conformance.md has of each kind: CHL-1 to CHL-12, and so on.
var rules = map[string]int{
	"CHL": 12, "PRM": 22, "ASM": 15, "ISS": 10, "REG": 26, "RES": 8, "SCP": 8, "AZR": 16, "CBK": 16, "TOK": 17, "USE": 13,
	"RFT": 14, "STP": 9, "REV": 5, "BCK": 7, "XCC": 4, "XEM": 11, "XDP": 8, "XWI": 3, "XDV": 1, "SEC": 23, "BRG": 32,
}

// row is one rule in docs/conformance.md.
type row struct{ id, rule, source, where, proof string }

// excuse comes before the only reason why a rule may have no test.
const excuse = "not ours: "

var (
	rowID   = regexp.MustCompile(`^[A-Z]+-[0-9]+$`)
	inTicks = regexp.MustCompile("`([^`]+)`")
)

// TestConformanceTable: the page has each rule once, and what it names is there.
func TestConformanceTable(t *testing.T) {
	rows := conformanceRows(t)
	missing := map[string]bool{}
	for prefix, n := range rules {
		for i := range n {
			missing[fmt.Sprintf("%s-%d", prefix, i+1)] = true
		}
	}
	tests := testsOfTree(t)
	for _, r := range rows {
		if !missing[r.id] {
			t.Errorf("%s is there twice, or is no rule of the list", r.id)
		}
		delete(missing, r.id)
		if len(r.rule) < 10 || len(r.source) < 3 {
			t.Errorf("%s: rule %q, source %q", r.id, r.rule, r.source)
		}
		files := inTicks.FindAllStringSubmatch(r.where, -1)
		for _, f := range files {
			if _, err := os.Stat(f[1]); err != nil {
				t.Errorf("%s: %v", r.id, err)
			}
		}
		proof, reason, _ := strings.Cut(r.proof, excuse)
		named := inTicks.FindAllStringSubmatch(proof, -1)
		if len(files) == 0 || len(named) == 0 && len(reason) < 10 {
			t.Errorf("%s names no file, or neither a test nor a reason: %s, %s", r.id, r.where, r.proof)
		}
		for _, name := range named {
			if err := tests.has(name[1]); err != nil {
				t.Errorf("%s: %v", r.id, err)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("%s has no row", id)
	}
}

// conformanceRows reads the tables of the page.
func conformanceRows(t *testing.T) (rows []row) {
	t.Helper()
	content, err := os.ReadFile("docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !rowID.MatchString(cells[0]):
		case len(cells) != 5:
			t.Errorf("%d cells in: %s", len(cells), line)
		default:
			rows = append(rows, row{cells[0], cells[1], cells[2], cells[3], cells[4]})
		}
	}
	return rows
}

// testTree is the tests of all packages, whatever they are built for: by package and name.
type testTree map[string]map[string]*ast.FuncDecl

func testsOfTree(t *testing.T) testTree {
	t.Helper()
	tree, set := testTree{}, token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() != "." && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(name))
		if pkg == "." {
			pkg = "main"
		}
		if tree[pkg] == nil {
			tree[pkg] = map[string]*ast.FuncDecl{}
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				tree[pkg][f.Name.Name] = f
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// has reports what is wrong with a name: "package.TestName", or with "/subtest", whose name must stand in the test, or be
// that of a file in its testdata.
func (tree testTree) has(name string) error {
	name, subtest, isSub := strings.Cut(name, ".Test")
	kind := "Test"
	if !isSub {
		if name, subtest, isSub = strings.Cut(name, ".Fuzz"); !isSub {
			return fmt.Errorf("%q is no package.TestName", name)
		}
		kind = "Fuzz"
	}
	function, subtest, isSub := strings.Cut(kind+subtest, "/")
	f := tree[name][function]
	if f == nil {
		return fmt.Errorf("there is no test %s.%s", name, function)
	}
	if !isSub {
		return nil
	}
	if files, _ := filepath.Glob(filepath.Join(name, "testdata", subtest+".*")); len(files) > 0 {
		return nil
	}
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			value, err := strconv.Unquote(lit.Value)
			found = found || err == nil && value == subtest
		}
		return !found
	})
	if !found {
		return fmt.Errorf("%s.%s has no subtest %q", name, function, subtest)
	}
	return nil
}
