//go:build !windows

package oauthflow

import "syscall"

// exclusive has nothing to do: elsewhere a listening address is exclusive unless both sides ask for SO_REUSEPORT.
func exclusive(string, string, syscall.RawConn) error { return nil }
