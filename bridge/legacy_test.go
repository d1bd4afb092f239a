package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/localapi"
)

// journal is what a server saw, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}

// TestPassThrough: what the bridge does not need it does not touch; each HTTP request is as MCP wants it.
func TestPassThrough(t *testing.T) {
	var seen journal
	h := start(t, serve(func(r request) string {
		seen.note("%s %s v=%s s=%s | %s | %s", r.Method, r.raw, r.Header.Get("MCP-Protocol-Version"), r.Header.Get("Mcp-Session-Id"), r.Header.Get("Accept"), r.Header.Get("Content-Type"))
		switch {
		case r.Method == "GET":
			return r.refuse(405, "text/plain", "no")
		case r.method == "initialize":
			r.w.Header().Set("Mcp-Session-Id", "s~1")
			return r.result(welcome)
		case r.method == "x":
			return "{\n \"jsonrpc\": \"2.0\",\r\n \"id\":\"a\\u0062\", \"result\":{\"n\":1.0, \"u\":null}, \"extra\":1 }"
		}
		return ""
	}))
	h.say(hello)
	h.hear(`{"jsonrpc":"2.0","id":0,"result":` + welcome + `}`)
	h.say(ready)
	h.say(` {"jsonrpc":"2.0", "id":"a\u0062","method":"x","params":{"big":12345678901234567890,"_meta":{"progressToken":1.50}},"extra":[]} `)
	h.hear(`{"jsonrpc":"2.0","id":"a\u0062","result":{"n":1.0,"u":null},"extra":1}`)
	h.quits("")
	both := "| application/json, text/event-stream | application/json"
	for _, want := range []string{
		"POST " + hello + " v= s= " + both,
		"POST " + ready + " v=2025-11-25 s=s~1 " + both,
		`POST {"jsonrpc":"2.0", "id":"a\u0062","method":"x","params":{"big":12345678901234567890,"_meta":{"progressToken":1.50}},"extra":[]} v=2025-11-25 s=s~1 ` + both,
		"GET  v=2025-11-25 s=s~1 | text/event-stream | ",
		"DELETE  v=2025-11-25 s=s~1 |  | ",
	} {
		if !strings.Contains(seen.all(), want) {
			t.Errorf("missing:\n%s\nin\n%s", want, seen.all())
		}
	}
	if all := seen.all(); strings.Count(all, "\n") != 4 || !strings.HasSuffix(all, "DELETE  v=2025-11-25 s=s~1 |  | ") {
		t.Errorf("saw\n%s", all)
	}
}

// TestVersionHeader: it exists from 2025-06-18 on.
func TestVersionHeader(t *testing.T) {
	for version, want := range map[string]string{"2024-11-05": "", "2025-03-26": "", "2025-06-18": "2025-06-18", "2025-11-25": "2025-11-25"} {
		got := make(chan string, 1)
		h := start(t, serve(func(r request) string {
			switch r.method {
			case "initialize":
				return r.result(`{"protocolVersion":"` + version + `"}`)
			case "x":
				got <- r.Header.Get("MCP-Protocol-Version")
				return r.result("{}")
			}
			return r.refuse(404, "text/plain", "")
		}))
		h.say(hello)
		h.hear("…")
		h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
		h.hear("…")
		if v := <-got; v != want {
			t.Errorf("%s: header %q, want %q", version, v, want)
		}
	}
}

// TestOrder: a host may write everything at once; the server gets the requests after initialize and initialized.
func TestOrder(t *testing.T) {
	var seen journal
	h := start(t, serve(func(r request) string {
		if r.Method == "POST" {
			seen.note("%s", r.method)
		}
		if r.id != nil {
			return r.result("{}")
		}
		return ""
	}))
	h.say("%s\n%s\n%s\n%s", hello, ready, `{"jsonrpc":"2.0","method":"n/1"}`, `{"jsonrpc":"2.0","id":1,"method":"x"}`)
	h.hear("…")
	h.hear(`{"jsonrpc":"2.0","id":1,…`)
	h.quits("")
	if got := seen.all(); !strings.HasPrefix(got, "initialize\nnotifications/initialized\n") {
		t.Errorf("the server saw\n%s", got)
	}
}

// TestServerSpeaks: requests and notifications of the server reach the host from every stream, its answers the server.
func TestServerSpeaks(t *testing.T) {
	answers := make(chan string, 2)
	said := make(chan struct{})
	h := start(t, serve(func(r request) string {
		switch {
		case r.Method == "GET":
			r.events(`data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
			<-r.Context().Done()
		case r.method == "initialize":
			return r.result(welcome)
		case r.method == "call":
			r.events(": hi", "id: 1\ndata:", `data: {"jsonrpc":"2.0",`+"\ndata: "+`"id":7,"method":"elicitation/create"}`)
			<-said
			r.events(`data: {"jsonrpc":"2.0","method":"notifications/progress"}`, `data: `+r.result(`{"ok":true}`))
		case r.result2() != "":
			answers <- string(r.raw)
			close(said)
		}
		return ""
	}))
	h.say(hello)
	h.hear("…")
	h.say(ready)
	h.hear(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
	h.say(`{"jsonrpc":"2.0","id":1,"method":"call"}`)
	h.hear(`{"jsonrpc":"2.0","id":7,"method":"elicitation/create"}`)
	h.say(`{"jsonrpc":"2.0","id":7,"result":{"action":"accept"}}`)
	h.hear(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
	h.hear(`{"jsonrpc":"2.0","id":1,"result":{"ok":true}}`)
	if got := <-answers; got != `{"jsonrpc":"2.0","id":7,"result":{"action":"accept"}}` {
		t.Errorf("the server got %s", got)
	}
}

func (r request) result2() string { return string(r.message.result) }

// TestInterleave: a request that waits, for a sign-in say, is in the way of no other.
func TestInterleave(t *testing.T) {
	signedIn := make(chan struct{})
	h := start(t, serve(func(r request) string {
		if r.method == "waits" {
			<-signedIn
		}
		return r.result("{}")
	}))
	h.say(`{"jsonrpc":"2.0","id":1,"method":"waits"}`)
	for i := range 100 {
		h.say(`{"jsonrpc":"2.0","id":%d,"method":"x"}`, 100+i)
		h.hear(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,…`, 100+i))
	}
	close(signedIn)
	h.hear(`{"jsonrpc":"2.0","id":1,…`)
}

// TestSessionGone: another session is begun, the host does not notice, and what it asked for is asked for again.
func TestSessionGone(t *testing.T) {
	for status, body := range map[int]string{
		404: `{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}`,
		400: `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) { sessionGone(t, status, body) })
	}
}

func sessionGone(t *testing.T, status int, body string) {
	var seen journal
	var sessions atomic.Int32
	h := start(t, serve(func(r request) string {
		s := r.Header.Get("Mcp-Session-Id")
		seen.note("%s %s %s %s", r.Method, s, r.method, r.id)
		switch {
		case r.method == "initialize":
			r.w.Header().Set("Mcp-Session-Id", fmt.Sprint("s", sessions.Add(1)))
			return r.result(welcome)
		case r.Method == "GET":
			return r.refuse(405, "", "")
		case s == "s1" && r.method == "x":
			return r.refuse(status, "application/json", body)
		case r.method == "missing":
			return r.refuse(404, "application/json", `{"jsonrpc":"2.0","id":9,"error":{"code":-32601,"message":"no"}}`)
		case r.id != nil:
			return r.result(`{}`)
		}
		return ""
	}))
	h.say(hello)
	h.hear("…")
	h.say(ready)
	h.say(`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}`)
	h.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	h.say(`{"jsonrpc":"2.0","id":9,"method":"missing"}`)
	h.hear(`{"jsonrpc":"2.0","id":9,"error":{"code":-32601,"message":"no"}}`)
	h.say("%s\n%s", `{"jsonrpc":"2.0","id":2,"method":"x"}`, `{"jsonrpc":"2.0","id":3,"method":"x"}`)
	got := h.hear("…") + h.hear("…")
	if !strings.Contains(got, `"id":2,"result"`) || !strings.Contains(got, `"id":3,"result"`) {
		t.Errorf("heard %s", got)
	}
	h.quits("")
	if n := sessions.Load(); n != 2 {
		t.Errorf("%d sessions", n)
	}
	for _, want := range []string{`POST s2 notifications/initialized`, `POST s2 logging/setLevel "valetkey:`, `POST s2 x 2`, `POST s2 x 3`, "DELETE s2"} {
		if !strings.Contains(seen.all(), want) {
			t.Errorf("missing %s in\n%s", want, seen.all())
		}
	}
}

// TestSessionGoneForGood: a server that refuses another session, and one that forgets each at once.
func TestSessionGoneForGood(t *testing.T) {
	for name, again := range map[string]string{"refuses": "", "forgets": "s2"} {
		first := true
		h := start(t, serve(func(r request) string {
			switch {
			case r.method == "initialize" && (first || again != ""):
				first = false
				r.w.Header().Set("Mcp-Session-Id", "s1")
				return r.result(welcome)
			case r.method == "initialize":
				return r.refuse(400, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"too many"}}`)
			case r.method == "x":
				return r.refuse(404, "text/plain", "session not found")
			}
			return ""
		}))
		h.say(hello)
		h.hear("…")
		h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
		h.hear(map[string]string{
			"refuses": `{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"mcp.example.com/mcp ended the session and refused another: too many"}}`,
			"forgets": `{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"mcp.example.com/mcp answered 404 Not Found: session not found"}}`,
		}[name])
	}
}

// TestResume: a stream that ends before its answer is taken up where it ended, after the time the server wants.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen journal
		begun := time.Now()
		h := start(t, serve(func(r request) string {
			last := r.Header.Get("Last-Event-ID")
			seen.note("%v %s %s", time.Since(begun), r.Method, last)
			switch {
			case r.Method == "POST":
				r.events("id: 1\nretry: 500\ndata:", "id: 2\ndata: "+`{"jsonrpc":"2.0","method":"a"}`)
			case last == "2":
				r.events("id: 3\nretry: 2000\ndata: " + `{"jsonrpc":"2.0","method":"b"}`)
				panic(http.ErrAbortHandler)
			case last == "3":
				r.events("data: "+`{"jsonrpc":"2.0","id":1,"result":{"n":1}}`, "data: "+`{"jsonrpc":"2.0","id":1,"result":{"n":2}}`)
			}
			return ""
		}))
		h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
		h.hear(`{"jsonrpc":"2.0","method":"a"}`)
		h.hear(`{"jsonrpc":"2.0","method":"b"}`)
		h.hear(`{"jsonrpc":"2.0","id":1,"result":{"n":1}}`)
		h.quits("")
		if want := "0s POST \n500ms GET 2\n2.5s GET 3"; seen.all() != want {
			t.Errorf("the server saw\n%s\nwant\n%s", seen.all(), want)
		}
	})
}

// TestResumeInVain: what cannot be taken up is an error of that one request, in bounded time.
func TestResumeInVain(t *testing.T) {
	for name, c := range map[string]struct {
		get    func(request) string
		within time.Duration
	}{
		"not offered":  {func(r request) string { return r.refuse(405, "text/plain", "") }, time.Second},
		"empty":        {func(r request) string { return r.events() }, 2 * time.Minute},
		"unavailable":  {func(r request) string { return r.refuse(503, "text/plain", "") }, 2 * time.Minute},
		"not a stream": {func(r request) string { return r.refuse(200, "text/html", "<p>") }, 2 * time.Minute},
		"same again":   {func(r request) string { return r.events("id: 1\ndata: {}") }, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				h := start(t, serve(func(r request) string {
					if r.Method == "GET" {
						return c.get(r)
					}
					return r.events("id: 1\ndata:")
				}))
				h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
				h.hear(`{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"mcp.example.com/mcp closed the connection before it had answered: whether it did what was asked is not known"}}`)
				if took := time.Since(begun); took > c.within {
					t.Errorf("after %v", took)
				}
			})
		})
	}
}

// TestListen: the server's own stream is opened again when it ends, where it ended, and not at all if not offered.
func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen journal
		begun := time.Now()
		gets := 0
		h := start(t, serve(func(r request) string {
			if r.Method == "GET" {
				gets++
				seen.note("%v %s", time.Since(begun), r.Header.Get("Last-Event-ID"))
				switch gets {
				case 1:
					return r.events("id: 7\nretry: 100\ndata: " + `{"jsonrpc":"2.0","method":"n1"}`)
				case 2, 3:
					return r.refuse(502, "text/plain", "")
				case 4:
					r.w.Header().Set("Valetkey-Error", "consent_denied")
					return r.refuse(403, "application/json", "{}") // no reason to ask the person: wait for the host
				case 5:
					r.events("data: " + `{"jsonrpc":"2.0","method":"n2"}`)
					return ""
				}
				return r.refuse(405, "text/plain", "")
			}
			if r.id != nil {
				return r.result("{}")
			}
			return ""
		}))
		h.say(hello)
		h.hear("…")
		h.say(ready)
		h.say(`{"jsonrpc":"2.0","id":4,"method":"x"}`) // shows that the server is there, which is no reason to hurry
		h.hear("…")
		h.hear("…")
		time.Sleep(24 * time.Hour)
		h.say(`{"jsonrpc":"2.0","id":5,"method":"x"}`)
		if got := h.hear("…") + h.hear("…"); !strings.Contains(got, `"id":5`) || !strings.Contains(got, "n2") {
			t.Errorf("heard %s", got)
		}
		time.Sleep(time.Hour)
		h.quits("")
		if want := "0s \n100ms 7\n1.1s 7\n3.1s 7\n24h0m0s 7\n24h0m1s 7"; seen.all() != want {
			t.Errorf("the server saw\n%s\nwant\n%s", seen.all(), want)
		}
	})
}

// TestAccepted: a request that is answered 202 gets its answer on the other stream, or an error.
func TestAccepted(t *testing.T) {
	for _, offered := range []bool{true, false} {
		arrived := make(chan []byte)
		h := start(t, serve(func(r request) string {
			switch {
			case r.Method == "GET" && offered:
				r.events(": open", `data: {"jsonrpc":"2.0","method":"open"}`)
				select {
				case id := <-arrived:
					r.events("data: " + string(newResult(id, []byte("{}")).raw))
				case <-r.Context().Done():
				}
			case r.Method == "GET":
				return r.refuse(405, "", "")
			case r.method == "initialize":
				return r.result(welcome)
			case r.method == "x":
				if offered {
					go func() { arrived <- r.id }()
				}
				r.w.WriteHeader(202)
			}
			return ""
		}))
		h.say(hello)
		h.hear("…")
		h.say(ready)
		if offered {
			h.hear(`{"jsonrpc":"2.0","method":"open"}`)
		}
		h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
		if offered {
			h.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		} else {
			h.hear(`{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"mcp.example.com/mcp closed the connection…`)
		}
	}
}

// TestCancelLegacy: the server is told, the late answer is not passed on, and what lingers ends.
func TestCancelLegacy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan string, 1)
		hungUp := make(chan time.Duration, 1)
		h := start(t, serve(func(r request) string {
			switch r.method {
			case "slow":
				begun := time.Now()
				r.events(`data: {"jsonrpc":"2.0","method":"begun"}`)
				<-r.Context().Done()
				hungUp <- time.Since(begun)
			case "notifications/cancelled":
				told <- string(r.raw)
			case "late":
				<-told
				return r.result("{}")
			}
			return ""
		}))
		h.say(`{"jsonrpc":"2.0","id":1,"method":"slow"}`)
		h.hear(`{"jsonrpc":"2.0","method":"begun"}`)
		cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"changed my mind"}}`
		h.say("%s", cancel)
		if got := <-told; got != cancel {
			t.Errorf("the server was told %s", got)
		}
		if after := <-hungUp; after != cancelGrace {
			t.Errorf("the stream ended after %v", after)
		}
		h.say(`{"jsonrpc":"2.0","id":2,"method":"late"}`)
		synctest.Wait()
		h.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`)
		h.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}`)
		h.quits("")
	})
}

// TestCancelUnsent: what the host gave up before it was sent is not sent.
func TestCancelUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := make(chan struct{})
		var seen journal
		h := start(t, serve(func(r request) string {
			seen.note("%s", r.method)
			if r.method == "initialize" {
				<-begin
			}
			return r.result("{}")
		}))
		h.say(hello)
		h.say(`{"jsonrpc":"2.0","id":1,"method":"dangerous"}`)
		h.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
		h.say(`{"jsonrpc":"2.0","id":2,"method":"x"}`)
		synctest.Wait()
		close(begin)
		h.hear(`{"jsonrpc":"2.0","id":0,…`)
		h.hear(`{"jsonrpc":"2.0","id":2,…`)
		h.quits("")
		if got := seen.all(); got != "initialize\nx" {
			t.Errorf("the server saw\n%s", got)
		}
	})
}

// TestLimit: a request that takes too long is answered, and the server is told that nobody waits.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan string, 1)
		h := start(t, serve(func(r request) string {
			switch r.method {
			case "slow":
				r.events()
				for {
					select {
					case <-time.After(time.Second):
						r.events(`data: {"jsonrpc":"2.0","method":"notifications/progress"}`)
					case <-r.Context().Done():
						return ""
					}
				}
			case "notifications/cancelled":
				told <- string(r.raw)
			}
			return ""
		}), func(c *Config) { c.Limit = 2500 * time.Millisecond })
		h.say(`{"jsonrpc":"2.0","id":1,"method":"slow"}`)
		h.hear(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
		h.hear(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
		h.hear(`{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"mcp.example.com/mcp did not answer within 2.5s"}}`)
		if got := <-told; !strings.Contains(got, `"requestId":1`) {
			t.Errorf("the server was told %s", got)
		}
	})
}

// TestRefusals: every failure is the answer to its request, in words for the person.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(request) string
		want  string
	}{
		"JSON-RPC as it is": {func(r request) string {
			return r.refuse(400, "application/json", `{"jsonrpc":"2.0", "id":1, "error":{"code":-32021,"message":"m","data":{"requiredCapabilities":{}}}}`)
		}, `{"jsonrpc":"2.0", "id":1, "error":{"code":-32021,"message":"m","data":{"requiredCapabilities":{}}}}`},
		"JSON-RPC, no id": {func(r request) string {
			return r.refuse(500, "application/json", `{"jsonrpc":"2.0","error":{"code":-32603,"message":"m"},"id":null}`)
		}, `{"jsonrpc":"2.0","error":{"code":-32603,"message":"m"},"id":1}`},
		"JSON-RPC, other id": {func(r request) string {
			return r.refuse(400, "application/json", `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"m"}}`)
		}, `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"m"}}`},
		"JSON-RPC, 200, null": {func(r request) string { return `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"m"}}` }, `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"m"}}`},
		"plain":               {func(r request) string { return r.refuse(500, "text/plain", "it\n\x1b broke  here") }, fails("answered 500 Internal Server Error: it broke here")},
		"HTML":                {func(r request) string { return r.refuse(502, "text/html", "<h1>") }, fails("answered 502 Bad Gateway")},
		"long":                {func(r request) string { return r.refuse(400, "text/plain", strings.Repeat("x", 300)) }, fails("answered 400 Bad Request: " + strings.Repeat("x", 200) + "…")},
		"redirect":            {func(r request) string { r.w.Header().Set("Location", "/x"); return r.refuse(307, "text/html", "") }, fails("answered 307 Temporary Redirect")},
		"the app's": {func(r request) string {
			r.w.Header().Set("Valetkey-Error", "consent_denied")
			return r.refuse(403, "application/json", `{"error":{"code":"consent_denied","message":"you said no","hint":"say yes"}}`)
		}, `{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"you said no; say yes"}}`},
		"no JSON":          {func(r request) string { return "<p>" }, fails("answered with something that is not MCP")},
		"HTML, 200":        {func(r request) string { return r.refuse(200, "text/html", "<p>sign in</p>") }, fails("answered with something that is not MCP")},
		"empty":            {func(r request) string { return "" }, fails("closed the connection before it had answered: whether it did what was asked is not known")},
		"another's answer": {func(r request) string { return `{"jsonrpc":"2.0","id":5,"result":{}}` }, fails("closed the connection…")},
		"stream ends":      {func(r request) string { return r.events(`data: {"jsonrpc":"2.0","id":5,"result":{}}`) }, fails("closed the connection…")},
		"stream breaks":    {func(r request) string { r.events("data: {"); panic(http.ErrAbortHandler) }, fails("closed the connection…")},
		"garbage events": {func(r request) string {
			return r.events("data: {", "garbage", "data: 5", "data: []", `data: {"jsonrpc":"2.0","id":1,"result":{}}`)
		}, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		"line without end": {func(r request) string { r.events("data: {}"); return endless(r.w, "data: xxxxxxxxxxxxxxxxxxxxxxxxxx") }, fails("answered with a message larger than 16 MiB")},
		"event without end": {func(r request) string {
			r.events("data: {}")
			return endless(r.w, "data: "+strings.Repeat("x", 1000)+"\n")
		}, fails("answered with a message larger than 16 MiB")},
		"body without end": {func(r request) string {
			r.w.Header().Set("Content-Type", "application/json")
			return endless(r.w, "          ")
		}, fails("answered with a message larger than 16 MiB")},
		"batch":                 {func(r request) string { return `[{"jsonrpc":"2.0","id":1,"result":{}}]` }, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		"batch, partly rubbish": {func(r request) string { return `[5,{"id":{}},{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0"}]` }, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		"batched event, partly rubbish": {func(r request) string {
			return r.events(`data: [null,{"id":1},{"jsonrpc":"2.0","id":1,"result":{}}]`)
		}, `{"jsonrpc":"2.0","id":1,"result":{}}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, serve(c.serve))
			h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
			h.hear(c.want)
			h.quits("")
		})
	}
}

func fails(words string) string {
	return `{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"mcp.example.com/mcp ` + words + `"}}`
}

// endless writes the same for ever.
func endless(w io.Writer, part string) string {
	part = strings.Repeat(part, 1000)
	for {
		if _, err := io.WriteString(w, part); err != nil {
			return ""
		}
	}
}

// TestLarge: 10 MB pass in both directions, over JSON and over an event stream.
func TestLarge(t *testing.T) {
	big := strings.Repeat("0123456789", 1<<20)
	h := start(t, serve(func(r request) string {
		switch r.method {
		case "stream":
			return r.events("data: " + r.result(`"`+big+`"`))
		case "json":
			return r.result(`"` + big + `"`)
		}
		return r.result(fmt.Sprint(len(r.params)))
	}))
	for method, want := range map[string]string{"stream": `"` + big + `"`, "json": `"` + big + `"`} {
		h.say(`{"jsonrpc":"2.0","id":1,"method":"%s"}`, method)
		if got := h.hear("…"); got != `{"jsonrpc":"2.0","id":1,"result":`+want+`}` {
			t.Errorf("%s: %.100s", method, got)
		}
	}
	h.say(`{"jsonrpc":"2.0","id":1,"method":"up","params":["%s"]}`, big)
	h.hear(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":%d}`, len(big)+4))
}

// TestLinesOfHost: what a host writes wrongly.
func TestLinesOfHost(t *testing.T) {
	h := start(t, serve(func(r request) string { return r.result("{}") }))
	h.say("")
	h.say("\r")
	h.say(`{"jsonrpc":`)
	h.hear(`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"a line is not JSON"}}`)
	h.say(`5`)
	h.hear(`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"a line is not a JSON-RPC message"}}`)
	h.say(`[]`)
	h.hear(`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,…`)
	h.say(`{"jsonrpc":"2.0","id":3}`)
	h.hear(`{"jsonrpc":"2.0","id":3,"error":{"code":-32600,…`)
	go func() { io.WriteString(h.in, strings.Repeat("x", maxMessage+2)+"\n") }()
	h.hear(`{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"a message is larger than 16 MiB"}}`)
	h.say(`[{"jsonrpc":"2.0","id":4,"method":"x"}]`)
	h.hear(`[{"jsonrpc":"2.0","id":4,"result":{}}]`)
	h.say("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"x\"}\r")
	h.hear(`{"jsonrpc":"2.0","id":5,"result":{}}`)
	io.WriteString(h.in, `{"jsonrpc":"2.0","id":6,"meth`)
	if err := h.quits(""); err != nil {
		t.Errorf("half a line and the end: %v", err)
	}
}

// TestLastLine: a last line without an end counts, and its answer is waited for.
func TestLastLine(t *testing.T) {
	h := start(t, serve(func(r request) string { return r.result("{}") }))
	io.WriteString(h.in, `{"jsonrpc":"2.0","id":6,"method":"x"}`)
	h.quits(`{"jsonrpc":"2.0","id":6,"result":{}}` + "\n")
}

// TestDuplicate: an id that is in use is refused.
func TestDuplicate(t *testing.T) {
	release := make(chan struct{})
	h := start(t, serve(func(r request) string { <-release; return r.result("{}") }))
	h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
	h.say(`{"jsonrpc":"2.0","id":1.0,"method":"x"}`)
	h.hear(`{"jsonrpc":"2.0","id":1.0,"error":{"code":-32600,"message":"a request with this id is in progress"}}`)
	close(release)
	h.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
}

// TestTooMany: requests at once are bounded.
func TestTooMany(t *testing.T) {
	release := make(chan struct{})
	h := start(t, serve(func(r request) string { <-release; return r.result("{}") }))
	for i := range maxCalls + 1 {
		h.say(`{"jsonrpc":"2.0","id":%d,"method":"x"}`, i)
	}
	h.hear(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"error":{"code":-31503,"message":"too many requests are in progress at once"}}`, maxCalls))
	close(release)
	for range maxCalls {
		h.hear(`…"result":{}}`)
	}
}

// TestNotRunning: without the app every request is answered with how to start it, and the next one tries again.
func TestNotRunning(t *testing.T) {
	var running atomic.Bool
	away := &localapi.Error{Kind: localapi.ErrUnavailable, Message: "Valet Key is not running", Hint: "start Valet Key: run valetkey", Err: localapi.ErrNotRunning}
	h := startWith(t, &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if !running.Load() {
			return nil, away
		}
		return inProcess{serve(func(r request) string { return r.result("{}") })}.RoundTrip(r)
	})})
	for i := range 3 {
		h.say(`{"jsonrpc":"2.0","id":%d,"method":"initialize"}`, i)
		h.hear(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"error":{"code":-31503,"message":"Valet Key is not running; start Valet Key: run valetkey"}}`, i))
	}
	h.say(ready)
	running.Store(true)
	h.say(`{"jsonrpc":"2.0","id":9,"method":"x"}`)
	h.hear(`{"jsonrpc":"2.0","id":9,"result":{}}`)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestLostConnection: a network error says what is not known, and nothing of the URL.
func TestLostConnection(t *testing.T) {
	h := startWith(t, &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	})})
	h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
	h.hear(`{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"the connection to mcp.example.com/mcp was lost before the answer: whether it did what was asked is not known"}}`)
}

// TestTerminated: when told to end, the bridge answers what is open, ends the session and returns no error.
func TestTerminated(t *testing.T) {
	deleted := make(chan struct{})
	h := start(t, serve(func(r request) string {
		switch {
		case r.Method == "DELETE":
			close(deleted)
		case r.method == "initialize":
			r.w.Header().Set("Mcp-Session-Id", "s1")
			return r.result(welcome)
		case r.method == "slow" || r.Method == "GET":
			r.events(`data: {"jsonrpc":"2.0","method":"begun"}`)
			<-r.Context().Done()
		}
		return ""
	}))
	h.say(hello)
	h.hear("…")
	h.say(`{"jsonrpc":"2.0","id":1,"method":"slow"}`)
	h.hear(`{"jsonrpc":"2.0","method":"begun"}`)
	h.stop()
	h.hear(`{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"vk bridge was told to end"}}`)
	<-deleted
	if err := h.ends(); err != nil {
		t.Error(err)
	}
}

// TestEndIsBounded: neither a server that never answers nor a host that does not read keep the bridge.
func TestEndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := func(r request) string {
			if r.method == "initialize" {
				r.w.Header().Set("Mcp-Session-Id", "s1")
				return r.result(welcome)
			}
			<-r.Context().Done()
			return ""
		}
		h := start(t, serve(never))
		h.say(hello)
		h.hear("…")
		h.say(`{"jsonrpc":"2.0","id":1,"method":"slow"}`)
		begun := time.Now()
		h.in.Close() // and nobody reads
		if err := h.ends(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != finishLimit+leaveLimit {
			t.Errorf("it took %v", took)
		}
	})
}

// TestHostGone: a host that closed our output ends the bridge, and the session.
func TestHostGone(t *testing.T) {
	deleted := make(chan struct{})
	h := start(t, serve(func(r request) string {
		if r.Method == "DELETE" {
			close(deleted)
			return ""
		}
		r.w.Header().Set("Mcp-Session-Id", "s1")
		return r.result(welcome)
	}))
	h.say(hello)
	h.hear("…")
	h.hung.CloseWithError(errors.New("gone"))
	h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
	<-deleted
	if err := h.ends(); err == nil || err.Error() != "write to the host: gone" {
		t.Errorf("%v", err)
	}
}

// TestReadError: an input that breaks is an error; a context that has ended is none.
func TestReadError(t *testing.T) {
	broken, w := io.Pipe()
	w.CloseWithError(errors.New("broken"))
	b := New(Config{Client: &http.Client{}, URL: "http://valetkey/mcp/x"})
	if err := b.Run(t.Context(), broken, io.Discard); err == nil || err.Error() != "read from the host: broken" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never, end := io.Pipe()
	defer end.Close()
	if err := b.Run(ctx, never, io.Discard); err != nil {
		t.Errorf("%v", err)
	}
}

// TestLogIsQuiet: what was said, and the session, is not in the log.
func TestLogIsQuiet(t *testing.T) {
	h := start(t, serve(func(r request) string {
		r.w.Header().Set("Mcp-Session-Id", "canary-session")
		if r.method == "initialize" {
			return r.result(welcome)
		}
		return r.events("data: {canary-data", "data: canary")
	}))
	h.say(hello)
	h.hear("…")
	h.say(`{"jsonrpc":"2.0","id":1,"method":"x","params":{"secret":"canary-params"}}`)
	h.hear(`…"error"…`)
	h.quits("")
	if log := h.log.String(); strings.Contains(log, "canary") || !strings.Contains(log, "dropped") {
		t.Errorf("the log:\n%s", log)
	}
}
