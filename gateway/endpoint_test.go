package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// oldSite is a server of 2024-11-05 that names a place for messages, and answers each in its stream with where it came.
func oldSite(t *testing.T, endpoint func(self string) string) (address string, says chan string, seen func() []string) {
	says = make(chan string, 10)
	var mu sync.Mutex
	var lines []string
	var self string
	address = server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		lines = append(lines, fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("Authorization"), body))
		mu.Unlock()
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusAccepted)
			io.WriteString(w, "Accepted")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprintf(w, ": hello\r\n\r\nevent: endpoint\r\ndata: %s\r\n\r\n", endpoint(self))
		for {
			w.(http.Flusher).Flush()
			select {
			case m := <-says:
				fmt.Fprintf(w, "data: %s\r\n\r\n", m)
			case <-r.Context().Done():
				return
			}
		}
	})
	self = strings.TrimSuffix(address, "/mcp")
	return address, says, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, lines...)
	}
}

// opened opens the stream of an old server and returns where the host is to send to.
func (r *rig) opened(ctx context.Context, address string) (place string, events *bufio.Reader) {
	r.t.Helper()
	resp, err := r.open(ctx, "GET", at(address), "")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	events = bufio.NewReader(resp.Body)
	for {
		line, err := events.ReadString('\n')
		if err != nil {
			r.t.Fatal(err)
		}
		if path, ok := strings.CutPrefix(line, "data: "); ok {
			events.ReadString('\n')
			return strings.TrimSpace(path), events
		}
	}
}

var placePath = regexp.MustCompile(`^/mcp/sse:[A-Z2-7]{26}$`)

// TestOldTransport: HTTP with SSE passes, with the token at both of its URLs, and a path of ours for the second.
func TestOldTransport(t *testing.T) {
	for name, endpoint := range map[string]string{"a path": "/messages?session_id=1", "a query": "?session_id=1", "absolute": "SELF/messages?session_id=1#f"} {
		t.Run(name, func(t *testing.T) {
			address, says, seen := oldSite(t, func(self string) string { return strings.ReplaceAll(endpoint, "SELF", self) })
			asked := &tokens{give: func(int, localapi.TokenRequest) (string, error) { return canary, nil }}
			r := newRig(t, Config{Token: asked.token})
			ctx, hangUp := context.WithCancel(t.Context())
			path, events := r.opened(ctx, address)
			if !placePath.MatchString(path) {
				t.Fatalf("it is sent to %s", path)
			}
			resp, body := r.do("POST", "http://localhost"+path, call)
			if resp.StatusCode != http.StatusAccepted || body != "Accepted" {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			says <- `{"jsonrpc":"2.0","id":7,"result":{}}`
			if line, err := events.ReadString('\n'); line != "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\r\n" {
				t.Errorf("%q, %v", line, err)
			}
			want := "POST /messages?session_id=1 Bearer " + canary + " " + call
			if name == "a query" {
				want = strings.Replace(want, "/messages", "/mcp", 1)
			}
			if got := seen(); len(got) != 2 || got[0] != "GET /mcp Bearer "+canary+" " || got[1] != want {
				t.Errorf("the server saw %q", got)
			}
			for i, req := range asked.requests() { // it is one server, with one token
				if quiet := req.Interaction == localapi.InteractionNone; req.Resource != address || quiet != (i == 0) {
					t.Errorf("token request %d: %+v", i, req)
				}
			}
			hangUp()
			for until := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				resp, body = r.do("POST", "http://localhost"+path, call)
				if resp.StatusCode == http.StatusNotFound && resp.Header.Get(localapi.HeaderError) == "bad_request" && string(r.read(body).ID) == "7" {
					break
				}
				if time.Now().After(until) {
					t.Fatalf("after the stream: %d %s", resp.StatusCode, body)
				}
			}
		})
	}
}

// TestOldPlaces: the path stands for what the server named, in its own origin, for the one host it was named to.
func TestOldPlaces(t *testing.T) {
	elsewhere, _, foreign := oldSite(t, func(string) string { return "/" })
	for name, endpoint := range map[string]string{
		"another server": strings.TrimSuffix(elsewhere, "/mcp") + "/messages", "another scheme": "https:SELF/messages", "a user": "http://u:p@HOST/m", "unreadable": "http://[", "a script": "javascript:alert(1)",
	} {
		t.Run(name, func(t *testing.T) {
			address, _, _ := oldSite(t, func(self string) string {
				return strings.NewReplacer("https:SELF", "https"+strings.TrimPrefix(self, "http"), "HOST", hostport(self+"/")).Replace(endpoint)
			})
			r := newRig(t, Config{Token: (&tokens{}).token})
			resp, err := r.open(t.Context(), "GET", at(address), "")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err == nil || strings.Contains(string(body), "event: endpoint") || !strings.Contains(string(body), "names a place for messages at another address") {
				t.Errorf("%s, %v", body, err)
			}
		})
	}
	if len(foreign()) > 0 {
		t.Errorf("another server was sent %q", foreign())
	}

	address, _, seen := oldSite(t, func(string) string { return "/messages" })
	r := newRig(t, Config{Token: (&tokens{}).token})
	path, _ := r.opened(t.Context(), address)
	for _, method := range []string{"GET", "DELETE"} {
		if resp, body := r.do(method, "http://localhost"+path, ""); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", method, resp.StatusCode, body)
		}
	}
	for _, path := range []string{path + "x", path[:len(path)-1], "/mcp/sse:", path + "/x"} {
		if resp, body := r.do("POST", "http://localhost"+path, call); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if got := seen(); len(got) != 1 {
		t.Errorf("the server saw %q", got)
	}
	all := endpoints{open: map[string]*endpoint{}}
	id := all.add(&endpoint{host: claude})
	another, run := peer.Host{Key: "exe:/usr/bin/cursor", Instance: claude.Instance}, claude
	run.Instance = "2:1"
	for _, host := range []peer.Host{another, run} {
		if _, err := all.find(id, host); err == nil {
			t.Errorf("%+v may use it", host)
		}
	}
	if _, err := all.find(id, claude); err != nil {
		t.Error(err)
	}
}

// TestOldRefusals: Algorithm 6 holds for the second URL too; what the app answers there has a status, because hosts of
// that transport read nothing else.
func TestOldRefusals(t *testing.T) {
	var reply []int
	address := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "event: endpoint\ndata: /messages\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		status := reply[0]
		if reply = reply[1:]; status == 403 {
			w.Header().Set("WWW-Authenticate", narrow)
		}
		w.WriteHeader(status)
	})
	asked := &tokens{}
	r := newRig(t, Config{Token: asked.token})
	path, _ := r.opened(t.Context(), address)
	for _, c := range []struct {
		reply  []int
		status int
		code   string
	}{
		{[]int{401, 202}, 202, ""}, {[]int{403, 202}, 202, ""}, {[]int{401, 401, 401}, 403, "sign_in_required"}, {[]int{403, 403, 403}, 403, "consent_denied"}, {[]int{404}, 404, ""},
	} {
		reply = c.reply
		resp, body := r.do("POST", "http://localhost"+path, call)
		if resp.StatusCode != c.status || resp.Header.Get(localapi.HeaderError) != c.code || len(reply) > 0 {
			t.Errorf("%v: %d %s", c.reply, resp.StatusCode, body)
		}
		if c.code != "" && string(r.read(body).ID) != "7" {
			t.Errorf("%v: %s", c.reply, body)
		}
	}
	for _, req := range asked.requests() {
		if req.Resource != address {
			t.Errorf("a token for %s", req.Resource)
		}
	}
}

// TestOldHost: a host of the SDK that speaks the old transport by itself, over the socket.
func TestOldHost(t *testing.T) {
	s := newSite(t, mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return tools() }, nil))
	if _, body := s.do("POST", at(s.resource), call); body == "" { // its first message asks the person; the server has no place for it
		t.Error("the server took it")
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, nil).Connect(t.Context(), &mcp.SSEClientTransport{Endpoint: at(s.resource), HTTPClient: s.host}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	s.mustCall(session, "read", "read it")
	if questions, browsers := s.counts(); questions != 1 || browsers != 1 || len(s.naked) > 0 {
		t.Errorf("%d questions, %d browsers, without a token: %q", questions, browsers, s.naked)
	}
}

func opens(stream io.Reader) (string, string, error) {
	named := ""
	all, err := io.ReadAll(newOpening(stream, func(data string) ([]byte, error) {
		named = data
		return []byte("HERE"), nil
	}))
	return string(all), named, err
}

// TestOpening: what is held back of a stream, and what is put in its place.
func TestOpening(t *testing.T) {
	for in, want := range map[string]struct{ out, named string }{
		"event: endpoint\ndata: /m\n\ndata: a\n\n":                               {"HEREdata: a\n\n", "/m"},
		"event:endpoint\r\ndata:/m?a=b:c\r\n\r\ndata: a\r\n\r\n":                 {"HEREdata: a\r\n\r\n", "/m?a=b:c"},
		"\ufeffdata: /m\revent: endpoint\r\rdata: a\r\r":                         {"HEREdata: a\r\r", "/m"},
		": hi\n\nid: 1\n\nretry: 5\nevent: endpoint\ndata:  /m \n\n":             {": hi\n\nid: 1\n\nHERE", "/m"},
		"data: a\n\nevent: endpoint\ndata: /m\n\n":                               {"", ""},
		"event: x\ndata: a\n\nevent: endpoint\ndata: /m\n\n":                     {"", ""},
		"event: endpoint\n\ndata: a\n\n":                                         {"", ""},
		"event: endpoint\ndata: /m\n":                                            {"", ""}, // no end, no event
		"":                                                                       {"", ""},
		"event: endpoint\ndata: " + strings.Repeat("x", maxOpening) + "\n\n":     {"", ""},
		strings.Repeat(": hi\n", maxOpening/5) + "event: endpoint\ndata: /m\n\n": {"", ""},
		strings.Repeat(": hi\n\n", maxOpening) + "event: endpoint\ndata: /m\n\n": {strings.Repeat(": hi\n\n", maxOpening) + "HERE", "/m"},
	} {
		if want.named == "" {
			want.out = in
		}
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
			got, named, err := opens(r)
			got = strings.Replace(got, "HERE\n", "HERE", 1) // half of a CR LF may be left: an empty line more
			if got != want.out || named != want.named || err != nil {
				t.Errorf("%.80q: %.80q, named %.80q, %v", in, got, named, err)
			}
		}
	}
	if got, _, err := opens(io.MultiReader(strings.NewReader("data: ha"), iotest.ErrReader(io.ErrUnexpectedEOF))); got != "data: ha" || err != io.ErrUnexpectedEOF {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzOpening: a stream that names no place passes byte for byte, in whatever parts it comes.
func FuzzOpening(f *testing.F) {
	for _, s := range []string{"event: endpoint\ndata: /m\n\n", "\ufeff: a\r\n\r\nid\revent: endpoint\rdata\r\r", "data: a\n\nevent: endpoint\ndata: b\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		once, named, err := opens(bytes.NewReader(in))
		if err != nil || named == "" && once != string(in) {
			t.Fatalf("%q became %q, %v", in, once, err)
		}
		slow, again, err := opens(iotest.OneByteReader(bytes.NewReader(in)))
		if err != nil || again != named || named == "" && slow != string(in) {
			t.Fatalf("%q byte by byte became %q and named %q, %v", in, slow, again, err)
		}
	})
}
