package owned

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	changeFile = windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | takeOver
	changeDir  = fileDeleteChild | takeOver // a new name beside ours does no harm
	takeOver   = windows.DELETE | windows.WRITE_DAC | windows.WRITE_OWNER | windows.GENERIC_WRITE | windows.GENERIC_ALL
	readFile   = windows.FILE_READ_DATA | windows.GENERIC_READ

	fileDeleteChild = 0x40 // FILE_DELETE_CHILD, winnt.h
)

// open opens a regular file that only the person and the system can change, below directories of which the same is
// true. private: nor readable by others.
func open(path string, private bool) (*os.File, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := check(f, path, private); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func check(f *os.File, path string, private bool) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	trusted, err := trustedSIDs()
	if err != nil {
		return err
	}
	deny := windows.ACCESS_MASK(changeFile)
	if private {
		deny |= readFile
	}
	sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err == nil {
		err = checkDescriptor(sd, trusted, deny)
	}
	for dir := filepath.Dir(path); err == nil; dir = filepath.Dir(dir) {
		if sd, err = windows.GetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION); err == nil {
			err = checkDescriptor(sd, trusted, changeDir)
		}
		if err != nil {
			return fmt.Errorf("the directory %s: %w", dir, err)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return err
}

func checkProgram(f *os.File, like string) error {
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, errors.New("it is not a regular file"))
	}
	trusted, err := trustedSIDs()
	if err != nil {
		return err
	}
	beside, err := windows.GetNamedSecurityInfo(like, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	owner, _, err := beside.Owner()
	if err != nil {
		return err
	}
	sd, err := windows.GetSecurityInfo(windows.Handle(f.Fd()), windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	return checkDescriptor(sd, append(trusted, owner), changeFile)
}

// checkDirectory has nothing to find: who may write to it follows from the profile it lies in.
func checkDirectory(string, os.FileInfo) error { return nil }

// trustedSIDs are the person and those who can change everything anyway.
func trustedSIDs() ([]*windows.SID, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, err
	}
	trusted := []*windows.SID{user.User.Sid}
	for _, kind := range []windows.WELL_KNOWN_SID_TYPE{windows.WinLocalSystemSid, windows.WinBuiltinAdministratorsSid, windows.WinCreatorOwnerSid} {
		sid, err := windows.CreateWellKnownSid(kind)
		if err != nil {
			return nil, err
		}
		trusted = append(trusted, sid)
	}
	installer, err := windows.StringToSid("S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464") // NT SERVICE\TrustedInstaller
	if err != nil {
		return nil, err
	}
	return append(trusted, installer), nil
}

// checkDescriptor finds an owner or an entry by which somebody else may do one of deny.
func checkDescriptor(sd *windows.SECURITY_DESCRIPTOR, trusted []*windows.SID, deny windows.ACCESS_MASK) error {
	known := func(sid *windows.SID) bool { return slices.ContainsFunc(trusted, sid.Equals) }
	owner, _, err := sd.Owner()
	if err != nil {
		return err
	}
	if !known(owner) {
		return fmt.Errorf("it belongs to another user (%s)", owner)
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	if dacl == nil { // no list at all: everybody may do everything
		return errors.New("it can be changed by everybody")
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return err
		}
		switch ace.Header.AceType {
		case windows.ACCESS_DENIED_ACE_TYPE:
			continue
		case windows.ACCESS_ALLOWED_ACE_TYPE:
		default:
			return fmt.Errorf("it has an access rule of a kind that is not understood (%d)", ace.Header.AceType)
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		if ace.Header.AceFlags&windows.INHERIT_ONLY_ACE == 0 && ace.Mask&deny != 0 && !known(sid) {
			return fmt.Errorf("others can read or change it (%s)", sid)
		}
	}
	return nil
}
