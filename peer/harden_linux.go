package peer

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Harden keeps other programs of this user from reading this process's memory and keeps its memory out of core files.
// A program that it starts is not affected by the first, and inherits the second.
func Harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make this process undumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("turn core files off: %w", err)
	}
	return nil
}
