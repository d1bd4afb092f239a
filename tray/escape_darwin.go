//go:build cgo

package tray

func escape(label string) string { return label }
