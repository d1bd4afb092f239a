package broker

import (
	"context"
	"time"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// onceFor bounds how long a yes for once serves a host whose requests are forwarded: a token that the host held itself
// would serve it as long as it lives.
const onceFor = time.Hour

// Forward is Token for the gateway, which uses the token itself and asks for each request of a host anew. So a yes for
// once holds, for this run of the host, as long as the token it was given for, but for an hour at most; and the activity
// log gets a line for each token rather than for each request.
//
// While ctx lasts, the request is taken to be under way. If the person takes back what allowed it (they forget the
// sign-in, take the consent back, pause the host), withdrawn is called with an error that says so. It must not block.
func (b *Broker) Forward(ctx context.Context, from *peer.Peer, req localapi.TokenRequest, withdrawn func(error)) (*localapi.Token, error) {
	w, err := newWant(ctx, from, req)
	if err != nil {
		return nil, err
	}
	w.forward, w.withdrawn = true, withdrawn
	token, err := b.token(ctx, w)
	if err != nil {
		err = b.explain(err, w.url)
	}
	if err != nil || b.firstUse(w, token) {
		b.logToken(w, token, err)
	}
	return token, err
}

// underWay is a forwarded request that has not ended yet.
type underWay struct {
	grant     *grant
	host      peer.Host
	withdrawn func(error)
}

// begin notes that w is forwarded with a token of g, until ctx ends. Callers hold mu: between the decision and this
// nothing may be taken back.
func (b *Broker) begin(ctx context.Context, g *grant, w *want) {
	if w.withdrawn == nil {
		return
	}
	u := &underWay{g, w.from.Host, w.withdrawn}
	b.underWay[u] = struct{}{}
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.underWay, u)
	})
}

// withdraw ends the requests under way that which picks. What allowed them must be gone already.
func (b *Broker) withdraw(err *localapi.Error, which func(*underWay) bool) {
	var ended []*underWay
	b.mu.Lock()
	for u := range b.underWay {
		if which(u) {
			delete(b.underWay, u)
			ended = append(ended, u)
		}
	}
	b.mu.Unlock()
	for _, u := range ended {
		u.withdrawn(err)
	}
}

// maxRemembered bounds what is remembered of hosts and tokens. Forgetting costs a line in the log, or one refresh.
const maxRemembered = 1000

// firstUse reports whether this token was not forwarded for this host before.
func (b *Broker) firstUse(w *want, token *localapi.Token) bool {
	key, sum := w.use(), token.AccessToken.SHA256()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.forwarded[key] == sum {
		return false
	}
	if len(b.forwarded) >= maxRemembered {
		clear(b.forwarded)
	}
	b.forwarded[key] = sum
	return true
}

// use names what w is about: this run of a host, at this server.
func (w *want) use() string {
	return w.from.Host.Key + "\n" + w.from.Host.Instance + "\n" + w.url + "\n" + w.account
}

// handed is a token that a header helper was given.
type handed struct {
	sum     string
	at      time.Time
	instead bool // of one that was taken for refused
}

// noteRerun takes the token that this run of the host was given a moment ago for refused: header helpers are run again
// when a server has turned down what they printed, and have no other way to say so. It is a guess, so it is made once:
// a host that comes back yet again gets the same token, and stops (checked for Codex).
func (b *Broker) noteRerun(w *want) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, ok := b.handed[w.use()]
	if ok && w.refused == "" && !last.instead && w.from.Host.Instance != "" && time.Since(last.at) < w.rerun {
		w.refused, w.guessed = last.sum, true
	}
}

// noteHanded remembers what w was given, for noteRerun.
func (b *Broker) noteHanded(w *want, token *localapi.Token) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, sum := b.handed[w.use()], token.AccessToken.SHA256()
	instead := w.guessed || last.sum == sum && last.instead && time.Since(last.at) < w.rerun
	if len(b.handed) >= maxRemembered {
		clear(b.handed)
	}
	b.handed[w.use()] = handed{sum, time.Now(), instead}
}
