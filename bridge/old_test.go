package bridge

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// oldServer is a server of 2024-11-05 as they are: messages are taken with 202 and words, all answers come in the stream.
type oldServer struct {
	mu       sync.Mutex
	sessions map[string]chan string // to the stream, by session
	count    int
	seen     journal
	handle   func(r request) string // answers a request; nil answers {}
	endpoint string                 // what is named, with %s for the session
	refuses  int                    // the status of a POST to the stream's URL
	unknown  func(r request) string // answers a POST of no session
}

func newOldServer() *oldServer {
	return &oldServer{
		sessions: map[string]chan string{}, endpoint: "/messages?session=%s", refuses: http.StatusMethodNotAllowed,
		unknown: func(r request) string { return r.refuse(404, "text/plain", "Could not find session") },
	}
}

func (o *oldServer) serve(r request) string {
	id := r.URL.Query().Get("session")
	switch {
	case r.Method == http.MethodGet:
		o.seen.note("GET %s", r.URL.Path)
		return o.stream(r)
	case id == "":
		return r.refuse(o.refuses, "text/plain", "")
	}
	o.mu.Lock()
	stream := o.sessions[id]
	o.mu.Unlock()
	if stream == nil {
		return o.unknown(r)
	}
	o.seen.note("%s %s", id, r.method)
	switch {
	case r.method == "initialize":
		stream <- r.result(strings.Replace(welcome, "2025-11-25", "2024-11-05", 1))
	case r.id != nil && r.method != "":
		answer := r.result("{}")
		if o.handle != nil {
			answer = o.handle(r)
		}
		if answer == "" {
			return "" // the handler said all
		}
		stream <- answer
	}
	return r.refuse(http.StatusAccepted, "text/plain", "Accepted")
}

func (o *oldServer) stream(r request) string {
	o.mu.Lock()
	o.count++
	id := fmt.Sprint("s", o.count)
	stream := make(chan string, 10)
	o.sessions[id] = stream
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		delete(o.sessions, id)
		o.mu.Unlock()
	}()
	endpoint := o.endpoint
	if strings.Contains(endpoint, "%s") {
		endpoint = fmt.Sprintf(endpoint, id)
	}
	r.events("event: endpoint\r\ndata: " + endpoint + "\r\n\r\n: a comment")
	for {
		select {
		case m := <-stream:
			if m == "BREAK" {
				panic(http.ErrAbortHandler)
			}
			r.events("event: message\r\ndata: " + m + "\r\n\r")
		case <-r.Context().Done():
			return ""
		}
	}
}

// drop breaks every stream off.
func (o *oldServer) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, stream := range o.sessions {
		stream <- "BREAK"
	}
}

func (o *oldServer) begin(h *stdioHost) {
	h.say(hello)
	h.hear(`{"jsonrpc":"2.0","id":0,"result":` + strings.Replace(welcome, "2025-11-25", "2024-11-05", 1) + `}`)
	h.say(ready)
}

// TestOld: a server of 2024-11-05 is found where initialize is refused, and the person is told.
func TestOld(t *testing.T) {
	for _, status := range []int{400, 404, 405} {
		o := newOldServer()
		o.refuses = status
		h := start(t, serve(o.serve))
		o.begin(h)
		h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
		h.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		h.quits("")
		if want := "GET /mcp/mcp.example.com/mcp\ns1 initialize\ns1 notifications/initialized\ns1 x"; o.seen.all() != want {
			t.Errorf("%d: the server saw\n%s\nwant\n%s", status, o.seen.all(), want)
		}
		if !strings.Contains(h.log.String(), "speaks HTTP with SSE, which MCP has replaced in 2025; ask its owner for a newer address") {
			t.Errorf("the person is not told:\n%s", h.log.String())
		}
	}
}

// TestNotOld: everything else is answered as it was, and nothing is sent to another address.
func TestNotOld(t *testing.T) {
	plainly := func(status int) func(request) string {
		return func(r request) string { return r.refuse(status, "text/plain", "no") }
	}
	named := func(endpoint string) func(request) string {
		return func(r request) string { return r.events("event: endpoint\ndata: " + endpoint) }
	}
	answered := func(status string) string { return strings.Replace(fails("answered "+status), `"id":1`, `"id":0`, 1) }
	for name, c := range map[string]struct {
		post, get func(request) string
		gets      int32
		want      string
	}{
		"no stream":    {plainly(404), plainly(404), 1, answered("404 Not Found: no")},
		"another page": {plainly(405), func(r request) string { return r.refuse(200, "text/html", "<p>") }, 1, answered("405 Method Not Allowed: no")},
		"empty stream": {plainly(405), func(r request) string { return r.events() }, 1, answered("405 Method Not Allowed: no")},
		"another event": {plainly(405), func(r request) string {
			return r.events(`data: {"jsonrpc":"2.0","method":"x"}`, "event: endpoint\ndata: /m")
		}, 1, answered("405 Method Not Allowed: no")},
		"forbidden":    {plainly(403), plainly(404), 0, answered("403 Forbidden: no")},
		"server error": {plainly(500), plainly(404), 0, answered("500 Internal Server Error: no")},
		"modern error": {func(r request) string {
			return r.refuse(400, "application/json", `{"jsonrpc":"2.0","id":0,"error":{"code":-32022,"message":"m","data":{"supported":["2027-01-01"]}}}`)
		}, plainly(404), 0, `{"jsonrpc":"2.0","id":0,"error":{"code":-32022,"message":"m","data":{"supported":["2027-01-01"]}}}`},
		"the app's": {func(r request) string {
			r.w.Header().Set("Valetkey-Error", "bad_request")
			return r.refuse(404, "application/json", `{"error":{"message":"no such server"}}`)
		}, plainly(404), 0, `{"jsonrpc":"2.0","id":0,"error":{"code":-31503,"message":"no such server"}}`},
		"the app's, for the stream": {plainly(405), func(r request) string {
			r.w.Header().Set("Valetkey-Error", "consent_required")
			return r.refuse(403, "application/json", `{"jsonrpc":"2.0","error":{"code":-31403,"message":"Valet Key: not yet"}}`)
		}, 1, `{"jsonrpc":"2.0","id":0,"error":{"code":-31503,"message":"Valet Key: not yet"}}`},
		"the app's, in the stream": {plainly(405), func(r request) string {
			return r.events(`data: {"jsonrpc":"2.0","error":{"code":-31502,"message":"Valet Key: elsewhere"}}`)
		}, 1, `{"jsonrpc":"2.0","id":0,"error":{"code":-31503,"message":"Valet Key: elsewhere"}}`},
		"another origin": {plainly(405), named("https://evil.example/messages"), 1, `…mcp.example.com/mcp names a place for messages at another address, which is not used: https://evil.example/messages"}}`},
		"another host":   {plainly(405), named("//evil.example/messages"), 1, `…at another address, which is not used: //evil.example/messages"}}`},
		"another scheme": {plainly(405), named("https://valetkey/messages"), 1, `…at another address, which is not used: https://valetkey/messages"}}`},
		"a user":         {plainly(405), named("http://u:p@valetkey/messages"), 1, `…at another address, which is not used: http://u:p@valetkey/messages"}}`},
		"unreadable":     {plainly(405), named("http://["), 1, `…at another address, which is not used: http://["}}`},
	} {
		t.Run(name, func(t *testing.T) {
			var gets atomic.Int32
			h := start(t, serve(func(r request) string {
				if r.Method == http.MethodGet {
					gets.Add(1)
					return c.get(r)
				}
				if r.URL.Path != "/mcp/mcp.example.com/mcp" {
					t.Errorf("%s was sent to %s", r.method, r.URL)
				}
				return c.post(r)
			}))
			h.say(hello)
			h.hear(c.want)
			h.quits("")
			if gets.Load() != c.gets {
				t.Errorf("%d streams were opened, want %d", gets.Load(), c.gets)
			}
		})
	}
}

// TestOldIsSilent: a stream that names nothing is not waited for long.
func TestOldIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, serve(func(r request) string {
			if r.Method == http.MethodGet {
				r.events(": waits")
				<-r.Context().Done()
				return ""
			}
			return r.refuse(405, "text/plain", "")
		}))
		begun := time.Now()
		h.say(hello)
		h.hear(strings.Replace(fails("answered 405 Method Not Allowed"), `"id":1`, `"id":0`, 1))
		if took := time.Since(begun); took != endpointLimit {
			t.Errorf("after %v", took)
		}
		h.quits("")
	})
}

// TestOldStreamDrops: what waited for its answer fails, once, and is not sent again; what comes next begins another
// session, which the host does not notice. Nothing is sent meanwhile: a message may be a question to the person.
func TestOldStreamDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOldServer()
		o.handle = func(r request) string {
			if r.method == "slow" {
				return r.refuse(202, "text/plain", "Accepted")
			}
			return r.result("{}")
		}
		h := start(t, serve(o.serve))
		o.begin(h)
		h.say(`{"jsonrpc":"2.0","id":1,"method":"slow"}`)
		synctest.Wait()
		o.drop()
		h.hear(fails("closed the connection before it had answered: whether it did what was asked is not known"))
		time.Sleep(time.Hour)
		h.say("%s\n%s", `{"jsonrpc":"2.0","id":2,"method":"x"}`, `{"jsonrpc":"2.0","id":3,"method":"x"}`)
		if got := h.hear("…") + h.hear("…"); strings.Count(got, `"result":{}`) != 2 {
			t.Errorf("heard %s", got)
		}
		h.quits("")
		if all := o.seen.all(); strings.Count(all, "slow") != 1 || strings.Count(all, "GET") != 2 || !strings.Contains(all, "s1 slow\nGET /mcp/mcp.example.com/mcp\ns2 initialize\ns2 notifications/initialized\ns2 x") {
			t.Errorf("the server saw\n%s", all)
		}
	})
}

// TestOldForgets: a server that does not know the session any more, in the ways that servers say so.
func TestOldForgets(t *testing.T) {
	for name, unknown := range map[string]func(request) string{
		"404": func(r request) string { return r.refuse(404, "text/plain", "Could not find session") },
		"400": func(r request) string { return r.refuse(400, "text/plain", "No transport found for sessionId") },
		"the app's": func(r request) string {
			r.w.Header().Set("Valetkey-Error", "bad_request")
			return r.refuse(404, "application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-31404,"message":"Valet Key: the stream has ended"}}`)
		},
	} {
		o := newOldServer()
		o.unknown = unknown
		h := start(t, serve(o.serve))
		o.begin(h)
		h.say(`{"jsonrpc":"2.0","id":9,"method":"x"}`)
		h.hear("…")
		o.mu.Lock()
		clear(o.sessions) // the stream stays open
		o.mu.Unlock()
		h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
		h.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		h.quits("")
		if n := strings.Count(o.seen.all(), "GET"); n != 2 {
			t.Errorf("%s: %d streams", name, n)
		}
	}
}

// TestOldServerMoves: a server that has learned the newer transport meanwhile is spoken to that way.
func TestOldServerMoves(t *testing.T) {
	o := newOldServer()
	var moved atomic.Bool
	h := start(t, serve(func(r request) string {
		switch {
		case !moved.Load():
			return o.serve(r)
		case r.Method == http.MethodGet:
			return r.refuse(405, "", "")
		case r.method == "initialize":
			return r.result(welcome)
		case r.id != nil:
			return r.result(`"new"`)
		}
		return ""
	}))
	o.begin(h)
	moved.Store(true)
	o.drop()
	h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
	h.hear(`{"jsonrpc":"2.0","id":1,"result":"new"}`)
	h.quits("")
}
