//go:build unix

package localapi

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks bounds how many symbolic links a path may lead through, as the kernel does.
const maxLinks = 40

// makeDir makes the directory of the socket, and whatever is missing above it, with mode 0700. It walks down from the
// root and refuses, by name, the first component that would let another user put a directory of theirs in our way.
func makeDir(dir string) error {
	me := uint32(os.Getuid())
	at, rest, links := "/", components(dir), 0
	for len(rest) > 0 {
		at, rest = filepath.Join(at, rest[0]), rest[1:]
		info, err := lstatOrMake(at)
		if err != nil {
			return noSocket("make the directory of the socket: %w", err)
		}
		if err := checkComponent(at, info, me, len(rest) == 0); err != nil {
			return err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			continue
		}
		target, err := os.Readlink(at)
		if links++; err != nil || links > maxLinks {
			return noSocket("%s leads through too many symbolic links", dir)
		}
		rest = append(components(target), rest...)
		if at = filepath.Dir(at); filepath.IsAbs(target) {
			at = "/"
		}
	}
	return nil
}

// checkComponent says what is wrong with one component of the path; last is the directory of the socket itself. A link
// above it is fine when only root or the person could have made it: home directories are often links.
func checkComponent(at string, info fs.FileInfo, me uint32, last bool) error {
	mode, owner := info.Mode(), info.Sys().(*syscall.Stat_t).Uid
	switch {
	case owner != me && (last || owner != 0):
		return noSocket("%s belongs to another user (uid %d)", at, owner).WithHint("set %s to a path of your own", addressVar)
	case mode.Type() == fs.ModeSymlink && last:
		return noSocket("%s is a symbolic link", at).WithHint("the directory of the socket must be a real one")
	case mode.Type() == fs.ModeSymlink:
		return nil
	case !mode.IsDir():
		return noSocket("%s is not a directory", at)
	case last && mode.Perm()&0o077 != 0:
		return noSocket("%s is open to other users (mode %04o)", at, mode.Perm()).WithHint("chmod 700 %s", at)
	case mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0:
		return noSocket("%s can be changed by other users (mode %04o)", at, mode.Perm()).WithHint("chmod o-w %s", at)
	}
	return nil
}

func lstatOrMake(dir string) (fs.FileInfo, error) {
	info, err := os.Lstat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.Lstat(dir)
}

func components(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}
