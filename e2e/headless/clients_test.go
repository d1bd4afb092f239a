//go:build e2e && linux

package headless

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/localapi/mcpauth"
)

// TestHeadlessClients takes the clients we give to hosts, each in a host of its language, through the life of a token: a
// 401, a 403, the end of its time, the server's no to it, and the person's. The issuer is oidc-provider, the server and the
// host in Go are made with the Go SDK.
func TestHeadlessClients(t *testing.T) {
	t.Parallel()
	for name, newHost := range map[string]func(h *rig.Place, server string) clientHost{"Go": newGoHost, "Python": newPythonHost, "TypeScript": newTypeScriptHost} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := rig.New(t)
			issuer := h.Issuer("--access-ttl", "6")
			server := newRevoker(t, issuer.URL)
			person := rig.Program(t, "vkdemo") + " browser --yes --account alice"
			app := h.App("--policy", h.Write("policy.json", rig.Everyone), "--browser", person)
			use := newHost(h, server.url)
			works := func(tool, words string) {
				t.Helper()
				if answer := use(tool); !strings.Contains(answer.Text, words) {
					t.Fatalf("%s: %+v\n%s", tool, answer, app.Err.String())
				}
			}
			signIns := func(want int) {
				t.Helper()
				rig.Until(t, "the issuer tells of it", func() bool { return issuer.SignIns() >= want })
				if got := issuer.SignIns(); got != want {
					t.Errorf("%d sign-ins, want %d", got, want)
				}
			}
			works("whoami", "You are alice") // 401
			signIns(1)
			works("add_note", "You have 4 notes") // 403
			signIns(2)
			works("add_note", "You have 5 notes")

			// It runs out, and nobody is asked.
			time.Sleep(6 * time.Second)
			works("add_note", "You have 6 notes")
			rig.Until(t, "a refresh", func() bool { return len(issuer.Refreshes()) > 0 })
			renewed := len(issuer.Refreshes())
			signIns(2)

			// The server takes it back before its time.
			server.revoke()
			works("list_notes", "Water the tomatoes")
			rig.Until(t, "another refresh", func() bool { return len(issuer.Refreshes()) > renewed })
			if server.refused() != 1 {
				t.Errorf("refused %d times", server.refused())
			}
			signIns(2)

			// Valet Key is away, and then another one says no: the host can tell the person what is so and what to do.
			app.Process.Signal(syscall.SIGINT)
			app.Wait()
			time.Sleep(6 * time.Second) // so that a token held is of no use any more
			if answer := use("whoami"); answer.Code != "unavailable" || !strings.Contains(answer.Hint, "start") {
				t.Errorf("without Valet Key: %+v", answer)
			}
			h.App("--policy", h.Write("nobody.json", `{"consents": []}`))
			if answer := use("whoami"); answer.Code != "consent_denied" || !strings.Contains(answer.Message, "the policy file does not allow this") || answer.Hint == "" {
				t.Errorf("denied: %+v", answer)
			}
		})
	}
}

// revoker is the demo's server, which can also take a token back.
type revoker struct {
	url string

	mu      sync.Mutex
	last    string // Authorization of the newest request
	revoked string
	turned  int // requests turned down with revoked
}

func newRevoker(t testing.TB, issuer string) *revoker {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	s := &revoker{url: "http://" + web.Listener.Addr().String() + "/mcp"}
	server, err := demo.NewServer(demo.ServerConfig{Resource: s.url, Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.takes(r.Header.Get("Authorization")) {
			server.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="it was revoked"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	web.Start()
	t.Cleanup(web.Close)
	return s
}

func (s *revoker) takes(authorization string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if authorization == "" || authorization != s.revoked {
		s.last = authorization
		return true
	}
	s.turned++
	return false
}

// revoke makes the server refuse the token it saw last.
func (s *revoker) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = s.last
}

func (s *revoker) refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turned
}

// clientHost uses a tool of a server as a host does.
type clientHost func(tool string) clientAnswer

// clientAnswer is what a tool answered, or else an error: without a Code if it is not Valet Key's.
type clientAnswer struct{ Text, Code, Message, Hint string }

// goHost is this test, with the SDK's client.
type goHost struct {
	h       *rig.Place
	server  string
	session *mcp.ClientSession
}

func newGoHost(h *rig.Place, server string) clientHost { return (&goHost{h: h, server: server}).use }

func (g *goHost) use(tool string) clientAnswer {
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	text, err := g.call(ctx, tool)
	var said *localapi.Error
	switch {
	case errors.As(err, &said):
		return clientAnswer{Code: said.Code(), Message: said.Message, Hint: said.Hint}
	case err != nil:
		return clientAnswer{Message: err.Error()}
	}
	return clientAnswer{Text: text}
}

func (g *goHost) call(ctx context.Context, tool string) (string, error) {
	if g.session == nil {
		client := g.h.Client()
		transport := &http.Transport{}
		session, err := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, nil).Connect(ctx, &mcp.StreamableClientTransport{
			Endpoint: g.server, OAuthHandler: mcpauth.New(client, localapi.TokenRequest{Resource: g.server}),
			HTTPClient: &http.Client{Transport: transport}, DisableStandaloneSSE: true, MaxRetries: -1,
		}, nil)
		if err != nil {
			return "", err
		}
		g.session = session
		g.h.T.Cleanup(func() { session.Close(); transport.CloseIdleConnections(); client.Close() })
	}
	arguments := map[string]any{}
	if tool == "add_note" {
		arguments["text"] = "from Go"
	}
	answer, err := g.session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return "", err
	}
	return answer.Content[0].(*mcp.TextContent).Text, nil
}

// scriptHost is a program of testdata/clients, beside the client it uses.
type scriptHost struct {
	t    testing.TB
	in   io.Writer
	out  *bufio.Scanner
	host *rig.Process
}

func newPythonHost(h *rig.Place, server string) clientHost {
	return newScriptHost(h, "py", "python3", "-B", h.Path("host.py"), server)
}

func newTypeScriptHost(h *rig.Place, server string) clientHost {
	return newScriptHost(h, "ts", rig.Node(h.T), "--no-warnings", h.Path("host.ts"), server)
}

func newScriptHost(h *rig.Place, language string, run ...string) clientHost {
	h.T.Helper()
	for _, file := range []string{rig.Root(h.T, "docs", "clients", "valetkey."+language), filepath.Join("testdata", "clients", "host."+language)} {
		content, err := os.ReadFile(file)
		if err != nil {
			h.T.Fatal(err)
		}
		h.Write(filepath.Base(file), string(content))
	}
	cmd := h.Command(run[0], run[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		h.T.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		h.T.Fatal(err)
	}
	cmd.Stdout = w
	p := h.Run(cmd)
	w.Close()
	h.T.Cleanup(func() { r.Close() })
	return (&scriptHost{h.T, in, bufio.NewScanner(r), p}).use
}

func (s *scriptHost) use(tool string) (answer clientAnswer) {
	s.t.Helper()
	stop := time.AfterFunc(rig.Patience, s.host.Kill) // which ends its output
	defer stop.Stop()
	io.WriteString(s.in, tool+"\n")
	if !s.out.Scan() {
		s.t.Fatalf("the host has ended, or did not answer\n%s", s.host.Err.String())
	}
	if err := json.Unmarshal(s.out.Bytes(), &answer); err != nil {
		s.t.Fatal(err)
	}
	return answer
}
