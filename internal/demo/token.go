package demo

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

// refreshToken is kept under its hash, also after it was used, to notice that it comes again.
type refreshToken struct {
	grant *grant
	used  bool
}

// tokenAnswer is RFC 6749 §5.1.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
}

// serveToken is the token endpoint: authorization_code and refresh_token.
func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	answer, err := i.token(r)
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, answer)
}

func (i *Issuer) token(r *http.Request) (*tokenAnswer, *oauthError) {
	if err := readForm(r); err != nil {
		return nil, err
	}
	c, err := i.authenticate(r)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		return i.exchange(c, r)
	case "refresh_token":
		return i.renew(c, r)
	}
	return nil, refuse("unsupported_grant_type", "only authorization_code and refresh_token are supported")
}

// readForm parses the body; RFC 6749 §3.2 allows no parameter twice.
func readForm(r *http.Request) *oauthError {
	if err := r.ParseForm(); err != nil {
		return refuse("invalid_request", "the body is not a form of a sensible size")
	}
	if len(r.PostForm) == 0 {
		return refuse("invalid_request", "the parameters belong into a form in the body")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && name != "resource" {
			return refuse("invalid_request", "%q is there twice", name)
		}
	}
	return nil
}

// exchange turns a code into tokens (RFC 6749 §4.1.3, RFC 7636 §4.6, RFC 8707 §2.2). The caller holds the lock.
func (i *Issuer) exchange(c *client, r *http.Request) (*tokenAnswer, *oauthError) {
	it, ok := i.codes.get(hash(r.PostFormValue("code")))
	if !ok || it.grant.client != c.id {
		return nil, refuse("invalid_grant", "the code is not known, or not this client's")
	}
	if it.used {
		it.grant.revoked = true // RFC 6749 §4.1.2: what a stolen code brought is taken back
		return nil, refuse("invalid_grant", "the code was used before; its tokens are revoked")
	}
	it.used = true
	if !time.Now().Before(it.expiry) {
		return nil, refuse("invalid_grant", "the code has expired")
	}
	if r.PostFormValue("redirect_uri") != it.request.redirectURI {
		return nil, refuse("invalid_grant", "redirect_uri is not the one of the sign-in")
	}
	verifier := r.PostFormValue("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	if len(verifier) < 43 || len(verifier) > 128 || base64.RawURLEncoding.EncodeToString(sum[:]) != it.request.challenge {
		return nil, refuse("invalid_grant", "code_verifier does not fit the code_challenge")
	}
	if err := sameResource(r, it.grant); err != nil {
		return nil, err
	}
	asked := it.request.scopes
	renewable := !i.cfg.NoRefresh && c.refresh && (i.cfg.FreeRefresh || len(asked) == 0 || slices.Contains(asked, offlineAccess))
	return i.issue(it.grant, it.grant.scopes, renewable)
}

// renew is RFC 6749 §6 with rotation: each use hands out a new refresh token, and a used one that comes again
// revokes the whole grant, since either side may be a thief (RFC 9700 §4.14.2). The caller holds the lock.
func (i *Issuer) renew(c *client, r *http.Request) (*tokenAnswer, *oauthError) {
	key := hash(r.PostFormValue("refresh_token"))
	it, ok := i.refresh.get(key)
	if !ok || it.grant.client != c.id || it.grant.revoked {
		return nil, refuse("invalid_grant", "the refresh token is not known, expired, revoked, or not this client's")
	}
	if it.used {
		it.grant.revoked = true
		return nil, refuse("invalid_grant", "the refresh token was used before; its grant is revoked")
	}
	if err := sameResource(r, it.grant); err != nil {
		return nil, err
	}
	scopes := it.grant.scopes
	if r.PostForm.Has("scope") {
		scopes = scopeList(r.PostFormValue("scope"))
		for _, s := range scopes {
			if !slices.Contains(it.grant.scopes, s) {
				return nil, refuse("invalid_scope", "the scope is wider than what the person gave")
			}
		}
		scopes = i.granted(scopes)
	}
	if i.cfg.KeepRefresh {
		i.refresh.put(key, it, i.cfg.RefreshTTL)
		return i.issue(it.grant, scopes, false)
	}
	it.used = true
	return i.issue(it.grant, scopes, true)
}

// sameResource holds a token request to the resource of the sign-in (RFC 8707 §2.2).
func sameResource(r *http.Request, g *grant) *oauthError {
	resource, err := resourceParameter(r.PostForm)
	if err != nil {
		return err
	}
	if resource != "" && resource != g.resource {
		return refuse("invalid_target", "the resource is not the one of the sign-in")
	}
	return nil
}

// issue makes the answer, with a new refresh token if wanted. The caller holds the lock.
func (i *Issuer) issue(g *grant, scopes []string, refresh bool) (*tokenAnswer, *oauthError) {
	access, err := i.newAccessToken(g, scopes)
	if err != nil {
		return nil, refuse("server_error", "%v", err)
	}
	answer := &tokenAnswer{access, "Bearer", int64(i.cfg.AccessTTL / time.Second), "", strings.Join(scopes, " ")}
	if refresh {
		answer.RefreshToken = random() + random()
		i.refresh.put(hash(answer.RefreshToken), &refreshToken{grant: g}, i.cfg.RefreshTTL)
	}
	return answer, nil
}

// serveRevoke is RFC 7009: a refresh token takes its grant with it, an access token goes alone, and a token that is
// not known is as good as revoked.
func (i *Issuer) serveRevoke(w http.ResponseWriter, r *http.Request) {
	err := readForm(r)
	var c *client
	if err == nil {
		c, err = i.authenticate(r)
	}
	if err == nil && r.PostFormValue("token") == "" {
		err = refuse("invalid_request", "token is missing")
	}
	if err == nil {
		err = i.revoke(c, hash(r.PostFormValue("token")))
	}
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (i *Issuer) revoke(c *client, key string) *oauthError {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t, ok := i.refresh.get(key); ok {
		if t.grant.client != c.id {
			return refuse("invalid_grant", "the token is not this client's")
		}
		t.grant.revoked = true
	}
	if t, ok := i.access.get(key); ok {
		if t.grant.client != c.id {
			return refuse("invalid_grant", "the token is not this client's")
		}
		t.revoked = true
	}
	return nil
}
