//lint:file-ignore SA1019 servers of the older era ask hosts to sample, so that must pass

package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/broker"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/outbound"
)

// The tests in this file are whole: a host made with the SDK, the socket, the gateway, the broker, a real issuer, a
// browser, and servers made with the SDK, of both eras of the protocol.

const (
	oldEra    = "2025-11-25"
	modernEra = "2026-07-28"
)

// site is an issuer, a server that trusts it, and the person's app between that server and a host.
type site struct {
	*rig
	issuer   *demo.Issuer
	head     *broker.Broker
	resource string

	mu       sync.Mutex
	needs    map[string]string // by tool: a scope
	refused  map[string]bool   // tokens
	requests []string          // that had a good token: method and path
	naked    []string          // that carried a session and no token
	asked    []face.Question
	browsers int
	person   func(face.Question) face.Answer
	away     bool // the person does nothing in the browser
}

func newSite(t *testing.T, handler http.Handler) *site {
	s := &site{needs: map[string]string{}, refused: map[string]bool{}, person: allow}
	issuerAt, serverAt := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	id := "http://" + issuerAt.Listener.Addr().String()
	s.resource = "http://" + serverAt.Listener.Addr().String() + "/mcp"
	issuer, err := demo.NewIssuer(demo.IssuerConfig{ID: id, Accounts: []string{"alice"}})
	if err != nil {
		t.Fatal(err)
	}
	s.issuer, issuerAt.Config.Handler = issuer, issuer
	mux := http.NewServeMux()
	mux.HandleFunc(demo.ResourcePath+"/mcp", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"resource": s.resource, "authorization_servers": []string{id}, "scopes_supported": []string{"read", "write"}})
	})
	mux.Handle("/mcp", s.door(handler))
	serverAt.Config.Handler = mux
	issuerAt.Start()
	serverAt.Start()
	t.Cleanup(issuerAt.Close)
	t.Cleanup(serverAt.Close)

	out := outbound.New(outbound.Config{})
	t.Cleanup(out.Close)
	head, err := broker.Open(t.Context(), broker.Config{
		Store: keystore.NewMemory(), Discovery: discovery.New(discovery.Config{HTTP: out.For}), Log: logTo(io.Discard),
		Flow: func(onPage func(oauthflow.Request, oauthflow.Page)) *oauthflow.Flow {
			return oauthflow.New(oauthflow.Config{HTTP: out.For, OnPage: onPage, ClientName: "Valet Key", Open: s.browse})
		},
		Ask: func(_ context.Context, q face.Question) (face.Answer, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked = append(s.asked, q)
			return s.person(q), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(head.Close)
	s.head = head
	s.rig = newRig(t, Config{Token: head.Forward, HTTP: out.Stream})
	return s
}

// browse is the person at the browser.
func (s *site) browse(ctx context.Context, address string) error {
	s.mu.Lock()
	s.browsers++
	away := s.away
	s.mu.Unlock()
	if away {
		return nil
	}
	transport := &http.Transport{DisableKeepAlives: true}
	go func() {
		b := demo.Browser{Transport: transport, Answer: func(_ context.Context, page *demo.Page) (url.Values, error) {
			if page.Status >= 400 {
				return nil, errors.New(strings.Join(page.Lines, " "))
			}
			values := page.Form.Values
			values.Set("account", "alice")
			values.Set("answer", "allow")
			return values, nil
		}}
		if _, err := b.Open(context.WithoutCancel(ctx), address); err != nil {
			s.t.Errorf("the browser: %v", err)
		}
	}()
	return nil
}

// door lets requests with a good token pass.
func (s *site) door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		var m struct {
			Method string
			Params struct{ Name string }
		}
		json.Unmarshal(body, &m)
		token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		access, ok := s.issuer.Inspect(token)
		s.mu.Lock()
		need, bad := s.needs[m.Params.Name], s.refused[token]
		good := ok && !bad && access.Audience == s.resource
		narrow := need != "" && !slices.Contains(access.Scopes, need)
		switch {
		case good && !narrow:
			s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+m.Method))
		case !found && r.Header.Get("Mcp-Session-Id") != "":
			s.naked = append(s.naked, r.Method+" "+m.Method)
		}
		s.mu.Unlock()
		challenge := fmt.Sprintf(`Bearer resource_metadata="%s%s/mcp"`, strings.TrimSuffix(s.resource, "/mcp"), demo.ResourcePath)
		switch {
		case !good:
			w.Header().Set("WWW-Authenticate", challenge+`, scope="read"`)
			w.WriteHeader(http.StatusUnauthorized)
		case narrow:
			w.Header().Set("WWW-Authenticate", challenge+fmt.Sprintf(`, error="insufficient_scope", scope=%q`, need))
			w.WriteHeader(http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// refuse makes the server turn down the token of r from now on.
func (s *site) refuse(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] = true
}

func (s *site) counts() (questions, browsers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked), s.browsers
}

func (s *site) connect(version string, opts *mcp.ClientOptions) *mcp.ClientSession {
	s.t.Helper()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, opts).Connect(s.t.Context(),
		&mcp.StreamableClientTransport{Endpoint: at(s.resource), HTTPClient: s.host, MaxRetries: -1}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { session.Close() })
	if got := session.InitializeResult().ProtocolVersion; got != version {
		s.t.Fatalf("they speak %s, not %s", got, version)
	}
	return session
}

// call calls a tool and returns the text of its answer.
func (s *site) call(session *mcp.ClientSession, tool string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	answer, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: map[string]any{}})
	if err != nil {
		return "", err
	}
	text := answer.Content[0].(*mcp.TextContent).Text
	if answer.IsError {
		return "", errors.New(text)
	}
	return text, nil
}

func (s *site) mustCall(session *mcp.ClientSession, tool, want string) {
	s.t.Helper()
	if text, err := s.call(session, tool); err != nil || text != want {
		s.t.Fatalf("%s: %q, %v; want %q", tool, text, err, want)
	}
}

type none struct{}

func said(text string) (*mcp.CallToolResult, any, error) {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
}

// tools is a server with a tool that answers, one that needs more scopes, and one that asks the host back.
func tools() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "read"}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
		return said("read it")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "write"}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
		return said("wrote it")
	})
	mcp.AddTool(s, &mcp.Tool{Name: "think"}, func(ctx context.Context, req *mcp.CallToolRequest, _ none) (*mcp.CallToolResult, any, error) {
		thought, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 9, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "think"}}}})
		if err != nil {
			return nil, nil, err
		}
		return said("the host thinks " + thought.Content.(*mcp.TextContent).Text)
	})
	return s
}

func handler(stateless bool) http.Handler {
	s := tools()
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: stateless})
}

// TestEras: hosts and servers of each era, from the first question to the end of the session.
func TestEras(t *testing.T) {
	for _, version := range []string{oldEra, modernEra} {
		t.Run(version, func(t *testing.T) {
			s := newSite(t, handler(version == modernEra))
			session := s.connect(version, nil)
			s.mustCall(session, "read", "read it")
			if questions, browsers := s.counts(); questions != 1 || browsers != 1 {
				t.Errorf("%d questions, %d browsers", questions, browsers)
			}

			// More scopes in the middle of a session: asked once, and the call succeeds.
			s.mu.Lock()
			s.needs["write"] = "write"
			s.mu.Unlock()
			s.mustCall(session, "write", "wrote it")
			s.mustCall(session, "write", "wrote it")
			if q := s.asked[len(s.asked)-1]; q.Reason != "tools/call write" {
				t.Errorf("the person was shown %+v", q)
			}

			list, err := session.ListTools(t.Context(), nil)
			if err != nil || len(list.Tools) != 3 {
				t.Errorf("%v, %v", list, err)
			}
			session.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.naked) > 0 {
				t.Errorf("without a token: %q", s.naked)
			}
			if old := slices.Contains(s.requests, "DELETE") && slices.Contains(s.requests, "POST notifications/initialized"); old != (version == oldEra) {
				t.Errorf("the server saw %q", s.requests)
			}
		})
	}
}

// TestServerAsksBack: a request of the server to the host, in the middle of a call, over the stream.
func TestServerAsksBack(t *testing.T) {
	s := newSite(t, handler(false))
	session := s.connect(oldEra, &mcp.ClientOptions{CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
		return &mcp.CreateMessageResult{Role: "assistant", Model: "m", Content: &mcp.TextContent{Text: "so"}}, nil
	}})
	s.mustCall(session, "think", "the host thinks so")
	var wait sync.WaitGroup
	for range 10 { // at once, interleaved
		wait.Go(func() {
			if text, err := s.call(session, "think"); err != nil || text != "the host thinks so" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	wait.Wait()
}

// TestSessionOutlivesItsToken: a token that is turned down in the middle of a session costs one refresh and nothing else.
func TestSessionOutlivesItsToken(t *testing.T) {
	for _, version := range []string{oldEra, modernEra} {
		t.Run(version, func(t *testing.T) {
			inner := handler(version == modernEra)
			var s *site
			var turned sync.Once
			s = newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				if bytes.Contains(body, []byte(`"read"`)) {
					turned.Do(func() { s.refuse(r) }) // from the next request on
				}
				inner.ServeHTTP(w, r)
			}))
			session := s.connect(version, nil)
			s.mustCall(session, "read", "read it")
			s.mustCall(session, "read", "read it")
			if questions, browsers := s.counts(); questions != 1 || browsers != 1 {
				t.Errorf("%d questions, %d browsers", questions, browsers)
			}
		})
	}
}

// TestNoInTheMiddle: the person's No is an answer to that call, with its reason, and not the end of the session.
func TestNoInTheMiddle(t *testing.T) {
	for _, version := range []string{oldEra, modernEra} {
		t.Run(version, func(t *testing.T) {
			s := newSite(t, handler(version == modernEra))
			session := s.connect(version, nil)
			s.mu.Lock()
			s.needs["write"] = "write"
			s.person = func(face.Question) face.Answer { return face.Answer{Answered: true} }
			s.mu.Unlock()
			if _, err := s.call(session, "write"); err == nil || !strings.Contains(err.Error(), "Valet Key: the person said no") {
				t.Errorf("write: %v", err)
			}
			s.mustCall(session, "read", "read it")
		})
	}
}

// TestNoAtTheBeginning: a host that is not let in says so in the words of Valet Key.
func TestNoAtTheBeginning(t *testing.T) {
	for _, version := range []string{oldEra, modernEra} {
		t.Run(version, func(t *testing.T) {
			s := newSite(t, handler(version == modernEra))
			s.person = func(face.Question) face.Answer { return face.Answer{Answered: true} }
			_, err := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, nil).Connect(t.Context(),
				&mcp.StreamableClientTransport{Endpoint: at(s.resource), HTTPClient: s.host, MaxRetries: -1}, &mcp.ClientSessionOptions{ProtocolVersion: version})
			if err == nil || !strings.Contains(err.Error(), "Valet Key: the person said no") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestStreamAsksNobody: a host opens its stream by itself, again and again; only what it sends is a reason to ask.
func TestStreamAsksNobody(t *testing.T) {
	s := newSite(t, handler(false))
	for _, method := range []string{"GET", "DELETE"} {
		resp, body := s.do(method, at(s.resource), "", "Accept", "text/event-stream")
		if resp.StatusCode != http.StatusForbidden || resp.Header.Get(localapi.HeaderError) != "sign_in_required" || !strings.Contains(body, "send a message first") {
			t.Errorf("%s: %d %s", method, resp.StatusCode, body)
		}
	}
	if questions, browsers := s.counts(); questions+browsers > 0 {
		t.Fatalf("%d questions, %d browsers before the first message", questions, browsers)
	}
	session := s.connect(oldEra, nil)
	s.mustCall(session, "read", "read it")
	if questions, browsers := s.counts(); questions != 1 || browsers != 1 {
		t.Errorf("%d questions, %d browsers", questions, browsers)
	}

	// More scopes for the stream alone are not asked for either.
	s.mu.Lock()
	s.needs[""] = "write"
	s.mu.Unlock()
	resp, body := s.do("GET", at(s.resource), "", "Accept", "text/event-stream", "Mcp-Session-Id", session.ID())
	if resp.StatusCode != http.StatusForbidden || resp.Header.Get(localapi.HeaderError) != "consent_required" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if questions, _ := s.counts(); questions != 1 {
		t.Errorf("%d questions", questions)
	}
}

// TestServerWithoutSignIn: Valet Key adds nothing, and nobody signs in; but the person is asked about the host.
func TestServerWithoutSignIn(t *testing.T) {
	for _, version := range []string{oldEra, modernEra} {
		t.Run(version, func(t *testing.T) {
			s := newSite(t, handler(version == modernEra))
			inner := handler(version == modernEra)
			open := server(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					t.Errorf("%s has a token", r.Method)
				}
				inner.ServeHTTP(w, r)
			})
			s.resource = open
			s.mustCall(s.connect(version, nil), "read", "read it")
			if questions, browsers := s.counts(); questions != 1 || browsers != 0 {
				t.Errorf("%d questions, %d browsers", questions, browsers)
			}
		})
	}
}

// TestNoToAServerWithoutSignIn: nothing of a host's goes there that the person did not allow.
func TestNoToAServerWithoutSignIn(t *testing.T) {
	s := newSite(t, handler(true))
	s.person = func(face.Question) face.Answer { return face.Answer{Answered: true} }
	open := server(t, func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); bytes.Contains(body, []byte("tools/call")) {
			t.Error("the host's message arrived")
		}
		if r.Method != http.MethodPost {
			http.NotFound(w, r)
		}
	})
	resp, body := s.do("POST", at(open), call, "Content-Type", "application/json")
	if resp.Header.Get(localapi.HeaderError) != "consent_denied" || !strings.Contains(s.read(body).Error.Message, "the person said no") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestManyHostsAtOnce: fifty sessions, each with its stream, over one app.
func TestManyHostsAtOnce(t *testing.T) {
	s := newSite(t, handler(false))
	s.mustCall(s.connect(oldEra, nil), "read", "read it")
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			session, err := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, nil).Connect(t.Context(),
				&mcp.StreamableClientTransport{Endpoint: at(s.resource), HTTPClient: s.host, MaxRetries: -1}, &mcp.ClientSessionOptions{ProtocolVersion: oldEra})
			if err != nil {
				t.Error(err)
				return
			}
			defer session.Close()
			for range 3 {
				if text, err := s.call(session, "read"); err != nil || text != "read it" {
					t.Errorf("%q, %v", text, err)
				}
			}
		})
	}
	wait.Wait()
	if questions, browsers := s.counts(); questions != 1 || browsers != 1 {
		t.Errorf("%d questions, %d browsers", questions, browsers)
	}
}
