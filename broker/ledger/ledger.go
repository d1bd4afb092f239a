// Package ledger keeps what the keychain keeps: the grants, the clients that the person entered, and who they are at
// their enterprise. It is the only writer of these records, and it writes before it tells: nothing that memory shows is
// unknown to the keychain, but for a record whose loss would cost the person a sign-in (see [Turn.Keep]).
package ledger

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/words"
)

// Config is what a Ledger needs. All of it is required; the funcs are called with no lock held.
type Config struct {
	Store   keystore.Store
	Changed func()       // something that lists show has changed; it must not block
	Gone    func(*Grant) // that grant is not in the keychain any more; the caller may have its turn
	Log     *slog.Logger
}

// Ledger is the keychain seen as records. Its methods are safe for concurrent use.
type Ledger struct {
	cfg  Config
	ctx  context.Context
	jobs sync.WaitGroup

	loading turn  // who has it may read the keychain for the first time
	writing turn  // who has it may write items, and the index with them
	index   index // what was written last; of who has writing

	mu       sync.Mutex // guards all below, and the fields of every Grant
	loaded   bool
	keychain string           // KeychainOK, or the last failure as a sentence
	problems []string         // of records that could not be read
	alien    map[string]error // items that cannot be read, and why: they are never written over
	grants   []*Grant
	coming   map[ID]*Grant // claimed, and not introduced yet
	clients  []entered
}

// KeychainOK is the state of a keychain that works.
const KeychainOK = "ok"

// saveTimeout bounds one save. It outlives the host that caused it.
const saveTimeout = 2 * time.Minute

// turn holds one token: who has it may do what the turn is for. Unlike a lock it can be waited for with an end, so it may
// be held during calls that take long.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

// Open returns a Ledger that has read nothing yet. When ctx ends, what the keychain did not take is tried once more.
func Open(ctx context.Context, cfg Config) *Ledger {
	return &Ledger{cfg: cfg, ctx: ctx, loading: newTurn(), writing: newTurn(), keychain: KeychainOK, alien: map[string]error{}, coming: map[ID]*Grant{}}
}

// Wait returns when the last tries that the end of Open's context caused are done.
func (l *Ledger) Wait() { l.jobs.Wait() }

// Load reads the keychain once; after a failure the next caller tries again.
func (l *Ledger) Load(ctx context.Context) error {
	if l.isLoaded() {
		return nil
	}
	if err := l.loading.take(ctx); err != nil {
		return err
	}
	defer l.loading.give()
	if l.isLoaded() {
		return nil
	}
	found, err := l.read(ctx)
	l.Note(err)
	if err != nil {
		return err
	}
	l.mu.Lock()
	for _, rec := range found.grants {
		l.grants = append(l.grants, l.newGrant(rec))
	}
	l.clients, l.alien, l.loaded = found.clients, found.alien, true
	for _, problem := range found.problems {
		l.problems = append(l.problems, "A record in the keychain cannot be read and was left alone: "+problem.Error()+".")
	}
	l.mu.Unlock()
	for _, problem := range found.problems {
		l.cfg.Log.Error("a record in the keychain cannot be read", "error", problem)
	}
	l.cfg.Changed()
	return nil
}

func (l *Ledger) isLoaded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loaded
}

// Keychain is the state of the keychain: KeychainOK, or how the last call failed as a sentence; and what is to be said of
// records that could not be read.
func (l *Ledger) Keychain() (state string, problems []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keychain, l.problems
}

// Note remembers how the last call of the keychain went, for lists and the tray. A deadline of the caller says nothing
// about the keychain.
func (l *Ledger) Note(err error) {
	state := KeychainOK
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return
		}
		state = words.Sentence(err.Error())
		if e := (&localapi.Error{}); Explain(e, err) && e.Hint != "" {
			state += " " + words.Sentence(e.Hint)
		}
	}
	l.mu.Lock()
	changed := l.keychain != state
	l.keychain = state
	l.mu.Unlock()
	if changed {
		l.cfg.Changed()
	}
}

// Explain makes e say what err, a failure of the keychain or of a record in it, comes to for a host, and what to do about
// it. It reports false, and leaves e alone, for any other error.
func Explain(e *localapi.Error, err error) bool {
	kind, hint := localapi.ErrUnavailable, ""
	switch {
	case errors.Is(err, keystore.ErrLocked):
		kind, hint = localapi.ErrLocked, "unlock your keychain and try again"
	case errors.Is(err, keystore.ErrTimeout):
		hint = "look for a window of your keychain that waits for a password, then try again"
	case errors.Is(err, keystore.ErrUnavailable):
		hint = "start a keychain (on Linux gnome-keyring, KWallet or KeePassXC), or run valetkey --keystore memory to keep sign-ins until it ends"
	case errors.Is(err, keystore.ErrUnreadable):
		hint = "look at the item with your keychain's own program; delete it there to start anew"
	case errors.Is(err, errNewer):
		hint = "update Valet Key"
	case errors.Is(err, errAlien):
		hint = "look at the item with your keychain's own program, and delete it there if nothing else needs it"
	default:
		return false
	}
	if said := (*keystore.Error)(nil); errors.As(err, &said) && said.Hint != "" {
		hint = said.Hint
	}
	e.Kind, e.Hint = kind, hint
	return true
}

// Grants are all the grants there are, in the order of lists: by server, then by the time of the sign-in.
func (l *Ledger) Grants() []*Grant {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.grants)
}

// ReachedBy are the grants that url leads to (the server as it was entered, its resource, or another address of it), of
// that account unless it is "".
func (l *Ledger) ReachedBy(url, account string) []*Grant {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*Grant
	for _, g := range l.grants {
		r := &g.record
		if (r.Server == url || r.Resource == url || slices.Contains(g.aliases, url)) && (account == "" || r.Account == account) {
			out = append(out, g)
		}
	}
	return out
}

// Find is the grant called id.
func (l *Ledger) Find(id ID) (*Grant, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.find(id)
	return g, g != nil
}

// find is Find for those who have mu; nil when there is none.
func (l *Ledger) find(id ID) *Grant {
	for _, g := range l.grants {
		if g.record.id() == id {
			return g
		}
	}
	return nil
}

// maxAliases bounds the addresses remembered of one grant: a host may make up any number. Forgetting one costs a look.
const maxAliases = 32

// Adopt reports whether there is a grant called id under another address than url, and finds it under url too from now on.
func (l *Ledger) Adopt(id ID, url string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.find(id)
	if g == nil || g.record.Server == url {
		return false
	}
	g.aliases = append(g.aliases[max(0, len(g.aliases)-maxAliases+1):], url)
	return true
}

// Writable tells whether a grant called id may be written; an item that could not be read is in the way of one.
func (l *Ledger) Writable(id ID) error { return l.inTheWay(id.item()) }

func (l *Ledger) inTheWay(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alien[name]
}

func sortRecords(grants []Record) {
	slices.SortFunc(grants, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), a.SignedInAt.Compare(b.SignedInAt), cmp.Compare(a.Account, b.Account))
	})
}
