//go:build headless

package main

import (
	"errors"
	"log/slog"
)

var errHeadless = errors.New("this build of valetkey has no windows")

func window() error { return errHeadless }

func windowsPossible(func(string) string) error { return errHeadless }

func (f *faces) useWindows(string, func(), *slog.Logger) {}
