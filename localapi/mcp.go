package localapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valetkey/valetkey/peer"
)

// MCPPrefix is where the paths of MCP servers begin. The rest of such a path is the server's URL without its scheme.
const MCPPrefix = "/mcp/"

// HeaderError is on every answer that the app gives in place of an MCP server, and on none of a server's own. Its value
// is the error's code.
const HeaderError = "Valetkey-Error"

const httpsHere = "https:"

// MCPPath is the path at which the app forwards to an MCP server: /mcp/mcp.example.com/mcp for
// https://mcp.example.com/mcp. A server on this computer, named localhost or by its address, is reached by plain http;
// one that has a certificate is written /mcp/https:localhost:8443/mcp.
func MCPPath(server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Opaque != "" || u.User != nil {
		return "", Errorf(ErrBadRequest, "this is not the address of an MCP server: %s", clip(server)).WithHint("write it as https://mcp.example.com/mcp")
	}
	prefix := ""
	switch local := isLoopback(u.Hostname()); {
	case u.Scheme == "http" && !local:
		return "", Errorf(ErrBadRequest, "plain http is only for a server on this computer, which %s is not", clip(u.Hostname())).WithHint("write the address with https://")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", Errorf(ErrBadRequest, "the address does not begin with https://: %s", clip(server))
	case u.Scheme == "https" && local:
		prefix = httpsHere
	}
	path := MCPPrefix + prefix + u.Host + u.EscapedPath()
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path, nil
}

// MCPServer is the URL of the server that the path of u names: what MCPPath was given, as far as spelling goes.
func MCPServer(u *url.URL) (string, error) {
	rest, ok := strings.CutPrefix(u.EscapedPath(), MCPPrefix)
	if !ok || rest == "" {
		return "", refuse(http.StatusNotFound, "the path names no MCP server").WithHint("write the server's URL without https:// after %s", MCPPrefix)
	}
	scheme := "https"
	rest, here := strings.CutPrefix(rest, httpsHere)
	host, _, _ := strings.Cut(rest, "/")
	named, err := url.Parse("//" + host)
	switch {
	case err != nil || named.Host == "" || named.User != nil:
		return "", refuse(http.StatusNotFound, "the path names no MCP server: %s is no host", clip(host)).
			WithHint("write the server's URL without https:// after %s", MCPPrefix)
	case isLoopback(named.Hostname()) && !here:
		scheme = "http"
	case here && !isLoopback(named.Hostname()):
		return "", refuse(http.StatusNotFound, "%q is only for servers on this computer", httpsHere).WithHint("leave it out")
	}
	server := scheme + "://" + rest
	if u.RawQuery != "" {
		server += "?" + u.RawQuery
	}
	return server, nil
}

// isLoopback reports whether host means this computer without a look-up.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Peer is who made the request that ctx belongs to; nil outside of one.
func Peer(ctx context.Context) *peer.Peer {
	if v, ok := ctx.Value(visitorKey{}).(*visitor); ok {
		return v.peer
	}
	return nil
}

// forward guards the door for a request to an MCP server and hands it to cfg.MCP. Neither it nor the answer has a bound
// in size, and the answer none in time; a host that stops in the middle of its own request is not waited for.
func (h *handler) forward(w http.ResponseWriter, r *http.Request, id string) {
	if r.Body != http.NoBody {
		body := &patientBody{ReadCloser: r.Body, wire: http.NewResponseController(w), patience: h.limit.read}
		body.extend() // net/http reads the rest of a body that was not wanted
		r.Body = body
	}
	if err := guard(r, fetchOfNode); err != nil {
		e := h.wireError(r.Context(), err, id)
		h.fixedHeaders(w)
		w.Header().Set(HeaderError, e.Code())
		h.fail(w, e, id)
		return
	}
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler { // that one is the handler's word for a stream that broke
				h.log.Error("panic in a forwarded request", slog.String("request_id", id), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			}
			panic(http.ErrAbortHandler)
		}
	}()
	h.mcp.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
}

// fetchOfNode is the one header of a browser's that Node's fetch sends as well, and with it hosts that are made with
// Node. A browser never sends it without Sec-Fetch-Site (Fetch Metadata Request Headers, section 2).
const fetchOfNode = "Sec-Fetch-Mode"

// patientBody waits for each part of a body, however long the whole takes. net/http itself takes the deadline back at
// the end of the body.
type patientBody struct {
	io.ReadCloser
	wire     *http.ResponseController
	patience time.Duration
}

func (b *patientBody) extend() { b.wire.SetReadDeadline(time.Now().Add(b.patience)) }

func (b *patientBody) Read(p []byte) (int, error) {
	b.extend()
	return b.ReadCloser.Read(p)
}

// TypedServer is the URL of a server as a person types it: https:// may be left out.
func TypedServer(typed string) string {
	typed = strings.TrimSpace(typed)
	if !strings.Contains(typed, "://") {
		typed = "https://" + typed
	}
	return typed
}

// SameServer reports whether two URLs name the same server as far as a person cares. It only picks what to show.
func SameServer(a, b string) bool {
	plain := func(s string) string {
		u, err := url.Parse(s)
		if err != nil {
			return s
		}
		port := ":" + u.Port()
		if u.Port() == "" || u.Scheme == "https" && port == ":443" || u.Scheme == "http" && port == ":80" {
			port = ""
		}
		return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Hostname()) + port + strings.TrimSuffix(u.EscapedPath(), "/") + "?" + u.RawQuery
	}
	return plain(a) == plain(b)
}
