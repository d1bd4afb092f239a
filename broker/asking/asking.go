// Package asking puts questions to the person: one at a time, the same one once for all who ask it, and never more than a
// person should have to bear (docs/threat-model.md, T3 and T11). A host that they do not answer or that they doubt is
// paused.
package asking

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// Bounds on what programs may ask of the person.
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

// Config is what a Desk needs; only Ask may be nil. Its functions are called from any goroutine, with no lock held.
type Config struct {
	// Ask shows a question to the person and returns when it is answered, when ctx ends (the question is withdrawn) or
	// when nobody can be asked (an error that says so; a *localapi.Error is what the host is told). nil: there is nobody to
	// ask.
	Ask func(ctx context.Context, q face.Question) (face.Answer, error)

	// OnChange is called after what Waiting or Pauses return has changed.
	OnChange func()

	// Settled is told what became of a question that was shown, or waited to be.
	Settled func(q face.Question, a face.Answer, err error)

	// Halted is told of a host, by its HostID, that gets no tokens from now on, and why.
	Halted func(host string, why *localapi.Error)
}

// Desk is where questions wait for the person. Its methods are safe for concurrent use, and only Ask and Close wait.
type Desk struct {
	cfg    Config
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	jobs   sync.WaitGroup
	screen chan struct{} // holds one token: who has it may show its question

	mu         sync.Mutex // guards all below, and every pending
	lastID     int
	pending    map[string]*pending
	denied     map[string]time.Time // question → when the same may be asked again
	asked      map[string][]time.Time
	unanswered map[string]int // host → questions in a row
	paused     map[string]pause
}

// pending is one question and those who wait for its answer.
type pending struct {
	q         face.Question
	key, host string
	waiters   int
	cancel    context.CancelFunc
	limit     *time.Timer   // ends the time to answer; nil: the question was not put to the person yet
	shown     bool          // the face said that it is on the screen
	done      chan struct{} // closed when answer or err is set
	answer    face.Answer
	err       error
}

// pause is a host that is not listened to. It asks no questions; after a doubt it gets no tokens either.
type pause struct {
	face.Paused
	noTokens bool
}

// New opens a Desk. When ctx ends, its questions are withdrawn.
func New(ctx context.Context, cfg Config) *Desk {
	d := &Desk{
		cfg: cfg, screen: make(chan struct{}, 1), pending: map[string]*pending{}, denied: map[string]time.Time{},
		asked: map[string][]time.Time{}, unanswered: map[string]int{}, paused: map[string]pause{},
	}
	d.ctx, d.stop = context.WithCancel(ctx)
	return d
}

// Close withdraws all questions and waits until they are settled.
func (d *Desk) Close() {
	d.stop()
	d.jobs.Wait()
}

// HostID names a host for bounds and pauses: its consent key, else this run of it.
func HostID(h peer.Host) string {
	if h.Key != "" {
		return h.Key
	}
	return "run:" + h.Instance + ":" + h.Name
}

// Key names what q asks: two questions with one key are the same.
func Key(q face.Question) string {
	names := make([]string, len(q.Scopes))
	for i, s := range q.Scopes {
		names[i] = s.Name
	}
	quirk := ""
	if q.Quirk != nil {
		quirk = q.Quirk.Name + "=" + q.Quirk.Value
	}
	return strings.Join([]string{q.Kind, quirk, HostID(q.Host), q.Resource, q.Server, q.Issuer, q.Account, q.ClientID, strings.Join(names, " ")}, "\n")
}

// Ask puts q to the person and returns a yes; anything else is an error for the host. rule says how it came to that.
func (d *Desk) Ask(ctx context.Context, q face.Question) (answer face.Answer, rule string, err error) {
	if d.cfg.Ask == nil {
		return face.Answer{}, "there is nobody to ask", nobodyToAsk()
	}
	p, err := d.join(q)
	if err != nil {
		return face.Answer{}, err.Error(), err
	}
	defer d.leave(p)
	select {
	case <-p.done:
	case <-ctx.Done():
		return face.Answer{}, "the program hung up", ctx.Err()
	}
	return p.verdict()
}

// MayAsk reports why the question that key names cannot be put to the person for host now; nil when it can, or already
// waits for them. An empty key stands for one that is not known yet.
func (d *Desk) MayAsk(host peer.Host, key string) error {
	if d.cfg.Ask == nil && key != "" {
		return nobodyToAsk()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending[key] != nil {
		return nil
	}
	return d.bounds(key, HostID(host), time.Now())
}

func nobodyToAsk() error {
	return localapi.Errorf(localapi.ErrConsentRequired, "the person must allow this, and there is nobody to ask").
		WithHint("run valetkey with a display, or in a terminal with --headless, or write it down for --policy")
}

// Paused refuses a host that must get no tokens for now, whatever it was allowed before.
func (d *Desk) Paused(host peer.Host) error {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.pausedNow(HostID(host), now); ok && p.noTokens {
		return p.refusal(now)
	}
	return nil
}

// Suspect counts a host that changed between request and answer towards a pause of it.
func (d *Desk) Suspect(host peer.Host) {
	id := HostID(host)
	var halted *localapi.Error
	d.mu.Lock()
	if d.unanswered[id]++; d.unanswered[id] >= 2 {
		delete(d.unanswered, id)
		halted = d.halt(face.Paused{Host: id, Name: host.Name, Until: time.Now().Add(quietTime), Why: "it changed between its request and the answer, twice"})
	}
	d.mu.Unlock()
	if halted != nil {
		d.cfg.Halted(id, halted)
	}
	d.cfg.OnChange()
}

// Shown hears that the question with that ID is on the screen only now: the time to answer begins with it.
func (d *Desk) Shown(id string) {
	d.mu.Lock()
	for _, p := range d.pending {
		if p.q.ID == id && p.limit != nil && !p.shown {
			p.shown = true
			p.q.Deadline = time.Now().Add(answerTime)
			p.limit.Reset(answerTime)
		}
	}
	d.mu.Unlock()
	d.cfg.OnChange()
}

// Resume ends the pause of the host with that HostID.
func (d *Desk) Resume(host string) {
	d.mu.Lock()
	delete(d.paused, host)
	delete(d.unanswered, host)
	d.mu.Unlock()
	d.cfg.OnChange()
}

// Waiting returns the questions that wait for the person, oldest first.
func (d *Desk) Waiting() []face.Question {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []face.Question{}
	for _, p := range d.pending {
		out = append(out, p.q)
	}
	slices.SortFunc(out, func(a, b face.Question) int { return a.Asked.Compare(b.Asked) })
	return out
}

// Pauses returns the hosts that are paused, by name.
func (d *Desk) Pauses() []face.Paused {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []face.Paused{}
	for id := range d.paused {
		if p, ok := d.pausedNow(id, now); ok {
			out = append(out, p.Paused)
		}
	}
	slices.SortFunc(out, func(a, b face.Paused) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// join finds the pending question that equals q, or starts one within the bounds.
func (d *Desk) join(q face.Question) (*pending, error) {
	key, host, now := Key(q), HostID(q.Host), time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.pending[key]; p != nil {
		p.waiters++
		return p, nil
	}
	if err := d.bounds(key, host, now); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(d.ctx)
	d.lastID++
	q.ID = "q" + strconv.Itoa(d.lastID)
	q.Asked = now
	q.Deadline = now.Add(answerTime)
	p := &pending{q: q, key: key, host: host, waiters: 1, cancel: cancel, done: make(chan struct{})}
	d.pending[key] = p
	d.asked[host] = append(d.asked[host], now)
	d.jobs.Go(func() {
		defer cancel()
		answer, err := d.show(ctx, p)
		d.settle(p, answer, err)
	})
	return p, nil
}

// bounds says why host may not ask now. It also forgets what is past. Callers hold mu.
func (d *Desk) bounds(key, host string, now time.Time) error {
	for k, until := range d.denied {
		if !now.Before(until) {
			delete(d.denied, k)
		}
	}
	for h, times := range d.asked {
		times = slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) >= asksWindow })
		if d.asked[h] = times; len(times) == 0 {
			delete(d.asked, h)
		}
	}
	if p, ok := d.pausedNow(host, now); ok {
		return p.refusal(now)
	}
	if until, ok := d.denied[key]; ok {
		e := localapi.Errorf(localapi.ErrConsentDenied, "the person said no to this a moment ago")
		e.RetryAfter = until.Sub(now)
		return e
	}
	mine := 0
	for _, p := range d.pending {
		if p.host == host {
			mine++
		}
	}
	wait := time.Duration(0)
	if times := d.asked[host]; len(times) >= asksPerHost {
		wait = times[len(times)-asksPerHost].Add(asksWindow).Sub(now)
	}
	if mine >= pendingPerHost || len(d.pending) >= pendingInAll || wait > 0 {
		e := localapi.Errorf(localapi.ErrConsentDenied, "too many questions wait for the person or were asked lately")
		e.RetryAfter = max(wait, 10*time.Second)
		return e
	}
	return nil
}

// pausedNow finds a pause of host that still holds. Callers hold mu.
func (d *Desk) pausedNow(host string, now time.Time) (pause, bool) {
	p, ok := d.paused[host]
	if ok && !p.Until.IsZero() && !now.Before(p.Until) {
		delete(d.paused, host)
		return pause{}, false
	}
	return p, ok
}

// halt pauses a host so that it gets no tokens, and returns what it is told. Callers hold mu, and then call Halted.
func (d *Desk) halt(why face.Paused) *localapi.Error {
	p := pause{why, true}
	d.paused[why.Host] = p
	return p.refusal(time.Now())
}

func (p pause) refusal(now time.Time) *localapi.Error {
	e := localapi.Errorf(localapi.ErrConsentDenied, "this program is paused: %s", p.Why).WithHint("the person can resume it in Valet Key")
	if !p.Until.IsZero() {
		e.RetryAfter = p.Until.Sub(now)
	}
	return e
}

// show waits for the screen and puts p's question on it.
func (d *Desk) show(ctx context.Context, p *pending) (face.Answer, error) {
	d.cfg.OnChange()
	select {
	case d.screen <- struct{}{}:
		defer func() { <-d.screen }()
	case <-ctx.Done():
		return face.Answer{}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.mu.Lock()
	p.q.Deadline = time.Now().Add(answerTime) // the time on the screen counts; Shown says when that begins, if it is later
	p.limit = time.AfterFunc(answerTime, cancel)
	q := p.q
	d.mu.Unlock()
	defer p.limit.Stop()
	answer, err := d.cfg.Ask(ctx, q)
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) && !answer.Answered {
		return face.Answer{}, nil // withdrawn: unanswered, nobody's failure
	}
	return answer, err
}

// settle remembers what follows from p's answer and hands it to all who wait.
func (d *Desk) settle(p *pending, answer face.Answer, err error) {
	now := time.Now()
	var halted *localapi.Error
	d.mu.Lock()
	d.forget(p)
	p.answer, p.err = answer, err
	switch {
	case err != nil:
	case answer.Answered:
		delete(d.unanswered, p.host)
		if !answer.Allow {
			d.denied[p.key] = now.Add(denyCooldown)
		}
		if answer.Pause {
			halted = d.halt(face.Paused{Host: p.host, Name: p.q.Host.Name, Why: "you said that you had not started what it asked for"})
		}
	case p.waiters > 0: // nobody answered; a question that was withdrawn because its askers left does not count
		if d.unanswered[p.host]++; d.unanswered[p.host] >= 2 {
			delete(d.unanswered, p.host)
			d.paused[p.host] = pause{face.Paused{Host: p.host, Name: p.q.Host.Name, Until: now.Add(quietTime), Why: "two of its questions were not answered"}, false}
		}
	}
	q := p.q
	d.mu.Unlock()
	if halted != nil {
		d.cfg.Halted(p.host, halted)
	}
	close(p.done)
	d.cfg.Settled(q, answer, err)
	d.cfg.OnChange()
}

// verdict turns what the person said into an answer for the host. It is for after done.
func (p *pending) verdict() (face.Answer, string, error) {
	var told *localapi.Error
	switch {
	case errors.As(p.err, &told):
		return face.Answer{}, "the person could not be asked", p.err
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

// leave takes one asker away; the question of the last one goes after a grace, in case it calls again.
func (d *Desk) leave(p *pending) {
	d.mu.Lock()
	p.waiters--
	last := p.waiters == 0
	d.mu.Unlock()
	if !last {
		return
	}
	select {
	case <-p.done:
		return
	default:
	}
	d.jobs.Go(func() {
		select {
		case <-time.After(hangUpGrace):
		case <-p.done:
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if p.waiters == 0 {
			d.forget(p) // who asks the same from now on asks anew
			p.cancel()
		}
	})
}

// forget lets nobody join p any more. Callers hold mu.
func (d *Desk) forget(p *pending) {
	if d.pending[p.key] == p {
		delete(d.pending, p.key)
	}
}
