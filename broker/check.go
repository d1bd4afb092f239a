package broker

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/tokencheck"
	"github.com/valetkey/valetkey/words"
)

const (
	checkTimeout = 5 * time.Second // of one check: a host waits for it
	checkAgain   = time.Minute     // after which a token that was not found good is looked at again
)

// checkToken looks at h, or remembers how it looked.
func (b *Broker) checkToken(ctx context.Context, g *grant, h *held) (*localapi.Check, []localapi.Quirk) {
	b.mu.Lock()
	if seen := h.check; seen != nil && time.Now().Before(h.checkUntil) {
		quirks := g.record.Quirks
		b.mu.Unlock()
		return seen, quirks
	}
	if seen := h.check; seen != nil && seen.Result == localapi.CheckUnknown {
		h.checkUntil = time.Now().Add(checkTimeout) // one looks again; the others need not wait for it
	}
	rec := g.record.clone()
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	check := tokencheck.Check(ctx, h.access, tokencheck.Want{
		Resource: rec.Resource, Issuer: rec.Issuer, Scopes: h.scopes, Quirks: rec.Quirks,
		Keys: func(ctx context.Context, again bool) ([]byte, error) {
			issuer, err := b.issuerOf(ctx, rec)
			if err != nil {
				return nil, err
			}
			return b.cfg.Discovery.Keys(ctx, rec.Server, issuer, again)
		},
	})
	b.mu.Lock()
	if slices.Equal(rec.Quirks, g.record.Quirks) { // else the person changed their mind meanwhile: the next one looks again
		h.check, h.checkUntil, g.check = &check, goodUntil(check), &check
	}
	b.mu.Unlock()
	b.cfg.OnChange()
	return &check, rec.Quirks
}

// goodUntil is when a token must be looked at again: a good one when it says that it ends, any other after a while.
func goodUntil(c localapi.Check) time.Time {
	switch c.Result {
	case localapi.CheckWrong, localapi.CheckUnknown:
		return c.At.Add(checkAgain)
	}
	for _, f := range c.Findings {
		if ends, err := time.Parse(time.RFC3339, f.Found); f.Name == localapi.CheckExpiry && err == nil {
			return ends
		}
	}
	return c.At.Add(24 * time.Hour) // an opaque one cannot change
}

// guard decides whether h may leave for w's host as far as the checks go. again means that the person accepted a quirk
// that changes the answer: look once more.
func (b *Broker) guard(ctx context.Context, g *grant, w *want, h *held) (again bool, err error) {
	if h.access.Empty() {
		return false, nil // the server asks for no sign-in: no token leaves
	}
	check, quirks := b.checkToken(ctx, g, h)
	w.check = check
	switch _, off := localapi.FindQuirk(quirks, localapi.QuirkUnchecked); {
	case w.explain, w.tolerated:
		return false, nil
	case check.Result == localapi.CheckUnknown:
		w.rule += "; not all of the token could be checked: " + unknownWords(*check)
		return false, nil
	case check.Result != localapi.CheckWrong:
		return false, nil
	case off:
		w.rule += "; the token is wrong, and you switched the checks off for this server: " + failedWords(*check)
		return false, nil
	}
	return b.refuseWrong(ctx, g, w, *check)
}

// refuseWrong refuses a wrong token, unless the person or the policy accepts what is wrong with it. What a quirk cures
// is asked about once; to hand out a token that nothing cures, the person must go to the server's page themselves.
func (b *Broker) refuseWrong(ctx context.Context, g *grant, w *want, check localapi.Check) (again bool, err error) {
	b.mu.Lock()
	rec := g.record.clone()
	b.mu.Unlock()
	refusal := wrongToken(rec, check)
	for _, quirk := range []localapi.Quirk{cure(rec, check), {Name: localapi.QuirkUnchecked}} {
		if quirk.Name == "" {
			continue
		}
		q := w.quirkQuestion(rec, quirk)
		q.Why = words.Sentence(failedWords(check))
		answer, rule, err := b.askQuietly(q)
		if err != nil && b.mayAskQuirk(g, w, quirk) {
			answer, rule, err = b.ask(ctx, q)
			b.noteDeclined(g, quirk, answer)
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil || !answer.Allow {
			continue
		}
		w.rule = rule
		if answer.Mode == localapi.ModeOnce { // the policy file: it stays where it is written
			w.tolerated = true
			return true, nil
		}
		return true, b.setQuirk(ctx, g, quirk)
	}
	return false, refusal
}

// mayAskQuirk reports whether the person is to be asked about quirk: once, until they sign in again.
func (b *Broker) mayAskQuirk(g *grant, w *want, quirk localapi.Quirk) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	may := !w.quiet && !w.askedQuirk && quirk.Name != localapi.QuirkUnchecked && !g.declined[quirk]
	w.askedQuirk = true
	return may
}

func (b *Broker) noteDeclined(g *grant, quirk localapi.Quirk, answer face.Answer) {
	if answer.Answered && !answer.Allow {
		b.mu.Lock()
		g.declined[quirk] = true
		b.mu.Unlock()
	}
}

// wrongToken is the refusal of a token that is wrong.
func wrongToken(rec record, check localapi.Check) error {
	kind := localapi.ErrIssuer
	for _, f := range check.Failed() {
		if f.Name == localapi.CheckAudience {
			kind = localapi.ErrAudience
		}
	}
	e := localapi.Errorf(kind, "the token that %s issued for %s is not handed out: %s", words.Host(rec.Issuer), words.Host(rec.Server), failedWords(check))
	accept := "switch the checks off for this server on its page in Valet Key"
	if quirk := cure(rec, check); quirk.Name != "" {
		accept = "accept the quirk " + quirk.Name + " when Valet Key asks you"
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

// cure is the quirk that would let the token through; its name is "" when there is none. The one who asks is told what
// is so, and a wrong signature, an expired token or more scopes are no quirks.
func cure(rec record, c localapi.Check) localapi.Quirk {
	failed := c.Failed()
	if len(failed) != 1 {
		return localapi.Quirk{}
	}
	switch f := failed[0]; f.Name {
	case localapi.CheckAudience:
		first, _, _ := strings.Cut(f.Found, " ")
		return localapi.Quirk{Name: localapi.QuirkAudience, Value: first}
	case localapi.CheckIssuer:
		if tokencheck.SlashApart(f.Found, rec.Issuer) {
			return localapi.Quirk{Name: localapi.QuirkIssuerSlash}
		}
		if f.Found != "" && c.Passed(localapi.CheckSignature) { // a key of the issuer it came from vouches for it
			return localapi.Quirk{Name: localapi.QuirkIssuer, Value: f.Found}
		}
	}
	return localapi.Quirk{}
}

// Explain answers POST /v1/explain: what was found in the token that this request would get. The token stays here, also
// one that would be handed out.
func (b *Broker) Explain(ctx context.Context, from *peer.Peer, req localapi.TokenRequest) (*localapi.Explained, error) {
	w, err := newWant(ctx, from, req)
	if err != nil {
		return nil, err
	}
	w.explain = true
	token, err := b.token(ctx, w)
	if err != nil {
		err = b.explain(err, w.url)
	}
	b.logToken(w, token, err)
	if err != nil {
		return nil, err
	}
	return &localapi.Explained{
		Resource: token.Resource, Issuer: token.Issuer, Account: token.Account, Scope: token.Scope, ExpiresAt: token.ExpiresAt, Check: *w.check,
	}, nil
}
