package broker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// Bounds on what programs may ask of the person (docs/threat-model.md, T3 and T11).
const (
	answerTime     = 120 * time.Second // then a question is withdrawn
	hangUpGrace    = 2 * time.Second   // a question outlives its last asker by this
	denyCooldown   = 60 * time.Second  // for the same question
	quietTime      = 5 * time.Minute   // for a host that was not answered twice in a row
	pendingPerHost = 3
	pendingInAll   = 8
	asksPerHost    = 6
	asksWindow     = 10 * time.Minute
)

// asking is what the Broker knows about questions. Broker.mu guards it.
type asking struct {
	screen     chan struct{} // holds one token: who has it may show its question
	pending    map[string]*pending
	denied     map[string]time.Time // question → when the same may be asked again
	asked      map[string][]time.Time
	unanswered map[string]int // host → questions in a row
	paused     map[string]pause
}

// pause is a host that is not listened to. It asks no questions; after a doubt it gets no tokens either.
type pause struct {
	face.Paused
	noTokens bool
}

func (a *asking) init() {
	*a = asking{
		screen: make(chan struct{}, 1), pending: map[string]*pending{}, denied: map[string]time.Time{},
		asked: map[string][]time.Time{}, unanswered: map[string]int{}, paused: map[string]pause{},
	}
}

// pending is one question and those who wait for its answer.
type pending struct {
	q       face.Question
	host    string
	waiters int
	cancel  context.CancelFunc
	done    chan struct{} // closed when answer or err is set
	answer  face.Answer
	err     error
}

// hostID names a host for bounds and pauses: its consent key, else this run of it.
func hostID(h peer.Host) string {
	if h.Key != "" {
		return h.Key
	}
	return "run:" + h.Instance + ":" + h.Name
}

func questionKey(q face.Question) string {
	names := make([]string, len(q.Scopes))
	for i, s := range q.Scopes {
		names[i] = s.Name
	}
	quirk := ""
	if q.Quirk != nil {
		quirk = q.Quirk.Name + "=" + q.Quirk.Value
	}
	return strings.Join([]string{q.Kind, quirk, hostID(q.Host), q.Resource, q.Server, q.Issuer, q.Account, q.ClientID, strings.Join(names, " ")}, "\n")
}

// ask puts q to the policy, else to the person, and returns a yes; anything else is an error for the host. rule says
// which rule decided. The same question asked twice is shown once.
func (b *Broker) ask(ctx context.Context, q face.Question) (answer face.Answer, rule string, err error) {
	if answer, rule, decided, err := b.written(q); decided {
		return answer, rule, err
	}
	if b.cfg.Ask == nil {
		return face.Answer{}, "there is nobody to ask", nobodyToAsk()
	}
	p, err := b.join(q)
	if err != nil {
		return face.Answer{}, err.Error(), err
	}
	defer b.leave(p)
	select {
	case <-p.done:
	case <-ctx.Done():
		return face.Answer{}, "the program hung up", ctx.Err()
	}
	return b.verdict(p)
}

func nobodyToAsk() error {
	return localapi.Errorf(localapi.ErrConsentRequired, "the person must allow this, and there is nobody to ask").
		WithHint("run valetkey with a display, or in a terminal with --headless, or write it down for --policy")
}

// askQuietly is ask for a host that must not wait for the person: it may have what they wrote down.
func (b *Broker) askQuietly(q face.Question) (answer face.Answer, rule string, err error) {
	if answer, rule, decided, err := b.written(q); decided {
		return answer, rule, err
	}
	return face.Answer{}, "nobody may be asked", localapi.Errorf(localapi.ErrConsentRequired, "%s was not allowed to use %s yet", q.Host.Name, words.Host(q.Server)).
		WithHint("ask again with interaction \"auto\" when the person is there")
}

// written is what the person wrote down about q beforehand, as an answer for the host; decided is false when that is
// nothing.
func (b *Broker) written(q face.Question) (answer face.Answer, rule string, decided bool, err error) {
	if b.cfg.Policy == nil {
		return face.Answer{}, "", false, nil
	}
	answer, rule, decided = b.cfg.Policy(q)
	if !decided || answer.Allow {
		return answer, rule, decided, nil
	}
	return answer, rule, true, localapi.Errorf(localapi.ErrConsentDenied, "the policy file does not allow this: %s", rule).
		WithHint("the person who runs valetkey can add it to the file named by --policy")
}

// verdict turns what the person said into an answer for the host.
func (b *Broker) verdict(p *pending) (face.Answer, string, error) {
	switch {
	case p.err != nil:
		e := localapi.Errorf(localapi.ErrConsentRequired, "the person could not be asked: %s", p.err)
		e.Err = p.err
		return face.Answer{}, "the person could not be asked", e.WithHint("open Valet Key, or run valetkey --headless in a terminal, and ask again")
	case p.answer.Answered && p.answer.Allow:
		return p.answer, "the person said yes", nil
	case p.answer.Answered && p.answer.WrongAccount:
		return p.answer, "the person wants another account", localapi.Errorf(localapi.ErrConsentDenied, "the person wants to use another account").
			WithHint("run vk signin %s --account NAME to sign in with it", p.q.Server)
	case p.answer.Answered:
		e := localapi.Errorf(localapi.ErrConsentDenied, "the person said no")
		e.RetryAfter = denyCooldown
		return p.answer, "the person said no", e
	}
	return p.answer, "the person did not answer", localapi.Errorf(localapi.ErrConsentDenied, "the person did not answer").
		WithHint("ask again when they are at the computer")
}

// join finds the pending question that equals q, or starts one within the bounds.
func (b *Broker) join(q face.Question) (*pending, error) {
	key, host, now := questionKey(q), hostID(q.Host), time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &b.asking
	if p := a.pending[key]; p != nil {
		p.waiters++
		return p, nil
	}
	if err := a.mayAsk(key, host, now); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	b.lastID++
	q.ID = "q" + strconv.Itoa(b.lastID)
	q.Asked = now
	q.Deadline = now.Add(answerTime)
	p := &pending{q: q, host: host, waiters: 1, cancel: cancel, done: make(chan struct{})}
	a.pending[key] = p
	a.asked[host] = append(a.asked[host], now)
	b.jobs.Go(func() {
		defer cancel()
		answer, err := b.show(ctx, p)
		b.settle(key, p, answer, err)
	})
	return p, nil
}

// mayAsk holds the bounds. It also forgets what is past.
func (a *asking) mayAsk(key, host string, now time.Time) error {
	for k, until := range a.denied {
		if !now.Before(until) {
			delete(a.denied, k)
		}
	}
	for h, times := range a.asked {
		times = slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) >= asksWindow })
		if a.asked[h] = times; len(times) == 0 {
			delete(a.asked, h)
		}
	}
	if p, ok := a.pausedNow(host, now); ok {
		return p.refusal(now)
	}
	if until, ok := a.denied[key]; ok {
		e := localapi.Errorf(localapi.ErrConsentDenied, "the person said no to this a moment ago")
		e.RetryAfter = until.Sub(now)
		return e
	}
	mine := 0
	for _, p := range a.pending {
		if p.host == host {
			mine++
		}
	}
	wait := time.Duration(0)
	if times := a.asked[host]; len(times) >= asksPerHost {
		wait = times[len(times)-asksPerHost].Add(asksWindow).Sub(now)
	}
	if mine >= pendingPerHost || len(a.pending) >= pendingInAll || wait > 0 {
		e := localapi.Errorf(localapi.ErrConsentDenied, "too many questions wait for the person or were asked lately")
		e.RetryAfter = max(wait, 10*time.Second)
		return e
	}
	return nil
}

// pausedNow finds a pause of host that still holds.
func (a *asking) pausedNow(host string, now time.Time) (pause, bool) {
	p, ok := a.paused[host]
	if ok && !p.Until.IsZero() && !now.Before(p.Until) {
		delete(a.paused, host)
		return pause{}, false
	}
	return p, ok
}

func (p pause) refusal(now time.Time) *localapi.Error {
	e := localapi.Errorf(localapi.ErrConsentDenied, "this program is paused: %s", p.Why).WithHint("the person can resume it in Valet Key")
	if !p.Until.IsZero() {
		e.RetryAfter = p.Until.Sub(now)
	}
	return e
}

// paused refuses a host that must get no tokens for now, whatever it was allowed before. Callers hold mu.
func (b *Broker) paused(w *want) error {
	now := time.Now()
	if p, ok := b.asking.pausedNow(hostID(w.from.Host), now); ok && p.noTokens {
		w.rule = "this program is paused"
		return p.refusal(now)
	}
	return nil
}

// halt pauses a host so that it gets no tokens, and ends what it has under way. Callers hold mu.
func (b *Broker) halt(host string, why face.Paused) {
	p := pause{why, true}
	b.asking.paused[host] = p
	b.withdraw(p.refusal(time.Now()), func(u *underWay) bool { return hostID(u.host) == host })
}

// show waits for the screen and puts p's question on it.
func (b *Broker) show(ctx context.Context, p *pending) (face.Answer, error) {
	b.cfg.OnChange()
	select {
	case b.asking.screen <- struct{}{}:
		defer func() { <-b.asking.screen }()
	case <-ctx.Done():
		return face.Answer{}, nil
	}
	b.mu.Lock()
	p.q.Deadline = time.Now().Add(answerTime) // the time on the screen counts
	q := p.q
	b.mu.Unlock()
	ctx, cancel := context.WithDeadline(ctx, q.Deadline)
	defer cancel()
	answer, err := b.cfg.Ask(ctx, q)
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) && !answer.Answered {
		return face.Answer{}, nil // withdrawn: unanswered, nobody's failure
	}
	return answer, err
}

// settle hands p's answer to all who wait and remembers what follows from it.
func (b *Broker) settle(key string, p *pending, answer face.Answer, err error) {
	now := time.Now()
	b.mu.Lock()
	a := &b.asking
	delete(a.pending, key)
	p.answer, p.err = answer, err
	switch {
	case err != nil:
	case answer.Answered:
		delete(a.unanswered, p.host)
		if !answer.Allow {
			a.denied[key] = now.Add(denyCooldown)
		}
		if answer.Pause {
			b.halt(p.host, face.Paused{Host: p.host, Name: p.q.Host.Name, Why: "you said that you had not started what it asked for"})
		}
	case p.waiters > 0: // nobody answered; a question that was withdrawn because its askers left does not count
		if a.unanswered[p.host]++; a.unanswered[p.host] >= 2 {
			delete(a.unanswered, p.host)
			a.paused[p.host] = pause{face.Paused{Host: p.host, Name: p.q.Host.Name, Until: now.Add(quietTime), Why: "two of its questions were not answered"}, false}
		}
	}
	close(p.done)
	b.mu.Unlock()
	b.logQuestion(p)
	b.cfg.OnChange()
}

// leave takes one asker away; the question of the last one goes after a grace, in case it calls again.
func (b *Broker) leave(p *pending) {
	b.mu.Lock()
	p.waiters--
	last := p.waiters == 0
	b.mu.Unlock()
	if !last {
		return
	}
	select {
	case <-p.done:
		return
	default:
	}
	b.jobs.Go(func() {
		select {
		case <-time.After(hangUpGrace):
		case <-p.done:
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if p.waiters == 0 {
			p.cancel()
		}
	})
}

func (b *Broker) logQuestion(p *pending) {
	decision := "unanswered"
	switch {
	case p.err != nil:
		decision = "failed"
	case p.answer.Answered && p.answer.Allow:
		decision = "allowed"
	case p.answer.Answered:
		decision = "denied"
	}
	rule := p.q.Why
	if p.err != nil {
		rule = words.Sentence("the person could not be asked: " + p.err.Error())
	}
	b.activity.add(face.Entry{
		Time: time.Now(), Event: p.q.Kind, Host: p.q.Host.Name, HostKey: p.q.Host.Key, PID: p.q.Host.Process.PID,
		Resource: cmp.Or(p.q.Resource, p.q.Server), Account: p.q.Account, Scopes: p.answer.Scopes, Decision: decision, Mode: p.answer.Mode, Rule: rule,
	})
}
