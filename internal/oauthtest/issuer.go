package oauthtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/internal/demo"
)

// Issuer is a demo.Issuer that lives in a World.
type Issuer struct {
	*demo.Issuer
	world *World
	url   *url.URL
	base  string
	setup issuerSetup
	edit  func(map[string]any) // guarded by world.mu
}

type issuerSetup struct {
	demo.IssuerConfig
	redirect func(url.Values) // changes what the browser takes back to the client
}

// IssuerOption makes an issuer different from a well-behaved one.
type IssuerOption func(*issuerSetup)

// AccessTTL sets how long access tokens live; 10 minutes else.
func AccessTTL(d time.Duration) IssuerOption { return func(s *issuerSetup) { s.AccessTTL = d } }

// RefreshTTL sets how long an unused refresh token lives; 30 days else.
func RefreshTTL(d time.Duration) IssuerOption { return func(s *issuerSetup) { s.RefreshTTL = d } }

// NoRefresh issues no refresh tokens.
func NoRefresh() IssuerOption { return func(s *issuerSetup) { s.NoRefresh = true } }

// FreeRefresh issues refresh tokens also without offline_access.
func FreeRefresh() IssuerOption { return func(s *issuerSetup) { s.FreeRefresh = true } }

// NoRotation keeps the same refresh token over all refreshes and does not repeat it in the answer.
func NoRotation() IssuerOption { return func(s *issuerSetup) { s.KeepRefresh = true } }

// Opaque issues access tokens nobody can read.
func Opaque() IssuerOption { return func(s *issuerSetup) { s.Opaque = true } }

// WiderScopes grants these on top of what was asked for, on refresh too.
func WiderScopes(extra ...string) IssuerOption {
	return func(s *issuerSetup) {
		s.Granted = func(asked []string) []string {
			all := append(asked, extra...)
			slices.Sort(all)
			return slices.Compact(all)
		}
	}
}

// NarrowerScopes grants of what was asked for only these.
func NarrowerScopes(only ...string) IssuerOption {
	return func(s *issuerSetup) {
		s.Granted = func(asked []string) []string {
			return slices.DeleteFunc(asked, func(name string) bool { return !slices.Contains(only, name) })
		}
	}
}

// AuthMethod registers every client with this authentication method, whatever it asked for.
func AuthMethod(method string) IssuerOption {
	return func(s *issuerSetup) { s.AuthMethods = []string{method} }
}

// Audience binds every token to this instead of the resource.
func Audience(audience string) IssuerOption { return func(s *issuerSetup) { s.Audience = audience } }

// Claims puts these into every JWT, instead of its own of the same names.
func Claims(claims map[string]any) IssuerOption { return func(s *issuerSetup) { s.Claims = claims } }

// ExactRedirects compares the port of loopback redirect URIs too.
func ExactRedirects() IssuerOption { return func(s *issuerSetup) { s.ExactRedirects = true } }

// StaticClients knows these clients and registers no others.
func StaticClients(clients ...demo.Client) IssuerOption {
	return func(s *issuerSetup) { s.Clients, s.NoRegistration = clients, true }
}

// ClientDocuments supports client ID metadata documents, fetched from the same World.
func ClientDocuments() IssuerOption {
	return func(s *issuerSetup) {
		s.FetchDocument = func(context.Context, string) ([]byte, error) { return nil, nil } // replaced by AddIssuer
	}
}

// Iss sends this as iss with the code instead of the issuer's own identifier; "" sends none. The metadata still
// promises the parameter: Metadata can take that promise back.
func Iss(value string) IssuerOption { return answerWith("iss", value) }

// State sends this back instead of the client's own state; "" sends none.
func State(value string) IssuerOption { return answerWith("state", value) }

func answerWith(name, value string) IssuerOption {
	return func(s *issuerSetup) {
		earlier := s.redirect
		s.redirect = func(q url.Values) {
			if earlier != nil {
				earlier(q)
			}
			q.Del(name)
			if value != "" {
				q.Set(name, value)
			}
		}
	}
}

// AddIssuer adds an issuer. id is an origin, or has a path, and may share its origin with servers.
func (w *World) AddIssuer(id string, opts ...IssuerOption) *Issuer {
	setup := issuerSetup{IssuerConfig: demo.IssuerConfig{ID: id, Accounts: []string{"alice", "bob"}}}
	for _, opt := range opts {
		opt(&setup)
	}
	if setup.FetchDocument != nil {
		setup.FetchDocument = w.fetch
	}
	inner, err := demo.NewIssuer(setup.IssuerConfig)
	if err != nil {
		panic(fmt.Sprintf("oauthtest: %v", err))
	}
	u := mustParse(id)
	i := &Issuer{Issuer: inner, world: w, url: u, base: strings.TrimSuffix(u.Path, "/"), setup: setup}
	w.add(originOf(u), http.HandlerFunc(i.serve), i.owns)
	w.mu.Lock()
	w.issuers[id] = i
	w.mu.Unlock()
	return i
}

// Count is how many requests came for a path below the issuer: demo.TokenPath, demo.MetadataPath, "/token", …
func (i *Issuer) Count(path string) int { return i.world.count(i.at(path)) }

// Requests returns what the requests for a path said: query, form and JSON body, secrets too.
func (i *Issuer) Requests(path string) []url.Values {
	var all []url.Values
	for _, r := range i.Seen(path) {
		all = append(all, r.Values)
	}
	return all
}

// Seen returns the requests for a path, with their headers.
func (i *Issuer) Seen(path string) []Request { return i.world.requests(i.at(path)) }

// Fault lets f answer at a path from now on; nil puts things right again.
func (i *Issuer) Fault(path string, f FaultFunc) { i.world.Fault(i.at(path), f) }

// Metadata changes the published metadata from now on; nil publishes the truth again.
func (i *Issuer) Metadata(edit func(map[string]any)) {
	i.world.mu.Lock()
	defer i.world.mu.Unlock()
	i.edit = edit
}

// at is the URL of a path below the issuer; a well-known one comes before the identifier's path (RFC 8414 §3.1).
func (i *Issuer) at(path string) string {
	if strings.HasPrefix(path, "/.well-known/") {
		return originOf(i.url) + path + i.base
	}
	return originOf(i.url) + i.base + path
}

func (i *Issuer) owns(path string) bool {
	below, ok := strings.CutPrefix(path, i.base)
	return path == demo.MetadataPath+i.base || ok && (strings.HasPrefix(below, demo.RegisterPath+"/") || slices.Contains([]string{
		demo.AuthorizePath, demo.TokenPath, demo.RegisterPath, demo.RevocationPath, demo.JWKSPath,
	}, below))
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.world.mu.Lock()
	edit := i.edit
	i.world.mu.Unlock()
	rec := httptest.NewRecorder()
	i.ServeHTTP(rec, r)
	switch {
	case r.URL.Path == demo.MetadataPath+i.base && edit != nil:
		rec.Body = edited(rec.Body.Bytes(), edit)
	case rec.Code == http.StatusSeeOther && i.setup.redirect != nil:
		to := mustParse(rec.Header().Get("Location"))
		q := to.Query()
		i.setup.redirect(q)
		to.RawQuery = q.Encode()
		rec.Header().Set("Location", to.String())
	}
	copyAnswer(w, rec)
}

// edited applies an edit to a JSON object.
func edited(doc []byte, edit func(map[string]any)) *bytes.Buffer {
	members := map[string]any{}
	if err := json.Unmarshal(doc, &members); err != nil {
		panic(fmt.Sprintf("oauthtest: metadata: %v", err))
	}
	edit(members)
	out, err := json.Marshal(members)
	if err != nil {
		panic(fmt.Sprintf("oauthtest: edited metadata: %v", err))
	}
	return bytes.NewBuffer(out)
}

// fetch gets a client ID metadata document from this world.
func (w *World) fetch(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.RoundTripper().RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := readAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return body, err
}
