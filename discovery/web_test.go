package discovery

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/valetkey/valetkey/outbound"
)

// web is an in-memory Internet behind the real guard: an answer per "METHOD URL", 404 for the rest.
type web struct {
	mu      sync.Mutex
	answers map[string]answer
	asked   []string
	header  http.Header // of the newest request
	body    string
}

type answer struct {
	status int
	body   string
	header []string // name, value, …
	err    error
}

func doc(body string, header ...string) answer {
	return answer{200, body, append(header, "Content-Type", "application/json"), nil}
}

func status(code int, header ...string) answer { return answer{code, "", header, nil} }

var (
	page = answer{200, "<!doctype html><title>Welcome</title>", []string{"Content-Type", "text/html; charset=utf-8"}, nil}
	// Metadata in a stream is none: reading it may never end.
	stream = answer{200, prm(mcp), []string{"Content-Type", "text/event-stream"}, nil}
	down   = answer{err: errors.New("connection refused")}
)

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := r.Method + " " + r.URL.String()
	w.asked, w.header, w.body = append(w.asked, key), r.Header.Clone(), ""
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		w.body = string(b)
	}
	a, ok := w.answers[key]
	if !ok {
		a = status(404)
	}
	if a.err != nil {
		return nil, a.err
	}
	h := http.Header{}
	for i := 0; i < len(a.header); i += 2 {
		h.Add(a.header[i], a.header[i+1])
	}
	return &http.Response{StatusCode: a.status, Header: h, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func (w *web) set(key string, a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[key] = a
}

// took returns what was asked since the last call.
func (w *web) took() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

func newWeb(answers map[string]answer) (*web, *Client) {
	if answers == nil {
		answers = map[string]answer{}
	}
	w := &web{answers: answers}
	return w, New(Config{HTTP: outbound.New(outbound.Config{Base: w}).For, Version: "test"})
}

// check compares err with what is wanted of it: a kind, and words in its text.
func check(t *testing.T, err, is error, says ...string) {
	t.Helper()
	if is == nil {
		if err != nil {
			t.Errorf("error %v", err)
		}
		return
	}
	if _, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, is) {
		t.Errorf("error %v, want an *Error that is %v", err, is)
		return
	}
	for _, other := range []error{ErrNotFound, ErrUnreachable, ErrMismatch, ErrInvalid, ErrNoPKCE, ErrNoSignIn, ErrOtherScheme} {
		if other != is && errors.Is(err, other) {
			t.Errorf("error %v is %v and also %v", err, is, other)
		}
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %v, want one saying %q", err, s)
		}
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

var background = context.Background()
