// Package bridge carries MCP between a host that speaks it over stdin and stdout and a server that the gateway reaches
// over HTTP. It passes messages on as they are wherever both sides speak the same; where a host of before 2026-07-28
// meets a server that speaks nothing older, it translates. There is no OAuth in it: the gateway adds the token.
package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/valetkey/valetkey/localapi"
)

const (
	defaultLimit = time.Hour
	finishLimit  = 2 * time.Second // for requests in progress when the host has gone; hosts kill what takes longer
	leaveLimit   = time.Second     // for telling the server that the session is over, and for what then still moves
)

var (
	errLimit   = errors.New("no answer within the limit")
	errClosing = errors.New("the bridge ends")
	errDone    = errors.New("nothing more to do")
)

// Config is what a Bridge needs.
type Config struct {
	Client *http.Client  // reaches the gateway. It must follow no redirect and have no time limit of its own; required
	URL    string        // the server's address at the gateway: http://valetkey/mcp/mcp.example.com/mcp; required
	Limit  time.Duration // what one request may take in all, with progress or without; 0 means an hour
	Log    *slog.Logger  // what the person may want to know; never what was said. nil: nothing is logged
}

// Bridge is a way from one host to one server.
type Bridge struct{ cfg Config }

// New returns a Bridge. It connects to nothing yet.
func New(cfg Config) *Bridge {
	if cfg.Limit <= 0 {
		cfg.Limit = defaultLimit
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Bridge{cfg}
}

// Run carries messages until in ends or ctx does, which both are no error. Then it ends what is under way and the
// session at the server, within a few seconds. It writes nothing to out but JSON-RPC messages, one a line. A Read of in
// that waits when ctx ends, or when out breaks, is left behind.
//
// Whatever goes wrong on the way to the server is the answer to the one request it happened to. The error is that of
// in or out.
func (b *Bridge) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(errDone)
	r := newRelay(ctx, stop, b.cfg, serverName(b.cfg.URL), out)
	err := r.serve(in)
	r.finish()
	if lost := (*writeError)(nil); errors.As(context.Cause(ctx), &lost) {
		err = lost
	}
	return err
}

// writeError is the error of out. The host is gone then.
type writeError struct{ error }

func (e *writeError) Error() string { return "write to the host: " + e.error.Error() }
func (e *writeError) Unwrap() error { return e.error }

// serverName is what a server is called in sentences: its URL without the scheme.
func serverName(gateway string) string {
	u, err := url.Parse(gateway)
	if err != nil {
		return "the server"
	}
	return strings.TrimPrefix(u.Path, localapi.MCPPrefix)
}

// line is what was read from the host.
type line struct {
	text []byte
	err  error
}

// serve takes what the host writes, line by line.
func (r *relay) serve(in io.Reader) error {
	lines := make(chan line)
	go func() {
		reader := newLineReader(in)
		for {
			text, err := reader.next()
			select {
			case lines <- line{text, err}:
			case <-r.ctx.Done():
				return
			}
			if err != nil && !errors.Is(err, errTooLarge) {
				return
			}
		}
	}()
	for {
		select {
		case <-r.ctx.Done():
			return nil
		case l := <-lines:
			switch {
			case l.err == nil:
				r.take(l.text)
			case errors.Is(l.err, errTooLarge):
				r.send(newError(nil, codeInvalid, "a message is larger than 16 MiB"))
			case errors.Is(l.err, io.EOF):
				if _, err := oneLine(l.text); err == nil { // a last line without an end; or half of one
					r.take(l.text)
				}
				return nil
			default:
				return fmt.Errorf("read from the host: %w", l.err)
			}
		}
	}
}

// take takes one line of the host.
func (r *relay) take(text []byte) {
	if len(bytes.TrimSpace(text)) == 0 {
		return
	}
	messages, batched, err := parse(text)
	switch {
	case errors.Is(err, errNotJSON):
		r.send(newError(nil, codeParse, "a line is not JSON"))
	case err != nil:
		r.send(newError(nil, codeInvalid, "a line is not a JSON-RPC message"))
	case batched:
		r.takeBatch(messages)
	default:
		r.dispatch(messages[0], r.send)
	}
}

// finish lets the requests in progress come to an end, then ends everything, and the session last.
func (r *relay) finish() {
	idle := make(chan struct{})
	go func() { r.requests.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-r.ctx.Done():
	case <-time.After(finishLimit):
	}
	r.stop(errClosing)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), leaveLimit)
	defer cancel()
	r.leave(ctx)
	ended := make(chan struct{})
	go func() { r.work.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done(): // something waits for a host that does not read
	}
	r.cfg.Client.CloseIdleConnections()
}
