package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

// session is what a server of before 2026-07-28 and we agreed on. A server without sessions has one with no id.
type session struct {
	url     string // takes what the host says
	old     bool   // the server speaks the transport of 2024-11-05: all its answers come in the stream that is being heard
	id      string // treated as a secret
	version string
	ctx     context.Context // ends when another session takes its place
	end     context.CancelFunc
	heard   atomic.Bool   // somebody listens to what the server says without being asked
	deaf    chan struct{} // closed when nobody does any more
	settled bool          // that the server is of before 2026-07-28
	poke    chan struct{} // the server is there: open that stream, if it waits for better times
}

func newSession(ctx context.Context, url string) *session {
	ctx, end := context.WithCancel(ctx)
	return &session{url: url, ctx: ctx, end: end, deaf: make(chan struct{}), poke: make(chan struct{}, 1)}
}

func (s *session) headers(h http.Header) http.Header {
	if s.id != "" {
		h[headerSession] = []string{s.id}
	}
	if s.version >= firstWithHeader {
		h[headerVersion] = []string{s.version}
	}
	return h
}

// current returns the session.
func (r *relay) current() *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session
}

// begin sends an initialize request; what the server agrees to is the session. old says that the server speaks the
// transport of 2024-11-05. Without a session there is an error, or an answer that says so.
func (r *relay) begin(ctx context.Context, hello message, old bool) (s *session, answer message, e end, err error) {
	s = newSession(r.ctx, r.cfg.URL)
	if old {
		if err := r.connectOld(ctx, s); err != nil {
			s.end()
			return nil, message{}, end{}, err
		}
	}
	if answer, e, err = r.tryLegacy(ctx, hello, s); err != nil || answer.result == nil {
		s.end()
		return nil, answer, e, err
	}
	s.id, s.version = e.session, text(answer.result, "protocolVersion")
	if strings.ContainsFunc(s.id, func(c rune) bool { return c < 0x21 || c > 0x7e }) {
		r.log.Warn("the server's session id is not visible ASCII, and is not used")
		s.id = ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session.end()
	r.session = s
	return s, answer, e, nil
}

// renew begins another session in the place of old, with what the host said when it began the first. The host does not
// notice.
func (r *relay) renew(ctx context.Context, old *session) (*session, error) {
	select {
	case r.renewing <- struct{}{}:
		defer func() { <-r.renewing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	now, hello, greeting := r.session, r.hello, r.greeting
	var again []message
	for _, m := range r.again {
		again = append(again, m)
	}
	r.mu.Unlock()
	if now != old {
		return now, nil // somebody else was quicker
	}
	if hello.raw == nil {
		return nil, &refusal{http.StatusNotFound, r.server + " ended the session, and the host never began one", false}
	}
	r.log.Info("the server ended the session; beginning another")
	s, answer, e, err := r.begin(ctx, hello.withID(r.ownID()), false)
	if s == nil && old.old {
		if again, oldAnswer, oldErr := r.beginOld(ctx, hello.withID(r.ownID()), e, answer); !errors.Is(oldErr, errNotOld) {
			s, answer, err = again, oldAnswer, oldErr
		}
	}
	switch {
	case err != nil:
		return nil, err
	case answer.result == nil:
		return nil, &refusal{e.status, fmt.Sprintf("%s ended the session and refused another: %s", r.server, plain([]byte(text(answer.fault, "message")))), e.app}
	}
	if greeting.raw == nil {
		return s, nil
	}
	if _, err := r.exchange(ctx, http.MethodPost, s.url, greeting.raw, s.headers(postHeaders()), func(message) bool { return true }); err != nil && !errors.Is(err, errNotMCP) {
		return nil, err
	}
	for _, m := range again {
		if answer, _, err := r.tryLegacy(ctx, m.withID(r.ownID()), s); err != nil || answer.fault != nil {
			r.log.Warn("the new session lacks what the host asked of the one before", "method", m.method)
		}
	}
	if !s.old {
		r.listen(s)
	}
	return s, nil
}

// remember keeps what must be asked again of a new session: the log level and the subscriptions.
func (r *relay) remember(m message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	uri := text(m.params, "uri")
	switch {
	case m.method == methodSetLevel, m.method == methodSubscribe && len(r.again) < maxAgain:
		r.again[m.method+" "+uri] = m
	case m.method == methodUnsubscribe:
		delete(r.again, methodSubscribe+" "+uri)
	}
}

// leave tells the server that the session is over.
func (r *relay) leave(ctx context.Context) {
	if s := r.current(); s.id != "" {
		r.exchange(ctx, http.MethodDelete, s.url, nil, s.headers(http.Header{}), func(message) bool { return true })
	}
}
