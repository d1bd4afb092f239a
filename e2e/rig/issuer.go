//go:build linux

package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/internal/demo"
)

// Issuer is peers/issuer.mjs: oidc-provider, which tells what happens.
type Issuer struct {
	URL    string
	ready  chan struct{}
	Secret string // of the client that was registered beforehand, if it has one

	mu     sync.Mutex
	events []Event
}

// Event is one line of the issuer.
type Event struct {
	Event, Issuer string
	Kind, Value   string // of a secret
	GrantType     string `json:"grant_type"`
	OK            bool
	Error, Scope  string
	Hint          string    // of what was revoked
	ClientID      string    `json:"client_id"`
	RefreshToken  string    `json:"refresh_token"`
	TokenType     string    `json:"token_type"`
	At            time.Time `json:"-"`
}

// Issuer starts an issuer; its arguments are those of peers/issuer.mjs.
func (p *Place) Issuer(args ...string) *Issuer {
	p.T.Helper()
	return p.IssuerWith(nil, args...)
}

// IssuerWith starts an issuer whose environment has more in it.
func (p *Place) IssuerWith(env []string, args ...string) *Issuer {
	p.T.Helper()
	cmd := p.Command(Node(p.T), append([]string{Peer(p.T, "issuer.mjs")}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	if _, err := cmd.StdinPipe(); err != nil { // open as long as the issuer is to run
		p.T.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		p.T.Fatal(err)
	}
	cmd.Stdout = w
	i := &Issuer{ready: make(chan struct{})}
	node := p.Run(cmd)
	w.Close()
	go i.listen(r)
	select {
	case <-i.ready:
	case <-time.After(Patience):
		p.T.Fatalf("the issuer did not start\n%s", node.Err.String())
	}
	p.Watch.issuers = append(p.Watch.issuers, i)
	return i
}

func (i *Issuer) listen(r io.ReadCloser) {
	defer r.Close()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		e := Event{At: time.Now()}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		i.mu.Lock()
		i.events = append(i.events, e)
		i.mu.Unlock()
		if e.Event == "ready" {
			i.URL = e.Issuer
			close(i.ready)
		}
	}
}

// Happened are the events so far that match: all that the issuer has told when it is called are among them.
func (i *Issuer) Happened(match func(Event) bool) (found []Event) {
	i.hear()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, e := range i.events {
		if match(e) {
			found = append(found, e)
		}
	}
	return found
}

// hear returns when all has been read that the issuer has told so far; at once where it has ended.
func (i *Issuer) hear() {
	told := func() (n int) {
		i.mu.Lock()
		defer i.mu.Unlock()
		for _, e := range i.events {
			if e.Event == "told" {
				n++
			}
		}
		return n
	}
	before := told()
	client := &http.Client{Timeout: Patience}
	defer client.CloseIdleConnections()
	resp, err := client.Get(i.URL + "/told")
	if err != nil {
		return
	}
	resp.Body.Close()
	for end := time.Now().Add(Patience); told() == before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// Registrations is how many clients registered.
func (i *Issuer) Registrations() int {
	return len(i.Happened(func(e Event) bool { return e.Event == "registration" }))
}

// SignIns is how often a code was exchanged.
func (i *Issuer) SignIns() int {
	return len(i.Happened(func(e Event) bool { return e.Event == "token" && e.GrantType == "authorization_code" && e.OK }))
}

// Refreshes are the answers to a refresh, good and bad.
func (i *Issuer) Refreshes() []Event {
	return i.Happened(func(e Event) bool { return e.Event == "token" && e.GrantType == "refresh_token" })
}

// RefreshToken is the newest one and the client it belongs to.
func (i *Issuer) RefreshToken(t testing.TB) Event {
	t.Helper()
	all := i.Happened(func(e Event) bool { return e.Event == "token" && e.RefreshToken != "" })
	if len(all) == 0 {
		t.Fatal("the issuer issued no refresh token")
	}
	return all[len(all)-1]
}

// Redeem uses a refresh token as a thief would, and returns the issuer's error code.
func (i *Issuer) Redeem(t testing.TB, from Event) string {
	t.Helper()
	client := &http.Client{Timeout: Patience}
	defer client.CloseIdleConnections()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {from.RefreshToken}, "client_id": {from.ClientID}}
	req, err := http.NewRequest(http.MethodPost, i.URL+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if i.Secret != "" {
		req.SetBasicAuth(url.QueryEscape(from.ClientID), url.QueryEscape(i.Secret))
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Error string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Error
}

// Server is an MCP server that trusts an issuer.
type Server struct {
	t   testing.TB
	URL string
}

func NewServer(t testing.TB, i *Issuer) *Server { return Guarded(t, i, nil) }

// Guarded puts a server, nil for the demo's own, behind a door that trusts an issuer.
func Guarded(t testing.TB, i *Issuer, behind http.Handler) *Server {
	t.Helper()
	return Serve(t, Listen(t), demo.ServerConfig{Issuer: i.URL, MCP: behind})
}

// Listen takes a free port of this computer.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// ServerURL is that of the MCP server on a listener.
func ServerURL(listener net.Listener) string { return "http://" + listener.Addr().String() + "/mcp" }

// Serve runs an MCP server on a listener, which gives it its resource.
func Serve(t testing.TB, listener net.Listener, cfg demo.ServerConfig) *Server {
	t.Helper()
	s := &Server{t: t, URL: ServerURL(listener)}
	cfg.Resource = s.URL
	handler, err := demo.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: Patience}
	go web.Serve(listener)
	t.Cleanup(func() { web.Close() })
	return s
}

// bearing adds a token to each request.
type bearing struct {
	http.Transport
	token string
}

// RoundTrip implements http.RoundTripper.
func (b *bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.Transport.RoundTrip(r)
}

// CallTool calls the server's tool with a token, as a host would.
func (s *Server) CallTool(token string) {
	s.t.Helper()
	if token == "" || strings.ContainsAny(token, " \n") {
		s.t.Fatalf("this is no token: %d bytes", len(token))
	}
	if err := CallWith(s.URL, token, "list_notes", map[string]any{}); err != nil {
		s.t.Fatal(err)
	}
}

// CallWith calls a tool of the MCP server at url with a token, without Valet Key.
func CallWith(url, token, tool string, arguments map[string]any) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	carrier := &bearing{token: token}
	defer carrier.CloseIdleConnections()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: url, HTTPClient: &http.Client{Transport: carrier}, DisableStandaloneSSE: true, MaxRetries: -1,
	}, nil)
	if err != nil {
		return fmt.Errorf("the server does not take the token: %w", err)
	}
	defer session.Close()
	answer, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err == nil && answer.IsError {
		err = fmt.Errorf("it answered with an error: %v", answer.Content)
	}
	if err != nil {
		return fmt.Errorf("the tool %s does not answer: %w", tool, err)
	}
	return nil
}

// Opener is a command for --browser, and hands over the pages that Valet Key opens with it.
func (p *Place) Opener() (command string, pages <-chan string) {
	p.T.Helper()
	fifo := p.Path("pages")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		p.T.Fatal(err)
	}
	handed, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		p.T.Fatal(err)
	}
	p.T.Cleanup(func() { handed.Close() })
	heard := make(chan string, 16)
	go func() {
		for lines := bufio.NewScanner(handed); lines.Scan(); {
			heard <- lines.Text()
		}
	}()
	return "sh " + p.WriteMode("open-page", "#!/bin/sh\nprintf '%s\\n' \"$1\" >\"$(dirname \"$0\")/pages\"\n", 0o700), heard
}

// FreePort is a port of this computer that was free a moment ago, for programs that must be told theirs.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
