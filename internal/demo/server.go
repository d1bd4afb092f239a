package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// ResourcePath is where a server publishes its metadata (RFC 9728 §3.1); the path of its resource follows.
const ResourcePath = "/.well-known/oauth-protected-resource"

// Scopes of the demo server's tools.
const (
	ScopeRead  = "notes:read"
	ScopeWrite = "notes:write"
)

const maxMessage = 1 << 20 // bytes of a JSON-RPC message

// ServerConfig says what an MCP server is and whose tokens it takes. Resource and Issuer are required.
type ServerConfig struct {
	Resource string // the server's URL, which is its resource identifier and the audience of its tokens
	Issuer   string // the identifier of the only issuer it trusts
	jwksURL  string // where the issuer's keys are; "" looks into the issuer's metadata
	name     string // shown to people; "" means "Demo notes"

	// Client fetches metadata and keys; nil means one with a timeout of 10 seconds.
	client *http.Client

	// PlainJWT also takes tokens that do not name themselves access tokens (RFC 9068 §2.1), as Keycloak's do not.
	PlainJWT bool

	// Scopes every request needs, asked for in a 401; nil means notes:read. A tool may need one more, asked for in a 403.
	scopes []string

	// MCP is what the door lets good tokens through to; nil means a few tools about notes.
	MCP http.Handler
}

// server is the door in front of the MCP handler.
type server struct {
	cfg         ServerConfig
	verifier    *verifier
	metadataURL string
}

// NewServer makes an MCP server. It is a handler for the whole origin of its resource and makes five checks on each
// token: signature, issuer, audience, expiry and scope.
func NewServer(cfg ServerConfig) (http.Handler, error) {
	u, err := url.Parse(cfg.Resource)
	if err != nil || !secureURL(u) || strings.ContainsAny(cfg.Resource, "#{}") || u.RawQuery != "" {
		return nil, fmt.Errorf("resource %q is not an https URL without query and fragment", cfg.Resource)
	}
	if cfg.Issuer == "" {
		return nil, errors.New("a server without an issuer can let nobody in")
	}
	if cfg.name == "" {
		cfg.name = "Demo notes"
	}
	if cfg.client == nil {
		cfg.client = &http.Client{Timeout: 10 * time.Second}
	}
	if cfg.scopes == nil {
		cfg.scopes = []string{ScopeRead}
	}
	path := u.Path
	if path == "/" {
		path = ""
	}
	s := &server{
		cfg:         cfg,
		verifier:    &verifier{issuer: cfg.Issuer, resource: cfg.Resource, client: cfg.client, jwksURL: cfg.jwksURL, plainJWT: cfg.PlainJWT},
		metadataURL: u.Scheme + "://" + u.Host + ResourcePath + path,
	}
	handler := cfg.MCP
	if handler == nil {
		tools := newNotes(cfg.name)
		handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools },
			&mcp.StreamableHTTPOptions{SessionTimeout: 10 * time.Minute, MaxRequestBodyBytes: maxMessage})
	}
	mux := http.NewServeMux()
	mux.Handle(ResourcePath+path, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource:               cfg.Resource,
		AuthorizationServers:   []string{cfg.Issuer},
		ScopesSupported:        []string{ScopeRead, ScopeWrite},
		BearerMethodsSupported: []string{"header"},
		ResourceName:           cfg.name,
	}))
	if path == "" {
		path = "/{$}"
	}
	// The door in front says more in its challenges than the SDK's own; the SDK still learns who is calling from its
	// own middleware, which ties a session to one account.
	mux.Handle(path, s.door(auth.RequireBearerToken(checkedToken, nil)(handler)))
	return mux, nil
}

type tokenInfoKey struct{}

// checkedToken hands the SDK what the door found out.
func checkedToken(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
	info, ok := ctx.Value(tokenInfoKey{}).(*auth.TokenInfo)
	if !ok {
		return nil, auth.ErrInvalidToken
	}
	return info, nil
}

// door lets requests with a good token pass (RFC 6750 §3, RFC 9728 §5.1).
func (s *server) door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, found := bearer(r)
		if !found {
			s.challenge(w, http.StatusUnauthorized, "", "a token is needed", s.cfg.scopes)
			return
		}
		c, err := s.verifier.verify(r.Context(), token)
		if errors.Is(err, errKeys) {
			w.Header().Set("Retry-After", "5")
			http.Error(w, "the token cannot be checked now: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		if err != nil {
			s.challenge(w, http.StatusUnauthorized, "invalid_token", err.Error(), s.cfg.scopes)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		if err != nil {
			http.Error(w, "the message is too large or broken off", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		held, needed := strings.Fields(c.Scope), s.needed(body)
		if slices.ContainsFunc(needed, func(scope string) bool { return !slices.Contains(held, scope) }) {
			s.challenge(w, http.StatusForbidden, "insufficient_scope", "this needs a wider scope", needed)
			return
		}
		info := &auth.TokenInfo{Scopes: held, Expiration: c.Expiry.Time(), UserID: c.Subject,
			Extra: map[string]any{"issuer": c.Issuer, "client_id": c.ClientID}}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tokenInfoKey{}, info)))
	})
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer") && token != ""
}

func (s *server) challenge(w http.ResponseWriter, status int, code, description string, scopes []string) {
	params := []string{fmt.Sprintf("resource_metadata=%q", s.metadataURL)}
	if len(scopes) > 0 {
		params = append(params, fmt.Sprintf("scope=%q", strings.Join(scopes, " ")))
	}
	if code != "" {
		params = append(params, fmt.Sprintf("error=%q", code), fmt.Sprintf("error_description=%q", description))
	}
	w.Header().Set("WWW-Authenticate", "Bearer "+strings.Join(params, ", "))
	http.Error(w, description, status)
}

// needed is every scope the messages of a body need. The tools look again, in case the body reads otherwise to them.
func (s *server) needed(body []byte) []string {
	type message struct {
		Method string `json:"method"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	var one message
	messages := []message{}
	if json.Unmarshal(body, &messages) != nil && json.Unmarshal(body, &one) == nil {
		messages = []message{one}
	}
	scopes := slices.Clone(s.cfg.scopes)
	for _, m := range messages {
		if scope := toolScopes[m.Params.Name]; m.Method == "tools/call" && scope != "" {
			scopes = append(scopes, scope)
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}
