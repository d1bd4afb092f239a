package bridge

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"
)

const (
	defaultRetry = time.Second     // before a stream is taken up again, if its server did not say
	longestRetry = 5 * time.Minute // that a server may ask for
)

// eventReader reads server-sent events (WHATWG HTML, section 9.2).
type eventReader struct {
	lastID string        // of the newest event that had one: where to resume
	retry  time.Duration // what the server last asked for

	in        *bufio.Reader
	max       int
	line      []byte
	skipLF    bool // the last line ended in CR, so a LF is the rest of its end
	afterMark bool // the byte order mark has been looked for
}

func newEventReader(in io.Reader) *eventReader {
	return &eventReader{retry: defaultRetry, in: bufio.NewReaderSize(in, buffered), max: maxMessage}
}

// next returns the data of the next event of type message; it is the caller's.
func (r *eventReader) next() ([]byte, error) {
	for {
		if kind, data, err := r.event(); err != nil || kind == "" || kind == "message" {
			return data, err
		}
	}
}

// event returns the type and the data of the next event. Events without data (they carry an id to resume at) and comments
// are passed over. An event or line that grows too large is errTooLarge, and ends the reading.
func (r *eventReader) event() (kind string, data []byte, err error) {
	var id string
	var hasData, hasID bool
	for {
		line, err := r.readLine()
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return "", nil, err
		}
		if len(line) == 0 {
			// WHATWG drops an event without the empty line after it; some servers end their last one so.
			if hasID && (hasData || !ended) {
				r.lastID = id
			}
			switch {
			case hasData && len(data) > 0:
				return kind, data, nil
			case ended:
				return "", nil, io.EOF
			}
			kind, data, hasData, hasID = "", nil, false, false
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			if hasData {
				data = append(data, '\n')
			}
			if len(data)+len(value) > r.max {
				return "", nil, errTooLarge
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
				r.retry = min(time.Duration(ms)*time.Millisecond, longestRetry)
			}
		}
	}
}

// readLine returns the next line without its end: CR, LF or both. It never waits for a LF after a CR. What stands
// before the end of the stream without an end of line is dropped, unless it is data.
func (r *eventReader) readLine() ([]byte, error) {
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
				r.in.Discard(1)
				continue
			}
		}
		end := lineEnd(chunk)
		whole := end >= 0
		if !whole {
			end = len(chunk)
		}
		if len(r.line)+end > r.max+len("data: ") {
			return nil, errTooLarge
		}
		r.line = append(r.line, chunk[:end]...)
		if !whole {
			r.in.Discard(end)
			continue
		}
		r.skipLF = chunk[end] == '\r'
		r.in.Discard(end + 1)
		if !r.afterMark {
			r.afterMark = true
			return bytes.TrimPrefix(r.line, []byte("\ufeff")), nil
		}
		return r.line, nil
	}
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
