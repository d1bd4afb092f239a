//go:build unix

package terminal

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// input reads lines from a terminal, a pipe or a file. It reads only while a line is wanted, so that an app in the
// background of its terminal is never stopped by the kernel (SIGTTIN), and no reader outlives its question.
type input struct {
	file     *os.File
	terminal bool
	lines    lines
}

func newInput(f *os.File) *input {
	in := &input{file: f}
	in.control(func(fd int) error { in.terminal = term.IsTerminal(fd); return nil })
	return in
}

func (in *input) control(f func(fd int) error) error {
	raw, err := in.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

var errBackground = errors.New("the app runs in the background of its terminal; bring it to the foreground with fg")

// ready reports why the person cannot type to us now. A terminal that is not the one our session hangs on has no
// foreground, and no signals either.
func (in *input) ready() error {
	if !in.terminal {
		return nil
	}
	return in.control(func(fd int) error {
		if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && group != unix.Getpgrp() {
			return errBackground
		}
		return nil
	})
}

// flush forgets what was typed so far. From a pipe or a file nothing is forgotten.
func (in *input) flush() error {
	if !in.terminal {
		return nil
	}
	in.lines = lines{}
	return in.control(flushInput)
}

// line waits for the next line.
func (in *input) line(ctx context.Context) (string, error) {
	for {
		if line, ok := in.lines.next(); ok {
			return line, nil
		}
		if err := in.wait(ctx); err != nil {
			return "", err
		}
		if err := in.ready(); err != nil {
			return "", err
		}
		if err := in.lines.read(in.file); err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return "", err
		}
	}
}

// wait returns nil when there is something to read, or the end of it.
func (in *input) wait(ctx context.Context) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	stop := context.AfterFunc(ctx, func() { w.Close() })
	defer func() {
		if stop() {
			w.Close()
		}
	}()
	if err := in.control(func(fd int) error { return waitReadable(fd, int(r.Fd())) }); err != nil {
		return err
	}
	return ctx.Err()
}

// hide switches the echo off until shown is called.
func (in *input) hide() (shown func(), err error) {
	if !in.terminal {
		return func() {}, nil
	}
	err = in.control(func(fd int) error {
		state, err := unix.IoctlGetTermios(fd, getTermios)
		if err != nil {
			return err
		}
		quiet := *state
		quiet.Lflag &^= unix.ECHO
		shown = func() { in.control(func(fd int) error { return unix.IoctlSetTermios(fd, setTermios, state) }) }
		return unix.IoctlSetTermios(fd, setTermios, &quiet)
	})
	return shown, err
}
