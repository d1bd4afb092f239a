// Package signin has the person's sign-ins: from where a server sends them, over what they are to be told, to what comes of
// it. It asks through a func and writes no grant: it takes what there is on record and gives an [Outcome].
package signin

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// Config is what SignIns need. All of it is required but where it says so; the funcs are called with no lock held.
type Config struct {
	Flow      *oauthflow.Flow
	Discovery *discovery.Client
	Ledger    *ledger.Ledger

	// Ask puts a question to the person and returns their yes; anything else is an error for whoever asked.
	Ask func(ctx context.Context, q face.Question) (face.Answer, error)

	// AskClient asks the person for a client ID at an issuer that registers nobody.
	AskClient func(ctx context.Context, t *Target, issuer string) (client.Client, error)

	// WrittenClient and WrittenQuirks are the client for an issuer and the quirks for a resource that the person wrote down beforehand. nil: none.
	WrittenClient func(issuer string) (client.Client, bool)
	WrittenQuirks func(resource string) []quirk.Quirk

	// Vouch puts into a request who this is, where its client must say so. page: the person knows that a page opens for it.
	Vouch func(ctx context.Context, request *oauthflow.Request, account string, page bool) error

	// Vouched reports whether the enterprise of a client speaks for account without a page.
	Vouched func(ours client.Client, account string) bool

	// Disowned takes in that an enterprise turned down, with err, what Vouch got from it.
	Disowned func(ctx context.Context, ours client.Client, account string, err error) bool

	Opens   bool // the page of a sign-in is opened in a browser here; else the person is shown its address
	Log     func(face.Entry)
	Changed func() // something that lists show has changed; it must not block
}

// SignIns are those under way, and what was learned from those before. Their methods are safe for concurrent use.
type SignIns struct {
	cfg  Config
	ctx  context.Context
	jobs sync.WaitGroup

	mu       sync.Mutex // guards all below, and the fields of what is under way
	underWay map[key]*underWay
	made     map[string]client.Client // by issuer: made in this run, of a sign-in that may have failed since
	doubtful map[string]bool          // by issuer: a sign-in with a registration used before was not finished
	lastID   int
}

// key names what can be signed in to once at a time.
type key struct{ server, account string }

// underWay is one sign-in. It outlives the host that wanted it: the person may be in the middle of it.
type underWay struct {
	face.SignIn
	enterprise string // whose page may open; "" when none
	cancel     context.CancelFunc
	yes        []Allowed
	done       chan struct{} // closed when err is set
	err        error
	before     bool // somebody else had signed in by then
}

// Allowed is what the person allowed a host together with a sign-in, for a grant that is not there yet.
type Allowed struct {
	Host peer.Host
	localapi.Consent
}

// New returns SignIns of which none is under way. When ctx ends, they are given up.
func New(ctx context.Context, cfg Config) *SignIns {
	return &SignIns{cfg: cfg, ctx: ctx, underWay: map[key]*underWay{}, made: map[string]client.Client{}, doubtful: map[string]bool{}}
}

// Wait returns when the sign-ins that were under way have ended.
func (s *SignIns) Wait() { s.jobs.Wait() }

// timeout bounds one sign-in, with the exchange and the save after it.
const timeout = 10 * time.Minute

// Join signs in to t for the scopes ask, or joins the sign-in to it that is under way (which may be about other scopes), and
// waits for its end. host wants it, and yes is what it was allowed with it, nil for nothing. settle keeps what comes of it,
// and what was allowed; it is called once for each sign-in, as the first to want it gave it. Where somebody signed in by then
// and t is the First, that is as if it had been joined: the outcome has no Tokens. A caller that goes away stops nothing.
func (s *SignIns) Join(ctx context.Context, t *Target, ask ledger.Scopes, host peer.Host, yes *localapi.Consent, settle func(context.Context, *Outcome, func() []Allowed) error) (joined bool, err error) {
	k, enterprise := key{t.Server, t.Account}, ledger.EnterpriseOf(s.ours(t.Issuer.ID)).Issuer
	s.mu.Lock()
	u, joined := s.underWay[k]
	if !joined {
		s.lastID++
		run, cancel := context.WithTimeout(s.ctx, timeout)
		u = &underWay{enterprise: enterprise, cancel: cancel, done: make(chan struct{})}
		u.SignIn = face.SignIn{ID: "s" + strconv.Itoa(s.lastID), Server: t.Server, Issuer: t.Issuer.ID, Host: host.Name, Started: time.Now()}
		s.underWay[k] = u
		s.jobs.Go(func() {
			defer cancel()
			var out *Outcome
			var err error
			if _, known := s.cfg.Ledger.Find(t.ID()); t.First && known {
				out, u.before = &Outcome{Target: t}, true
			} else {
				out, err = s.run(run, t, ask)
			}
			if err == nil {
				err = settle(run, out, func() []Allowed { return s.close(k, u) })
			}
			s.close(k, u)
			u.err = err
			close(u.done)
			s.cfg.Changed()
		})
	}
	if yes != nil {
		u.yes = append(u.yes, Allowed{host, *yes})
	}
	s.mu.Unlock()
	s.cfg.Changed()
	select {
	case <-u.done:
		return joined || u.before, u.err
	case <-ctx.Done():
		return joined, ctx.Err()
	}
}

// close lets nobody join u any more, which is called k, and returns what was allowed. After that another may be under way
// which is called so.
func (s *SignIns) close(k key, u *underWay) []Allowed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.underWay[k] == u {
		delete(s.underWay, k)
	}
	return u.yes
}

// Agreed is the first thing that the person allowed a host together with the sign-in to t that is under way and that which
// picks; nil when there is none.
func (s *SignIns) Agreed(t *Target, which func(Allowed) bool) *localapi.Consent {
	s.mu.Lock()
	var yes []Allowed
	if u := s.underWay[key{t.Server, t.Account}]; u != nil {
		yes = slices.Clone(u.yes)
	}
	s.mu.Unlock()
	if at := slices.IndexFunc(yes, which); at >= 0 {
		return &yes[at].Consent
	}
	return nil
}

// Shown are the sign-ins under way, the oldest first.
func (s *SignIns) Shown() []face.SignIn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []face.SignIn{}
	for _, u := range s.underWay {
		out = append(out, u.SignIn)
	}
	slices.SortFunc(out, func(a, b face.SignIn) int { return a.Started.Compare(b.Started) })
	return out
}

// Cancel ends the sign-in with that ID; false when it is over.
func (s *SignIns) Cancel(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.underWay {
		if u.ID == id {
			u.cancel()
			return true
		}
	}
	return false
}

// ShowPage lets the person find the page of a sign-in again.
func (s *SignIns) ShowPage(req oauthflow.Request, page oauthflow.Page) {
	s.mu.Lock()
	for k, u := range s.underWay {
		if k.server == req.Server && u.Issuer == req.Issuer.ID || u.enterprise == req.Issuer.ID {
			u.URL, u.Code = page.URL, page.Code
		}
	}
	s.mu.Unlock()
	s.cfg.Changed()
}

// PreRegistered is the client that the person registered with issuer: as they wrote it down, else as they entered it.
func (s *SignIns) PreRegistered(issuer string) (client.Client, bool) {
	if c, ok := s.Written(issuer); ok {
		return c, true
	}
	return s.cfg.Ledger.Client(issuer)
}

// Written is the client for issuer that the person wrote down.
func (s *SignIns) Written(issuer string) (client.Client, bool) {
	if s.cfg.WrittenClient == nil {
		return client.Client{}, false
	}
	return s.cfg.WrittenClient(issuer)
}

// ours is our client at issuer, if we have one: the person's, else one made before. One that did not lead to the end of
// the last sign-in is left out: an issuer that has forgotten it shows the person an error and tells us nothing.
func (s *SignIns) ours(issuer string) client.Client {
	if c, ok := s.PreRegistered(issuer); ok {
		return c
	}
	s.mu.Lock()
	made, doubtful := s.made[issuer], s.doubtful[issuer]
	s.mu.Unlock()
	switch {
	case doubtful:
		return client.Client{}
	case made.ClientID != "" && !made.Expired():
		return made
	}
	for _, g := range s.cfg.Ledger.Grants() {
		rec := g.Record()
		if c := rec.Registration.At(issuer); rec.Issuer == issuer && c.ClientID != "" && c.Source == client.SourceDynamic && !c.Expired() {
			return c
		}
	}
	return client.Client{}
}

// noteClient remembers how a try with the client used went: made is what it came to.
func (s *SignIns) noteClient(issuer string, used, made client.Client, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubtful[issuer] = used.Source == client.SourceDynamic && errors.Is(err, oauthflow.ErrAbandoned)
	if made.Source == client.SourceDynamic {
		s.made[issuer] = made
	}
}

// Unknown lets go of a registration that issuer knows no longer.
func (s *SignIns) Unknown(issuer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.made, issuer)
}

// Quirks are those given and, over them, what the person wrote down for resource.
func (s *SignIns) Quirks(resource string, quirks []quirk.Quirk) []quirk.Quirk {
	if s.cfg.WrittenQuirks != nil {
		for _, q := range s.cfg.WrittenQuirks(resource) {
			quirks = quirk.With(quirks, q)
		}
	}
	return quirks
}

// Notes are what the person is told before ours gets tokens from issuer with nobody at a browser: one note at least, none of
// a client that they sign in with.
func Notes(ours client.Client, issuer *discovery.Issuer) []string {
	if !ours.Unattended() {
		return nil
	}
	if ours.GrantType == client.GrantClientCredentials {
		return []string{"This client gets tokens by itself (" + ours.GrantType + "): nobody signs in, and what it may do was decided at the issuer."}
	}
	notes := []string{"This client gets tokens by itself: for each one, Valet Key sends " + issuer.ID + " what the file " + ours.AssertionFile + " says of who this computer or workload is."}
	if enterprise := ledger.EnterpriseOf(ours).Issuer; enterprise != "" {
		notes[0] = "Your enterprise at " + enterprise + " speaks for you, and decides what you may do here."
	}
	if !issuer.TakesAssertions() {
		notes = append(notes, "This issuer does not say that it gives tokens for that ("+client.GrantJWTBearer+"). It is tried, because you set it so.")
	}
	return notes
}

// unpublishedNote is what a yes accepts for a server of MCP 2025-03-26.
const unpublishedNote = "This server does not say who issues its tokens, as MCP has wanted since June 2025. " +
	"Valet Key would take the server itself for the issuer, which nobody else confirms."

// Mention makes q say whether a yes opens a page for a sign-in to t, how, and what there is to weigh.
func (s *SignIns) Mention(q *face.Question, t *Target) {
	t.page = s.OpensPage(t)
	q.SignIn, q.Issuers, q.Notes = t.page, t.choices(), s.notes(t)
	if !t.page {
		return
	}
	ways := s.ways(t)
	if len(ways) > 1 {
		q.Vias = ways
	}
	if g, ok := s.cfg.Ledger.Find(t.ID()); ok && t.Via == "" && g.Record().Device {
		t.Via = face.ViaDevice
	}
	if !slices.Contains(ways, t.Via) {
		t.Via = ways[0]
	}
	q.Via = t.Via
}

// OpensPage reports whether a sign-in to t takes the person to a page: of t's issuer, or of the enterprise that speaks for
// them there.
func (s *SignIns) OpensPage(t *Target) bool {
	ours := s.ours(t.Issuer.ID)
	if ours.Enterprise == nil || !ours.Enterprise.IDToken.Empty() {
		return !ours.Unattended()
	}
	return !s.cfg.Vouched(ours, t.Account)
}

// ways are how the person can get to the page of a sign-in to t, whichever issuer they choose. The first is the usual one.
func (s *SignIns) ways(t *Target) []string {
	here := face.ViaBrowser
	if !s.cfg.Opens {
		here = face.ViaAddress
	}
	lacks := func(i *discovery.Issuer) bool { // a page of an enterprise opens there, and it is not known yet what that one offers
		return i.DeviceEndpoint == "" || ledger.EnterpriseOf(s.ours(i.ID)) != (ledger.Enterprise{})
	}
	switch {
	case s.cfg.Flow.ByDevice(oauthflow.Request{Issuer: t.Issuer}): // this run of the app knows no other
		return []string{face.ViaDevice}
	case lacks(t.Issuer) || slices.ContainsFunc(t.usable, lacks):
		return []string{here}
	}
	return []string{here, face.ViaDevice}
}

// notes are facts for the person to weigh before they sign in to t.
func (s *SignIns) notes(t *Target) []string {
	var notes []string
	if t.Resource.Unpublished {
		notes = append(notes, unpublishedNote)
	}
	if t.Resource.Prefix {
		notes = append(notes, "This server's metadata speaks for all of "+t.Resource.ID+", so its tokens are good there too.")
	}
	if ours := s.ours(t.Issuer.ID); ours.Unattended() {
		more := Notes(ours, t.Issuer)
		if !t.page {
			more[0] = "No page opens for a sign-in, because you set the client " + ours.ClientID + " for this issuer. " + more[0]
		}
		notes = append(notes, more...)
	}
	for _, q := range t.Quirks {
		if q.Over() {
			notes = append(notes, q.Setting().Over)
		} else {
			notes = append(notes, "From this sign-in on: "+q.Meaning())
		}
	}
	if n := len(t.usable); n > 1 {
		notes = append(notes, "This server works with "+strconv.Itoa(n)+" issuers. Choose the one where you have an account.")
	}
	if t.Issuer.Unlisted {
		notes = append(notes, "The issuer publishes a list of the servers it works for, and this one is not on it.")
	}
	for _, issuer := range s.cfg.Ledger.ClientIssuers(t.Server) {
		if issuer != t.Issuer.ID {
			notes = append(notes, "You entered a client ID for this server at "+issuer+". The server now names another issuer, so it is not used.")
		}
	}
	for _, g := range s.cfg.Ledger.Grants() {
		if r := g.Record(); !r.Open() && r.Server == t.Server && !r.NamedBy(t.Resource.Issuers) {
			notes = append(notes, "You signed in to this server at "+r.Issuer+" before. It now names another issuer.")
		}
	}
	return notes
}

// askQuirk asks whether a quirk is accepted that shows while the person signs in to t.
func (s *SignIns) askQuirk(ctx context.Context, t *Target, q quirk.Quirk, why string) (quirk.Quirk, error) {
	q.AcceptedAt = time.Now().Truncate(time.Second).UTC()
	rec := t.Record()
	_, err := s.cfg.Ask(ctx, face.Question{
		Kind: face.KindQuirk, Server: rec.Server, ServerName: rec.Name, Resource: rec.Resource, Issuer: rec.Issuer, Unpublished: rec.Unpublished,
		Account: rec.Account, Quirk: &q, Notes: []string{q.Meaning()}, Why: words.Sentence(why), SignIn: true, Via: t.Via,
	})
	return q, err
}

// log enters what came of a sign-in to t.
func (s *SignIns) log(t *Target, ask ledger.Scopes, err error) {
	e := face.Entry{Time: time.Now(), Event: "sign_in", Resource: t.Resource.ID, Account: t.Account, Scopes: ask, Decision: "done", Rule: "signed in at " + words.Host(t.Issuer.ID)}
	if err != nil {
		e.Decision, e.Rule = "failed", words.Sentence(err.Error())
	}
	s.cfg.Log(e)
}
