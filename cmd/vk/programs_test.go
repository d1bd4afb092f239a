package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// The pair to compare: vk as a whole process, and the least a Go program can do for the same answer.

func BenchmarkVKToken(b *testing.B) { benchProcess(b, ".", "token", "https://mcp.example.com/mcp") }
func BenchmarkBareProgram(b *testing.B) {
	benchProcess(b, "./testdata/bare", "https://mcp.example.com/mcp")
}

// TestManPages makes the man pages as make man does: one for vk and one for each verb, with all its flags.
func TestManPages(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "-tags", "man", ".", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range new(program).root().Commands() {
		if c.Name() == "help" {
			continue
		}
		page, err := os.ReadFile(filepath.Join(dir, "vk-"+c.Name()+".1"))
		if err != nil {
			t.Error(err)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(string(page), `\fB--`+f.Name+`\fP`) {
				t.Errorf("vk-%s.1 says nothing of --%s", c.Name(), f.Name)
			}
		})
	}
	if page, err := os.ReadFile(filepath.Join(dir, "vk.1")); err != nil || !strings.Contains(string(page), ".EX\n") || !strings.Contains(string(page), "VK_SOCK") {
		t.Errorf("%v: %s", err, page)
	}
}

func benchProcess(b *testing.B, source string, args ...string) {
	program := filepath.Join(b.TempDir(), "program")
	build := exec.Command("go", "build", "-trimpath", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	a := &app{discard: true}
	address := a.serve(b, map[string]string{"token": `{"access_token":"` + strings.Repeat("x", 800) + `","token_type":"Bearer","scope":"a","resource":"r","issuer":"i","account":"work"}`})
	addr, _ := address()
	for b.Loop() {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "VK_SOCK="+addr)
		if out, err := cmd.Output(); err != nil || len(out) < 800 {
			b.Fatalf("%v: %s", err, out)
		}
	}
}
