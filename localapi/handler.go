package localapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// versions lists the API versions this program speaks, as they stand in the path.
var versions = []string{"v1"}

// Headers of every reply.
const (
	headerVersion   = "Valetkey-Version"
	headerAPIMinor  = "Valetkey-Api-Minor"
	headerRequestID = "Valetkey-Request-Id"
)

// handler guards the door and answers the calls. It logs refusals that are our own fault, and nothing of a call that
// succeeds: that line is the activity log's.
type handler struct {
	backend Backend
	mcp     http.Handler // nil: nothing is forwarded
	log     *slog.Logger
	limit   bounds
	about   map[string][]string // headers of every reply
	fixed   map[string][]string // further ones of every reply of ours
	run     string              // makes request ids differ between two runs of the program
	count   atomic.Uint64
}

func newHandler(cfg ServerConfig, limit bounds) *handler {
	var run [4]byte
	rand.Read(run[:])
	about := map[string][]string{headerVersion: {cfg.Version}, headerAPIMinor: {strconv.Itoa(APIMinor)}}
	return &handler{backend: cfg.Backend, mcp: cfg.MCP, log: cfg.Log, limit: limit, run: hex.EncodeToString(run[:]) + "-", about: about, fixed: map[string][]string{
		"Content-Type":           {"application/json"},
		"X-Content-Type-Options": {"nosniff"},
		"Cache-Control":          {"no-store"}, // RFC 6749 §5.1 asks it of whatever carries a token
	}}
}

type requestIDKey struct{}

// RequestID is the id of the call that ctx belongs to: it stands in the Valetkey-Request-Id header and in every error,
// and joins them with the activity log. It is "" outside of a call.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := h.run + strconv.FormatUint(h.count.Add(1), 10)
	maps.Copy(w.Header(), h.about)
	w.Header()[headerRequestID] = []string{id}
	if h.mcp != nil && strings.HasPrefix(r.URL.Path, MCPPrefix) {
		h.forward(w, r, id)
		return
	}
	h.fixedHeaders(w)
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("panic in a call", "request_id", id, "panic", p, "stack", string(debug.Stack()))
			h.fail(w, Errorf(ErrInternal, "Valet Key made a mistake of its own; its log has the details"), id)
		}
	}()
	answer, err := h.answer(context.WithValue(r.Context(), requestIDKey{}, id), w, r)
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.limit.write))
	if err != nil {
		h.fail(w, h.wireError(r.Context(), err, id), id)
		return
	}
	w.Write(answer)
}

func (h *handler) fixedHeaders(w http.ResponseWriter) { maps.Copy(w.Header(), h.fixed) }

// answer guards the door, finds the call and makes it.
func (h *handler) answer(ctx context.Context, w http.ResponseWriter, r *http.Request) ([]byte, error) {
	wire := http.NewResponseController(w)
	if r.Body != http.NoBody {
		// Before anything can fail: net/http reads the rest of a body that was not wanted.
		wire.SetReadDeadline(time.Now().Add(h.limit.read))
	}
	if err := guard(r, ""); err != nil {
		return nil, err
	}
	call, err := route(r)
	if err != nil {
		if call != nil {
			w.Header()["Allow"] = []string{call.method}
		}
		return nil, err
	}
	var body []byte
	if call.method == http.MethodPost {
		if body, err = h.read(w, r); err != nil {
			return nil, err
		}
	}
	if r.Body != http.NoBody {
		wire.SetReadDeadline(time.Time{}) // the call may take minutes; until it returns, a read only notices a hang-up
	}
	return call.make(ctx, h.backend, peerOf(ctx), body)
}

// guard refuses what no host would send and a browser would, if it were ever led here; but not the header tolerated.
func guard(r *http.Request, tolerated string) error {
	for name := range r.Header {
		if name == tolerated {
			continue
		}
		if name == "Origin" || name == "Referer" || strings.HasPrefix(name, "Sec-Fetch-") {
			return refuse(http.StatusForbidden, "requests made by a browser are refused (they carry %s)", name).
				WithHint("use an HTTP library that is not a browser's; in Node use node:http, not fetch")
		}
	}
	if r.Host != clientHost && r.Host != "localhost" {
		return refuse(http.StatusForbidden, "the Host header must be %s or localhost", clientHost)
	}
	return nil
}

// route finds the call. With the error of a wrong method it returns the call that was meant.
func route(r *http.Request) (*call, error) {
	call, ok := calls[r.URL.Path]
	if !ok {
		if version, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); isVersion(version) && !slices.Contains(versions, version) {
			return nil, Errorf(ErrVersion, "this Valet Key does not speak version %s of the API, only %s", clip(version), strings.Join(versions, ", ")).
				WithHint("update whichever of the two programs is older")
		}
		return nil, refuse(http.StatusNotFound, "there is no call %s", clip(r.URL.Path))
	}
	if r.Method != call.method {
		return call, refuse(http.StatusMethodNotAllowed, "%s is called with %s", r.URL.Path, call.method)
	}
	return call, nil
}

// isVersion reports whether a path's first part asks for a version: v and digits.
func isVersion(s string) bool {
	digits, ok := strings.CutPrefix(s, "v")
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// read reads a JSON body whole.
func (h *handler) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return nil, refuse(http.StatusUnsupportedMediaType, "the Content-Type must be application/json")
	}
	body, err := readBody(r.Body, r.ContentLength, h.limit.body)
	if err == nil {
		return body, nil
	}
	w.Header()["Connection"] = []string{"close"} // rather than read the rest to keep the connection
	if errors.Is(err, errTooLarge) {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d KiB", h.limit.body>>10)
	}
	return nil, refuse(http.StatusRequestTimeout, "the body did not arrive whole within %s", h.limit.read)
}

var errTooLarge = errors.New("too large")

// readBody reads a body of at most limit bytes whole; length is what its sender announced, -1 for nothing.
func readBody(body io.Reader, length, limit int64) ([]byte, error) {
	switch {
	case length > limit:
		return nil, errTooLarge
	case length >= 0:
		content := make([]byte, length)
		_, err := io.ReadFull(body, content)
		return content, err
	}
	content, err := io.ReadAll(io.LimitReader(body, limit+1))
	if int64(len(content)) > limit {
		return nil, errTooLarge
	}
	return content, err
}

// wireError makes an error of the Backend fit to send. It copies: several calls may be answered with one Error.
func (h *handler) wireError(ctx context.Context, err error, id string) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
	case ctx.Err() != nil: // the app is closing; or the host hung up, and hears nothing of this
		return Errorf(ErrUnavailable, "Valet Key is closing").WithHint(startHint)
	default:
		h.log.Error("call failed", "request_id", id, "err", err)
		return Errorf(ErrInternal, "Valet Key could not answer because of a mistake of its own; its log has the details")
	}
	if lookup(e.Kind).err == ErrInternal {
		h.log.Error("call failed", "request_id", id, "err", e.Message, "cause", e.Err)
	}
	return &Error{Kind: e.Kind, Message: e.Message, Hint: e.Hint, RetryAfter: e.RetryAfter, status: e.status}
}

// fail sends an error. e must be the caller's own.
func (h *handler) fail(w http.ResponseWriter, e *Error, id string) {
	e.RequestID = id
	if s := e.retryAfterS(); s > 0 {
		w.Header()["Retry-After"] = []string{strconv.Itoa(s)}
	}
	w.WriteHeader(e.HTTPStatus())
	json.NewEncoder(w).Encode(struct {
		Error *Error `json:"error"`
	}{e})
}

// refuse makes the error of a request that HTTP has a status for.
func refuse(status int, format string, args ...any) *Error {
	return &Error{Kind: ErrBadRequest, Message: fmt.Sprintf(format, args...), status: status}
}

// clip shortens what a host sent before it stands in a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
