//lint:file-ignore SA1019 The old era, with sampling, is what is tested here.

package bridge

import (
	"context"
	"encoding/json"
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
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/gateway"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

const realToken = "a-token-that-only-the-gateway-has"

// realServer is an MCP server of the Go SDK, with everything a server can do to a host.
func realServer(versions ...string) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "real", Version: "1"}, &mcp.ServerOptions{
		SupportedProtocolVersions: versions, Instructions: "Be kind.", SubscribeHandler: func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	var release chan struct{}
	if c := letGo.Load(); c != nil {
		release = *c
	}
	said := func(text string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
	}
	schema := json.RawMessage(`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"}}}`)
	s.AddTool(&mcp.Tool{Name: "echo", InputSchema: schema}, func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return said(string(r.Params.Arguments)), nil
	})
	s.AddTool(&mcp.Tool{Name: "work", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i := range 3 {
			r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i)})
		}
		return said("worked"), nil
	})
	s.AddTool(&mcp.Tool{Name: "ask", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if len(r.Params.InputResponses) == 0 { // the SDK makes requests of these for hosts of before 2026-07-28
			return &mcp.CallToolResult{RequestState: "s1", InputRequests: mcp.InputRequestMap{
				"who":   &mcp.ElicitParams{Message: "Who?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}},
				"think": &mcp.CreateMessageParams{MaxTokens: 5, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "?"}}}},
				"where": &mcp.ListRootsParams{},
			}}, nil
		}
		who, _ := r.Params.InputResponses["who"].(*mcp.ElicitResult)
		where, _ := r.Params.InputResponses["where"].(*mcp.ListRootsResult)
		thought, _ := json.Marshal(r.Params.InputResponses["think"])
		return said(fmt.Sprint(who.Content["name"], " ", where.Roots[0].URI, " ", strings.Contains(string(thought), "a thought"), " ", r.Params.RequestState)), nil
	})
	s.AddTool(&mcp.Tool{Name: "slow", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken()})
		select {
		case <-ctx.Done():
			if release == nil {
				ended.Do(ctx)
			}
		case <-release:
		}
		return nil, ctx.Err()
	})
	s.AddTool(&mcp.Tool{Name: "grow", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		s.AddTool(&mcp.Tool{Name: "grown", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return said(""), nil })
		return said("grew"), nil
	})
	s.AddTool(&mcp.Tool{Name: "touch", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return said("touched"), s.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: "a://1"})
	})
	s.AddResource(&mcp.Resource{URI: "a://1", Name: "one"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "a://1", Text: "text of a"}}}, nil
	})
	s.AddPrompt(&mcp.Prompt{Name: "p"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "prompt"}}}}, nil
	})
	return s
}

// letGo is closed at the end of a test, for calls that a server of the SDK does not end when their host is gone.
var letGo atomic.Pointer[chan struct{}]

// ended hears of a call that the server gave up.
var ended = &once{c: make(chan struct{}, 100)}

type once struct{ c chan struct{} }

func (o *once) Do(context.Context) { o.c <- struct{}{} }

// realServers are the servers of both eras, and of both at once.
func realServers() map[string]http.Handler {
	handler := func(o *mcp.StreamableHTTPOptions, versions ...string) http.Handler {
		s := realServer(versions...)
		return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, o)
	}
	newest := handler(&mcp.StreamableHTTPOptions{Stateless: true, PropagateRequestCancellation: true}, "2026-07-28")
	return map[string]http.Handler{
		"sessions":           handler(nil),
		"sessions, resuming": handler(&mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)}),
		"HTTP with SSE":      mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return realServer() }, nil),
		"sessions, JSON":     handler(&mcp.StreamableHTTPOptions{JSONResponse: true}),
		"2026-07-28, polite": newest,
		"2026-07-28": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// The SDK's server agrees to an initialize it cannot serve; a server may refuse it, as the specification has it.
			body, _ := io.ReadAll(r.Body)
			if m, _ := parseOne(body); m.method == "initialize" {
				request{r, m, w}.refuse(400, "application/json", `{"jsonrpc":"2.0","id":`+string(m.id)+`,"error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28"],"requested":"2025-11-25"}}}`)
				return
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			newest.ServeHTTP(w, r)
		}),
	}
}

// behindGateway makes the client that reaches server through the socket and the gateway, and its address there.
func behindGateway(t *testing.T, server *httptest.Server) (*http.Client, string) {
	t.Helper()
	a := newApp(t, server)
	a.start(t)
	return a.client(t), a.url
}

// testApp is what of the app stands between a bridge and a server: socket and gateway.
type testApp struct {
	server      *httptest.Server
	socket, url string
	stop        func()

	mu        sync.Mutex
	withdrawn []func(error) // of the requests so far
}

func newApp(t *testing.T, server *httptest.Server) *testApp {
	t.Helper()
	dir, err := os.MkdirTemp("", "vk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path, err := localapi.MCPPath(server.URL + "/mcp")
	if err != nil {
		t.Fatal(err)
	}
	return &testApp{server: server, socket: filepath.Join(dir, "agent.sock"), url: "http://valetkey" + path, stop: func() {}}
}

// start runs the app until stop is called; then it can be started again.
func (a *testApp) start(t *testing.T) {
	t.Helper()
	ln, err := localapi.Listen(a.socket)
	if err != nil {
		t.Fatal(err)
	}
	gate := gateway.New(gateway.Config{
		Token: func(_ context.Context, _ *peer.Peer, r localapi.TokenRequest, withdrawn func(error)) (*localapi.Token, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.withdrawn = append(a.withdrawn, withdrawn)
			return &localapi.Token{AccessToken: secret.New(realToken), TokenType: "Bearer", Resource: r.Resource}, nil
		},
		HTTP: func(context.Context, string) (*http.Client, error) { return a.server.Client(), nil },
	})
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- localapi.Serve(ctx, ln, localapi.ServerConfig{Backend: noBackend{}, MCP: gate, Identify: func(net.Conn) (*peer.Peer, error) { return &peer.Peer{}, nil }})
	}()
	a.stop = sync.OnceFunc(func() { stop(); <-served; ln.Close() })
	t.Cleanup(a.stop)
}

// takeBack is the person who takes back what they allowed.
func (a *testApp) takeBack(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, withdrawn := range a.withdrawn {
		withdrawn(err)
	}
}

// client is how a bridge reaches the app.
func (a *testApp) client(t *testing.T) *http.Client {
	c := localapi.NewClient(a.socket)
	t.Cleanup(c.Close)
	return c.HTTP()
}

type noBackend struct{ localapi.Backend }

// realHost is a host made with the Go SDK.
type realHost struct {
	*mcp.ClientSession
	progress, tools, resources chan string
}

// connect runs a bridge to server and connects a host of a version to it; "" is the newest.
func connect(t *testing.T, client *http.Client, url, version string) realHost {
	t.Helper()
	in, hostIn := io.Pipe()
	hostOut, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- New(Config{Client: client, URL: url}).Run(context.Background(), in, out); out.Close() }()
	h := realHost{progress: make(chan string, 10), tools: make(chan string, 10), resources: make(chan string, 10)}
	host := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ada"}}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "a thought"}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			h.progress <- fmt.Sprint(r.Params.ProgressToken, " ", r.Params.Progress)
		},
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { h.tools <- "changed" },
		ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { h.resources <- r.Params.URI },
	})
	host.AddRoots(&mcp.Root{URI: "file:///root"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	session, err := host.Connect(ctx, &mcp.IOTransport{Reader: hostOut, Writer: hostIn}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() {
		session.Close()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the bridge: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the bridge does not end")
		}
	})
	h.ClientSession = session
	return h
}

func (h realHost) call(t *testing.T, name string, arguments map[string]any, meta mcp.Meta) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	result, err := h.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments, Meta: meta})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return result.Content[0].(*mcp.TextContent).Text
}

func heard(t *testing.T, c chan string, want string) {
	t.Helper()
	select {
	case got := <-c:
		if got != want {
			t.Errorf("heard %s, want %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("heard nothing of %s", want)
	}
}

// TestRealParts: hosts of each version use servers of each era, straight and through the gateway.
func TestRealParts(t *testing.T) {
	for _, via := range []string{"plain", "gateway"} {
		for name, handler := range realServers() {
			guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if via == "gateway" && r.Header.Get("Authorization") != "Bearer "+realToken {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				handler.ServeHTTP(w, r)
			})
			server := httptest.NewServer(guarded)
			t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
			client, url := server.Client(), server.URL+"/mcp"
			if via == "gateway" {
				client, url = behindGateway(t, server)
			}
			for _, version := range []string{"2025-06-18", "2025-11-25", "2026-07-28"} {
				t.Run(via+"/"+name+"/"+version, func(t *testing.T) {
					useEverything(t, connect(t, client, url, version), name, version)
				})
			}
		}
	}
}

func useEverything(t *testing.T, h realHost, server, version string) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if got := h.InitializeResult(); got.Instructions != "Be kind." || got.ServerInfo.Name != "real" {
		t.Errorf("connected to %+v", got)
	}
	tools, err := h.ListTools(ctx, nil)
	if err != nil || !slices.ContainsFunc(tools.Tools, func(t *mcp.Tool) bool { return t.Name == "echo" }) {
		t.Fatalf("tools: %v, %v", tools, err)
	}
	if got := h.call(t, "echo", map[string]any{"region": "é", "n": 42}, nil); got != `{"n":42,"region":"é"}` {
		t.Errorf("echo: %s", got)
	}
	if got := h.call(t, "ask", nil, nil); got != "Ada file:///root true s1" {
		t.Errorf("ask: %s", got)
	}
	if read, err := h.ReadResource(ctx, &mcp.ReadResourceParams{URI: "a://1"}); err != nil || read.Contents[0].Text != "text of a" {
		t.Errorf("resource: %v, %v", read, err)
	}
	if prompt, err := h.GetPrompt(ctx, &mcp.GetPromptParams{Name: "p"}); err != nil || len(prompt.Messages) != 1 {
		t.Errorf("prompt: %v, %v", prompt, err)
	}
	if _, err := h.CallTool(ctx, &mcp.CallToolParams{Name: "unknown"}); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("an unknown tool: %v", err)
	}
	if version < modernVersion {
		if err := h.Ping(ctx, nil); err != nil {
			t.Errorf("ping: %v", err)
		}
	}
	if server == "sessions, JSON" { // it has no stream for what follows
		return
	}
	h.call(t, "work", nil, mcp.Meta{"progressToken": "w"})
	for _, want := range []string{"w 0", "w 1", "w 2"} {
		heard(t, h.progress, want)
	}
	h.call(t, "grow", nil, nil)
	heard(t, h.tools, "changed")
	if err := h.Subscribe(ctx, &mcp.SubscribeParams{URI: "a://1"}); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	for touched := false; !touched; { // the SDK's host does not wait until it is subscribed
		h.call(t, "touch", nil, nil)
		select {
		case got := <-h.resources:
			touched = got == "a://1"
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("nothing was heard of a resource that changed")
		}
	}
	cancelled, giveUp := context.WithCancel(ctx)
	gaveUp := make(chan error, 1)
	go func() {
		_, err := h.CallTool(cancelled, &mcp.CallToolParams{Name: "slow", Meta: mcp.Meta{"progressToken": "s"}})
		gaveUp <- err
	}()
	heard(t, h.progress, "s 0")
	giveUp()
	if err := <-gaveUp; err == nil {
		t.Error("a call that was given up was answered")
	}
	select {
	case <-ended.c:
	case <-time.After(10 * time.Second):
		t.Error("the server was not told that a call was given up")
	}
}
