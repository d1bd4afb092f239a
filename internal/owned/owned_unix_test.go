//go:build unix

package owned

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOwnership changes one thing at a time on the way to a policy file that is good.
func TestOwnership(t *testing.T) {
	const somebody = 4242
	root := os.Geteuid() == 0
	type files struct{ dir, sub, policy, secret string }
	chmod := func(path string, mode os.FileMode) error { return os.Chmod(path, mode) }
	tests := []struct {
		name   string
		root   bool // needs root
		change func(f files) error
		want   string // of the error; "" is fine
	}{
		{"as it should be", false, func(f files) error { return nil }, ""},
		{"readable policy", false, func(f files) error { return chmod(f.policy, 0o644) }, ""},
		{"policy writable by the group", false, func(f files) error { return chmod(f.policy, 0o660) }, "it can be written by others (mode 660)"},
		{"policy writable by all", false, func(f files) error { return chmod(f.policy, 0o602) }, "it can be written by others (mode 602)"},
		{"policy of another", true, func(f files) error { return os.Chown(f.policy, somebody, -1) }, "it belongs to another user (4242)"},
		{"readable secret", false, func(f files) error { return chmod(f.secret, 0o640) }, "it can be read by others (mode 640)"},
		{"secret readable by all", false, func(f files) error { return chmod(f.secret, 0o604) }, "it can be read by others (mode 604)"},
		{"secret of another", true, func(f files) error { return os.Chown(f.secret, somebody, -1) }, "it belongs to another user"},
		{"directory writable by the group", false, func(f files) error { return chmod(f.sub, 0o770) }, "sub can be written by others (mode 770)"},
		{"directory above writable by all", false, func(f files) error { return chmod(f.dir, 0o777) }, "can be written by others (mode 777)"},
		{"directory above sticky", false, func(f files) error { return chmod(f.dir, 0o777|os.ModeSticky) }, ""},
		{"directory sticky, with the files in it", false, func(f files) error { return chmod(f.sub, 0o777|os.ModeSticky) }, ""},
		{"directory of another", true, func(f files) error { return os.Chown(f.sub, somebody, -1) }, "sub belongs to another user (4242)"},
		{"sticky directory of another", true, func(f files) error {
			if err := chmod(f.sub, 0o777|os.ModeSticky); err != nil {
				return err
			}
			return os.Chown(f.sub, somebody, -1)
		}, "sub belongs to another user (4242)"},
		{"policy is a directory", false, func(f files) error { os.Remove(f.policy); return os.Mkdir(f.policy, 0o700) }, "it is not a regular file"},
		{"policy is a FIFO", false, func(f files) error { os.Remove(f.policy); return syscall.Mkfifo(f.policy, 0o600) }, "it is not a regular file"},
		{"policy is missing", false, func(f files) error { return os.Remove(f.policy) }, "no such file"},
		{"link in a safe place", false, func(f files) error {
			os.Rename(f.policy, f.dir+"/real")
			return os.Symlink("../real", f.policy)
		}, ""},
		{"link to a place that others can write", false, func(f files) error {
			os.Mkdir(f.dir+"/open", 0o700)
			os.Rename(f.policy, f.dir+"/open/real")
			chmod(f.dir+"/open", 0o777)
			return os.Symlink(f.dir+"/open/real", f.policy)
		}, "open can be written by others"},
		{"directory is a link in a place that others can write", false, func(f files) error {
			os.Mkdir(f.dir+"/open", 0o700)
			os.Rename(f.sub, f.dir+"/real")
			os.Symlink("../real", f.dir+"/open/sub")
			chmod(f.dir+"/open", 0o777)
			return os.Symlink("open/sub", f.sub)
		}, "open can be written by others"},
		{"links in a circle", false, func(f files) error { os.Remove(f.policy); return os.Symlink("policy.json", f.policy) }, "too many levels of symbolic links"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.root && !root {
				t.Skip("needs root to give a file away")
			}
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err == nil {
				err = os.Chmod(dir, 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
			sub := filepath.Join(dir, "sub")
			f := files{dir, sub, filepath.Join(sub, "policy.json"), filepath.Join(sub, "secret")}
			if err := os.Mkdir(sub, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{f.policy, f.secret} {
				if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := test.change(f); err != nil {
				t.Fatal(err)
			}
			_, _, err = Read(f.policy, 100)
			if err == nil {
				_, _, err = ReadPrivate(f.secret, 100)
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
			chmod(dir, 0o700)
		})
	}
}

// TestProgram: a program is run only if those who can change it are root and the owner of the program beside it.
func TestProgram(t *testing.T) {
	const somebody, another = 4242, 4243
	for _, test := range []struct {
		name          string
		mode          os.FileMode
		owner, beside int // 0: who runs the test
		want          string
	}{
		{"as it should be", 0o755, 0, 0, ""},
		{"writable by the group", 0o775, 0, 0, "it can be written by others (mode 775)"},
		{"writable by all", 0o757, 0, 0, "it can be written by others (mode 757)"},
		{"of another", 0o755, somebody, another, "it belongs to another user (4242)"},
		{"of the owner of the program beside it", 0o755, somebody, somebody, ""},
		{"a directory", os.ModeDir | 0o755, 0, 0, "it is not a regular file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.owner != 0 && os.Geteuid() != 0 {
				t.Skip("needs root to give a file away")
			}
			dir := t.TempDir()
			program, beside := filepath.Join(dir, "window"), filepath.Join(dir, "beside")
			make := func(path string, mode os.FileMode, owner int) error {
				if mode.IsDir() {
					return os.Mkdir(path, mode.Perm())
				}
				if err := os.WriteFile(path, nil, 0o700); err != nil {
					return err
				}
				if owner != 0 {
					if err := os.Chown(path, owner, -1); err != nil {
						return err
					}
				}
				return os.Chmod(path, mode)
			}
			if err := errors.Join(make(program, test.mode, test.owner), make(beside, 0o755, test.beside)); err != nil {
				t.Fatal(err)
			}
			f, err := Program(program, beside)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
			f.Close()
		})
	}
}

// TestDirectory: what is kept between runs lies where nobody else can write.
func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := Directory(filepath.Join(dir, "new", "one")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "new", "one")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("made with %v (%v)", info.Mode(), err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(dir, "shared")
	if err := os.Mkdir(shared, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: "", filepath.Join(file, "below"): "", shared: "written by others"} {
		if err := Directory(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: err = %v", path, err)
		}
	}
}
