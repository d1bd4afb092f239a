package outbound

import (
	"net/netip"
	"strings"
)

// place says how internal an address is. The order matters: what is reachable from one is everything up to itself.
type place int

const (
	never    place = iota // no server is there
	public                // the Internet
	private               // a private network
	loopback              // this computer
)

func (p place) String() string {
	return [...]string{"nowhere", "on the Internet", "on a private network", "on this computer"}[p]
}

type block struct {
	prefix netip.Prefix
	where  place
	kind   string // with its article, before "address"
}

// The special-purpose blocks (IANA registries, RFC 6890 and its updates); the first that holds an address decides.
// An IPv4 address in none of them is public; an IPv6 address is so only in 2000::/3, which is all that IANA has given out.
var (
	metadata = []block{ // cloud machines answer with credentials here, outside 169.254.0.0/16 too
		{netip.MustParsePrefix("168.63.129.16/32"), never, "a cloud metadata"},
		{netip.MustParsePrefix("100.100.100.200/32"), never, "a cloud metadata"},
		{netip.MustParsePrefix("fd00:ec2::254/128"), never, "a cloud metadata"},
		{netip.MustParsePrefix("fd20:ce::254/128"), never, "a cloud metadata"},
	}
	ipv4 = []block{
		{netip.MustParsePrefix("0.0.0.0/8"), never, "an unspecified"},
		{netip.MustParsePrefix("10.0.0.0/8"), private, "a private"},
		{netip.MustParsePrefix("100.64.0.0/10"), private, "a private"}, // carrier-grade NAT, overlay networks
		{netip.MustParsePrefix("127.0.0.0/8"), loopback, "a loopback"},
		{netip.MustParsePrefix("169.254.0.0/16"), never, "a link-local"},
		{netip.MustParsePrefix("172.16.0.0/12"), private, "a private"},
		{netip.MustParsePrefix("192.0.0.0/24"), never, "a reserved"},
		{netip.MustParsePrefix("192.0.2.0/24"), never, "a documentation"},
		{netip.MustParsePrefix("192.88.99.0/24"), never, "a reserved"}, // 6to4 relays, RFC 7526
		{netip.MustParsePrefix("192.168.0.0/16"), private, "a private"},
		{netip.MustParsePrefix("198.18.0.0/15"), private, "a private"}, // benchmarks; local VPN clients answer DNS with it
		{netip.MustParsePrefix("198.51.100.0/24"), never, "a documentation"},
		{netip.MustParsePrefix("203.0.113.0/24"), never, "a documentation"},
		{netip.MustParsePrefix("224.0.0.0/4"), never, "a multicast"},
		{netip.MustParsePrefix("255.255.255.255/32"), never, "a broadcast"},
		{netip.MustParsePrefix("240.0.0.0/4"), never, "a reserved"},
	}
	ipv6 = []block{
		{netip.MustParsePrefix("::/128"), never, "an unspecified"},
		{netip.MustParsePrefix("::1/128"), loopback, "a loopback"},
		{netip.MustParsePrefix("64:ff9b:1::/48"), private, "a private"}, // a network's own NAT64, RFC 8215
		{netip.MustParsePrefix("2001::/23"), never, "a reserved"},       // protocol assignments, Teredo among them
		{netip.MustParsePrefix("2001:db8::/32"), never, "a documentation"},
		{netip.MustParsePrefix("3fff::/20"), never, "a documentation"},
		{netip.MustParsePrefix("2000::/3"), public, "a public"},
		{netip.MustParsePrefix("fc00::/7"), private, "a private"},
		{netip.MustParsePrefix("fe80::/10"), never, "a link-local"},
		{netip.MustParsePrefix("fec0::/10"), private, "a private"}, // site-local, RFC 3879
		{netip.MustParsePrefix("ff00::/8"), never, "a multicast"},
	}
	nat64 = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052 §2.1: the last four bytes are IPv4
	sixTo = netip.MustParsePrefix("2002::/16")    // RFC 3056 §2: bytes two to five are IPv4
)

// locate says where addr is, and what kind of address that is ("a private").
func locate(addr netip.Addr) (place, string) {
	addr = addr.Unmap().WithZone("")
	if where, kind, ok := find(metadata, addr); ok {
		return where, kind
	}
	if inner, ok := embedded(addr); ok {
		// RFC 6052 §3.1: such a form stands for a public address or for none.
		if where, _ := locate(inner); where == public {
			return public, "a public"
		}
		return never, "a disguised"
	}
	if addr.Is4() {
		if where, kind, ok := find(ipv4, addr); ok {
			return where, kind
		}
		return public, "a public"
	}
	if where, kind, ok := find(ipv6, addr); ok {
		return where, kind
	}
	return never, "a reserved"
}

func find(blocks []block, addr netip.Addr) (place, string, bool) {
	for _, b := range blocks {
		if b.prefix.Contains(addr) {
			return b.where, b.kind, true
		}
	}
	return never, "", false
}

// embedded returns the IPv4 address that an IPv6 address is translated to on its way.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	b := addr.As16()
	switch {
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixTo.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// localName reports whether host names this computer by itself, without a look-up: RFC 6761 §6.3, or an address.
func localName(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
