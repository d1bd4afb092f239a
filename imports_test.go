package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/valetkey/valetkey"

// floors says which packages of the module each package may import, and why. Tests may import more; docs/architecture.md
// draws the same.
var floors = map[string]struct {
	may []string
	why string
}{
	".":                    {[]string{"broker", "client", "discovery", "face", "gateway", "hosts", "internal/owned", "internal/secret", "keystore", "localapi", "oauthflow", "outbound", "peer", "policy", "terminal", "windows"}, "a program wires everything"},
	"cmd/vk":               {[]string{"bridge", "client", "hosts", "internal/secret", "internal/untrusted", "localapi", "quirk"}, "the command line starts in milliseconds and holds no secret"},
	"cmd/valetkey-window":  {[]string{"app", "assets", "windows"}, "Fyne's driver and the windows, and nothing else"},
	"internal/demo/vkdemo": {[]string{"internal/demo", "localapi", "localapi/mcpauth"}, "a host, an issuer and a server know nothing of the inside"},
	"app":                  {[]string{"client", "face", "internal/secret", "internal/untrusted", "localapi", "peer", "quirk"}, "a face draws what face carries and decides nothing"},
	"tray":                 {[]string{"face", "internal/untrusted", "localapi"}, "a face draws what face carries and decides nothing"},
	"windows":              {[]string{"assets", "face", "internal/owned", "localapi", "tray"}, "it starts the windows and carries what they say, and the tray is beside them"},
	"terminal":             {[]string{"client", "face", "internal/secret", "internal/untrusted", "localapi", "peer"}, "a face draws what face carries and decides nothing"},
	"gateway":              {[]string{"discovery", "internal/sse", "internal/untrusted", "localapi", "outbound", "peer"}, "it forwards what the broker allows, and must tell what the guard refused from what the network lost"},
	"bridge":               {[]string{"internal/sse", "localapi"}, "it carries messages and knows nothing of what is in them that is secret"},
	"hosts":                {[]string{"face", "internal/untrusted", "localapi"}, "it edits files that others own and knows nothing of what is in them that is secret"},
	"broker":               {[]string{"broker/asking", "broker/enterprise", "broker/ledger", "broker/signin", "broker/tokens", "client", "discovery", "dpop", "face", "internal/secret", "internal/untrusted", "keystore", "localapi", "oauthflow", "peer", "quirk", "words"}, "the head speaks to the person in face's words and to hosts in localapi's"},
	"broker/signin":        {[]string{"broker/ledger", "client", "discovery", "dpop", "face", "internal/secret", "localapi", "oauthflow", "peer", "quirk", "words"}, "it asks through a func, and gives an outcome that the head writes down"},
	"broker/tokens":        {[]string{"broker/ledger", "client", "discovery", "dpop", "face", "internal/secret", "keystore", "localapi", "oauthflow", "quirk", "tokencheck", "words"}, "it gets tokens with what the ledger keeps, and asks nobody"},
	"broker/enterprise":    {[]string{"broker/ledger", "client", "discovery", "internal/secret", "keystore", "oauthflow"}, "it knows who the person is at their enterprise, and nothing of the servers where that counts"},
	"broker/ledger":        {[]string{"client", "internal/secret", "keystore", "localapi", "quirk", "words"}, "it knows the keychain and nothing of questions, sign-ins or tokens"},
	"words":                {nil, "it shapes text and knows nothing of what it is about"},
	"broker/asking":        {[]string{"face", "localapi", "peer"}, "it takes questions and knows nothing of what they are about"},
	"face":                 {[]string{"internal/secret", "localapi", "peer", "quirk"}, "words, no rules"},
	"tokencheck":           {[]string{"internal/secret", "internal/untrusted", "localapi", "quirk"}, "it reads tokens and says what it found in localapi's words; it fetches nothing"},
	"oauthflow":            {[]string{"assets", "client", "discovery", "dpop", "internal/secret", "internal/untrusted", "quirk"}, "one conversation with an issuer"},
	"policy":               {[]string{"client", "face", "internal/owned", "internal/secret", "internal/untrusted", "localapi", "quirk"}, "it answers face's questions from a file, and asks nobody"},
	"discovery":            {[]string{"internal/untrusted", "outbound"}, "it must tell what the guard refused from what the network lost"},
	"outbound":             {[]string{"internal/untrusted"}, "the ground"},
	"localapi":             {[]string{"client", "internal/secret", "peer", "quirk"}, "the door names who knocks"},
	"localapi/mcpauth":     {[]string{"internal/secret", "localapi"}, "a host's side of the socket: it knows what the app answers and nothing of how"},
	"client":               {[]string{"internal/owned", "internal/secret", "internal/untrusted"}, "the ground"},
	"quirk":                {nil, "a table, and what is read about its rows"},
	"keystore":             {nil, "the ground"},
	"peer":                 {nil, "the ground"},
	"assets":               {nil, "the ground"},
	"assets/gen":           {nil, "it draws pictures and knows nothing of where they are shown"},
	"dpop":                 {[]string{"internal/secret"}, "the ground"},
	"internal/secret":      {nil, "the ground"},
	"internal/sse":         {nil, "the ground"},
	"internal/untrusted":   {nil, "the ground"},
	"internal/owned":       {nil, "the ground"},
	"internal/demo":        {[]string{"internal/secret"}, "the demo's issuer and server know nothing of the inside"},
	"internal/oauthtest":   {[]string{"internal/demo"}, "a double for tests"},
	"e2e/rig":              {[]string{"internal/demo", "localapi", "oauthflow"}, "it runs the programs as they are, and is a host, an issuer and a server beside them"},
	"e2e/headless":         {nil, "it holds tests alone, which stand on e2e/rig"},
	"e2e/desktop":          {nil, "it holds tests alone, which stand on e2e/rig"},
	"e2e/hosts":            {nil, "it holds tests alone, which stand on e2e/rig"},
	"e2e/issuers":          {nil, "it holds tests alone, which stand on e2e/rig"},
	"e2e/bench":            {[]string{"*"}, "it measures everything"},
	"e2e/conformance":      {[]string{"localapi"}, "a host knows nothing of the inside, but when the app is ready"},
	"e2e/mutate":           {nil, "it reads and breaks files, and needs no code of theirs"},
}

// confined says in which packages a package from outside may be imported.
var confined = map[string][]string{
	"fyne.io/fyne/v2/app":           {"cmd/valetkey-window"},
	"fyne.io/fyne/v2":               {"cmd/valetkey-window", "app"},
	"fyne.io/systray":               {"tray"},
	"github.com/go-gl/glfw":         {"cmd/valetkey-window"},
	"github.com/zalando/go-keyring": {"keystore"},
	"github.com/pkg/browser":        {"oauthflow"},
	"github.com/spf13/cobra":        {"cmd/vk"},
}

// unreachable says what a package must not reach even through others.
var unreachable = map[string][]string{
	".":                   {"fyne.io/fyne", "github.com/go-gl"},
	"cmd/vk":              {"fyne.io", "github.com/spf13/cobra/doc", "github.com/zalando/go-keyring", module + "/broker", module + "/keystore", module + "/oauthflow", module + "/discovery", module + "/outbound", module + "/policy"},
	"cmd/valetkey-window": {module + "/broker", module + "/keystore", module + "/oauthflow", module + "/discovery", module + "/policy", module + "/hosts"},
	// The SDK's interface is met without the SDK, and x/oauth2 is not for vk to carry.
	"localapi":         {"golang.org/x/oauth2", "github.com/modelcontextprotocol"},
	"localapi/mcpauth": {"github.com/modelcontextprotocol", module + "/discovery", module + "/outbound"},
}

// environs are the packages that may read the environment: programs, and localapi for the socket's address.
var environs = []string{".", "cmd/vk", "cmd/valetkey-window", "internal/demo/vkdemo", "localapi", "e2e/rig", "e2e/bench", "e2e/conformance"}

// revealers are the files that may open a secret.Text, and for whom.
var revealers = map[string]string{
	"broker/ledger/record.go":     "the keychain",
	"client/sealed.go":            "the keychain, and the app to which the person hands a client",
	"cmd/vk/token.go":             "the host that ran vk",
	"cmd/vk/headers.go":           "the host that ran vk",
	"face/conn.go":                "the resident process, which a window hands a client secret",
	"gateway/exchange.go":         "the server the token is for",
	"internal/secret":             "itself",
	"localapi/mcpauth/mcpauth.go": "the host that asked",
	"localapi/wire.go":            "the host that asked",
	"tokencheck/tokencheck.go":    "nobody: what it says of a token does not hold it",
	"oauthflow/way_assertion.go":  "the issuer, and the enterprise's",
	"oauthflow/identity.go":       "nobody: what it reads of an ID token leaves as a verdict",
	"oauthflow/tokens.go":         "the issuer",
	"oauthflow/key.go":            "nobody: it reads a key that signs",
	"dpop/dpop.go":                "the keychain, and whoever checks the proof",
	"oauthflow/way_redirect.go":   "the issuer",
	"oauthflow/way_device.go":     "the issuer",
}

type pkg struct {
	ImportPath     string
	Dir            string
	Standard       bool
	GoFiles        []string
	CgoFiles       []string
	IgnoredGoFiles []string
	Imports        []string
	Deps           []string
}

func (p pkg) name() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Standard,GoFiles,CgoFiles,IgnoredGoFiles,Imports,Deps"}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1") // all files, also where the test itself is built without
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func within(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func TestImportsGoDownOnly(t *testing.T) {
	used := map[string]bool{} // "importer imported"
	for _, tags := range []string{"", "e2e"} {
		for _, p := range list(t, "-tags", tags, "./...") {
			floor, known := floors[p.name()]
			if !known {
				t.Errorf("package %s stands on no floor: give it a row in floors and a place in docs/architecture.md", p.name())
				continue
			}
			for _, imported := range p.everywhere(t) {
				own, isOwn := strings.CutPrefix(imported, module+"/")
				used[p.name()+" "+own] = true
				if isOwn && !slices.Contains(floor.may, own) && !slices.Contains(floor.may, "*") {
					t.Errorf("%s imports %s: %s", p.name(), own, floor.why)
				}
				for outside, homes := range confined {
					if within(imported, outside) && !slices.Contains(homes, p.name()) && !confinedCloser(imported, outside, p.name()) {
						t.Errorf("%s imports %s, which only %v may", p.name(), imported, homes)
					}
				}
			}
		}
	}
	for name, floor := range floors {
		for _, may := range floor.may {
			if may != "*" && !used[name+" "+may] {
				t.Errorf("%s does not import %s: strike it from its row in floors", name, may)
			}
		}
	}
}

// everywhere are p's imports on every system, whatever is being built here.
func (p pkg) everywhere(t *testing.T) (imports []string) {
	t.Helper()
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			imports = append(imports, imported)
		}
	}
	return imports
}

// confinedCloser reports whether a longer row of confined speaks for imported and lets name in.
func confinedCloser(imported, outside, name string) bool {
	for longer, homes := range confined {
		if len(longer) > len(outside) && within(imported, longer) && slices.Contains(homes, name) {
			return true
		}
	}
	return false
}

func TestUnreachable(t *testing.T) {
	for name, banned := range unreachable {
		for _, p := range list(t, "./"+name) {
			for _, dep := range p.Deps {
				for _, b := range banned {
					if within(dep, b) {
						t.Errorf("%s reaches %s", name, dep)
					}
				}
			}
		}
	}
}

// goFiles parses every file of the module, for whatever system and tags, but what lies in testdata.
func goFiles(t *testing.T) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	set, files := token.NewFileSet(), map[string]*ast.File{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() != "." && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".go"):
			files[filepath.ToSlash(path)], err = parser.ParseFile(set, path, nil, 0)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return set, files
}

// TestNoCgo: on Linux and Windows valetkey and vk are pure Go, so that they load no library and run on a machine without one.
func TestNoCgo(t *testing.T) {
	for _, system := range []string{"linux", "windows"} {
		t.Setenv("GOOS", system)
		for _, p := range list(t, "-deps", ".", "./cmd/vk") {
			if len(p.CgoFiles) > 0 && !p.Standard {
				t.Errorf("on %s a program reaches %s, which has C in it", system, p.ImportPath)
			}
		}
	}
}

// TestCallsInTheirPlaces looks for calls that only some packages may make.
func TestCallsInTheirPlaces(t *testing.T) {
	set, files := goFiles(t)
	for file, parsed := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		dir := path.Dir(file)
		imports := map[string]bool{}
		for _, spec := range parsed.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			imports[name] = true
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, _ := sel.X.(*ast.Ident)
			at := set.Position(sel.Pos())
			switch of := sel.Sel.Name; {
			case x != nil && x.Name == "os" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, of) && !slices.Contains(environs, dir):
				t.Errorf("%s: os.%s: only programs and localapi read the environment", at, of)
			case x != nil && x.Name == "http" && imports["net/http"] && slices.Contains([]string{"DefaultClient", "DefaultTransport", "Get", "Post", "PostForm", "Head"}, of):
				t.Errorf("%s: http.%s: every request goes through outbound, or a client made for its one purpose", at, of)
			case of == "Reveal" && revealers[file] == "" && revealers[dir] == "":
				t.Errorf("%s: a secret is opened here; only these may: %v", at, revealers)
			}
			return true
		})
	}
}
