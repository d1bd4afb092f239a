package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/internal/sse"
	"github.com/valetkey/valetkey/localapi"
)

// Servers of 2024-11-05 speak HTTP with SSE: one stream (GET) carries all that the server says, and its first event,
// "endpoint", names the URL that takes what the host says (POST). MCP has replaced that in 2025, so it is tried last, and
// the person is told.

const endpointLimit = 10 * time.Second // for an old server to name the place for messages

var errNotOld = errors.New("not a server of 2024-11-05")

// beginOld begins a session with a server of 2024-11-05, which refused an initialize request m as those do (2025-11-25,
// Transports, Backwards Compatibility). errNotOld: it is none.
func (r *relay) beginOld(ctx context.Context, m message, refused end, answer message) (*session, message, error) {
	asOld := slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed}, refused.status)
	modern := slices.Contains([]int{codeMismatch, codeCapability, codeUnsupported}, answer.code())
	if refused.app || !asOld || modern {
		return nil, message{}, errNotOld
	}
	s, answer, _, err := r.begin(ctx, m, true)
	if s != nil {
		r.log.Warn(r.server + " speaks HTTP with SSE, which MCP has replaced in 2025; ask its owner for a newer address")
	}
	return s, answer, err
}

// connectOld opens the stream of s, which lasts as long as s does and ends it, and makes s send to the place that its
// server names. errNotOld: it names none.
func (r *relay) connectOld(ctx context.Context, s *session) error {
	s.old, s.settled = true, true
	s.heard.Store(true)
	named := make(chan error, 2)
	r.work.Go(func() {
		defer close(s.deaf)
		defer s.end()
		named <- r.hearOld(s, func() { named <- nil })
	})
	limit := time.NewTimer(endpointLimit)
	defer limit.Stop()
	select {
	case err := <-named:
		return err
	case <-limit.C:
		return errNotOld
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hearOld reads the stream of s to its end. It calls named once s knows where to send to.
func (r *relay) hearOld(s *session, named func()) error {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, r.cfg.URL, nil)
	if err != nil {
		return err
	}
	req.Header = http.Header{headerAccept: {typeEvents}}
	resp, err := r.cfg.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || mediaType(resp) != typeEvents {
		e := end{app: resp.Header.Get(localapi.HeaderError) != ""}
		err := r.refused(resp, &e)
		switch {
		case !e.app:
			return errNotOld
		case e.fault != nil:
			return &refusal{resp.StatusCode, plain([]byte(text(e.fault.fault, "message"))), true}
		}
		return err
	}
	events := sse.NewReader(resp.Body, maxMessage, errTooLarge)
	kind, data, err := events.Next()
	if err != nil {
		return errNotOld
	}
	if kind != "endpoint" {
		if messages, _, err := parse(data); err == nil && messages[0].code() != 0 {
			return &refusal{0, plain([]byte(text(messages[0].fault, "message"))), true}
		}
		return errNotOld
	}
	if s.url, err = r.place(string(data)); err != nil {
		return err
	}
	named()
	_, err = r.pump(events, new(end), func(m message) bool {
		r.arrived(m)
		return false
	})
	if err != nil && s.ctx.Err() == nil {
		r.log.Warn("the server's stream broke off", "err", r.sentence(err))
	}
	return nil
}

// place is the URL that an endpoint event names. It must be of the stream's origin, because what is sent there is the
// host's, and the token goes with it.
func (r *relay) place(named string) (string, error) {
	base, err := url.Parse(r.cfg.URL)
	if err != nil {
		return "", err
	}
	to, err := base.Parse(strings.TrimSpace(named))
	if err != nil || to.Scheme != base.Scheme || to.Host != base.Host || to.User != nil {
		return "", &refusal{0, fmt.Sprintf("%s names a place for messages at another address, which is not used: %s", r.server, plain([]byte(named))), false}
	}
	return to.String(), nil
}

// over reports whether s can carry nothing any more: its stream was all of it. What the host asks next begins another.
// Until then nothing is done, because beginning one is a message, which may be a question to the person.
func (s *session) over() bool {
	if !s.old {
		return false
	}
	select {
	case <-s.deaf:
		return true
	default:
		return false
	}
}

// goneOld is gone for a server of 2024-11-05, or for the app in its place, which forgets the session with its stream.
func goneOld(e end, err error) bool {
	var no *refusal
	words := ""
	if errors.As(err, &no) {
		words = no.words
	} else if e.fault != nil {
		words = text(e.fault.fault, "message")
	}
	return e.status == http.StatusNotFound || e.status == http.StatusBadRequest && strings.Contains(strings.ToLower(words), "session")
}
