package oauthflow

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"github.com/valetkey/valetkey/client"
)

// callbackPorts are tried in this order, and all of them are registered: many issuers compare the port of a loopback
// address although RFC 8252 §7.3 says not to. They lie below every system's range for outgoing connections.
var callbackPorts = []int{23517, 24683, 25801, 26947, 28163}

const callbackPath = "/callback"

// RedirectURIs are the addresses the browser comes back to: what a client ID metadata document lists, and what a person
// enters at an issuer where the client is registered by hand.
func RedirectURIs() []string {
	var uris []string
	for _, p := range standardPlaces() {
		uris = append(uris, p.uri())
	}
	return uris
}

// place is an address on this computer that a browser can come back to.
type place struct {
	host string // as it stands in the URI: "127.0.0.1", "[::1]" or "localhost"
	port int    // 0: any
	path string
}

func (p place) authority() string { return p.host + ":" + strconv.Itoa(p.port) }
func (p place) uri() string       { return "http://" + p.authority() + p.path }

// address is where to listen. A name is never looked up: localhost is what this computer says it is.
func (p place) address() string {
	if p.host == "localhost" {
		return "127.0.0.1:" + strconv.Itoa(p.port)
	}
	return p.authority()
}

func standardPlaces() []place {
	var places []place
	for _, port := range callbackPorts {
		places = append(places, place{"127.0.0.1", port, callbackPath})
	}
	return places
}

// parsePlace reads a redirect URI; false when it is not a plain loopback one.
func parsePlace(uri string) (place, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return place{}, false
	}
	host := u.Hostname()
	if host != "localhost" {
		addr, err := netip.ParseAddr(host)
		if err != nil || !addr.IsLoopback() || addr.Zone() != "" {
			return place{}, false
		}
		if addr.Is6() {
			host = "[" + host + "]"
		}
	}
	port := 0
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil || port > 1<<16-1 {
			return place{}, false
		}
	}
	return place{host, port, u.EscapedPath()}, true
}

// placesOf are the places that a registration names.
func placesOf(reg client.Client) []place {
	var places []place
	for _, uri := range reg.RedirectURIs {
		if p, ok := parsePlace(uri); ok {
			places = append(places, p)
		}
	}
	return places
}

// bind takes the first free place that reg names, or a standard one when it names none; failing those, any port
// (RFC 8252 §7.3), and IPv6 at last.
func bind(ctx context.Context, reg client.Client) (net.Listener, place, error) {
	places := placesOf(reg)
	if len(places) == 0 {
		places = standardPlaces()
	}
	anyPort := places[0]
	anyPort.port = 0
	places = append(slices.Clip(places), anyPort, place{"[::1]", 0, anyPort.path})

	config := net.ListenConfig{Control: exclusive}
	var first error
	for _, p := range places {
		l, err := config.Listen(ctx, "tcp", p.address())
		if err == nil {
			p.port = l.Addr().(*net.TCPAddr).Port
			return l, p, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, place{}, fmt.Errorf("%w: %w", ErrCallback, first)
}

// among returns the place that stands for p in reg, as reg spells it: same port or any, same path.
func (p place) among(reg client.Client) (place, bool) {
	for _, q := range placesOf(reg) {
		if (q.port == p.port || q.port == 0) && q.path == p.path && (q.host == p.host || q.host == "localhost" && p.host == "127.0.0.1") {
			q.port = p.port
			return q, true
		}
	}
	return p, false
}
