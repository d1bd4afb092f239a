//go:build e2e && linux

package e2e

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
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/internal/demo"
)

// issuer is peers/issuer.mjs: oidc-provider, which tells what happens.
type issuer struct {
	url    string
	ready  chan struct{}
	secret string // of the client that was registered beforehand, if it has one

	mu     sync.Mutex
	events []event
}

// event is one line of the issuer.
type event struct {
	Event, Issuer string
	Kind, Value   string // of a secret
	GrantType     string `json:"grant_type"`
	OK            bool
	Error, Scope  string
	Hint          string // of what was revoked
	ClientID      string `json:"client_id"`
	RefreshToken  string `json:"refresh_token"`
	TokenType     string `json:"token_type"`
	at            time.Time
}

// newIssuer starts an issuer beside the desktop; its arguments are those of peers/issuer.mjs.
func (d *desktop) newIssuer(args ...string) *issuer {
	d.t.Helper()
	i := startIssuer(d.t, d.command, func(cmd *exec.Cmd) func() string { return d.run(cmd).said }, args)
	d.watch.issuers = append(d.watch.issuers, i)
	return i
}

// newIssuerWith starts an issuer whose environment has more in it.
func (h *headless) newIssuerWith(env []string, args ...string) *issuer {
	h.t.Helper()
	command := func(name string, args ...string) *exec.Cmd {
		cmd := h.command(name, args...)
		cmd.Env = append(cmd.Env, env...)
		return cmd
	}
	return startIssuer(h.t, command, func(cmd *exec.Cmd) func() string { return h.run(cmd).err.String }, args)
}

// startIssuer starts an issuer as a place has its programs: by its command, and its run, which returns what the program
// says of its errors.
func startIssuer(t testing.TB, command func(name string, args ...string) *exec.Cmd, run func(*exec.Cmd) func() string, args []string) *issuer {
	t.Helper()
	cmd := command(node(t), append([]string{peer(t, "issuer.mjs")}, args...)...)
	if _, err := cmd.StdinPipe(); err != nil { // open as long as the issuer is to run
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	i := &issuer{ready: make(chan struct{})}
	said := run(cmd)
	w.Close()
	go i.listen(r)
	select {
	case <-i.ready:
	case <-time.After(patience):
		t.Fatalf("the issuer did not start\n%s", said())
	}
	return i
}

func (i *issuer) listen(r io.ReadCloser) {
	defer r.Close()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		e := event{at: time.Now()}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		i.mu.Lock()
		i.events = append(i.events, e)
		i.mu.Unlock()
		if e.Event == "ready" {
			i.url = e.Issuer
			close(i.ready)
		}
	}
}

// happened are the events so far that match.
func (i *issuer) happened(match func(event) bool) (found []event) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, e := range i.events {
		if match(e) {
			found = append(found, e)
		}
	}
	return found
}

func (i *issuer) registrations() int {
	return len(i.happened(func(e event) bool { return e.Event == "registration" }))
}

func (i *issuer) signIns() int {
	return len(i.happened(func(e event) bool { return e.Event == "token" && e.GrantType == "authorization_code" && e.OK }))
}

// refreshes are the answers to a refresh, good and bad.
func (i *issuer) refreshes() []event {
	return i.happened(func(e event) bool { return e.Event == "token" && e.GrantType == "refresh_token" })
}

// refreshToken is the newest one and the client it belongs to.
func (i *issuer) refreshToken(t testing.TB) event {
	t.Helper()
	all := i.happened(func(e event) bool { return e.Event == "token" && e.RefreshToken != "" })
	if len(all) == 0 {
		t.Fatal("the issuer issued no refresh token")
	}
	return all[len(all)-1]
}

// redeem uses a refresh token as a thief would, and returns the issuer's error code.
func (i *issuer) redeem(t testing.TB, from event) string {
	t.Helper()
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {from.RefreshToken}, "client_id": {from.ClientID}}
	req, err := http.NewRequest(http.MethodPost, i.url+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if i.secret != "" {
		req.SetBasicAuth(url.QueryEscape(from.ClientID), url.QueryEscape(i.secret))
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

// mcpServer is an MCP server that trusts an issuer.
type mcpServer struct {
	t   testing.TB
	url string
}

func newMCPServer(t testing.TB, i *issuer) *mcpServer { return newGuarded(t, i, nil) }

// newGuarded puts a server, nil for the demo's own, behind a door that trusts an issuer.
func newGuarded(t testing.TB, i *issuer, behind http.Handler) *mcpServer {
	t.Helper()
	return serveMCP(t, listenHere(t), demo.ServerConfig{Issuer: i.url, MCP: behind})
}

// listenHere takes a free port of this computer.
func listenHere(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// serverURL is that of the MCP server on a listener.
func serverURL(listener net.Listener) string { return "http://" + listener.Addr().String() + "/mcp" }

// serveMCP runs an MCP server on a listener, which gives it its resource.
func serveMCP(t testing.TB, listener net.Listener, cfg demo.ServerConfig) *mcpServer {
	t.Helper()
	s := &mcpServer{t: t, url: serverURL(listener)}
	cfg.Resource = s.url
	handler, err := demo.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
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

// callTool calls the server's tool with a token, as a host would.
func (s *mcpServer) callTool(token string) {
	s.t.Helper()
	if token == "" || strings.ContainsAny(token, " \n") {
		s.t.Fatalf("this is no token: %d bytes", len(token))
	}
	if err := callWith(s.url, token, "list_notes", map[string]any{}); err != nil {
		s.t.Fatal(err)
	}
}

// callWith calls a tool of the MCP server at url with a token, without Valet Key.
func callWith(url, token, tool string, arguments map[string]any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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
