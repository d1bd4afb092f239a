// Package outbound is the HTTP client for every address that others gave us: metadata, issuers, redirects. It decides
// where a request may go at the moment of dialling, never carries a token across origins, and bounds what comes back.
//
// The rule: nothing may be more internal than the server the person entered. A server on the Internet leads to
// addresses on the Internet only; a server on a private network leads to private and public ones; a server on this
// computer leads anywhere, and only then is plain http allowed, and only to this computer. Link-local, multicast and
// unspecified addresses are never dialled.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Bounds of every exchange.
const (
	MaxBody   = 1 << 20          // bytes of one response body, after decompression
	maxHeader = 64 << 10         // bytes of one response's header
	Timeout   = 30 * time.Second // one request, redirects and reading the body included

	maxRedirects  = 5
	dialTimeout   = 10 * time.Second // DNS included
	tlsTimeout    = 10 * time.Second
	headerTimeout = 20 * time.Second
	idleTimeout   = 60 * time.Second
	maxIdle       = 16 // connections kept per transport

	// A stream may be silent for as long as a tool works, so only the connection itself can be found dead.
	pingAfter   = 30 * time.Second // of silence, over HTTP/2; over HTTP/1 TCP keep-alive does the same
	pingTimeout = 15 * time.Second
)

// Config is what New needs. Its zero value is the real thing.
type Config struct {
	// Base replaces the network in tests. Nothing is dialled then, so of the rules those about URLs, redirects, size
	// and time remain; without Resolve every name but localhost counts as a server on the Internet.
	// nil: the real, guarded transport.
	Base http.RoundTripper

	// Resolve looks up a host's addresses, for deciding and for dialling alike. nil: the system resolver.
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// Proxy names the person's own proxy for a request, nil meaning a direct connection. It is not asked about this
	// computer. Behind a proxy it is the proxy that looks names up and dials, so there we refuse what we can see to be
	// too internal and the proxy decides the rest. nil: no proxy.
	Proxy func(*http.Request) (*url.URL, error)

	// Roots are the certificate authorities to trust. nil: the system's.
	roots *x509.CertPool

	// UserAgent is sent with every request that has none of its own. "": Go's.
	UserAgent string
}

// Client makes an http.Client for each server the person entered. It is safe for concurrent use.
type Client struct {
	cfg             Config
	brief, streamed pools
}

// pools are the connections of one kind of exchange. A request to the entered server itself must arrive exactly where
// that server was when its reach was decided (home), or a name could be shown at an internal address to earn the reach
// of one. Requests elsewhere must stay within the reach (away). The pools are apart, so that no connection made under
// one check serves the other.
type pools struct {
	home, away map[place]*http.Transport
	proxied    *http.Transport
}

// New returns a client for all servers. [Client.Close] drops its idle connections.
func New(cfg Config) *Client {
	c := &Client{cfg: cfg}
	c.brief = c.pools(func(t *http.Transport) {
		t.ResponseHeaderTimeout, t.MaxIdleConns = headerTimeout, maxIdle
	})
	c.streamed = c.pools(func(t *http.Transport) {
		t.DisableCompression = true // what the host did not ask for is not put on its streams
		t.MaxIdleConnsPerHost = maxIdle
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	})
	return c
}

// pools makes the transports for one kind of exchange, as tune wants them.
func (c *Client) pools(tune func(*http.Transport)) pools {
	transport := func(allowed func(place) bool) *http.Transport {
		t := c.transport(allowed)
		tune(t)
		return t
	}
	p := pools{home: map[place]*http.Transport{}, away: map[place]*http.Transport{}, proxied: transport(nil)}
	for _, reach := range []place{public, private, loopback} {
		p.home[reach] = transport(func(to place) bool { return to == reach })
		p.away[reach] = transport(func(to place) bool { return to != never && to <= reach })
	}
	p.proxied.Proxy = func(r *http.Request) (*url.URL, error) { return proxyOf(r.Context()), nil }
	return p
}

// Close drops idle connections.
func (c *Client) Close() {
	for _, p := range []pools{c.brief, c.streamed} {
		for reach := range p.home {
			p.home[reach].CloseIdleConnections()
			p.away[reach].CloseIdleConnections()
		}
		p.proxied.CloseIdleConnections()
	}
}

// For returns the client to use on behalf of server, the https URL that the person entered (http on this computer
// only). How far that client may reach follows from where the server is now, so ask anew for each task rather than
// keeping the answer; connections are shared among all answers.
//
// The client keeps no cookies, ends each request after [Timeout] and each body after [MaxBody]. It follows at most
// five redirects of a GET or HEAD within one origin; a redirect elsewhere is [ErrRedirect]. A redirect of any other
// method, or of a request that carries Authorization, is not followed: the caller receives the 3xx response itself.
//
// Errors, here and in the requests: [ErrURL], [ErrScheme], [ErrAddress], [ErrRedirect], [ErrTooLarge], or what the
// network said.
func (c *Client) For(ctx context.Context, server string) (*http.Client, error) {
	g, err := c.guard(ctx, server)
	if err != nil {
		return nil, err
	}
	g.pools, g.maxBody = &c.brief, MaxBody
	return &http.Client{Transport: g, CheckRedirect: checkRedirect, Timeout: Timeout}, nil
}

// Stream is For with a client that carries a conversation with server rather than one short answer: answers have no
// bound in size or time, and no redirect is followed at all, so that the caller sees each. An answer may begin only
// when a tool is done; what ends the wait is the request's context, or a connection that is found dead.
func (c *Client) Stream(ctx context.Context, server string) (*http.Client, error) {
	g, err := c.guard(ctx, server)
	if err != nil {
		return nil, err
	}
	g.pools = &c.streamed
	return &http.Client{
		Transport:     g,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// guard checks server's address and finds out where it is.
func (c *Client) guard(ctx context.Context, server string) (*guard, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, refuse(ErrURL, "the server's address cannot be read: %v", reason(err))
	}
	if err := checkURL(u); err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !localName(u.Hostname()) {
		return nil, refuse(ErrScheme, "plain http is only for a server named localhost or by its address on this computer, which %s is not", shown(u.Hostname()))
	}
	reach, err := c.locate(ctx, u)
	if err != nil {
		return nil, err
	}
	return &guard{client: c, server: hostOf(u), reach: reach}, nil
}

// locate says where u's host is. Of several addresses the most public one decides: whoever can add an internal
// address to a name must not gain by it.
func (c *Client) locate(ctx context.Context, u *url.URL) (place, error) {
	host := hostOf(u)
	if localName(host) {
		return loopback, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		where, kind := locate(addr)
		if where == never {
			return never, refuse(ErrAddress, "%s is %s address, where no server can be", shown(host), kind)
		}
		return where, nil
	}
	if c.cfg.Base != nil && c.cfg.resolve == nil {
		return public, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	addrs, err := c.resolve(ctx, host)
	if err != nil {
		if c.viaProxy(ctx, u) {
			return public, nil // a name that only the proxy can look up gets the shortest reach
		}
		return never, err
	}
	found := never
	for _, addr := range addrs {
		if where, _ := locate(addr); where != never && (found == never || where < found) {
			found = where
		}
	}
	if found == never {
		return never, refuse(ErrAddress, "%s has no address where a server can be: %v", shown(host), addrs)
	}
	return found, nil
}

func (c *Client) viaProxy(ctx context.Context, u *url.URL) bool {
	if c.cfg.Proxy == nil {
		return false
	}
	req := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}}).WithContext(ctx)
	proxy, err := c.cfg.Proxy(req)
	return err == nil && proxy != nil
}

func (c *Client) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	resolve := c.cfg.resolve
	if resolve == nil {
		resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	addrs, err := resolve(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, err
}

// transport dials only where allowed says; nil means it leads to the person's own proxy.
func (c *Client) transport(allowed func(place) bool) *http.Transport {
	d := &dialer{allowed: allowed}
	if c.cfg.resolve != nil {
		d.resolve = c.resolve
	}
	return &http.Transport{
		DialContext:            d.dial,
		TLSClientConfig:        &tls.Config{RootCAs: c.cfg.roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    tlsTimeout,
		MaxResponseHeaderBytes: maxHeader,
		IdleConnTimeout:        idleTimeout,
		ForceAttemptHTTP2:      true,
	}
}
