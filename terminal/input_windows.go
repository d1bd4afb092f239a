package terminal

import (
	"context"
	"os"
	"sync"

	"golang.org/x/sys/windows"
)

// input reads lines from a console, a pipe or a file. A read of a console cannot be taken back, so one goroutine reads
// for as long as the app lives, started with the first question; a line that comes while nothing is asked is flushed
// away by the next question.
type input struct {
	file     *os.File
	terminal bool
	start    sync.Once
	lines    chan string
	err      error // valid once lines is closed
}

func newInput(f *os.File) *input {
	var mode uint32
	console := windows.GetConsoleMode(windows.Handle(f.Fd()), &mode) == nil
	return &input{file: f, terminal: console, lines: make(chan string)}
}

func (in *input) ready() error { return nil }

func (in *input) flush() error {
	if !in.terminal {
		return nil
	}
	for {
		select {
		case _, ok := <-in.lines:
			if ok {
				continue
			}
		default:
		}
		return windows.FlushConsoleInputBuffer(windows.Handle(in.file.Fd()))
	}
}

func (in *input) read() {
	defer close(in.lines)
	var l lines
	for {
		err := l.read(in.file)
		for line, ok := l.next(); ok; line, ok = l.next() {
			in.lines <- line
		}
		if err != nil {
			in.err = err
			return
		}
	}
}

// hide switches the echo off until shown is called.
func (in *input) hide() (shown func(), err error) {
	if !in.terminal {
		return func() {}, nil
	}
	console := windows.Handle(in.file.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(console, &mode); err != nil {
		return nil, err
	}
	return func() { windows.SetConsoleMode(console, mode) }, windows.SetConsoleMode(console, mode&^windows.ENABLE_ECHO_INPUT)
}

// line waits for the next line.
func (in *input) line(ctx context.Context) (string, error) {
	in.start.Do(func() { go in.read() })
	select {
	case line, ok := <-in.lines:
		if !ok {
			return "", in.err
		}
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
