package localapi

import (
	"context"
	"net"
	"net/http"
)

// HTTP returns an HTTP client that reaches the app and nothing else, whatever host a URL names; http://valetkey is what
// to write. It is for the paths under MCPPrefix: it follows no redirect, bounds an answer in neither time nor size, and
// opens a connection for each request that waits, as each may wait for the person. Errors are those of the other calls,
// within a *url.Error.
func (c *Client) HTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return c.connect(ctx) },
			DisableCompression:  true,
			MaxIdleConnsPerHost: clientConns,
			IdleConnTimeout:     clientIdle,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
