package main

import (
	"errors"
	"os/exec"
	"syscall"
)

// sessionHere says why the app's windows could not be shown to the person, as far as can be told.
func sessionHere(getenv func(string) string) error {
	if getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
		return errors.New("there is no display")
	}
	return nil
}

// detach gives the app a session of its own, so that no terminal and no host's process group ends it.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
