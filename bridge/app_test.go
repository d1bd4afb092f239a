package bridge

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/localapi"
)

// serverOf starts the real server of a name behind an app that is not running yet.
func serverOf(t *testing.T, name string) *testApp {
	t.Helper()
	over := make(chan struct{})
	letGo.Store(&over)
	server := httptest.NewServer(realServers()[name])
	t.Cleanup(func() { close(over); letGo.Store(nil); server.CloseClientConnections(); server.Close() })
	return newApp(t, server)
}

// slowCall begins a call that never ends by itself, and returns its error once it has one.
func (h realHost) slowCall(t *testing.T) <-chan error {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		_, err := h.CallTool(context.WithoutCancel(t.Context()), &mcp.CallToolParams{Name: "slow", Meta: mcp.Meta{"progressToken": "s"}})
		failed <- err
	}()
	heard(t, h.progress, "s 0")
	return failed
}

func endsWith(t *testing.T, failed <-chan error, says string) {
	t.Helper()
	select {
	case err := <-failed:
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the call ended with %v, want %s", err, says)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the call goes on")
	}
}

var everyEra = map[string][]string{"sessions": {"2025-11-25"}, "HTTP with SSE": {"2025-11-25"}, "2026-07-28": {"2025-11-25", "2026-07-28"}}

// TestAppStartsAgain: an app that is stopped in the middle of a call costs that call, and no other: what the host asks
// once it runs again is answered, without a new beginning of the host's.
func TestAppStartsAgain(t *testing.T) {
	for server, versions := range everyEra {
		for _, version := range versions {
			t.Run(server+"/"+version, func(t *testing.T) {
				a := serverOf(t, server)
				a.start(t)
				h := connect(t, a.client(t), a.url, version)
				h.call(t, "echo", map[string]any{"n": 1}, nil)
				failed := h.slowCall(t)
				a.stop()
				endsWith(t, failed, "did what was asked is not known")
				a.start(t)
				for n := range 3 {
					if got := h.call(t, "echo", map[string]any{"n": n}, nil); got != fmt.Sprintf(`{"n":%d}`, n) {
						t.Errorf("call %d: %s", n, got)
					}
				}
				if got := h.call(t, "ask", nil, nil); got != "Ada file:///root true s1" {
					t.Errorf("ask: %s", got)
				}
			})
		}
	}
}

// TestTakenBack: when the person takes back what they allowed, the host is told so in place of its answer.
func TestTakenBack(t *testing.T) {
	for server, versions := range everyEra {
		for _, version := range versions {
			t.Run(server+"/"+version, func(t *testing.T) {
				a := serverOf(t, server)
				a.start(t)
				h := connect(t, a.client(t), a.url, version)
				failed := h.slowCall(t)
				a.takeBack(localapi.Errorf(localapi.ErrConsentDenied, "the person took back the consent").WithHint("ask again"))
				says := "the person took back the consent; ask again; whether 127.0.0.1"
				if server == "HTTP with SSE" { // once the call has been taken, only the stream could say why
					says = "did what was asked is not known"
				}
				endsWith(t, failed, says)
			})
		}
	}
}

// TestTakenBackOnResume: a stream that cannot be taken up again because the app refuses it says why.
func TestTakenBackOnResume(t *testing.T) {
	h := start(t, serve(func(r request) string {
		if r.Method == http.MethodGet {
			r.w.Header().Set("Valetkey-Error", "consent_required")
			return r.refuse(403, "application/json", `{"jsonrpc":"2.0","error":{"code":-31403,"message":"Valet Key: m; h","data":{"code":"consent_required","message":"claude was not allowed to use it yet","hint":"h"}}}`)
		}
		return r.events("id: 1\nretry: 1\ndata:")
	}))
	h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
	h.hear(`{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"claude was not allowed to use it yet, so the rest of the answer cannot be had: whether it did what was asked is not known"}}`)
}

// TestTwoHosts: two bridges at once are two sessions, and neither hears what is the other's.
func TestTwoHosts(t *testing.T) {
	for server, versions := range everyEra {
		t.Run(server, func(t *testing.T) {
			a := serverOf(t, server)
			a.start(t)
			hosts := []realHost{connect(t, a.client(t), a.url, versions[0]), connect(t, a.client(t), a.url, versions[len(versions)-1])}
			var wait sync.WaitGroup
			for i, h := range hosts {
				for j := range 20 {
					wait.Go(func() {
						want := fmt.Sprintf(`{"n":%d}`, 100*i+j)
						result, err := h.CallTool(t.Context(), &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"n": 100*i + j}})
						if err != nil || result.Content[0].(*mcp.TextContent).Text != want {
							t.Errorf("host %d: %v, %v, want %s", i, result, err, want)
						}
					})
				}
			}
			wait.Wait()
			hosts[0].call(t, "work", nil, mcp.Meta{"progressToken": "w"})
			for _, want := range []string{"w 0", "w 1", "w 2"} {
				heard(t, hosts[0].progress, want)
			}
			hosts[0].Close()
			if got := hosts[1].call(t, "ask", nil, nil); got != "Ada file:///root true s1" || len(hosts[1].progress) > 0 {
				t.Errorf("the other host got %s, and %d notifications", got, len(hosts[1].progress))
			}
		})
	}
}

// TestLargeThroughGateway: 10 MB pass in both directions through bridge, socket and gateway, over JSON and a stream.
func TestLargeThroughGateway(t *testing.T) {
	big := `"` + strings.Repeat("0123456789", 1<<20) + `"`
	server := httptest.NewServer(serve(func(r request) string {
		if r.method == "stream" {
			return r.events("data: " + r.result(string(r.params)))
		}
		return r.result(string(r.params))
	}))
	t.Cleanup(server.Close)
	a := newApp(t, server)
	a.start(t)
	h := startWith(t, a.client(t), func(c *Config) { c.URL = a.url })
	for _, method := range []string{"json", "stream"} {
		h.say(`{"jsonrpc":"2.0","id":1,"method":"%s","params":[%s]}`, method, big)
		if got := h.hear("…"); got != `{"jsonrpc":"2.0","id":1,"result":[`+big+`]}` {
			t.Errorf("%s: %d bytes came back: %.100s", method, len(got), got)
		}
	}
}
