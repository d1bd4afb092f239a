package broker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// target is where a sign-in goes: everything in it was discovered just now.
type target struct {
	server   string
	resource *discovery.Resource
	issuer   *discovery.Issuer
	usable   []*discovery.Issuer // the issuers that the person may choose among; none when the server names one only
	scopes   ledger.Scopes       // of the challenge, else all the server supports; none: leave it to the issuer
	slash    string              // the issuer as the server writes it, where it calls itself otherwise by one slash; "" else
	account  string
	quirks   []quirk.Quirk // that the person set together with this sign-in
	fewer    ledger.Scopes // to try when the issuer takes no longer what it was asked for before; none: there is no second try

	page              bool   // the person was told that a page opens
	via               string // how they get there, face.Via…; "" before they were told
	acrValues, maxAge string // how the server wants the person to sign in (RFC 9470)
}

func (t *target) id() ledger.ID {
	return ledger.ID{Resource: t.resource.ID, Issuer: t.issuer.ID, Account: t.account}
}

func (t *target) record() ledger.Record {
	return ledger.Record{
		Server: t.server, Resource: t.resource.ID, Name: t.resource.Name, Issuer: t.issuer.ID, Account: t.account,
		Prefix: t.resource.Prefix, Unpublished: t.resource.Unpublished,
	}
}

// noteSlash remembers how the server writes the issuer, where that is not how it calls itself.
func (t *target) noteSlash() {
	if t.slash = ""; !slices.Contains(t.resource.Issuers, t.issuer.ID) && slices.Contains(t.resource.Issuers, ledger.OtherSlash(t.issuer.ID)) {
		t.slash = ledger.OtherSlash(t.issuer.ID)
	}
}

// discoverGrant is discover for a grant of account, which it makes sure can be kept.
func (b *Broker) discoverGrant(ctx context.Context, server, account string, challenges []discovery.Challenge) (*target, error) {
	t, err := b.discover(ctx, server, challenges)
	if err != nil {
		return nil, err
	}
	t.account = cmp.Or(account, defaultAccount)
	return t, b.ledger.Writable(t.id())
}

// discover finds out where server sends people to sign in. Of several issuers it proposes one. For a server that names
// none it is the origin, as MCP 2025-03-26 has it; the question that follows says so.
func (b *Broker) discover(ctx context.Context, server string, challenges []discovery.Challenge) (*target, error) {
	resource, challenges, err := b.cfg.Discovery.Resource(ctx, server, challenges)
	t := &target{server: server}
	switch {
	case err == nil:
		t.issuer, t.usable, err = b.propose(ctx, server, resource.Issuers)
	case errors.Is(err, discovery.ErrUnpublished):
		resource, t.issuer, err = b.cfg.Discovery.Unpublished(ctx, server)
	}
	if err != nil {
		return nil, err
	}
	t.resource = resource
	t.noteSlash()
	for _, c := range challenges {
		t.scopes = ledger.ScopeSet(t.scopes, c.Scopes())
		if acr, age, ok := c.Reauthentication(); ok {
			t.acrValues, t.maxAge = acr, age
		}
	}
	if len(t.scopes) == 0 {
		t.scopes = ledger.ScopeSet(resource.Scopes)
	}
	return t, nil
}

// maxIssuers bounds how many issuers of one server are looked at: each costs up to four requests.
const maxIssuers = 8

// propose looks at the issuers that server names, and says which of them to show the person first: where they signed in
// to this server, or to another, or entered a client ID; else one that takes our metadata document, else the first. The
// choice is theirs (RFC 9728 §7.6). One that they used and that does not answer is an error, lest another slip into its
// place.
func (b *Broker) propose(ctx context.Context, server string, ids []string) (*discovery.Issuer, []*discovery.Issuer, error) {
	if len(ids) == 1 {
		only, err := b.issuer(ctx, server, ids[0])
		return only, nil, err
	}
	ids = slices.Clone(ids)
	slices.SortStableFunc(ids, func(x, y string) int { return cmp.Compare(b.strangeness(server, x), b.strangeness(server, y)) })
	ids = ids[:min(len(ids), maxIssuers)]
	found, errs := make([]*discovery.Issuer, len(ids)), make([]error, len(ids))
	var wait sync.WaitGroup
	for i, id := range ids {
		wait.Go(func() { found[i], errs[i] = b.issuer(ctx, server, id) })
	}
	wait.Wait()
	known := b.strangeness(server, ids[0]) < stranger
	if known && errs[0] != nil {
		return nil, nil, errs[0]
	}
	usable := slices.DeleteFunc(found, func(i *discovery.Issuer) bool { return i == nil })
	if len(usable) == 0 {
		return nil, nil, errors.Join(errs...)
	}
	for _, better := range []func(*discovery.Issuer) bool{
		func(i *discovery.Issuer) bool { return i.ClientMetadataDocuments && !i.PKCEUnlisted },
		func(i *discovery.Issuer) bool { return !i.PKCEUnlisted },
	} {
		if at := slices.IndexFunc(usable, better); at >= 0 && !known {
			return usable[at], usable, nil
		}
	}
	return usable[0], usable, nil
}

// stranger is the strangeness of an issuer that the person has nothing to do with yet.
const stranger = 3

// strangeness orders issuers by how much the person has had to do with them, about server first.
func (b *Broker) strangeness(server, issuer string) int {
	_, registered := b.preRegistered(issuer)
	best := stranger
	if registered {
		best = 2
	}
	for _, g := range b.ledger.Grants() {
		switch r := g.Record(); {
		case !r.NamedBy([]string{issuer}):
		case r.Server == server:
			return 0
		case r.Problem == "":
			best = 1
		}
	}
	return best
}

// choices are the issuers of t to show, nil when there is nothing to choose.
func (t *target) choices() (ids []string) {
	if len(t.usable) < 2 {
		return nil
	}
	for _, i := range t.usable {
		ids = append(ids, i.ID)
	}
	return ids
}

// choose makes t lead to the issuer that the person chose, in the way they chose; "" is what they were shown.
func (b *Broker) choose(t *target, answer face.Answer) error {
	t.via = cmp.Or(answer.Via, t.via)
	issuer := answer.Issuer
	if issuer == "" || issuer == t.issuer.ID {
		return nil
	}
	at := slices.IndexFunc(t.usable, func(i *discovery.Issuer) bool { return i.ID == issuer })
	if at < 0 {
		return localapi.Errorf(localapi.ErrDiscovery, "%s does not name %s as its issuer any more", words.Host(t.server), issuer).WithHint("try again")
	}
	t.issuer = t.usable[at]
	t.page = b.opensPage(t)
	t.noteSlash()
	return b.ledger.Writable(t.id())
}

// preRegistered finds the client that the person registered with issuer: in the policy file, else entered by hand.
func (b *Broker) preRegistered(issuer string) (client.Client, bool) {
	if b.cfg.Clients != nil {
		if r, ok := b.cfg.Clients(issuer); ok {
			return r, true
		}
	}
	return b.ledger.Client(issuer)
}

// registration is our client at issuer, if we have one: entered by the person, else made before. One that did not lead
// to the end of the last sign-in is left out: an issuer that has forgotten it shows the person an error and tells us
// nothing.
func (b *Broker) registration(issuer string) client.Client {
	if r, ok := b.preRegistered(issuer); ok {
		return r
	}
	b.mu.Lock()
	made, doubtful := b.made[issuer], b.doubtful[issuer]
	b.mu.Unlock()
	switch {
	case doubtful:
		return client.Client{}
	case made.ClientID != "" && !made.Expired():
		return made
	}
	for _, g := range b.ledger.Grants() {
		rec := g.Record()
		if r := rec.Registration.At(issuer); rec.Issuer == issuer && r.ClientID != "" && r.Source == client.SourceDynamic && !r.Expired() {
			return r
		}
	}
	return client.Client{}
}

// noteRegistration remembers how a sign-in with used went: made is what it came to.
func (b *Broker) noteRegistration(issuer string, used, made client.Client, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doubtful[issuer] = used.Source == client.SourceDynamic && errors.Is(err, oauthflow.ErrAbandoned)
	if made.Source == client.SourceDynamic {
		b.made[issuer] = made
	}
}

// unpublishedNote is what a yes accepts for a server of MCP 2025-03-26.
const unpublishedNote = "This server does not say who issues its tokens, as MCP has wanted since June 2025. " +
	"Valet Key would take the server itself for the issuer, which nobody else confirms."

// mention makes q say whether a yes opens the browser for a sign-in to t, and what there is to weigh.
func (b *Broker) mention(q *face.Question, t *target) {
	t.page = b.opensPage(t)
	q.SignIn, q.Issuers, q.Notes = t.page, t.choices(), b.notes(t)
	if !t.page {
		return
	}
	ways := b.ways(t)
	if len(ways) > 1 {
		q.Vias = ways
	}
	if g, ok := b.ledger.Find(t.id()); ok && t.via == "" && g.Record().Device {
		t.via = face.ViaDevice
	}
	if !slices.Contains(ways, t.via) {
		t.via = ways[0]
	}
	q.Via = t.via
}

// ways are how the person can get to the page of a sign-in to t, whichever issuer they choose. The first is the usual one.
func (b *Broker) ways(t *target) []string {
	here := face.ViaBrowser
	if b.cfg.OpenURL == nil {
		here = face.ViaAddress
	}
	lacks := func(i *discovery.Issuer) bool { // a page of an enterprise opens there, and it is not known yet what that one offers
		return i.DeviceEndpoint == "" || ledger.EnterpriseOf(b.registration(i.ID)) != (ledger.Enterprise{})
	}
	switch {
	case b.flow.ByDevice(oauthflow.Request{Issuer: t.issuer}): // this run of the app knows no other
		return []string{face.ViaDevice}
	case lacks(t.issuer) || slices.ContainsFunc(t.usable, lacks):
		return []string{here}
	}
	return []string{here, face.ViaDevice}
}

// opensPage reports whether a sign-in to t takes the person to a page: of t's issuer, or of the enterprise that speaks for
// them there.
func (b *Broker) opensPage(t *target) bool {
	r := b.registration(t.issuer.ID)
	if r.Enterprise == nil || !r.Enterprise.IDToken.Empty() {
		return !r.Unattended()
	}
	return b.enterprise.OpensPage(b.ctx, r, cmp.Or(t.account, defaultAccount))
}

// notes are facts for the person to weigh before they sign in to t.
func (b *Broker) notes(t *target) []string {
	var notes []string
	if t.resource.Unpublished {
		notes = append(notes, unpublishedNote)
	}
	if t.resource.Prefix {
		notes = append(notes, "This server's metadata speaks for all of "+t.resource.ID+", so its tokens are good there too.")
	}
	if r := b.registration(t.issuer.ID); r.Unattended() {
		more := unattendedNotes(r, t.issuer)
		if !t.page {
			more[0] = "No page opens for a sign-in, because you set the client " + r.ClientID + " for this issuer. " + more[0]
		}
		notes = append(notes, more...)
	}
	for _, q := range t.quirks {
		if q.Over() {
			notes = append(notes, q.Setting().Over)
		} else {
			notes = append(notes, "From this sign-in on: "+q.Meaning())
		}
	}
	if n := len(t.usable); n > 1 {
		notes = append(notes, "This server works with "+strconv.Itoa(n)+" issuers. Choose the one where you have an account.")
	}
	if t.issuer.Unlisted {
		notes = append(notes, "The issuer publishes a list of the servers it works for, and this one is not on it.")
	}
	for _, issuer := range b.ledger.ClientIssuers(t.server) {
		if issuer != t.issuer.ID {
			notes = append(notes, "You entered a client ID for this server at "+issuer+". The server now names another issuer, so it is not used.")
		}
	}
	for _, g := range b.ledger.Grants() {
		if r := g.Record(); !r.Open() && r.Server == t.server && !r.NamedBy(t.resource.Issuers) {
			notes = append(notes, "You signed in to this server at "+r.Issuer+" before. It now names another issuer.")
		}
	}
	return notes
}

// unattendedNotes are what the person is told before r gets tokens from issuer with nobody at a browser: one note at least,
// none of a client that they sign in with.
func unattendedNotes(r client.Client, issuer *discovery.Issuer) []string {
	if !r.Unattended() {
		return nil
	}
	if r.GrantType == client.GrantClientCredentials {
		return []string{"This client gets tokens by itself (" + r.GrantType + "): nobody signs in, and what it may do was decided at the issuer."}
	}
	notes := []string{"This client gets tokens by itself: for each one, Valet Key sends " + issuer.ID + " what the file " + r.AssertionFile + " says of who this computer or workload is."}
	if enterprise := ledger.EnterpriseOf(r).Issuer; enterprise != "" {
		notes[0] = "Your enterprise at " + enterprise + " speaks for you, and decides what you may do here."
	}
	if !issuer.TakesAssertions() {
		notes = append(notes, "This issuer does not say that it gives tokens for that ("+client.GrantJWTBearer+"). It is tried, because you set it so.")
	}
	return notes
}
