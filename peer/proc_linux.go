package peer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// system is what the platform file keeps in a Namer.
type system struct {
	peerPidfd func(socket int) (int, error) // SO_PEERPIDFD
	uid       uint32
	apparmor  bool
}

func newSystem() system {
	return system{
		peerPidfd: func(socket int) (int, error) {
			return unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		},
		uid:      uint32(unix.Geteuid()),
		apparmor: string(readAt(unix.AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 1)) == "Y",
	}
}

// life pins a process. All of it stays with the process that was opened when its pid comes to mean another one. The
// executable is held too: while it is open, its inode number cannot be given to another file.
//
// A name below /proc/PID, looked up by number, is the process's own if one of these shows afterwards that it still lives.
type life struct {
	pidfd int
	dir   int // /proc/PID; -1 until held opens it
	stat  int // /proc/PID/stat
	exe   int // O_PATH; -1 when it could not be opened
	file  unix.Stat_t
}

// connected pins the process at the other end of conn.
func (n *Namer) connected(conn net.Conn) (*proc, error) {
	var p *proc
	err := control(conn, func(fd int) error {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return err
		}
		if cred.Uid != n.system.uid {
			return ErrOtherUser
		}
		if cred.Pid <= 0 { // outside of our pid namespace
			return fmt.Errorf("the peer has no pid that can be seen from here: %w", errUnsupported)
		}
		pidfd, err := n.system.peerPidfd(fd)
		if errors.Is(err, unix.ENOPROTOOPT) { // Linux < 6.5
			pidfd, err = unix.PidfdOpen(int(cred.Pid), 0)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errGone, err)
		}
		p, err = pinned(pidfd, int(cred.Pid))
		return err
	})
	return p, err
}

// serverUID is who listens at the other end: the kernel keeps the credentials of the process that called listen.
func serverUID(fd int) (uint32, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// open pins a process by its pid; errTop when it is the first process or not this user's.
func (n *Namer) open(pid int) (*proc, error) {
	if pid <= 1 {
		return nil, errTop
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	p, err := pinned(pidfd, pid)
	if err != nil {
		return nil, err
	}
	// The owner of /proc/PID is the process's user; root's when the process does not let itself be examined, as sshd
	// does not: there is nothing to be read of it either way.
	var dir unix.Stat_t
	if unix.Stat(p.name(""), &dir) != nil || dir.Uid != n.system.uid || exited(p.pidfd) {
		p.close()
		return nil, errTop
	}
	return p, nil
}

// pinned takes over pidfd, opens the rest, and looks last whether the process still lives: then all of it was the same
// process.
func pinned(pidfd, pid int) (*proc, error) {
	p := &proc{life: life{pidfd: pidfd, dir: -1, stat: -1, exe: -1}}
	p.PID = pid
	if err := p.pin(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// name is the path of something below /proc/PID.
func (p *proc) name(below string) string {
	var room [32]byte
	return string(append(strconv.AppendInt(append(room[:0], "/proc/"...), int64(p.PID), 10), below...))
}

func (p *proc) pin() (err error) {
	if p.life.stat, err = unix.Open(p.name("/stat"), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return gone(err)
	}
	if p.exe, err = unix.Open(p.name("/exe"), unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
		if err = unix.Fstat(p.exe, &p.file); err == nil {
			p.image = idOf(&p.file)
		}
	}
	st, err := readStat(p.life.stat)
	if err != nil {
		return gone(err)
	}
	p.PPID, p.Start, p.mark = st.ppid, st.start, st.mark
	if exited(p.pidfd) {
		return errGone
	}
	return nil
}

// held opens the directory of the process, for as long as the process is open.
func (p *proc) held() (dir int, err error) {
	if p.dir < 0 {
		if p.dir, err = unix.Open(p.name(""), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return -1, gone(err)
		}
		if exited(p.pidfd) { // so it may be another's
			unix.Close(p.dir)
			p.dir = -1
			return -1, errGone
		}
	}
	return p.dir, nil
}

// gone turns the errors with which /proc says that a process ended into errGone.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return errGone
	}
	return err
}

// exited polls: unlike signal 0 this also tells of a process that ended and was not waited for.
func exited(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return err != nil || n != 0
		}
	}
}

// again looks whether the process lives, and has not executed anything, and says who its parent is now.
func (p *proc) again() (ppid int, err error) {
	st, err := readStat(p.life.stat)
	if err != nil {
		return 0, gone(err)
	}
	if st.start != p.Start || st.mark != p.mark {
		return 0, errChanged
	}
	return st.ppid, nil
}

// check looks up the image by number and then whether the process lives and is what it was, so that the image was its own.
func (p *proc) check() error {
	var st unix.Stat_t
	imageErr := unix.Stat(p.name("/exe"), &st)
	if _, err := p.again(); err != nil {
		return err
	}
	switch {
	case imageErr == nil && idOf(&st).same(p.image), imageErr != nil && p.exe < 0: // in the latter case it still hides
		return nil
	case imageErr != nil && exited(p.pidfd):
		return errGone
	}
	return errChanged
}

func (p *proc) close() {
	for _, fd := range [...]int{p.pidfd, p.dir, p.life.stat, p.exe} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	p.life = life{-1, -1, -1, -1, unix.Stat_t{}}
}

// stat is what is read of /proc/PID/stat.
type stat struct {
	state byte
	ppid  int
	start uint64 // clock ticks since boot
	mark  [2]uint64
}

var errStat = errors.New("/proc/PID/stat is not as it should be")

// statRoom has room for what parseStat looks at: 27 numbers and a name of at most 64 bytes. What follows may be cut off.
var statRoom = sync.Pool{New: func() any { return new([768]byte) }}

func readStat(fd int) (stat, error) {
	room := statRoom.Get().(*[768]byte)
	defer statRoom.Put(room)
	n, err := unix.Pread(fd, room[:], 0)
	if err != nil {
		return stat{}, err
	}
	st, err := parseStat(room[:n])
	if err == nil && (st.state == 'Z' || st.state == 'X') {
		err = errGone
	}
	return st, err
}

// parseStat reads proc_pid_stat(5). The second field is the process's own word, in parentheses, and may hold
// parentheses and spaces itself: the numbers begin behind the last one.
func parseStat(line []byte) (st stat, err error) {
	i := bytes.LastIndexByte(line, ')')
	if i < 0 || i+3 >= len(line) || line[i+1] != ' ' {
		return stat{}, errStat
	}
	st.state = line[i+2]
	field := 3 // numbered from 1, as in the manual
	found := 0
	for word := range bytes.FieldsSeq(line[i+2:]) {
		if field == 4 || field == 22 || field == 26 || field == 28 {
			v, ok := number(word)
			if !ok {
				return stat{}, errStat
			}
			switch field {
			case 4:
				if v > math.MaxInt32 {
					return stat{}, errStat
				}
				st.ppid = int(v)
			case 22:
				st.start = v
			case 26: // where code begins: 0 or 1 unless we may examine the process
				st.mark[0] = v
			case 28: // where the stack begins: chosen anew at random by every exec
				st.mark[1] = v
			}
			if found++; found == 4 {
				break
			}
		}
		field++
	}
	if found != 4 {
		return stat{}, errStat
	}
	return st, nil
}

func number(b []byte) (v uint64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := uint64(c - '0')
		if v > (math.MaxUint64-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	return v, true
}

// startOf says when the process with this pid started; errGone when there is none or it has ended.
func startOf(pid int) (uint64, error) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, gone(err)
	}
	defer unix.Close(fd)
	st, err := readStat(fd)
	return st.start, err
}
