package demo

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// authRequest is one checked authorization request that waits for the person.
type authRequest struct {
	client      *client
	redirectURI string
	state       string
	hasState    bool
	challenge   string // PKCE S256
	resource    string
	scopes      []string
	hint        string // login_hint
}

// code is an authorization code, kept under its hash.
type code struct {
	request *authRequest
	grant   *grant
	expiry  time.Time
	used    bool
}

// serveAuthorize checks an authorization request and shows the sign-in page.
func (i *Issuer) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	c, err := i.findClient(r.Context(), q.Get("client_id"))
	if err != nil {
		i.showProblem(w, "This program is not known here", err.Description)
		return
	}
	req := &authRequest{client: c, redirectURI: q.Get("redirect_uri"), state: q.Get("state"), hasState: q.Has("state")}
	if req.redirectURI == "" && len(c.redirectURIs) == 1 {
		req.redirectURI = c.redirectURIs[0]
	}
	if !i.allowsRedirect(c, req.redirectURI) {
		// RFC 6749 §4.1.2.1: never send the browser to an address that is not the client's.
		i.showProblem(w, "This sign-in cannot go on", "The address to return to is not one the program registered.")
		return
	}
	if err := i.fill(req, q); err != nil {
		i.redirect(w, r, req, url.Values{"error": {err.Code}, "error_description": {err.Description}})
		return
	}
	id := random()
	i.mu.Lock()
	i.pending.put(id, req, pendingTTL)
	i.mu.Unlock()
	i.show(w, http.StatusOK, signInPage(i, id, req, ""))
}

// fill takes what may be answered by redirect from the query (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2).
func (i *Issuer) fill(req *authRequest, q url.Values) *oauthError {
	for name, values := range q {
		if len(values) > 1 && name != "resource" {
			return refuse("invalid_request", "%q is there twice", name)
		}
	}
	req.challenge, req.hint = q.Get("code_challenge"), q.Get("login_hint")
	digest, err := base64.RawURLEncoding.DecodeString(req.challenge)
	switch {
	case q.Get("response_type") != "code":
		return refuse("unsupported_response_type", "only response_type=code is supported")
	case q.Get("code_challenge_method") != "S256" || err != nil || len(digest) != 32:
		return refuse("invalid_request", "PKCE with S256 is required")
	case q.Get("prompt") == "none":
		return refuse("login_required", "the person has to sign in")
	}
	var problem *oauthError
	if req.resource, problem = resourceParameter(q); problem != nil {
		return problem
	}
	req.scopes = scopeList(q.Get("scope"))
	for _, s := range req.scopes {
		if _, known := i.cfg.Scopes[s]; i.cfg.Scopes != nil && !known && s != offlineAccess {
			return refuse("invalid_scope", "a scope is not known here")
		}
	}
	return nil
}

// resourceParameter takes the one resource: an absolute URI without fragment (RFC 8707 §2).
func resourceParameter(q url.Values) (string, *oauthError) {
	values := q["resource"]
	if len(values) == 0 {
		return "", nil
	}
	u, err := url.Parse(values[0])
	if len(values) > 1 || err != nil || !u.IsAbs() || u.Host == "" || strings.Contains(values[0], "#") {
		return "", refuse("invalid_target", "one resource is needed: an absolute URI without fragment")
	}
	return values[0], nil
}

func scopeList(s string) []string {
	scopes := strings.Fields(s)
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

// serveAnswer takes what the person answered on the sign-in page and sends the browser back to the client.
func (i *Issuer) serveAnswer(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("request")
	i.mu.Lock()
	req, ok := i.pending.get(id)
	i.mu.Unlock()
	if !ok {
		i.showProblem(w, "This sign-in is over", "It was answered before or took too long. Start again from the program.")
		return
	}
	if r.PostFormValue("answer") != "allow" {
		i.mu.Lock()
		i.pending.drop(id)
		i.mu.Unlock()
		i.redirect(w, r, req, url.Values{"error": {"access_denied"}, "error_description": {"The person did not allow it."}})
		return
	}
	account := strings.TrimSpace(r.PostFormValue("other")) // typing a name is a stronger wish than a preset choice
	if account == "" {
		account = r.PostFormValue("account")
	}
	if account == "" || !plainText(account) {
		i.show(w, http.StatusUnprocessableEntity, signInPage(i, id, req, "Choose an account, or type a name of up to 100 letters."))
		return
	}
	value := random()
	g := &grant{client: req.client.id, account: account, resource: req.resource, scopes: i.granted(req.scopes)}
	i.mu.Lock()
	_, still := i.pending.get(id) // a second press of the button gets no second code
	i.pending.drop(id)
	if still {
		i.codes.put(hash(value), &code{request: req, grant: g, expiry: time.Now().Add(codeTTL)}, codeMemory)
	}
	i.mu.Unlock()
	if !still {
		i.showProblem(w, "This sign-in is over", "It was answered before. Start again from the program.")
		return
	}
	i.redirect(w, r, req, url.Values{"code": {value}})
}

func (i *Issuer) granted(asked []string) []string {
	if i.cfg.Granted == nil {
		return asked
	}
	return i.cfg.Granted(slices.Clone(asked))
}

// redirect answers the client through the browser, with state and iss (RFC 9207 §2).
func (i *Issuer) redirect(w http.ResponseWriter, r *http.Request, req *authRequest, answer url.Values) {
	u, err := url.Parse(req.redirectURI)
	if err != nil { // it was matched against a registered one
		i.showProblem(w, "This sign-in cannot go on", "The address to return to is broken.")
		return
	}
	q := u.Query()
	for name, values := range answer {
		q[name] = values
	}
	if req.hasState {
		q.Set("state", req.state)
	}
	q.Set("iss", i.cfg.ID)
	u.RawQuery = q.Encode()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}
