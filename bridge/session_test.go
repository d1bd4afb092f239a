package bridge

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestSessionID: only an id that is visible ASCII is one, and a server that knows no end of a session is no trouble.
func TestSessionID(t *testing.T) {
	for id, want := range map[string]string{"s~1!": "s~1!", "a b": "", "é": "", "a\tb": "", "": ""} {
		var seen journal
		h := start(t, serve(func(r request) string {
			switch {
			case r.method == "initialize":
				r.w.Header().Set("MCP-SESSION-ID", id)
				return r.result(welcome)
			case r.method == "x":
				seen.note("%q", r.Header["Mcp-Session-Id"])
				return r.result("{}")
			}
			return r.refuse(405, "text/plain", "")
		}))
		h.say(hello)
		h.hear("…")
		h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
		h.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		if err := h.quits(""); err != nil {
			t.Errorf("%q: %v", id, err)
		}
		sent := `["` + want + `"]`
		if want == "" {
			sent = "[]"
		}
		if seen.all() != sent {
			t.Errorf("%q: the server got %s, want %s", id, seen.all(), sent)
		}
	}
}

// TestStreamNotOffered: a server need not offer a stream of its own; it is asked once, and all else goes on.
func TestStreamNotOffered(t *testing.T) {
	for _, status := range []int{404, 405} {
		synctest.Test(t, func(t *testing.T) {
			gets := 0
			h := start(t, serve(func(r request) string {
				switch {
				case r.Method == "GET":
					gets++
					return r.refuse(status, "text/plain", "")
				case r.method == "initialize":
					r.w.Header().Set("Mcp-Session-Id", "s1")
					return r.result(welcome)
				case r.id != nil:
					return r.result("{}")
				}
				return ""
			}))
			h.say(hello)
			h.hear("…")
			h.say(ready)
			for range 3 {
				time.Sleep(time.Hour)
				h.say(`{"jsonrpc":"2.0","id":1,"method":"x"}`)
				h.hear(`{"jsonrpc":"2.0","id":1,"result":{}}`)
			}
			h.quits("")
			if gets != 1 {
				t.Errorf("%d: asked %d times", status, gets)
			}
		})
	}
}
