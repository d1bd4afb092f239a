package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/localapi"
)

const statusHelp = `Shows whether Valet Key is running, how it asks you, whether it can use the keychain,
and how many servers need you. Exits with 8 if Valet Key isn't running.`

type status struct {
	*program
	json bool
}

func newStatus(p *program) *cobra.Command {
	v := &status{program: p}
	c := verb("status", "show whether Valet Key is running", statusHelp, 0, 0, v.run)
	jsonFlag(c, &v.json)
	return c
}

func (v *status) run(ctx context.Context, _ []string) error {
	s, err := ask(v.program, ctx, (*localapi.Client).Status)
	switch {
	case err != nil:
		return err
	case v.json:
		return v.printJSON(s)
	}
	servers := fmt.Sprint(s.Servers)
	if s.SignIns > 0 {
		servers += fmt.Sprintf(" (sign in again: %d)", s.SignIns)
	}
	return v.print(table("", [][]string{
		{"Valet Key", clean(s.Version) + " is running, process " + fmt.Sprint(s.PID)},
		{"questions", askWords(s)},
		{"waiting", fmt.Sprint(s.Waiting)},
		{"keychain", clean(s.Keychain)},
		{"servers", servers},
	}))
}
