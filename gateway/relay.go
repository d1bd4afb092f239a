package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"sync"
)

// buffers holds what streams pass through; one lasts for a whole stream.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// relay passes a server's answer on, each part as it comes. A stream that breaks on one side is broken off on the other:
// an end would say that it was whole.
func (x *exchange) relay(w http.ResponseWriter, resp *http.Response) {
	maps.Copy(w.Header(), answerHeader(resp.Header))
	w.WriteHeader(resp.StatusCode)
	wire := http.NewResponseController(w)
	if resp.ContentLength < 0 {
		wire.Flush() // the head may be all there is for a while
	}
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	var end tail
	for {
		n, err := resp.Body.Read(buffer[:])
		switch {
		case x.withdrawn() != nil: // what came since is not the host's any more
			if !carriesEvents(resp) || !end.betweenEvents() || !x.lastEvent(w) {
				panic(http.ErrAbortHandler)
			}
			return
		case n > 0:
			if _, lost := w.Write(buffer[:n]); lost != nil {
				return // closing the answer tells the server
			}
			wire.Flush()
			end.add(buffer[:n])
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
	}
}

// lastEvent answers the requests of the message that a stream was to answer, with why it ends. It reports whether there
// are any.
func (x *exchange) lastEvent(w io.Writer) bool {
	content, answered := x.message.failure(x.gateway.explain(x, nil))
	if !answered {
		return false
	}
	event, err := json.Marshal(content)
	if err == nil {
		_, err = fmt.Fprintf(w, "event: message\ndata: %s\n\n", event)
	}
	return err == nil
}

// carriesEvents reports whether an answer is an event stream as it stands, without a length or an encoding.
func carriesEvents(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind == "text/event-stream" && resp.ContentLength < 0 && resp.Header.Get("Content-Encoding") == ""
}

// tail is the end of what was passed on of a stream.
type tail []byte

func (t *tail) add(part []byte) {
	*t = append(*t, part[max(0, len(part)-4):]...)
	*t = (*t)[max(0, len(*t)-4):]
}

// betweenEvents reports whether no event has begun that has not ended (WHATWG HTML, section 9.2.5: an empty line ends
// one, and lines end in LF, CR or both).
func (t tail) betweenEvents() bool {
	lines := bytes.ReplaceAll(bytes.ReplaceAll(t, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	return len(t) == 0 || bytes.HasSuffix(lines, []byte("\n\n"))
}
