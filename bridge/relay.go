package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxCalls    = 512         // requests of the host at once
	maxNotes    = 256         // notifications and responses of the host at once; more are not read
	noteLimit   = time.Minute // for the server to take one of those
	listenGrace = 250 * time.Millisecond
	cancelGrace = 5 * time.Second // in which a server may end by itself what was cancelled
)

// relay is one run of a Bridge.
type relay struct {
	cfg    Config
	server string // its name in sentences
	log    *slog.Logger
	ctx    context.Context // of the run
	stop   context.CancelCauseFunc

	out  sync.Mutex
	w    io.Writer
	buf  []byte
	gone bool // the host does not read any more

	work     sync.WaitGroup // everything
	requests sync.WaitGroup // the requests of the host that have an answer to come
	ids      atomic.Uint64
	notes    chan struct{}

	// Only the goroutine that reads from the host uses these.
	gate   <-chan struct{} // closed when the host may be taken to have begun the session
	lane   <-chan struct{} // closed when the notification before has arrived
	modern string          // the version of the host's newest request, if that was of 2026-07-28 or later

	mu         sync.Mutex
	calls      map[string]*call         // requests of the host, by id
	pending    map[string]chan message  // requests to a server of before 2026-07-28, by id
	session    *session                 // with such a server
	hello      message                  // the host's initialize
	greeting   message                  // its notifications/initialized
	again      map[string]message       // what must be asked again of a new session
	translator *translator              // nil: none is needed
	tools      map[string][]paramHeader // by name
	renewing   chan struct{}            // holds one while a session is being renewed
}

// call is one request of the host.
type call struct {
	cancel  context.CancelFunc
	reply   func(message) // gives the host its answer, or a message without content; the second time it does nothing
	release func()        // nobody waits for the answer any more
	direct  bool          // it was sent to a server of before 2026-07-28
	dropped bool          // the host does not want the answer any more
}

func newRelay(ctx context.Context, stop context.CancelCauseFunc, cfg Config, server string, out io.Writer) *relay {
	open := make(chan struct{})
	close(open)
	return &relay{
		cfg: cfg, server: server, log: cfg.Log, ctx: ctx, stop: stop, w: out, notes: make(chan struct{}, maxNotes), gate: open, lane: open,
		calls: map[string]*call{}, pending: map[string]chan message{}, session: newSession(ctx, cfg.URL), again: map[string]message{},
		tools: map[string][]paramHeader{}, renewing: make(chan struct{}, 1),
	}
}

// send writes a message to the host, if there is anything in it.
func (r *relay) send(m message) {
	if len(m.raw) == 0 {
		return
	}
	r.out.Lock()
	defer r.out.Unlock()
	if r.gone {
		return
	}
	r.buf = append(append(r.buf[:0], m.raw...), '\n')
	if _, err := r.w.Write(r.buf); err != nil {
		r.gone = true
		r.stop(&writeError{err})
	}
	if cap(r.buf) > 1<<20 {
		r.buf = nil
	}
}

// ownID makes the id of a request of the bridge's own.
func (r *relay) ownID() []byte { return quote("valetkey:" + strconv.FormatUint(r.ids.Add(1), 10)) }

// dispatch takes one message of the host, and gives reply the answer to a request. It does not wait for the server.
func (r *relay) dispatch(m message, reply func(message)) {
	switch {
	case m.isRequest():
		r.request(m, reply)
	case m.method == noteCancelled:
		r.cancelled(m)
	case m.method != "":
		r.notify(m)
	case m.isResponse():
		r.respond(m)
	default:
		reply(newError(m.id, codeInvalid, "a message is no request, no notification and no response"))
	}
}

// request has a request of the host answered.
func (r *relay) request(m message, reply func(message)) {
	r.modern = m.version()
	var once sync.Once
	c := call{reply: func(m message) { once.Do(func() { reply(m) }) }}
	var ctx context.Context
	if m.method == methodListen { // it may last as long as the host does, and nobody waits for its answer
		ctx, c.cancel = context.WithCancel(r.ctx)
		c.release = func() {}
	} else {
		ctx, c.cancel = context.WithTimeoutCause(r.ctx, r.cfg.Limit, errLimit)
		r.requests.Add(1)
		c.release = sync.OnceFunc(r.requests.Done)
	}
	key := m.key()
	r.mu.Lock()
	twice, full := r.calls[key] != nil, len(r.calls) >= maxCalls
	if !twice && !full {
		r.calls[key] = &c
	}
	r.mu.Unlock()
	if twice || full {
		c.cancel()
		c.release()
	}
	switch {
	case twice:
		c.reply(newError(m.id, codeInvalid, "a request with this id is in progress"))
		return
	case full:
		c.reply(newError(m.id, codeFailed, "too many requests are in progress at once"))
		return
	}
	gate := r.gate
	opened := make(chan struct{})
	if m.method == methodInitialize {
		r.gate = opened
	}
	r.work.Go(func() {
		defer c.release()
		defer c.cancel()
		defer close(opened)
		answer, err := r.answer(ctx, m, &c, gate)
		r.settle(ctx, m, &c, answer, err)
	})
}

// settle gives the host the answer to a request, if it still wants it.
func (r *relay) settle(ctx context.Context, m message, c *call, answer message, err error) {
	r.mu.Lock()
	delete(r.calls, m.key())
	dropped, direct := c.dropped, c.direct
	r.mu.Unlock()
	switch {
	case dropped:
		c.reply(message{})
	case err == nil:
		c.reply(answer)
	default:
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		r.log.Warn("a request failed", "method", m.method, "err", r.sentence(err))
		c.reply(newError(m.id, codeFailed, r.sentence(err)))
		if errors.Is(err, errLimit) && direct {
			r.tellCancelled(newNotification(noteCancelled, object("requestId", m.id)))
		}
	}
}

// answer gets the answer to a request, in the way that host and server understand each other.
func (r *relay) answer(ctx context.Context, m message, c *call, gate <-chan struct{}) (message, error) {
	if version := m.version(); version != "" {
		switch m.method {
		case methodDiscover:
			return r.discover(ctx, m)
		case methodListen:
			return r.passSubscription(ctx, m)
		}
		answer, _, err := r.askModern(ctx, m, version, r.send)
		return answer, err
	}
	select {
	case <-gate:
	case <-ctx.Done():
		return message{}, ctx.Err()
	}
	if m.method == methodInitialize {
		return r.initialize(ctx, m)
	}
	r.mu.Lock()
	t, dropped := r.translator, c.dropped
	c.direct = t == nil
	r.mu.Unlock()
	switch {
	case dropped:
		return message{}, context.Canceled
	case t != nil:
		return t.ask(ctx, m)
	}
	answer, err := r.askLegacy(ctx, m)
	if err == nil && answer.result != nil {
		r.remember(m)
	}
	return answer, err
}

func (r *relay) translating() *translator {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.translator
}

// initialize begins a session: with the server itself, or if that is too new for it, with a translator.
func (r *relay) initialize(ctx context.Context, m message) (message, error) {
	r.mu.Lock()
	if r.translator != nil {
		r.translator.end()
	}
	r.hello, r.greeting, r.translator = m, message{}, nil
	clear(r.again)
	r.mu.Unlock()
	_, answer, e, err := r.begin(ctx, m, false)
	var no *refusal
	switch {
	case err == nil && answer.result != nil:
		return answer, nil
	case errors.As(err, &no) && judges(no.status) && !no.app, err == nil && !e.app && (judges(e.status) || e.status/100 == 2):
	default:
		return answer, err
	}
	t, translated, failed := r.introduce(ctx, m)
	if failed != nil {
		if _, old, oldErr := r.beginOld(ctx, m, e, answer); !errors.Is(oldErr, errNotOld) {
			return old, oldErr
		}
		return answer, err // the server's own words about initialize
	}
	r.mu.Lock()
	r.translator = t
	r.mu.Unlock()
	return translated, nil
}

// cancelled ends a request that the host does not want answered any more. A server of before 2026-07-28 is told; a newer
// one learns it from the end of the stream (2026-07-28, Cancellation).
func (r *relay) cancelled(m message) {
	key := idKey(get(m.params, "requestId"))
	r.mu.Lock()
	c := r.calls[key]
	direct := false
	if c != nil {
		c.dropped, direct = true, c.direct
	}
	r.mu.Unlock()
	switch {
	case c == nil:
		return
	case direct:
		time.AfterFunc(cancelGrace, c.cancel)
		r.tellCancelled(m)
	default:
		c.cancel()
	}
	c.reply(message{})
	c.release()
}

// tellCancelled passes a cancellation on to a server of before 2026-07-28.
func (r *relay) tellCancelled(m message) {
	r.note(func(ctx context.Context) { r.deliverTo(ctx, r.current(), m) })
}

// notify passes a notification of the host on, after those before it.
func (r *relay) notify(m message) {
	gate, before, modern := r.gate, r.lane, r.modern
	arrived := make(chan struct{})
	r.lane = arrived
	if m.method == noteInitialized {
		r.gate = arrived
	}
	r.note(func(ctx context.Context) {
		defer close(arrived)
		for _, wait := range []<-chan struct{}{gate, before} {
			select {
			case <-wait:
			case <-ctx.Done():
				return
			}
		}
		t := r.translating()
		switch {
		case modern != "":
			h := postHeaders()
			modernHeaders(h, m, modern, nil)
			r.deliver(ctx, r.cfg.URL, m, h)
		case t == nil:
			s := r.current()
			if m.method == noteInitialized {
				r.mu.Lock()
				r.greeting = m
				r.mu.Unlock()
			}
			if r.deliverTo(ctx, s, m) && m.method == noteInitialized && !s.old {
				r.hearken(ctx, s)
			}
		case m.method == noteInitialized:
			r.work.Go(t.begin)
		}
	})
}

// hearken begins to listen to the server. Many servers lose what they say before that, so what the host asks next waits
// for it, a moment.
func (r *relay) hearken(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(ctx, listenGrace)
	defer cancel()
	select {
	case <-r.listen(s):
	case <-ctx.Done():
	}
}

// respond passes the host's answer to a request of the server on. Servers from 2026-07-28 on make none.
func (r *relay) respond(m message) {
	gate, modern := r.gate, r.modern
	r.note(func(ctx context.Context) {
		select {
		case <-gate:
		case <-ctx.Done():
			return
		}
		switch t := r.translating(); {
		case t != nil:
			t.answered(m)
		case modern == "":
			r.deliverTo(ctx, r.current(), m)
		}
	})
}

// note runs f for a message that has no answer. If too many are on their way, the host is not read until one arrives.
func (r *relay) note(f func(context.Context)) {
	select {
	case r.notes <- struct{}{}:
	case <-r.ctx.Done():
		return
	}
	r.requests.Add(1)
	r.work.Go(func() {
		defer func() { <-r.notes; r.requests.Done() }()
		ctx, cancel := context.WithTimeout(r.ctx, noteLimit)
		defer cancel()
		f(ctx)
	})
}

// deliverTo is deliver for a server of before 2026-07-28.
func (r *relay) deliverTo(ctx context.Context, s *session, m message) bool {
	return r.deliver(ctx, s.url, m, s.headers(postHeaders()))
}

// deliver sends a message that has no answer, and reports whether the server took it.
func (r *relay) deliver(ctx context.Context, url string, m message, h http.Header) bool {
	e, err := r.exchange(ctx, http.MethodPost, url, m.raw, h, func(m message) bool {
		r.arrived(m)
		return true
	})
	if errors.Is(err, errNotMCP) { // taken, with words that nobody asked for
		err = nil
	}
	if err == nil && e.fault != nil {
		err = &refusal{e.status, plain([]byte(text(e.fault.fault, "message"))), e.app}
	}
	if err != nil && r.ctx.Err() == nil {
		r.log.Warn("a message of the host did not arrive", "method", m.method, "err", r.sentence(err))
	}
	return err == nil
}
