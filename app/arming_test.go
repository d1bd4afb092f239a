package app

import (
	"testing"
	"time"
)

func TestArming(t *testing.T) {
	type step struct {
		at   int // milliseconds
		do   string
		want bool // of click and look: armed
	}
	tests := map[string][]step{
		"never without focus":          {{0, "look", false}, {5000, "click", false}, {90000, "look", false}},
		"after a second of focus":      {{0, "focus", false}, {999, "look", false}, {1000, "look", true}, {1000, "click", true}},
		"stays armed":                  {{0, "focus", false}, {100_000, "click", true}, {100_001, "click", true}},
		"focus told twice is one":      {{0, "focus", false}, {900, "focus", false}, {1000, "look", true}},
		"the click that brings focus":  {{0, "focus", false}, {1, "click", false}, {1000, "look", false}, {2000, "click", true}},
		"losing focus disarms":         {{0, "focus", false}, {1500, "blur", false}, {1500, "look", false}, {3000, "click", false}},
		"and the second starts again":  {{0, "focus", false}, {900, "blur", false}, {950, "focus", false}, {1900, "look", false}, {1950, "look", true}},
		"an early click adds a second": {{0, "focus", false}, {500, "click", false}, {1999, "look", false}, {2000, "look", true}},
		"two add two":                  {{0, "focus", false}, {500, "click", false}, {600, "click", false}, {2999, "look", false}, {3000, "look", true}},
		"clicks without focus add none": {{0, "click", false}, {1, "click", false}, {2, "focus", false}, {1001, "look", false},
			{1002, "look", true}},
		"extras end with the focus": {{0, "focus", false}, {500, "click", false}, {600, "blur", false}, {700, "focus", false},
			{1699, "look", false}, {1700, "look", true}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			var a arming
			for _, s := range steps {
				now := time.UnixMilli(int64(s.at))
				got := s.want
				switch s.do {
				case "focus":
					a.focus(true, now)
				case "blur":
					a.focus(false, now)
				case "look":
					got = a.armed(now)
				case "click":
					got = a.click(now)
				}
				if got != s.want {
					t.Errorf("%s at %d ms: %v, want %v", s.do, s.at, got, s.want)
				}
				if (a.progress(now) == 1) != a.armed(now) {
					t.Errorf("at %d ms progress is %v", s.at, a.progress(now))
				}
			}
		})
	}
}

func TestArmingEndsWithinTwentySeconds(t *testing.T) {
	var a arming
	start := time.UnixMilli(0)
	a.focus(true, start)
	now := start
	for !a.click(now) {
		now = now.Add(10 * time.Millisecond)
		if now.Sub(start) > time.Minute {
			t.Fatal("clicks keep it disarmed for ever")
		}
	}
	if now.Sub(start) != armingMost {
		t.Errorf("armed after %v, want %v", now.Sub(start), armingMost)
	}
	a.focus(false, now)
	a.focus(true, now)
	a.click(now)
	if !a.armed(now.Add(armingDelay)) {
		t.Error("after the extras are spent a new focus needs more than a second")
	}
}

func TestArmingProgressGrows(t *testing.T) {
	var a arming
	start := time.UnixMilli(0)
	a.focus(true, start)
	last := float32(-1)
	for ms := range 1001 {
		p := a.progress(start.Add(time.Duration(ms) * time.Millisecond))
		if p < last || p > 1 || p < 0 {
			t.Fatalf("at %d ms %v after %v", ms, p, last)
		}
		last = p
	}
	if last != 1 {
		t.Errorf("ends at %v", last)
	}
}
