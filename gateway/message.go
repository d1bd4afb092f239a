package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
)

// maxKept is how much of a message is kept to be sent again. A longer one is passed on as it comes, once.
const maxKept = 16 << 20 // bytes

const maxID = 1 << 10 // bytes of a JSON-RPC id; a longer one is not repeated

// message is the body of a request.
type message struct {
	kept   []byte    // all of it; with rest, its beginning
	rest   io.Reader // nil when kept is all
	length int64     // of kept and rest together, -1 when that is not known
	sent   bool
}

var errCutShort = errors.New("the message did not arrive whole")

// readMessage reads the body of r as far as it is kept.
func readMessage(r *http.Request) (*message, error) {
	m := &message{length: r.ContentLength}
	if r.Body == nil || r.Body == http.NoBody {
		return m, nil
	}
	kept, err := io.ReadAll(io.LimitReader(r.Body, maxKept))
	if err != nil {
		return m, localapi.Errorf(localapi.ErrBadRequest, "the message did not arrive whole").WithStatus(http.StatusRequestTimeout)
	}
	m.kept = kept
	if len(kept) == maxKept {
		m.rest = cutShort{r.Body}
	}
	return m, nil
}

// cutShort tells the host's own failure from the server's.
type cutShort struct{ io.Reader }

func (c cutShort) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = errCutShort
	}
	return n, err
}

// repeats reports whether the message can be sent, for the first time or again.
func (m *message) repeats() bool { return m.rest == nil || !m.sent }

// body is the message to be sent.
func (m *message) body() io.Reader {
	m.sent = true
	switch {
	case m.rest != nil:
		return io.MultiReader(bytes.NewReader(m.kept), m.rest)
	case len(m.kept) == 0:
		return http.NoBody
	}
	return bytes.NewReader(m.kept)
}

// rpc is what matters here of one JSON-RPC message.
type rpc struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// expects reports whether a message is one that gets an answer.
func (c rpc) expects() bool {
	return c.Method != "" && len(c.ID) > 0 && len(c.ID) <= maxID && strings.IndexByte(`"-0123456789`, c.ID[0]) >= 0
}

// read takes the message apart: none if it is not JSON-RPC, several if it is a batch (2025-03-26 only).
func (m *message) read() (messages []rpc, batch bool) {
	if m.rest != nil {
		return nil, false
	}
	content := bytes.TrimLeft(m.kept, " \t\r\n")
	if batch = bytes.HasPrefix(content, []byte("[")); batch {
		if json.Unmarshal(content, &messages) != nil {
			return nil, false
		}
		return messages, true
	}
	var one rpc
	if json.Unmarshal(content, &one) != nil {
		return nil, false
	}
	return []rpc{one}, false
}

// operation says what the message is for: "tools/call add_note". method is that of its request.
func (m *message) operation(method string) string {
	messages, batch := m.read()
	switch {
	case batch:
		return "several at once"
	case len(messages) == 0 || messages[0].Method == "":
		return method
	}
	var params struct{ Name, URI string }
	json.Unmarshal(messages[0].Params, &params) // a method without a name is its own
	return untrusted.Text(strings.TrimSpace(messages[0].Method+" "+params.Name+params.URI), 150)
}

// rpcError is an answer to a JSON-RPC request, or to something that was none: then it has no id.
type rpcError struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Error   rpcProblem      `json:"error"`
}

type rpcProblem struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    *localapi.Error `json:"data"`
}

// failure is the body of the answer to a message that was not forwarded. answered reports whether JSON-RPC has a place
// for it: whether somebody waits for an answer to a request.
func (m *message) failure(e *localapi.Error) (content any, answered bool) {
	text := "Valet Key: " + e.Message
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	// -31000 less the HTTP status: outside of what JSON-RPC reserves and MCP has given meanings to.
	problem := rpcProblem{Code: -31000 - e.HTTPStatus(), Message: text, Data: e}
	messages, batch := m.read()
	all := []rpcError{}
	for _, c := range messages {
		if c.expects() {
			all = append(all, rpcError{"2.0", c.ID, problem})
		}
	}
	switch {
	case len(all) == 0:
		return rpcError{Version: "2.0", Error: problem}, false
	case batch:
		return all, true
	}
	return all[0], true
}
