// Package demo holds an authorization server and an MCP server that follow the RFCs over real HTTP. They stand behind
// `make demo`, and behind the tests, which need an issuer and a server whose every step can be seen.
//
// The [Issuer] asks for no password and keeps everything in memory: it shows how sign-in works, it protects nothing.
package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valetkey/valetkey/internal/secret"
)

// Paths of an issuer's endpoints, below the path of its identifier.
const (
	AuthorizePath  = "/authorize"
	TokenPath      = "/token"
	RegisterPath   = "/register"
	RevocationPath = "/revoke"
	JWKSPath       = "/jwks"
)

// MetadataPath is where an issuer publishes its metadata (RFC 8414 §3); the path of its identifier follows.
const MetadataPath = "/.well-known/oauth-authorization-server"

// offlineAccess is the scope that asks for a refresh token.
const offlineAccess = "offline_access"

// Client authentication methods (RFC 7591 §2).
const (
	authNone  = "none"
	AuthBasic = "client_secret_basic"
	authPost  = "client_secret_post"
)

const (
	maxBody         = 64 << 10 // bytes of a form or a registration
	pendingTTL      = 10 * time.Minute
	codeTTL         = time.Minute
	codeMemory      = 10 * time.Minute // how long a used code is remembered, to notice that it comes again
	registrationTTL = 365 * 24 * time.Hour
)

// IssuerConfig says what an issuer is and how strict it is. Only ID is required.
type IssuerConfig struct {
	ID         string            // the issuer identifier: an https URL, or http on loopback; no query, no fragment
	Name       string            // heads the sign-in page; "" means "Demo sign-in"
	Scopes     map[string]string // name to description; nil accepts every scope. offline_access is added by itself
	Accounts   []string          // offered on the sign-in page; any other name may be typed as well
	AccessTTL  time.Duration     // of access tokens; 0 means 10 minutes
	RefreshTTL time.Duration     // of a refresh token since its last use; 0 means 30 days

	Clients        []Client // registered beforehand
	NoRegistration bool     // no dynamic registration (RFC 7591)
	AuthMethods    []string // what clients may register; another wish is answered with the first. nil means all three
	ExactRedirects bool     // compare the port of loopback redirect URIs too, as stricter issuers do

	// FetchDocument gets a client ID metadata document; nil means that such client IDs are not supported.
	FetchDocument func(ctx context.Context, url string) ([]byte, error)

	NoRefresh   bool   // never issue refresh tokens
	FreeRefresh bool   // issue them also to who asks for scopes without offline_access
	KeepRefresh bool   // no rotation: a refresh token stays as it is
	Opaque      bool   // access tokens are random text instead of JWTs
	Audience    string // put into every token instead of the resource; "" means the resource, as RFC 8707 wants it

	// Claims are put into every JWT, instead of its own of the same names.
	Claims map[string]any

	// Granted turns the scopes that were asked for into those that are granted, for issuers that give more or less;
	// nil grants what was asked for.
	Granted func(asked []string) []string
}

// Client is a client registered beforehand.
type Client struct {
	ID           string
	Name         string
	Secret       secret.Text // empty for a public client
	AuthMethod   string      // "" means AuthNone without a secret, else AuthBasic
	RedirectURIs []string
}

// Issuer is an authorization server. It is an [http.Handler] for the whole origin of its identifier.
type Issuer struct {
	cfg  IssuerConfig
	base string // the identifier's path without a trailing slash
	mux  *http.ServeMux

	mu      sync.Mutex
	keys    []signingKey // the last one signs
	clients table[*client]
	pending table[*authRequest]
	codes   table[*code]
	refresh table[*refreshToken]
	access  table[*accessToken]
}

// grant is what a person gave one client: every token of it dies with it.
type grant struct {
	client   string
	account  string
	resource string // "" when the client named none
	scopes   []string
	revoked  bool
}

// NewIssuer makes an issuer with a signing key of its own.
func NewIssuer(cfg IssuerConfig) (*Issuer, error) {
	u, err := url.Parse(cfg.ID)
	if err != nil {
		return nil, fmt.Errorf("issuer identifier: %w", err)
	}
	if !secureURL(u) || u.RawQuery != "" || u.ForceQuery || u.User != nil || strings.ContainsAny(cfg.ID, "#{}") {
		return nil, fmt.Errorf("issuer identifier %q is not an https URL without query and fragment", cfg.ID)
	}
	if cfg.Name == "" {
		cfg.Name = "Demo sign-in"
	}
	if cfg.AccessTTL == 0 {
		cfg.AccessTTL = 10 * time.Minute
	}
	if cfg.RefreshTTL == 0 {
		cfg.RefreshTTL = 30 * 24 * time.Hour
	}
	if cfg.AuthMethods == nil {
		cfg.AuthMethods = []string{authNone, AuthBasic, authPost}
	}
	i := &Issuer{
		cfg: cfg, base: strings.TrimSuffix(u.Path, "/"), mux: http.NewServeMux(),
		clients: newTable[*client](1000),
		pending: newTable[*authRequest](1000),
		codes:   newTable[*code](1000),
		refresh: newTable[*refreshToken](10000),
		access:  newTable[*accessToken](10000),
	}
	if err := i.rotateKey(); err != nil {
		return nil, err
	}
	for _, c := range cfg.Clients {
		i.clients.put(c.ID, newStaticClient(c), 100*registrationTTL)
	}
	i.mux.HandleFunc("GET "+MetadataPath+i.base, i.serveMetadata)
	i.mux.HandleFunc("GET "+i.base+JWKSPath, i.serveJWKS)
	i.mux.HandleFunc("GET "+i.base+AuthorizePath, i.serveAuthorize)
	i.mux.HandleFunc("POST "+i.base+AuthorizePath, i.serveAnswer)
	i.mux.HandleFunc("POST "+i.base+TokenPath, i.serveToken)
	i.mux.HandleFunc("POST "+i.base+RevocationPath, i.serveRevoke)
	if !cfg.NoRegistration {
		i.mux.HandleFunc("POST "+i.base+RegisterPath, i.serveRegister)
		i.mux.HandleFunc("DELETE "+i.base+RegisterPath+"/{id}", i.serveUnregister)
	}
	return i, nil
}

// ID is the issuer identifier.
func (i *Issuer) ID() string { return i.cfg.ID }

func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	i.mux.ServeHTTP(w, r)
}

// serveMetadata publishes RFC 8414 metadata.
func (i *Issuer) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	at := strings.TrimSuffix(i.cfg.ID, "/")
	scopes := []string{offlineAccess}
	for name := range i.cfg.Scopes {
		if name != offlineAccess {
			scopes = append(scopes, name)
		}
	}
	slices.Sort(scopes)
	grantTypes := []string{"authorization_code", "refresh_token"}
	if i.cfg.NoRefresh {
		grantTypes = grantTypes[:1]
		scopes = slices.DeleteFunc(scopes, func(s string) bool { return s == offlineAccess })
	}
	doc := map[string]any{
		"issuer":                                         i.cfg.ID,
		"authorization_endpoint":                         at + AuthorizePath,
		"token_endpoint":                                 at + TokenPath,
		"revocation_endpoint":                            at + RevocationPath,
		"jwks_uri":                                       at + JWKSPath,
		"scopes_supported":                               scopes,
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          grantTypes,
		"token_endpoint_auth_methods_supported":          i.cfg.AuthMethods,
		"revocation_endpoint_auth_methods_supported":     i.cfg.AuthMethods,
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
		"client_id_metadata_document_supported":          i.cfg.FetchDocument != nil,
	}
	if !i.cfg.NoRegistration {
		doc["registration_endpoint"] = at + RegisterPath
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	writeJSON(w, http.StatusOK, doc)
}

// oauthError is an error answer of RFC 6749 §5.2.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

func refuse(code, format string, args ...any) *oauthError {
	return &oauthError{code, fmt.Sprintf(format, args...)}
}

// writeError answers with an RFC 6749 §5.2 error: 401 for an unknown client, 400 for everything else.
func writeError(w http.ResponseWriter, r *http.Request, e *oauthError) {
	w.Header().Set("Cache-Control", "no-store")
	status := http.StatusBadRequest
	if e.Code == "invalid_client" {
		status = http.StatusUnauthorized
		if r.Header.Get("Authorization") != "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="issuer"`)
		}
	}
	writeJSON(w, status, e)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a reader that went away is no news
}

// secureURL reports whether u is absolute and either https or http on this computer.
func secureURL(u *url.URL) bool {
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Host))
}

// isLoopback reports whether host, with or without a port, is localhost or a loopback address.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && addr.IsLoopback()
}
