package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/outbound"
	"github.com/valetkey/valetkey/peer"
)

var errUnused = errors.New("not in this test")

// backend is an app that has nothing but a gateway.
type backend struct{}

func (backend) Token(context.Context, *peer.Peer, localapi.TokenRequest) (*localapi.Token, error) {
	return nil, errUnused
}
func (backend) Explain(context.Context, *peer.Peer, localapi.TokenRequest) (*localapi.Explained, error) {
	return nil, errUnused
}
func (backend) SignIn(context.Context, *peer.Peer, localapi.SignInRequest) (*localapi.Grant, error) {
	return nil, errUnused
}
func (backend) Forget(context.Context, *peer.Peer, localapi.ForgetRequest) (*localapi.Forgotten, error) {
	return nil, errUnused
}
func (backend) Register(context.Context, *peer.Peer, localapi.RegistrationRequest) (*localapi.Registered, error) {
	return nil, errUnused
}
func (backend) Open(context.Context, *peer.Peer, localapi.OpenRequest) (*localapi.Opened, error) {
	return nil, errUnused
}
func (backend) Grants(context.Context, *peer.Peer) (*localapi.Grants, error) { return nil, errUnused }
func (backend) Status(context.Context) (*localapi.Status, error)             { return nil, errUnused }

var claude = peer.Host{Key: "exe:/usr/bin/claude", Base: "exe:/usr/bin/claude", Name: "claude", Level: peer.SystemPath, Instance: "1:1"}

// rig is a gateway behind a real socket, and a host in front of it.
type rig struct {
	t      testing.TB
	socket string
	host   *http.Client
	stop   func() // ends the app
}

// newRig starts an app. A cfg without HTTP has the real thing.
func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	if cfg.HTTP == nil {
		out := outbound.New(outbound.Config{UserAgent: "valetkey/test"})
		t.Cleanup(out.Close)
		cfg.HTTP = out.Stream
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(testLog{t}, nil))
	}
	dir, err := os.MkdirTemp("", "vk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, socket: filepath.Join(dir, "agent.sock")}
	door, err := localapi.Listen(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- localapi.Serve(ctx, door, localapi.ServerConfig{
			Backend: backend{}, MCP: New(cfg), Version: "test", Log: cfg.Log,
			Identify: func(net.Conn) (*peer.Peer, error) { return &peer.Peer{Host: claude}, nil },
		})
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		door.Close()
	})
	t.Cleanup(r.stop)
	transport := &http.Transport{DialContext: r.dial}
	t.Cleanup(transport.CloseIdleConnections)
	r.host = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return r
}

func (r *rig) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", r.socket)
}

// testLog is a log that fails the test: what is logged there is a mistake of the program.
type testLog struct{ t testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Errorf("logged: %s", line)
	return len(line), nil
}

// at is the address of a server as a host on the socket writes it.
func at(server string) string {
	path, err := localapi.MCPPath(server)
	if err != nil {
		panic(err)
	}
	return "http://localhost" + path
}

// do makes a request of the host and reads the answer whole.
func (r *rig) do(method, address, body string, header ...string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := r.host.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if all := fmt.Sprint(resp.Header, string(content)); strings.Contains(all, canary) {
		r.t.Errorf("the host was shown the token: %s", all)
	}
	return resp, string(content)
}

// raw sends one request, line by line, as no HTTP library would, and reads the answer.
func (r *rig) raw(lines ...string) (*http.Response, string) {
	r.t.Helper()
	conn, err := r.dial(r.t.Context(), "", "")
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

// answer is what the gateway says in place of a server.
type answer struct {
	ID    json.RawMessage
	Error struct {
		Code    int
		Message string
		Data    localapi.Error
	}
}

func (r *rig) read(content string) answer {
	r.t.Helper()
	var a answer
	if err := json.Unmarshal([]byte(content), &a); err != nil || a.Error.Message == "" {
		r.t.Fatalf("%v in %s", err, content)
	}
	return a
}

const canary = "c4nary.t0ken"

// tokens gives out canary-1, canary-2, … each time it is asked, and notes the requests.
type tokens struct {
	mu    sync.Mutex
	asked []localapi.TokenRequest
	scope string
	give  func(n int, req localapi.TokenRequest) (string, error) // nil: a new one each time
}

func (b *tokens) token(_ context.Context, _ *peer.Peer, req localapi.TokenRequest, _ func(error)) (*localapi.Token, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, req)
	text := fmt.Sprintf("%s-%d", canary, len(b.asked))
	if b.give != nil {
		var err error
		if text, err = b.give(len(b.asked), req); err != nil {
			return nil, err
		}
	}
	return &localapi.Token{AccessToken: secret.New(text), TokenType: "Bearer", Resource: req.Resource, Scope: b.scope}, nil
}

func (b *tokens) requests() []localapi.TokenRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

// server starts an MCP server on this computer.
func server(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/mcp"
}

func hostport(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return u.Host
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
