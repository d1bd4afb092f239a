package bridge

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/valetkey/valetkey/internal/sse"
)

const maxPages = 100 // of tools/list that are read to learn headers

// askModern sends a request of 2026-07-28 and returns the response; what else comes with it goes to note. Nothing is
// sent twice, but for a call that the server refused because we did not know which headers it wants.
func (r *relay) askModern(ctx context.Context, m message, version string, note func(message)) (message, end, error) {
	answer, e, err := r.tryModern(ctx, m, version, note)
	if m.method == methodToolsCall && answer.code() == codeMismatch && r.relearn(ctx, m, version) == nil {
		answer, e, err = r.tryModern(ctx, m, version, note)
	}
	if m.method == methodToolsList && answer.result != nil {
		answer = r.learn(m, answer)
	}
	return answer, e, err
}

func (r *relay) tryModern(ctx context.Context, m message, version string, note func(message)) (message, end, error) {
	h := postHeaders()
	modernHeaders(h, m, version, r.paramHeaders(m))
	var answer message
	e, err := r.exchange(ctx, http.MethodPost, r.cfg.URL, m.raw, h, func(got message) bool {
		switch {
		case answer.raw != nil:
		case got.isResponse() && got.key() == m.key():
			answer = got
		case got.isResponse() || got.id != nil: // 2026-07-28 has no requests of servers
			r.log.Warn("a message that has no place in this stream was dropped", "method", got.method)
		default:
			note(got)
		}
		return answer.raw != nil
	})
	switch {
	case e.fault != nil:
		return e.fault.withID(m.id), e, nil
	case answer.raw == nil && err == nil:
		err = errBroken
	case answer.raw != nil:
		err = nil
	}
	return answer, e, err
}

// discover passes on server/discover of a host. If the server is of before 2026-07-28, the answer is a plain error, and
// a host that speaks both goes on with initialize (2026-07-28, stdio, Backward Compatibility).
func (r *relay) discover(ctx context.Context, m message) (message, error) {
	answer, e, err := r.askModern(ctx, m, m.version(), r.send)
	var no *refusal
	switch {
	case errors.As(err, &no) && !no.app && judges(no.status), err == nil && !e.app && !speaksModern(answer):
		return newError(m.id, codeNoMethod, r.server+" speaks no version of MCP from "+modernVersion+" on"), nil
	}
	return answer, err
}

// judges reports whether a status says something about the versions a server speaks.
func judges(status int) bool {
	return status/100 == 4 && !slices.Contains(passing, status) || status == http.StatusNotImplemented
}

// speaksModern reports whether the answer to server/discover is that of a server of 2026-07-28.
func speaksModern(answer message) bool {
	versions := get(answer.result, "supportedVersions")
	switch answer.code() {
	case codeMismatch, codeCapability:
		return true
	case codeUnsupported:
		versions = get(answer.fault, "data", "supported")
	}
	for v := range elements(versions) {
		if str(v) >= modernVersion {
			return true
		}
	}
	return false
}

// subscribe keeps a request subscriptions/listen open: once its stream has brought something, it is sent again, under
// an id of ours, whenever the stream ends without an answer. What comes is given to got as if it were still the first,
// with again telling that it is not.
func (r *relay) subscribe(ctx context.Context, m message, version string, got func(m message, again bool)) (message, error) {
	sent, established := m, false
	for fruitless := 0; ; fruitless++ {
		opened, heard := time.Now(), false
		answer, e, err := r.tryModern(ctx, sent, version, func(n message) {
			heard, established = true, true
			if sent.key() != m.key() && get(n.params, "_meta", metaSubscription) != nil {
				n.raw = set(n.raw, m.id, "params", "_meta", metaSubscription)
				n.params = get(n.raw, "params")
			}
			got(n, sent.key() != m.key())
		})
		if heard || time.Since(opened) > steady {
			fruitless = 0
		}
		passes := established && fruitless < maxFruitless && (e.app || e.status >= 500 || err != nil && e.status < 300) && !errors.Is(err, errTooLarge)
		switch {
		case ctx.Err() != nil:
			return message{}, ctx.Err()
		case !passes && answer.raw != nil:
			answer = answer.withID(m.id)
			if get(answer.result, "_meta", metaSubscription) != nil {
				answer.raw = set(answer.raw, m.id, "result", "_meta", metaSubscription)
				answer.result = get(answer.raw, "result")
			}
			return answer, nil
		case !passes:
			return message{}, err
		}
		if err := sleep(ctx, delay(sse.DefaultRetry, fruitless)); err != nil {
			return message{}, err
		}
		sent = m.withID(r.ownID())
	}
}

// sleep waits.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// missed are the notifications that stand for what a subscription may have missed while its stream was down.
var missed = []struct{ list, flag, method string }{
	{"tools", "toolsListChanged", "notifications/tools/list_changed"},
	{"prompts", "promptsListChanged", "notifications/prompts/list_changed"},
	{"resources", "resourcesListChanged", "notifications/resources/list_changed"},
}

// passSubscription passes a subscription of a host on. When its stream had to be opened again, the host hears of it as
// changes of everything it subscribed to.
func (r *relay) passSubscription(ctx context.Context, m message) (message, error) {
	return r.subscribe(ctx, m, m.version(), func(n message, again bool) {
		if !again || n.method != noteAcknowledged {
			r.send(n)
			return
		}
		r.catchUp(n, object("_meta", object(metaSubscription, m.id)))
	})
}

// catchUp tells the host that everything an acknowledged subscription covers may have changed.
func (r *relay) catchUp(ack message, params []byte) {
	covered := get(ack.params, "notifications")
	for _, kind := range missed {
		if string(get(covered, kind.flag)) == "true" {
			r.send(newNotification(kind.method, params))
		}
	}
	for uri := range elements(get(covered, "resourceSubscriptions")) {
		r.send(newNotification("notifications/resources/updated", set(params, uri, "uri")))
	}
}

// paramHeaders returns the headers a call of a tool must have, as far as they are known.
func (r *relay) paramHeaders(m message) []paramHeader {
	if m.method != methodToolsCall {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tools[text(m.params, "name")]
}

// learn takes from a list of tools which headers their calls need, and takes the tools out of the list whose
// annotations are not valid.
func (r *relay) learn(m, answer message) message {
	r.mu.Lock()
	defer r.mu.Unlock()
	if get(m.params, "cursor") == nil {
		clear(r.tools)
	}
	if !bytes.Contains(answer.raw, []byte(annotation)) {
		return answer
	}
	valid, dropped := []byte{'['}, false
	for tool := range elements(get(answer.result, "tools")) {
		name := text(tool, "name")
		headers, err := annotations(get(tool, "inputSchema"))
		if err != nil {
			r.log.Warn("a tool is left out of the list: its "+annotation+" "+err.Error(), "tool", name)
			dropped = true
			continue
		}
		if len(headers) > 0 {
			r.tools[name] = headers
		}
		if len(valid) > 1 {
			valid = append(valid, ',')
		}
		valid = append(valid, tool...)
	}
	if dropped {
		answer.raw = set(answer.raw, append(valid, ']'), "result", "tools")
		answer.result = get(answer.raw, "result")
	}
	return answer
}

// relearn reads the list of tools anew, in the name of a call.
func (r *relay) relearn(ctx context.Context, call message, version string) error {
	var meta []any
	given := get(call.params, "_meta")
	for f := range members(given) {
		if key := string(f.key); key != "progressToken" {
			meta = append(meta, key, given[f.from:f.to])
		}
	}
	params := object("_meta", object(meta...))
	for range maxPages {
		list := newRequest(r.ownID(), methodToolsList, params)
		answer, _, err := r.tryModern(ctx, list, version, func(message) {})
		switch {
		case err != nil:
			return err
		case answer.result == nil:
			return errNotMCP
		}
		cursor := get(r.learn(list, answer).result, "nextCursor")
		if str(cursor) == "" {
			return nil
		}
		params = set(params, cursor, "cursor")
	}
	return nil
}
