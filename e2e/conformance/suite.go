package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

const (
	home = "e2e/conformance"             // of this program, from the module's root
	page = "docs/conformance-results.md" // what -update writes
)

// run is one start of the suite.
type run struct {
	flags     []string // that choose the scenarios
	hostFlags string
	scenarios int // how many it must run: fewer would mean that some were passed over
}

func (r run) name() string { return strings.TrimPrefix(strings.Join(r.flags, " "), "--") }

// runs are all of it. Warnings count in a suite and not in a requirement set, and some scenarios are in one of them only.
var runs = []run{
	{[]string{"--requirements", "2026-07-28"}, "", 39},
	{[]string{"--requirements", "2026-07-28"}, "--before", 39},
	{[]string{"--requirements", "2025-11-25"}, "", 25},
	{[]string{"--suite", "core"}, "", 18},
	{[]string{"--suite", "auth"}, "", 14},
	{[]string{"--suite", "metadata"}, "", 4},
	{[]string{"--suite", "draft"}, "", 17},
	{[]string{"--suite", "backcompat"}, "", 2},
	{[]string{"--suite", "extensions"}, "", 6},
}

// conformance runs the suite and says how it went; an error when not all is as it must be.
func conformance(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet("conformance", pflag.ContinueOnError)
	update := flags.Bool("update", false, "write the results of all runs to "+page)
	if err := flags.Parse(args); err != nil {
		return err
	}
	some, err := chosen(flags.Args())
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "vk-conformance-")
	if err != nil {
		return err
	}
	var results []result
	var faults []error
	for i, r := range some {
		fmt.Fprintf(os.Stderr, "running %s\n", r.title())
		got, err := r.do(ctx, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", r.title(), err))
		}
		for _, one := range got {
			faults = append(faults, one.fault())
		}
		results = append(results, got...)
	}
	rows := merge(results)
	if err := table(os.Stdout, rows); err != nil {
		return err
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("not everything is as it must be; all that was said is in %s\n%w", dir, err)
	}
	if flags.NArg() == 0 {
		if err := publish(rows, *update); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// chosen finds the runs whose names end so; no names mean all of them.
func chosen(names []string) ([]run, error) {
	if len(names) == 0 {
		return runs, nil
	}
	var some []run
	for _, name := range names {
		before := len(some)
		for _, r := range runs {
			if strings.HasSuffix(r.name(), name) {
				some = append(some, r)
			}
		}
		if len(some) == before {
			return nil, fmt.Errorf("there is no run %q", name)
		}
	}
	return some, nil
}

func (r run) title() string {
	if r.hostFlags != "" {
		return r.name() + ", for a host of before 2026-07-28"
	}
	return r.name()
}

// do starts the suite and reads what it left in dir.
func (r run) do(ctx context.Context, dir string) ([]result, error) {
	reports, checks := filepath.Join(dir, "reports"), filepath.Join(dir, "checks")
	if err := os.MkdirAll(reports, 0o700); err != nil {
		return nil, err
	}
	node, err := filepath.Glob("e2e/peers/node_modules/node-linux-*/bin/node")
	if err != nil || len(node) != 1 {
		return nil, fmt.Errorf("the packages in e2e/peers are not installed (found %v); make conformance installs them", node)
	}
	// The suite splits the command at spaces and runs it in a shell; exec lets it see how the host ended.
	command := strings.Join(strings.Fields("exec bin/conformance "+roleHost+" "+r.hostFlags+" "+reports), " ")
	args := append([]string{filepath.Join(home, "node_modules/@modelcontextprotocol/conformance/dist/index.js"), "client",
		"--command", command, "--timeout", fmt.Sprint(limit.Milliseconds()), "-o", checks}, r.flags...)
	cmd := exec.CommandContext(ctx, node[0], args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	failed := cmd.Run()
	if err := os.WriteFile(filepath.Join(dir, "said.txt"), said.Bytes(), 0o600); err != nil {
		return nil, err
	}
	results, err := r.read(reports, checks)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w\n%s", err, said.String())
	case len(results) != r.scenarios:
		return results, fmt.Errorf("the suite ran %d scenarios, not %d", len(results), r.scenarios)
	}
	for _, one := range results {
		if one.why() != "" {
			return results, nil // the suite says no, as it must
		}
	}
	if failed != nil {
		return results, fmt.Errorf("the suite ended with: %w", failed)
	}
	return results, nil
}

// read reads the checks of the suite and the reports of the hosts.
func (r run) read(reports, checks string) (results []result, err error) {
	err = filepath.WalkDir(checks, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "checks.json" {
			return err
		}
		name, err := filepath.Rel(checks, filepath.Dir(path))
		if err != nil {
			return err
		}
		one := result{run: r, report: report{Scenario: name[:max(0, len(name)-len("-2006-01-02T15-04-05-000Z"))]}}
		if err := readJSON(path, &one.checks); err != nil {
			return err
		}
		if err := readJSON(one.path(reports), &one.report); err != nil {
			return fmt.Errorf("the host of %s left no report: %w", one.Scenario, err)
		}
		results = append(results, one)
		return nil
	})
	return results, err
}

func readJSON(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}
