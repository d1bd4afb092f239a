package broker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// uses is what hosts do with tokens right now, and did last.
type uses struct {
	mu        sync.Mutex             // guards all below
	underWay  map[*underWay]struct{} // requests that the gateway forwards
	forwarded map[string]string      // by use: the token forwarded last, by SHA-256
	handed    map[string]handed      // by use: what a header helper was given last
}

func newUses() *uses {
	return &uses{underWay: map[*underWay]struct{}{}, forwarded: map[string]string{}, handed: map[string]handed{}}
}

// underWay is a forwarded request that has not ended yet.
type underWay struct {
	grant     *ledger.Grant // uses.mu guards it
	host      peer.Host
	withdrawn func(error)
}

// enter notes that a is forwarded with a token of g, until ctx ends or leave is called. It comes before the decision whether
// a may be: who takes something back does that first and withdraws then, so that one of both sees the other. goesOn reports
// whether nothing was taken back since.
func (u *uses) enter(ctx context.Context, g *ledger.Grant, a *attempt) (leave func(), goesOn func() bool) {
	if a.forward == nil {
		return func() {}, func() bool { return true }
	}
	w := &underWay{g, a.from.Host, a.forward}
	end := func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.underWay, w)
	}
	u.mu.Lock()
	u.underWay[w] = struct{}{}
	u.mu.Unlock()
	stop := context.AfterFunc(ctx, end)
	leave = func() {
		stop()
		end()
	}
	goesOn = func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		_, on := u.underWay[w]
		return on
	}
	return leave, goesOn
}

// withdraw ends the requests under way that which picks, of the host's and with a token of the grant's that it is given.
func (u *uses) withdraw(why error, which func(*ledger.Grant, peer.Host) bool) {
	u.mu.Lock()
	var ended []func(error)
	for w := range u.underWay {
		if which(w.grant, w.host) {
			delete(u.underWay, w)
			ended = append(ended, w.withdrawn)
		}
	}
	u.mu.Unlock()
	for _, end := range ended {
		end(why)
	}
}

// move makes what is under way with one of the grants from something of to's.
func (u *uses) move(from []*ledger.Grant, to *ledger.Grant) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for w := range u.underWay {
		if slices.Contains(from, w.grant) {
			w.grant = to
		}
	}
}

// maxRemembered bounds what is remembered of hosts and tokens. Forgetting costs a line in the log, or one refresh.
const maxRemembered = 1000

// key names what w is about: this run of a host, at this server.
func (w *want) key() string {
	return w.from.Host.Key + "\n" + w.from.Host.Instance + "\n" + w.url + "\n" + w.account
}

// first reports whether this token was not forwarded for this host before.
func (u *uses) first(w *want, token *localapi.Token) bool {
	key, sum := w.key(), token.AccessToken.SHA256()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.forwarded[key] == sum {
		return false
	}
	if len(u.forwarded) >= maxRemembered {
		clear(u.forwarded)
	}
	u.forwarded[key] = sum
	return true
}

// handed is a token that a header helper was given.
type handed struct {
	sum     string
	at      time.Time
	instead bool // of one that was taken for refused
}

// guess is the token, by SHA-256, that this run of the host was given a moment ago and that is taken for refused now; "" for
// none. Header helpers are run again when a server has turned down what they printed, and have no other way to say so. It is
// a guess, so it is made once: a host that comes back yet again gets the same token, and stops (checked for Codex).
func (u *uses) guess(w *want) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, ok := u.handed[w.key()]
	if ok && w.refused == "" && !last.instead && w.from.Host.Instance != "" && time.Since(last.at) < w.rerun {
		return last.sum
	}
	return ""
}

// hand remembers what a was given, for guess.
func (u *uses) hand(a *attempt, token *localapi.Token) {
	key, sum := a.key(), token.AccessToken.SHA256()
	u.mu.Lock()
	defer u.mu.Unlock()
	last := u.handed[key]
	instead := a.guess != "" || last.sum == sum && last.instead && time.Since(last.at) < a.rerun
	if len(u.handed) >= maxRemembered {
		clear(u.handed)
	}
	u.handed[key] = handed{sum, time.Now(), instead}
}
