package outbound

import (
	"net/netip"
	"testing"
)

func TestLocate(t *testing.T) {
	tests := []struct {
		addr string
		want place
		kind string
	}{
		{"1.1.1.1", public, "a public"},
		{"192.0.1.0", public, "a public"},
		{"192.175.48.1", public, "a public"},
		{"2606:4700::1111", public, "a public"},
		{"2a00::1", public, "a public"},
		{"::ffff:1.1.1.1", public, "a public"},
		{"64:ff9b::1.1.1.1", public, "a public"},
		{"2002:101:101::1", public, "a public"},

		{"10.0.0.8", private, "a private"},
		{"172.16.0.1", private, "a private"},
		{"172.31.255.255", private, "a private"},
		{"172.32.0.0", public, "a public"},
		{"172.15.255.255", public, "a public"},
		{"192.168.1.1", private, "a private"},
		{"100.64.0.1", private, "a private"},
		{"100.127.255.255", private, "a private"},
		{"100.128.0.0", public, "a public"},
		{"100.63.255.255", public, "a public"},
		{"198.18.0.1", private, "a private"},
		{"198.19.255.255", private, "a private"},
		{"fd12::1", private, "a private"},
		{"fc00::1", private, "a private"},
		{"fec0::1", private, "a private"},
		{"64:ff9b:1::a00:1", private, "a private"},
		{"::ffff:10.0.0.8", private, "a private"},

		{"127.0.0.1", loopback, "a loopback"},
		{"127.255.255.255", loopback, "a loopback"},
		{"::1", loopback, "a loopback"},
		{"::ffff:127.0.0.1", loopback, "a loopback"},

		{"0.0.0.0", never, "an unspecified"},
		{"0.1.2.3", never, "an unspecified"},
		{"::", never, "an unspecified"},
		{"::ffff:0.0.0.0", never, "an unspecified"},
		{"169.254.169.254", never, "a link-local"},
		{"::ffff:169.254.169.254", never, "a link-local"},
		{"fe80::1", never, "a link-local"},
		{"fe80::1%eth0", never, "a link-local"},
		{"febf::1", never, "a link-local"},
		{"168.63.129.16", never, "a cloud metadata"},
		{"100.100.100.200", never, "a cloud metadata"},
		{"fd00:ec2::254", never, "a cloud metadata"},
		{"fd20:ce::254", never, "a cloud metadata"},
		{"224.0.0.1", never, "a multicast"},
		{"239.255.255.250", never, "a multicast"},
		{"ff02::1", never, "a multicast"},
		{"255.255.255.255", never, "a broadcast"},
		{"240.0.0.1", never, "a reserved"},
		{"192.0.0.192", never, "a reserved"},
		{"192.88.99.1", never, "a reserved"},
		{"192.0.2.1", never, "a documentation"},
		{"198.51.100.1", never, "a documentation"},
		{"203.0.113.1", never, "a documentation"},
		{"2001:db8::1", never, "a documentation"},
		{"3fff:fff::1", never, "a documentation"},
		{"2001::1", never, "a reserved"},        // Teredo
		{"2001:10::1", never, "a reserved"},     // ORCHID
		{"2001:2::1", never, "a reserved"},      // benchmarks
		{"100::1", never, "a reserved"},         // discard
		{"5f00::1", never, "a reserved"},        // segment routing
		{"::10.0.0.8", never, "a reserved"},     // IPv4-compatible
		{"::ffff:0:a00:1", never, "a reserved"}, // IPv4-translated
		{"4000::1", never, "a reserved"},
		{"64:ff9b::127.0.0.1", never, "a disguised"},
		{"64:ff9b::10.0.0.8", never, "a disguised"},
		{"64:ff9b::169.254.169.254", never, "a disguised"},
		{"2002:a00:8::1", never, "a disguised"},
		{"2002:7f00:1::1", never, "a disguised"},
		{"2002:a9fe:a9fe::1", never, "a disguised"},
	}
	for _, tt := range tests {
		got, kind := locate(netip.MustParseAddr(tt.addr))
		if got != tt.want || kind != tt.kind {
			t.Errorf("locate(%s) = %s, %q, want %s, %q", tt.addr, got, kind, tt.want, tt.kind)
		}
	}
}
