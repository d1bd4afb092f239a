package oauthflow

import (
	"bytes"
	"crypto/rand"
	"html/template"
	"net/http"
	"net/url"
	"strconv"

	"github.com/valetkey/valetkey/assets"
	"github.com/valetkey/valetkey/internal/untrusted"
)

const maxName = 80 // runes of a server's own name

var pageTemplate = template.Must(template.New("callback").Parse(assets.CallbackPage))

// pageKind is which of the few pages the browser ends on.
type pageKind int

const (
	pageDone pageKind = iota
	pageDenied
	pageMismatch
	pageFailed
	pageAgain   // a second sign-in page was opened
	pageWorking // the exchange takes long
	pageTaken   // the sign-in has its answer already
	pageStray   // no sign-in waits for this
)

// page is what assets.CallbackPage is filled with. Nothing in it comes from the request.
type page struct {
	Tone       string // "good", "bad", "calm": colour and sign
	Title      string
	Text       string
	ServerName string // the server's own word; "" when it gave none
	ServerHost string
	IssuerHost string
	Nonce      string

	status int
}

// newPage fills in who it is about.
func newPage(req Request) page {
	p := page{ServerHost: hostOf(req.Server), IssuerHost: hostOf(req.Issuer.ID)}
	if name := untrusted.Text(req.ServerName, maxName); name != p.ServerHost {
		p.ServerName = name
	}
	return p
}

// of is p with the words of one outcome.
func (p page) of(kind pageKind) page {
	server, issuer := p.ServerHost, p.IssuerHost
	const calm = "You can close this tab."
	p.status = http.StatusOK
	switch kind {
	case pageDone:
		p.Tone, p.Title = "good", "You are signed in"
		p.Text = "Valet Key can now get tokens for " + server + ". It asks you before a program may use them. " + calm
	case pageDenied:
		p.Tone, p.Title = "calm", "Not signed in"
		p.Text = issuer + " says that access to " + server + " was declined. Nothing was kept. " + calm
	case pageMismatch:
		p.Tone, p.Title = "bad", "This answer was not accepted"
		p.Text = "This answer did not come from " + issuer + ", where the sign-in was started. Nothing was accepted, and you are not signed in."
	case pageAgain:
		p.Tone, p.Title = "calm", "One more time"
		p.Text = issuer + " no longer knew this app. Valet Key has registered again and opens a new sign-in page. " + calm
	case pageWorking:
		p.Tone, p.Title = "calm", "Almost there"
		p.Text = issuer + " takes long to confirm the sign-in. Valet Key shows how it ends. " + calm
	case pageTaken:
		p.Tone, p.Title = "calm", "This sign-in is over"
		p.Text = "It was answered already, or ended before this answer came. Valet Key shows how it stands. " + calm
	case pageStray:
		p = page{Tone: "calm", Title: "No sign-in waits for this", status: http.StatusBadRequest}
		p.Text = "This address belongs to a sign-in that is over, or to none. Nothing was accepted. " + calm
	default:
		p.Tone, p.Title = "bad", "The sign-in did not work"
		p.Text = issuer + " did not complete it, so you are not signed in to " + server + ". Valet Key shows why, and you can try again there."
	}
	return p
}

// write sends the page. It loads nothing, runs nothing, is not stored and names itself to nobody.
func (p page) write(w http.ResponseWriter) {
	p.Nonce = rand.Text()
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, p); err != nil {
		http.Error(w, p.Title, http.StatusInternalServerError)
		return
	}
	harden(w.Header())
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+p.Nonce+"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.WriteHeader(p.status)
	w.Write(body.Bytes())
}

// turnAway answers what is not for us at all.
func turnAway(w http.ResponseWriter) {
	harden(w.Header())
	http.Error(w, "not found", http.StatusNotFound)
}

func harden(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// hostOf is the host of a URL, with its port.
func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return untrusted.Text(rawURL, maxName)
	}
	return untrusted.Text(u.Host, maxName)
}
