package demo

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxRedirects = 10
	maxName      = 100 // characters of a client or account name
)

// client is one registration (RFC 7591).
type client struct {
	id           string
	name         string
	secretHash   string // "" for a public client
	managerHash  string // of the registration access token (RFC 7592); "" when there is none
	authMethod   string
	redirectURIs []string
	refresh      bool // may use grant_type refresh_token
}

// clientMetadata is a registration on the wire: RFC 7591 §2, and a client ID metadata document.
type clientMetadata struct {
	ClientID        string   `json:"client_id,omitempty"`
	ClientName      string   `json:"client_name,omitempty"`
	RedirectURIs    []string `json:"redirect_uris"`
	ApplicationType string   `json:"application_type,omitempty"`
	AuthMethod      string   `json:"token_endpoint_auth_method,omitempty"`
	GrantTypes      []string `json:"grant_types,omitempty"`
	ResponseTypes   []string `json:"response_types,omitempty"`
	ClientURI       string   `json:"client_uri,omitempty"`
	Scope           string   `json:"scope,omitempty"`
}

// registered is the answer to a registration: RFC 7591 §3.2.1, RFC 7592 §3.
type registered struct {
	clientMetadata
	IssuedAt        int64  `json:"client_id_issued_at"`
	Secret          string `json:"client_secret,omitempty"`
	SecretExpiresAt *int64 `json:"client_secret_expires_at,omitempty"` // 0: never; present only with a secret
	ManagementURI   string `json:"registration_client_uri"`
	ManagementToken string `json:"registration_access_token"`
}

func newStaticClient(c Client) *client {
	out := &client{id: c.ID, name: c.Name, authMethod: c.AuthMethod, redirectURIs: c.RedirectURIs, refresh: true}
	if !c.Secret.Empty() {
		out.secretHash = c.Secret.SHA256()
	}
	switch {
	case out.authMethod != "":
	case c.Secret.Empty():
		out.authMethod = authNone
	default:
		out.authMethod = AuthBasic
	}
	return out
}

func (i *Issuer) serveRegister(w http.ResponseWriter, r *http.Request) {
	var m clientMetadata
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		writeError(w, r, refuse("invalid_client_metadata", "the body is not a JSON object of client metadata"))
		return
	}
	if err := m.check(); err != nil {
		writeError(w, r, err)
		return
	}
	if !slices.Contains(i.cfg.AuthMethods, m.AuthMethod) {
		m.AuthMethod = i.cfg.AuthMethods[0] // RFC 7591 §3.2.1: the issuer may replace what was asked for, and says so
	}
	m.ClientID = "dyn-" + random()
	c := m.client()
	manager := random()
	c.managerHash = hash(manager)
	answer := registered{
		clientMetadata: m, IssuedAt: time.Now().Unix(), ManagementToken: manager,
		ManagementURI: strings.TrimSuffix(i.cfg.ID, "/") + RegisterPath + "/" + m.ClientID,
	}
	if m.AuthMethod != authNone {
		answer.Secret, answer.SecretExpiresAt = random(), new(int64)
		c.secretHash = hash(answer.Secret)
	}
	i.mu.Lock()
	i.clients.put(c.id, c, registrationTTL)
	i.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusCreated, answer)
}

// serveUnregister deletes a registration (RFC 7592 §2.3). Its grants stop working with it.
func (i *Issuer) serveUnregister(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	i.mu.Lock()
	defer i.mu.Unlock()
	c, known := i.clients.get(r.PathValue("id"))
	if !ok || !known || !sameHash(c.managerHash, token) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		writeJSON(w, http.StatusUnauthorized, refuse("invalid_token", "this is not the registration's access token"))
		return
	}
	i.clients.drop(c.id)
	w.WriteHeader(http.StatusNoContent)
}

// check validates m and fills in the defaults of RFC 7591 §2 and OpenID Connect Registration §2.
func (m *clientMetadata) check() *oauthError {
	if m.ApplicationType == "" {
		m.ApplicationType = "web"
	}
	if m.ApplicationType != "web" && m.ApplicationType != "native" {
		return refuse("invalid_client_metadata", "application_type must be web or native")
	}
	if len(m.RedirectURIs) == 0 || len(m.RedirectURIs) > maxRedirects {
		return refuse("invalid_redirect_uri", "1 to %d redirect URIs are needed", maxRedirects)
	}
	for _, uri := range m.RedirectURIs {
		u, err := url.Parse(uri)
		if err != nil || !secureURL(u) || u.User != nil || strings.Contains(uri, "#") {
			return refuse("invalid_redirect_uri", "a redirect URI must be https, or http on loopback, without fragment")
		}
		if m.ApplicationType == "web" && u.Scheme == "http" {
			return refuse("invalid_redirect_uri", "an http redirect URI needs application_type native; web is the default")
		}
	}
	if m.AuthMethod == "" {
		m.AuthMethod = AuthBasic
	}
	if !slices.Contains([]string{authNone, AuthBasic, authPost}, m.AuthMethod) {
		return refuse("invalid_client_metadata", "token_endpoint_auth_method is not supported")
	}
	if m.GrantTypes == nil {
		m.GrantTypes = []string{"authorization_code"}
	}
	if m.ResponseTypes == nil {
		m.ResponseTypes = []string{"code"}
	}
	if !slices.Contains(m.GrantTypes, "authorization_code") || !slices.Contains(m.ResponseTypes, "code") {
		return refuse("invalid_client_metadata", "only the authorization code flow is supported")
	}
	if !plainText(m.ClientName) {
		return refuse("invalid_client_metadata", "client_name is too long or not plain text")
	}
	return nil
}

func (m *clientMetadata) client() *client {
	c := &client{id: m.ClientID, name: m.ClientName, authMethod: m.AuthMethod, redirectURIs: m.RedirectURIs}
	c.refresh = slices.Contains(m.GrantTypes, "refresh_token")
	return c
}

// findClient looks up a client ID. One that is a URL is fetched as a client ID metadata document
// (draft-ietf-oauth-client-id-metadata-document §4), anew for each sign-in.
func (i *Issuer) findClient(ctx context.Context, id string) (*client, *oauthError) {
	if i.cfg.FetchDocument == nil || !strings.HasPrefix(id, "https://") {
		i.mu.Lock()
		defer i.mu.Unlock()
		if c, ok := i.clients.get(id); ok {
			return c, nil
		}
		return nil, refuse("invalid_client", "this client is not registered here")
	}
	body, err := i.cfg.FetchDocument(ctx, id)
	if err != nil {
		return nil, refuse("invalid_client", "the client ID metadata document cannot be fetched")
	}
	var m clientMetadata
	if err := json.Unmarshal(body, &m); err != nil || m.ClientID != id || m.ClientName == "" {
		return nil, refuse("invalid_client", "the client ID metadata document is not valid")
	}
	m.ApplicationType = "native" // the document has no such member: loopback redirects are what such clients have
	if m.AuthMethod == "" {
		m.AuthMethod = authNone
	}
	if err := m.check(); err != nil || m.AuthMethod != authNone {
		return nil, refuse("invalid_client", "the client ID metadata document is not valid")
	}
	c := m.client()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clients.put(id, c, registrationTTL)
	return c, nil
}

// allowsRedirect compares byte for byte, but for the port of loopback addresses (RFC 8252 §7.3).
func (i *Issuer) allowsRedirect(c *client, uri string) bool {
	return slices.ContainsFunc(c.redirectURIs, func(registered string) bool {
		return registered == uri || !i.cfg.ExactRedirects && sameButPort(registered, uri)
	})
}

func sameButPort(registered, uri string) bool {
	a, errA := url.Parse(registered)
	b, errB := url.Parse(uri)
	if errA != nil || errB != nil || a.Scheme != "http" || a.Hostname() == "localhost" || !isLoopback(a.Host) {
		return false
	}
	if a.Hostname() != b.Hostname() {
		return false
	}
	a.Host, b.Host = a.Hostname(), b.Hostname()
	return a.String() == b.String()
}

// authenticate finds the client that sends r, by the one method it is registered with (RFC 6749 §2.3).
func (i *Issuer) authenticate(r *http.Request) (*client, *oauthError) {
	id, value, method := r.PostFormValue("client_id"), "", authNone
	if user, password, ok := r.BasicAuth(); ok {
		var errID, errValue error
		method = AuthBasic
		basicID, errID := url.QueryUnescape(user)
		value, errValue = url.QueryUnescape(password)
		if errID != nil || errValue != nil || id != "" && id != basicID || r.PostForm.Has("client_secret") {
			return nil, refuse("invalid_client", "the client authenticates in two ways, or in a broken one")
		}
		id = basicID
	} else if r.PostForm.Has("client_secret") {
		method, value = authPost, r.PostFormValue("client_secret")
	}
	i.mu.Lock()
	c, ok := i.clients.get(id)
	i.mu.Unlock()
	switch {
	case !ok:
		return nil, refuse("invalid_client", "this client is not registered here")
	case c.authMethod != method:
		return nil, refuse("invalid_client", "this client is registered with %s, not %s", c.authMethod, method)
	case method != authNone && !sameHash(c.secretHash, value):
		return nil, refuse("invalid_client", "the client secret is wrong")
	}
	return c, nil
}

func sameHash(want, value string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(hash(value))) == 1
}

// plainText reports whether a name is short and free of control and formatting characters.
func plainText(s string) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxName &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.C, r) })
}
