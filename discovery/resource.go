package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/internal/untrusted"
)

const (
	prmPath  = "/.well-known/oauth-protected-resource"
	maxName  = 100 // runes of a name to show
	maxAsked = 32  // issuers of one server
)

// Resource finds and checks the metadata of server, the URL the person entered: at the address that the challenges give,
// else at the well-known ones (RFC 9728 §3 and §5, MCP authorization 2026-07-28). Pass the challenges of a 401, or of
// any other answer that carries them, and the metadata is fetched anew. Pass none and the server is asked for them with
// one request that does nothing; metadata that is still fresh is then used again.
//
// The challenges that were used come back too, also with an error: the caller chooses scopes by them. The error is an
// [*Error].
func (c *Client) Resource(ctx context.Context, server string, challenges []Challenge) (*Resource, []Challenge, error) {
	s, err := parseServer(server)
	if err != nil {
		return nil, challenges, err
	}
	hc, err := c.client(ctx, s.address)
	if err != nil {
		return nil, challenges, err
	}
	search := search{client: c, hc: hc, server: s, anew: len(challenges) > 0, asked: len(challenges) > 0}
	if !search.asked {
		if challenges, err = search.probe(ctx); err != nil {
			return nil, nil, err
		}
	}
	r, err := search.resource(ctx, challenges)
	if err == nil && hasScheme(challenges, "dpop") {
		r.Bindable = true
		r.Bound = r.Bound || !hasScheme(challenges, "bearer") // they leave no other way
	}
	return r, challenges, err
}

func hasScheme(challenges []Challenge, scheme string) bool {
	return slices.ContainsFunc(challenges, func(c Challenge) bool { return c.Scheme == scheme })
}

// client is the guarded client on behalf of server.
func (c *Client) client(ctx context.Context, server string) (*http.Client, error) {
	hc, err := c.http(ctx, server)
	if err != nil {
		return nil, &Error{Step: "server", url: shown(server), err: unreachable(err)}
	}
	return hc, nil
}

// target is a server's URL, as entered and in parts.
type target struct {
	address string // without fragment
	url     *url.URL
}

func parseServer(server string) (target, error) {
	address, _, _ := strings.Cut(strings.TrimSpace(server), "#")
	_, err := Canonical(address)
	if err == nil {
		var u *url.URL
		if u, err = url.Parse(address); err == nil {
			return target{address, u}, nil
		}
	}
	// The address is not repeated: it may hold a password.
	return target{}, &Error{Step: "server", url: "the given address", err: &detail{ErrInvalid, inner(err)}}
}

// search is one Resource call.
type search struct {
	client *Client
	hc     *http.Client
	server target
	anew   bool // do not read the cache: RFC 9728 §5.2
	asked  bool // the server did ask for a sign-in
	page   bool // something was in the metadata's place
	tried  []try
}

func (s *search) note(address string, err error) {
	s.tried = append(s.tried, try{shown(address), err})
}

// The probe is a question that every MCP server may answer and none acts upon: servers of 2026-07-28 must know it, for
// older ones it is an unknown method outside any session. Unlike initialize it leaves no session behind.
func probeOf(version string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{`+
		`"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientCapabilities":{},`+
		`"io.modelcontextprotocol/clientInfo":{"name":"valetkey","title":"Valet Key","version":%q}}}}`, protocolVersion, cmp.Or(version, "unknown"))
}

// probe asks the server without a token, and returns the challenges it answers with; none when it does not ask for a
// sign-in, which its metadata may still do.
func (s *search) probe(ctx context.Context) ([]Challenge, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.server.address, strings.NewReader(s.client.probe))
	if err != nil {
		return nil, fail("server", s.server.address, &detail{ErrInvalid, inner(err)}, s.tried)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set(versionHeader, protocolVersion)
	req.Header.Set("Mcp-Method", "server/discover")
	resp, err := s.hc.Do(req)
	if err != nil {
		err = unreachable(err)
		s.note(s.server.address, err)
		return nil, fail("server", s.server.address, err, s.tried)
	}
	defer resp.Body.Close() // unread: it may be a stream without end
	found := ParseChallenges(resp.Header.Values("WWW-Authenticate"))
	// RFC 9728 §5.2: a challenge may come with another status than 401; what it then says of metadata counts.
	s.asked = resp.StatusCode == http.StatusUnauthorized ||
		resp.StatusCode >= 400 && slices.ContainsFunc(found, func(c Challenge) bool { return c.ResourceMetadata() != "" })
	if s.asked {
		s.note(s.server.address, errors.New(statusText(resp)+", asking for a sign-in"))
		return found, nil
	}
	if err, ok := errors.AsType[*detail](checkStatus(resp)); ok {
		s.note(s.server.address, err)
		return nil, fail("server", s.server.address, err, s.tried)
	}
	s.note(s.server.address, errors.New(statusText(resp)+", not asking for a sign-in"))
	return nil, nil
}

// place is one address where the metadata may be, and the identifier it must carry there.
type place struct{ address, expect string }

// places lists where to look: RFC 9728 §3.1, and the order of MCP's "Protected Resource Metadata Discovery".
func (t target) places(challenges []Challenge) []place {
	for _, c := range challenges {
		if address := c.ResourceMetadata(); address != "" {
			return []place{{address, t.address}}
		}
	}
	root, path, query := t.url.Scheme+"://"+t.url.Host, t.url.EscapedPath(), ""
	if t.url.RawQuery != "" {
		query = "?" + t.url.RawQuery
	}
	if path == "/" {
		path = "" // only a slash directly after the host goes
	}
	if path+query == "" {
		return []place{{root + prmPath, t.address}}
	}
	return []place{{root + prmPath + path + query, t.address}, {root + prmPath, root}}
}

func (s *search) resource(ctx context.Context, challenges []Challenge) (*Resource, error) {
	for _, p := range s.server.places(challenges) {
		r, err := s.at(ctx, p)
		if err == nil {
			return r, nil
		}
		s.note(p.address, err)
		missed, ok := errors.AsType[*miss](err)
		if !ok {
			return nil, fail("resource metadata", s.server.address, err, s.tried)
		}
		s.page = s.page || !missed.clean
	}
	return nil, fail("resource metadata", s.server.address, s.nothing(challenges), s.tried)
}

// nothing says what it means that all places were misses. Only plain ones count as unpublished: that may be taken for a
// server of 2025-03-26, and what stands in the way of the metadata must not bring that about.
func (s *search) nothing(challenges []Challenge) error {
	switch {
	case !s.asked:
		return ErrNoSignIn
	case len(challenges) > 0 && !slices.ContainsFunc(challenges, Challenge.ours):
		return ErrOtherScheme
	case s.page:
		return ErrInvalid
	case slices.ContainsFunc(challenges, func(c Challenge) bool { return c.ResourceMetadata() != "" }):
		return ErrNotFound // a server that names a place is of no older revision
	}
	return ErrUnpublished
}

// at returns the metadata at one place, from the cache or the network.
func (s *search) at(ctx context.Context, p place) (*Resource, error) {
	key := s.server.address + "\n" + p.address
	if r, ok := s.client.resources.get(key); ok && !s.anew {
		return r.clone(), nil
	}
	doc, until, err := fetch(ctx, s.hc, p.address)
	var r *Resource
	if err == nil {
		r, err = doc.resource(p, s.server)
	}
	if m, ok := errors.AsType[*miss](err); ok && m.json {
		err = &detail{ErrInvalid, errors.New(m.text)} // found, and broken: no reason to look elsewhere
	}
	if err != nil {
		if s.anew {
			s.client.resources.put(key, Resource{}, time.Time{}) // what was there is no longer so
		}
		return nil, err
	}
	s.client.resources.put(key, *r.clone(), until)
	for _, id := range r.Issuers {
		if s.anew { // the change that the challenge tells of may be the issuer's
			s.client.issuers.put(s.server.address+"\n"+id, Issuer{}, time.Time{})
		}
	}
	return r, nil
}

// resource reads RFC 9728 §2 metadata found at p.
func (d *document) resource(p place, server target) (*Resource, error) {
	r := &Resource{Server: server.address, ID: d.text("resource"), metadataURL: p.address}
	if d.err == nil && r.ID == "" {
		d.refuse("resource", "is missing")
	}
	if d.err == nil && !speaksFor(r.ID, p.expect, server) {
		// RFC 9728 §3.3: nothing of such a document may be used.
		return nil, &detail{ErrMismatch, fmt.Errorf("the document speaks for %s, not for %s", shown(r.ID), shown(server.address))}
	}
	r.Prefix = !sameServer(r.ID, server.address)
	r.Bound = d.flag("dpop_bound_access_tokens_required")
	r.Bindable = r.Bound || len(d.list("dpop_signing_alg_values_supported")) > 0
	r.Name = untrusted.Text(d.text("resource_name"), maxName)
	r.Scopes = scopeTokens(d.list("scopes_supported"))
	for _, issuer := range d.list("authorization_servers") {
		if issuer != "" && !slices.Contains(r.Issuers, issuer) {
			r.Issuers = append(r.Issuers, issuer)
		}
	}
	switch methods := d.list("bearer_methods_supported"); {
	case len(r.Issuers) == 0:
		d.refuse("authorization_servers", "names no issuer")
	case len(r.Issuers) > maxAsked:
		d.refuse("authorization_servers", "names more than %d issuers", maxAsked)
	case methods != nil && !slices.Contains(methods, "header") && !r.Bound:
		d.refuse("bearer_methods_supported", "leaves out the only one we use, header")
	case d.flag("tls_client_certificate_bound_access_tokens"):
		d.refuse("tls_client_certificate_bound_access_tokens", "asks for tokens bound to a client certificate, which are not supported here")
	}
	if d.err != nil {
		return nil, d.err
	}
	return r, nil
}

// speaksFor reports whether metadata with the identifier id is metadata of server. RFC 9728 §3.3 wants id to be the
// expected string; servers in use publish their origin, or a path above the one the person entered, and that is
// tolerated within the origin and by whole segments. The comparison is by code points, without normalizing (§6); only
// for the tolerated case scheme, host and port are compared as such.
func speaksFor(id, expect string, server target) bool {
	u, err := url.Parse(id)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || strings.Contains(id, "#") {
		return false
	}
	if id == expect {
		return true
	}
	path, of := u.EscapedPath(), server.url.EscapedPath()
	if origin(u) != origin(server.url) || u.RawQuery != "" && u.RawQuery != server.url.RawQuery || hasDotSegment(path) {
		return false
	}
	return strings.HasPrefix(of+"/", strings.TrimSuffix(path, "/")+"/")
}

// sameServer reports whether two URLs have one canonical form.
func sameServer(a, b string) bool {
	ca, errA := Canonical(a)
	cb, errB := Canonical(b)
	return errA == nil && errB == nil && ca == cb
}
