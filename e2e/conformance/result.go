package main

import (
	"errors"
	"fmt"
	"strings"
)

// check is one line of the suite's checks.json.
type check struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"` // SUCCESS, FAILURE, WARNING, INFO, SKIPPED
	Error  string `json:"errorMessage"`
}

// result is how one scenario went in one run, for the suite and for the host.
type result struct {
	report
	run    run
	checks []check
}

func (r result) count(status string) (n int) {
	for _, c := range r.checks {
		if c.Status == status {
			n++
		}
	}
	return n
}

func (r result) passed() int   { return r.count("SUCCESS") }
func (r result) failed() int   { return r.count("FAILURE") }
func (r result) warnings() int { return r.count("WARNING") }

// why says why the scenario is not covered; "" when it must pass.
func (r result) why() string {
	if r.run.hostFlags == "" {
		return ""
	}
	return notBefore[r.Scenario]
}

// fault is what is not as it must be; nil when there is nothing.
func (r result) fault() error {
	wrong := r.wrong()
	switch {
	case r.why() != "" && wrong == nil:
		return fmt.Errorf("%s, %s: it passes now; strike it from %s/baseline.go", r.run.title(), r.Scenario, home)
	case r.why() != "" || wrong == nil:
		return nil
	}
	return fmt.Errorf("%s, %s: %w", r.run.title(), r.Scenario, wrong)
}

func (r result) wrong() error {
	var wrong []error
	for _, c := range r.checks {
		if c.Status == "FAILURE" || c.Status == "WARNING" {
			wrong = append(wrong, fmt.Errorf("%s %s (%s): %s", strings.ToLower(c.Status), c.ID, c.Name, c.Error))
		}
	}
	if r.passed() == 0 {
		wrong = append(wrong, errors.New("nothing was checked"))
	}
	switch words, refuses := refusals[r.Scenario]; {
	case refuses && (r.Error == "" || !strings.Contains(r.Error, words)):
		wrong = append(wrong, fmt.Errorf("the host was to be refused with %q, and got %q", words, r.Error))
	case !refuses && r.Error != "":
		wrong = append(wrong, fmt.Errorf("the host got %q", r.Error))
	}
	return errors.Join(wrong...)
}
