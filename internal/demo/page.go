package demo

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
)

//go:embed page.css
var pageCSS string

//go:embed page.html
var pageHTML string

var (
	pageTemplate = template.Must(template.New("page").Parse(pageHTML))

	// styleHash lets exactly our own style through the content security policy.
	styleHash = func() string {
		sum := sha256.Sum256([]byte(pageCSS))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}()
)

// page is what the template draws: a sign-in when Request is set, else a problem.
type page struct {
	Style   template.CSS
	Issuer  string // host of the issuer
	Heading string
	Problem string

	Action   string // where the form goes
	Request  string
	Client   string
	ClientID string
	Server   string // host of the resource
	Resource string
	Scopes   []pageScope
	Accounts []string
	Chosen   string
	ReturnTo string // host the browser comes back to
}

type pageScope struct{ Name, Text string }

func signInPage(i *Issuer, id string, req *authRequest, problem string) page {
	p := page{
		Heading: i.cfg.Name, Problem: problem,
		Action: i.base + AuthorizePath, Request: id,
		Client: req.client.name, ClientID: req.client.id,
		Resource: req.resource, Accounts: i.cfg.Accounts,
	}
	if p.Client == "" {
		p.Client = req.client.id
	}
	if u, err := url.Parse(req.resource); err == nil {
		p.Server = u.Host
	}
	if u, err := url.Parse(req.redirectURI); err == nil {
		p.ReturnTo = u.Host
	}
	for _, s := range req.scopes {
		text := i.cfg.Scopes[s]
		if s == offlineAccess && text == "" {
			text = "Stay signed in"
		}
		p.Scopes = append(p.Scopes, pageScope{s, text})
	}
	if req.hint != "" && plainText(req.hint) {
		p.Chosen = req.hint
		if !slices.Contains(p.Accounts, req.hint) {
			p.Accounts = append([]string{req.hint}, p.Accounts...)
		}
	} else if len(p.Accounts) > 0 {
		p.Chosen = p.Accounts[0]
	}
	return p
}

// showProblem tells the person what cannot be told to the client.
func (i *Issuer) showProblem(w http.ResponseWriter, heading, problem string) {
	i.show(w, http.StatusBadRequest, page{Heading: heading, Problem: problem})
}

func (i *Issuer) show(w http.ResponseWriter, status int, p page) {
	p.Style = template.CSS(pageCSS)
	if u, err := url.Parse(i.cfg.ID); err == nil {
		p.Issuer = u.Host + u.Path
	}
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, p); err != nil {
		http.Error(w, "the page cannot be drawn", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	// Browsers hold redirects after a form to form-action too, so it names where loopback and https clients are.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+styleHash+
		"; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self' http: https:")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // a reader that went away is no news
}
