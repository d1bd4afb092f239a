package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/valetkey/valetkey/peer"
)

// ErrNotRunning says that no app listens at the address.
var ErrNotRunning = errors.New("not running")

const (
	clientHost   = "valetkey"       // the Host header our client sends; it names nothing
	clientWait   = 5 * time.Second  // docs/localapi.md promises it
	clientConns  = 32               // below the server's 256, so that one host's burst leaves room for others
	clientIdle   = 30 * time.Second // below the server's minute, so that it is never the server that hangs up
	maxAnswer    = 4 << 20          // bytes of an answer
	shortestNap  = 5 * time.Millisecond
	longestNap   = 200 * time.Millisecond
	startHint    = "start Valet Key: run valetkey, or open it from your applications"
	strangerHint = "VK_SOCK may point to the socket of another program"
)

// Client asks the app. It keeps connections open between calls; it may be used by several goroutines.
//
// Errors of the app are *Error: compare them with the sentinels through errors.Is. An app that is not there is
// ErrNotRunning (and ErrUnavailable). The end of a call's context is that context's own error.
type Client struct {
	// Wait is how long a call waits for an app that is starting: one that has claimed the address but does not listen
	// yet. Where there is no app at all, no call waits. NewClient sets 5 s. Set it before the first call.
	Wait time.Duration

	// Start starts the app, where there is none, and returns when it answers or cannot be started. It is called once in
	// the client's life, for all calls that wait then: an app that ends later is not started again. nil: a call without
	// an app fails. Set it before the first call.
	Start func() error

	addr      string
	transport *http.Transport
	starting  sync.Once
	startErr  error
}

// NewClient returns a client for the app at addr, as [Address] gives it. It does not connect yet.
func NewClient(addr string) *Client {
	c := &Client{Wait: clientWait, addr: addr}
	c.transport = &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return c.connect(ctx) },
		DisableCompression:  true,
		MaxConnsPerHost:     clientConns,
		MaxIdleConnsPerHost: clientConns,
		IdleConnTimeout:     clientIdle,
	}
	return c
}

// Close ends the connections that wait for further calls.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Token asks for a token. It may wait for the person, for as long as ctx allows.
func (c *Client) Token(ctx context.Context, req TokenRequest) (*Token, error) {
	answer, err := do[wireToken](ctx, c, http.MethodPost, "/v1/token", req)
	if err != nil {
		return nil, err
	}
	return answer.token(), nil
}

// Explain asks what a token that was asked for in this way would be, without getting it.
func (c *Client) Explain(ctx context.Context, req TokenRequest) (*Explained, error) {
	return do[Explained](ctx, c, http.MethodPost, "/v1/explain", req)
}

// SignIn has the person sign in to a server. It waits for the person, for as long as ctx allows.
func (c *Client) SignIn(ctx context.Context, req SignInRequest) (*Grant, error) {
	return do[Grant](ctx, c, http.MethodPost, "/v1/signin", req)
}

// Forget deletes the grants for a server here and revokes them there.
func (c *Client) Forget(ctx context.Context, req ForgetRequest) (*Forgotten, error) {
	return do[Forgotten](ctx, c, http.MethodPost, "/v1/forget", req)
}

// Register sets the client ID the person got from an issuer. It waits for the person to confirm it.
func (c *Client) Register(ctx context.Context, req RegistrationRequest) (*Registered, error) {
	return do[Registered](ctx, c, http.MethodPost, "/v1/client", req)
}

// Open shows the person the app's window. An app that has none answers ErrUnavailable.
func (c *Client) Open(ctx context.Context) error {
	_, err := do[Opened](ctx, c, http.MethodPost, "/v1/open", OpenRequest{})
	return err
}

// Grants lists the grants.
func (c *Client) Grants(ctx context.Context) (*Grants, error) {
	return do[Grants](ctx, c, http.MethodGet, "/v1/grants", nil)
}

// Status asks how the app is.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return do[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// do makes one call. Nothing is tried twice: the person may have been asked.
func do[Answer any](ctx context.Context, c *Client, method, path string, body any) (*Answer, error) {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+clientHost+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, callError(ctx, err)
	}
	defer resp.Body.Close()
	content, err = readBody(resp.Body, resp.ContentLength, maxAnswer)
	switch {
	case resp.Header.Get(headerVersion) == "" || errors.Is(err, errTooLarge):
		return nil, Errorf(ErrUnavailable, "something other than Valet Key answers at %s", c.addr).WithHint(strangerHint)
	case err != nil:
		return nil, callError(ctx, err)
	case resp.StatusCode != http.StatusOK:
		return nil, answeredError(resp.StatusCode, content)
	}
	answer := new(Answer)
	if err := json.Unmarshal(content, answer); err != nil {
		return nil, &Error{Kind: ErrInternal, Message: "the answer of Valet Key cannot be read", Hint: "update whichever of the two programs is older", Err: err}
	}
	return answer, nil
}

// callError is the error of a call that got no whole answer.
func callError(ctx context.Context, err error) error {
	var e *Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &e):
		return e
	}
	return &Error{Kind: ErrUnavailable, Message: "Valet Key closed the connection before it had answered", Hint: "try again", Err: err}
}

// answeredError reads the error in an answer.
func answeredError(status int, content []byte) error {
	var answer struct {
		Error *Error `json:"error"`
	}
	if err := json.Unmarshal(content, &answer); err != nil || answer.Error == nil {
		return Errorf(ErrInternal, "Valet Key answered with HTTP status %d", status)
	}
	return answer.Error
}

// connect dials the app, waiting for one that is starting, and makes sure that it is the person's own: nothing is
// sent to anybody else.
func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	patience, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	started := false
	for nap := shortestNap; ; nap = min(2*nap, longestNap) {
		conn, err := dial(ctx, c.addr)
		switch {
		case err == nil:
			return c.recognise(conn)
		case !absent(err):
			return nil, &Error{Kind: ErrUnavailable, Message: "Valet Key cannot be reached at " + c.addr, Err: err}
		case !busy(err) && !held(c.addr) && (started || c.Start == nil):
			return nil, NotRunning("")
		case !busy(err) && !held(c.addr):
			started = true
			if c.starting.Do(func() { c.startErr = c.Start() }); c.startErr != nil {
				return nil, c.startErr
			}
			continue
		}
		select {
		case <-time.After(nap):
		case <-patience.Done():
			return nil, &Error{Kind: ErrUnavailable, Message: "Valet Key is starting or closing, and does not answer yet",
				Hint: "try again in a moment", RetryAfter: c.Wait, Err: ErrNotRunning}
		}
	}
}

// NotRunning is the error of an app that is not there. why may say more, such as that the person quit it.
func NotRunning(why string) *Error {
	message := "Valet Key is not running"
	if why != "" {
		message += ": " + why
	}
	return &Error{Kind: ErrUnavailable, Message: message, Hint: startHint, Err: ErrNotRunning}
}

// recognise closes the connection unless the process at its other end is the person's own.
func (c *Client) recognise(conn net.Conn) (net.Conn, error) {
	if err := peer.ServerUser(conn); err != nil {
		conn.Close()
		return nil, &Error{Kind: ErrUnavailable, Message: fmt.Sprintf("what listens at %s is not your Valet Key: %v", c.addr, err), Hint: strangerHint, Err: err}
	}
	return conn, nil
}
