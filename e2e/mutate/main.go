// Mutate breaks the program on purpose, one rule at a time, in a copy of the tree, and looks whether the unit tests of
// the packages concerned notice. A rule that can be broken unnoticed has no test worth the name.
//
//	go run ./e2e/mutate              all of them
//	go run ./e2e/mutate iss SSRF     those whose rule holds one of the words
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// mutation is one deliberate mistake.
type mutation struct {
	rule     string // the rule it breaks, with the row of docs/conformance.md
	file     string
	old      string   // stands exactly once in file
	new      string   // takes its place
	packages []string // whose tests must notice; nil: the file's own
}

// limit is for the tests of one mutation; some mistakes make them wait for ever, and that is noticed too.
const limit = 90 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	missed, err := run(ctx, os.Args[1:])
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	case missed > 0:
		fmt.Printf("%d NOT caught\n", missed)
		os.Exit(1)
	}
}

func run(ctx context.Context, words []string) (missed int, err error) {
	chosen := slices.DeleteFunc(slices.Clone(mutations), func(m mutation) bool {
		return len(words) > 0 && !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(m.rule, w) })
	})
	if len(chosen) == 0 {
		return 0, fmt.Errorf("no rule holds any of %q", words)
	}
	tree, err := os.MkdirTemp("", "valetkey-mutate-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(tree)
	if err := copyTree(ctx, tree); err != nil {
		return 0, err
	}
	for _, m := range chosen { // before the first costs any time
		if _, err := m.broken(tree); err != nil {
			return 0, err
		}
	}
	var all []string
	for _, m := range chosen {
		all = append(all, m.tested()...)
	}
	slices.Sort(all)
	if out, err := test(ctx, tree, slices.Compact(all)); err != nil {
		return 0, fmt.Errorf("the tests fail without any mutation: %w\n%s", err, out)
	}
	for _, m := range chosen {
		by, err := m.try(ctx, tree)
		switch {
		case err != nil:
			return missed, fmt.Errorf("%s: %w", m.rule, err)
		case by == "":
			missed++
			fmt.Printf("NOT caught  %s (%s)\n", m.rule, m.file)
		default:
			fmt.Printf("caught      %s: %s\n", m.rule, by)
		}
	}
	fmt.Printf("%d of %d mutations caught\n", len(chosen)-missed, len(chosen))
	return missed, nil
}

// copyTree copies what git knows, as it lies in the working tree.
func copyTree(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Stderr = os.Stderr
	list, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		content, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not yet committed
		}
		if err != nil {
			return err
		}
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// tested are the packages whose tests must notice.
func (m mutation) tested() []string {
	if m.packages == nil {
		return []string{"./" + filepath.ToSlash(filepath.Dir(m.file))}
	}
	return m.packages
}

// broken is m's file with the mistake in it.
func (m mutation) broken(tree string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(tree, m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(content, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("%s: this stands in %s %d times, and must stand there once:\n%s", m.rule, m.file, n, m.old)
	}
	return bytes.Replace(content, []byte(m.old), []byte(m.new), 1), nil
}

var (
	failed   = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	timedOut = regexp.MustCompile(`panic: test timed out after \S+\n\s*running tests:\n\s*(\S+)`)
	panicked = regexp.MustCompile(`(?m)^(panic|fatal error): (.*)$`)
)

// try returns the test that noticed m, "" when none did. A mutation that does not compile is no mutation.
func (m mutation) try(ctx context.Context, tree string) (by string, err error) {
	path := filepath.Join(tree, m.file)
	whole, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	broken, err := m.broken(tree)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path, broken, 0o644); err != nil {
		return "", err
	}
	out, failure := test(ctx, tree, m.tested())
	if err := os.WriteFile(path, whole, 0o644); err != nil {
		return "", err
	}
	if failure == nil {
		return "", nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if found := failed.FindAllStringSubmatch(out, -1); found != nil && !strings.Contains(out, "[build failed]") {
		return found[len(found)-1][1], nil // of a test and its subtest, the subtest
	}
	if found := timedOut.FindStringSubmatch(out); found != nil {
		return found[1] + ", which never ended", nil
	}
	if found := panicked.FindStringSubmatch(out); found != nil {
		return "a crash: " + found[2], nil
	}
	return "", fmt.Errorf("the tests could not be run: %w\n%s", failure, out)
}

// test runs the tests of packages in tree, and stops at the first that fails.
func test(ctx context.Context, tree string, packages []string) (output string, err error) {
	args := []string{"test", "-count=1", "-failfast", "-trimpath", "-timeout", limit.String()}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir = tree
	out, err := cmd.CombinedOutput()
	return string(out), err
}
