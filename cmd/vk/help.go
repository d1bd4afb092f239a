package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const footer = `URL may be given without https://. NAME is what vk list calls a server; for vk
disconnect, it is what the app calls it.

Environment:
  VK_SOCK   where Valet Key's socket is, if not in its usual place

Exit codes:
  0  done                           5  the keychain or Valet Key is locked
  1  a bug in Valet Key             6  the server's metadata is missing or wrong
  2  wrong usage or unknown server  7  the issuer refused
  3  you didn't allow it            8  Valet Key, network or keychain unavailable
  4  you need to sign in first      9  the token is not bound to this server
vk doctor also exits with 1, if it finds a problem.
`

type help struct {
	*program
	root *cobra.Command
}

func newHelp(p *program, root *cobra.Command) *cobra.Command {
	c := verb("help [VERB]", "explain vk or a verb", "Explains vk or a verb.", 0, 1, help{p, root}.run)
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var words []cobra.Completion
		for _, c := range root.Commands() {
			if len(args) == 0 && !c.Hidden {
				words = append(words, cobra.CompletionWithDesc(c.Name(), c.Short))
			}
		}
		return completions(typed, words...)
	}
	return c
}

func (v help) run(_ context.Context, args []string) error {
	if len(args) == 1 {
		c := find(v.root, args[0])
		if c == nil {
			return noVerb(v.root, args[0])
		}
		return v.print(explained(c))
	}
	var rows [][]string
	for _, c := range v.root.Commands() {
		rows = append(rows, []string{"vk " + c.Use, c.Short})
	}
	return v.print(fmt.Sprintf("vk: %s\n\n%s\n%s", v.root.Short, table("  ", rows), footer))
}

// explained is what "vk help VERB" prints.
func explained(c *cobra.Command) string {
	c.InheritedFlags() // puts them among Flags
	if f := c.Flags().Lookup("help"); f != nil {
		f.Hidden = true // who reads this knows it
	}
	return "vk " + c.Use + " [flags]\n\n" + c.Long + "\n\nFlags:\n" + c.Flags().FlagUsages()
}

func find(root *cobra.Command, name string) *cobra.Command {
	for _, c := range root.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

// noVerb is the error of a verb that there is none of, and asks whether a near one was meant.
func noVerb(root *cobra.Command, word string) error {
	e := usage("", "there is no verb %q", word)
	var names []string
	for _, c := range root.Commands() {
		if slices.Contains(c.SuggestFor, word) {
			names = []string{c.Name()}
			word = c.Name()
			break
		}
		names = append(names, c.Name())
	}
	e.Hint = didYouMean(word, names...) + e.Hint
	return e
}

// takes says in words what arguments a verb takes that calls them args.
func takes(args string, least, most int) string {
	switch {
	case most == 0:
		return "no argument"
	case most > 1:
		return "two arguments: " + args
	case least == 0:
		return "at most one argument"
	case !strings.Contains(args, "|"):
		return "one argument: " + args
	}
	return "one argument, the " + strings.ReplaceAll(args, "|", " or ") + " of a server"
}
