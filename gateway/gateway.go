// Package gateway carries MCP over the app's socket: it forwards the HTTP traffic of a host to the one server that the
// path names, and adds the token, so that the host never sees it.
//
//	/mcp/mcp.example.com/mcp   is   https://mcp.example.com/mcp
//
// It speaks Streamable HTTP of every revision by not speaking it: method, body, status, event stream and the headers
// that are between a host and a server pass as they are, in both directions and as they come. What it adds is the
// token, and what follows from a server's answer to it (MCP authorization, 2026-07-28): 401 and 403 insufficient_scope
// lead to another token and to the same message again, and never reach the host as such. A host's own credentials and a
// server's cookies, challenges and redirects pass in neither direction.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// Config is what New needs. Token and HTTP are required.
type Config struct {
	// Token decides whether a host may use a server, and gives the token for one request of it: an empty one for a server
	// that asks for no sign-in. It may wait for the person. An error that is not a *localapi.Error is ours. If the person
	// takes back what allowed it while ctx lasts, which is until the request is over, it calls withdrawn with a
	// *localapi.Error, and the request ends at once.
	Token func(ctx context.Context, from *peer.Peer, req localapi.TokenRequest, withdrawn func(error)) (*localapi.Token, error)

	// HTTP returns the client for a server: outbound's, which bounds answers in neither size nor time. Its Transport is
	// used, one request at a time.
	HTTP func(ctx context.Context, server string) (*http.Client, error)

	Log *slog.Logger // nil: nothing is logged
}

// Gateway is the handler for paths under localapi.MCPPrefix. It works behind localapi.Serve only, which says who asks.
type Gateway struct {
	cfg       Config
	budget    budget
	endpoints endpoints
}

// New returns a Gateway.
func New(cfg Config) *Gateway {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Gateway{cfg: cfg, budget: budget{spent: map[string]time.Time{}}, endpoints: endpoints{open: map[string]*endpoint{}}}
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, end := context.WithCancelCause(r.Context())
	defer end(nil)
	x := &exchange{gateway: g, request: r.WithContext(ctx), end: end, message: &message{}}
	resp, err := x.run(w)
	if err != nil {
		g.fail(w, x, err)
		return
	}
	defer resp.Body.Close()
	x.relay(w, resp)
}

// fail answers in place of the server. A message that is a JSON-RPC request gets a JSON-RPC error with status 200, as
// an error of the server itself would come: hosts show the person its message, and keep their session. Many throw away
// the body of any other status. Whatever has no answer in JSON-RPC gets the status that fits, but never 401: that one
// makes hosts look for a sign-in here.
func (g *Gateway) fail(w http.ResponseWriter, x *exchange, err error) {
	e := g.explain(x, err)
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set(localapi.HeaderError, e.Code())
	if e.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	content, answered := x.message.failure(e)
	answered = answered && !x.old // an old server's answers come in its stream, and hosts look at the status only
	status := http.StatusOK
	if !answered {
		status = e.HTTPStatus()
		if status == http.StatusUnauthorized {
			status = http.StatusForbidden
		}
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(content)
}

// explain makes err fit to send, with the id that joins it with the logs.
func (g *Gateway) explain(x *exchange, err error) *localapi.Error {
	id := localapi.RequestID(x.request.Context())
	said := x.withdrawn()
	switch {
	case said != nil, errors.As(err, &said):
	case x.request.Context().Err() != nil: // the app is closing; or the host hung up, and hears nothing of this
		said = x.inDoubt(localapi.Errorf(localapi.ErrUnavailable, "Valet Key is closing").WithHint("start it again, then try again"))
	default:
		g.cfg.Log.Error("a request was not forwarded", "request_id", id, "server", x.server, "error", err)
		said = localapi.Errorf(localapi.ErrInternal, "Valet Key could not forward this because of a mistake of its own; its log has the details")
	}
	e := *said // several requests may be answered with one error
	e.RequestID = id
	return &e
}
