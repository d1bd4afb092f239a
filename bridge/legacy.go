package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valetkey/valetkey/internal/sse"
)

const (
	firstWithHeader = "2025-06-18"     // the version that brought the MCP-Protocol-Version header
	maxFruitless    = 6                // tries in a row to take up a stream that bring nothing
	maxAgain        = 1000             // subscriptions that are carried over to a new session
	steady          = 30 * time.Second // of a stream without anything in it that was worth opening
	forEver         = 1 << 62
)

func postHeaders() http.Header {
	return http.Header{headerType: {typeJSON}, headerAccept: {typeJSON + ", " + typeEvents}}
}

// arrived takes one message from a server of before 2026-07-28, from whichever stream. A response that nobody waits for
// (any more) is dropped: late after a cancellation, or a second time after a stream was taken up again.
func (r *relay) arrived(m message) {
	if !m.isResponse() {
		r.send(m)
		return
	}
	r.mu.Lock()
	waiting := r.pending[m.key()]
	delete(r.pending, m.key())
	r.mu.Unlock()
	if waiting != nil {
		waiting <- m
	}
}

// askLegacy sends a request and returns the response. A session that the server has forgotten is begun anew, once.
func (r *relay) askLegacy(ctx context.Context, m message) (message, error) {
	s, err := r.current(), error(nil)
	if s.over() {
		if s, err = r.renew(ctx, s); err != nil {
			return message{}, err
		}
	}
	answer, e, err := r.tryLegacy(ctx, m, s)
	switch {
	case gone(e, s, err) && answer.code() != codeNoMethod:
		if s, err = r.renew(ctx, s); err != nil {
			return message{}, err
		}
		answer, _, err = r.tryLegacy(ctx, m, s)
	case refusesVersion(e, answer):
		if t := r.reconsider(ctx, s); t != nil {
			return t.ask(ctx, m)
		}
	}
	if err == nil {
		select {
		case s.poke <- struct{}{}:
		default:
		}
	}
	return answer, err
}

// refusesVersion reports whether the server may have refused a request because of the version it is in.
func refusesVersion(e end, answer message) bool {
	return !e.app && (e.status == http.StatusBadRequest || answer.code() == codeUnsupported)
}

// reconsider asks a server that agreed to an initialize request, and then refused what followed, whether it is of
// 2026-07-28 after all (some of those agree to anything). If so it returns the translator, from then on in its place.
func (r *relay) reconsider(ctx context.Context, s *session) *translator {
	select {
	case r.renewing <- struct{}{}:
		defer func() { <-r.renewing }()
	case <-ctx.Done():
		return nil
	}
	r.mu.Lock()
	t, hello, greeted, settled := r.translator, r.hello, r.greeting.raw != nil, s.settled || s.id != ""
	s.settled = true
	r.mu.Unlock()
	if t != nil || settled || hello.raw == nil {
		return t
	}
	t, _, err := r.introduce(ctx, hello)
	if err != nil {
		return nil
	}
	s.end()
	r.mu.Lock()
	r.translator = t
	r.mu.Unlock()
	if greeted {
		r.work.Go(t.begin)
	}
	return t
}

// gone reports whether the server said that the session is over: by 404 (2025-11-25, Session Management), or as servers
// do that are made after the TypeScript SDK's examples, by 400 and an error about a session, which names no request.
func gone(e end, s *session, err error) bool {
	switch {
	case s.old:
		return goneOld(e, err)
	case e.app || s.id == "":
		return false
	case e.status == http.StatusBadRequest && e.fault != nil && e.fault.id == nil:
		return strings.Contains(strings.ToLower(text(e.fault.fault, "message")), "session")
	}
	return e.status == http.StatusNotFound
}

// tryLegacy sends a request once and follows its answer over as many streams as it takes.
func (r *relay) tryLegacy(ctx context.Context, m message, s *session) (message, end, error) {
	waiting := make(chan message, 1)
	r.mu.Lock()
	r.pending[m.key()] = waiting
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		if r.pending[m.key()] == waiting {
			delete(r.pending, m.key())
		}
		r.mu.Unlock()
	}()
	got := func(m message) bool {
		r.arrived(m)
		return len(waiting) > 0
	}
	e, err := r.exchange(ctx, http.MethodPost, s.url, m.raw, s.headers(postHeaders()), got)
	if s.old && errors.Is(err, errNotMCP) { // 202, with words that nobody asked for
		err = nil
	}
	first := e
	switch {
	case e.fault != nil:
		return e.fault.withID(m.id), first, nil
	case len(waiting) > 0:
	case e.stream && e.lastID != "":
		err = r.resume(ctx, s, e, got, func() bool { return len(waiting) > 0 })
	case err == nil && !e.stream && s.heard.Load(): // accepted without an answer: it may come on the other stream
		select {
		case answer := <-waiting:
			return answer, first, nil
		case <-s.deaf:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	select {
	case answer := <-waiting:
		return answer, first, nil
	default:
	}
	if err == nil {
		err = errBroken
	}
	return message{}, first, err
}

// resume takes up a stream that ended before its time, where it ended (2025-11-25, Resumability and Redelivery).
func (r *relay) resume(ctx context.Context, s *session, e end, got func(message) bool, done func() bool) error {
	for fruitless := 0; fruitless < maxFruitless; fruitless++ {
		if err := pause(ctx, s, delay(e.retry, fruitless), nil); err != nil {
			return err
		}
		next, err := r.exchange(ctx, http.MethodGet, s.url, nil, streamHeaders(s, e.lastID), got)
		switch {
		case done():
			return nil
		case next.app && next.fault != nil && next.status < 500: // the person took it back, say
			return &refusal{next.status, fmt.Sprintf("%s, so the rest of the answer cannot be had: %s", plain([]byte(text(next.fault.fault, "data", "message"))), afterword), true}
		case next.status >= 400 && next.status < 500:
			return errBroken
		case err != nil && ctx.Err() != nil:
			return err
		case next.stream:
			e.retry = next.retry
			if next.lastID != "" && next.lastID != e.lastID {
				e.lastID, fruitless = next.lastID, -1
			}
		}
	}
	return errBroken
}

// listen keeps the stream open on which a server speaks without being asked, for as long as the session lasts. A server
// need not offer one. The channel is closed once the server has answered, one way or the other.
func (r *relay) listen(s *session) (answered <-chan struct{}) {
	s.heard.Store(true)
	first := make(chan struct{})
	opened := sync.OnceFunc(func() { close(first) })
	r.work.Go(func() {
		defer close(s.deaf)
		defer opened()
		r.keepListening(s, opened)
	})
	return first
}

func (r *relay) keepListening(s *session, opened func()) {
	lastID, fruitless := "", 0
	for {
		begun := time.Now()
		e, err := r.open(s.ctx, http.MethodGet, s.url, nil, streamHeaders(s, lastID), opened, func(m message) bool {
			r.arrived(m)
			return false
		})
		wait, poke := delay(e.retry, fruitless), s.poke
		fruitless++
		refused := e.status >= 400 && e.status < 500
		switch {
		case s.ctx.Err() != nil:
			return
		case refused && (e.app || slices.Contains(passing, e.status)):
			wait = forEver // the person is needed, and a stream is no reason to ask: when the host next wants something
		case refused: // 405: not offered; 404: that, or the session is over
			return
		case e.status >= 200 && e.status < 300 && !e.stream:
			return
		case errors.Is(err, errTooLarge):
			r.log.Warn("the server said something larger than 16 MiB, and is not listened to any more")
			return
		case e.events > 0 || time.Since(begun) > steady:
			wait, fruitless, poke = e.retry, 0, nil
		}
		if e.lastID != "" {
			lastID = e.lastID
		}
		select {
		case <-s.poke: // an old one
		default:
		}
		if pause(s.ctx, s, wait, poke) != nil {
			return
		}
	}
}

// passing are refusals that say nothing about what the server offers.
var passing = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusLocked, http.StatusTooEarly, http.StatusTooManyRequests}

func streamHeaders(s *session, lastID string) http.Header {
	h := s.headers(http.Header{headerAccept: {typeEvents}})
	if lastID != "" {
		h[headerLastID] = []string{lastID}
	}
	return h
}

// delay is how long to wait before a stream is taken up again: as long as the server wants, and longer each time that
// this was in vain.
func delay(retry time.Duration, fruitless int) time.Duration {
	if fruitless == 0 {
		return retry
	}
	return min(max(retry, sse.DefaultRetry<<min(fruitless, 10)), sse.LongestRetry)
}

// pause waits, or until it is poked, but no longer than the session lasts.
func pause(ctx context.Context, s *session, d time.Duration, poke <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-poke:
		return nil
	case <-s.ctx.Done():
		return errBroken
	case <-ctx.Done():
		return ctx.Err()
	}
}
