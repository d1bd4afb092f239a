package app

import "time"

const (
	armingDelay = time.Second      // of continuous focus before a yes can be said
	armingExtra = time.Second      // more for each click that comes too early
	armingMost  = 20 * time.Second // delay and extras of one question in all: nobody can keep it disarmed for ever
)

// arming decides when the buttons that say yes are live, so that a click or a key meant for another window says
// nothing: only after the window had the focus for a while without a break. It has no clock of its own.
type arming struct {
	focused bool
	ready   time.Time     // when the delay is over
	total   time.Duration // of the delay under way
	extra   time.Duration // spent on early clicks, over the life of the question
}

// focus tells that the window gained or lost the focus.
func (a *arming) focus(gained bool, now time.Time) {
	if gained && !a.focused {
		a.total = armingDelay
		a.ready = now.Add(a.total)
	}
	a.focused = gained
}

// armed reports whether a yes counts now.
func (a *arming) armed(now time.Time) bool { return a.focused && !now.Before(a.ready) }

// click is a press on a button that says yes. It reports whether it counts.
func (a *arming) click(now time.Time) bool {
	if a.armed(now) {
		return true
	}
	if a.focused && a.extra+armingExtra <= armingMost-armingDelay {
		a.extra += armingExtra
		a.total += armingExtra
		a.ready = a.ready.Add(armingExtra)
	}
	return false
}

// progress runs from 0 to 1 (armed) while the window has the focus, and is 0 without.
func (a *arming) progress(now time.Time) float32 {
	switch {
	case !a.focused:
		return 0
	case a.armed(now):
		return 1
	}
	return min(max(1-float32(a.ready.Sub(now))/float32(a.total), 0), 0.999)
}
