package gateway

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// A header is passed on unless a rule is against it: servers have headers of their own, which hosts are configured to
// send.

// hop are the headers of one connection (RFC 9110 §7.6.1), and what only the gateway itself may say.
var hop = []string{
	"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length",
	"Alt-Svc", "Strict-Transport-Security", "Clear-Site-Data",
}

// fromHost are headers that say who the host is, to the gateway or to a browser's site: a host's own credentials are
// never passed on (USE-7). Expect was answered when the body was read.
var fromHost = []string{"Host", "Authorization", "Dpop", "Cookie", "Cookie2", "Origin", "Referer", "Expect", "Forwarded"}

// fromServer are headers that a browser would act on, or that only who holds the token has a use for.
var fromServer = []string{"Set-Cookie", "Set-Cookie2", "Www-Authenticate", "Authentication-Info", "Dpop-Nonce", "Location", "Refresh"}

var hostPrefixes = []string{"Proxy-", "Sec-", "X-Forwarded-", "Valetkey-"}
var serverPrefixes = []string{"Proxy-", "Access-Control-", "Valetkey-"}

// requestHeader is what a server gets to see of a host's header.
func requestHeader(in http.Header) http.Header {
	return passed(in, fromHost, hostPrefixes)
}

// answerHeader is what a host gets to see of a server's header.
func answerHeader(in http.Header) http.Header {
	out := passed(in, fromServer, serverPrefixes)
	if length := in["Content-Length"]; len(length) == 1 {
		out["Content-Length"] = length // the body passes byte for byte
	}
	return out
}

func passed(in http.Header, names, prefixes []string) http.Header {
	out := make(http.Header, len(in))
	for name, values := range in {
		begins := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if !slices.Contains(hop, name) && !slices.Contains(names, name) && !slices.ContainsFunc(prefixes, begins) {
			out[name] = values
		}
	}
	for _, list := range in["Connection"] { // names further headers of this connection
		for name := range strings.SplitSeq(list, ",") {
			delete(out, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	return out
}
