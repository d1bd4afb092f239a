// Package broker is the head of Valet Key: it alone holds refresh tokens, and it alone decides which host may have
// which token now.
//
// A grant is what the person gave us for one server: (resource, issuer, account). Each is one record in the keychain,
// and that record is the only truth about it. In memory stand the access tokens that are alive, one per grant and set
// of scopes, and the questions that wait for the person. The order of things that must not be lost is always the same:
// the record is written, then memory learns of it, then the host.
package broker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/valetkey/valetkey/broker/asking"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/words"
)

// Config is what a Broker needs. Store, Discovery and Flow are required.
type Config struct {
	Store     keystore.Store
	Discovery *discovery.Client
	Flow      func(onPage func(oauthflow.Request, oauthflow.Page)) *oauthflow.Flow

	// Ask puts a question to the person and returns when it is answered, when ctx ends (the question is withdrawn) or
	// when nobody can be asked (an error that says so). nil: there is nobody to ask.
	Ask func(ctx context.Context, q face.Question) (face.Answer, error)

	// Policy decides a question at once from what the person wrote down beforehand; rule says why. decided is false when
	// the policy says nothing about it, and then the person is asked. nil: there is no policy.
	Policy func(q face.Question) (answer face.Answer, rule string, decided bool)

	// Clients finds a client that the person registered with an issuer beforehand. nil: none.
	Clients func(issuer string) (client.Client, bool)

	// ReadAssertion reads a file that says who this computer or workload is, a JWT that only the person and the system can
	// change. nil: there are none.
	ReadAssertion func(path string) (secret.Text, error)

	// Settings are what the person set for a server beforehand, by its resource: quirks that are Chosen. nil: nothing.
	Settings func(resource string) []localapi.Quirk

	// Probe tells whether the keychain can be used, without disturbing the person. nil: it always can.
	Probe func(ctx context.Context) error

	// OnChange is called after anything that State shows has changed, from any goroutine; it must not block. nil: nobody
	// looks.
	OnChange func()

	// OpenURL opens the page of a sign-in again, for the person's wish. nil: it cannot be done.
	OpenURL func(ctx context.Context, url string) error

	// Show opens the main window. nil: there is none.
	Show func() error

	Face     string       // who asks, for status: "window", "terminal", "policy"
	Version  string       // of the program
	Socket   string       // shown to the person
	StateDir string       // where the activity log goes; "" keeps it in memory only
	Log      *slog.Logger // nil: discarded
}

// Broker decides. It implements localapi.Backend. Its methods are safe for concurrent use.
type Broker struct {
	cfg      Config
	flow     *oauthflow.Flow
	records  records
	activity *activity
	desk     *asking.Desk
	log      *slog.Logger

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	jobs sync.WaitGroup

	loading chan struct{} // holds one token: who has it may read the keychain for the first time

	mu        sync.Mutex // guards all below, and every grant's fields
	loaded    bool
	problems  []string // of records that could not be read
	keychain  string   // "ok", or the last failure as a sentence
	grants    []*grant
	clients   []entered
	signIns   map[signInKey]*signIn
	made      map[string]client.Client // by issuer: made in this run, of a sign-in that may have failed since
	doubtful  map[string]bool          // by issuer: a sign-in with a registration used before was not finished
	forwarded map[string]string        // by use: the token forwarded last, by SHA-256
	handed    map[string]handed        // by use: what a header helper was given last
	underWay  map[*underWay]struct{}
	lastID    int // of sign-ins

	identities map[string]chan struct{} // by name: holds one token, as a grant's turn
	unsaved    map[string]identity      // by name: what the keychain did not take
	manners    map[string]manner        // by name: how the enterprise wants the next sign-in there
}

// grant is one record and what is alive of it.
type grant struct {
	turn       chan struct{} // holds one token: who has it may talk to the issuer about this grant
	record     record
	aliases    []string             // other URLs that led to the same resource, in this run of the app
	held       map[string]*held     // by scope set
	key        *dpop.Key            // of record.Key, once needed
	running    []running            // consents of ModeRunning
	refused    map[string]refusal   // tokens a server turned down, by SHA-256
	missing    map[string]time.Time // scopes the issuer did not give when asked, and when that was
	unsaved    bool                 // the keychain did not take the newest record
	down       string               // why the issuer could not be reached the last time; "" when it could
	gone       bool                 // forgotten
	looked     time.Time            // when a challenge had the server's metadata read anew
	ahead      bool                 // a refresh runs in the background
	aheadAgain time.Time            // not before this, after one failed

	check    *localapi.Check         // of the token that was looked at last
	declined map[localapi.Quirk]bool // by the person, since they signed in
}

// held is an access token in memory.
type held struct {
	access  secret.Text
	scopes  scopes
	expiry  time.Time // zero: the issuer did not say
	got     time.Time
	renewed bool // it was fetched because a server refused its predecessor

	check      *localapi.Check // nil: nobody looked at it yet
	checkUntil time.Time       // then it is looked at again
}

// refusal remembers a token that a server turned down.
type refusal struct {
	at       time.Time
	key      string // the scope set of the token
	renewed  bool   // it had itself been fetched after a refusal: refreshing does not help
	answered bool   // another token has been fetched since
}

// Open starts a Broker. The keychain is read in the background, because it may be locked: whoever comes first waits.
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	if cfg.Store == nil || cfg.Discovery == nil || cfg.Flow == nil {
		return nil, errors.New("broker: Store, Discovery and Flow are required")
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func() {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	log, err := openActivity(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, records: records{store: cfg.Store}, activity: log, log: cfg.Log,
		loading: make(chan struct{}, 1), keychain: keychainOK, signIns: map[signInKey]*signIn{},
		made: map[string]client.Client{}, doubtful: map[string]bool{},
		forwarded: map[string]string{}, handed: map[string]handed{}, underWay: map[*underWay]struct{}{},
		identities: map[string]chan struct{}{}, unsaved: map[string]identity{}, manners: map[string]manner{},
	}
	b.flow = cfg.Flow(b.showPage)
	b.ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	b.desk = asking.New(b.ctx, asking.Config{Ask: cfg.Ask, OnChange: cfg.OnChange, Settled: b.noteSettled, Halted: b.halted})
	b.jobs.Go(func() {
		if err := b.load(keystore.Quiet(b.ctx)); err != nil && b.ctx.Err() == nil {
			b.log.Warn("the keychain could not be read at start", "error", err)
		}
	})
	return b, nil
}

// Close ends what is under way: questions and sign-ins are given up, a refresh that was posted is finished and saved.
func (b *Broker) Close() {
	b.stop()
	b.jobs.Wait()
	b.desk.Close()
	b.activity.close()
}

const keychainOK = "ok"

// load reads the keychain once; after a failure the next caller tries again.
func (b *Broker) load(ctx context.Context) error {
	b.mu.Lock()
	done := b.loaded
	b.mu.Unlock()
	if done {
		return nil
	}
	select {
	case b.loading <- struct{}{}:
		defer func() { <-b.loading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	b.mu.Lock()
	done = b.loaded
	b.mu.Unlock()
	if done {
		return nil
	}
	grants, clients, problems, err := b.records.load(ctx)
	b.noteKeychain(err)
	if err != nil {
		return err
	}
	b.mu.Lock()
	for _, rec := range grants {
		b.grants = append(b.grants, newGrant(rec))
	}
	b.clients = clients
	for _, problem := range problems {
		b.problems = append(b.problems, "A record in the keychain cannot be read and was left alone: "+problem.Error()+".")
		b.log.Error("a record in the keychain cannot be read", "error", problem)
	}
	b.loaded = true
	b.mu.Unlock()
	b.cfg.OnChange()
	return nil
}

func newGrant(rec record) *grant {
	return &grant{
		turn: make(chan struct{}, 1), record: rec,
		held: map[string]*held{}, refused: map[string]refusal{}, missing: map[string]time.Time{},
		declined: map[localapi.Quirk]bool{},
	}
}

// take waits for the right to talk to the issuer about g.
func (g *grant) take(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case g.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *grant) give() { <-g.turn }

// reachedBy reports whether url leads to g: the server as it was entered, its resource, or another address of it.
// Callers hold Broker.mu.
func (g *grant) reachedBy(url string) bool {
	return g.record.Server == url || g.record.Resource == url || slices.Contains(g.aliases, url)
}

// noteKeychain remembers how the last keychain call went, for lists and the tray. A deadline of the caller says nothing
// about the keychain.
func (b *Broker) noteKeychain(err error) {
	state := keychainOK
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return
		}
		state = words.Sentence(err.Error())
		if e := (*localapi.Error)(nil); errors.As(b.explain(err, ""), &e) && e.Hint != "" {
			state += " " + words.Sentence(e.Hint)
		}
	}
	b.mu.Lock()
	changed := b.keychain != state
	b.keychain = state
	b.mu.Unlock()
	if changed {
		b.cfg.OnChange()
	}
}

// saveTimeout bounds one save. It outlives the host that caused it.
const saveTimeout = 2 * time.Minute

// save writes g's record as change leaves it, and only then lets memory have it. change works on a copy.
// Callers hold g's turn.
func (b *Broker) save(ctx context.Context, g *grant, change func(*record)) error {
	b.mu.Lock()
	rec, gone := g.record.clone(), g.gone
	b.mu.Unlock()
	if gone {
		return nil // forgotten while the caller waited for its turn: writing it would bring it back
	}
	change(&rec)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := b.records.saveGrant(ctx, rec)
	b.noteKeychain(err)
	if err != nil {
		return err
	}
	b.mu.Lock()
	g.record, g.unsaved = rec, false
	b.mu.Unlock()
	return nil
}

// keep is save for a record that must not be lost even when the keychain fails: memory has it either way, and a job
// goes on trying to write it.
func (b *Broker) keep(ctx context.Context, g *grant, change func(*record)) {
	if err := b.save(ctx, g, change); err != nil {
		b.mu.Lock()
		b.log.Error("the keychain did not take a record; trying again", "resource", g.record.Resource, "error", err)
		change(&g.record)
		already := g.unsaved
		g.unsaved = true
		b.mu.Unlock()
		if !already {
			b.jobs.Go(func() { b.saveLater(g) })
		}
	}
}

// saveLater tries to write an unsaved record until the keychain takes it, someone else's save did, or the Broker closes
// (then it tries once more).
func (b *Broker) saveLater(g *grant) {
	wait := time.Second
	for last := false; !last; wait = min(2*wait, time.Minute) {
		select {
		case <-time.After(wait):
		case <-b.ctx.Done():
			last = true
		}
		g.turn <- struct{}{} // turns are always given back within the bounds of an issuer call
		b.mu.Lock()
		needed := g.unsaved && !g.gone
		b.mu.Unlock()
		var err error
		if needed {
			err = b.save(keystore.Quiet(b.ctx), g, func(*record) {})
		}
		g.give()
		if err == nil {
			b.cfg.OnChange()
			return
		}
	}
}

func (r record) clone() record {
	r.Requested = slices.Clone(r.Requested)
	r.Granted = slices.Clone(r.Granted)
	r.Always = slices.Clone(r.Always)
	r.Replaced = slices.Clone(r.Replaced)
	r.Consents = slices.Clone(r.Consents)
	r.Quirks = slices.Clone(r.Quirks)
	return r
}
