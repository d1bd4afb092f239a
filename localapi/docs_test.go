package localapi

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/peer"
)

// The tests in this file hold docs/localapi.md to the truth: its table of errors, its examples and its programs.

func contract(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/localapi.md")
	must(t, err)
	return string(b)
}

// fenced returns the blocks of one language in text.
func fenced(text, language string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

func TestDocErrors(t *testing.T) {
	var want []string
	for _, r := range rows {
		want = append(want, fmt.Sprintf("%s %d %d", r.code, r.status, r.exit))
	}
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` *\\| ([0-9]+) *\\| ([0-9]) ").FindAllStringSubmatch(contract(t), -1) {
		got = append(got, strings.Join(m[1:], " "))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("docs/localapi.md has\n%q\nwant\n%q", got, want)
	}
}

func TestDocExamples(t *testing.T) {
	for heading, types := range map[string][]any{ // the JSON examples under each heading, in order
		"### POST /v1/token":   {&TokenRequest{}, &wireToken{}, &TokenRequest{}, &TokenRequest{}},
		"### POST /v1/explain": {&TokenRequest{}, &Explained{}},
		"### POST /v1/signin":  {&SignInRequest{}, &Grant{}},
		"### POST /v1/forget":  {&ForgetRequest{}, &Forgotten{}},
		"### POST /v1/client":  {&RegistrationRequest{}, &RegistrationRequest{}, &RegistrationRequest{}, &Registered{}},
		"### POST /v1/open":    {&OpenRequest{}, &Opened{}},
		"### GET /v1/grants":   {&Grants{}},
		"### GET /v1/status":   {&Status{}},
		"## Errors":            {&struct{ Error *wireError }{}},
	} {
		_, section, found := strings.Cut(contract(t), "\n"+heading+"\n")
		section, _, _ = strings.Cut(section, "\n##")
		examples := fenced(section, "json")
		if !found || len(examples) != len(types) {
			t.Errorf("%s: %d examples, want %d", heading, len(examples), len(types))
			continue
		}
		for i, example := range examples {
			d := json.NewDecoder(strings.NewReader(example))
			d.DisallowUnknownFields()
			if err := d.Decode(types[i]); err != nil {
				t.Errorf("%s: %v in\n%s", heading, err, example)
			}
			if checked, ok := types[i].(interface{ check() error }); ok && checked.check() != nil {
				t.Errorf("%s: %v in\n%s", heading, checked.check(), example)
			}
		}
	}
	for path, call := range calls {
		if !strings.Contains(contract(t), "\n### "+call.method+" "+path+"\n") {
			t.Errorf("%s %s is not documented", call.method, path)
		}
	}
}

// interpreter is how programs in a language are run, or nil where that cannot be done: TypeScript as it is needs Node
// 22.18, which make test installs beside the end-to-end tests.
func interpreter(language string) []string {
	switch language {
	case "sh", "python":
		needed := map[string]string{"sh": "curl", "python": "python3"}[language]
		if _, err := exec.LookPath(needed); err == nil {
			return []string{map[string]string{"sh": "sh", "python": "python3"}[language]}
		}
	case "ts":
		nodes, _ := filepath.Glob("../e2e/peers/node_modules/node-linux-*/bin/node")
		for _, node := range append(nodes, "node") {
			out, err := exec.Command(node, "-p", "process.features.typescript").Output()
			if err == nil && strings.TrimSpace(string(out)) == "strip" {
				return []string{node, "--no-warnings"}
			}
		}
	}
	return nil
}

// inLanguage runs a program beside the client of its language, with env.
func inLanguage(t *testing.T, language, program string, env ...string) (string, error) {
	t.Helper()
	run := interpreter(language)
	if run == nil {
		t.Skipf("nothing here runs %s", language)
	}
	dir := t.TempDir()
	for _, client := range []string{"valetkey.py", "valetkey.ts"} {
		content, err := os.ReadFile("../docs/clients/" + client)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, client), content, 0o600))
	}
	file := filepath.Join(dir, "program."+language)
	must(t, os.WriteFile(file, []byte(program), 0o600))
	cmd := exec.CommandContext(t.Context(), run[0], append(run[1:], file)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestDocPrograms runs the programs against a server, once for a token and once for an error.
func TestDocPrograms(t *testing.T) {
	for _, language := range []string{"sh", "python", "ts"} {
		programs := fenced(contract(t), language)
		if len(programs) != 1 {
			t.Errorf("%d programs in %s", len(programs), language)
			continue
		}
		t.Run(language, func(t *testing.T) {
			errs := make(chan error, 1) // of the next call
			addr := start(t, ServerConfig{Backend: &fake{token: func(_ context.Context, _ *peer.Peer, r TokenRequest) (*Token, error) {
				if r.Resource != "https://mcp.example.com/mcp" {
					t.Errorf("asked for %q", r.Resource)
				}
				return &Token{AccessToken: secret.New("tok.en")}, <-errs
			}}}, doorBounds)
			errs <- nil
			if out, err := inLanguage(t, language, programs[0], "VK_SOCK="+addr); err != nil || !strings.Contains(out, "tok.en") {
				t.Errorf("%v: %s", err, out)
			}
			errs <- Errorf(ErrLocked, "the keychain is locked").WithHint("unlock it")
			out, err := inLanguage(t, language, programs[0], "VK_SOCK="+addr)
			if err == nil || !strings.Contains(out, "the keychain is locked") || !strings.Contains(out, "unlock it") {
				t.Errorf("an error ends the program with %v: %s", err, out)
			}
		})
	}
}
