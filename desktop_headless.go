//go:build headless

package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/valetkey/valetkey/face"
)

var errHeadless = errors.New("this build of valetkey has no windows")

func window() error { return errHeadless }

func windowsPossible(func(string) string) error { return errHeadless }

func newDesktop(string, func(context.Context, face.Wish) error, *slog.Logger) face.Face { return nil }
