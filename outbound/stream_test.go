package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// endless is size bytes that nobody holds.
func endless(size int64) io.Reader { return io.LimitReader(zeros{}, size) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func stream(t *testing.T, c *Client, server string) *http.Client {
	t.Helper()
	hc, err := c.Stream(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	return hc
}

func TestStreamHasNoBounds(t *testing.T) {
	const size = 4 * MaxBody
	synctest.Test(t, func(t *testing.T) {
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(3 * time.Hour): // a tool that works
				return respond(r, 200, endless(size)), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		resp, err := stream(t, New(Config{Base: base}), "https://mcp.example.com/mcp").Get("https://mcp.example.com/mcp")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
}

func TestStreamEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := roundTrip(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", "https://mcp.example.com/mcp", nil)
		if _, err := stream(t, New(Config{Base: base}), "https://mcp.example.com/mcp").Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestStreamFollowsNoRedirect(t *testing.T) {
	for _, to := range []string{"/elsewhere", "https://mcp.example.com/mcp/", "https://other.example/", "http://127.0.0.1/"} {
		asked := 0
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			asked++
			return respond(r, 307, strings.NewReader(""), "Location", to), nil
		})
		resp, err := stream(t, New(Config{Base: base}), "https://mcp.example.com/mcp").Get("https://mcp.example.com/mcp")
		if err != nil || resp.StatusCode != 307 || resp.Header.Get("Location") != to || asked != 1 {
			t.Errorf("%s: %v, %v, asked %d times", to, resp, err, asked)
		}
	}
}

// TestStreamIsGuarded: the rule about addresses is the same as For's, before dialling and at it.
func TestStreamIsGuarded(t *testing.T) {
	names := &dns{table: map[string][][]string{"mcp.example.com": then(netA, "10.0.0.1"), "nowhere.example": at("169.254.169.254")}}
	c := New(Config{resolve: names.resolve})
	for server, is := range map[string]error{
		"http://mcp.example.com/mcp": ErrScheme, "https://nowhere.example": ErrAddress, "https://169.254.169.254/": ErrAddress, "https://u:p@mcp.example.com": ErrURL, "%": ErrURL,
	} {
		if _, err := c.Stream(t.Context(), server); !errors.Is(err, is) {
			t.Errorf("%s: %v", server, err)
		}
	}
	names.table["mcp.example.com"] = then(netA, "10.0.0.1")
	hc := stream(t, c, "https://mcp.example.com/mcp")
	if _, err := hc.Get("https://mcp.example.com/mcp"); !errors.Is(err, ErrAddress) {
		t.Errorf("the name moved to a private address: %v", err)
	}
	if _, err := hc.Get("http://mcp.example.com/mcp"); !errors.Is(err, ErrScheme) {
		t.Errorf("plain http: %v", err)
	}
}

// TestStreamOverHTTP2 shares one connection, sends no Accept-Encoding of its own, and drops it on Close.
func TestStreamOverHTTP2(t *testing.T) {
	peers := make(chan string, 2)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peers <- r.RemoteAddr + " " + r.Proto + r.Header.Get("Accept-Encoding")
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	u, _ := url.Parse(server.URL)
	c := New(Config{
		roots: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
		resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
	})
	t.Cleanup(c.Close)
	address := "https://" + net.JoinHostPort("example.com", u.Port()) // what the certificate is for
	var seen [2]string
	for i := range seen {
		resp, err := stream(t, c, address).Get(address)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		seen[i] = <-peers
	}
	if seen[0] != seen[1] || !strings.HasSuffix(seen[0], " HTTP/2.0") {
		t.Errorf("%q", seen)
	}
}
