package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

const completionHelp = `Prints a script that lets your shell complete verbs, flags, servers, accounts and apps.
SHELL is bash, zsh, fish or powershell. To install it:

  bash        vk completion bash > ~/.local/share/bash-completion/completions/vk
  zsh         vk completion zsh > "${fpath[1]}/_vk"
  fish        vk completion fish > ~/.config/fish/completions/vk.fish
  powershell  vk completion powershell | Out-String | Invoke-Expression

Servers are completed while Valet Key is running. Completion never starts Valet Key
and never asks you anything.`

// completeLimit bounds what a person who completes a word waits for.
const completeLimit = 300 * time.Millisecond

type completion struct {
	*program
	root *cobra.Command
}

func newCompletion(p *program, root *cobra.Command) *cobra.Command {
	v := completion{p, root}
	c := verb("completion SHELL", "print a completion script for your shell", completionHelp, 1, 1, v.run)
	c.ValidArgs = []cobra.Completion{"bash", "zsh", "fish", "powershell"}
	return c
}

func (v completion) run(_ context.Context, args []string) error {
	switch args[0] {
	case "bash":
		return v.root.GenBashCompletionV2(v.stdout, true)
	case "zsh":
		return v.root.GenZshCompletion(v.stdout)
	case "fish":
		return v.root.GenFishCompletion(v.stdout, true)
	case "powershell":
		return v.root.GenPowerShellCompletionWithDesc(v.stdout)
	}
	return usage("completion", "there is no completion for %q: SHELL is bash, zsh, fish or powershell", args[0])
}

// known are the grants of an app that runs and answers at once. It is not started, and nothing that is asked here makes it
// ask the person.
func (p *program) known(ctx context.Context) []localapi.Grant {
	addr, err := p.address()
	if err != nil {
		return nil
	}
	c := localapi.NewClient(addr)
	c.Wait = 0
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	if s, err := c.Status(ctx); err != nil || s.Servers == 0 && s.Keychain != "ok" {
		return nil // an app that has not read the keychain yet would, and a locked one asks the person to unlock it
	}
	all, err := c.Grants(ctx)
	if err != nil {
		return nil
	}
	return all.Grants
}

// plainFlags takes the marks of help out of what shells show of flags.
func plainFlags(root *cobra.Command) {
	for _, c := range root.Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	}
}

// completions are those of words that begin with what was typed, each with what it means, and nothing else: no files.
func completions(typed string, words ...cobra.Completion) ([]cobra.Completion, cobra.ShellCompDirective) {
	words = slices.DeleteFunc(words, func(w string) bool { return !strings.HasPrefix(w, typed) })
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeServers completes the servers that Valet Key knows: by name, or by URL where two have that name or one was begun.
func (p *program) completeServers(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return completions(typed)
	}
	return completions(typed, serverWords(p.known(c.Context()), typed)...)
}

func serverWords(grants []localapi.Grant, typed string) (words []cobra.Completion) {
	var servers []string
	of := map[string]int{} // how many servers have a name
	for _, g := range grants {
		if isAmong(servers, g.Server) {
			continue
		}
		servers = append(servers, g.Server)
		of[hosts.ShortName(g.Server)]++
	}
	for _, server := range servers {
		names := append(namesOf(server), server)
		if of[names[0]] > 1 {
			names = names[1:]
		}
		if i := slices.IndexFunc(names, func(s string) bool { return s != "" && strings.HasPrefix(s, typed) }); i >= 0 {
			words = append(words, cobra.CompletionWithDesc(clean(names[i]), clean(server)))
		}
	}
	return words
}

// completeGrant completes a flag with something that the grants for the server named before it have, or all grants.
func (p *program) completeGrant(c *cobra.Command, flag string, of func(localapi.Grant) []string) {
	c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var words []cobra.Completion
		for _, g := range p.known(c.Context()) {
			if len(args) > 0 && !isNamed(g.Server, args[0]) && !localapi.SameServer(g.Server, address(args[0])) {
				continue
			}
			for _, w := range of(g) {
				if w != "" {
					words = append(words, cobra.CompletionWithDesc(clean(w), clean(g.Server)))
				}
			}
		}
		return completions(typed, words...)
	})
}

func accountOf(g localapi.Grant) []string { return []string{g.Account} }

func scopesOf(g localapi.Grant) []string { return g.Scopes }

// completeWords completes a flag that takes one of a few words.
func completeWords(c *cobra.Command, flag string, words ...string) {
	c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// hostWords are the programs of which has says yes.
func hostWords(has func(*hosts.Host) bool) (words []cobra.Completion) {
	for _, h := range hosts.All() {
		if has(h) {
			words = append(words, cobra.CompletionWithDesc(h.Key, h.Name))
		}
	}
	return words
}
