package broker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
)

// recordVersion is the newest format this program writes. A newer one in the keychain is left alone (threat T14).
const recordVersion = 1

// Why an item of the keychain is left alone.
var (
	errNewer = errors.New("it was written by a newer Valet Key")
	errAlien = errors.New("it is not a record of Valet Key")
)

// record is one grant as the keychain keeps it: the only truth about it. Everything that decides who may use the grant,
// and where its refresh token may be sent, is in it and nowhere else.
type record struct {
	Version      int                `json:"v"`
	Server       string             `json:"server"`
	Resource     string             `json:"resource"`
	Name         string             `json:"name,omitempty"`
	Issuer       string             `json:"issuer"` // "" for a server that asks for no sign-in
	Account      string             `json:"account"`
	Registration client.Sealed      `json:"registration"`
	Refresh      kept               `json:"refresh_token,omitzero"`
	Replaced     []kept             `json:"replaced_refresh_tokens,omitempty"` // by a later sign-in: to be revoked with the grant
	Requested    []string           `json:"requested"`
	Granted      []string           `json:"granted"`
	Prefix       bool               `json:"prefix,omitempty"`      // Resource is a path prefix of Server
	Unpublished  bool               `json:"unpublished,omitempty"` // the server names no issuer, and the person took its origin for one
	Key          kept               `json:"dpop_key,omitzero"`     // its tokens are bound to it (RFC 9449)
	Bindable     bool               `json:"bindable,omitempty"`    // the server takes tokens that are bound to a key
	Device       bool               `json:"device,omitempty"`      // the person signed in on another device the last time
	Quirks       []localapi.Quirk   `json:"quirks,omitempty"`      // what the person accepted of this server and its issuer, or set
	Wide         bool               `json:"wide,omitempty"`        // the issuer does not narrow tokens on refresh
	Always       []string           `json:"always,omitempty"`      // scopes that nobody asks for and the issuer puts into every token
	Problem      string             `json:"problem,omitempty"`     // why the person must sign in again, as a sentence
	Consents     []localapi.Consent `json:"consents"`              // ModeAlways and ModeHour only
	SignedInAt   time.Time          `json:"signed_in_at,omitzero"` //
	RefreshedAt  time.Time          `json:"refreshed_at,omitzero"`
}

// least is the narrowest token that has set, and why it is no narrower.
func (r *record) least(set scopes) (whole scopes, why string) {
	if r.Wide || !r.renewable() {
		return scopeSet(r.Granted), " does not issue tokens for less than everything that was granted to you; without all of it this program gets none"
	}
	if len(set) == 0 && len(r.Always) == 0 && len(r.Granted) > 0 {
		return scopeSet(r.Granted), " chose these scopes itself, because none was asked for by name" // RFC 6749 §3.3
	}
	return scopeSet(set, r.Always), " puts these into every token, asked for or not: " + strings.Join(r.Always, " ")
}

// maxReplaced bounds the refresh tokens that are kept for their revocation only. A person signs in to a wider scope now
// and then; what is older has most likely run out.
const maxReplaced = 8

// signedIn takes in the outcome of a sign-in. A refresh token that it replaces may live on at the issuer, and is not
// revoked now: many issuers would end the new one with it.
func (r *record) signedIn(registration client.Client, refresh kept) {
	if registration.ClientID != r.Registration.ClientID {
		r.Replaced = nil // only the client that got a token can revoke it (RFC 7009 §2.1)
	} else if !r.Refresh.Empty() && !r.Refresh.Equal(refresh.Text) {
		r.Replaced = append([]kept{r.Refresh}, r.Replaced[:min(len(r.Replaced), maxReplaced-1)]...)
	}
	r.Registration, r.Refresh = client.Seal(registration), refresh
}

// renewable reports whether a new token is to be had without the person.
func (r *record) renewable() bool { return !r.Refresh.Empty() || r.unattended() }

// unattended reports whether r's tokens were got with nobody at a browser.
func (r *record) unattended() bool { return r.Registration.GrantType != "" }

// kept is a secret as the keychain keeps it: the one place where a secret.Text goes into JSON in the clear.
type kept struct{ secret.Text }

func (k kept) MarshalJSON() ([]byte, error) { return json.Marshal(k.Reveal()) }

// IsZero makes omitzero leave an empty secret out.
func (k kept) IsZero() bool { return k.Empty() }

// entered is a client that the person entered, as the keychain keeps it.
type entered struct {
	Version      int           `json:"v"`
	Issuer       string        `json:"issuer"`
	Server       string        `json:"server,omitempty"` // the server it was entered for
	Registration client.Sealed `json:"registration"`
	Enterprise   client.Sealed `json:"enterprise,omitzero"` // at the issuer that Registration.Enterprise names
}

func keepClient(r client.Client, server string) entered {
	e := entered{Issuer: r.Issuer, Server: server, Registration: client.Seal(r)}
	if r.Enterprise != nil {
		e.Enterprise = client.Seal(r.Enterprise.Client)
	}
	return e
}

// whole is the client that keepClient was given.
func (e entered) whole() client.Client {
	r := e.Registration.At(e.Issuer)
	if at := r.Enterprise; at != nil {
		r.Enterprise = &client.Enterprise{Client: e.Enterprise.At(at.Issuer)}
	}
	return r
}

// index lists what is in the keychain, because a keychain cannot be asked. An item is listed before it is written and
// struck off after it was deleted, so nothing is ever in the keychain unlisted; a listed item that is not there is
// one that was never finished.
type index struct {
	Version    int      `json:"v"`
	Grants     []string `json:"grants"`
	Clients    []string `json:"clients"`
	Identities []string `json:"identities,omitempty"`
}

const indexName = "index"

func grantName(resource, issuer, account string) string {
	return "grant-" + shortHash(resource, issuer, account)
}

func clientName(issuer string) string { return "client-" + shortHash(issuer) }

func shortHash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// records is the keychain seen as records.
type records struct {
	store keystore.Store
	mu    sync.Mutex // guards index, and keeps the write of an item together with that of its line
	index index
	alien map[string]error // items that cannot be read, and why: they are never written over
}

// load reads everything. Records that cannot be read come back in problems, by name, and stay where they are.
func (r *records) load(ctx context.Context) (grants []record, clients []entered, problems []error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := get(ctx, r.store, indexName, &r.index); err != nil && !errors.Is(err, keystore.ErrNotFound) {
		return nil, nil, nil, err
	}
	for _, name := range r.index.Grants {
		var rec record
		switch err := get(ctx, r.store, name, &rec); {
		case err == nil:
			grants = append(grants, rec)
		case errors.Is(err, keystore.ErrNotFound):
		case unreadable(err):
			problems = append(problems, r.shun(name, err))
		default:
			return nil, nil, nil, err
		}
	}
	for _, name := range r.index.Clients {
		var c entered
		switch err := get(ctx, r.store, name, &c); {
		case err == nil:
			clients = append(clients, c)
		case errors.Is(err, keystore.ErrNotFound):
		case unreadable(err):
			problems = append(problems, r.shun(name, err))
		default:
			return nil, nil, nil, err
		}
	}
	slices.SortFunc(grants, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), a.SignedInAt.Compare(b.SignedInAt), cmp.Compare(a.Account, b.Account))
	})
	return grants, clients, problems, nil
}

// shun remembers that name is not ours to write.
func (r *records) shun(name string, err error) error {
	if r.alien == nil {
		r.alien = map[string]error{}
	}
	r.alien[name] = fmt.Errorf("the keychain item %s is in the way: %w", name, err)
	return fmt.Errorf("%s: %w", name, err)
}

// writable tells whether a grant may be written; an item that could not be read is in the way of one.
func (r *records) writable(resource, issuer, account string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alien[grantName(resource, issuer, account)]
}

// unreadable tells a record that is wrong in itself from a keychain that did not answer.
func unreadable(err error) bool {
	return !errors.Is(err, keystore.ErrLocked) && !errors.Is(err, keystore.ErrUnavailable) && !errors.Is(err, keystore.ErrTimeout) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

func get(ctx context.Context, store keystore.Store, name string, into any) error {
	b, err := store.Get(ctx, name)
	if err != nil {
		return err
	}
	var head struct {
		Version int `json:"v"`
	}
	if json.Unmarshal(b, &head) != nil {
		return errAlien // the decoder's words could quote a secret
	}
	if head.Version > recordVersion {
		return errNewer
	}
	if json.Unmarshal(b, into) != nil {
		return errAlien
	}
	return nil
}

// saveGrant writes rec, listing it first when it is new.
func (r *records) saveGrant(ctx context.Context, rec record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := grantName(rec.Resource, rec.Issuer, rec.Account)
	if err := r.alien[name]; err != nil {
		return err
	}
	if err := r.list(ctx, &r.index.Grants, name); err != nil {
		return err
	}
	rec.Version = recordVersion
	return set(ctx, r.store, name, rec)
}

// saveClient writes c, listing it first when it is new.
func (r *records) saveClient(ctx context.Context, c entered) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := clientName(c.Issuer)
	if err := r.alien[name]; err != nil {
		return err
	}
	if err := r.list(ctx, &r.index.Clients, name); err != nil {
		return err
	}
	c.Version = recordVersion
	return set(ctx, r.store, name, c)
}

// deleteGrant removes rec, then its line in the index.
func (r *records) deleteGrant(ctx context.Context, rec record) error {
	return r.remove(ctx, grantName(rec.Resource, rec.Issuer, rec.Account), func(i *index) *[]string { return &i.Grants })
}

// deleteClient removes the client at issuer, then its line in the index.
func (r *records) deleteClient(ctx context.Context, issuer string) error {
	return r.remove(ctx, clientName(issuer), func(i *index) *[]string { return &i.Clients })
}

// deleteIdentity removes the identity of that name, then its line in the index.
func (r *records) deleteIdentity(ctx context.Context, name string) error {
	return r.remove(ctx, name, func(i *index) *[]string { return &i.Identities })
}

// remove deletes an item, then its line in the part of the index that lines finds.
func (r *records) remove(ctx context.Context, name string, lines func(*index) *[]string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.alien[name]; err != nil {
		return err
	}
	if err := r.store.Delete(ctx, name); err != nil {
		return err
	}
	next := r.index
	left := lines(&next)
	at := slices.Index(*left, name)
	if at < 0 {
		return nil
	}
	*left = slices.Delete(slices.Clone(*left), at, at+1)
	return r.setIndex(ctx, next)
}

// saveIdentity writes id, listing it first when it is new.
func (r *records) saveIdentity(ctx context.Context, id identity) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := identityName(id.At, id.Account)
	if err := r.list(ctx, &r.index.Identities, name); err != nil {
		return err
	}
	id.Version = recordVersion
	return set(ctx, r.store, name, id)
}

func (r *records) list(ctx context.Context, names *[]string, name string) error {
	if slices.Contains(*names, name) {
		return nil
	}
	before := *names
	*names = append(slices.Clone(before), name)
	if err := r.setIndex(ctx, r.index); err != nil {
		*names = before
		return err
	}
	return nil
}

// setIndex writes the index; an empty one is removed, so that nothing stays behind.
func (r *records) setIndex(ctx context.Context, next index) error {
	next.Version = recordVersion
	write := func() error { return set(ctx, r.store, indexName, next) }
	if len(next.Grants)+len(next.Clients)+len(next.Identities) == 0 {
		write = func() error { return r.store.Delete(ctx, indexName) }
	}
	if err := write(); err != nil {
		return err
	}
	r.index = next
	return nil
}

func set(ctx context.Context, store keystore.Store, name string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return store.Set(ctx, name, b)
}
