package broker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/valetkey/valetkey/broker/asking"
	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// ask puts q to the policy, else to the person, and returns a yes; anything else is an error for the host. rule says
// which rule decided. The same question asked twice is shown once.
func (b *Broker) ask(ctx context.Context, q face.Question) (answer face.Answer, rule string, err error) {
	if answer, rule, decided, err := b.written(q); decided {
		return answer, rule, err
	}
	return b.desk.Ask(ctx, q)
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

// noteSettled enters into the activity log what became of a question.
func (b *Broker) noteSettled(q face.Question, answer face.Answer, err error) {
	decision, rule := "unanswered", q.Why
	switch {
	case err != nil:
		decision, rule = "failed", words.Sentence("the person could not be asked: "+err.Error())
	case answer.Answered && answer.Allow:
		decision = "allowed"
	case answer.Answered:
		decision = "denied"
	}
	b.activity.add(face.Entry{
		Time: time.Now(), Event: q.Kind, Host: q.Host.Name, HostKey: q.Host.Key, PID: q.Host.Process.PID,
		Resource: cmp.Or(q.Resource, q.Server), Account: q.Account, Scopes: answer.Scopes, Decision: decision, Mode: answer.Mode, Rule: rule,
	})
}

// halted ends what the host with that ID has under way.
func (b *Broker) halted(host string, why *localapi.Error) {
	b.uses.withdraw(why, func(_ *ledger.Grant, by peer.Host) bool { return asking.HostID(by) == host })
}

// paused refuses a host that must get no tokens for now.
func (b *Broker) paused(a *attempt) error {
	err := b.desk.Paused(a.from.Host)
	if err != nil {
		a.rule = "this program is paused"
	}
	return err
}

// askBeside has the person asked what req misses, for a host that does not wait for them, and returns what that host is
// told: that they are asked now, or why they cannot be. question is the one that was not put to them; "" if there was none.
func (b *Broker) askBeside(from *peer.Peer, req localapi.TokenRequest, question string, missing error) error {
	if err := b.desk.MayAsk(from.Host, question); err != nil {
		return err
	}
	req.Interaction = localapi.InteractionAuto
	b.jobs.Go(func() { b.askWithout(from, req) })
	var said *localapi.Error
	if errors.As(missing, &said) {
		said.Hint = "Valet Key asks about it now: answer there, then try again"
	}
	return missing
}

// askWithout asks the person what req needs, for a host that cannot wait for them: what they allow for longer than once
// is there when it asks again. Nobody gets the token, so nothing is released to a peer that may be gone.
func (b *Broker) askWithout(from *peer.Peer, req localapi.TokenRequest) {
	w, err := newWant(b.ctx, from, req)
	if err != nil {
		return // the same request was good a moment ago
	}
	if _, err := b.token(b.ctx, w.attempt()); err != nil {
		b.cfg.Log.Debug("asked for a host that did not wait", "resource", w.url, "error", b.explain(err, w.url))
	}
}
