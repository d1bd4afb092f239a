package mcpauth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/localapi/mcpauth"
	"github.com/valetkey/valetkey/peer"
)

var _ auth.OAuthHandler = (*mcpauth.Handler)(nil)

// app stands where Valet Key stands, behind a real socket: its answers are the test's.
type app struct {
	localapi.Backend
	addr   string
	client *localapi.Client

	mu    sync.Mutex
	asked []localapi.TokenRequest
	reply func(ctx context.Context, req localapi.TokenRequest) (*localapi.Token, error)
}

func (a *app) Token(ctx context.Context, _ *peer.Peer, req localapi.TokenRequest) (*localapi.Token, error) {
	a.mu.Lock()
	a.asked = append(a.asked, req)
	reply := a.reply
	a.mu.Unlock()
	return reply(ctx, req)
}

// requests returns what was asked since the last time.
func (a *app) requests() []localapi.TokenRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}

// serve runs an app that answers as reply does until stop is called.
func serve(reply func(context.Context, localapi.TokenRequest) (*localapi.Token, error)) (a *app, stop func()) {
	dir, err := os.MkdirTemp("", "vk")
	if err != nil {
		panic(err)
	}
	addr := filepath.Join(dir, "run", "agent.sock")
	listener, err := localapi.Listen(addr)
	if err != nil {
		panic(err)
	}
	a = &app{addr: addr, client: localapi.NewClient(addr), reply: reply}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- localapi.Serve(ctx, listener, localapi.ServerConfig{
			Backend: a, Version: "test", Identify: func(net.Conn) (*peer.Peer, error) { return &peer.Peer{}, nil },
		})
	}()
	return a, func() {
		a.client.Close()
		cancel()
		<-served
		listener.Close()
		os.RemoveAll(dir)
	}
}

func newApp(t *testing.T, reply func(context.Context, localapi.TokenRequest) (*localapi.Token, error)) *app {
	a, stop := serve(reply)
	t.Cleanup(stop)
	return a
}

func token(value, scope string, life time.Duration) *localapi.Token {
	return &localapi.Token{AccessToken: secret.New(value), TokenType: "Bearer", Scope: scope, Account: "work", ExpiresAt: time.Now().Add(life)}
}

const (
	noToken   = `Bearer resource_metadata="https://mcp.example.com/meta", scope="read"`
	badToken  = `Bearer error="invalid_token"`
	tooLittle = `Bearer error="insufficient_scope", scope="write"`
)

// newServer is an MCP server made with the SDK. It takes the tokens "read…" and "write…" that are not revoked; the tool
// write needs one of the latter, and never is forbidden to all.
func newServer(revoked *sync.Map) *httptest.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	for _, tool := range []string{"read", "write", "never"} {
		mcp.AddTool(server, &mcp.Tool{Name: tool}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: tool + " done"}}}, nil, nil
		})
	}
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		_, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		_, gone := revoked.Load(bearer)
		refuse := func(status int, challenge string) {
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(status)
		}
		switch calls := func(tool string) bool { return bytes.Contains(body, []byte(`"name":"`+tool+`"`)) }; {
		case bearer == "":
			refuse(http.StatusUnauthorized, noToken)
		case gone || !strings.HasPrefix(bearer, "read") && !strings.HasPrefix(bearer, "write"):
			refuse(http.StatusUnauthorized, badToken)
		case calls("write") && !strings.HasPrefix(bearer, "write"):
			refuse(http.StatusForbidden, tooLittle)
		case calls("never"):
			refuse(http.StatusForbidden, `Bearer error="access_denied"`)
		default:
			handler.ServeHTTP(w, r)
		}
	}))
}

// connect is a host with one line for Valet Key.
func connect(t *testing.T, a *app, server string) (*mcp.ClientSession, error) {
	session, err := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: server, OAuthHandler: mcpauth.New(a.client, localapi.TokenRequest{Resource: server, Reason: "to test", Account: "work"}),
		DisableStandaloneSSE: true, MaxRetries: -1,
	}, nil)
	if err == nil {
		t.Cleanup(func() { session.Close() })
	}
	return session, err
}

func use(t *testing.T, session *mcp.ClientSession, tool string) (string, error) {
	answer, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: map[string]any{}})
	if err != nil {
		return "", err
	}
	return answer.Content[0].(*mcp.TextContent).Text, nil
}

// TestSession is the SDK's client through a 401, a 403 and a token that the server no longer takes.
func TestSession(t *testing.T) {
	var revoked sync.Map
	site := newServer(&revoked)
	t.Cleanup(site.Close)
	a := newApp(t, func(_ context.Context, req localapi.TokenRequest) (*localapi.Token, error) {
		if req.Resource != site.URL || req.Reason != "to test" || req.Account != "work" {
			t.Errorf("asked for %+v", req)
		}
		switch {
		case req.Interaction == localapi.InteractionNone:
			return nil, localapi.Errorf(localapi.ErrConsentRequired, "nobody was asked")
		case slices.Equal(req.Challenges, []string{tooLittle}):
			return token("write-1", "read write", time.Hour), nil
		case slices.Equal(req.Challenges, []string{badToken}):
			return token("write-2", "read write", time.Hour), nil
		}
		return token("read-1", "read", time.Hour), nil
	})
	session, err := connect(t, a, site.URL)
	if err != nil {
		t.Fatal(err)
	}
	// Looked for quietly, then the challenge was passed on: the first one names the scopes.
	asked := a.requests()
	if len(asked) != 2 || asked[0].Interaction != localapi.InteractionNone || asked[1].Interaction != "" ||
		!slices.Equal(asked[1].Challenges, []string{noToken}) || asked[1].Refused != "" {
		t.Errorf("asked %+v", asked)
	}
	for range 3 {
		if text, err := use(t, session, "read"); text != "read done" {
			t.Errorf("read: %q, %v", text, err)
		}
	}
	if asked := a.requests(); len(asked) != 0 {
		t.Errorf("a good token was not kept: %+v", asked)
	}

	for _, step := range []struct{ tool, refused, challenge string }{
		{"write", "read-1", tooLittle}, {"read", "write-1", badToken}, {"write", "", ""},
	} {
		if step.challenge == badToken {
			revoked.Store(step.refused, true)
		}
		if text, err := use(t, session, step.tool); text != step.tool+" done" {
			t.Errorf("%s: %q, %v", step.tool, text, err)
		}
		switch asked := a.requests(); {
		case step.challenge == "" && len(asked) > 0:
			t.Errorf("asked for no reason: %+v", asked)
		case step.challenge != "" && (len(asked) != 1 || asked[0].Refused != secret.New(step.refused).SHA256() || asked[0].Challenges[0] != step.challenge):
			t.Errorf("after %s: asked %+v", step.challenge, asked)
		}
	}
	if _, err := use(t, session, "never"); !errors.Is(err, mcpauth.ErrForbidden) || len(a.requests()) != 0 {
		t.Errorf("a plain 403: %v", err)
	}
	if text, err := use(t, session, "read"); text != "read done" {
		t.Errorf("after a 403: %q, %v", text, err)
	}
}

// TestDenied: what the app says comes through the SDK, and the person is not asked again because the SDK tries an older
// protocol.
func TestDenied(t *testing.T) {
	site := newServer(new(sync.Map))
	t.Cleanup(site.Close)
	a := newApp(t, func(_ context.Context, req localapi.TokenRequest) (*localapi.Token, error) {
		if req.Interaction == localapi.InteractionNone {
			return nil, localapi.Errorf(localapi.ErrSignInRequired, "nobody signed in yet")
		}
		return nil, localapi.Errorf(localapi.ErrConsentDenied, "the person said no").WithHint("ask them")
	})
	_, err := connect(t, a, site.URL)
	var said *localapi.Error
	if !errors.Is(err, localapi.ErrConsentDenied) || !errors.As(err, &said) || said.Hint != "ask them" {
		t.Errorf("connected with %v", err)
	}
	if asked := a.requests(); len(asked) != 2 || asked[0].Interaction != localapi.InteractionNone || asked[1].Interaction != "" {
		t.Errorf("asked %+v, want once quietly and the person once", asked)
	}
}

// TestErrors: each error of the socket is the sentinel again, from every method that can fail.
func TestErrors(t *testing.T) {
	for _, want := range []error{localapi.ErrLocked, localapi.ErrConsentDenied, localapi.ErrIssuer, localapi.ErrAudience, localapi.ErrUnavailable} {
		a := newApp(t, func(context.Context, localapi.TokenRequest) (*localapi.Token, error) {
			return nil, localapi.Errorf(want, "no")
		})
		h := mcpauth.New(a.client, localapi.TokenRequest{Resource: "https://mcp.example.com/mcp"})
		if _, err := h.Source(t.Context()).Token(); !errors.Is(err, want) {
			t.Errorf("Token: %v, want %v", err, want)
		}
		if err := refuse(t, h, "", http.StatusUnauthorized, noToken); !errors.Is(err, want) {
			t.Errorf("Authorize: %v, want %v", err, want)
		}
		if source, err := h.TokenSource(t.Context()); source != nil || err != nil {
			t.Errorf("TokenSource: %v, %v; want none", source, err)
		}
	}
	nobody := mcpauth.New(localapi.NewClient(filepath.Join(t.TempDir(), "agent.sock")), localapi.TokenRequest{Resource: "https://mcp.example.com/mcp"})
	if _, err := nobody.Source(t.Context()).Token(); !errors.Is(err, localapi.ErrNotRunning) {
		t.Errorf("without an app: %v", err)
	}
	t.Setenv("VK_SOCK", "relative")
	if _, err := mcpauth.New(nil, localapi.TokenRequest{Resource: "https://mcp.example.com/mcp"}).Source(t.Context()).Token(); !errors.Is(err, localapi.ErrBadRequest) {
		t.Errorf("without an address: %v", err)
	}
}

// refuse tells h that the server answered a request with a token.
func refuse(t *testing.T, h *mcpauth.Handler, sent string, status int, challenges ...string) error {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, "https://mcp.example.com/mcp", nil)
	if sent != "" {
		req.Header.Set("Authorization", "Bearer "+sent)
	}
	body := &closed{Reader: strings.NewReader("no")}
	err := h.Authorize(t.Context(), req, &http.Response{StatusCode: status, Header: http.Header{"Www-Authenticate": challenges}, Body: body})
	if !body.is {
		t.Error("the body was left open")
	}
	return err
}

type closed struct {
	io.Reader
	is bool
}

func (c *closed) Close() error { c.is = true; return nil }

// TestRefusals: what the app is told of each refusal, and what becomes of the token.
func TestRefusals(t *testing.T) {
	n := 0
	a := newApp(t, func(context.Context, localapi.TokenRequest) (*localapi.Token, error) {
		n++
		return token(fmt.Sprintf("token-%d", n), "read", time.Hour), nil
	})
	h := mcpauth.New(a.client, localapi.TokenRequest{Resource: "https://mcp.example.com/mcp", Scopes: []string{"read"}})
	source := h.Source(t.Context())
	now := func() string {
		t.Helper()
		got, err := source.Token()
		if err != nil {
			t.Fatal(err)
		}
		return got.AccessToken
	}
	for range 2 {
		if got := now(); got != "token-1" {
			t.Errorf("got %q", got)
		}
	}
	if asked := a.requests(); len(asked) != 1 {
		t.Errorf("the first token is not kept: asked %+v", asked)
	}
	two := []string{badToken, `DPoP algs="ES256"`}
	if err := refuse(t, h, "token-1", http.StatusUnauthorized, two...); err != nil {
		t.Fatal(err)
	}
	asked := a.requests()
	if len(asked) != 1 || !slices.Equal(asked[0].Challenges, two) || asked[0].Refused != secret.New("token-1").SHA256() || !slices.Equal(asked[0].Scopes, []string{"read"}) {
		t.Errorf("asked %+v", asked)
	}
	if now() != "token-2" {
		t.Error("the refused token is still there")
	}
	// Another request had been sent with the first token: there is a newer one already.
	if err := refuse(t, h, "token-1", http.StatusUnauthorized, badToken); err != nil || len(a.requests()) != 0 || now() != "token-2" {
		t.Errorf("a late refusal: %v", err)
	}
	// Too narrow: the app is asked whoever comes first, for it knows the scopes.
	if err := refuse(t, h, "token-1", http.StatusForbidden, tooLittle); err != nil || len(a.requests()) != 1 || now() != "token-3" {
		t.Errorf("a step-up: %v", err)
	}
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
		if err := refuse(t, h, "token-3", status, badToken); !errors.Is(err, mcpauth.ErrForbidden) || len(a.requests()) != 0 {
			t.Errorf("%d without a wish for scopes: %v", status, err)
		}
	}
}

// TestHopeless: the same token again is not sent again.
func TestHopeless(t *testing.T) {
	a := newApp(t, func(context.Context, localapi.TokenRequest) (*localapi.Token, error) {
		return token("same", "read", time.Hour), nil
	})
	h := mcpauth.New(a.client, localapi.TokenRequest{Resource: "https://mcp.example.com/mcp"})
	if err := refuse(t, h, "same", http.StatusUnauthorized, badToken); !errors.Is(err, localapi.ErrSignInRequired) {
		t.Errorf("refused: %v", err)
	}
	if err := refuse(t, h, "same", http.StatusForbidden, tooLittle); !errors.Is(err, localapi.ErrConsentDenied) || !strings.Contains(err.Error(), "mcp.example.com wants") {
		t.Errorf("too narrow: %v", err)
	}
}

// TestTogether: many requests that are refused at once are one question, and each can give up by itself.
func TestTogether(t *testing.T) {
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	a := newApp(t, func(context.Context, localapi.TokenRequest) (*localapi.Token, error) {
		asked <- struct{}{}
		<-answer
		return token("token", "read", time.Hour), nil
	})
	h := mcpauth.New(a.client, localapi.TokenRequest{Resource: "https://mcp.example.com/mcp"})
	var hosts sync.WaitGroup
	for range 20 {
		hosts.Go(func() {
			if err := refuse(t, h, "", http.StatusUnauthorized, noToken); err != nil {
				t.Error(err)
			}
		})
		hosts.Go(func() {
			if got, err := h.Source(t.Context()).Token(); err != nil || got.AccessToken != "token" {
				t.Error(got, err)
			}
		})
	}
	<-asked
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Source(gone).Token(); !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	close(answer)
	hosts.Wait()
	if extra := len(a.requests()) - 1; extra != 0 {
		t.Errorf("asked %d times too often", extra)
	}
}
