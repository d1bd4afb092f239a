package peer

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxInfo bounds a .flatpak-info, in bytes.
const maxInfo = 64 << 10

// look reads what a process runs, all of it through the directory that pins the process.
func (n *Namer) look(p *proc) seen {
	dir, err := p.held()
	if err != nil {
		return seen{}
	}
	s := seen{
		args:    splitArgs(readAt(dir, "cmdline", maxArgBytes)),
		flatpak: flatpakID(readAt(dir, "root/.flatpak-info", maxInfo)),
	}
	if n.system.apparmor {
		s.snap, s.confined = snapLabel(string(appArmorLabel(dir)))
	}
	if p.exe < 0 {
		return s
	}
	s.exe = readLink(dir, "exe")
	s.system = systems(&p.file)
	s.mine = p.file.Uid == n.system.uid
	// The path is as the process's own mounts have it. It is true for us when the same file is at it here.
	if id, err := idOfPath(s.exe); err == nil && id.same(p.image) {
		s.place = private
		if s.system && fixedPath(s.exe) {
			s.place = fixed
		}
	} else if path, ok := strings.CutSuffix(s.exe, " (deleted)"); ok && sameMounts(dir) {
		s.exe, s.place = path, removed
	}
	if s.snap == "" && s.place == fixed {
		s.snap = snapOfPath(s.exe)
	}
	return s
}

// readAt reads at most limit bytes of a regular file below dir; nil when there is none. It does not wait for pipes.
func readAt(dir int, name string, limit int) []byte {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	b := make([]byte, 0, 512)
	for len(b) < limit {
		if len(b) == cap(b) {
			b = slices.Grow(b, len(b))
		}
		n, err := unix.Read(fd, b[len(b):min(cap(b), limit)])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil
		}
		if n == 0 {
			break
		}
		b = b[:len(b)+n]
	}
	return b
}

// readLink reads a symbolic link of /proc; "" when it cannot be read whole.
func readLink(dir int, name string) string {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(dir, name, buf[:])
	if err != nil || n == len(buf) {
		return ""
	}
	return string(buf[:n])
}

// sameMounts reports whether the process sees the same files at the same paths as we do.
func sameMounts(dir int) bool {
	theirs := readLink(dir, "ns/mnt")
	return theirs != "" && theirs == readLink(unix.AT_FDCWD, "/proc/self/ns/mnt")
}

// splitArgs splits /proc/PID/cmdline. A last argument that was cut off by the bound is dropped, so that no part of a
// path is taken for a path.
func splitArgs(cmdline []byte) []string {
	cut := len(cmdline) == maxArgBytes && cmdline[len(cmdline)-1] != 0
	cmdline = bytes.TrimRight(cmdline, "\x00")
	if len(cmdline) == 0 {
		return nil
	}
	args := strings.SplitN(string(cmdline), "\x00", maxArgs+1)
	if len(args) > maxArgs {
		return args[:maxArgs]
	}
	if cut {
		return args[:len(args)-1]
	}
	return args
}

// flatpakID finds the application's id in /.flatpak-info, which Flatpak puts there where no sandboxed process can
// write: a key file with "name=" in its group [Application].
func flatpakID(info []byte) string {
	group := ""
	for line := range strings.Lines(string(info)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			group = line
		}
		if name, ok := strings.CutPrefix(line, "name="); ok && group == "[Application]" && isAppID(name) {
			return name
		}
	}
	return ""
}

// isAppID reports whether id has the form of a D-Bus name, which Flatpak demands of application ids.
func isAppID(id string) bool {
	return len(id) <= 255 && strings.Contains(id, ".") && onlyPlain(id)
}

func onlyPlain(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}

func appArmorLabel(dir int) []byte {
	if label := readAt(dir, "attr/apparmor/current", 4096); label != nil {
		return label
	}
	return readAt(dir, "attr/current", 4096)
}

// snapLabel reads an AppArmor label such as "snap.NAME.APP (enforce)". In any other mode the label confines nothing
// and any program could have taken it, so it names nobody.
func snapLabel(label string) (name string, confined bool) {
	label, confined = strings.CutSuffix(strings.TrimRight(label, "\n\x00"), " (enforce)")
	rest, ok := strings.CutPrefix(label, "snap.")
	name, _, _ = strings.Cut(rest, ".")
	if !ok || !confined || !onlyPlain(name) {
		return "", false
	}
	return name, true
}

// snapOfPath finds the snap that a system's file belongs to, so that its name does not change with its revision.
func snapOfPath(path string) string {
	for _, root := range []string{"/snap/", "/var/lib/snapd/snap/"} {
		if rest, ok := strings.CutPrefix(path, root); ok {
			if name, _, ok := strings.Cut(rest, "/"); ok && name != "bin" && onlyPlain(name) {
				return name
			}
		}
	}
	return ""
}

// openExe opens the image that runs, not what is now at its path.
func (p *proc) openExe() (*os.File, error) {
	if p.exe < 0 {
		return nil, os.ErrPermission
	}
	return reopen(p.exe)
}

// reopen opens for reading what an O_PATH descriptor holds.
func reopen(fd int) (*os.File, error) {
	name := "/proc/self/fd/" + strconv.Itoa(fd)
	opened, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return regular(opened, name)
}

// openScript opens the file that an argument of the process names, as the process sees it, and says where it really
// is. It fails when there is another file for us at that path. It is held without being opened until it is known to be
// a regular file: opening a device can have effects.
func (p *proc) openScript(arg string) (f *os.File, path string, system bool, err error) {
	at := "cwd/" + arg
	if strings.HasPrefix(arg, "/") {
		at = "root" + arg
	}
	dir, err := p.held()
	if err != nil {
		return nil, "", false, err
	}
	held, err := unix.Openat(dir, at, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", false, err
	}
	defer unix.Close(held)
	var st, here unix.Stat_t
	if err := unix.Fstat(held, &st); err != nil {
		return nil, "", false, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, "", false, errors.New("not a regular file")
	}
	path = readLink(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(held))
	if err := unix.Lstat(path, &here); err != nil || !idOf(&here).same(idOf(&st)) {
		return nil, "", false, errors.New("not the file at its path")
	}
	f, err = reopen(held)
	return f, path, systems(&st), err
}
