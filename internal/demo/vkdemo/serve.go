package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/pflag"

	"github.com/valetkey/valetkey/internal/demo"
)

// serve runs the issuer and the server until ctx ends. Their URLs are the only lines on stdout.
func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	issuerAddr := flags.String("issuer-addr", "127.0.0.1:0", "loopback address of the issuer; port 0 picks a free one")
	serverAddr := flags.String("server-addr", "127.0.0.1:0", "loopback address of the MCP server; port 0 picks a free one")
	ttl := flags.Duration("access-ttl", 10*time.Minute, "how long access tokens live")
	if err := parse(flags, args, 0, "serve [flags]", stderr); err != nil {
		return helped(err)
	}
	issuerAt, err := listen(*issuerAddr)
	if err != nil {
		return err
	}
	defer issuerAt.Close()
	serverAt, err := listen(*serverAddr)
	if err != nil {
		return err
	}
	defer serverAt.Close()

	resource := "http://" + serverAt.Addr().String() + "/mcp"
	issuer, err := demo.NewIssuer(demo.IssuerConfig{
		ID:   "http://" + issuerAt.Addr().String(),
		Name: "Demo sign-in",
		Scopes: map[string]string{
			demo.ScopeRead:  "Read your notes",
			demo.ScopeWrite: "Write new notes",
		},
		Accounts:  []string{"alice", "bob"},
		AccessTTL: *ttl,
	})
	if err != nil {
		return err
	}
	server, err := demo.NewServer(demo.ServerConfig{Resource: resource, Issuer: issuer.ID()})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "issuer %s\nserver %s\n", issuer.ID(), resource)
	fmt.Fprintln(stderr, "Both run until this program is stopped (Ctrl+C).")
	return serveBoth(ctx, map[net.Listener]http.Handler{issuerAt: issuer, serverAt: server})
}

// listen opens a port on this computer only: an issuer without passwords is nothing for a network.
func listen(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("address %q is not on this computer: use 127.0.0.1", addr)
	}
	return net.Listen("tcp", addr)
}

func serveBoth(ctx context.Context, handlers map[net.Listener]http.Handler) error {
	done := make(chan error, len(handlers))
	var servers []*http.Server
	for listener, handler := range handlers {
		s := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10}
		servers = append(servers, s)
		go func() { done <- s.Serve(listener) }()
	}
	var err error
	ended := 0
	select {
	case <-ctx.Done():
	case err = <-done:
		ended++
	}
	for _, s := range servers {
		s.Close()
	}
	for ; ended < len(servers); ended++ {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
