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
	body := x.body(resp)
	defer func() { x.gateway.endpoints.drop(x.named) }()
	var end tail
	for {
		n, err := body.Read(buffer[:])
		switch {
		case x.withdrawn() != nil: // what came since is not the host's any more
			if _, answered := x.message.failure(x.withdrawn()); answered && carriesEvents(resp) && end.betweenEvents() {
				w.Write(x.lastEvent(x.withdrawn()))
				return
			}
			panic(http.ErrAbortHandler)
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

// lastEvent is the event that says why a stream ends. It is the answer to the requests that the stream was to answer.
func (x *exchange) lastEvent(err error) []byte {
	content, _ := x.message.failure(x.gateway.explain(x, err))
	data, _ := json.Marshal(content) // it always can be
	return fmt.Appendf(nil, "event: message\ndata: %s\n\n", data)
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
