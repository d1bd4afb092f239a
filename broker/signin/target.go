package signin

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// Target is where a sign-in goes: everything in it was discovered just now.
type Target struct {
	Server   string
	Resource *discovery.Resource
	Issuer   *discovery.Issuer
	Account  string
	Scopes   ledger.Scopes // of the challenge, else all the server supports; none: leave it to the issuer
	Fewer    ledger.Scopes // to try when the issuer takes no longer what it was asked for before; none: there is no second try
	Quirks   []quirk.Quirk // that the person set together with this sign-in
	First    bool          // there was nothing to sign in to again: if there is by now, that is enough
	Via      string        // how they get there, face.Via…; "" before they were told

	usable            []*discovery.Issuer // the issuers that the person may choose among; none when the server names one only
	slash             string              // the issuer as the server writes it, where it calls itself otherwise by one slash; "" else
	page              bool                // the person was told that a page opens
	acrValues, maxAge string              // how the server wants the person to sign in (RFC 9470)
}

// Open is where a server is that asks for no sign-in.
func Open(server, account string) *Target {
	return &Target{Server: server, Resource: &discovery.Resource{Server: server, ID: server}, Issuer: &discovery.Issuer{}, Account: account}
}

// ID names the grant that a sign-in to t comes to.
func (t *Target) ID() ledger.ID {
	return ledger.ID{Resource: t.Resource.ID, Issuer: t.Issuer.ID, Account: t.Account}
}

// Record is the record of that grant as far as it is known before.
func (t *Target) Record() ledger.Record {
	return ledger.Record{
		Server: t.Server, Resource: t.Resource.ID, Name: t.Resource.Name, Issuer: t.Issuer.ID, Account: t.Account,
		Prefix: t.Resource.Prefix, Unpublished: t.Resource.Unpublished,
	}
}

// noteSlash remembers how the server writes the issuer, where that is not how it calls itself.
func (t *Target) noteSlash() {
	if t.slash = ""; !slices.Contains(t.Resource.Issuers, t.Issuer.ID) && slices.Contains(t.Resource.Issuers, ledger.OtherSlash(t.Issuer.ID)) {
		t.slash = ledger.OtherSlash(t.Issuer.ID)
	}
}

// choices are the issuers of t to show, nil when there is nothing to choose.
func (t *Target) choices() (ids []string) {
	if len(t.usable) < 2 {
		return nil
	}
	for _, i := range t.usable {
		ids = append(ids, i.ID)
	}
	return ids
}

// Discover finds out where server sends people to sign in, for a grant of account, which it makes sure can be kept. Of
// several issuers it proposes one. For a server that names none it is the origin, as MCP 2025-03-26 has it; the question
// that follows says so.
func (s *SignIns) Discover(ctx context.Context, server, account string, challenges []discovery.Challenge) (*Target, error) {
	t, err := s.discover(ctx, server, challenges)
	if err != nil {
		return nil, err
	}
	t.Account = account
	return t, s.cfg.Ledger.Writable(t.ID())
}

// DiscoverAt is Discover with the issuer named by the person, and for no account; "" leaves the choice.
func (s *SignIns) DiscoverAt(ctx context.Context, server, issuer string) (*Target, error) {
	t, err := s.discover(ctx, server, nil)
	if err != nil || issuer == "" || t.Issuer.ID == issuer {
		return t, err
	}
	if slices.Contains(t.Resource.Issuers, issuer) {
		t.Issuer, err = s.cfg.Discovery.Issuer(ctx, server, issuer)
		return t, err
	}
	return nil, localapi.Errorf(localapi.ErrBadRequest, "%s does not name %s as its issuer; it names %s", words.Host(server), issuer, strings.Join(t.Resource.Issuers, ", ")).
		WithHint("name one of those, or none")
}

func (s *SignIns) discover(ctx context.Context, server string, challenges []discovery.Challenge) (*Target, error) {
	resource, challenges, err := s.cfg.Discovery.Resource(ctx, server, challenges)
	t := &Target{Server: server}
	switch {
	case err == nil:
		t.Issuer, t.usable, err = s.propose(ctx, server, resource.Issuers)
	case errors.Is(err, discovery.ErrUnpublished):
		resource, t.Issuer, err = s.cfg.Discovery.Unpublished(ctx, server)
	}
	if err != nil {
		return nil, err
	}
	t.Resource = resource
	t.noteSlash()
	for _, c := range challenges {
		t.Scopes = ledger.ScopeSet(t.Scopes, c.Scopes())
		if acr, age, ok := c.Reauthentication(); ok {
			t.acrValues, t.maxAge = acr, age
		}
	}
	if len(t.Scopes) == 0 {
		t.Scopes = ledger.ScopeSet(resource.Scopes)
	}
	return t, nil
}

// maxIssuers bounds how many issuers of one server are looked at: each costs up to four requests.
const maxIssuers = 8

// propose looks at the issuers that server names, and says which of them to show the person first: where they signed in
// to this server, or to another, or entered a client ID; else one that takes our metadata document, else the first. The
// choice is theirs (RFC 9728 §7.6). One that they used and that does not answer is an error, lest another slip into its
// place.
func (s *SignIns) propose(ctx context.Context, server string, ids []string) (*discovery.Issuer, []*discovery.Issuer, error) {
	if len(ids) == 1 {
		only, err := s.issuer(ctx, server, ids[0])
		return only, nil, err
	}
	ids = slices.Clone(ids)
	slices.SortStableFunc(ids, func(x, y string) int { return cmp.Compare(s.strangeness(server, x), s.strangeness(server, y)) })
	ids = ids[:min(len(ids), maxIssuers)]
	found, errs := make([]*discovery.Issuer, len(ids)), make([]error, len(ids))
	var wait sync.WaitGroup
	for i, id := range ids {
		wait.Go(func() { found[i], errs[i] = s.issuer(ctx, server, id) })
	}
	wait.Wait()
	known := s.strangeness(server, ids[0]) < stranger
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

// issuer is what id, an issuer that server names, says of itself. Where it calls itself by a name with one slash at the
// end more or less, that name is the issuer's (ASM-6): everything is compared with it from then on, byte for byte, but
// nothing is sent there before the person accepted the difference.
func (s *SignIns) issuer(ctx context.Context, server, id string) (*discovery.Issuer, error) {
	issuer, err := s.cfg.Discovery.Issuer(ctx, server, id)
	if !errors.Is(err, discovery.ErrMismatch) {
		return issuer, err
	}
	if other, otherErr := s.cfg.Discovery.Issuer(ctx, server, ledger.OtherSlash(id)); otherErr == nil {
		return other, nil
	}
	return nil, err
}

// stranger is the strangeness of an issuer that the person has nothing to do with yet.
const stranger = 3

// strangeness orders issuers by how much the person has had to do with them, about server first.
func (s *SignIns) strangeness(server, issuer string) int {
	best := stranger
	if _, registered := s.PreRegistered(issuer); registered {
		best = 2
	}
	for _, g := range s.cfg.Ledger.Grants() {
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

// Choose makes t lead to the issuer that the person chose, in the way they chose; "" is what they were shown.
func (s *SignIns) Choose(t *Target, answer face.Answer) error {
	t.Via = cmp.Or(answer.Via, t.Via)
	issuer := answer.Issuer
	if issuer == "" || issuer == t.Issuer.ID {
		return nil
	}
	at := slices.IndexFunc(t.usable, func(i *discovery.Issuer) bool { return i.ID == issuer })
	if at < 0 {
		return localapi.Errorf(localapi.ErrDiscovery, "%s does not name %s as its issuer any more", words.Host(t.Server), issuer).WithHint("try again")
	}
	t.Issuer = t.usable[at]
	t.page = s.OpensPage(t)
	t.noteSlash()
	return s.cfg.Ledger.Writable(t.ID())
}
