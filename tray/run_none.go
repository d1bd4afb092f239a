//go:build darwin && !cgo

package tray

import "context"

// Available is ErrUnsupported: the menu bar of macOS is reached through cgo only.
func Available(context.Context) error { return ErrUnsupported }

// Run returns ErrUnsupported.
func (t *Tray) Run(context.Context) error { return ErrUnsupported }
