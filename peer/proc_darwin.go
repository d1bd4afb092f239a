package peer

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of sys/syscall.h, sys/proc.h and sys/proc_info.h. The function around the call, proc_pidpath, needs cgo.
const (
	sysProcInfo      = 336
	stateZombie      = 5
	procInfoPID      = 2
	procPIDPath      = 11
	maxProcPath      = 4096
	microsPerSecond  = 1_000_000
	maxProcArgsBytes = 1 << 20
)

type system struct{ uid uint32 }

func newSystem() system { return system{uint32(unix.Geteuid())} }

// life is empty: macOS has nothing that pins a process short of its audit token. A life is told by pid and start time
// (in microseconds), and looked at before and after everything that is read.
type life struct{}

// connected names the process at the other end of conn.
func (n *Namer) connected(conn net.Conn) (*proc, error) {
	var p *proc
	err := control(conn, func(fd int) error {
		uid, err := serverUID(fd)
		if err != nil {
			return err
		}
		if uid != n.system.uid {
			return ErrOtherUser
		}
		pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
		if err != nil {
			return errGone
		}
		if p, err = n.open(pid); errors.Is(err, errTop) { // it changed its user since it connected
			err = ErrOtherUser
		}
		return err
	})
	return p, err
}

// serverUID is the user at the other end; it serves either end of a connection.
func serverUID(fd int) (uint32, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// open reads a process by its pid; errTop when it is the first process or not this user's.
func (n *Namer) open(pid int) (*proc, error) {
	if pid <= 1 {
		return nil, errTop
	}
	info, err := processInfo(pid)
	if err != nil {
		return nil, err
	}
	if info.Eproc.Ucred.Uid != n.system.uid {
		return nil, errTop
	}
	p := &proc{Process: Process{PID: pid, PPID: int(info.Eproc.Ppid), Start: startTime(info)}}
	if p.Exe, err = executable(pid); err == nil {
		p.image, _ = idOfPath(p.Exe) // zero when it cannot be read: then it is unseen
	}
	return p, nil
}

// processInfo returns errGone for a pid without a process and for one that has ended.
func processInfo(pid int) (*unix.KinfoProc, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid || info.Proc.P_stat == stateZombie {
		return nil, errGone
	}
	return info, nil
}

func startTime(info *unix.KinfoProc) uint64 {
	return uint64(info.Proc.P_starttime.Sec)*microsPerSecond + uint64(info.Proc.P_starttime.Usec)
}

func startOf(pid int) (uint64, error) {
	info, err := processInfo(pid)
	if err != nil {
		return 0, err
	}
	return startTime(info), nil
}

// executable asks the kernel for the path of the image; kern.procargs2 would tell what the process says.
func executable(pid int) (string, error) {
	var buf [maxProcPath]byte
	_, _, errno := unix.Syscall6(sysProcInfo, procInfoPID, uintptr(pid), procPIDPath, 0, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	if errno != 0 {
		return "", errno
	}
	return unix.ByteSliceToString(buf[:]), nil
}

func (p *proc) again() (ppid int, err error) {
	info, err := processInfo(p.PID)
	if err != nil {
		return 0, err
	}
	if startTime(info) != p.Start {
		return 0, errGone
	}
	return int(info.Eproc.Ppid), nil
}

func (p *proc) check() error {
	if p.image != (fileID{}) {
		exe, err := executable(p.PID)
		if err != nil {
			return errGone
		}
		if id, err := idOfPath(exe); exe != p.Exe || err == nil && !id.same(p.image) {
			return errChanged
		}
	}
	_, err := p.again()
	return err
}

func (p *proc) close() {}

// look reads what a process runs.
func (n *Namer) look(p *proc) seen {
	s := seen{exe: p.Exe}
	if b, err := unix.SysctlRaw("kern.procargs2", p.PID); err == nil && len(b) <= maxProcArgsBytes {
		s.args = splitProcArgs(b)
	}
	var st unix.Stat_t
	if p.Exe == "" || unix.Lstat(p.Exe, &st) != nil || !idOf(&st).same(p.image) {
		return s
	}
	s.place, s.system, s.mine = private, systems(&st), st.Uid == n.system.uid
	if s.system && fixedPath(p.Exe) {
		s.place = fixed
	}
	return s
}

// openExe opens the file at the path of the image; macOS gives no way to open the image itself.
func (p *proc) openExe() (*os.File, error) { return openPath(p.Exe) }

// openScript opens the file that an argument names and says where it really is. A relative path is not followed: the
// directory that it starts from is not known.
func (p *proc) openScript(arg string) (f *os.File, path string, system bool, err error) {
	if !strings.HasPrefix(arg, "/") {
		return nil, "", false, errors.New("not an absolute path")
	}
	if path, err = filepath.EvalSymlinks(arg); err != nil {
		return nil, "", false, err
	}
	var st unix.Stat_t
	if f, err = openPath(path); err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	return f, path, systems(&st), err
}

// Harden keeps debuggers away from this process and its memory out of core files.
func Harden() error {
	if err := unix.PtraceDenyAttach(); err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
