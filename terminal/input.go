package terminal

import (
	"bytes"
	"io"
	"os"
)

// maxLine bounds one line, in bytes. What is beyond is dropped, and what is left then answers no question.
const maxLine = 4096

// lines cuts a stream of bytes into lines of at most maxLine bytes.
type lines struct {
	whole []string
	part  []byte
}

func (l *lines) add(b []byte) {
	for _, c := range b {
		switch {
		case c == '\n':
			l.whole = append(l.whole, string(bytes.TrimSuffix(l.part, []byte{'\r'})))
			l.part = l.part[:0]
		case len(l.part) < maxLine:
			l.part = append(l.part, c)
		}
	}
}

// end makes a last line without a line end one.
func (l *lines) end() {
	if len(l.part) > 0 {
		l.add([]byte{'\n'})
	}
}

func (l *lines) next() (string, bool) {
	if len(l.whole) == 0 {
		return "", false
	}
	line := l.whole[0]
	l.whole = l.whole[1:]
	return line, true
}

// read takes what In has now, which ready input makes one short read.
func (l *lines) read(f *os.File) error {
	var buf [1024]byte
	n, err := f.Read(buf[:])
	l.add(buf[:n])
	if err == io.EOF {
		l.end()
	}
	if len(l.whole) > 0 {
		return nil
	}
	return err
}
