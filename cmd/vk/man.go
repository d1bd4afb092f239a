//go:build man

// The program that writes the man pages of vk, into the folder it is given: vk with another main, because what makes man
// pages is not for vk to carry.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra/doc"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "man: give the folder to write to")
		os.Exit(2)
	}
	if err := pages(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

func pages(folder string) error {
	root := new(program).root()
	for _, c := range append(root.Commands(), root) {
		c.Long = markdown(c.Long)
	}
	root.DisableAutoGenTag = true
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "Valet Key", Manual: "Valet Key"}, folder)
}

// markdown is a help text as the pages are made from it: what is indented stays as it is, in a block of its own.
func markdown(help string) string {
	var out strings.Builder
	blank := true
	for line := range strings.Lines(help) {
		if strings.HasPrefix(line, "  ") {
			if !blank {
				out.WriteString("\n")
			}
			line = "    " + line
		}
		out.WriteString(line)
		blank = strings.TrimSpace(line) == "" || strings.HasPrefix(line, "  ")
	}
	return out.String()
}
