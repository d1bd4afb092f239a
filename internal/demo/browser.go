package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

const (
	maxPage  = 1 << 20 // bytes of a page
	maxSteps = 10      // pages and redirects of one visit
)

// Page is what a text browser sees of a web page.
type Page struct {
	URL    string
	Status int
	Title  string
	Lines  []string // the text, a line per block
	Form   *Form    // the first form; nil when there is none
}

// Form is a form to fill in.
type Form struct {
	action  string // absolute
	method  string // "GET" or "POST"
	Values  url.Values
	Choices map[string][]string // of radio buttons, by name
	Texts   map[string]string   // what to type, by name: the label
	Buttons []Button
}

// Button is one way to submit a form.
type Button struct{ Name, Value, Text string }

// Browser is a web browser without a display. Cookies live as long as one visit; scripts do not run.
type Browser struct {
	Transport http.RoundTripper // required

	// Answer is shown each page that has a form and returns the values to submit; page.Form.Values holds what the
	// page has filled in already. An error ends the visit.
	Answer func(ctx context.Context, page *Page) (url.Values, error)
}

// Open visits a page, follows redirects, answers forms, and returns the first page without one.
func (b *Browser) Open(ctx context.Context, address string) (*Page, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: b.Transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // followed, and counted, by Open
	}}
	method, form := http.MethodGet, url.Values(nil)
	for range maxSteps {
		page, next, err := load(ctx, client, method, address, form)
		if err != nil {
			return nil, err
		}
		if next != "" {
			method, address, form = http.MethodGet, next, nil
			continue
		}
		if page.Form == nil {
			return page, nil
		}
		if form, err = b.Answer(ctx, page); err != nil {
			return page, err
		}
		method, address = page.Form.method, page.Form.action
		if method == http.MethodGet {
			address, _, _ = strings.Cut(address, "?")
			address, form = address+"?"+form.Encode(), nil
		}
	}
	return nil, errors.New("the site sends the browser in circles")
}

// load does one request: either a page or the address of the next one.
func load(ctx context.Context, client *http.Client, method, address string, form url.Values) (*Page, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if urlErr := (*url.Error)(nil); errors.As(err, &urlErr) {
		return nil, "", fmt.Errorf("open %s: %w", req.URL.Host, urlErr.Err) // the whole URL holds codes and states
	}
	if err != nil {
		return nil, "", fmt.Errorf("open %s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		next, err := req.URL.Parse(resp.Header.Get("Location"))
		if err != nil || next.Scheme != "https" && next.Scheme != "http" {
			return nil, "", errors.New("the site redirects to something that is no web address")
		}
		return nil, next.String(), nil
	}
	page, err := parsePage(io.LimitReader(resp.Body, maxPage), req.URL)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", req.URL.Host, err)
	}
	page.Status = resp.StatusCode
	return page, "", nil
}

func parsePage(r io.Reader, at *url.URL) (*Page, error) {
	root, err := html.Parse(r)
	if err != nil {
		return nil, err
	}
	p := &reader{page: &Page{URL: at.String()}, at: at}
	p.walk(root)
	p.endLine()
	return p.page, nil
}

// reader walks a page's tree and collects its text and its first form.
type reader struct {
	page *Page
	at   *url.URL
	line strings.Builder
	in   *Form // the form the walk is inside of
}

func (p *reader) walk(n *html.Node) {
	switch {
	case n.Type == html.TextNode:
		p.line.WriteString(n.Data)
		return
	case n.DataAtom == atom.Title:
		p.page.Title = words(text(n))
		return
	case n.DataAtom == atom.Style, n.DataAtom == atom.Script, attr(n, "aria-hidden") == "true":
		return
	case n.DataAtom == atom.Button:
		if p.in != nil {
			p.in.Buttons = append(p.in.Buttons, Button{attr(n, "name"), attr(n, "value"), words(text(n))})
		}
		return
	case n.DataAtom == atom.Input:
		p.input(n)
		return
	case n.DataAtom == atom.Form && p.page.Form == nil:
		p.in = newForm(n, p.at)
		p.page.Form = p.in
		defer func() { p.in = nil }()
	}
	if isBlock(n.DataAtom) {
		p.endLine()
		defer p.endLine()
	}
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		p.walk(child)
	}
}

func newForm(n *html.Node, at *url.URL) *Form {
	f := &Form{action: at.String(), method: http.MethodGet, Values: url.Values{}, Choices: map[string][]string{}, Texts: map[string]string{}}
	if action, err := at.Parse(attr(n, "action")); err == nil {
		f.action = action.String()
	}
	if strings.EqualFold(attr(n, "method"), http.MethodPost) {
		f.method = http.MethodPost
	}
	return f
}

func (p *reader) input(n *html.Node) {
	name, value := attr(n, "name"), attr(n, "value")
	switch kind := attr(n, "type"); {
	case p.in == nil:
	case kind == "submit":
		p.in.Buttons = append(p.in.Buttons, Button{name, value, value})
	case kind == "radio":
		p.in.Choices[name] = append(p.in.Choices[name], value)
		if has(n, "checked") {
			p.in.Values.Set(name, value)
		}
	case kind == "checkbox" && !has(n, "checked"):
	case kind == "hidden", kind == "checkbox":
		p.in.Values.Add(name, value)
	default:
		p.in.Texts[name] = attr(n, "aria-label")
		if p.in.Texts[name] == "" {
			p.in.Texts[name] = name
		}
		p.in.Values.Set(name, value)
	}
}

func (p *reader) endLine() {
	if line := words(p.line.String()); line != "" {
		p.page.Lines = append(p.page.Lines, line)
	}
	p.line.Reset()
}

func isBlock(a atom.Atom) bool {
	switch a {
	case atom.P, atom.Div, atom.H1, atom.H2, atom.H3, atom.Li, atom.Ul, atom.Form, atom.Fieldset, atom.Legend, atom.Label,
		atom.Section, atom.Header, atom.Main, atom.Body, atom.Tr, atom.Br:
		return true
	}
	return false
}

func text(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		b.WriteString(text(child))
	}
	return b.String()
}

// words joins words by single spaces and leaves out what could play tricks on a terminal.
func words(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.C, r) {
			return -1
		}
		return r
	}, s)
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}
