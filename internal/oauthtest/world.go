// Package oauthtest is an Internet in memory for tests: issuers, MCP servers and a person with a browser, all of which
// can be slow, broken or hostile. No request leaves the process, so that it works inside testing/synctest bubbles;
// only the browser's last step, back to the program's own loopback listener, is a real connection.
//
//	w := oauthtest.NewWorld(t)
//	issuer := w.AddIssuer("https://issuer.example.com")
//	server := w.AddServer("https://mcp.example.com/mcp", issuer.ID())
//	client := &http.Client{Transport: w.RoundTripper()}
package oauthtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// World is the Internet of one test.
type World struct {
	// Account is who signs in, in the browser. The issuers offer alice and bob; any other name is typed.
	Account string
	// Decline makes the person press Cancel.
	Decline bool

	t       testing.TB
	ctx     context.Context // ends with the test: whatever still hangs is let go
	running sync.WaitGroup  // handlers and browsers

	mu      sync.Mutex
	sites   map[string]*site // by origin
	issuers map[string]*Issuer
	seen    map[string][]Request // by URL without query
	faults  map[string]FaultFunc
}

// site is one origin: parts that own some paths, and a handler for the others.
type site struct {
	parts    []part
	fallback http.Handler
}

type part struct {
	owns    func(path string) bool
	handler http.Handler
}

// Request is one request that was seen.
type Request struct {
	Method string
	Header http.Header
	Values url.Values // the query, the form, and the top members of a JSON body
	Body   []byte
}

// FaultFunc answers instead of a handler; next is what would have answered.
type FaultFunc func(w http.ResponseWriter, r *http.Request, next http.Handler)

// NewWorld makes an empty Internet. It ends with the test, and the test ends only when all its requests have.
func NewWorld(t testing.TB) *World {
	ctx, end := context.WithCancel(context.Background())
	w := &World{
		Account: "alice", t: t, ctx: ctx,
		sites: map[string]*site{}, issuers: map[string]*Issuer{}, seen: map[string][]Request{}, faults: map[string]FaultFunc{},
	}
	t.Cleanup(func() {
		end()
		w.running.Wait()
	})
	return w
}

// Handle lets h answer at an origin ("https://mcp.example.com") whatever no issuer or server added there owns.
func (w *World) Handle(origin string, h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.site(origin).fallback = h
}

func (w *World) add(origin string, h http.Handler, owns func(path string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.site(origin)
	s.parts = append(s.parts, part{owns, h})
}

// site finds or makes an origin. The caller holds the lock.
func (w *World) site(origin string) *site {
	key := originOf(mustParse(origin))
	if w.sites[key] == nil {
		w.sites[key] = &site{fallback: http.NotFoundHandler()}
	}
	return w.sites[key]
}

// count is how many requests came for a URL, whatever their query.
func (w *World) count(address string) int { return len(w.requests(address)) }

// requests returns those that came for a URL, whatever their query, oldest first.
func (w *World) requests(address string) []Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Request(nil), w.seen[place(mustParse(address))]...)
}

// Fault lets f answer at a URL from now on; nil puts things right again.
func (w *World) Fault(address string, f FaultFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[place(mustParse(address))] = f
}

// serve notes a request and answers it. body has been read already.
func (w *World) serve(rw http.ResponseWriter, r *http.Request, origin string, body []byte) {
	w.mu.Lock()
	key := origin + r.URL.EscapedPath()
	w.seen[key] = append(w.seen[key], Request{r.Method, r.Header.Clone(), values(r, body), body})
	s, fault := w.sites[origin], w.faults[key]
	handler := s.fallback
	for _, p := range s.parts {
		if p.owns(r.URL.Path) {
			handler = p.handler
			break
		}
	}
	w.mu.Unlock()
	if fault != nil {
		fault(rw, r, handler)
		return
	}
	handler.ServeHTTP(rw, r)
}

// values flattens what a request says into names and values.
func values(r *http.Request, body []byte) url.Values {
	all := r.URL.Query()
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // no kind: nothing to read
	switch kind {
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			break
		}
		for name, vs := range form {
			all[name] = append(all[name], vs...)
		}
	case "application/json":
		var members map[string]any
		if json.NewDecoder(bytes.NewReader(body)).Decode(&members) != nil {
			break
		}
		for name, v := range members {
			list, isList := v.([]any)
			if !isList {
				list = []any{v}
			}
			for _, item := range list {
				all.Add(name, fmt.Sprint(item))
			}
		}
	}
	return all
}

// originOf is the key of an origin: lower case, without the scheme's own port.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
}

func place(u *url.URL) string {
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return originOf(u) + path
}

func mustParse(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		panic(fmt.Sprintf("oauthtest: %q is not an absolute URL", address))
	}
	return u
}

func readAll(r io.ReadCloser) ([]byte, error) {
	if r == nil {
		return nil, nil
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, 8<<20))
}
