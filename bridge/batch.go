package bridge

import "sync"

// batch gathers the answers to the requests of one batch of the host. Batches were in MCP 2025-03-26 only, but a host that
// writes one is answered in any version: each message is sent on by itself, because servers from 2025-06-18 on take no
// batches, and the answers come as one array once all are there (JSON-RPC 2.0, section 6).
type batch struct {
	send func(message)

	mu      sync.Mutex
	missing int
	answers []byte // an array without its end; nil: none yet
}

// takeBatch takes the messages of one batch of the host.
func (r *relay) takeBatch(messages []message) {
	b := &batch{send: r.send}
	for _, m := range messages {
		if m.isRequest() || m.isNothing() {
			b.missing++
		}
	}
	for _, m := range messages {
		r.dispatch(m, b.answer)
	}
}

// answer takes the answer to one request; a message without content says that there will be none. Answers that are
// larger together than one message may be go out in several arrays (2025-03-26, Streamable HTTP: they MAY be batched).
func (b *batch) answer(m message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(m.raw) > 0 {
		if len(b.answers)+len(m.raw)+1 > maxMessage {
			b.flush()
		}
		separator := byte(',')
		if b.answers == nil {
			separator = '['
		}
		b.answers = append(append(b.answers, separator), m.raw...)
	}
	if b.missing--; b.missing == 0 {
		b.flush()
	}
}

func (b *batch) flush() {
	if b.answers != nil {
		b.send(message{raw: append(b.answers, ']')})
		b.answers = nil
	}
}
