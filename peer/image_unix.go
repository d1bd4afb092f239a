//go:build linux || darwin

package peer

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func idOf(st *unix.Stat_t) fileID {
	return fileID{uint64(st.Dev), uint64(st.Ino), int64(st.Size), st.Mtim.Nano(), st.Ctim.Nano()}
}

// same reports whether two IDs name the same file, whatever happened to its content.
func (id fileID) same(other fileID) bool { return id.dev == other.dev && id.ino == other.ino }

func idOfFile(f *os.File) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileID{}, err
	}
	return idOf(&st), nil
}

// idOfPath names the file at path, which is a real path: the last component is not followed.
func idOfPath(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fileID{}, err
	}
	return idOf(&st), nil
}

// openPath opens a regular file and nothing that could block, such as a pipe.
func openPath(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return regular(fd, path)
}

// regular takes over fd when it is a regular file, and closes it when not.
func regular(fd int, path string) (*os.File, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("not a regular file")
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// systems reports whether a file belongs to the system and only the system can write it.
func systems(st *unix.Stat_t) bool {
	return st.Uid == 0 && st.Mode&(unix.S_IWGRP|unix.S_IWOTH) == 0
}

// fixedPath reports whether every directory on the way to an absolute real path belongs to the system and only the
// system can write it. It looks each time: to do so costs less than to know when to look again.
func fixedPath(path string) bool {
	for i := strings.LastIndexByte(path, '/'); i >= 0; i = strings.LastIndexByte(path[:i], '/') {
		var st unix.Stat_t
		if unix.Lstat(path[:max(i, 1)], &st) != nil || !systems(&st) || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return false
		}
		if i == 0 {
			return true
		}
	}
	return false
}
