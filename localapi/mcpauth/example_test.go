package mcpauth_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/localapi/mcpauth"
)

// server is where the examples find an MCP server, and VK_SOCK where they find an app; both are TestMain's.
var server string

func TestMain(m *testing.M) {
	site := newServer(new(sync.Map))
	server = site.URL
	a, stop := serve(func(_ context.Context, req localapi.TokenRequest) (*localapi.Token, error) {
		if req.Interaction == localapi.InteractionNone {
			return nil, localapi.Errorf(localapi.ErrConsentRequired, "nobody was asked")
		}
		if len(req.Challenges) > 0 && req.Challenges[0] == tooLittle {
			return token("write", "read write", time.Hour), nil
		}
		return token("read", "read", time.Hour), nil
	})
	os.Setenv("VK_SOCK", a.addr)
	code := m.Run()
	stop()
	site.Close()
	os.Exit(code)
}

// A host made with the Go SDK needs one line: the OAuthHandler.
func ExampleNew() {
	ctx := context.Background()
	host := mcp.NewClient(&mcp.Implementation{Name: "my-host", Version: "1.0"}, nil)
	session, err := host.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:     server,
		OAuthHandler: mcpauth.New(nil, localapi.TokenRequest{Resource: server}),
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	answer, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "write"}) // the person is asked for one more scope
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Content[0].(*mcp.TextContent).Text)
	// Output: write done
}

// A host that makes its own requests takes a token source.
func ExampleHandler_Source() {
	tokens := mcpauth.New(nil, localapi.TokenRequest{Resource: server, Scopes: []string{"read"}, Reason: "list issues"})
	client := &http.Client{Transport: &oauth2.Transport{Source: tokens.Source(context.Background())}}
	resp, err := client.Get(server)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode != http.StatusUnauthorized)
	// Output: true
}

// After a 401, or a 403 that wants more scopes, such a host passes the answer on and sends the request once more.
func ExampleHandler_Authorize() {
	ctx := context.Background()
	tokens := mcpauth.New(nil, localapi.TokenRequest{Resource: server})
	client := &http.Client{Transport: &oauth2.Transport{Source: tokens.Source(ctx)}}
	resp, err := client.Get(server)
	if err == nil && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden) {
		if err := tokens.Authorize(ctx, resp.Request, resp); err != nil {
			log.Fatal(err) // of localapi: errors.Is(err, localapi.ErrConsentDenied), …
		}
		resp, err = client.Get(server)
	}
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode != http.StatusUnauthorized)
	// Output: true
}
