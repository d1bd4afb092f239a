//go:build e2e && linux

package headless

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/oauthflow"
)

// rewrite changes a JSON answer on its way out. It returns the status, or 0 to keep it.
type rewrite func(r *http.Request, doc map[string]any) (status int)

// demoSite is the demo issuer and the demo server in this process: a test sees what is asked of them and what they
// answer, and can make them lie.
type demoSite struct {
	issuer, server string // URLs
	inspect        func(token string) (demo.Access, bool)

	mu      sync.Mutex
	edit    rewrite
	work    func(r *http.Request) // runs when the issuer has done its work, before its answer leaves
	counts  map[string]int        // of grant_type values
	secrets map[string]string     // value → what it is
}

// newDemoSite starts both. change makes them differ from the usual; edit, unless it is nil, their answers.
func newDemoSite(t testing.TB, change func(*demo.IssuerConfig), edit rewrite) *demoSite {
	t.Helper()
	s := &demoSite{edit: edit, counts: map[string]int{}, secrets: map[string]string{}}
	issuerAt, serverAt := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	s.issuer, s.server = "http://"+issuerAt.Listener.Addr().String(), "http://"+serverAt.Listener.Addr().String()+"/mcp"
	cfg := demo.IssuerConfig{ID: s.issuer, Accounts: []string{"alice", "bob"}}
	if change != nil {
		change(&cfg)
	}
	issuer, err := demo.NewIssuer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server, err := demo.NewServer(demo.ServerConfig{Resource: s.server, Issuer: s.issuer})
	if err != nil {
		t.Fatal(err)
	}
	s.inspect = issuer.Inspect
	issuerAt.Config.Handler, serverAt.Config.Handler = s.watched(issuer), s.watched(server)
	issuerAt.Start()
	serverAt.Start()
	t.Cleanup(func() { issuerAt.Close(); serverAt.Close() })
	return s
}

// watched answers as next does, after the test's changes, and notes what went by.
func (s *demoSite) watched(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		var doc map[string]any
		if json.Unmarshal(answer.Body.Bytes(), &doc) != nil {
			doc = nil
		}
		s.note(r, answer.Header(), doc)
		s.mu.Lock()
		edit, work := s.edit, s.work
		s.mu.Unlock()
		if work != nil {
			work(r)
		}
		status, body := answer.Code, answer.Body.Bytes()
		if doc != nil && edit != nil {
			if said := edit(r, doc); said != 0 {
				status = said
			}
			body, _ = json.Marshal(doc)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(status)
		w.Write(body)
	})
}

// note keeps the secrets of one exchange, and counts token requests.
func (s *demoSite) note(r *http.Request, header http.Header, doc map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := func(kind, value string) {
		if value != "" {
			s.secrets[value] = kind
		}
	}
	if r.URL.Path == demo.TokenPath || r.URL.Path == demo.RevocationPath {
		s.counts[r.PostFormValue("grant_type")]++
		for _, kind := range []string{"code", "code_verifier", "refresh_token", "client_secret", "token"} {
			keep(kind, r.PostFormValue(kind))
		}
		if _, password, ok := r.BasicAuth(); ok {
			secret, _ := url.QueryUnescape(password) // RFC 6749 §2.3.1
			keep("client_secret", secret)
		}
	}
	for _, kind := range []string{"access_token", "refresh_token", "client_secret", "registration_access_token"} {
		value, _ := doc[kind].(string)
		keep(kind, value)
	}
	if to, err := url.Parse(header.Get("Location")); err == nil {
		keep("code", to.Query().Get("code"))
	}
}

// refreshes is how often a refresh token was posted.
func (s *demoSite) refreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts["refresh_token"]
}

// signIns is how often a code was exchanged.
func (s *demoSite) signIns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts["authorization_code"]
}

// onWork sets what runs before each answer leaves.
func (s *demoSite) onWork(work func(*http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work = work
}

// onEdit sets what changes the JSON answers from now on.
func (s *demoSite) onEdit(edit rewrite) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.edit = edit
}

// known are the secrets that went by, each with what it is.
func (s *demoSite) known() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.secrets)
}

// lies are the ways in which a site of a script can be wrong: what it changes in its documents.
var lies = map[string]func(path string, doc map[string]any) int{
	"no metadata": func(path string, _ map[string]any) int { return onlyIf(path, demo.ResourcePath, http.StatusNotFound) },
	"speaks of another resource": func(path string, doc map[string]any) int {
		if strings.HasPrefix(path, demo.ResourcePath) {
			doc["resource"] = "https://bank.example.com/mcp"
		}
		return 0
	},
	"speaks of another issuer": func(path string, doc map[string]any) int {
		if path == demo.MetadataPath {
			doc["issuer"] = "https://accounts.example.com"
		}
		return 0
	},
	"no issuer": func(path string, doc map[string]any) int {
		if strings.HasPrefix(path, demo.ResourcePath) {
			doc["authorization_servers"] = []string{}
		}
		return 0
	},
	"no issuer metadata": func(path string, _ map[string]any) int { return onlyIf(path, demo.MetadataPath, http.StatusNotFound) },
	"no PKCE": func(path string, doc map[string]any) int {
		if path == demo.MetadataPath {
			doc["code_challenge_methods_supported"] = []string{"plain"}
		}
		return 0
	},
	"no word about PKCE": func(path string, doc map[string]any) int {
		if path == demo.MetadataPath {
			delete(doc, "code_challenge_methods_supported")
		}
		return 0
	},
	"endpoints elsewhere in the clear": func(path string, doc map[string]any) int {
		if path == demo.MetadataPath {
			doc["token_endpoint"] = "http://tokens.example.com/token"
		}
		return 0
	},
	"refuses the code": func(path string, doc map[string]any) int {
		if path != demo.TokenPath {
			return 0
		}
		clear(doc)
		doc["error"], doc["error_description"] = "invalid_grant", "the code is stale\u001b[2J\u202e"
		return http.StatusBadRequest
	},
	"is broken": func(path string, doc map[string]any) int {
		if path != demo.TokenPath {
			return 0
		}
		clear(doc)
		return http.StatusInternalServerError
	},
	"bearer of something else": func(path string, doc map[string]any) int {
		if path == demo.TokenPath {
			doc["token_type"] = "DPoP"
		}
		return 0
	},
	"registers nobody":   nil, // by its configuration
	"knows one client":   nil,
	"gives fewer scopes": nil,
}

func onlyIf(path, prefix string, status int) int {
	if strings.HasPrefix(path, prefix) {
		return status
	}
	return 0
}

// newLiar starts a site that is wrong in one way.
func newLiar(t testing.TB, lie string) (*demoSite, error) {
	edit, known := lies[lie]
	if !known {
		return nil, fmt.Errorf("there is no lie %q", lie)
	}
	return newDemoSite(t, func(cfg *demo.IssuerConfig) {
		switch lie {
		case "registers nobody":
			cfg.NoRegistration = true
		case "knows one client":
			cfg.NoRegistration = true
			cfg.Clients = []demo.Client{{ID: "written-down", Name: "Ours", Secret: secret.New("hunter2"), RedirectURIs: oauthflow.RedirectURIs()}}
		case "gives fewer scopes":
			cfg.Granted = func([]string) []string { return []string{"profile"} }
		}
	}, func(r *http.Request, doc map[string]any) int {
		if edit == nil {
			return 0
		}
		return edit(r.URL.Path, doc)
	}), nil
}
