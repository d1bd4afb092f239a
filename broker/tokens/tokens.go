// Package tokens has the access tokens that are alive, per grant and set of scopes, and gets new ones with what the ledger
// keeps. Access tokens are in memory only.
package tokens

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/quirk"
)

// Config is what Tokens need. All of it is required; the funcs are called with no lock held.
type Config struct {
	Flow      *oauthflow.Flow
	Discovery *discovery.Client

	// Settled are the quirks that hold for a resource: those given and, over them, those of the policy file.
	Settled func(resource string, quirks []quirk.Quirk) []quirk.Quirk

	// Obtain gets tokens for a client that gets them by itself. problem is why the person has to sign in, as a sentence,
	// where that is what err comes to; "" else.
	Obtain func(ctx context.Context, rec ledger.Record, request oauthflow.Request) (tokens *oauthflow.Tokens, problem string, err error)

	Unknown func(issuer string) // that issuer knows a registration no longer that we made there
	Log     func(face.Entry)
	Changed func() // something that lists show has changed; it must not block
}

// Tokens are what is held for every grant. Their methods are safe for concurrent use.
type Tokens struct {
	cfg  Config
	ctx  context.Context
	jobs sync.WaitGroup

	mu   sync.Mutex // guards all below, and what it leads to
	live map[*ledger.Grant]*live
}

// live is what is alive of one grant.
type live struct {
	held       map[string]*held     // by scope set
	key        *dpop.Key            // of the record, once needed
	refused    map[string]refusal   // tokens a server turned down, by SHA-256
	missing    map[string]time.Time // scopes the issuer did not give when asked, and when that was
	down       string               // why the issuer could not be reached the last time; "" when it could
	looked     time.Time            // when a challenge had the server's metadata read anew
	ahead      bool                 // a refresh runs in the background
	aheadAgain time.Time            // not before this, after one failed
	check      *localapi.Check      // of the token that was looked at last
	checks     int                  // grows when what was found before counts no more
}

// held is an access token in memory.
type held struct {
	Token
	renewed bool // it was fetched because a server refused its predecessor

	check      *localapi.Check // nil: nobody looked at it yet
	checkUntil time.Time       // then it is looked at again
}

// Token is an access token as it is held. The zero Token is what a server needs that asks for no sign-in.
type Token struct {
	Access secret.Text
	Scopes ledger.Scopes
	Expiry time.Time // zero: the issuer did not say
	got    time.Time
}

// aheadShare is the part of a token's life, its last, in which it is renewed while it is being served.
const aheadShare = 5

// Lives reports whether t is good for another d. A token cannot be asked to live longer than half its life.
func (t Token) Lives(d time.Duration) bool {
	return t.Expiry.IsZero() || time.Until(t.Expiry) > min(d, t.Expiry.Sub(t.got)/2)
}

// Ageing reports whether t is in the last part of its life.
func (t Token) Ageing() bool {
	return !t.Expiry.IsZero() && time.Until(t.Expiry) < t.Expiry.Sub(t.got)/aheadShare
}

// refusal remembers a token that a server turned down.
type refusal struct {
	at       time.Time
	key      string // the scope set of the token
	renewed  bool   // it had itself been fetched after a refusal: refreshing does not help
	answered bool   // another token has been fetched since
}

// refusalFor is how long a refusal is remembered.
const refusalFor = time.Hour

// missingFor is how long a scope that the issuer did not give is not asked for again (STP-5).
const missingFor = 10 * time.Minute

// New returns Tokens that hold none yet. When ctx ends, no refresh is begun in the background any more.
func New(ctx context.Context, cfg Config) *Tokens {
	return &Tokens{cfg: cfg, ctx: ctx, live: map[*ledger.Grant]*live{}}
}

// Wait returns when the refreshes in the background are done.
func (t *Tokens) Wait() { t.jobs.Wait() }

// of is what is alive of g. What is noted of one that is gone is kept nowhere. Callers hold mu.
func (t *Tokens) of(g *ledger.Grant) *live {
	l := t.live[g]
	if l == nil {
		l = &live{held: map[string]*held{}, refused: map[string]refusal{}, missing: map[string]time.Time{}}
		if !g.Gone() {
			t.live[g] = l
		}
	}
	return l
}

// Held is the token held for that set of scopes.
func (t *Tokens) Held(g *ledger.Grant, set ledger.Scopes) (Token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.live[g]; l != nil {
		if h := l.held[set.Key()]; h != nil {
			return h.Token, true
		}
	}
	return Token{}, false
}

// Missing are those of set that the issuer did not give when it was asked a moment ago.
func (t *Tokens) Missing(g *ledger.Grant, set ledger.Scopes) ledger.Scopes {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.live[g]
	if l == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(set), func(s string) bool {
		at, ok := l.missing[s]
		return !ok || time.Since(at) >= missingFor
	})
}

// SignedIn takes in the outcome of a sign-in: tokens with the scopes got, bound to key unless it is nil; the issuer was asked
// for missing too and did not give them.
func (t *Tokens) SignedIn(g *ledger.Grant, key *dpop.Key, tokens *oauthflow.Tokens, got, missing ledger.Scopes) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(g)
	clear(l.held)
	clear(l.refused)
	clear(l.missing)
	l.key, l.down = key, ""
	for _, s := range missing {
		l.missing[s] = time.Now()
	}
	l.hold(tokens, got, false)
}

// hold keeps an access token while it lives. Callers hold Tokens.mu.
func (l *live) hold(tokens *oauthflow.Tokens, got ledger.Scopes, refreshed bool) {
	now := time.Now()
	maps.DeleteFunc(l.held, func(_ string, h *held) bool { return !h.Lives(0) })
	renewed := false
	for sum, r := range l.refused {
		if now.Sub(r.at) > refusalFor {
			delete(l.refused, sum)
			continue
		}
		if refreshed && r.key == got.Key() && !r.answered {
			renewed, r.answered = true, true
			l.refused[sum] = r
		}
	}
	l.held[got.Key()] = &held{Token: Token{Access: tokens.Access, Scopes: got, Expiry: tokens.Expiry, got: now}, renewed: renewed}
}

// Refused takes in that the server turned down the token with that SHA-256, and lets go of it: dropped. A token that is good
// and only too narrow for the scopes demanded stays (STP-9). fresh reports that it had itself been fetched after a refusal,
// so that refreshing does not help (RFC 6750 §3.1). What is only guessed is not remembered as a refusal.
func (t *Tokens) Refused(g *ledger.Grant, sum string, demanded ledger.Scopes, guessed bool) (dropped, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.live[g]
	if l == nil {
		return false, false
	}
	for key, h := range l.held {
		if h.Access.SHA256() == sum && h.Scopes.Covers(demanded) {
			dropped = true
			delete(l.held, key)
			if !guessed {
				l.refused[sum] = refusal{at: time.Now(), key: h.Scopes.Key(), renewed: h.renewed}
			}
		}
	}
	return dropped, l.refused[sum].renewed && !guessed
}

// lookEvery bounds how often an answer that is no refusal has metadata read anew: some servers point to it with each.
const lookEvery = time.Minute

// LookDue reports whether the metadata of g's server may be read anew now because of a challenge, and takes it that it is.
func (t *Tokens) LookDue(g *ledger.Grant) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(g)
	if time.Since(l.looked) < lookEvery {
		return false
	}
	l.looked = time.Now()
	return true
}

// Drop lets go of everything that is held for g.
func (t *Tokens) Drop(g *ledger.Grant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.live, g)
}

// Access are the access tokens that are held for g, each once.
func (t *Tokens) Access(g *ledger.Grant) (access []secret.Text) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.live[g]; l != nil {
		for _, key := range slices.Sorted(maps.Keys(l.held)) {
			if h := l.held[key]; !slices.ContainsFunc(access, h.Access.Equal) {
				access = append(access, h.Access)
			}
		}
	}
	return access
}

// Shown is what lists say of the tokens of one grant.
type Shown struct {
	Alive     bool // one is
	ExpiresAt time.Time
	Down      string // why the issuer could not be reached the last time, as a sentence
	Check     *localapi.Check
}

// Shown is what lists say of g's tokens.
func (t *Tokens) Shown(g *ledger.Grant) (s Shown) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.live[g]
	if l == nil {
		return s
	}
	for _, h := range l.held {
		s.Alive = s.Alive || h.Lives(0)
		if h.Expiry.After(s.ExpiresAt) {
			s.ExpiresAt = h.Expiry
		}
	}
	s.Down, s.Check = l.down, l.check
	return s
}

// Key is the key that g's tokens are bound to; nil for bearer tokens. It stays the same one while g lives, for it remembers
// nonces.
func (t *Tokens) Key(g *ledger.Grant) (*dpop.Key, error) {
	rec := g.Record()
	if rec.Key.Empty() {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(g)
	if l.key == nil {
		key, err := dpop.Parse(rec.Key.Text)
		if err != nil {
			return nil, err
		}
		l.key = key
	}
	return l.key, nil
}
