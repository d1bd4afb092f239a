//go:build unix

package windows

import "golang.org/x/sys/unix"

func init() {
	awaitMessage = func() {
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: childFD, Events: unix.POLLIN}}, int(limit.Milliseconds()))
			if n > 0 || err != unix.EINTR {
				return
			}
		}
	}
}
