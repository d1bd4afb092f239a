package bridge

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const (
	maxMessage = 16 << 20 // bytes of one message, either way
	buffered   = 16 << 10 // bytes read ahead
)

var errTooLarge = errors.New("larger than 16 MiB")

// lineReader reads what a host writes: one message a line.
type lineReader struct {
	in  *bufio.Reader
	max int
}

func newLineReader(in io.Reader) *lineReader {
	return &lineReader{bufio.NewReaderSize(in, buffered), maxMessage}
}

// next returns the next line without its end; it is the caller's. A line that is too long is skipped whole and given as
// errTooLarge, after which reading goes on. What stands before the end of the input without an end of line comes with
// that end: text and io.EOF.
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := l.in.ReadSlice('\n')
		if long = long || len(line)+len(part) > l.max+1; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return line, err
		case long:
			return nil, errTooLarge
		default:
			return bytes.TrimSuffix(line, []byte("\n")), nil
		}
	}
}
