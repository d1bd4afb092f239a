package gateway

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
)

// buffers holds what streams pass through; one lasts for a whole stream.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// relay passes a server's answer on, each part as it comes. A stream that breaks on one side is broken off on the other:
// an end would say that it was whole.
func relay(w http.ResponseWriter, resp *http.Response) {
	maps.Copy(w.Header(), answerHeader(resp.Header))
	w.WriteHeader(resp.StatusCode)
	wire := http.NewResponseController(w)
	if resp.ContentLength < 0 {
		wire.Flush() // the head may be all there is for a while
	}
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	for {
		n, err := resp.Body.Read(buffer[:])
		if n > 0 {
			if _, lost := w.Write(buffer[:n]); lost != nil {
				return // closing the answer tells the server
			}
			wire.Flush()
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
	}
}
