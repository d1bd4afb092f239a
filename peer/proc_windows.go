package peer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mediumIntegrity is SECURITY_MANDATORY_MEDIUM_RID: sandboxes of browsers run below it.
const mediumIntegrity = 0x2000

// system holds what this user is.
type system struct {
	sid     *windows.SID
	dirs    []string // where the system keeps its shells, lower case
	profile string   // the person's own files, lower case
	err     error
}

func newSystem() system {
	var s system
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		s.err = fmt.Errorf("find out who runs this process: %w", err)
		return s
	}
	s.sid = user.User.Sid
	if dir, err := windows.GetSystemDirectory(); err == nil {
		dir = strings.ToLower(dir)
		s.dirs = []string{dir, filepath.Join(dir, `windowspowershell\v1.0`)}
	}
	if dir, err := windows.KnownFolderPath(windows.FOLDERID_Profile, 0); err == nil {
		s.profile = strings.ToLower(dir) + `\`
	}
	return s
}

// life pins a process: while the handle is open, its pid is not given to another. A process never changes its image.
type life struct{ handle windows.Handle }

// pipe finds the handle of a named pipe; a go-winio connection has it.
func pipe(conn net.Conn) (windows.Handle, error) {
	c, ok := conn.(interface{ Fd() uintptr })
	if !ok {
		return 0, errUnsupported
	}
	return windows.Handle(c.Fd()), nil
}

// connected pins the process at the other end of conn.
func (n *Namer) connected(conn net.Conn) (*proc, error) {
	h, err := pipe(conn)
	if err != nil {
		return nil, err
	}
	var pid uint32
	if err := windows.GetNamedPipeClientProcessId(h, &pid); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnsupported, err)
	}
	return n.openOurs(pid)
}

// openOurs pins a process that must be this user's.
func (n *Namer) openOurs(pid uint32) (*proc, error) {
	p, err := n.open(int(pid))
	if errors.Is(err, errTop) {
		return nil, ErrOtherUser
	}
	return p, err
}

// ServerUser is for our own client, before it sends anything: nil when the process that serves the pipe at the other
// end of conn runs as this user, ErrOtherUser when not, errUnsupported for a connection that does not tell.
func ServerUser(conn net.Conn) error {
	h, err := pipe(conn)
	if err != nil {
		return err
	}
	var pid uint32
	if err := windows.GetNamedPipeServerProcessId(h, &pid); err != nil {
		return fmt.Errorf("%w: %w", errUnsupported, err)
	}
	n := &Namer{system: newSystem()}
	p, err := n.openOurs(pid)
	if err != nil {
		return err
	}
	p.close()
	return nil
}

// open pins a process by its pid; errTop when it is not this user's, or runs below medium integrity.
func (n *Namer) open(pid int) (*proc, error) {
	if n.system.err != nil {
		return nil, n.system.err
	}
	if pid <= 4 { // the idle process and the kernel
		return nil, errTop
	}
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION|windows.SYNCHRONIZE, false, uint32(pid))
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return nil, errTop
	case err != nil:
		return nil, errGone
	}
	p := &proc{Process: Process{PID: pid}, life: life{h}}
	if err := n.pin(p); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (n *Namer) pin(p *proc) error {
	// OpenProcess takes numbers for a process that are not its pid: a remote peer can choose such a one.
	if id, err := windows.GetProcessId(p.handle); err != nil || int(id) != p.PID {
		return errGone
	}
	if !sameUser(p.handle, n.system.sid) {
		return errTop
	}
	var info windows.PROCESS_BASIC_INFORMATION
	err := windows.NtQueryInformationProcess(p.handle, windows.ProcessBasicInformation, unsafe.Pointer(&info), uint32(unsafe.Sizeof(info)), nil)
	if err != nil {
		return fmt.Errorf("read a process: %w", err)
	}
	p.PPID = int(info.InheritedFromUniqueProcessId)
	if p.Start, err = startTime(p.handle); err != nil {
		return fmt.Errorf("read a process: %w", err)
	}
	if p.Exe, err = executable(p.handle); err == nil {
		p.image, _ = idOfPath(p.Exe) // zero when it cannot be read: then it is unseen
	}
	_, err = p.again()
	return err
}

// sameUser reports whether the process runs as sid, and not in a sandbox of low integrity.
func sameUser(process windows.Handle, sid *windows.SID) bool {
	var token windows.Token
	if windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token) != nil {
		return false
	}
	defer token.Close()
	user, err := token.GetTokenUser()
	return err == nil && user.User.Sid.Equals(sid) && integrity(token) >= mediumIntegrity
}

// integrity is the last part of the token's integrity label; 0 when it cannot be read.
func integrity(token windows.Token) uint32 {
	var buf [256]byte
	var n uint32
	if windows.GetTokenInformation(token, windows.TokenIntegrityLevel, &buf[0], uint32(len(buf)), &n) != nil {
		return 0
	}
	sid := (*windows.Tokenmandatorylabel)(unsafe.Pointer(&buf[0])).Label.Sid
	if sid == nil || sid.SubAuthorityCount() == 0 {
		return 0
	}
	return sid.SubAuthority(uint32(sid.SubAuthorityCount()) - 1)
}

// startTime is in 100 ns since 1601.
func startTime(process windows.Handle) (uint64, error) {
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(process, &created, &exited, &kernel, &user); err != nil {
		return 0, err
	}
	return uint64(created.HighDateTime)<<32 | uint64(created.LowDateTime), nil
}

func startOf(pid int) (uint64, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION|windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return 0, errGone
	}
	defer windows.CloseHandle(h)
	if !alive(h) {
		return 0, errGone
	}
	return startTime(h)
}

func alive(process windows.Handle) bool {
	event, err := windows.WaitForSingleObject(process, 0)
	return err == nil && event == uint32(windows.WAIT_TIMEOUT)
}

func executable(process windows.Handle) (string, error) {
	buf := make([]uint16, windows.MAX_LONG_PATH)
	n := uint32(len(buf))
	if err := windows.QueryFullProcessImageName(process, 0, &buf[0], &n); err != nil {
		return "", err
	}
	return windows.UTF16ToString(buf[:n]), nil
}

func (p *proc) again() (ppid int, err error) {
	if p.handle == 0 || !alive(p.handle) {
		return 0, errGone
	}
	return p.PPID, nil
}

func (p *proc) check() error {
	_, err := p.again()
	return err
}

func (p *proc) close() {
	if p.handle != 0 {
		windows.CloseHandle(p.handle)
		p.handle = 0
	}
}

// look reads what a process runs. Who may write a file is not looked at: no path counts as the system's.
func (n *Namer) look(p *proc) seen {
	s := seen{exe: p.Exe, args: commandLine(p.handle)}
	if p.image == (fileID{}) {
		return s
	}
	s.place = private
	lower := strings.ToLower(p.Exe)
	s.mine = n.system.profile != "" && strings.HasPrefix(lower, n.system.profile)
	for _, dir := range n.system.dirs {
		s.system = s.system || filepath.Dir(lower) == dir
	}
	return s
}

// commandLine reads the arguments; nil when they cannot be read or are too long.
func commandLine(process windows.Handle) []string {
	buf := make([]uint64, (2*maxArgBytes+int(unsafe.Sizeof(windows.NTUnicodeString{})))/8+1) // aligned for a pointer
	size := uint32(len(buf) * 8)
	err := windows.NtQueryInformationProcess(process, windows.ProcessCommandLineInformation, unsafe.Pointer(&buf[0]), size, nil)
	if err != nil {
		return nil
	}
	args, err := windows.DecomposeCommandLine((*windows.NTUnicodeString)(unsafe.Pointer(&buf[0])).String())
	if err != nil {
		return nil
	}
	return args[:min(len(args), maxArgs)]
}

// openExe opens the file at the path of the image, which Windows lets nobody write while it runs.
func (p *proc) openExe() (*os.File, error) { return openPath(p.Exe) }

// openScript opens the file that an argument names and says where it really is. A relative path is not followed: the
// directory that it starts from is not known. Nor is one of another machine: to open it tells that machine who we are.
func (p *proc) openScript(arg string) (f *os.File, path string, system bool, err error) {
	if !filepath.IsAbs(arg) || strings.HasPrefix(filepath.ToSlash(arg), "//") {
		return nil, "", false, errors.New("not an absolute path on this machine")
	}
	if path, err = filepath.EvalSymlinks(arg); err != nil {
		return nil, "", false, err
	}
	f, err = openPath(path)
	return f, path, false, err
}

func openPath(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return os.Open(path)
}

func idOfFile(f *os.File) (fileID, error) { return idOfHandle(windows.Handle(f.Fd())) }

func idOfPath(path string) (fileID, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return fileID{}, err
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(name, windows.FILE_READ_ATTRIBUTES, share, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return fileID{}, err
	}
	defer windows.CloseHandle(h)
	return idOfHandle(h)
}

func idOfHandle(h windows.Handle) (fileID, error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return fileID{}, err
	}
	return fileID{
		dev:   uint64(info.VolumeSerialNumber),
		ino:   uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow),
		size:  int64(info.FileSizeHigh)<<32 | int64(info.FileSizeLow),
		mtime: info.LastWriteTime.Nanoseconds(),
	}, nil
}

// Harden keeps Windows from writing this process's memory to an error report when it fails.
func Harden() error {
	windows.SetErrorMode(windows.SEM_FAILCRITICALERRORS | windows.SEM_NOGPFAULTERRORBOX)
	return nil
}
