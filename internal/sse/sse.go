// Package sse reads server-sent events (WHATWG HTML, section 9.2).
package sse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"
)

const (
	DefaultRetry = time.Second     // before a stream is taken up again, if its server did not say
	LongestRetry = 5 * time.Minute // that a server may ask for
)

const buffered = 16 << 10 // bytes read ahead

// Reader reads the events of a stream.
type Reader struct {
	LastID string        // of the newest event that had one: where to resume
	Retry  time.Duration // what the server last asked for
	Offset int64         // how many bytes of the stream have been taken in

	in        *bufio.Reader
	max       int
	tooLarge  error
	line      []byte
	skipLF    bool // the last line ended in CR, so a LF is the rest of its end
	afterMark bool // the byte order mark has been looked for
}

// NewReader reads from in. A line, or an event's data, of more than max bytes is tooLarge, and ends the reading.
func NewReader(in io.Reader, max int, tooLarge error) *Reader {
	return &Reader{Retry: DefaultRetry, in: bufio.NewReaderSize(in, buffered), max: max, tooLarge: tooLarge}
}

// Next returns the type and the data of the next event; they are the caller's. Events without data (they carry an id to
// resume at) and comments are passed over. WHATWG drops an event without the empty line after it; some servers end their
// last one so.
func (r *Reader) Next() (kind string, data []byte, err error) {
	for {
		kind, data, err := r.Block()
		switch {
		case len(data) > 0 && (err == nil || errors.Is(err, io.EOF)):
			return kind, data, nil
		case err != nil:
			return "", nil, err
		}
	}
}

// Block is Next for what stands up to the next empty line, whether that is an event or has no data. What stands after the
// last of these comes with io.EOF.
func (r *Reader) Block() (kind string, data []byte, err error) {
	var id string
	var hasData, hasID bool
	for {
		line, err := r.readLine()
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return "", nil, err
		}
		if len(line) == 0 {
			if hasID && (hasData || !ended) {
				r.LastID = id
			}
			return kind, data, err
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			if hasData {
				data = append(data, '\n')
			}
			if len(data)+len(value) > r.max {
				return "", nil, r.tooLarge
			}
			data, hasData = append(data, value...), true
		case "event":
			kind = string(value)
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				id, hasID = string(value), true
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 32); err == nil {
				r.Retry = min(time.Duration(ms)*time.Millisecond, LongestRetry)
			}
		}
	}
}

// readLine returns the next line without its end: CR, LF or both. It never waits for a LF after a CR. What stands
// before the end of the stream without an end of line is dropped, unless it is data.
func (r *Reader) readLine() ([]byte, error) {
	r.line = r.line[:0]
	for {
		chunk, err := r.in.Peek(max(1, r.in.Buffered()))
		if len(chunk) == 0 {
			if errors.Is(err, io.EOF) && bytes.HasPrefix(r.line, []byte("data:")) {
				line := r.line
				r.line = nil
				return line, nil
			}
			return nil, err
		}
		if r.skipLF {
			if r.skipLF = false; chunk[0] == '\n' {
				r.discard(1)
				continue
			}
		}
		end := lineEnd(chunk)
		whole := end >= 0
		if !whole {
			end = len(chunk)
		}
		if len(r.line)+end > r.max+len("data: ") {
			return nil, r.tooLarge
		}
		r.line = append(r.line, chunk[:end]...)
		if !whole {
			r.discard(end)
			continue
		}
		r.skipLF = chunk[end] == '\r'
		if r.skipLF && bytes.HasPrefix(chunk[end+1:], []byte("\n")) {
			r.skipLF = false
			end++
		}
		r.discard(end + 1)
		if !r.afterMark {
			r.afterMark = true
			return bytes.TrimPrefix(r.line, []byte("\ufeff")), nil
		}
		return r.line, nil
	}
}

func (r *Reader) discard(n int) {
	r.in.Discard(n)
	r.Offset += int64(n)
}

// lineEnd is the index of the first CR or LF; -1 if there is none.
func lineEnd(b []byte) int {
	lf := bytes.IndexByte(b, '\n')
	if lf >= 0 {
		b = b[:lf]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

// Tail is the end of what was passed on of a stream.
type Tail []byte

// Add takes in what was passed on next.
func (t *Tail) Add(part []byte) {
	*t = append(*t, part[max(0, len(part)-4):]...)
	*t = (*t)[max(0, len(*t)-4):]
}

// BetweenEvents reports whether no event has begun that has not ended: an empty line ends one, and lines end in LF, CR
// or both.
func (t Tail) BetweenEvents() bool {
	lines := bytes.ReplaceAll(bytes.ReplaceAll(t, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	return len(t) == 0 || bytes.HasSuffix(lines, []byte("\n\n"))
}
