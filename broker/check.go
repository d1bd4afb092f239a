package broker

import (
	"cmp"
	"context"
	"strings"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/broker/tokens"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// guard decides whether t may leave for a's host as far as the checks go. again means that the person accepted a quirk
// that changes the answer: look once more.
func (b *Broker) guard(ctx context.Context, g *ledger.Grant, a *attempt, t tokens.Token) (again bool, err error) {
	if t.Access.Empty() {
		return false, nil // the server asks for no sign-in: no token leaves
	}
	check, quirks := b.tokens.Check(ctx, g, t)
	a.check = &check
	switch {
	case a.explain, a.tolerated:
		return false, nil
	case check.Result == localapi.CheckUnknown:
		a.rule += "; not all of the token could be checked: " + unknownWords(check)
		return false, nil
	case check.Result != localapi.CheckWrong:
		return false, nil
	case quirk.Effects(quirks).Unchecked:
		a.rule += "; the token is wrong, and you switched the checks off for this server: " + failedWords(check)
		return false, nil
	}
	return b.refuseWrong(ctx, g, a, check)
}

// refuseWrong refuses a wrong token, unless the person or the policy accepts what is wrong with it. What a quirk cures
// is asked about once; to hand out a token that nothing cures, the person must go to the server's page themselves.
func (b *Broker) refuseWrong(ctx context.Context, g *ledger.Grant, a *attempt, check localapi.Check) (again bool, err error) {
	rec := g.Record()
	refusal := wrongToken(rec, check)
	for _, cure := range cures(check) {
		q := a.quirkQuestion(rec, cure)
		q.Why = words.Sentence(failedWords(check))
		answer, rule, err := b.askQuietly(q)
		if err != nil && b.mayAskQuirk(g, a, cure) {
			answer, rule, err = b.ask(ctx, q)
			if answer.Answered && !answer.Allow {
				b.consents.decline(g, cure)
			}
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil || !answer.Allow {
			continue
		}
		a.rule = rule
		if answer.Mode == localapi.ModeOnce { // the policy file: it stays where it is written
			a.tolerated = true
			return true, nil
		}
		return true, b.setQuirk(ctx, g, cure)
	}
	return false, refusal
}

// mayAskQuirk reports whether the person is to be asked about cure: once, until they sign in again.
func (b *Broker) mayAskQuirk(g *ledger.Grant, a *attempt, cure quirk.Quirk) bool {
	may := !a.quiet && !a.askedQuirk && cure.Is(quirk.Asked) && !b.consents.hasDeclined(g, cure)
	a.askedQuirk = true
	return may
}

// wrongToken is the refusal of a token that is wrong.
func wrongToken(rec ledger.Record, check localapi.Check) error {
	kind := localapi.ErrIssuer
	for _, f := range check.Failed() {
		if f.Name == localapi.CheckAudience {
			kind = localapi.ErrAudience
		}
	}
	e := localapi.Errorf(kind, "the token that %s issued for %s is not handed out: %s", words.Host(rec.Issuer), words.Host(rec.Server), failedWords(check))
	accept := "switch the checks off for this server on its page in Valet Key"
	for _, cure := range cures(check) {
		if cure.Is(quirk.Asked) {
			accept = "accept the quirk " + cure.Name + " when Valet Key asks you"
		}
	}
	return e.WithHint("tell the issuer's administrator, then sign in again; or %s. vk token --explain %s shows what was expected", accept, rec.Server)
}

// failedWords says what is wrong with a token, what was expected and what was there.
func failedWords(c localapi.Check) string {
	var words []string
	for _, f := range c.Failed() {
		said := strings.TrimSuffix(f.Text, ".")
		if f.Name == localapi.CheckAudience || f.Name == localapi.CheckIssuer {
			said += " (" + f.Name + " " + cmp.Or(f.Found, "not given") + ", expected " + f.Expected + ")"
		}
		words = append(words, lowerFirst(said))
	}
	return strings.Join(words, "; ")
}

func unknownWords(c localapi.Check) string {
	var words []string
	for _, f := range c.Findings {
		if f.Result == localapi.FindingUnknown {
			words = append(words, lowerFirst(strings.TrimSuffix(f.Text, ".")))
		}
	}
	return strings.Join(words, "; ")
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:] // the sentences are our own, and begin in ASCII
}

// cures are the quirks that would let the token through: the one about what is wrong, if that is all, and then the one
// that switches the checks off. The one who asks is told what is so.
func cures(c localapi.Check) []quirk.Quirk {
	var wrong []quirk.Finding
	for _, f := range c.Failed() {
		wrong = append(wrong, quirk.Finding{Name: f.Name, Expected: f.Expected, Found: f.Found, Signed: c.Passed(localapi.CheckSignature)})
	}
	return quirk.Cures(wrong)
}
