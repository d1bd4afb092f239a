package localapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/peer"
)

// fake is a Backend of funcs; a call without a func is a test's mistake and panics.
type fake struct {
	token    func(context.Context, *peer.Peer, TokenRequest) (*Token, error)
	signIn   func(context.Context, *peer.Peer, SignInRequest) (*Grant, error)
	forget   func(context.Context, *peer.Peer, ForgetRequest) (*Forgotten, error)
	explain  func(context.Context, *peer.Peer, TokenRequest) (*Explained, error)
	register func(context.Context, *peer.Peer, RegistrationRequest) (*Registered, error)
	grants   func(context.Context, *peer.Peer) (*Grants, error)
	status   func(context.Context) (*Status, error)
}

func (f *fake) Token(ctx context.Context, p *peer.Peer, r TokenRequest) (*Token, error) {
	return f.token(ctx, p, r)
}
func (f *fake) Explain(ctx context.Context, p *peer.Peer, r TokenRequest) (*Explained, error) {
	return f.explain(ctx, p, r)
}
func (f *fake) SignIn(ctx context.Context, p *peer.Peer, r SignInRequest) (*Grant, error) {
	return f.signIn(ctx, p, r)
}
func (f *fake) Forget(ctx context.Context, p *peer.Peer, r ForgetRequest) (*Forgotten, error) {
	return f.forget(ctx, p, r)
}
func (f *fake) Register(ctx context.Context, p *peer.Peer, r RegistrationRequest) (*Registered, error) {
	return f.register(ctx, p, r)
}
func (f *fake) Open(context.Context, *peer.Peer, OpenRequest) (*Opened, error) { return &Opened{}, nil }
func (f *fake) Grants(ctx context.Context, p *peer.Peer) (*Grants, error)      { return f.grants(ctx, p) }
func (f *fake) Status(ctx context.Context) (*Status, error)                    { return f.status(ctx) }

// anybody stands for peer.Of where who asks does not matter.
func anybody(net.Conn) (*peer.Peer, error) { return &peer.Peer{}, nil }

// socketAddr is an address in a new directory; t.TempDir's own names can be longer than a socket's may be.
func socketAddr(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "agent.sock")
}

// start serves cfg until the test ends. A cfg without Identify lets anybody in.
func start(t testing.TB, cfg ServerConfig, limit bounds) (addr string) {
	t.Helper()
	addr = socketAddr(t)
	ln, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Identify == nil {
		cfg.Identify = anybody
	}
	if cfg.Version == "" {
		cfg.Version = "1.2.3"
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, ln, cfg, limit) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := ln.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return addr
}

func newTestClient(t testing.TB, addr string) *Client {
	c := NewClient(addr)
	t.Cleanup(c.Close)
	return c
}

func statusOK(context.Context) (*Status, error) { return &Status{Version: "1.2.3"}, nil }

// raw sends text over a connection of its own and reads one reply; a connection closed without a word is io.EOF.
func raw(t *testing.T, addr, text string) (*http.Response, string, error) {
	t.Helper()
	conn := connectRaw(t, addr)
	if _, err := io.WriteString(conn, text); err != nil {
		return nil, "", err
	}
	return readReply(conn)
}

func connectRaw(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func readReply(conn net.Conn) (*http.Response, string, error) {
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func lines(l ...string) string { return strings.Join(l, "\r\n") }

// slow are bounds that a test can wait for.
func slow(change func(*bounds)) bounds {
	b := doorBounds
	change(&b)
	return b
}

func TestOtherUserIsDroppedWithoutAWord(t *testing.T) {
	addr := start(t, ServerConfig{Backend: &fake{}, Identify: func(net.Conn) (*peer.Peer, error) { return nil, peer.ErrOtherUser }}, doorBounds)
	conn := connectRaw(t, addr)
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestPeerIsSeenBeforeAByteIsRead(t *testing.T) {
	identified := make(chan struct{})
	host := peer.Host{Name: "claude", Key: "exe:/usr/bin/claude"}
	addr := start(t, ServerConfig{
		Identify: func(net.Conn) (*peer.Peer, error) { close(identified); return &peer.Peer{Host: host}, nil },
		Backend: &fake{token: func(_ context.Context, from *peer.Peer, _ TokenRequest) (*Token, error) {
			return &Token{Account: from.Host.Key}, nil
		}},
	}, doorBounds)
	conn := connectRaw(t, addr)
	<-identified // nothing has been sent yet
	io.WriteString(conn, lines("POST /v1/token HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 16", "", `{"resource":"x"}`))
	if _, body, err := readReply(conn); err != nil || !strings.Contains(body, `"account":"exe:/usr/bin/claude"`) {
		t.Errorf("%s, %v", body, err)
	}
}

// TestSlowNaming: one peer that takes long to name does not hold up the next.
func TestSlowNaming(t *testing.T) {
	first, release := make(chan struct{}, 1), make(chan struct{})
	first <- struct{}{}
	addr := start(t, ServerConfig{Backend: &fake{status: statusOK}, Identify: func(net.Conn) (*peer.Peer, error) {
		select {
		case <-first:
			<-release
		default:
		}
		return &peer.Peer{}, nil
	}}, doorBounds)
	slow := connectRaw(t, addr)
	for len(first) > 0 { // until it is being named
		time.Sleep(time.Millisecond)
	}
	if _, err := newTestClient(t, addr).Status(t.Context()); err != nil {
		t.Error(err)
	}
	close(release)
	io.WriteString(slow, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp, _, err := readReply(slow); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", resp, err)
	}
}

// TestServeReportsTheListener: an error of the listener ends Serve, and leaves nothing behind.
func TestServeReportsTheListener(t *testing.T) {
	ln, err := Listen(socketAddr(t))
	must(t, err)
	defer ln.Close()
	ln.Listener.Close()
	if err := Serve(t.Context(), ln, ServerConfig{Backend: &fake{}, Identify: anybody}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
}

// TestServeEndsWithItsContext also when that has ended already.
func TestServeEndsWithItsContext(t *testing.T) {
	for range 20 {
		ln, err := Listen(socketAddr(t))
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Serve(ctx, ln, ServerConfig{Backend: &fake{}, Identify: anybody}); err != nil {
			t.Errorf("Serve: %v", err)
		}
		must(t, ln.Close())
	}
}

func TestSlowLoris(t *testing.T) {
	addr := start(t, ServerConfig{Backend: &fake{}}, slow(func(b *bounds) { b.read = 40 * time.Millisecond }))
	t.Run("silent", func(t *testing.T) {
		if _, err := connectRaw(t, addr).Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the connection is not closed: %v", err)
		}
	})
	t.Run("half a header", func(t *testing.T) {
		conn := connectRaw(t, addr)
		io.WriteString(conn, "GET /v1/status HTTP/1.1\r\nHost: loc")
		io.Copy(io.Discard, conn) // ends because the server closes; the deadline would fail the next read
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the connection is not closed: %v", err)
		}
	})
	for name, head := range map[string][]string{
		"half a body":          {"POST /v1/token HTTP/1.1", "Host: localhost", "Content-Type: application/json"},
		"half a refused body":  {"POST /v1/token HTTP/1.1", "Host: localhost", "Origin: https://evil.example"},
		"half an unread body":  {"GET /v1/status HTTP/1.1", "Host: evil.example"},
		"half a chunked body":  {"POST /v1/token HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Transfer-Encoding: chunked"},
		"a body nobody wanted": {"GET /v1/nothing HTTP/1.1", "Host: localhost"},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"reso`
			if strings.Contains(name, "chunked") {
				body = "6\r\n" + body + "\r\n"
			} else {
				head = append(head, "Content-Length: 100")
			}
			conn := connectRaw(t, addr)
			io.WriteString(conn, lines(append(head, "", body)...))
			reply, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 4") {
				t.Errorf("%q, %v", reply, err)
			}
		})
	}
}

func TestCallOutlastsReadTimeout(t *testing.T) {
	const read = 20 * time.Millisecond
	addr := start(t, ServerConfig{Backend: &fake{token: func(ctx context.Context, _ *peer.Peer, _ TokenRequest) (*Token, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * read):
			return &Token{Account: "patient"}, nil
		}
	}}}, slow(func(b *bounds) { b.read, b.write = read, 10*read }))
	c := newTestClient(t, addr)
	for range 2 { // the second on the same connection
		if token, err := c.Token(t.Context(), TokenRequest{Resource: "x"}); err != nil || token.Account != "patient" {
			t.Fatalf("%v, %v", token, err)
		}
	}
}

func TestHangUpEndsTheCall(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	addr := start(t, ServerConfig{Backend: &fake{token: func(ctx context.Context, _ *peer.Peer, _ TokenRequest) (*Token, error) {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}}, doorBounds)
	ctx, hangUp := context.WithCancel(t.Context())
	go func() { <-begun; hangUp() }()
	if _, err := newTestClient(t, addr).Token(ctx, TokenRequest{Resource: "x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("client: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("server: %v", err)
	}
}

func TestFloodWaits(t *testing.T) {
	addr := start(t, ServerConfig{Backend: &fake{status: statusOK}}, slow(func(b *bounds) { b.conns = 2 }))
	const ask = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
	var held []net.Conn
	for range 2 {
		conn := connectRaw(t, addr)
		io.WriteString(conn, ask)
		if _, _, err := readReply(conn); err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	third := connectRaw(t, addr)
	io.WriteString(third, ask)
	third.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := third.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the third of two connections was answered: %d, %v", n, err)
	}
	held[0].Close()
	third.SetReadDeadline(time.Now().Add(20 * time.Second))
	if resp, _, err := readReply(third); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	addr := start(t, ServerConfig{Backend: &fake{status: statusOK}}, slow(func(b *bounds) { b.idle = 20 * time.Millisecond }))
	conn := connectRaw(t, addr)
	io.WriteString(conn, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the idle connection is not closed: %v", err)
	}
}

func TestDrain(t *testing.T) {
	for _, obedient := range []bool{true, false} {
		begun, release := make(chan struct{}), make(chan struct{})
		ln, err := Listen(socketAddr(t))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		backend := &fake{token: func(ctx context.Context, _ *peer.Peer, _ TokenRequest) (*Token, error) {
			close(begun)
			if obedient {
				<-ctx.Done()
			} else {
				<-release
			}
			return nil, ctx.Err()
		}}
		limit := slow(func(b *bounds) { b.drain = 50 * time.Millisecond })
		if obedient {
			limit.drain = time.Minute
		}
		go func() {
			served <- serve(ctx, ln, ServerConfig{Backend: backend, Identify: anybody, Version: "1"}, limit)
		}()
		asked := make(chan error, 1)
		go func() {
			_, err := newTestClient(t, ln.Addr().String()).Token(context.Background(), TokenRequest{Resource: "x"})
			asked <- err
		}()
		<-begun
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := <-asked; !errors.Is(err, ErrUnavailable) || ExitCode(err) != 8 {
			t.Errorf("obedient %v: the host was told %v", obedient, err)
		}
		close(release)
		ln.Close()
	}
}

func TestPanicIsInternal(t *testing.T) {
	var log strings.Builder
	addr := start(t, ServerConfig{Log: slog.New(slog.NewTextHandler(&log, nil)), Backend: &fake{
		status: func(context.Context) (*Status, error) { panic("boom") },
		grants: func(context.Context, *peer.Peer) (*Grants, error) { return nil, errors.New("disk on fire") },
		token:  func(context.Context, *peer.Peer, TokenRequest) (*Token, error) { return nil, nil },
	}}, doorBounds)
	c := newTestClient(t, addr)
	_, panicked := c.Status(t.Context())
	_, plain := c.Grants(t.Context())
	_, nothing := c.Token(t.Context(), TokenRequest{Resource: "x"})
	for _, err := range []error{panicked, plain, nothing} {
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrInternal) || e.RequestID == "" {
			t.Fatalf("got %v", err)
		}
		if !strings.Contains(log.String(), e.RequestID) || strings.ContainsAny(e.Message, "\n{}") || strings.Contains(e.Message, "fire") || strings.Contains(e.Message, "boom") {
			t.Errorf("told %q, logged\n%s", e.Message, log.String())
		}
	}
	if !strings.Contains(log.String(), "boom") || !strings.Contains(log.String(), "disk on fire") || !strings.Contains(log.String(), "goroutine") {
		t.Errorf("the log lacks the cause:\n%s", log.String())
	}
}

func TestServeNeedsItsParts(t *testing.T) {
	for _, cfg := range []ServerConfig{{Backend: &fake{}}, {Identify: anybody}} {
		if err := Serve(t.Context(), nil, cfg); err == nil {
			t.Errorf("Serve(%+v) runs", cfg)
		}
	}
}
