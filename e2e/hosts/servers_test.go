//go:build e2e && linux

//lint:file-ignore SA1019 The old era, with sampling, is what is tested here.

package hosts

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/e2e/rig"
)

// toolCall is one call of a tool, and what must come of it.
type toolCall struct {
	Tool  string         `json:"tool"`
	Args  map[string]any `json:"args,omitempty"`
	Form  map[string]any `json:"form,omitempty"` // what the person fills in when the server asks
	text  string         // that the answer must contain
	asked []string       // what the server asks of the host meanwhile
}

// hostedServer is an MCP server that the hosts use.
type hostedServer struct {
	name, url string
	simple    toolCall   // that every host can make
	asking    []toolCall // that ask something of the host before they answer
}

const (
	elicitation = "elicitation/create"
	sampling    = "sampling/createMessage"
)

var (
	textSchema = json.RawMessage(`{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}`)
	noSchema   = json.RawMessage(`{"type":"object"}`)
	nameForm   = map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}, "required": []string{"name"}}
	thought    = &mcp.CreateMessageParams{MaxTokens: 5, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: "Think."}}}}
	ada        = map[string]any{"name": "Ada"}
)

func said(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}

// goServer is a server of the Go SDK with echo, add_note, for which its door wants one more scope, and ask.
func goServer(name string, ask mcp.ToolHandler, versions ...string) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: name, Version: "1"}, &mcp.ServerOptions{SupportedProtocolVersions: versions})
	echo := func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		var in struct{ Text string }
		err := json.Unmarshal(r.Params.Arguments, &in)
		return said(name + " heard " + in.Text), err
	}
	s.AddTool(&mcp.Tool{Name: "echo", InputSchema: textSchema}, echo)
	s.AddTool(&mcp.Tool{Name: "add_note", InputSchema: textSchema}, echo)
	s.AddTool(&mcp.Tool{Name: "ask", InputSchema: noSchema}, ask)
	return s
}

// oldServer keeps sessions and asks by requests of its own, as servers did before 2026-07-28.
func oldServer() http.Handler {
	s := goServer("old", func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		who, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "Who are you?", RequestedSchema: nameForm})
		if err != nil {
			return nil, err
		}
		answer, err := r.Session.CreateMessage(ctx, thought)
		if err != nil {
			return nil, err
		}
		return said(fmt.Sprint(who.Content["name"], " has ", answer.Content.(*mcp.TextContent).Text)), nil
	}, "2025-03-26", "2025-06-18", "2025-11-25")
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil)
}

// newServer knows no session and asks in its answers, as 2026-07-28 has it, and speaks nothing older.
func newServer() http.Handler {
	s := goServer("new", func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if len(r.Params.InputResponses) == 0 {
			return &mcp.CallToolResult{RequestState: "asked", InputRequests: mcp.InputRequestMap{
				"who": &mcp.ElicitParams{Message: "Who are you?", RequestedSchema: nameForm}, "what": thought,
			}}, nil
		}
		who, _ := r.Params.InputResponses["who"].(*mcp.ElicitResult)
		what, err := json.Marshal(r.Params.InputResponses["what"])
		if who == nil || err != nil || r.Params.RequestState != "asked" {
			return nil, fmt.Errorf("answered %v, %s, %v", who, what, err)
		}
		return said(fmt.Sprint(who.Content["name"], " has ", string(what))), nil
	}, "2026-07-28")
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true})
}

// servers starts one of each: two of the Go SDK, the TypeScript SDK's with its own issuer, server-everything and FastMCP.
func (h *hosting) servers() []hostedServer {
	heard := func(name string) toolCall {
		return toolCall{Tool: "echo", Args: map[string]any{"text": "hello"}, text: name + " heard hello"}
	}
	return []hostedServer{
		{"old", rig.Guarded(h.T, h.issuer, oldServer()).URL, heard("old"),
			[]toolCall{{Tool: "ask", Form: ada, text: "Ada has a thought", asked: []string{elicitation, sampling}}}},
		{"new", rig.Guarded(h.T, h.issuer, newServer()).URL, heard("new"),
			[]toolCall{{Tool: "ask", Form: ada, text: "a thought", asked: []string{elicitation, sampling}}}},
		{"tsdemo", h.tsDemo(), toolCall{Tool: "greet", Args: map[string]any{"name": "Ada"}, text: "Hello, Ada!"},
			[]toolCall{{Tool: "collect-user-info", Args: map[string]any{"infoType": "contact"}, Form: map[string]any{"name": "Ada", "email": "ada@example.com"},
				text: "ada@example.com", asked: []string{elicitation}}}},
		{"everything", rig.Guarded(h.T, h.issuer, h.everything()).URL, toolCall{Tool: "echo", Args: map[string]any{"message": "hello"}, text: "Echo: hello"},
			[]toolCall{
				{Tool: "trigger-sampling-request", Args: map[string]any{"prompt": "Think.", "maxTokens": 5}, text: "a thought", asked: []string{sampling}},
				{Tool: "trigger-elicitation-request", Form: ada, text: "Ada", asked: []string{elicitation}},
			}},
		{"fastmcp", h.fastMCP(h.issuer), heard("FastMCP"),
			[]toolCall{{Tool: "ask", Form: ada, text: "Ada said accept", asked: []string{elicitation}}}},
	}
}

// tsDemo starts the TypeScript SDK's demo server, which has an issuer of its own that asks nothing of the person.
func (h *hosting) tsDemo() string {
	port, issuerPort := fmt.Sprint(rig.FreePort(h.T)), fmt.Sprint(rig.FreePort(h.T))
	cmd := h.Command(rig.Node(h.T), rig.Peer(h.T, "more/node_modules/@modelcontextprotocol/sdk/dist/esm/examples/server/simpleStreamableHttp.js"), "--oauth", "--oauth-strict")
	cmd.Env = append(cmd.Env, "MCP_PORT="+port, "MCP_AUTH_PORT="+issuerPort)
	p := h.Run(cmd)
	h.listens(p, port)
	h.listens(p, issuerPort)
	return "http://localhost:" + port + "/mcp"
}

// everything starts server-everything, which knows no tokens: what it is behind does.
func (h *hosting) everything() http.Handler {
	port := fmt.Sprint(rig.FreePort(h.T))
	cmd := h.Command(rig.Node(h.T), rig.Peer(h.T, "more/node_modules/@modelcontextprotocol/server-everything/dist/index.js"), "streamableHttp")
	cmd.Env = append(cmd.Env, "PORT="+port)
	h.listens(h.Run(cmd), port)
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "localhost:" + port}) },
		FlushInterval: -1, // events as they come
	}
}

// fastMCP starts a FastMCP server that checks an issuer's JWTs, and returns its URL.
func (h *hosting) fastMCP(i *rig.Issuer) string {
	h.T.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		h.T.Fatal(err)
	}
	defer r.Close()
	cmd := h.Command(rig.Peer(h.T, "more/.venv/bin/python"), rig.Peer(h.T, "more/fastmcp_server.py"), i.URL, i.URL+"/jwks")
	cmd.Stdout = w
	p := h.Run(cmd)
	w.Close()
	r.SetReadDeadline(time.Now().Add(rig.Patience))
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		h.T.Fatalf("FastMCP did not start: %v\n%s", err, p.Err.String())
	}
	go io.Copy(io.Discard, r)
	address := strings.TrimSpace(line)
	u, err := url.Parse(address)
	if err != nil {
		h.T.Fatal(err)
	}
	h.listens(p, u.Port())
	return address
}

// listens waits until a program answers on a port.
func (h *hosting) listens(p *rig.Process, port string) {
	h.T.Helper()
	rig.Until(h.T, p.Args[1]+" listens", func() bool {
		if !p.Running() {
			h.T.Fatalf("%s ended with %v\n%s", p.Args[1], p.ProcessState, p.Err.String())
		}
		conn, err := net.DialTimeout("tcp", "localhost:"+port, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
