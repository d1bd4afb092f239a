package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/valetkey/valetkey/localapi"
)

const (
	maxFile      = 64 << 20 // bytes; the largest of these files hold histories of many sessions
	backupSuffix = ".valetkey-backup"
	mark         = "\ufeff" // a byte order mark: kept, and never shown to a format
)

// file is a configuration file as it was read.
type file struct {
	path    string // as the host knows it
	target  string // what is written: path itself, or what it links to
	raw     []byte
	text    []byte // raw without a byte order mark
	missing bool
	mode    fs.FileMode
}

// readFile reads a file; one that does not exist has no text.
func readFile(path string) (*file, error) {
	f := &file{path: path, target: path, mode: 0o600}
	target, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(path); err == nil {
			return nil, localapi.Errorf(localapi.ErrBadRequest, "%s is a link to nothing", path)
		}
		f.missing = true
		return f, nil
	case err != nil:
		return nil, err
	}
	f.target = target
	return f, f.read()
}

func (f *file) read() error {
	in, err := os.Open(f.target)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return localapi.Errorf(localapi.ErrBadRequest, "%s is not a file", f.target)
	}
	f.mode = info.Mode().Perm()
	if f.raw, err = io.ReadAll(io.LimitReader(in, maxFile+1)); err != nil {
		return err
	}
	if len(f.raw) > maxFile {
		return fmt.Errorf("%s: %w", f.path, errTooLarge)
	}
	f.text = bytes.TrimPrefix(f.raw, []byte(mark))
	return nil
}

// with returns what the file holds when its text is replaced.
func (f *file) with(text []byte) []byte {
	if bytes.HasPrefix(f.raw, []byte(mark)) {
		return append([]byte(mark), text...)
	}
	return text
}

// errChanged says that somebody else wrote the file meanwhile.
func (f *file) errChanged() error {
	return localapi.Errorf(localapi.ErrUnavailable, "%s was changed by another program meanwhile", f.path).
		WithHint("nothing was written; try again, with that program closed if it happens again")
}

// unchanged looks whether the file is as it was read.
func (f *file) unchanged() error {
	now, err := readFile(f.path)
	switch {
	case err != nil:
		return err
	case now.missing != f.missing || now.target != f.target || !bytes.Equal(now.raw, f.raw):
		return f.errChanged()
	}
	return nil
}

// replace puts content in the file's place in one step, with the file's mode and owner. Between the last look and that
// step another writer has some microseconds; no lock that all hosts obey exists.
func (f *file) replace(content []byte) error {
	if !f.missing && f.mode&0o200 == 0 {
		return localapi.Errorf(localapi.ErrBadRequest, "%s is write-protected", f.path)
	}
	if f.missing {
		if err := os.MkdirAll(filepath.Dir(f.target), 0o700); err != nil {
			return err
		}
	}
	temp, err := f.temporary(f.target, content)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // gone already when all went well
	if err := f.unchanged(); err != nil {
		return err
	}
	if f.missing { // a link fails where a file has appeared; a rename would replace it
		switch err := os.Link(temp, f.target); {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrExist):
			return f.errChanged()
		} // else a file system without links
	}
	return os.Rename(temp, f.target)
}

// remove deletes the file.
func (f *file) remove() error {
	if err := f.unchanged(); err != nil {
		return err
	}
	return os.Remove(f.target)
}

// temporary writes content beside path, with the mode and owner of f.
func (f *file) temporary(path string, content []byte) (string, error) {
	out, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = out.Write(content)
	if err == nil {
		err = out.Chmod(f.mode)
	}
	if err == nil && !f.missing {
		err = keepOwner(f.target, out)
	}
	if err == nil {
		err = out.Sync()
	}
	if err := errors.Join(err, out.Close()); err != nil {
		os.Remove(out.Name())
		return "", err
	}
	return out.Name(), nil
}

// backup keeps the file as it is, beside it.
func (f *file) backup() error {
	temp, err := f.temporary(f.path+backupSuffix, f.raw)
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	return os.Rename(temp, f.path+backupSuffix)
}

// before is the file's text from before the first entry of ours, or nil.
func (f *file) before() ([]byte, error) {
	kept, err := readFile(f.path + backupSuffix)
	switch {
	case err != nil:
		return nil, err
	case kept.missing:
		return nil, nil
	case kept.text == nil:
		return []byte{}, nil
	}
	return kept.text, nil
}
