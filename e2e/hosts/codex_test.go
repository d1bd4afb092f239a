//go:build e2e && linux

package hosts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valetkey/valetkey/e2e/rig"
)

// model stands in for the model API that Codex talks to: it answers each turn with the next call of a tool, as a model
// does that has made up its mind, and in the end with a word.
type model struct {
	*httptest.Server
	calls  []modelCall
	before func(turn int) // runs before each answer

	mu      sync.Mutex
	turns   int
	results []string // of the calls, as Codex told them
	wrong   []string // what was asked of it that it does not know
}

// modelCall is a call of a tool of one of Codex's MCP servers.
type modelCall struct {
	server string
	toolCall
}

func newModel(t *testing.T, calls []modelCall) *model {
	m := &model{calls: calls, before: func(int) {}}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	var asked struct {
		Input []struct {
			Type   string
			CallID string `json:"call_id"`
			Output json.RawMessage
		}
	}
	if r.URL.Path != "/v1/responses" || err != nil || json.Unmarshal(body, &asked) != nil {
		m.wrong = append(m.wrong, r.Method+" "+r.URL.Path)
		http.NotFound(w, r)
		return
	}
	m.results = nil
	for _, item := range asked.Input { // each request tells all turns so far
		if item.Type == "function_call_output" {
			m.results = append(m.results, string(item.Output))
		}
	}
	m.before(m.turns)
	item := map[string]any{"type": "message", "role": "assistant", "id": "m", "content": []any{map[string]any{"type": "output_text", "text": "done"}}}
	if m.turns < len(m.calls) {
		call := m.calls[m.turns]
		args, _ := json.Marshal(call.Args)
		id := fmt.Sprint("call", m.turns)
		item = map[string]any{"type": "function_call", "id": "f" + id, "call_id": id, "namespace": "mcp__" + call.server, "name": call.Tool, "arguments": string(args)}
	}
	m.turns++
	w.Header().Set("Content-Type", "text/event-stream")
	response := map[string]any{"id": fmt.Sprint("r", m.turns), "usage": map[string]any{"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}
	for _, event := range []map[string]any{
		{"type": "response.created", "response": response},
		{"type": "response.output_item.done", "item": item},
		{"type": "response.completed", "response": response},
	} {
		data, _ := json.Marshal(event)
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event["type"], data)
	}
}

// codex has Codex do what the model says, and looks at what came of each call.
func (h *hosting) codex(t *testing.T, m *model) {
	t.Helper()
	out := h.host(t, rig.Peer(t, "more/node_modules/.bin/codex"), "exec", "--skip-git-repo-check", "--json", "--dangerously-bypass-approvals-and-sandbox",
		"-c", `model_providers.standin={name="standin",base_url="`+m.URL+`/v1",wire_api="responses"}`, "-c", `model_provider="standin"`, "-m", "standin",
		"-c", "analytics.enabled=false", "-c", "check_for_update_on_startup=false", "-c", "features.apps=false", "-c", "features.plugins=false",
		"Call the tools.")
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.results) != len(m.calls) || len(m.wrong) > 0 || !strings.Contains(out, `"text":"done"`) {
		t.Fatalf("Codex made %d of %d calls and asked for %q\n%s", len(m.results), len(m.calls), m.wrong, out)
	}
	for n, call := range m.calls {
		if !strings.Contains(m.results[n], call.text) {
			t.Errorf("%s of %s answers %s, want %q", call.Tool, call.server, m.results[n], call.text)
		}
	}
}

// codexUsesTheBridge: one Codex uses all servers, and writes where the token it has is good for reading only.
func codexUsesTheBridge(t *testing.T, h *hosting, servers []hostedServer) {
	note := toolCall{Tool: "add_note", Args: map[string]any{"text": "a note"}, text: "old heard a note"}
	var calls []modelCall
	for _, s := range servers {
		h.VK("connect", "codex", s.url, "--via", "bridge", "--name", s.name, "--yes").Must()
		calls = append(calls, modelCall{s.name, s.simple})
		if s.name == "old" {
			calls = append(calls, modelCall{s.name, note})
		}
	}
	before := h.issuer.SignIns()
	h.codex(t, newModel(t, calls))
	rig.Contains(t, "the activity log", string(h.Read("state/activity.jsonl")), []string{`"host":"@openai/codex"`})
	last := h.issuer.Happened(func(e rig.Event) bool { return e.Event == "token" && e.OK })
	if after := h.issuer.SignIns(); after != before+1 || !strings.Contains(last[len(last)-1].Scope, "notes:write") {
		t.Errorf("%d sign-ins for the wider scope, and the last token is good for %q", after-before, last[len(last)-1].Scope)
	}
}

// TestCodexRunsTheHelperAgain: Codex speaks to the server itself, with what vk headers prints, and runs it again when the
// token has run out in the middle of its work.
func TestCodexRunsTheHelperAgain(t *testing.T) {
	const lives = 8 * time.Second
	h := newHosting(t, "--access-ttl", "8")
	var mu sync.Mutex
	var tokens []string // that the server let through, each with its first use
	var issued time.Time
	behind := oldServer()
	s := rig.Guarded(t, h.issuer, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if token := r.Header.Get("Authorization"); !slices.Contains(tokens, token) {
			tokens, issued = append(tokens, token), time.Now()
		}
		mu.Unlock()
		behind.ServeHTTP(w, r)
	}))
	h.VK("signin", s.URL).Must()
	vk := h.Run(h.hostCommand(rig.Program(t, "vk"), "connect", "codex", s.URL, "--name", "notes", "--yes"))
	if code := vk.Wait(); code != 0 || !bytes.Contains(h.Read("home/.codex/config.toml"), []byte("http_headers_helper")) {
		t.Fatalf("vk connect: exit code %d\n%s%s", code, vk.Out.String(), vk.Err.String())
	}

	echo := modelCall{"notes", toolCall{Tool: "echo", Args: map[string]any{"text": "hello"}, text: "old heard hello"}}
	m := newModel(t, []modelCall{echo, echo, echo})
	m.before = func(turn int) {
		if turn == 1 { // the first call is made
			mu.Lock()
			since := time.Since(issued)
			mu.Unlock()
			time.Sleep(lives - since)
		}
	}
	h.codex(t, m)
	mu.Lock()
	defer mu.Unlock()
	if len(tokens) < 2 || h.issuer.SignIns() != 1 {
		t.Errorf("the server saw %d tokens and the issuer %d sign-ins", len(tokens), h.issuer.SignIns())
	}
}
