package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is one scenario at one revision, with one kind of host. Of several runs it shows the worst.
type row struct {
	result
	runs []string
}

func merge(results []result) []row {
	var rows []row
	for _, r := range results {
		i := slices.IndexFunc(rows, func(o row) bool {
			return o.Scenario == r.Scenario && o.Revision == r.Revision && o.run.hostFlags == r.run.hostFlags
		})
		switch {
		case i < 0:
			rows = append(rows, row{r, []string{r.run.name()}})
			continue
		case r.failed()+r.warnings() > rows[i].failed()+rows[i].warnings():
			rows[i].result = r
		}
		rows[i].runs = append(rows[i].runs, r.run.name())
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(strings.Compare(a.run.hostFlags, b.run.hostFlags), strings.Compare(b.Revision, a.Revision), strings.Compare(a.Scenario, b.Scenario))
	})
	return rows
}

func (r row) host() string {
	if r.run.hostFlags != "" {
		return "of before"
	}
	return "of both"
}

func table(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO\tREVISION\tHOST\tPASSED\tFAILED\tWARNINGS\t")
	passed, failed, warnings := 0, 0, 0
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", r.Scenario, r.Revision, r.host(), r.passed(), r.failed(), r.warnings(), r.note())
		if r.why() == "" {
			passed, failed, warnings = passed+r.passed(), failed+r.failed(), warnings+r.warnings()
		}
	}
	fmt.Fprintf(w, "all that is covered\t\t\t%d\t%d\t%d\t\n", passed, failed, warnings)
	return w.Flush()
}

func (r row) note() string {
	if r.why() == "" {
		return ""
	}
	return "not covered: " + r.why()
}

const pageHead = `# Results of the official conformance suite

Written by ` + "`make conformance UPDATE=1`" + `. ` + "`make conformance`" + ` runs the same, and fails on any failure, any warning, a scenario in
which nothing was checked, and one that passes although it stands under "Not covered".

**What runs.** The suite is npm ` + "`@modelcontextprotocol/conformance`" + ` %s. It plays the MCP server and its issuer, and starts
a client for each scenario. That client is a host on the official Go SDK which speaks MCP on stdio to ` + "`vk bridge`" + `;
behind it are the socket and a ` + "`valetkey --headless`" + ` of its own, with a policy file for the person's consent and a
browser that follows redirects. Nothing but that host is made for the suite.

**How to read it.** A row is one scenario at one revision of MCP; where several runs hold it, the worst counts. A host
*of both* speaks 2026-07-28 and older revisions. One *of before* speaks 2025-11-25 at most, so that the bridge has to
translate. In the seven scenarios in which a client has to refuse, the host must get an error, and in six of them one
that gives the right reason.

`

const pageFoot = `
The suite's sep-2640-client scenarios (the skills extension) are about what a host does with what it has read. They are
not run: they pass when nothing happens.

What the suite does not look at, such as refresh and rotation, state, error redirects, where requests may go and tokens on
streams, is held by the tests beside the code.
`

// publish writes the page, or says that it is not what the rows say. Counts may differ with the order in which things
// happen, so that is no fault.
func publish(rows []row, update bool) error {
	var pinned struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	if err := readJSON(home+"/package.json", &pinned); err != nil {
		return err
	}
	now := render(rows, pinned.Dependencies["@modelcontextprotocol/conformance"])
	if update {
		return os.WriteFile(page, []byte(now), 0o644)
	}
	if was, err := os.ReadFile(page); err != nil || string(was) != now {
		fmt.Fprintf(os.Stderr, "%s does not say this; make conformance UPDATE=1 writes it\n", page)
	}
	return nil
}

// render makes the page.
func render(rows []row, version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, pageHead, version)
	b.WriteString("| scenario | revision | host | passed | failed | warnings | runs |\n| --- | --- | --- | ---: | ---: | ---: | --- |\n")
	var left []row
	for _, r := range rows {
		if r.why() != "" {
			left = append(left, r)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %d | %s |\n", r.Scenario, r.Revision, r.host(), r.passed(), r.failed(), r.warnings(), strings.Join(r.runs, ", "))
	}
	b.WriteString("\n## Not covered\n\n| scenario | revision | host | why |\n| --- | --- | --- | --- |\n")
	for _, r := range left {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.Scenario, r.Revision, r.host(), r.why())
	}
	b.WriteString(pageFoot)
	return b.String()
}
