package windows

import (
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// hold gives f a descriptor that the ones of a child do not cover.
func hold(f *os.File) *os.File {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, childFD+1)
	if err != nil {
		return f
	}
	defer f.Close()
	return os.NewFile(uintptr(fd), f.Name())
}

// Command runs what was found, also after an update has put another file in its place.
func (p *Program) Command() *exec.Cmd {
	cmd := exec.Command("/proc/self/fd/" + strconv.Itoa(int(p.file.Fd())))
	cmd.Args = []string{p.path}
	return cmd
}
