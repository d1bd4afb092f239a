package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/valetkey/valetkey/localapi"
)

// explain says what is in the token that the request would get, as far as Valet Key looks at it. The token itself does
// not come here.
func (v *token) explain(ctx context.Context, req localapi.TokenRequest) error {
	asking := askPerson[localapi.Explained]
	if v.alone {
		asking = ask[localapi.Explained]
	}
	found, err := asking(v.program, ctx, func(c *localapi.Client, ctx context.Context) (*localapi.Explained, error) { return c.Explain(ctx, req) })
	switch {
	case err != nil:
		return err
	case v.json:
		return v.printJSON(found)
	}
	expires := "the issuer didn't say"
	if !found.ExpiresAt.IsZero() {
		expires = relative(found.ExpiresAt, v.now())
	}
	out := "The token for " + clean(found.Resource) + " " + checkWords(found.Check.Result) + "\n" + table("  ", [][]string{
		{"issuer", clean(found.Issuer)}, {"account", orDash(clean(found.Account))}, {"scopes", orDash(clean(found.Scope))}, {"expires", expires},
	})
	for _, f := range found.Check.Findings {
		out += fmt.Sprintf("%s: %s. %s\n", f.Name, findingWords(f.Result), clean(f.Text))
		if f.Result != localapi.FindingPassed && f.Expected != "" {
			out += fmt.Sprintf("  expected  %s\n  found     %s\n", clean(f.Expected), orDash(clean(f.Found)))
		}
	}
	return v.print(out)
}

func checkWords(result string) string {
	switch result {
	case localapi.CheckVerified:
		return "is right: all five checks passed."
	case localapi.CheckAccepted:
		return "is handed out: you accepted what is wrong with it."
	case localapi.CheckUnknown:
		return "is handed out, but not all of it could be checked."
	case localapi.CheckOpaque:
		return "can be read only by its issuer and the server, so it wasn't checked. It is handed out as it is."
	case localapi.CheckWrong:
		return "is wrong. It is not handed out unless you accept that."
	}
	return "was checked, with the result " + clean(strings.TrimSpace(result)) + "."
}

func findingWords(result string) string {
	switch result {
	case localapi.FindingPassed:
		return "right"
	case localapi.FindingAccepted:
		return "wrong, but you accepted it"
	case localapi.FindingUnknown:
		return "not checked"
	case localapi.FindingFailed:
		return "WRONG"
	}
	return clean(result)
}
