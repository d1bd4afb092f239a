package oauthtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/valetkey/valetkey/internal/demo"
)

// ResourcePath is where a server publishes its metadata (RFC 9728 §3); the path of its URL follows.
const ResourcePath = demo.ResourcePath

// Server stands for an MCP server: it publishes metadata, challenges who has no good token, and answers who has one
// with {"account":…,"scopes":[…]}.
type Server struct {
	world *World
	url   *url.URL

	// Guarded by world.mu.
	doc       map[string]any
	required  []string
	challenge *string
	refused   map[string]bool
	edit      func(map[string]any)
}

// AddServer adds a server whose tokens come from any of the issuers. Its metadata supports files:read and files:write.
func (w *World) AddServer(address string, issuers ...string) *Server {
	u := mustParse(address)
	s := &Server{world: w, url: u, refused: map[string]bool{}}
	s.doc = map[string]any{
		"resource": address, "authorization_servers": issuers, "resource_name": "Test server",
		"scopes_supported": []string{"files:read", "files:write"}, "bearer_methods_supported": []string{"header"},
	}
	w.add(originOf(u), http.HandlerFunc(s.serve), func(path string) bool {
		return path == s.metadataPath() || path == u.Path || path == "/" && u.Path == ""
	})
	return s
}

// Metadata changes the published metadata from now on; nil publishes the truth again. Tokens are held to the resource
// that is published.
func (s *Server) Metadata(edit func(map[string]any)) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.edit = edit
}

// require lets in only tokens with these scopes, and asks for them in challenges.
func (s *Server) require(scopes ...string) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.required = scopes
}

// Challenge sends this WWW-Authenticate header with each 401 from now on; "" sends none.
func (s *Server) Challenge(header string) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.challenge = &header
}

// Refuse answers 401 to this access token from now on, however good it is.
func (s *Server) Refuse(token string) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.refused[token] = true
}

// MetadataURL is where the metadata is, as challenges say.
func (s *Server) MetadataURL() string { return originOf(s.url) + s.metadataPath() }

// Count is how many requests came for a path: "" is the server itself, ResourcePath its metadata.
func (s *Server) Count(path string) int { return s.world.count(s.at(path)) }

// Fault lets f answer at a path from now on; nil puts things right again.
func (s *Server) Fault(path string, f FaultFunc) { s.world.Fault(s.at(path), f) }

func (s *Server) at(path string) string {
	switch path {
	case "":
		return originOf(s.url) + s.url.Path
	case ResourcePath:
		return s.MetadataURL()
	}
	return originOf(s.url) + path
}

// metadataPath inserts the well-known path; only a slash directly after the host goes (RFC 9728 §3.1).
func (s *Server) metadataPath() string {
	if s.url.Path == "/" {
		return ResourcePath
	}
	return ResourcePath + s.url.Path
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	doc, required := s.published()
	if r.URL.Path == s.metadataPath() {
		writeJSON(w, http.StatusOK, doc)
		return
	}
	token, hasToken := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	access, ok := s.check(token, doc)
	switch {
	case !ok:
		s.refuse(w, hasToken, required)
	case !containsAll(access.Scopes, required):
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", scope=%q, resource_metadata=%q`,
			strings.Join(required, " "), s.MetadataURL()))
		w.WriteHeader(http.StatusForbidden)
	default:
		writeJSON(w, http.StatusOK, map[string]any{"account": access.Account, "scopes": access.Scopes})
	}
}

// published is the metadata as everybody sees it, and the scopes every request needs.
func (s *Server) published() (map[string]any, []string) {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	doc := map[string]any{}
	for name, v := range s.doc {
		doc[name] = v
	}
	if s.edit != nil {
		s.edit(doc)
	}
	return doc, s.required
}

// check asks the issuers about a token and holds it to the resource.
func (s *Server) check(token string, doc map[string]any) (demo.Access, bool) {
	s.world.mu.Lock()
	refused := s.refused[token]
	var issuers []*Issuer
	ids, _ := s.doc["authorization_servers"].([]string)
	for _, id := range ids {
		if i := s.world.issuers[id]; i != nil {
			issuers = append(issuers, i)
		}
	}
	s.world.mu.Unlock()
	for _, i := range issuers {
		if access, ok := i.Inspect(token); ok && !refused && access.Audience == doc["resource"] {
			return access, true
		}
	}
	return demo.Access{}, false
}

// refuse answers 401 with a challenge (RFC 6750 §3, RFC 9728 §5.1).
func (s *Server) refuse(w http.ResponseWriter, hasToken bool, required []string) {
	header := fmt.Sprintf("Bearer resource_metadata=%q", s.MetadataURL())
	if len(required) > 0 {
		header += fmt.Sprintf(", scope=%q", strings.Join(required, " "))
	}
	if hasToken {
		header += `, error="invalid_token"`
	}
	s.world.mu.Lock()
	if s.challenge != nil {
		header = *s.challenge
	}
	s.world.mu.Unlock()
	if header != "" {
		w.Header().Set("WWW-Authenticate", header)
	}
	w.WriteHeader(http.StatusUnauthorized)
}

func containsAll(have, want []string) bool {
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(have, s) })
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a reader that went away is no news
}
