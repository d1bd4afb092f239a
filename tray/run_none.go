//go:build darwin && !cgo

package tray

import (
	"context"
	"errors"
)

var errUnsupported = errors.New("this build has no tray")

// Available fails: the menu bar of macOS is reached through cgo only.
func Available(context.Context) error { return errUnsupported }

// Run fails.
func (t *Tray) Run(context.Context) error { return errUnsupported }
