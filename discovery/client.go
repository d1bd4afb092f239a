package discovery

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"
)

// The revision we speak; servers and issuers of 2025-03-26 choose their metadata by this header.
const (
	protocolVersion = "2026-07-28"
	versionHeader   = "MCP-Protocol-Version"
)

// Config is what New needs.
type Config struct {
	// HTTP gives the guarded client for all that the given server, as the person entered it, leads to: outbound's For.
	HTTP func(ctx context.Context, server string) (*http.Client, error)

	Version string // of this program, which servers are told
}

// Client discovers, and keeps what it found for as long as HTTP caching allows. It is safe for concurrent use.
type Client struct {
	http      func(ctx context.Context, server string) (*http.Client, error)
	probe     string // the message that asks a server for its challenge
	resources cache[Resource]
	issuers   cache[Issuer]

	keys        cache[[]byte]   // key sets of issuers
	fetchedKeys cache[struct{}] // within the last minute
}

// New returns a client with nothing in its cache.
func New(cfg Config) *Client { return &Client{http: cfg.HTTP, probe: probeOf(cfg.Version)} }

const maxCached = 256 // entries per cache; a person has a handful of servers

// cache holds checked metadata until it is stale. Its keys begin with the server on whose behalf the document was
// fetched: what one server could reach, another may not be allowed to see.
type cache[T any] struct {
	mu      sync.Mutex
	entries map[string]entry[T]
}

type entry[T any] struct {
	value T
	until time.Time
}

func (c *cache[T]) get(key string) (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	return e.value, ok && time.Now().Before(e.until)
}

// put keeps value until the given time; a time that is past drops what was there.
func (c *cache[T]) put(key string, value T, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
	now := time.Now()
	if !now.Before(until) {
		return
	}
	if c.entries == nil {
		c.entries = map[string]entry[T]{}
	}
	for k, e := range c.entries {
		if len(c.entries) >= maxCached || !now.Before(e.until) {
			delete(c.entries, k) // the stale, and when all is fresh any: it can be fetched again
		}
	}
	c.entries[key] = entry[T]{value, until}
}

func (r Resource) clone() *Resource {
	r.Issuers, r.Scopes = slices.Clone(r.Issuers), slices.Clone(r.Scopes)
	return &r
}

func (i Issuer) clone() *Issuer {
	i.Scopes, i.AuthMethods, i.grantTypes = slices.Clone(i.Scopes), slices.Clone(i.AuthMethods), slices.Clone(i.grantTypes)
	i.grantProfiles = slices.Clone(i.grantProfiles)
	i.AssertionAlgorithms, i.DPoPAlgorithms = slices.Clone(i.AssertionAlgorithms), slices.Clone(i.DPoPAlgorithms)
	return &i
}

// detail is what came of one try: it reads as its cause and counts as its kind, one of the errors of this package.
type detail struct{ kind, cause error }

func (d *detail) Error() string   { return d.cause.Error() }
func (d *detail) Unwrap() []error { return []error{d.kind, d.cause} }

// verdict is a detail that reads as its kind: the cause stands in the trail already.
type verdict struct{ *detail }

func (v verdict) Error() string { return v.kind.Error() }

// fail is the *Error for a discovery that ended with err, which the newest of tried tells of.
func fail(step, of string, err error, tried []try) error {
	if d, ok := errors.AsType[*detail](err); ok {
		err = verdict{d}
	}
	return &Error{Step: step, url: shown(of), err: err, Tried: tried}
}
