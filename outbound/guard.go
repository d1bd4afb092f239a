package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"golang.org/x/net/idna"
)

// guard is the transport on behalf of one server: it checks each request, redirected ones too, before it leaves.
type guard struct {
	client  *Client
	pools   *pools
	server  string // host
	reach   place
	maxBody int // bytes of an answer; 0: no bound
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	rt, req, err := g.route(req)
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, g.explain(hostOf(req.URL), err)
	}
	if g.maxBody > 0 {
		resp.Body = &body{rc: resp.Body, host: hostOf(req.URL), left: g.maxBody}
	}
	return resp, nil
}

// CloseIdleConnections drops the idle connections of all servers: they are shared.
func (g *guard) CloseIdleConnections() { g.client.Close() }

// route checks the URL and picks the transport whose dialling suits it.
func (g *guard) route(req *http.Request) (http.RoundTripper, *http.Request, error) {
	c, host := g.client, hostOf(req.URL)
	if err := checkURL(req.URL); err != nil {
		return nil, req, err
	}
	if req.URL.Scheme == "http" && (g.reach != loopback || !localName(host)) {
		return nil, req, refuse(ErrScheme, "%s is %s but leads to %s://%s: plain http is for a server on this computer only",
			shown(g.server), g.reach, req.URL.Scheme, shown(host))
	}
	if err := g.checkLiteral(host); err != nil {
		return nil, req, err
	}
	if c.cfg.UserAgent != "" && req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context()) // a RoundTripper leaves the caller's request as it is
		req.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	switch {
	case c.cfg.Base != nil:
		return c.cfg.Base, req, nil
	case localName(host):
		return g.pools.home[loopback], req, nil // whatever resolves localhost, it is this computer or nothing
	}
	if c.cfg.Proxy != nil {
		proxy, err := g.proxy(req)
		if err != nil {
			return nil, req, err
		}
		if proxy != nil {
			return g.pools.proxied, req.WithContext(context.WithValue(req.Context(), proxyKey{}, proxy)), nil
		}
	}
	if host == g.server {
		return g.pools.home[g.reach], req, nil
	}
	return g.pools.away[g.reach], req, nil
}

// checkLiteral refuses an address that the URL itself shows to be out of reach.
func (g *guard) checkLiteral(host string) error {
	if strings.EqualFold(host, "localhost") && g.reach != loopback {
		return g.tooInternal(host, &addressError{kind: "a loopback"})
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	if where, kind := locate(addr); where == never || where > g.reach {
		return g.tooInternal(host, &addressError{addr, kind})
	}
	return nil
}

type proxyKey struct{}

func proxyOf(ctx context.Context) *url.URL {
	proxy, _ := ctx.Value(proxyKey{}).(*url.URL)
	return proxy
}

// proxy returns the proxy for req, nil for a direct connection.
func (g *guard) proxy(req *http.Request) (*url.URL, error) {
	proxy, err := g.client.cfg.Proxy(req)
	if proxy == nil || err != nil {
		return nil, err
	}
	where, err := g.client.locate(req.Context(), req.URL)
	switch {
	case errors.Is(err, ErrAddress):
		return nil, err
	case err != nil:
		return proxy, nil // only the proxy can tell
	case where == loopback:
		return nil, nil
	case where > g.reach:
		return nil, g.tooInternal(hostOf(req.URL), &addressError{kind: "a private"})
	}
	return proxy, nil
}

// explain names the server in a refusal that came from deep inside the dialling.
func (g *guard) explain(host string, err error) error {
	if refused, ok := errors.AsType[*addressError](err); ok {
		return g.tooInternal(host, refused)
	}
	return err
}

func (g *guard) tooInternal(host string, e *addressError) error {
	server, at := shown(g.server), ""
	if e.addr.IsValid() {
		at = " " + e.addr.String()
	}
	switch {
	case host == g.server:
		return refuse(ErrAddress, "%s was found %s but now leads to %s address%s", server, g.reach, e.kind, at)
	case at != "" && host == e.addr.String(), host == "localhost":
		return refuse(ErrAddress, "%s is %s but its metadata leads to %s address %s", server, g.reach, e.kind, shown(host))
	}
	return refuse(ErrAddress, "%s is %s but its metadata leads to %s, which has %s address%s", server, g.reach, shown(host), e.kind, at)
}

// addressError is a dial that was refused.
type addressError struct {
	addr netip.Addr
	kind string
}

func (e *addressError) Error() string { return "refused " + e.kind + " address " + e.addr.String() }

// dialer connects only to addresses that are allowed, judged after DNS: what a name was found to be before is past.
type dialer struct {
	allowed func(place) bool                                             // nil: all
	resolve func(ctx context.Context, host string) ([]netip.Addr, error) // nil: the system's
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nd := &net.Dialer{ControlContext: d.control}
	if d.resolve == nil || d.allowed == nil {
		return nd.DialContext(ctx, network, address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nd.DialContext(ctx, network, address)
	}
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var first error
	for _, addr := range addrs {
		conn, err := nd.DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (d *dialer) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	if d.allowed == nil {
		return nil
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if where, kind := locate(to.Addr()); !d.allowed(where) {
		return &addressError{to.Addr().Unmap(), kind}
	}
	return nil
}

// checkRedirect is the http.Client's question whether to go on to req after via.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first, last := via[0], via[len(via)-1]
	if first.Method != http.MethodGet && first.Method != http.MethodHead || first.Header.Get("Authorization") != "" {
		return http.ErrUseLastResponse
	}
	if from, to := origin(last.URL), origin(req.URL); from != to {
		return refuse(ErrRedirect, "%s redirects to another origin, %s", shown(from), shown(to))
	}
	if len(via) > maxRedirects {
		return refuse(ErrRedirect, "%s redirects more than %d times", shown(origin(first.URL)), maxRedirects)
	}
	return nil
}

// checkURL refuses what is no URL for a request at all.
func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return refuse(ErrScheme, "%q is not an https address", shown(u.Scheme+":"))
	case u.Hostname() == "":
		return refuse(ErrURL, "the address names no host")
	case u.User != nil:
		return refuse(ErrURL, "the address of %s holds a user name", shown(u.Hostname()))
	}
	return nil
}

// hostOf is u's host as it is looked up: lower case, ASCII, no port.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		return ascii
	}
	return host
}

// origin is RFC 6454 §4: scheme, host and port, the default port left out.
func origin(u *url.URL) string {
	host, port := hostOf(u), u.Port()
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return u.Scheme + "://" + host
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port)
}

// body fails, rather than ends, where a response goes on past the bound.
type body struct {
	rc   io.ReadCloser
	host string
	left int
}

func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if b.left > 0 {
		n, err := b.rc.Read(p[:min(len(p), b.left)])
		b.left -= n
		return n, err
	}
	var one [1]byte
	n, err := io.ReadAtLeast(b.rc, one[:], 1)
	if n > 0 {
		return 0, refuse(ErrTooLarge, "%s answered with more than %d bytes", shown(b.host), MaxBody)
	}
	return 0, err
}

func (b *body) Close() error { return b.rc.Close() }
