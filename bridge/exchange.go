package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/valetkey/valetkey/internal/sse"
	"github.com/valetkey/valetkey/localapi"
)

const (
	maxRefusal = 1 << 20     // bytes of an answer that is no success
	lateLimit  = time.Second // for what a stream still brings after the answer it was there for
	shownBody  = 200         // characters of a server's plain words that are shown
	afterword  = "whether it did what was asked is not known"
)

var (
	errBroken = errors.New("the stream ended before the answer")
	errNotMCP = errors.New("not MCP")
)

// refusal is an answer that is no success and no JSON-RPC message of the server.
type refusal struct {
	status int
	words  string // of whoever refused, for the person
	app    bool   // it was the app, not the server
}

func (e *refusal) Error() string { return e.words }

// end is how an exchange ended.
type end struct {
	status  int
	app     bool          // the app answered in place of the server
	session string        // Mcp-Session-Id
	stream  bool          // it was an event stream
	lastID  string        // where to take the stream up again; "" if it cannot be
	retry   time.Duration // after which time
	events  int           // that the stream brought
	fault   *message      // the JSON-RPC error in an answer that is no success, or in one that names no request
}

// exchange makes one HTTP request and hands got each message of a success in turn, until got returns true. It returns
// then; what the stream brings after that still goes to got, for a moment.
//
// Errors: *localapi.Error if the app is not there, *refusal, errTooLarge, errNotMCP, and those of the network.
func (r *relay) exchange(ctx context.Context, method, url string, body []byte, h http.Header, got func(message) bool) (end, error) {
	return r.open(ctx, method, url, body, h, func() {}, got)
}

// open is exchange that calls opened when the answer begins.
func (r *relay) open(ctx context.Context, method, url string, body []byte, h http.Header, opened func(), got func(message) bool) (end, error) {
	ctx, cancel := context.WithCancel(ctx)
	kept := false // the rest of the answer is being read
	defer func() {
		if !kept {
			cancel()
		}
	}()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return end{}, err
	}
	req.Header = h
	resp, err := r.cfg.Client.Do(req)
	if err != nil {
		return end{}, err
	}
	defer func() {
		if !kept {
			resp.Body.Close()
		}
	}()
	opened()
	e := end{status: resp.StatusCode, app: resp.Header.Get(localapi.HeaderError) != "", session: resp.Header.Get(headerSession), retry: sse.DefaultRetry}
	kind := mediaType(resp)
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return e, r.refused(resp, &e)
	case kind == typeEvents:
		e.stream = true
		events := sse.NewReader(resp.Body, maxMessage, errTooLarge)
		if done, err := r.pump(events, &e, got); !done {
			return e, err
		}
		kept = true
		r.work.Go(func() {
			defer resp.Body.Close()
			defer cancel()
			defer time.AfterFunc(lateLimit, cancel).Stop()
			r.pump(events, new(end), got)
		})
		return e, nil
	}
	return e, r.whole(resp, kind, &e, got)
}

// mediaType is what an answer says it is.
func mediaType(resp *http.Response) string {
	kind, _, _ := strings.Cut(resp.Header.Get(headerType), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// pump hands got what an event stream brings. It reports whether got had enough; if not, err says why there is no more,
// nil meaning that the server ended the stream.
func (r *relay) pump(events *sse.Reader, e *end, got func(message) bool) (done bool, err error) {
	for !done {
		kind, data, err := events.Next()
		e.lastID, e.retry = events.LastID, events.Retry
		if errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		if kind != "" && kind != "message" {
			continue
		}
		e.events++
		messages, _, err := parse(data)
		if err != nil {
			r.log.Warn("an event of the server was dropped", "err", err, "bytes", len(data))
			continue
		}
		for _, m := range messages {
			done = r.use(m, got) || done
		}
	}
	return true, nil
}

// use hands got a message of the server, unless it is none.
func (r *relay) use(m message, got func(message) bool) (done bool) {
	if m.isNothing() {
		r.log.Warn("a message of the server was dropped", "err", errNotRPC, "bytes", len(m.raw))
		return false
	}
	return got(m)
}

// whole hands got the messages of an answer that is not a stream. There may be none: 202 Accepted.
func (r *relay) whole(resp *http.Response, kind string, e *end, got func(message) bool) error {
	body, err := readAll(resp.Body, resp.ContentLength, maxMessage)
	switch {
	case err != nil:
		return err
	case len(bytes.TrimSpace(body)) == 0:
		return nil
	case kind != typeJSON && kind != "":
		return fmt.Errorf("%w: %.100s", errNotMCP, kind)
	}
	messages, _, err := parse(body)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotMCP, err)
	}
	for _, m := range messages {
		if m.fault != nil && m.id == nil {
			e.fault = &m
			continue
		}
		r.use(m, got)
	}
	return nil
}

// refused takes the JSON-RPC error in an answer that is no success; without one it returns a refusal.
func (r *relay) refused(resp *http.Response, e *end) error {
	body, err := readAll(resp.Body, resp.ContentLength, maxRefusal)
	if err != nil {
		body = nil
	}
	if messages, _, err := parse(body); err == nil && len(messages) == 1 && messages[0].code() != 0 {
		e.fault = &messages[0]
		return nil
	}
	words := fmt.Sprintf("%s answered %d %s", r.server, resp.StatusCode, http.StatusText(resp.StatusCode))
	if raw, err := oneLine(body); e.app && err == nil && text(raw, "error", "message") != "" {
		words = advise(text(raw, "error", "message"), text(raw, "error", "hint"))
	} else if kind := resp.Header.Get(headerType); strings.HasPrefix(kind, "text/plain") || strings.HasPrefix(kind, typeJSON) {
		if said := plain(body); said != "" {
			words += ": " + said
		}
	}
	return &refusal{resp.StatusCode, words, e.app}
}

// readAll reads a body of at most limit bytes; length is what its sender announced, -1 for nothing.
func readAll(body io.Reader, length int64, limit int) ([]byte, error) {
	if length > int64(limit) {
		return nil, errTooLarge
	}
	var b bytes.Buffer
	b.Grow(int(max(length, 0)) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(body, int64(limit)+1)); err != nil {
		return nil, err
	}
	if b.Len() > limit {
		return nil, errTooLarge
	}
	return b.Bytes(), nil
}

// plain makes what a server wrote fit to stand in a sentence.
func plain(body []byte) string {
	said := strings.Join(strings.FieldsFunc(string(bytes.ToValidUTF8(body, nil)), func(c rune) bool { return c <= ' ' || c == 0x7f }), " ")
	if runes := []rune(said); len(runes) > shownBody {
		said = string(runes[:shownBody]) + "…"
	}
	return said
}

// advise joins what is so and what to do.
func advise(so, do string) string {
	if do == "" {
		return so
	}
	return so + "; " + do
}

// sentence says to the person why there is no answer.
func (r *relay) sentence(err error) string {
	var app *localapi.Error
	var no *refusal
	switch {
	case errors.As(err, &app):
		return advise(app.Message, app.Hint)
	case errors.As(err, &no):
		return no.words
	case errors.Is(err, errLimit):
		return fmt.Sprintf("%s did not answer within %s", r.server, r.cfg.Limit)
	case errors.Is(err, errClosing) || errors.Is(err, context.Canceled):
		return "vk bridge was told to end"
	case errors.Is(err, errTooLarge):
		return r.server + " answered with a message larger than 16 MiB"
	case errors.Is(err, errNotMCP):
		return fmt.Sprintf("%s answered with something that is not MCP", r.server)
	case errors.Is(err, errBroken) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("%s closed the connection before it had answered: %s", r.server, afterword)
	}
	return fmt.Sprintf("the connection to %s was lost before the answer: %s", r.server, afterword)
}
