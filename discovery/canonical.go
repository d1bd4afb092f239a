package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/valetkey/valetkey/internal/untrusted"
)

const maxURL = 2048 // bytes of any URL we take

// Canonical returns the one form of a server's URL, entered by a person or sent by a host, under which we know it: the
// MCP authorization specification, 2026-07-28, "Canonical Server URI". Scheme and host become lower case, an
// international name its ASCII form; the default port, the fragment and a lone "/" go; path and query stay as they are,
// percent-encoded where a URI needs it. The error says what is wrong in words for a person, and repeats no password.
func Canonical(rawURL string) (string, error) {
	raw := strings.TrimSpace(rawURL)
	switch {
	case raw == "":
		return "", errors.New("there is no address")
	case len(raw) > maxURL:
		return "", fmt.Errorf("the address is longer than %d bytes", maxURL)
	case strings.ContainsFunc(raw, unicode.IsControl):
		return "", errors.New("the address holds a line break or another control character")
	}
	scheme, rest, found := strings.Cut(raw, ":")
	switch {
	case !found || strings.ContainsAny(scheme, "/?#.[") || !strings.HasPrefix(rest, "//") && startsWithDigit(rest):
		return "", errors.New("the address does not begin with https://")
	case !strings.EqualFold(scheme, "https") && !strings.EqualFold(scheme, "http"):
		return "", fmt.Errorf("the address begins with %s: and not with https://", shown(scheme))
	case !strings.HasPrefix(rest, "//"):
		return "", errors.New("the address has no // after the scheme")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("the address cannot be read: %w", inner(err))
	}
	if u.User != nil {
		return "", errors.New("the address holds a user name or password")
	}
	host, err := canonicalHost(u.Hostname())
	if err != nil {
		return "", err
	}
	port, err := canonicalPort(u)
	if err != nil {
		return "", err
	}
	path := u.EscapedPath()
	if hasDotSegment(path) {
		return "", errors.New(`the path has a part that is "." or ".."`)
	}
	query := ""
	if u.RawQuery != "" || u.ForceQuery {
		query = "?" + escapeQuery(u.RawQuery)
	}
	if path == "/" && query == "" {
		path = ""
	}
	return u.Scheme + "://" + host + port + path + query, nil
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

func canonicalHost(host string) (string, error) {
	if host == "" {
		return "", errors.New("the address names no host")
	}
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			return "", fmt.Errorf("%s is not an IPv6 address", shown(host))
		}
		return "[" + addr.String() + "]", nil
	}
	ascii := strings.ToLower(host)
	if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		var err error
		if ascii, err = idna.Lookup.ToASCII(host); err != nil {
			return "", fmt.Errorf("%s is not a host name", shown(host))
		}
	}
	if !isHostName(ascii) {
		return "", fmt.Errorf("%s is not a host name", shown(host))
	}
	// A name that ends in a number is an IPv4 address or it is nothing: some resolvers read 127.1 and 0x7f000001 so.
	last := strings.TrimSuffix(ascii, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	if startsWithDigit(last) && strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		addr, err := netip.ParseAddr(ascii)
		if err != nil {
			return "", fmt.Errorf("%s is not an IPv4 address", shown(host))
		}
		return addr.String(), nil
	}
	return ascii, nil
}

// isHostName allows what DNS and local names have in use: letters, digits, "-" and "_" in labels of 1 to 63 bytes, and
// the final dot of a full name.
func isHostName(s string) bool {
	if s = strings.TrimSuffix(s, "."); s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func canonicalPort(u *url.URL) (string, error) {
	port := u.Port()
	if port == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || n == 0:
		return "", fmt.Errorf("%s is not a port", shown(port))
	case u.Scheme == "https" && n == 443, u.Scheme == "http" && n == 80:
		return "", nil
	}
	return ":" + strconv.FormatUint(n, 10), nil
}

// hasDotSegment reports whether path (percent-encoded) would lead elsewhere than it seems to: RFC 3986 §5.2.4.
func hasDotSegment(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case ".", "..":
			return true
		}
	}
	return false
}

// escapeQuery encodes what cannot stand in a URI (RFC 3986 §3.4), and leaves the rest as typed.
func escapeQuery(query string) string {
	var b strings.Builder
	for i := range len(query) {
		c := query[i]
		if c > ' ' && c < 0x7f && strings.IndexByte("\"<>\\^`{|}", c) < 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// origin is u's scheme, host and port in a form to compare: RFC 6454 §4.
func origin(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "http":
		port = "80"
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// isLocal reports whether u names this computer itself: the one place for plain http.
func isLocal(u *url.URL) bool {
	if strings.EqualFold(u.Hostname(), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.Unmap().IsLoopback()
}

// inner is err without the URL that net/url and net/http put around it.
func inner(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// shown makes what a stranger wrote fit for a message.
func shown(s string) string { return untrusted.Text(s, 200) }
