package oauthtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// RoundTripper carries requests to this world's origins, without a socket. An origin nobody added cannot be dialled.
func (w *World) RoundTripper() http.RoundTripper { return roundTripper{w} }

type roundTripper struct{ world *World }

func (rt roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	w, ctx := rt.world, req.Context()
	body, err := readAll(req.Body)
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	origin := originOf(req.URL)
	if !w.knows(origin) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: req.URL.Hostname(), IsNotFound: true}}
	}

	// As over a wire, the server side learns of a reader that went away, and of nothing else in the reader's context.
	serverCtx, end := context.WithCancel(w.ctx)
	reader, pipe := io.Pipe()
	answer := &answer{header: http.Header{}, pipe: pipe, ready: make(chan struct{})}
	letGo := context.AfterFunc(ctx, func() {
		reader.CloseWithError(context.Cause(ctx))
		end()
	})
	w.running.Go(func() {
		defer end()
		answer.finish(func() { w.serve(answer, serverRequest(serverCtx, req, body), origin, body) })
	})
	select {
	case <-answer.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if answer.err != nil {
		letGo()
		return nil, answer.err
	}
	return &http.Response{
		StatusCode: answer.status, Status: fmt.Sprintf("%d %s", answer.status, http.StatusText(answer.status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.sent, ContentLength: -1, Request: req,
		Body: &responseBody{reader, ctx, func() { letGo(); end() }},
	}, nil
}

func (w *World) knows(origin string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sites[origin] != nil
}

// serverRequest is req as a server sees it.
func serverRequest(ctx context.Context, req *http.Request, body []byte) *http.Request {
	r := &http.Request{
		Method: req.Method, Host: req.Host, RequestURI: req.URL.RequestURI(), RemoteAddr: "192.0.2.1:49152",
		URL:   &url.URL{Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery, ForceQuery: req.URL.ForceQuery},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: req.Header.Clone(), Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	if r.URL.Path == "" {
		r.URL.Path = "/"
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if req.URL.Scheme == "https" {
		r.TLS = &tls.ConnectionState{}
	}
	return r.WithContext(ctx)
}

// responseBody ends the server's side when the reader closes it.
type responseBody struct {
	*io.PipeReader
	ctx  context.Context
	done func()
}

// Read tells a reader that went away so, as net/http does.
func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.PipeReader.Read(p)
	if errors.Is(err, io.ErrClosedPipe) && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *responseBody) Close() error {
	b.done()
	return b.PipeReader.Close()
}

// answer is the server's http.ResponseWriter. ready closes when the status is known, or the answer is lost.
type answer struct {
	header http.Header
	pipe   *io.PipeWriter
	once   sync.Once
	ready  chan struct{}

	// Set before ready closes.
	status int
	sent   http.Header
	err    error
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if status < 200 {
		return // informational: nobody here waits for those
	}
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.ready)
	})
}

func (a *answer) Write(p []byte) (int, error) {
	if a.header.Get("Content-Type") == "" {
		a.header.Set("Content-Type", http.DetectContentType(p))
	}
	a.WriteHeader(http.StatusOK)
	return a.pipe.Write(p)
}

// Flush makes streaming handlers work; every Write is on its way at once.
func (a *answer) Flush() { a.WriteHeader(http.StatusOK) }

// finish runs a handler and closes the answer as a server would: whole, or, after a panic with http.ErrAbortHandler,
// with the connection gone.
func (a *answer) finish(serve func()) {
	defer func() {
		switch problem := recover(); problem {
		case nil:
			a.WriteHeader(http.StatusOK)
			a.pipe.Close()
		case http.ErrAbortHandler:
			a.once.Do(func() {
				a.err = errLost
				close(a.ready)
			})
			a.pipe.CloseWithError(io.ErrUnexpectedEOF)
		default:
			panic(problem)
		}
	}()
	serve()
}

var errLost = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
