package discovery

import (
	"net/url"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	tests := []struct{ in, want string }{
		{"https://mcp.example.com/mcp", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com", "https://mcp.example.com"},
		{"https://mcp.example.com/", "https://mcp.example.com"},
		{"HTTPS://MCP.Example.COM/MCP", "https://mcp.example.com/MCP"},
		{"  https://mcp.example.com/mcp\n", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com/mcp/", "https://mcp.example.com/mcp/"},
		{"https://mcp.example.com//", "https://mcp.example.com//"},
		{"https://mcp.example.com:443/mcp", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com:/mcp", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com:0443", "https://mcp.example.com"},
		{"https://mcp.example.com:8443", "https://mcp.example.com:8443"},
		{"https://mcp.example.com:80", "https://mcp.example.com:80"},
		{"http://localhost:80/mcp", "http://localhost/mcp"},
		{"http://127.0.0.1:3000/mcp", "http://127.0.0.1:3000/mcp"},
		{"http://[::1]:3000/mcp", "http://[::1]:3000/mcp"},
		{"https://[2A00:0:0::1]/", "https://[2a00::1]"},
		{"https://mcp.example.com/mcp#part", "https://mcp.example.com/mcp"},
		{"https://mcp.example.com/#", "https://mcp.example.com"},
		{"https://mcp.example.com/mcp?tenant=7&b", "https://mcp.example.com/mcp?tenant=7&b"},
		{"https://mcp.example.com?t=7", "https://mcp.example.com?t=7"},
		{"https://mcp.example.com/?t=7", "https://mcp.example.com/?t=7"},
		{"https://mcp.example.com/mcp?", "https://mcp.example.com/mcp?"},
		{"https://mcp.example.com/a%2Fb/%c3%a9", "https://mcp.example.com/a%2Fb/%c3%a9"},
		{"https://mcp.example.com/é b?q=ü \"x", "https://mcp.example.com/%C3%A9%20b?q=%C3%BC%20%22x"},
		{"https://Bücher.example/mcp", "https://xn--bcher-kva.example/mcp"},
		{"https://xn--bcher-kva.example", "https://xn--bcher-kva.example"},
		{"https://my_server.local:8443", "https://my_server.local:8443"},
		{"https://host", "https://host"},
		{"https://example.com./mcp", "https://example.com./mcp"},
		{"https://3com.com", "https://3com.com"},
	}
	for _, tt := range tests {
		if got, err := Canonical(tt.in); got != tt.want || err != nil {
			t.Errorf("Canonical(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
	wrong := []struct{ in, says string }{
		{"", "there is no address"},
		{" \n", "there is no address"},
		{"mcp.example.com/mcp", "does not begin with https://"},
		{"mcp.example.com:8443/mcp", "does not begin with https://"},
		{"localhost:3000/mcp", "does not begin with https://"},
		{"localhost", "does not begin with https://"},
		{"/mcp", "does not begin with https://"},
		{"//mcp.example.com", "does not begin with https://"},
		{"[::1]:80", "does not begin with https://"},
		{"ftp://mcp.example.com", "begins with ftp:"},
		{"javascript:alert(1)", "begins with javascript:"},
		{"wss://mcp.example.com", "begins with wss:"},
		{"https:mcp.example.com", "no // after the scheme"},
		{"https:/mcp.example.com", "no // after the scheme"},
		{"https://", "names no host"},
		{"https:///mcp", "names no host"},
		{"https://:443", "names no host"},
		{"https://ann:hunter2@mcp.example.com", "holds a user name or password"},
		{"https://ann@mcp.example.com", "holds a user name or password"},
		{"https://@mcp.example.com", "holds a user name or password"},
		{"https://mcp.example.com\\@evil.example", "cannot be read"},
		{"https://ann:hunter2 x@mcp.example.com", "cannot be read"},
		{"https://mcp.example.com/%zz", "cannot be read"},
		{"https://mcp.example.com:port", "cannot be read"},
		{"https://mcp.example.com:65536", "65536 is not a port"},
		{"https://mcp.example.com:0", "0 is not a port"},
		{"https://mcp..example.com", "is not a host name"},
		{"https://.example.com", "is not a host name"},
		{"https://mcp!.example.com", "is not a host name"},
		{"https://" + strings.Repeat("a", 64) + ".example", "is not a host name"},
		{"https://" + strings.Repeat("a.", 127) + "a", "is not a host name"},
		{"https://a\u2028b.example", "is not a host name"},
		{"https://127.1", "is not an IPv4 address"},
		{"https://127.1.", "is not an IPv4 address"},
		{"https://2130706433", "is not an IPv4 address"},
		{"https://0x7f000001", "is not an IPv4 address"},
		{"https://0x7f.0x1", "is not an IPv4 address"},
		{"https://0177.0.0.1", "is not an IPv4 address"},
		{"https://1.2.3.256", "is not an IPv4 address"},
		{"https://[::1%25eth0]", "is not an IPv6 address"},
		{"https://[::g]", "cannot be read"},
		{"https://mcp.example.com/a/../b", `"." or ".."`},
		{"https://mcp.example.com/a/%2E%2e", `"." or ".."`},
		{"https://mcp.example.com/./a", `"." or ".."`},
		{"https://mcp.example.com/\x00", "control character"},
		{"https://mcp.example.com/\nHost: evil", "control character"},
		{"https://mcp.example.com/" + strings.Repeat("a", maxURL), "longer than"},
	}
	for _, tt := range wrong {
		got, err := Canonical(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.says) || got != "" {
			t.Errorf("Canonical(%q) = %q, %v, want an error saying %q", tt.in, got, err, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Canonical(%q): the error repeats the password: %v", tt.in, err)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		"https://mcp.example.com/mcp", "HTTPS://A.example:0443/?a=b c#d", "http://[::1]:3000/é", "https://Bücher.example", "https://ß.example/%2f",
		"https://a@b", "https://1.2.3.4", "https://[::ffff:1.2.3.4]", "https://a/%2e%2E/", "x:y", "https://a?", "https://\u3002a", "https://xn--a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		c, err := Canonical(in)
		if err != nil {
			if c != "" || err.Error() == "" {
				t.Errorf("%q with error %v", c, err)
			}
			return
		}
		if again, err := Canonical(c); again != c && len(c) <= maxURL {
			t.Errorf("Canonical(%q) = %q, and of that %q, %v", in, c, again, err)
		}
		u, err := url.Parse(c)
		if err != nil {
			t.Fatalf("Canonical(%q) = %q: %v", in, c, err)
		}
		if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Host != strings.ToLower(u.Host) || u.User != nil || strings.Contains(c, "#") {
			t.Errorf("Canonical(%q) = %q", in, c)
		}
		if strings.ContainsFunc(c, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("Canonical(%q) = %q holds what no URI may", in, c)
		}
	})
}
