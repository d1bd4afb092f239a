package main

import "testing"

// TestMutationsFit: what a mutation breaks is still there, once. Who changes that line changes the mutation too.
func TestMutationsFit(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range mutations {
		if _, err := m.broken("../.."); err != nil {
			t.Error(err)
		}
		if seen[m.rule] || m.old == m.new {
			t.Errorf("%s is there twice, or changes nothing", m.rule)
		}
		seen[m.rule] = true
	}
}
