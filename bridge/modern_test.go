package bridge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestModern: a request of 2026-07-28 goes out with the headers its body says, without a session, and comes back as is.
func TestModern(t *testing.T) {
	var seen journal
	h := start(t, serve(func(r request) string {
		r.w.Header().Set("Mcp-Session-Id", "not-used")
		var of []string
		for _, name := range []string{"MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id", "Origin"} {
			of = append(of, r.Header.Get(name))
		}
		seen.note("%s %s", r.Method, strings.Join(of, "|"))
		switch r.method {
		case "server/discover":
			return r.result(`{"supportedVersions":["2026-07-28"],"capabilities":{},"resultType":"complete","ttlMs":5}`)
		case "tools/call":
			return r.events(`data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t"}}`,
				`data: {"jsonrpc":"2.0","id":"q","method":"elicitation/create"}`, // servers of this era make no requests
				"data: "+r.result(`{"resultType":"input_required","inputRequests":{},"requestState":"\u0041=="}`))
		}
		return ""
	}))
	h.say(`{"jsonrpc":"2.0","id":"d","method":"server/discover","params":{%s}}`, meta)
	h.hear(`{"jsonrpc":"2.0","id":"d","result":{"supportedVersions":["2026-07-28"],"capabilities":{},"resultType":"complete","ttlMs":5}}`)
	h.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"é","requestState":"x",%s}}`, meta)
	h.hear(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t"}}`)
	h.hear(`{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{},"requestState":"\u0041=="}}`)
	h.say(`{"jsonrpc":"2.0","method":"notifications/x"}`)
	h.say(`{"jsonrpc":"2.0","id":"q","result":{}}`) // nor do hosts make responses
	h.quits("")
	want := "POST 2026-07-28|server/discover|||\nPOST 2026-07-28|tools/call|=?base64?w6k=?=||\nPOST 2026-07-28|notifications/x|||"
	if got := seen.all(); got != want {
		t.Errorf("the server saw\n%s\nwant\n%s", got, want)
	}
}

// TestDiscover: what a server of before 2026-07-28 answers reads -32601, so that the host goes on with initialize; what
// another answers, and what the app does, is passed on.
func TestDiscover(t *testing.T) {
	plain := `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"mcp.example.com/mcp speaks no version of MCP from 2026-07-28 on"}}`
	for name, c := range map[string]struct {
		serve func(request) string
		want  string
	}{
		"400, plain": {func(r request) string { return r.refuse(400, "text/plain", "Bad Request: no session") }, plain},
		"404, plain": {func(r request) string { return r.refuse(404, "text/plain", "") }, plain},
		"405, plain": {func(r request) string { return r.refuse(405, "text/html", "") }, plain},
		"400, not initialized": {func(r request) string {
			return r.refuse(400, "application/json", `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Server not initialized"},"id":null}`)
		}, plain},
		"400, old versions": {func(r request) string {
			return r.refuse(400, "application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"m","data":{"supported":["2025-11-25"]}}}`)
		}, plain},
		"200, invalid params": {func(r request) string { return `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"m"}}` }, plain},
		"200, old versions":   {func(r request) string { return r.result(`{"supportedVersions":["2025-11-25","2025-06-18"]}`) }, plain},
		"200, another result": {func(r request) string { return r.result(`{}`) }, plain},
		"new versions": {func(r request) string {
			return r.refuse(400, "application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"m","data":{"supported":["2027-01-01"]}}}`)
		}, `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"m","data":{"supported":["2027-01-01"]}}}`},
		"capability": {func(r request) string {
			return r.refuse(400, "application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32021,"message":"m"}}`)
		}, `{"jsonrpc":"2.0","id":1,"error":{"code":-32021,"message":"m"}}`},
		"401": {func(r request) string { return r.refuse(401, "text/plain", "") }, fails("answered 401 Unauthorized")},
		"500": {func(r request) string { return r.refuse(500, "text/plain", "") }, fails("answered 500 Internal Server Error")},
		"the app's, 200": {func(r request) string {
			r.w.Header().Set("Valetkey-Error", "consent_denied")
			return `{"jsonrpc":"2.0","id":1,"error":{"code":-31403,"message":"Valet Key: no"}}`
		}, `{"jsonrpc":"2.0","id":1,"error":{"code":-31403,"message":"Valet Key: no"}}`},
		"the app's, 404": {func(r request) string {
			r.w.Header().Set("Valetkey-Error", "bad_request")
			return r.refuse(404, "application/json", `{"error":{"message":"no such server"}}`)
		}, `{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"no such server"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, serve(c.serve))
			h.say(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{%s}}`, meta)
			h.hear(c.want)
		})
	}
}

// TestModernFalls: a stream that ends loses its request. It is not taken up again, nor sent again.
func TestModernFalls(t *testing.T) {
	calls := 0
	h := start(t, serve(func(r request) string {
		calls++
		return r.events("id: 5\nretry: 1\ndata: " + `{"jsonrpc":"2.0","method":"n"}`)
	}))
	h.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{%s}}`, meta)
	h.hear(`{"jsonrpc":"2.0","method":"n"}`)
	h.hear(fails("closed the connection before it had answered: whether it did what was asked is not known"))
	h.quits("")
	if calls != 1 {
		t.Errorf("%d requests", calls)
	}
}

// TestCancelModern: the stream is closed, nothing is sent, a late answer is not passed on.
func TestCancelModern(t *testing.T) {
	closed := make(chan struct{})
	h := start(t, serve(func(r request) string {
		if r.method != "slow" {
			t.Errorf("the server got %s", r.raw)
			return ""
		}
		r.events(`data: {"jsonrpc":"2.0","method":"begun"}`)
		<-r.Context().Done()
		close(closed)
		return ""
	}))
	h.say(`{"jsonrpc":"2.0","id":"a","method":"slow","params":{%s}}`, meta)
	h.hear(`{"jsonrpc":"2.0","method":"begun"}`)
	h.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"\u0061"}}`)
	<-closed
	h.quits("")
}

const (
	toolGood = `{"name":"good","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}`
	toolBad  = `{"name":"bad","inputSchema":{"type":"object","properties":{"x":{"type":"number","x-mcp-header":"X"}}}}`
	toolNone = `{"name":"none","inputSchema":{"type":"object"}}`
)

// TestParamHeaders: annotations are learned from the list on its way to the host, tools with wrong ones are taken out.
func TestParamHeaders(t *testing.T) {
	var seen journal
	h := start(t, serve(func(r request) string {
		switch {
		case r.method == "tools/list" && text(r.params, "cursor") == "":
			return r.result(`{"tools": [` + toolGood + ` , ` + toolBad + `],"nextCursor":"2","ttlMs":1}`)
		case r.method == "tools/list":
			return r.result(`{"tools":[` + toolNone + `]}`)
		}
		seen.note("%s: %q", text(r.params, "name"), r.Header.Get("Mcp-Param-Region"))
		return r.result("{}")
	}))
	h.say(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{%s}}`, meta)
	h.hear(`{"jsonrpc":"2.0","id":1,"result":{"tools": [` + toolGood + `],"nextCursor":"2","ttlMs":1}}`)
	h.say(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"2",%s}}`, meta)
	h.hear(`{"jsonrpc":"2.0","id":1,"result":{"tools":[` + toolNone + `]}}`)
	for i, arguments := range []string{`{"region":" eu "}`, `{"region":null}`, `{}`, `{"region":[1]}`} {
		h.say(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"good","arguments":%s,%s}}`, i, arguments, meta)
		h.hear("…")
	}
	h.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"none","arguments":{"region":"x"},%s}}`, meta)
	h.hear("…")
	h.quits("")
	if got, want := seen.all(), `good: "=?base64?IGV1IA==?="`+strings.Repeat("\ngood: \"\"", 3)+"\nnone: \"\""; got != want {
		t.Errorf("the server saw\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(h.log.String(), "tool=bad") {
		t.Errorf("the log does not say what was left out:\n%s", h.log.String())
	}
}

// TestMismatch: a call refused for its headers is sent once more, after reading the list, and only then.
func TestMismatch(t *testing.T) {
	for _, helps := range []bool{true, false} {
		var seen journal
		mismatch := `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"missing Mcp-Param-Region"}}`
		h := start(t, serve(func(r request) string {
			seen.note("%s %s %s", r.method, r.id, r.Header.Get("Mcp-Param-Region"))
			switch {
			case r.method == "tools/list" && get(r.params, "_meta", "progressToken") != nil:
				return r.refuse(400, "text/plain", "a progress token that is not its own")
			case r.method == "tools/list" && text(r.params, "cursor") == "":
				return r.result(`{"tools":[` + toolNone + `],"nextCursor":"more"}`)
			case r.method == "tools/list":
				return r.result(`{"tools":[` + toolGood + `]}`)
			case helps && r.Header.Get("Mcp-Param-Region") == "eu":
				return r.result("{}")
			}
			return r.refuse(400, "application/json", mismatch)
		}))
		h.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"good","arguments":{"region":"eu"},%s}}`, strings.Replace(meta, `{"io`, `{"progressToken":1,"io`, 1))
		if helps {
			h.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		} else {
			h.hear(mismatch)
		}
		if got, want := seen.all(), "tools/call 1 \ntools/list \"valetkey:1\" \ntools/list \"valetkey:2\" \ntools/call 1 eu"; got != want {
			t.Errorf("the server saw\n%s\nwant\n%s", got, want)
		}
	}
}

func listening(id, subscription string) string {
	return fmt.Sprintf(`data: {"jsonrpc":"2.0","method":"notifications/%s","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s},"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a://b"]}}}`, subscription, id)
}

// TestSubscription: a stream that drops is opened again under another id, which the host never sees.
func TestSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen journal
		begun := time.Now()
		streams := 0
		h := start(t, serve(func(r request) string {
			if r.method != "subscriptions/listen" {
				t.Errorf("the server got %s", r.raw)
			}
			streams++
			seen.note("%v %s", time.Since(begun), r.id)
			id := string(r.id)
			switch streams {
			case 1:
				r.events(listening(id, "subscriptions/acknowledged"), listening(id, "tools/list_changed"))
				panic(http.ErrAbortHandler)
			case 2:
				return r.refuse(502, "text/plain", "")
			case 3:
				return r.events(listening(id, "subscriptions/acknowledged"), listening(id, "resources/updated"))
			}
			return r.events(listening(id, "subscriptions/acknowledged"), "data: "+r.result(`{"_meta":{"io.modelcontextprotocol/subscriptionId":`+id+`}}`))
		}))
		h.say(`{"jsonrpc":"2.0","id":"sub","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},%s}}`, meta)
		caughtUp := func() {
			h.hear(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"sub"}}}`)
			h.hear(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"sub"},"uri":"a://b"}}`)
		}
		h.hear(listening(`"sub"`, "subscriptions/acknowledged")[6:])
		h.hear(listening(`"sub"`, "tools/list_changed")[6:])
		caughtUp()
		h.hear(listening(`"sub"`, "resources/updated")[6:])
		caughtUp()
		h.hear(`{"jsonrpc":"2.0","id":"sub","result":{"_meta":{"io.modelcontextprotocol/subscriptionId":"sub"}}}`)
		h.quits("")
		if got, want := seen.all(), "0s \"sub\"\n1s \"valetkey:1\"\n3s \"valetkey:2\"\n4s \"valetkey:3\""; got != want {
			t.Errorf("the server saw\n%s\nwant\n%s", got, want)
		}
	})
}

// TestSubscriptionRefused: what never began is not tried again, and it does not keep the bridge from ending.
func TestSubscriptionRefused(t *testing.T) {
	h := start(t, serve(func(r request) string {
		if string(r.id) == "1" {
			return r.refuse(404, "application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`)
		}
		r.events(listening(string(r.id), "subscriptions/acknowledged"))
		<-r.Context().Done()
		return ""
	}))
	h.say(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{%s}}`, meta)
	h.hear(`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`)
	h.say(`{"jsonrpc":"2.0","id":2,"method":"subscriptions/listen","params":{%s}}`, meta)
	h.hear("…acknowledged…")
	begun := time.Now()
	h.quits("…")
	if took := time.Since(begun); took > finishLimit {
		t.Errorf("it took %v to end", took)
	}
}
