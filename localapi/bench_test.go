package localapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/peer"
)

// What a held token costs, the peer named for real: BenchmarkToken* is the server's part, measured with the very client
// that measures BenchmarkBare*, which is net/http with a handler that does nothing. BenchmarkClient* is our own client
// with the same server: it decodes the answer as well.

func BenchmarkTokenKeepAlive(b *testing.B)  { bare(b, startToken(b), false) }
func BenchmarkTokenNewConn(b *testing.B)    { bare(b, startToken(b), true) }
func BenchmarkBareKeepAlive(b *testing.B)   { bare(b, startBare(b), false) }
func BenchmarkBareNewConn(b *testing.B)     { bare(b, startBare(b), true) }
func BenchmarkClientKeepAlive(b *testing.B) { benchClient(b, startToken(b), false) }
func BenchmarkClientNewConn(b *testing.B)   { benchClient(b, startToken(b), true) }

var benchTokenAnswer = Token{
	AccessToken: secret.New(strings.Repeat("x", 800)), TokenType: "Bearer", ExpiresAt: time.Date(2026, 11, 21, 21, 0, 0, 0, time.UTC),
	Scope: "files:read", Resource: "https://mcp.example.com/mcp", Issuer: "https://issuer.example.com", Account: "work",
}

const benchBody = `{"resource":"https://mcp.example.com/mcp","scopes":["files:read"],"min_valid_s":60}`

func startToken(b *testing.B) (addr string) {
	return start(b, ServerConfig{Identify: peer.New().Of, Backend: &fake{token: func(context.Context, *peer.Peer, TokenRequest) (*Token, error) {
		token := benchTokenAnswer
		return &token, nil
	}}}, doorBounds)
}

func startBare(b *testing.B) (addr string) {
	addr = socketAddr(b)
	ln, err := net.Listen("unix", addr)
	must(b, err)
	answer, err := benchTokenAnswer.MarshalJSON()
	must(b, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(answer)
	})}
	done := make(chan struct{})
	go func() { server.Serve(ln); close(done) }()
	b.Cleanup(func() { server.Close(); <-done })
	return addr
}

func benchClient(b *testing.B, addr string, fresh bool) {
	c := newTestClient(b, addr)
	c.transport.DisableKeepAlives = fresh
	req := TokenRequest{Resource: "https://mcp.example.com/mcp", Scopes: []string{"files:read"}, MinValidS: 60}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Token(context.Background(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func bare(b *testing.B, addr string, fresh bool) {
	transport := &http.Transport{DisableKeepAlives: fresh, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", addr)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := client.Post("http://localhost/v1/token", "application/json", strings.NewReader(benchBody))
		must(b, err)
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < 800 || resp.StatusCode != http.StatusOK {
			b.Fatal(n, err)
		}
		resp.Body.Close()
	}
}
