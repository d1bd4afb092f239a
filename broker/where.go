package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/oauthflow"
)

// target is where a sign-in goes: everything in it was discovered just now.
type target struct {
	server   string
	resource *discovery.Resource
	issuer   *discovery.Issuer
	scopes   scopes // of the challenge, else all the server supports; none: leave it to the issuer
	account  string
}

func (t *target) record() record {
	return record{
		Server: t.server, Resource: t.resource.ID, Name: t.resource.Name, Issuer: t.issuer.ID, Account: t.account, Prefix: t.resource.Prefix,
	}
}

// discoverGrant is discover for a grant of account, which it makes sure can be kept.
func (b *Broker) discoverGrant(ctx context.Context, server, account string, challenges []discovery.Challenge) (*target, error) {
	t, err := b.discover(ctx, server, challenges)
	if err != nil {
		return nil, err
	}
	t.account = orElse(account, defaultAccount)
	return t, b.records.writable(t.resource.ID, t.issuer.ID, t.account)
}

// discover finds out where server sends people to sign in. Several issuers: one with a grant, one with a client the
// person registered, one that takes our metadata document, else the first (RFC 9728 §7.6 leaves it to us).
func (b *Broker) discover(ctx context.Context, server string, challenges []discovery.Challenge) (*target, error) {
	resource, challenges, err := b.cfg.Discovery.Resource(ctx, server, challenges)
	if err != nil {
		return nil, err
	}
	issuer, err := b.chooseIssuer(ctx, server, resource.Issuers)
	if err != nil {
		return nil, err
	}
	t := &target{server: server, resource: resource, issuer: issuer}
	for _, c := range challenges {
		t.scopes = scopeSet(t.scopes, c.Scopes())
	}
	if len(t.scopes) == 0 {
		t.scopes = scopeSet(resource.Scopes)
	}
	return t, nil
}

func (b *Broker) chooseIssuer(ctx context.Context, server string, ids []string) (*discovery.Issuer, error) {
	if len(ids) == 1 {
		return b.cfg.Discovery.Issuer(ctx, server, ids[0])
	}
	for _, known := range []func(string) bool{b.hasGrant, b.hasClient} {
		if at := slices.IndexFunc(ids, known); at >= 0 {
			return b.cfg.Discovery.Issuer(ctx, server, ids[at])
		}
	}
	var first *discovery.Issuer
	var failure error
	for _, id := range ids {
		issuer, err := b.cfg.Discovery.Issuer(ctx, server, id)
		switch {
		case err != nil:
			failure = errors.Join(failure, err)
		case issuer.ClientMetadataDocuments:
			return issuer, nil
		case first == nil:
			first = issuer
		}
	}
	if first == nil {
		return nil, failure
	}
	return first, nil
}

func (b *Broker) hasGrant(issuer string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.grants, func(g *grant) bool { return !g.gone && g.record.Issuer == issuer && g.record.Problem == "" })
}

func (b *Broker) hasClient(issuer string) bool {
	_, ok := b.preRegistered(issuer)
	return ok
}

// preRegistered finds the client that the person registered with issuer: in the policy file, else entered by hand.
func (b *Broker) preRegistered(issuer string) (oauthflow.Registration, bool) {
	if b.cfg.Clients != nil {
		if r, ok := b.cfg.Clients(issuer); ok {
			return r, true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.clients {
		if c.Issuer == issuer {
			return c.Registration.at(issuer), true
		}
	}
	return oauthflow.Registration{}, false
}

// registration is our client at issuer, if we have one: entered by the person, else made before. One that did not lead
// to the end of the last sign-in is left out: an issuer that has forgotten it shows the person an error and tells us
// nothing.
func (b *Broker) registration(issuer string) oauthflow.Registration {
	if r, ok := b.preRegistered(issuer); ok {
		return r
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.doubtful[issuer] {
		return oauthflow.Registration{}
	}
	if r, ok := b.made[issuer]; ok && !expired(r) {
		return r
	}
	for _, g := range b.grants {
		if r := g.record.Registration.at(issuer); g.record.Issuer == issuer && r.ClientID != "" && r.Source == oauthflow.SourceDynamic && !expired(r) {
			return r
		}
	}
	return oauthflow.Registration{}
}

func expired(r oauthflow.Registration) bool {
	return !r.SecretExpiry.IsZero() && !time.Now().Before(r.SecretExpiry)
}

// noteRegistration remembers how a sign-in with used went: made is what it came to.
func (b *Broker) noteRegistration(issuer string, used, made oauthflow.Registration, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doubtful[issuer] = used.Source == oauthflow.SourceDynamic && errors.Is(err, oauthflow.ErrAbandoned)
	if made.Source == oauthflow.SourceDynamic {
		b.made[issuer] = made
	}
}

// notes are facts for the person to weigh before they sign in to t.
func (b *Broker) notes(t *target) []string {
	var notes []string
	if t.resource.Prefix {
		notes = append(notes, "This server's metadata speaks for all of "+t.resource.ID+", so its tokens are good there too.")
	}
	if r := b.registration(t.issuer.ID); r.Unattended() {
		notes = append(notes, "No page opens for a sign-in: the client "+r.ClientID+", which you set for this issuer, gets tokens by itself ("+r.GrantType+").")
	}
	if t.issuer.Unlisted {
		notes = append(notes, "The issuer publishes a list of the servers it works for, and this one is not on it.")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.clients {
		if c.Server == t.server && c.Issuer != t.issuer.ID {
			notes = append(notes, "You entered a client ID for this server at "+c.Issuer+". The server now names another issuer, so it is not used.")
		}
	}
	for _, g := range b.grants {
		if !g.gone && g.record.Server == t.server && g.record.Issuer != t.issuer.ID {
			notes = append(notes, "You signed in to this server at "+g.record.Issuer+" before. It now names another issuer.")
		}
	}
	return notes
}

// maxAliases bounds the addresses remembered of one grant: a host may make up any number. Forgetting one costs a look.
const maxAliases = 32

// adopt reports whether the server that was discovered under url is one we have a grant for under another address, and
// from now on finds that grant under url too.
func (b *Broker) adopt(t *target, url string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.grants {
		r := g.record
		if !g.gone && r.Resource == t.resource.ID && r.Issuer == t.issuer.ID && r.Account == t.account && r.Server != url {
			g.aliases = append(g.aliases[max(0, len(g.aliases)-maxAliases+1):], url)
			return true
		}
	}
	return false
}
