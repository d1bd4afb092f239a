package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

const showHelp = `Shows what Valet Key has for a server: the issuer, each account, the scopes you
granted, and which apps may use it.`

type show struct {
	*program
	json bool
}

func newShow(p *program) *cobra.Command {
	v := &show{program: p}
	c := verb("show URL|NAME", "show a server: its accounts, scopes and apps", showHelp, 1, 1, v.run)
	c.ValidArgsFunction = p.completeServers
	c.SuggestFor = []string{"info", "describe"}
	jsonFlag(c, &v.json)
	return c
}

func (v *show) run(ctx context.Context, args []string) error {
	server, err := v.server(ctx, args[0])
	if err != nil {
		return err
	}
	all, err := v.grants(ctx)
	if err != nil {
		return err
	}
	var known []string
	for _, g := range all.Grants {
		known = append(known, clean(g.Server))
	}
	found := slices.DeleteFunc(all.Grants, func(g localapi.Grant) bool {
		return !localapi.SameServer(g.Server, server) && !localapi.SameServer(g.Resource, server)
	})
	if len(found) == 0 {
		return localapi.Errorf(localapi.ErrUnknownServer, "Valet Key knows no server %s", server).WithHint("%srun: vk list", didYouMean(server, known...))
	}
	if v.json {
		return v.printJSON(localapi.Grants{Grants: found})
	}
	var out strings.Builder
	for i, g := range found {
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString(v.describe(g))
	}
	return v.print(out.String())
}

// describe is one grant in full.
func (v *show) describe(g localapi.Grant) string {
	title := clean(g.Server)
	if g.Name != "" {
		title += fmt.Sprintf(" (calls itself %q)", clean(g.Name))
	}
	state := stateWords(g.State)
	if g.Problem != "" {
		state += ": " + clean(g.Problem)
	}
	renewable := "yes, without you"
	if !g.Renewable {
		renewable = "no: you sign in again when it expires"
	}
	issuer := clean(g.Issuer)
	switch {
	case g.Issuer == "":
		issuer, renewable = "none: this server needs no sign-in", "-"
	case g.Unpublished:
		issuer += " (the server itself: it names no other)"
	}
	rows := [][]string{
		{"resource", clean(g.Resource)}, {"issuer", issuer}, {"account", orDash(clean(g.Account))}, {"state", state},
		{"scopes", orDash(clean(strings.Join(g.Scopes, " ")))}, {"signed in", relative(g.SignedInAt, v.now())}, {"refreshed", relative(g.RefreshedAt, v.now())},
		{"token", "expires " + v.expiry(g)}, {"renewable", renewable},
	}
	if g.ExpiresAt.IsZero() {
		rows[7][1] = "-"
	}
	if r := g.Registration; r != nil {
		rows = append(rows, []string{"client", clean(r.ClientID) + ": " + clean(r.Meaning())})
	}
	if g.Check != nil {
		rows = append(rows, []string{"checks", "the last token " + strings.TrimSuffix(checkWords(g.Check.Result), ".")})
	}
	for _, q := range g.Quirks {
		label := "accepted"
		if q.Is(quirk.Set) {
			label = "set"
		}
		rows = append(rows, []string{label, clean(q.Name) + ": " + clean(q.Meaning())})
	}
	label := "apps"
	for _, c := range g.Consents {
		mode := modeWords(c.Mode)
		if !c.ExpiresAt.IsZero() {
			mode += ", ends " + relative(c.ExpiresAt, v.now())
		}
		rows = append(rows, []string{label, fmt.Sprintf("%s (%s): %s", clean(c.HostName), mode, orDash(clean(strings.Join(c.Scopes, " "))))})
		rows = append(rows, []string{"", clean(c.Host) + ", identity: " + c.Level.String()})
		label = ""
	}
	if len(g.Consents) == 0 {
		rows = append(rows, []string{label, "-"})
	}
	return title + "\n" + table("  ", rows)
}
