package main

import (
	"strings"
	"testing"
)

func TestFault(t *testing.T) {
	good, bad, warned := check{Status: "SUCCESS"}, check{ID: "x", Status: "FAILURE", Error: "no y"}, check{ID: "x", Status: "WARNING"}
	info := check{Status: "INFO"}
	of := func(scenario, host string, checks ...check) result {
		return result{report: report{Scenario: scenario, Error: host}, run: runs[0], checks: checks}
	}
	before := of("request-metadata", "", good, bad)
	before.run.hostFlags = "--before"
	passes := before
	passes.checks = []check{good}
	for name, tt := range map[string]struct {
		result result
		want   string // "": all is as it must be
	}{
		"passes":                            {of("tools_call", "", good, info), ""},
		"fails":                             {of("tools_call", "", good, bad), "failure x (): no y"},
		"warns":                             {of("tools_call", "", good, warned), "warning x"},
		"checks nothing":                    {of("tools_call", "", info), "nothing was checked"},
		"passes, and the host fails":        {of("tools_call", "it broke", good), `the host got "it broke"`},
		"refused":                           {of("auth/iss-normalized", "the answer came from another issuer: …", good), ""},
		"refused for another reason":        {of("auth/iss-normalized", "it broke", good), `and got "it broke"`},
		"not refused":                       {of("auth/iss-normalized", "", good), "was to be refused"},
		"refused, for whatever reason":      {of("auth/scope-retry-limit", "it broke", good), ""},
		"not refused, for whatever reason":  {of("auth/scope-retry-limit", "", good), "was to be refused"},
		"not covered for this host":         {before, ""},
		"not covered, and passes":           {passes, "it passes now; strike it from"},
		"not covered for another host only": {of("request-metadata", "", good, bad), "failure x"},
	} {
		err := tt.result.fault()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestMergeShowsTheWorst(t *testing.T) {
	one := result{report: report{Scenario: "tools_call", Revision: "2026-07-28"}, run: runs[0], checks: []check{{Status: "SUCCESS"}}}
	worse, other, before := one, one, one
	worse.run, worse.checks = runs[3], []check{{Status: "WARNING"}}
	other.Revision = "2025-11-25"
	before.run = runs[1]
	rows := merge([]result{one, other, worse, before})
	if len(rows) != 3 || rows[0].warnings() != 1 || len(rows[0].runs) != 2 || rows[1].Revision != "2025-11-25" || rows[2].host() != "of before" {
		t.Errorf("%+v", rows)
	}
}

func TestChosen(t *testing.T) {
	if some, err := chosen([]string{"backcompat", "2026-07-28"}); err != nil || len(some) != 3 {
		t.Errorf("%v, %v", some, err)
	}
	if _, err := chosen([]string{"nothing"}); err == nil {
		t.Error("a run that does not exist was found")
	}
}
