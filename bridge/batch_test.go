package bridge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// in makes the batch of messages.
func in(messages ...string) string { return "[" + strings.Join(messages, ",") + "]" }

// answers are the parts of an array of answers, by their ids; the order of answers is free.
func answers(t *testing.T, line string) map[string]string {
	t.Helper()
	if !strings.HasPrefix(line, "[") {
		t.Fatalf("no array: %s", line)
	}
	byID := map[string]string{}
	for e := range elements([]byte(line)) {
		byID[string(get(e, "id"))] = string(e)
	}
	return byID
}

// TestBatch: a batch of the host goes out one message at a time, in either era and through the translator, and what is
// to be answered of it is answered in one array.
func TestBatch(t *testing.T) {
	say := func(id, method, extra string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"%s","params":{%s}}`, id, method, extra)
	}
	for era, c := range map[string]struct {
		serve func(request) string
		hello bool
		extra string
	}{
		"legacy": {func(r request) string {
			if r.method == "initialize" {
				return r.result(strings.Replace(welcome, "2025-11-25", "2025-03-26", 1))
			}
			return r.result(`"` + r.method + `"`)
		}, true, ""},
		"modern":     {func(r request) string { return r.result(`"` + r.method + `"`) }, false, meta},
		"translated": {newServer(func(r request) string { return r.result(`"` + r.method + `"`) }), true, ""},
	} {
		t.Run(era, func(t *testing.T) {
			var seen journal
			h := start(t, serve(func(r request) string {
				if r.raw != nil && r.raw[0] != '{' {
					t.Errorf("the server got %s", r.raw)
				}
				switch {
				case r.Method == http.MethodGet:
					return r.refuse(405, "", "")
				case r.method == "notifications/x":
					seen.note("%s", r.method)
					return ""
				case r.method == "fails":
					return r.refuse(500, "text/plain", "broken")
				}
				return c.serve(r)
			}))
			if c.hello {
				h.say(hello)
				h.hear("…")
				h.say(ready)
			}
			h.say("%s", in(say("1", "a", c.extra), `{"jsonrpc":"2.0","method":"notifications/x"}`, `5`, say(`"b"`, "b", c.extra), say("3", "fails", c.extra)))
			got := answers(t, h.hear("…"))
			for id, want := range map[string]string{
				"1": `{"jsonrpc":"2.0","id":1,"result":"a"}`, `"b"`: `{"jsonrpc":"2.0","id":"b","result":"b"}`,
				"3":    `{"jsonrpc":"2.0","id":3,"error":{"code":-31503,"message":"mcp.example.com/mcp answered 500 Internal Server Error: broken"}}`,
				"null": `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"a message is no request, no notification and no response"}}`,
			} {
				if got[id] != want {
					t.Errorf("%s: %s, want %s", id, got[id], want)
				}
			}
			if len(got) != 4 {
				t.Errorf("answers: %v", got)
			}
			h.say("%s", in(`{"jsonrpc":"2.0","method":"notifications/x"}`)) // has no answer
			h.quits("")
			if n := strings.Count(seen.all(), "notifications/x"); era != "translated" && n != 2 {
				t.Errorf("%d notifications arrived", n)
			}
		})
	}
}

// TestBatchBegins: a host that puts all it knows into its first line is served as well.
func TestBatchBegins(t *testing.T) {
	var seen journal
	h := start(t, serve(func(r request) string {
		if r.Method == http.MethodPost {
			seen.note("%s", r.method)
		}
		switch {
		case r.method == "initialize":
			return r.result(welcome)
		case r.id != nil:
			return r.result("{}")
		case r.Method == http.MethodGet:
			return r.refuse(405, "", "")
		}
		return ""
	}))
	h.say("%s", in(hello, ready, `{"jsonrpc":"2.0","id":1,"method":"x"}`))
	if got := answers(t, h.hear("…")); got["0"] == "" || got["1"] != `{"jsonrpc":"2.0","id":1,"result":{}}` {
		t.Errorf("heard %v", got)
	}
	h.quits("")
	if seen.all() != "initialize\nnotifications/initialized\nx" {
		t.Errorf("the server saw\n%s", seen.all())
	}
}

// TestBatchOfAnswers: what the host answers to the server's own requests may be batched too.
func TestBatchOfAnswers(t *testing.T) {
	got := make(chan string, 2)
	h := start(t, serve(func(r request) string {
		switch {
		case r.method == "x":
			r.events(`data: [{"jsonrpc":"2.0","id":7,"method":"ping"},{"jsonrpc":"2.0","id":8,"method":"ping"}]`)
			return r.events("data: " + r.result(fmt.Sprintf("%d", len(<-got)+len(<-got))))
		case r.message.result != nil:
			got <- string(r.raw)
		}
		return ""
	}))
	h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
	h.hear(`{"jsonrpc":"2.0","id":7,"method":"ping"}`)
	h.hear(`{"jsonrpc":"2.0","id":8,"method":"ping"}`)
	h.say(`[{"jsonrpc":"2.0","id":7,"result":{}},{"jsonrpc":"2.0","id":8,"result":{}}]`)
	h.hear(`{"jsonrpc":"2.0","id":1,"result":72}`)
}

// TestBatchCancelled: what the host gives up of a batch holds up nothing else of it, and what is open at the end is
// answered.
func TestBatchCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, serve(func(r request) string {
			if r.method == "slow" {
				<-r.Context().Done()
				return ""
			}
			return r.result("{}")
		}))
		h.say("%s", in(`{"jsonrpc":"2.0","id":1,"method":"slow"}`, `{"jsonrpc":"2.0","id":2,"method":"x"}`))
		synctest.Wait()
		h.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
		h.hear(`[{"jsonrpc":"2.0","id":2,"result":{}}]`)
		h.say("%s", in(`{"jsonrpc":"2.0","id":3,"method":"slow"}`))
		synctest.Wait()
		h.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`)
		h.say("%s", in(`{"jsonrpc":"2.0","id":4,"method":"slow"}`, `{"jsonrpc":"2.0","id":5,"method":"x"}`))
		synctest.Wait()
		h.stop()
		if got := answers(t, h.hear("…")); len(got) != 2 || !strings.Contains(got["4"], "vk bridge was told to end") || got["5"] != `{"jsonrpc":"2.0","id":5,"result":{}}` {
			t.Errorf("heard %v", got)
		}
	})
}

// TestBatchLarge: answers that are too much for one message come in several arrays.
func TestBatchLarge(t *testing.T) {
	big := strings.Repeat("x", 10<<20)
	h := start(t, serve(func(r request) string { return r.result(`"` + big + `"`) }))
	h.say("%s", in(`{"jsonrpc":"2.0","id":1,"method":"x"}`, `{"jsonrpc":"2.0","id":2,"method":"x"}`))
	first, second := answers(t, h.hear("…")), answers(t, h.hear("…"))
	if len(first) != 1 || len(second) != 1 || len(first["1"])+len(second["1"]) < len(big) || len(first["2"])+len(second["2"]) < len(big) {
		t.Errorf("%d and %d answers", len(first), len(second))
	}
	h.quits("")
}
