package outbound

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// roundTrip is an in-memory Base.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(r *http.Request, status int, body io.Reader, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(body), Request: r, ProtoMajor: 1, ProtoMinor: 1}
}

var ok = roundTrip(func(r *http.Request) (*http.Response, error) { return respond(r, 200, strings.NewReader("ok")), nil })

// dns answers from a table; a host with several lists gives one after the other, the last again and again.
type dns struct {
	mu    sync.Mutex
	table map[string][][]string
}

func (d *dns) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lists, found := d.table[host]
	if !found {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(lists) > 1 {
		d.table[host] = lists[1:]
	}
	var addrs []netip.Addr
	for _, a := range lists[0] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

// at is a name with the same addresses always.
func at(addrs ...string) [][]string { return [][]string{addrs} }

// then is a name whose address changes after the first look-up.
func then(first, second string) [][]string { return [][]string{{first}, {second}} }

const (
	netA = "93.184.215.14" // public addresses, never dialled here
	netB = "151.101.1.1"
)

func TestFor(t *testing.T) {
	names := &dns{table: map[string][][]string{
		"public.example":   at(netA),
		"private.example":  at("10.0.0.8", "fd00::8"),
		"local.example":    at("127.0.0.1"),
		"mixed.example":    at("127.0.0.1", "10.0.0.8", netA),
		"partly.example":   at("fe80::1", "192.168.0.3"),
		"nowhere.example":  at("169.254.169.254", "224.0.0.1"),
		"none.example":     at(),
		"xn--bcher-kva.eu": at("10.1.1.1"),
	}}
	tests := []struct {
		server string
		reach  place
		is     error
		says   string
	}{
		{"https://public.example/mcp", public, nil, ""},
		{"https://PUBLIC.example:8443/mcp", public, nil, ""},
		{"HTTPS://private.example", private, nil, ""},
		{"https://bücher.eu", private, nil, ""},
		{"https://local.example", loopback, nil, ""},
		{"https://mixed.example", public, nil, ""},
		{"https://partly.example", private, nil, ""},
		{"https://1.1.1.1", public, nil, ""},
		{"https://[fd00::1]:8443", private, nil, ""},
		{"https://localhost:1", loopback, nil, ""},
		{"http://localhost:8080/mcp", loopback, nil, ""},
		{"http://LOCALHOST", loopback, nil, ""},
		{"http://127.3.2.1:8080", loopback, nil, ""},
		{"http://[::1]:8080", loopback, nil, ""},
		{"http://[::ffff:127.0.0.1]", loopback, nil, ""},

		{"http://public.example", 0, ErrScheme, "which public.example is not"},
		{"http://local.example", 0, ErrScheme, "which local.example is not"}, // a name that resolves here is not one that means here
		{"http://10.0.0.8", 0, ErrScheme, "which 10.0.0.8 is not"},
		{"http://localhost.example", 0, ErrScheme, ""},
		{"ftp://public.example", 0, ErrScheme, `"ftp:" is not an https address`},
		{"public.example/mcp", 0, ErrScheme, ""},
		{"https:///mcp", 0, ErrURL, "names no host"},
		{"https://:443", 0, ErrURL, "names no host"},
		{"https://a:secret@public.example", 0, ErrURL, "holds a user name"},
		{"https://public.example:port", 0, ErrURL, "cannot be read"},
		{"https://169.254.169.254/latest", 0, ErrAddress, "169.254.169.254 is a link-local address"},
		{"https://0.0.0.0", 0, ErrAddress, "an unspecified address"},
		{"https://nowhere.example", 0, ErrAddress, "no address where a server can be"},
	}
	for _, base := range []http.RoundTripper{nil, ok} {
		c := New(Config{Base: base, resolve: names.resolve})
		for _, tt := range tests {
			hc, err := c.For(t.Context(), tt.server)
			if !errors.Is(err, tt.is) || err != nil && (tt.is == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("For(%s): %v, want %v saying %q", tt.server, err, tt.is, tt.says)
				continue
			}
			if err != nil {
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("For(%s): the error shows the password: %v", tt.server, err)
				}
				continue
			}
			if got := hc.Transport.(*guard).reach; got != tt.reach {
				t.Errorf("For(%s) is %s, want %s", tt.server, got, tt.reach)
			}
		}
		for _, host := range []string{"none.example", "unknown.example"} {
			_, err := c.For(t.Context(), "https://"+host)
			if dnsErr, is := errors.AsType[*net.DNSError](err); !is || !dnsErr.IsNotFound {
				t.Errorf("For(%s): %v, want the resolver's own error", host, err)
			}
		}
	}
}

// The rule, as far as the URL alone shows it.
func TestURLs(t *testing.T) {
	const web, lan, here, herePlain = "https://mcp.example.com/mcp", "https://10.0.0.1/mcp", "https://localhost/mcp", "http://127.0.0.1:8080/mcp"
	tests := []struct {
		server, target string
		is             error
		says           string
	}{
		{web, "https://auth.example.com/x", nil, ""},
		{web, "https://1.1.1.1/x", nil, ""},
		{web, "https://10.0.0.8/x", ErrAddress, "mcp.example.com is on the Internet but its metadata leads to a private address 10.0.0.8"},
		{web, "https://127.0.0.1/x", ErrAddress, "mcp.example.com is on the Internet but its metadata leads to a loopback address 127.0.0.1"},
		{web, "https://[::1]/x", ErrAddress, "a loopback address ::1"},
		{web, "https://[::ffff:10.0.0.8]/x", ErrAddress, "a private address"},
		{web, "https://localhost/x", ErrAddress, "a loopback address localhost"},
		{web, "https://169.254.169.254/x", ErrAddress, "a link-local address"},
		{web, "http://auth.example.com/x", ErrScheme, "mcp.example.com is on the Internet but leads to http://auth.example.com"},
		{web, "http://localhost/x", ErrScheme, "plain http is for a server on this computer only"},
		{web, "https://u:p@auth.example.com/x", ErrURL, "holds a user name"},
		{lan, "https://auth.example.com/x", nil, ""},
		{lan, "https://192.168.3.4/x", nil, ""},
		{lan, "https://127.0.0.1/x", ErrAddress, "10.0.0.1 is on a private network but its metadata leads to a loopback address"},
		{lan, "http://127.0.0.1/x", ErrScheme, "10.0.0.1 is on a private network"},
		{lan, "https://169.254.169.254/x", ErrAddress, "a link-local"},
		{here, "http://localhost:9000/x", nil, ""},
		{here, "http://127.0.0.1:9000/x", nil, ""},
		{here, "https://10.0.0.8/x", nil, ""},
		{here, "https://auth.example.com/x", nil, ""},
		{herePlain, "http://[::1]/x", nil, ""},
		{herePlain, "http://10.0.0.8/x", ErrScheme, "127.0.0.1 is on this computer but leads to http://10.0.0.8"},
		{herePlain, "http://auth.example.com/x", ErrScheme, "plain http"},
		{herePlain, "https://169.254.169.254/x", ErrAddress, "a link-local"},
		{herePlain, "ftp://localhost/x", ErrScheme, ""},
	}
	var sent atomic.Int32
	c := New(Config{Base: roundTrip(func(r *http.Request) (*http.Response, error) { sent.Add(1); return ok(r) })})
	for _, tt := range tests {
		sent.Store(0)
		err := get(t, c, tt.server, tt.target)
		if !errors.Is(err, tt.is) || err != nil && (tt.is == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s -> %s: %v, want %v saying %q", tt.server, tt.target, err, tt.is, tt.says)
		}
		if want := err == nil; (sent.Load() == 1) != want {
			t.Errorf("%s -> %s: %d requests left", tt.server, tt.target, sent.Load())
		}
	}
}

// get asks target on behalf of server and reads the answer to its end.
func get(t *testing.T, c *Client, server, target string) error {
	t.Helper()
	hc, err := c.For(t.Context(), server)
	if err != nil {
		return err
	}
	resp, err := hc.Get(target)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// listener is a real TLS server on loopback; its certificate is for example.com and 127.0.0.1.
func listener(t *testing.T, h http.HandlerFunc) (*httptest.Server, *x509.CertPool, string) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return srv, roots, port
}

func TestDialling(t *testing.T) {
	var hits atomic.Int32
	_, roots, port := listener(t, func(w http.ResponseWriter, r *http.Request) { hits.Add(1) })
	const own = "example.com" // the name in the listener's certificate
	tests := []struct {
		name   string
		server string // host
		target string // host
		names  map[string][][]string
		is     error
		says   string
	}{
		{"a server on this computer", own, own, map[string][][]string{own: at("127.0.0.1")}, nil, ""},
		{"its other addresses are passed over", own, own, map[string][][]string{own: at("127.0.0.1", "169.254.1.1")}, nil, ""},
		{"rebinding inwards", own, own, map[string][][]string{own: then(netA, "127.0.0.1")},
			ErrAddress, "example.com was found on the Internet but now leads to a loopback address 127.0.0.1"},
		{"rebinding to a mapped address", own, own, map[string][][]string{own: then(netA, "::ffff:127.0.0.1")},
			ErrAddress, "a loopback address 127.0.0.1"},
		{"rebinding within private", own, own, map[string][][]string{own: then("10.0.0.8", "127.0.0.1")},
			ErrAddress, "was found on a private network"},
		{"shown here to earn reach, served from elsewhere", own, own, map[string][][]string{own: then("127.0.0.1", netB)},
			ErrAddress, "was found on this computer but now leads to a public address " + netB},
		{"mixed addresses give the shortest reach", own, own, map[string][][]string{own: {{"127.0.0.1", netA}, {"127.0.0.1"}}},
			ErrAddress, "was found on the Internet"},
		{"metadata inwards by name", "web.example", own, map[string][][]string{"web.example": at(netA), own: at("127.0.0.1")},
			ErrAddress, "web.example is on the Internet but its metadata leads to example.com, which has a loopback address 127.0.0.1"},
		{"metadata inwards by name from a private network", "lan.example", own, map[string][][]string{"lan.example": at("10.0.0.8"), own: at("127.0.0.1")},
			ErrAddress, "lan.example is on a private network but its metadata leads to example.com"},
		{"metadata here from here", "local.example", own, map[string][][]string{"local.example": at("127.0.0.1"), own: at("127.0.0.1")}, nil, ""},
		{"metadata to link-local by name from here", "local.example", own, map[string][][]string{"local.example": at("127.0.0.1"), own: at("169.254.169.254")},
			ErrAddress, "a link-local address 169.254.169.254"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hits.Store(0)
			names := &dns{table: tt.names}
			c := New(Config{resolve: names.resolve, roots: roots})
			defer c.Close()
			err := get(t, c, "https://"+tt.server+":"+port, "https://"+tt.target+":"+port)
			if !errors.Is(err, tt.is) || err != nil && (tt.is == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%v, want %v saying %q", err, tt.is, tt.says)
			}
			if want := err == nil; (hits.Load() == 1) != want {
				t.Errorf("the listener was asked %d times", hits.Load())
			}
		})
	}
}

// The system's resolver and dialler are guarded too.
func TestSystemResolver(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("User-Agent")+r.Header.Get("Cookie"))
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
	}))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	c := New(Config{UserAgent: "ValetKey/test"})
	defer c.Close()
	for _, host := range []string{"localhost", "127.0.0.1"} {
		for range 2 { // the second would bring back a cookie
			hc, err := c.For(t.Context(), "http://"+host+":"+port)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := hc.Get("http://" + host + ":" + port)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(b) != "ValetKey/test" {
				t.Errorf("%s saw user agent and cookies %q", host, b)
			}
		}
	}
	// What a name is found to be at the dial decides, without our own resolver in between.
	d := &dialer{allowed: func(to place) bool { return to == public }}
	conn, err := d.dial(t.Context(), "tcp", net.JoinHostPort("localhost", port))
	if _, refused := errors.AsType[*addressError](err); !refused {
		t.Errorf("dialled localhost: %v, %v", conn, err)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	defer srv.Close()
	c := New(Config{})
	defer c.Close()
	for i := range 3 {
		hc, err := c.For(t.Context(), srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		var reused bool
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if reused != (i > 0) {
			t.Errorf("request %d: reused = %v", i, reused)
		}
	}
}

func TestCertificates(t *testing.T) {
	_, roots, port := listener(t, func(http.ResponseWriter, *http.Request) {})
	names := &dns{table: map[string][][]string{"example.com": at("127.0.0.1"), "other.example": at("127.0.0.1")}}
	for _, tt := range []struct {
		host  string
		roots *x509.CertPool
	}{{"other.example", roots}, {"example.com", x509.NewCertPool()}} {
		c := New(Config{resolve: names.resolve, roots: tt.roots})
		if err := get(t, c, "https://"+tt.host+":"+port, "https://"+tt.host+":"+port); err == nil {
			t.Errorf("%s: a certificate that does not fit was accepted", tt.host)
		}
		c.Close()
	}
}

func TestRedirects(t *testing.T) {
	const server = "https://mcp.example.com"
	tests := []struct {
		name   string
		method string
		auth   bool
		to     func(n int) string // where request n (from 1) is sent on to; "" answers 200
		status int
		is     error
		says   string
		sent   int32
	}{
		{"same origin", "GET", false, hops(1, "/b"), 200, nil, "", 2},
		{"same origin, HEAD", "HEAD", false, hops(1, "/b"), 200, nil, "", 2},
		{"same origin, default port spelled out", "GET", false, hops(1, "https://MCP.example.com:443/b"), 200, nil, "", 2},
		{"five", "GET", false, hops(5, "/b"), 200, nil, "", 6},
		{"six", "GET", false, hops(6, "/b"), 0, ErrRedirect, "https://mcp.example.com redirects more than 5 times", 6},
		{"other host", "GET", false, hops(1, "https://evil.example/b"), 0, ErrRedirect,
			"https://mcp.example.com redirects to another origin, https://evil.example", 1},
		{"subdomain", "GET", false, hops(1, "https://a.mcp.example.com/b"), 0, ErrRedirect, "another origin", 1},
		{"other port", "GET", false, hops(1, "https://mcp.example.com:8443/b"), 0, ErrRedirect, "another origin, https://mcp.example.com:8443", 1},
		{"lower scheme", "GET", false, hops(1, "http://mcp.example.com/b"), 0, ErrRedirect, "another origin, http://mcp.example.com", 1},
		{"inwards", "GET", false, hops(1, "https://127.0.0.1/b"), 0, ErrRedirect, "another origin, https://127.0.0.1", 1},
		{"user name", "GET", false, hops(1, "https://a@mcp.example.com/b"), 0, ErrURL, "holds a user name", 1},
		{"POST", "POST", false, hops(1, "/b"), 307, nil, "", 1},
		{"POST elsewhere", "POST", false, hops(1, "https://evil.example/b"), 307, nil, "", 1},
		{"Authorization", "GET", true, hops(1, "/b"), 307, nil, "", 1},
		{"Authorization elsewhere", "GET", true, hops(1, "https://evil.example/b"), 307, nil, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sent atomic.Int32
			c := New(Config{Base: roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.URL.Scheme != "https" || !strings.EqualFold(r.URL.Hostname(), "mcp.example.com") {
					t.Errorf("asked %s", r.URL)
				}
				if to := tt.to(int(sent.Add(1))); to != "" {
					return respond(r, 307, strings.NewReader(""), "Location", to), nil
				}
				return ok(r)
			})})
			hc, err := c.For(t.Context(), server)
			if err != nil {
				t.Fatal(err)
			}
			req, _ := http.NewRequestWithContext(t.Context(), tt.method, server+"/a", nil)
			if tt.auth {
				req.Header.Set("Authorization", "Bearer t")
			}
			resp, err := hc.Do(req)
			if !errors.Is(err, tt.is) || err != nil && (tt.is == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Fatalf("%v, want %v saying %q", err, tt.is, tt.says)
			}
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode != tt.status {
					t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
				}
			}
			if sent.Load() != tt.sent {
				t.Errorf("%d requests, want %d", sent.Load(), tt.sent)
			}
		})
	}
}

// hops redirects the first n requests to to.
func hops(n int, to string) func(int) string {
	return func(i int) string {
		if i <= n {
			return to
		}
		return ""
	}
}

func TestSizes(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var size, header int
		fmt.Sscanf(r.URL.RawQuery, "%d,%d", &size, &header)
		w.Header().Set("X-Long", strings.Repeat("h", header))
		io.WriteString(w, strings.Repeat("b", size))
	}))
	defer srv.Close()
	c := New(Config{})
	defer c.Close()
	for _, tt := range []struct {
		size, header int
		is           error
	}{{0, 1, nil}, {1000, 1, nil}, {MaxBody, 1, nil}, {MaxBody + 1, 1, ErrTooLarge}, {2 * MaxBody, 1, ErrTooLarge}} {
		err := get(t, c, srv.URL, fmt.Sprintf("%s/?%d,%d", srv.URL, tt.size, tt.header))
		if !errors.Is(err, tt.is) || (err == nil) != (tt.is == nil) {
			t.Errorf("%d bytes: %v, want %v", tt.size, err, tt.is)
		}
	}
	if err := get(t, c, srv.URL, fmt.Sprintf("%s/?1,%d", srv.URL, 2*maxHeader)); err == nil {
		t.Error("a header of twice MaxHeader was read")
	}
	// The truncated text is never taken for the whole.
	hc, err := c.For(t.Context(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := hc.Get(fmt.Sprintf("%s/?%d,1", srv.URL, MaxBody+1))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); len(b) != MaxBody || !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

type stuck struct{ ctx context.Context }

func (s stuck) Read([]byte) (int, error) { <-s.ctx.Done(); return 0, s.ctx.Err() }

func TestTimeouts(t *testing.T) {
	bases := map[string]roundTrip{
		"no answer": func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
		"no end":    func(r *http.Request) (*http.Response, error) { return respond(r, 200, stuck{r.Context()}), nil },
	}
	for name, base := range bases {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			err := get(t, New(Config{Base: base}), "https://mcp.example.com", "https://mcp.example.com")
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != Timeout {
				t.Errorf("%s: %v after %v, want a timeout after %v", name, err, time.Since(start), Timeout)
			}
		})
	}
	hang := func(ctx context.Context, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := New(Config{resolve: hang}).For(t.Context(), "https://mcp.example.com")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != dialTimeout {
			t.Errorf("For: %v after %v", err, time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		c := New(Config{resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			if calls.Add(1) == 1 {
				return []netip.Addr{netip.MustParseAddr(netA)}, nil
			}
			return hang(ctx, host)
		}})
		start := time.Now()
		err := get(t, c, "https://mcp.example.com", "https://mcp.example.com")
		if err == nil || time.Since(start) != dialTimeout {
			t.Errorf("dial: %v after %v", err, time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) { // the caller's own, shorter patience counts
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hc, err := New(Config{Base: bases["no answer"]}).For(ctx, "https://mcp.example.com")
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(ctx, "GET", "https://mcp.example.com", nil)
		start := time.Now()
		if _, err := hc.Do(req); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestProxy(t *testing.T) {
	_, roots, port := listener(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "from the listener") })
	var connects []string
	var mu sync.Mutex
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		connects = append(connects, r.Method+" "+r.Host)
		mu.Unlock()
		out, err := net.Dial("tcp", "127.0.0.1:"+port) // whatever the name, as only a proxy can know
		if err != nil {
			t.Error(err)
			return
		}
		defer out.Close()
		in, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer in.Close()
		io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		done := make(chan struct{})
		go func() { io.Copy(out, in); out.Close(); close(done) }()
		io.Copy(in, out)
		in.Close()
		<-done
	}))
	defer proxy.Close()
	names := &dns{table: map[string][][]string{"web.example": at(netA), "lan.example": at("10.0.0.8"), "local.example": at("127.0.0.1")}}
	proxyURL, _ := url.Parse(proxy.URL)
	c := New(Config{resolve: names.resolve, roots: roots, Proxy: func(*http.Request) (*url.URL, error) { return proxyURL, nil }})
	defer c.Close()
	// example.com is unknown to our resolver: the proxy alone can find it.
	tests := []struct {
		server, target string
		is             error
		proxied        bool
	}{
		{"https://example.com", "https://example.com", nil, true},
		{"https://web.example", "https://example.com", nil, true},
		{"https://web.example", "https://10.0.0.8", ErrAddress, false},
		{"https://web.example", "https://lan.example", ErrAddress, false},
		{"https://lan.example", "https://example.com", nil, true},
		{"https://127.0.0.1:" + port, "https://127.0.0.1:" + port, nil, false},
		{"https://web.example", "https://local.example:" + port, ErrAddress, false},
	}
	for _, tt := range tests {
		mu.Lock()
		connects = nil
		mu.Unlock()
		c.Close()
		err := get(t, c, tt.server, tt.target)
		if !errors.Is(err, tt.is) || (err == nil) != (tt.is == nil) {
			t.Errorf("%s -> %s: %v, want %v", tt.server, tt.target, err, tt.is)
		}
		mu.Lock()
		if (len(connects) == 1) != tt.proxied {
			t.Errorf("%s -> %s: proxy saw %q", tt.server, tt.target, connects)
		}
		mu.Unlock()
	}
}
