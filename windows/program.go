package windows

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/valetkey/valetkey/internal/owned"
	"github.com/valetkey/valetkey/localapi"
)

const programName = "valetkey-window"

// Program is the program that shows the windows. Its file is held open, so that what runs later is what lay there at first,
// where the system can run an open file; elsewhere it is run by its name.
type Program struct {
	path string
	file *os.File
}

// ErrNoDisplay says that windows are out of the question here.
var ErrNoDisplay = localapi.Errorf(localapi.ErrUnavailable, "there is no display").WithHint("start valetkey yourself, with --headless")

// Find finds the program that belongs to the executable self: it lies beside it, or in libexec. Why there are no windows is for
// the person, with what to install: ErrNoDisplay or something about the program, as far as can be told without trying.
func Find(getenv func(string) string, self string) (*Program, *localapi.Error) {
	if runtime.GOOS != "windows" && runtime.GOOS != "darwin" && getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
		return nil, ErrNoDisplay
	}
	return find(self)
}

func find(self string) (*Program, *localapi.Error) {
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	dir := filepath.Dir(self)
	name := programName + filepath.Ext(self)
	for _, path := range []string{filepath.Join(dir, name), filepath.Join(filepath.Dir(dir), "libexec", "valetkey", name)} {
		file, err := owned.Program(path, self)
		switch {
		case err == nil:
			return &Program{path, hold(file)}, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, localapi.Errorf(localapi.ErrUnavailable, "%s can't be run: %v", path, err).WithHint("install valetkey-window again, then restart Valet Key")
		}
	}
	return nil, localapi.Errorf(localapi.ErrUnavailable, "valetkey-window is not installed").
		WithHint("install it beside valetkey, then restart Valet Key")
}

// RunRole is valetkey's role "window": a Valet Key that was started before its file was replaced by this one asks so for its
// windows. It goes with the next release.
func RunRole(self string, env []string) error {
	p, err := find(self)
	if err != nil {
		return err
	}
	cmd := p.Command()
	cmd.Env = env
	return become(cmd)
}
