//go:build unix

package owned

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const maxLinks = 40 // on the way to one file, as in Linux

// open opens a regular file that only the person and root can change: their own or root's, not writable by others,
// below directories of which the same is true. private: nor readable by others.
func open(path string, private bool) (*os.File, error) {
	want, err := checkWay(path)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0) // a FIFO must not block us
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		f.Close()
		return nil, err
	}
	if err := checkFile(&st, want, private); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func checkFile(st, want *unix.Stat_t, private bool) error {
	switch {
	case st.Dev != want.Dev || st.Ino != want.Ino:
		return errors.New("it was replaced while it was opened")
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("it is not a regular file")
	case !ours(st):
		return fmt.Errorf("it belongs to another user (%d)", st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("it can be written by others (mode %03o); run chmod go-w on it", st.Mode&0o777)
	case private && st.Mode&0o044 != 0:
		return fmt.Errorf("it can be read by others (mode %03o); run chmod 600 on it", st.Mode&0o777)
	}
	return nil
}

func checkProgram(f *os.File, like string) error {
	var st, owner unix.Stat_t
	if err := unix.Stat(like, &owner); err != nil {
		return &os.PathError{Op: "stat", Path: like, Err: err}
	}
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("it is not a regular file")
	case st.Uid != 0 && st.Uid != owner.Uid:
		return fmt.Errorf("it belongs to another user (%d)", st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("it can be written by others (mode %03o); run chmod go-w on it", st.Mode&0o777)
	}
	return nil
}

func checkDirectory(dir string, info os.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && int(st.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to another user (uid %d)", dir, st.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written by others (mode %04o); run chmod go-w on it", dir, info.Mode().Perm())
	}
	return nil
}

// ours: root can change everything anyway.
func ours(st *unix.Stat_t) bool { return st.Uid == 0 || int(st.Uid) == os.Geteuid() }

// checkWay walks from the root to path, through every symbolic link, and returns what stands at the end. Whoever can
// change a directory on the way can put another file at its end. In a sticky directory, such as /tmp, others can add
// names but not change ours.
func checkWay(path string) (*unix.Stat_t, error) {
	rest := strings.Split(filepath.Clean(path), "/")
	at, links := "/", 0
	var dir, st unix.Stat_t
	if err := lstat(at, &st); err != nil {
		return nil, err
	}
	for len(rest) > 0 {
		var name string
		if name, rest = rest[0], rest[1:]; name == "" || name == "." {
			continue
		}
		dir = st
		next := filepath.Join(at, name)
		if err := lstat(next, &st); err != nil {
			return nil, err
		}
		switch {
		case !ours(&dir):
			return nil, fmt.Errorf("the directory %s belongs to another user (%d)", at, dir.Uid)
		case dir.Mode&0o022 != 0 && (dir.Mode&unix.S_ISVTX == 0 || !ours(&st)):
			return nil, fmt.Errorf("the directory %s can be written by others (mode %03o); run chmod go-w on it", at, dir.Mode&0o777)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, &os.PathError{Op: "open", Path: path, Err: unix.ELOOP}
		}
		target, err := os.Readlink(next)
		if err != nil {
			return nil, err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		if err := lstat(at, &st); err != nil {
			return nil, err
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return &st, nil
}

func lstat(path string, st *unix.Stat_t) error {
	if err := unix.Lstat(path, st); err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	return nil
}
