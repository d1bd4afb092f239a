package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

func (p *program) grants(ctx context.Context) (*localapi.Grants, error) {
	return ask(p, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Grants, error) { return c.Grants(ctx) })
}

func (p *program) list(ctx context.Context, o *options, _ []string) error {
	all, err := p.grants(ctx)
	switch {
	case err != nil:
		return err
	case o.json:
		return p.printJSON(all)
	case len(all.Grants) == 0:
		fmt.Fprintln(p.stderr, "vk: no server yet\n  to add one, run: vk signin URL")
		return nil
	}
	rows := [][]string{{"NAME", "SERVER", "ACCOUNT", "STATE", "TOKEN", "HOSTS"}}
	for _, g := range all.Grants {
		var hosts []string
		for _, c := range g.Consents {
			hosts = append(hosts, clean(c.HostName))
		}
		slices.Sort(hosts)
		rows = append(rows, []string{clean(shortName(g.Server)), clean(g.Server), orDash(clean(g.Account)), stateWords(g.State), p.expiry(g), orDash(strings.Join(slices.Compact(hosts), ", "))})
	}
	return p.print(table("", rows))
}

func (p *program) show(ctx context.Context, o *options, args []string) error {
	server, err := p.server(ctx, args[0])
	if err != nil {
		return err
	}
	all, err := p.grants(ctx)
	if err != nil {
		return err
	}
	found := slices.DeleteFunc(all.Grants, func(g localapi.Grant) bool {
		return !localapi.SameServer(g.Server, server) && !localapi.SameServer(g.Resource, server)
	})
	if len(found) == 0 {
		return localapi.Errorf(localapi.ErrUnknownServer, "Valet Key knows no server %s", server).WithHint("run: vk list")
	}
	if o.json {
		return p.printJSON(localapi.Grants{Grants: found})
	}
	var out strings.Builder
	for i, g := range found {
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString(p.describe(g))
	}
	return p.print(out.String())
}

// describe is one grant in full.
func (p *program) describe(g localapi.Grant) string {
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
		issuer, renewable = "none: it asks for no sign-in", "-"
	case g.Unpublished:
		issuer += " (the server itself: it does not say who issues its tokens)"
	}
	rows := [][]string{
		{"resource", clean(g.Resource)}, {"issuer", issuer}, {"account", orDash(clean(g.Account))}, {"state", state},
		{"scopes", orDash(clean(strings.Join(g.Scopes, " ")))}, {"signed in", relative(g.SignedInAt, p.now())}, {"refreshed", relative(g.RefreshedAt, p.now())},
		{"token", "expires " + p.expiry(g)}, {"renewable", renewable},
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
	label := "hosts"
	for _, c := range g.Consents {
		mode := modeWords(c.Mode)
		if !c.ExpiresAt.IsZero() {
			mode += ", ends " + relative(c.ExpiresAt, p.now())
		}
		rows = append(rows, []string{label, fmt.Sprintf("%s (%s): %s", clean(c.HostName), mode, orDash(clean(strings.Join(c.Scopes, " "))))})
		rows = append(rows, []string{"", clean(c.Host) + ", known by " + c.Level.String()})
		label = ""
	}
	if len(g.Consents) == 0 {
		rows = append(rows, []string{label, "-"})
	}
	return title + "\n" + table("  ", rows)
}

func (p *program) status(ctx context.Context, o *options, _ []string) error {
	s, err := ask(p, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Status, error) { return c.Status(ctx) })
	switch {
	case err != nil:
		return err
	case o.json:
		return p.printJSON(s)
	}
	servers := fmt.Sprint(s.Servers)
	if s.SignIns > 0 {
		servers += fmt.Sprintf(" (%d to sign in to again)", s.SignIns)
	}
	return p.print(table("", [][]string{
		{"Valet Key", clean(s.Version) + " is running, process " + fmt.Sprint(s.PID)},
		{"questions", faceWords(s.Face)},
		{"waiting", fmt.Sprint(s.Waiting)},
		{"keychain", clean(s.Keychain)},
		{"servers", servers},
	}))
}

// printJSON prints v as the app sent it, indented for people.
func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (p *program) expiry(g localapi.Grant) string { return relative(g.ExpiresAt, p.now()) }

// named names a grant in a sentence.
func named(g localapi.Grant) string {
	if g.Account == "" {
		return clean(g.Server)
	}
	return clean(g.Server) + " as " + clean(g.Account)
}

func stateWords(state string) string {
	switch state {
	case localapi.StateSignIn:
		return "sign in again"
	case localapi.StateUnsaved:
		return "not saved"
	case localapi.StateUnavailable:
		return "issuer away"
	}
	return clean(state)
}

func modeWords(mode string) string {
	switch mode {
	case localapi.ModeRunning:
		return "while it runs"
	case localapi.ModeHour:
		return "1 hour"
	}
	return clean(mode)
}

func faceWords(face string) string {
	switch face {
	case "window":
		return "in a window"
	case "terminal":
		return "on the terminal that runs Valet Key"
	case "policy":
		return "nobody is asked: a policy file answers"
	}
	return clean(face)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// table aligns rows in columns, without blanks at the ends of lines.
func table(indent string, rows [][]string) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, indent+strings.Join(row, "\t"))
	}
	w.Flush()
	return out.String()
}
