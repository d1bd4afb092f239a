//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// private refuses a directory that belongs to somebody else or that others may write to.
func private(dir string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case ok && int(stat.Uid) != os.Getuid():
		return fmt.Errorf("the state directory %s belongs to another user (uid %d)", dir, stat.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("the state directory %s can be written by others (mode %04o)", dir, info.Mode().Perm())
	}
	return nil
}
