package bridge

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// newServer is a server that speaks nothing older than 2026-07-28.
func newServer(handle func(r request) string) func(r request) string {
	return func(r request) string {
		switch {
		case r.Method != "POST":
			return r.refuse(405, "text/plain", "")
		case r.version() == "":
			return r.refuse(400, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"too old","data":{"supported":["2026-07-28"]}}}`)
		case r.method == "server/discover":
			return r.result(`{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true}},"instructions":"Be kind.","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"new","version":"2"}}}`)
		case r.method == "subscriptions/listen" && handle == nil:
			r.events()
			<-r.Context().Done()
			return ""
		}
		return handle(r)
	}
}

const translated = `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true}},"serverInfo":{"name":"new","version":"2"},"instructions":"Be kind."}}`

// TestTranslate: a host of before 2026-07-28 uses a server that speaks nothing older.
func TestTranslate(t *testing.T) {
	var seen journal
	h := start(t, serve(newServer(func(r request) string {
		if r.method == "subscriptions/listen" {
			r.events()
			<-r.Context().Done()
			return ""
		}
		seen.note("%s %s %s", r.Header.Get("Mcp-Method"), r.Header.Get("Mcp-Session-Id"), r.params)
		return r.result(`{"resultType":"complete","n":1}`)
	})))
	h.say(hello)
	h.hear(translated)
	h.say(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	h.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	h.say(`{"jsonrpc":"2.0","id":2,"method":"logging/setLevel","params":{"level":"debug"}}`)
	h.hear(`{"jsonrpc":"2.0","id":2,"result":{}}`)
	h.say(`{"jsonrpc":"2.0","id":3,"method":"logging/setLevel"}`)
	h.hear(`{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"level is missing"}}`)
	h.say(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)
	h.say(`{"jsonrpc":"2.0","id":4,"method":"prompts/list"}`)
	h.hear(`{"jsonrpc":"2.0","id":4,"result":{"resultType":"complete","n":1}}`)
	h.say(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":7,"io.modelcontextprotocol/logLevel":"x"}}}`)
	h.hear(`{"jsonrpc":"2.0","id":5,"result":{"resultType":"complete","n":1}}`)
	h.quits("")
	about := `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"host","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"io.modelcontextprotocol/logLevel":"debug"}`
	want := `prompts/list  {"_meta":{` + about + "}\n" + `tools/call  {"name":"t","_meta":{"progressToken":7,` + about + "}"
	if got := seen.all(); got != want {
		t.Errorf("the server saw\n%s\nwant\n%s", got, want)
	}
}

// TestTranslatedVersions: the host is answered in its own version, if that is one we know.
func TestTranslatedVersions(t *testing.T) {
	for asked, want := range map[string]string{"2025-06-18": "2025-06-18", "2024-11-05": "2024-11-05", "1999-01-01": "2025-11-25", "2026-07-28": "2025-11-25"} {
		h := start(t, serve(newServer(nil)))
		h.say("%s", strings.Replace(hello, "2025-11-25", asked, 1))
		h.hear(strings.Replace(translated, "2025-11-25", want, 1))
	}
}

// TestNoTranslation: what a server says about initialize is passed on, unless it is of 2026-07-28.
func TestNoTranslation(t *testing.T) {
	no := `{"jsonrpc":"2.0","id":0,"error":{"code":-32602,"message":"no"}}`
	for name, c := range map[string]struct {
		discover func(request) string
		want     string
	}{
		"refuses both":   {func(r request) string { return r.refuse(400, "text/plain", "") }, no},
		"old versions":   {func(r request) string { return r.result(`{"supportedVersions":["2025-11-25"]}`) }, no},
		"newer versions": {func(r request) string { return r.result(`{"supportedVersions":["2027-01-01"]}`) }, no},
	} {
		h := start(t, serve(func(r request) string {
			if r.method == "server/discover" {
				return c.discover(r)
			}
			return r.refuse(400, "application/json", no)
		}))
		h.say(hello)
		if got := h.hear("…"); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	asked := 0
	h := start(t, serve(func(r request) string { asked++; return r.refuse(503, "text/plain", "later") }))
	h.say(hello)
	h.hear(`{"jsonrpc":"2.0","id":0,"error":{"code":-31503,"message":"mcp.example.com/mcp answered 503 Service Unavailable: later"}}`)
	if asked != 1 {
		t.Errorf("an outage says nothing about versions, but the server was asked %d times", asked)
	}
}

// TestRounds: the server's questions become requests to the host, and its answers go back with the state.
func TestRounds(t *testing.T) {
	var seen journal
	rounds := 0
	h := start(t, serve(newServer(func(r request) string {
		if r.method == "subscriptions/listen" {
			return r.refuse(404, "application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`)
		}
		rounds++
		seen.note("%s %s %s %s", r.id, get(r.params, "arguments"), get(r.params, "inputResponses"), get(r.params, "requestState"))
		switch rounds {
		case 1:
			return r.result(`{"resultType":"input_required","requestState":"s\u0031","inputRequests":{"a\"b":{"method":"elicitation/create","params":{"message":"?"}},"r":{"method":"roots/list"}}}`)
		case 2:
			return r.result(`{"resultType":"input_required","inputRequests":{"x":{"method":"sampling/createMessage","params":{}}}}`)
		}
		return r.events(`data: {"jsonrpc":"2.0","method":"notifications/progress"}`, "data: "+r.result(`{"done":true}`))
	})))
	h.say(hello)
	h.hear("…")
	h.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"k":1}}}`)
	for range 2 {
		asked, _ := parseOne([]byte(h.hear("…")))
		switch {
		case asked.method == "elicitation/create" && text(asked.params, "message") == "?":
			h.say(`{"jsonrpc":"2.0","id":%s,"result":{"action":"accept"}}`, asked.id)
		case asked.method == "roots/list":
			h.say(`{"jsonrpc":"2.0","id":%s,"result":{"roots":[]}}`, asked.id)
		default:
			t.Fatalf("the host was asked %s", asked.raw)
		}
	}
	asked, _ := parseOne([]byte(h.hear(`…"method":"sampling/createMessage"…`)))
	h.say(`{"jsonrpc":"2.0","id":%s,"result":{"role":"assistant"}}`, asked.id)
	h.hear(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
	h.hear(`{"jsonrpc":"2.0","id":1,"result":{"done":true}}`)
	h.quits("")
	lines := strings.Split(seen.all(), "\n")
	if len(lines) != 3 || lines[0] != `1 {"k":1}  ` {
		t.Fatalf("the server saw\n%s", seen.all())
	}
	if l := lines[1]; !like(l, `"valetkey:…" {"k":1} {…} "s\u0031"`) || !strings.Contains(l, `"a\"b":{"action":"accept"}`) || !strings.Contains(l, `"r":{"roots":[]}`) {
		t.Errorf("second round: %s", l)
	}
	if l := lines[2]; !like(l, `"valetkey:…" {"k":1} {"x":{"role":"assistant"}} `) {
		t.Errorf("third round: %s", l)
	}
}

// TestRoundsEnd: rounds that lead nowhere end in an error.
func TestRoundsEnd(t *testing.T) {
	for name, c := range map[string]struct{ result, answer, want string }{
		"without end":    {`{"resultType":"input_required","inputRequests":{"r":{"method":"roots/list"}}}`, `"result":{"roots":[]}`, "asked for more again and again"},
		"only patience":  {`{"resultType":"input_required","requestState":"x"}`, "", "asked for more again and again"},
		"host declines":  {`{"resultType":"input_required","inputRequests":{"r":{"method":"roots/list"}}}`, `"error":{"code":-32601,"message":"no roots"}`, "asked for roots/list, which was not given: no roots"},
		"unknown kind":   {`{"resultType":"later"}`, "", "answered with a result of a kind that is not known: later"},
		"many questions": {`{"resultType":"input_required","inputRequests":{` + strings.Repeat(`"r":{"method":"roots/list"},`, 40) + `"z":{}}}`, "", "asked more than 32 questions at once"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := start(t, serve(newServer(func(r request) string { return r.result(c.result) })))
				h.say(hello)
				h.hear("…")
				h.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}`)
				for {
					m, _ := parseOne([]byte(h.hear("…")))
					if m.isResponse() {
						if got := text(m.fault, "message"); got != "mcp.example.com/mcp "+c.want {
							t.Errorf("%s", m.raw)
						}
						break
					}
					if m.isRequest() && c.answer != "" {
						h.say(`{"jsonrpc":"2.0","id":%s,%s}`, m.id, c.answer)
					}
				}
			})
		})
	}
}

// TestRoundsCancelled: what the host does not want any more, it is not asked about any more.
func TestRoundsCancelled(t *testing.T) {
	h := start(t, serve(newServer(func(r request) string {
		return r.result(`{"resultType":"input_required","inputRequests":{"r":{"method":"roots/list"}}}`)
	})))
	h.say(hello)
	h.hear("…")
	h.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}`)
	asked, _ := parseOne([]byte(h.hear(`…"roots/list"}`)))
	h.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	h.hear(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + string(asked.id) + `}}`)
	h.say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, asked.id)
	h.quits("")
}

// TestTranslatedSubscriptions: changes of lists are listened to unasked, resources when the host subscribes.
func TestTranslatedSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen journal
		h := start(t, serve(newServer(func(r request) string {
			wanted := get(r.params, "notifications")
			seen.note("%s", wanted)
			covered := strings.ReplaceAll(string(wanted), `"no://where"`, `"nothing"`)
			r.events(`data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":` + covered + `}}`)
			if strings.Contains(covered, `"b://1"`) {
				r.events(`data: {"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"b://1"}}`)
			}
			<-r.Context().Done()
			seen.note("end of %s", wanted)
			return ""
		})))
		h.say(hello)
		h.hear(translated)
		h.say(ready)
		synctest.Wait()
		h.say(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"a://1"}}`)
		h.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		synctest.Wait()
		h.say(`{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"b://1"}}`)
		both := h.hear("…") + h.hear("…")
		if !strings.Contains(both, `"id":2,"result":{}`) || !strings.Contains(both, `"uri":"b://1"`) {
			t.Errorf("heard %s", both)
		}
		synctest.Wait()
		h.say(`{"jsonrpc":"2.0","id":3,"method":"resources/unsubscribe","params":{"uri":"b://1"}}`)
		h.hear(`{"jsonrpc":"2.0","id":3,"result":{}}`)
		synctest.Wait()
		h.say(`{"jsonrpc":"2.0","id":4,"method":"resources/subscribe","params":{"uri":"no://where"}}`)
		h.hear(`{"jsonrpc":"2.0","id":4,"error":{"code":-32602,"message":"mcp.example.com/mcp does not tell of changes of no://where"}}`)
		synctest.Wait()
		h.say(`{"jsonrpc":"2.0","id":5,"method":"resources/subscribe"}`)
		h.hear(`{"jsonrpc":"2.0","id":5,"error":{"code":-32602,"message":"uri is missing"}}`)
		synctest.Wait()
		h.quits("")
		synctest.Wait()
		tools := `{"toolsListChanged":true}`
		a := `{"toolsListChanged":true,"resourceSubscriptions":["a://1"]}`
		ab := `{"toolsListChanged":true,"resourceSubscriptions":["a://1","b://1"]}`
		want := []string{tools, a, "end of " + tools, ab, "end of " + a, a, "end of " + ab}
		if got := seen.all(); !strings.HasPrefix(got, strings.Join(want, "\n")+"\n") {
			t.Errorf("the server saw\n%s\nwant\n%s…", got, strings.Join(want, "\n"))
		}
	})
}

// TestTranslatedDrop: a subscription that drops or ends is opened again, and the host hears of what it may have missed.
func TestTranslatedDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := 0
		h := start(t, serve(newServer(func(r request) string {
			streams++
			ack := `data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"toolsListChanged":true}}}`
			switch streams {
			case 1:
				return r.events(ack) // drops
			case 2:
				r.events(ack)
				time.Sleep(time.Minute)
				return r.events("data: " + r.result("{}")) // ends in an orderly way
			}
			r.events(ack)
			<-r.Context().Done()
			return ""
		})))
		h.say(hello)
		h.hear("…")
		h.say(ready)
		h.hear(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		h.hear(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		h.quits("")
		if streams != 3 {
			t.Errorf("%d streams", streams)
		}
	})
}

// TestBeginsAgain: a host may begin anew; what was open for it before ends.
func TestBeginsAgain(t *testing.T) {
	closed := make(chan struct{}, 1)
	h := start(t, serve(newServer(func(r request) string {
		r.events(`data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}`, `data: {"jsonrpc":"2.0","method":"n"}`)
		<-r.Context().Done()
		closed <- struct{}{}
		return ""
	})))
	h.say(hello)
	h.hear(translated)
	h.say(ready)
	h.hear(`{"jsonrpc":"2.0","method":"n"}`)
	h.say(hello)
	h.hear(translated)
	<-closed
}

// TestAgrees: a server that agrees to initialize and then refuses whatever is that old is translated for after all.
func TestAgrees(t *testing.T) {
	h := start(t, serve(func(r request) string {
		switch {
		case r.method == "initialize":
			return r.result(welcome)
		case r.version() == "":
			return r.refuse(400, "text/plain", "Bad Request: Unsupported protocol version")
		case r.method == "server/discover":
			return r.result(`{"supportedVersions":["2026-07-28"],"capabilities":{}}`)
		}
		return r.result("{}")
	}))
	h.say(hello)
	h.hear(`{"jsonrpc":"2.0","id":0,"result":` + welcome + `}`)
	h.say(ready)
	h.say("%s\n%s", `{"jsonrpc":"2.0","id":1,"method":"x"}`, `{"jsonrpc":"2.0","id":2,"method":"x"}`)
	if got := h.hear("…") + h.hear("…"); strings.Count(got, `"result":{}`) != 2 {
		t.Errorf("heard %s", got)
	}
}
