package localapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/peer"
)

func TestMCPPath(t *testing.T) {
	for server, want := range map[string]string{
		"https://mcp.example.com/mcp":          "/mcp/mcp.example.com/mcp",
		"https://mcp.example.com":              "/mcp/mcp.example.com",
		"https://mcp.example.com/":             "/mcp/mcp.example.com/",
		"HTTPS://mcp.example.com:8443/a%2Fb":   "/mcp/mcp.example.com:8443/a%2Fb",
		"https://mcp.example.com/mcp?tenant=a": "/mcp/mcp.example.com/mcp?tenant=a",
		"http://localhost:8080/mcp":            "/mcp/localhost:8080/mcp",
		"http://127.0.0.1:8080/mcp":            "/mcp/127.0.0.1:8080/mcp",
		"http://[::1]:8080/mcp":                "/mcp/[::1]:8080/mcp",
		"https://localhost:8443/mcp":           "/mcp/https:localhost:8443/mcp",
		"https://[::1]/mcp":                    "/mcp/https:[::1]/mcp",

		"http://mcp.example.com/mcp": "", "ftp://mcp.example.com": "", "mcp.example.com/mcp": "", "https:mcp.example.com": "", "https:///mcp": "", "https://u:p@mcp.example.com": "", "": "", "%": "",
	} {
		path, err := MCPPath(server)
		if path != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: %q, %v; want %q", server, path, err, want)
		}
		if want == "" {
			continue
		}
		u, err := url.Parse("http://localhost" + path)
		must(t, err)
		back, err := MCPServer(u)
		if lower := strings.Replace(server, "HTTPS:", "https:", 1); back != lower || err != nil {
			t.Errorf("%s: back comes %q, %v", server, back, err)
		}
	}
	if _, err := MCPServer(&url.URL{Path: "/v1/status"}); err == nil {
		t.Error("/v1/status names a server")
	}
}

// forwards starts an app whose MCP is h.
func forwards(t *testing.T, h http.HandlerFunc, limit bounds, log io.Writer) string {
	t.Helper()
	return start(t, ServerConfig{
		Backend: &fake{status: statusOK}, MCP: h, Log: slog.New(slog.NewTextHandler(log, nil)),
		Identify: func(net.Conn) (*peer.Peer, error) { return &peer.Peer{Host: peer.Host{Name: "claude"}}, nil },
	}, limit)
}

func TestMCPIsToldWhoAsks(t *testing.T) {
	addr := forwards(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, Peer(r.Context()).Host.Name, " ", r.URL.Path, " ", w.Header().Get(headerRequestID) == RequestID(r.Context()))
	}, doorBounds, io.Discard)
	resp, body, err := raw(t, addr, "GET /mcp/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if err != nil || body != "claude /mcp/x true" || resp.Header.Get(headerVersion) != "1.2.3" || resp.Header.Get("Cache-Control") != "" {
		t.Errorf("%s, %v, %v", body, resp, err)
	}
	if Peer(context.Background()) != nil {
		t.Error("somebody asks outside of a request")
	}
}

func TestNoMCP(t *testing.T) {
	addr := start(t, ServerConfig{Backend: &fake{}}, doorBounds)
	if resp, body, err := raw(t, addr, "GET /mcp/x HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil || resp.StatusCode != 404 || !strings.Contains(body, "there is no call /mcp/x") {
		t.Errorf("%v %s %v", resp, body, err)
	}
}

// TestStreamOutlastsTheBoundsOfCalls, also on a connection that made a call before.
func TestStreamOutlastsTheBoundsOfCalls(t *testing.T) {
	const bound = 20 * time.Millisecond
	addr := forwards(t, func(w http.ResponseWriter, r *http.Request) {
		for range 5 {
			select {
			case <-time.After(bound):
			case <-r.Context().Done():
				return
			}
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
		}
	}, slow(func(b *bounds) { b.read, b.write = bound, bound }), io.Discard)
	conn := connectRaw(t, addr)
	reader := bufio.NewReader(conn)
	for _, request := range []string{"GET /v1/status", "GET /mcp/x", "POST /mcp/x"} {
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", request)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(request, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || strings.Contains(request, "mcp") && string(body) != "xxxxx" {
			t.Errorf("%s: %q, %v", request, body, err)
		}
	}
}

// TestPatientBody: a body may take as long as it needs, as long as it comes; one that stops is not waited for.
func TestPatientBody(t *testing.T) {
	const bound = 50 * time.Millisecond
	read := make(chan error, 1)
	addr := forwards(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mcp/unread" {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err == nil { // the answer may take longer than the body's parts
			select {
			case <-time.After(2 * bound):
			case <-r.Context().Done():
				err = r.Context().Err()
			}
		}
		read <- err
		fmt.Fprint(w, len(body))
	}, slow(func(b *bounds) { b.read = bound }), io.Discard)
	conn := connectRaw(t, addr)
	io.WriteString(conn, "POST /mcp/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
	for range 10 {
		time.Sleep(bound / 5)
		io.WriteString(conn, "x")
	}
	if err := <-read; err != nil {
		t.Errorf("a slow body: %v", err)
	}
	if _, body, err := readReply(conn); err != nil || body != "10" {
		t.Errorf("%q, %v", body, err)
	}
	conn = connectRaw(t, addr)
	io.WriteString(conn, "POST /mcp/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx")
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("half a body: %v", err)
	}
	conn = connectRaw(t, addr)
	io.WriteString(conn, "POST /mcp/unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx")
	if reply, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 200") {
		t.Errorf("half a body that nobody wanted: %q, %v", reply, err)
	}
}

// TestPanicOfMCP is logged, but for the handler's own way to break a stream off; either way the stream looks broken.
func TestPanicOfMCP(t *testing.T) {
	for _, p := range []any{http.ErrAbortHandler, "boom"} {
		log := make(chanWriter, 1)
		addr := forwards(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			if r.URL.Path == "/mcp/abort" {
				panic(http.ErrAbortHandler)
			}
			panic(p)
		}, doorBounds, log)
		for _, path := range []string{"abort", "x"} {
			if resp, body, err := raw(t, addr, "GET /mcp/"+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); !errors.Is(err, io.ErrUnexpectedEOF) || body != "half" {
				t.Errorf("%v: %v, %q, %v", p, resp, body, err)
			}
		}
		if p == "boom" {
			if line := <-log; !strings.Contains(line, "boom") || !strings.Contains(line, "goroutine") {
				t.Errorf("logged %s", line)
			}
		} else if len(log) > 0 {
			t.Errorf("logged %s", <-log)
		}
	}
}

type chanWriter chan string

func (c chanWriter) Write(line []byte) (int, error) {
	c <- string(line)
	return len(line), nil
}

func TestTypedServer(t *testing.T) {
	for typed, want := range map[string]string{
		"mcp.example.com/mcp": "https://mcp.example.com/mcp", " mcp.example.com ": "https://mcp.example.com", "https://a/mcp": "https://a/mcp",
		"http://127.0.0.1:1/mcp": "http://127.0.0.1:1/mcp", "localhost:8443": "https://localhost:8443",
	} {
		if got := TypedServer(typed); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

func TestSameServer(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"https://a.example/mcp", "HTTPS://A.example:443/mcp/", true},
		{"http://a.example:80", "http://a.example/", true},
		{"https://a.example/mcp", "https://a.example/MCP", false},
		{"https://a.example/mcp", "http://a.example/mcp", false},
		{"https://a.example:80/mcp", "https://a.example/mcp", false},
		{"https://a.example/mcp?x=1", "https://a.example/mcp", false},
		{"https://a.example/a%2Fb", "https://a.example/a/b", false},
		{"%", "%", true},
		{"%", "https://a.example", false},
	} {
		if got := SameServer(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: %v", c.a, c.b, got)
		}
	}
}
