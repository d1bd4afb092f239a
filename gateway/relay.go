package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"sync"

	"github.com/valetkey/valetkey/internal/sse"
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
	var end sse.Tail
	for {
		n, err := body.Read(buffer[:])
		switch {
		case x.withdrawn() != nil: // what came since is not the host's any more
			if _, answered := x.message.failure(x.withdrawn()); answered && carriesEvents(resp) && end.BetweenEvents() {
				w.Write(x.lastEvent(x.withdrawn()))
				return
			}
			panic(http.ErrAbortHandler)
		case n > 0:
			if _, lost := w.Write(buffer[:n]); lost != nil {
				return // closing the answer tells the server
			}
			wire.Flush()
			end.Add(buffer[:n])
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
