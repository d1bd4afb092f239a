//go:build unix

package main

import "os"

// openTerminal opens the terminal this program was started from, whatever its input and output are.
func openTerminal() (in, out *os.File, err error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	return tty, tty, err
}
