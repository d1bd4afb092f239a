package windows

import (
	"errors"
	"io"
	"os"
	"os/exec"

	"github.com/valetkey/valetkey/face"
)

// pipes joins two one-way pipes to one connection.
type pipes struct {
	io.ReadCloser
	w io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.w.Write(b) }

func (p pipes) Close() error { return errors.Join(p.w.Close(), p.ReadCloser.Close()) }

// attach makes cmd's standard input and output the pair: Windows has no inherited socket pair. done must be called
// once cmd was started, or was not.
func attach(cmd *exec.Cmd) (conn *face.Conn, done func(), err error) {
	w, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	r, err := cmd.StdoutPipe()
	if err != nil {
		w.Close()
		return nil, nil, err
	}
	return face.NewConn(pipes{r, w}), func() {}, nil
}

// inherited leaves what prints to os.Stdout standard error.
func inherited() (io.ReadWriteCloser, error) {
	for _, f := range []*os.File{os.Stdin, os.Stdout} {
		if st, err := f.Stat(); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
			return nil, errors.New("it is started by valetkey and by nothing else")
		}
	}
	r, w := os.Stdin, os.Stdout
	os.Stdout = os.Stderr
	return pipes{r, w}, nil
}

// become runs cmd with what this process inherited, until it ends.
func become(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
