package bridge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// inProcess makes a handler the other end of an HTTP client, without a network: time can be made to pass.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	answer := &answerWriter{header: http.Header{}, body: w, head: make(chan struct{})}
	served := httptest.NewRequest(req.Method, req.URL.String(), req.Body).WithContext(req.Context())
	served.Header = req.Header.Clone()
	context.AfterFunc(req.Context(), func() { body.CloseWithError(req.Context().Err()) })
	go func() {
		defer func() {
			if recover() != nil { // http.ErrAbortHandler
				w.CloseWithError(io.ErrUnexpectedEOF)
			}
			answer.WriteHeader(http.StatusOK)
			w.Close()
		}()
		p.ServeHTTP(answer, served)
	}()
	select {
	case <-answer.head:
		return &http.Response{StatusCode: answer.status, Header: answer.sent, Body: body, ContentLength: -1, Request: req}, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

type answerWriter struct {
	header, sent http.Header
	status       int
	once         sync.Once
	head         chan struct{}
	body         *io.PipeWriter
}

func (w *answerWriter) Header() http.Header { return w.header }
func (w *answerWriter) Flush()              {}
func (w *answerWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.head)
	})
}
func (w *answerWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// stdioHost is a host that writes and reads lines.
type stdioHost struct {
	t    testing.TB
	in   *io.PipeWriter
	out  *bufio.Reader
	hung *io.PipeReader
	log  bytes.Buffer
	stop context.CancelFunc
	done chan error
}

// start runs a Bridge to a handler that stands where the gateway would.
func start(t testing.TB, handler http.HandlerFunc, options ...func(*Config)) *stdioHost {
	t.Helper()
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return startWith(t, &http.Client{Transport: inProcess{handler}, CheckRedirect: stay}, options...)
}

func startWith(t testing.TB, client *http.Client, options ...func(*Config)) *stdioHost {
	t.Helper()
	in, hostIn := io.Pipe()
	hostOut, out := io.Pipe()
	h := &stdioHost{t: t, in: hostIn, out: bufio.NewReader(hostOut), hung: hostOut, done: make(chan error, 1)}
	cfg := Config{Client: client, URL: "http://valetkey/mcp/mcp.example.com/mcp", Log: slog.New(slog.NewTextHandler(&h.log, nil))}
	for _, o := range options {
		o(&cfg)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	h.stop = stop
	go func() { h.done <- New(cfg).Run(ctx, in, out); out.Close() }()
	t.Cleanup(func() {
		hostIn.Close()
		hostOut.Close()
		stop()
		h.ends()
	})
	return h
}

// say writes a line.
func (h *stdioHost) say(format string, args ...any) {
	h.t.Helper()
	if _, err := fmt.Fprintf(h.in, format+"\n", args...); err != nil {
		h.t.Fatalf("the bridge does not read: %v", err)
	}
}

// hear reads a line and compares it; "…" stands for anything.
func (h *stdioHost) hear(want string) string {
	h.t.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil {
		h.t.Fatalf("instead of %s: %v", want, err)
	}
	line = strings.TrimSuffix(line, "\n")
	if !json.Valid([]byte(line)) {
		h.t.Fatalf("not JSON: %q", line)
	}
	if !like(line, want) {
		h.t.Fatalf("heard\n%s, want\n%s", line, want)
	}
	return line
}

// like reports whether s is pattern, in which "…" stands for anything.
func like(s, pattern string) bool {
	parts := strings.Split(pattern, "…")
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for i, part := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return s == ""
}

// quits closes the bridge's input and reads what it still says, which must be want.
func (h *stdioHost) quits(want string) error {
	h.t.Helper()
	h.in.Close()
	rest, _ := io.ReadAll(h.out)
	if !like(string(rest), want) {
		h.t.Fatalf("at the end it said %q, want %q", rest, want)
	}
	return h.ends()
}

// ends waits for Run to return.
func (h *stdioHost) ends() error {
	h.t.Helper()
	select {
	case err := <-h.done:
		h.done <- err
		return err
	case <-time.After(20 * time.Second):
		h.t.Fatal("the bridge does not end")
		return nil
	}
}

// request is what a handler got.
type request struct {
	*http.Request
	message
	w http.ResponseWriter
}

// serve makes a handler of one that looks at messages; it answers with JSON unless the handler wrote something itself.
func serve(handle func(r request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m, _ := parseOne(bytes.TrimSpace(body))
		if answer := handle(request{r, m, w}); answer != "" {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, answer)
		} else if m.id == nil {
			w.WriteHeader(http.StatusAccepted)
		}
	}
}

// result is the response to a request.
func (r request) result(result string) string { return string(newResult(r.id, []byte(result)).raw) }

// refuse answers with a status and a body.
func (r request) refuse(status int, kind, body string) string {
	r.w.Header().Set("Content-Type", kind)
	r.w.WriteHeader(status)
	io.WriteString(r.w, body)
	return ""
}

// events begins an event stream and writes events into it.
func (r request) events(events ...string) string {
	r.w.Header().Set("Content-Type", "text/event-stream")
	r.w.WriteHeader(http.StatusOK)
	for _, e := range events {
		io.WriteString(r.w, e+"\n\n")
	}
	r.w.(http.Flusher).Flush()
	return ""
}

const (
	hello   = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"host","version":"1"}}}`
	welcome = `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}`
	ready   = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	meta    = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
)
