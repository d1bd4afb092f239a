package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/valetkey/valetkey/internal/sse"
)

const (
	latestLegacy = "2025-11-25"
	maxRounds    = 10 // answers in a row with which a server may want more
	maxInputs    = 32 // questions in one such answer
	maxIdle      = 3  // of these answers that may ask for nothing but patience
)

// legacyVersions are the versions in which a host of before 2026-07-28 is spoken to.
var legacyVersions = []string{"2024-11-05", "2025-03-26", "2025-06-18", latestLegacy}

// translator stands between a host of before 2026-07-28 and a server that speaks nothing older than that.
type translator struct {
	r       *relay
	ctx     context.Context // ends when the host begins another session
	end     context.CancelFunc
	version string // spoken with the server
	meta    []any  // members that every request to it carries in _meta
	offers  []byte // the server's capabilities

	mu       sync.Mutex
	logLevel []byte
	asked    map[string]chan message // requests of ours to the host, by id

	changing chan struct{} // holds one while the subscription is being changed
	uris     []string      // that it covers
	hangUp   context.CancelFunc
}

// introduce asks a server that refused the initialize request m whether it is of 2026-07-28. If it is, that is the
// translator between the two, and the answer to m.
func (r *relay) introduce(ctx context.Context, m message) (*translator, message, error) {
	t := &translator{r: r, version: modernVersion, asked: map[string]chan message{}, changing: make(chan struct{}, 1), hangUp: func() {}}
	capabilities := get(m.params, "capabilities")
	if !isObject(capabilities) {
		capabilities = []byte("{}")
	}
	t.meta = []any{metaVersion, t.version, metaClientInfo, get(m.params, "clientInfo"), metaCapabilities, capabilities}
	answer, _, err := r.askModern(ctx, newRequest(r.ownID(), methodDiscover, object("_meta", object(t.meta...))), t.version, func(message) {})
	if err != nil {
		return nil, message{}, err
	}
	if !slices.ContainsFunc(slices.Collect(elements(get(answer.result, "supportedVersions"))), func(v []byte) bool { return str(v) == t.version }) {
		return nil, message{}, errors.New("no version in common")
	}
	if t.offers = get(answer.result, "capabilities"); !isObject(t.offers) {
		t.offers = []byte("{}")
	}
	version := text(m.params, "protocolVersion")
	if !slices.Contains(legacyVersions, version) {
		version = latestLegacy
	}
	server := get(answer.result, "_meta", metaServerInfo)
	if !isObject(server) {
		server = object("name", r.server, "version", "")
	}
	result := object("protocolVersion", version, "capabilities", t.offers, "serverInfo", server, "instructions", get(answer.result, "instructions"))
	t.ctx, t.end = context.WithCancel(r.ctx)
	return t, newResult(m.id, result), nil
}

// ask answers a request of the host.
func (t *translator) ask(ctx context.Context, m message) (message, error) {
	switch m.method {
	case methodPing:
		return newResult(m.id, []byte("{}")), nil
	case methodSetLevel:
		level := get(m.params, "level")
		if str(level) == "" {
			return newError(m.id, codeParams, "level is missing"), nil
		}
		t.mu.Lock()
		t.logLevel = level
		t.mu.Unlock()
		return newResult(m.id, []byte("{}")), nil
	case methodSubscribe, methodUnsubscribe:
		return t.change(ctx, m)
	}
	return t.rounds(ctx, m)
}

// ours are the members of _meta that the host cannot set.
var ours = []string{metaVersion, metaClientInfo, metaCapabilities, metaLogLevel}

// dress gives a request what servers of 2026-07-28 want to know each time.
func (t *translator) dress(m message) message {
	t.mu.Lock()
	level := t.logLevel
	t.mu.Unlock()
	var meta []any
	given := get(m.params, "_meta")
	for f := range members(given) {
		if key := string(f.key); !slices.Contains(ours, key) {
			meta = append(meta, key, given[f.from:f.to])
		}
	}
	meta = append(append(meta, t.meta...), metaLogLevel, level)
	m.raw = set(m.raw, object(meta...), "params", "_meta")
	m.params = get(m.raw, "params")
	return m
}

// rounds sends a request, and again with what the host answers to the server's questions, until the server has enough
// (2026-07-28, Multi Round-Trip Requests).
func (t *translator) rounds(ctx context.Context, m message) (message, error) {
	sent, idle := t.dress(m), 0
	for range maxRounds {
		answer, _, err := t.r.askModern(ctx, sent, t.version, t.r.send)
		if err != nil {
			return message{}, err
		}
		switch kind := text(answer.result, "resultType"); kind {
		case "", "complete": // so is an error
			return answer.withID(m.id), nil
		case "input_required":
		default:
			return newError(m.id, codeFailed, fmt.Sprintf("%s answered with a result of a kind that is not known: %.80s", t.r.server, kind)), nil
		}
		responses, err := t.inputs(ctx, get(answer.result, "inputRequests"))
		if err != nil {
			return message{}, err
		}
		if responses == nil {
			if idle++; idle > maxIdle {
				break
			}
			if err := sleep(ctx, delay(sse.DefaultRetry, idle-1)); err != nil {
				return message{}, err
			}
		}
		sent = t.dress(m)
		if responses != nil {
			sent.raw = set(sent.raw, responses, "params", "inputResponses")
		}
		if state := get(answer.result, "requestState"); state != nil {
			sent.raw = set(sent.raw, state, "params", "requestState")
		}
		sent = sent.withID(t.r.ownID())
		sent.params = get(sent.raw, "params")
	}
	return newError(m.id, codeFailed, t.r.server+" asked for more again and again"), nil
}

// inputs puts the server's questions to the host, all at once, and returns the answers; nil if there are no questions.
func (t *translator) inputs(ctx context.Context, requests []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type input struct {
		key      string
		response []byte
		err      error
	}
	answered := make(chan input, maxInputs)
	count := 0
	for f := range members(requests) {
		if count++; count > maxInputs {
			return nil, &refusal{0, fmt.Sprintf("%s asked more than %d questions at once", t.r.server, maxInputs), false}
		}
		key, question := string(f.key), requests[f.from:f.to]
		t.r.work.Go(func() {
			response, err := t.askHost(ctx, text(question, "method"), get(question, "params"))
			answered <- input{key, response, err}
		})
	}
	var responses []any
	for range count {
		in := <-answered
		if in.err != nil {
			return nil, in.err
		}
		responses = append(responses, in.key, in.response)
	}
	if responses == nil {
		return nil, nil
	}
	return object(responses...), nil
}

// askHost sends the host a request and returns the result.
func (t *translator) askHost(ctx context.Context, method string, params []byte) ([]byte, error) {
	m := newRequest(t.r.ownID(), method, params)
	answer := make(chan message, 1)
	t.mu.Lock()
	t.asked[m.key()] = answer
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.asked, m.key())
		t.mu.Unlock()
	}()
	t.r.send(m)
	select {
	case got := <-answer:
		if got.result == nil {
			return nil, &refusal{0, fmt.Sprintf("%s asked for %s, which was not given: %s", t.r.server, method, plain([]byte(text(got.fault, "message")))), false}
		}
		return got.result, nil
	case <-ctx.Done():
		t.r.send(newNotification(noteCancelled, object("requestId", m.id)))
		return nil, ctx.Err()
	}
}

// answered takes a response of the host.
func (t *translator) answered(m message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if waiting := t.asked[m.key()]; waiting != nil {
		delete(t.asked, m.key())
		waiting <- m
	}
}

// change answers resources/subscribe and resources/unsubscribe by a subscription in place of the one before.
func (t *translator) change(ctx context.Context, m message) (message, error) {
	uri := text(m.params, "uri")
	if uri == "" {
		return newError(m.id, codeParams, "uri is missing"), nil
	}
	select {
	case t.changing <- struct{}{}:
		defer func() { <-t.changing }()
	case <-ctx.Done():
		return message{}, ctx.Err()
	}
	wanted := slices.DeleteFunc(slices.Clone(t.uris), func(u string) bool { return u == uri })
	if m.method == methodSubscribe {
		if len(wanted) >= maxAgain {
			return newError(m.id, codeParams, "too many subscriptions"), nil
		}
		wanted = append(wanted, uri)
	}
	covered, err := t.listen(ctx, wanted)
	switch {
	case err != nil:
		return message{}, err
	case m.method == methodSubscribe && !slices.Contains(covered, uri):
		return newError(m.id, codeParams, t.r.server+" does not tell of changes of "+uri), nil
	}
	return newResult(m.id, []byte("{}")), nil
}

// begin subscribes to the changes of lists that the server tells of, once the host is ready.
func (t *translator) begin() {
	ctx, cancel := context.WithTimeout(t.ctx, noteLimit)
	defer cancel()
	t.changing <- struct{}{}
	defer func() { <-t.changing }()
	t.listen(ctx, t.uris) // which logs why, if it fails; the host need not know
}

// listen opens a subscription and, once the server acknowledged it, closes the one before. It returns the resources
// that it covers.
func (t *translator) listen(ctx context.Context, uris []string) ([]string, error) {
	filter := []byte("{}")
	for _, kind := range missed {
		if string(get(t.offers, kind.list, "listChanged")) == "true" {
			filter = set(filter, []byte("true"), kind.flag)
		}
	}
	if len(uris) > 0 {
		filter = set(filter, array(uris...), "resourceSubscriptions")
	}
	hangUp := t.hangUp
	if string(filter) == "{}" {
		hangUp()
		t.uris, t.hangUp = nil, func() {}
		return nil, nil
	}
	stream, cancel := context.WithCancel(t.ctx)
	acknowledged := make(chan message, 1)
	ended := make(chan error, 1)
	t.r.work.Go(func() {
		err := t.keep(stream, filter, acknowledged)
		if stream.Err() == nil {
			t.r.log.Warn("the server's changes are not listened to any more", "err", t.r.sentence(err))
		}
		ended <- err
	})
	select {
	case ack := <-acknowledged:
		var covered []string
		for uri := range elements(get(ack.params, "notifications", "resourceSubscriptions")) {
			if slices.Contains(uris, str(uri)) {
				covered = append(covered, str(uri))
			}
		}
		hangUp()
		t.uris, t.hangUp = covered, cancel
		return covered, nil
	case err := <-ended:
		cancel()
		return nil, err
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	}
}

// keep holds a subscription open, also when the server ends it in an orderly way.
func (t *translator) keep(ctx context.Context, filter []byte, acknowledged chan<- message) error {
	first := true
	for {
		m := t.dress(newRequest(t.r.ownID(), methodListen, object("notifications", filter)))
		opened := time.Now()
		answer, err := t.r.subscribe(ctx, m, t.version, func(n message, _ bool) {
			switch {
			case n.method != noteAcknowledged:
				t.r.send(n)
			case first:
				first = false
				acknowledged <- n
			default:
				t.r.catchUp(n, nil)
			}
		})
		switch {
		case err != nil:
			return err
		case answer.fault != nil:
			return &refusal{0, t.r.server + ": " + plain([]byte(text(answer.fault, "message"))), false}
		case first || time.Since(opened) < steady:
			return errBroken
		}
		if err := sleep(ctx, sse.DefaultRetry); err != nil {
			return err
		}
	}
}
