package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/pflag"
	"golang.org/x/oauth2"

	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
)

// patience is how long the host waits for the person, who may have to sign in.
const patience = 15 * time.Minute

// host is an MCP host that knows nothing of OAuth: what a server's challenge asks for, Valet Key brings.
func host(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := pflag.NewFlagSet("host", pflag.ContinueOnError)
	server := flags.String("server", "", "URL of the MCP server (required)")
	add := flags.String("add", "", "also add this note, which needs one more scope")
	if err := parse(flags, args, 0, "host --server URL [flags]", stderr); err != nil {
		return helped(err)
	}
	if *server == "" {
		flags.Usage()
		return errUsage
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	addr, err := localapi.Address()
	if err != nil {
		return err
	}
	key := &valet{client: localapi.NewClient(addr), server: *server, out: stdout}
	defer key.client.Close()

	fmt.Fprintf(stdout, "The demo host connects to %s.\n", *server)
	// A client of its own: calls wait for the person, so no timeout but the context's.
	transport := &http.Transport{ResponseHeaderTimeout: time.Minute}
	defer transport.CloseIdleConnections()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "vkdemo", Title: "Demo host", Version: "1.0.0"}, nil).Connect(ctx,
		&mcp.StreamableClientTransport{
			Endpoint: *server, HTTPClient: &http.Client{Transport: transport}, OAuthHandler: key,
			DisableStandaloneSSE: true, MaxRetries: -1,
		}, nil)
	if err != nil {
		return key.cause(err)
	}
	defer session.Close()
	if *add != "" {
		text, err := call(ctx, session, "add_note", map[string]any{"text": *add})
		if err != nil {
			return key.cause(err)
		}
		fmt.Fprintf(stdout, "add_note answers: %s\n", strings.TrimSpace(text.words))
	}
	answer, err := call(ctx, session, "list_notes", nil)
	if err != nil {
		return key.cause(err)
	}
	printNotes(stdout, answer)
	return nil
}

// valet gets tokens from Valet Key when the server asks for one; the SDK calls it as its OAuth handler.
type valet struct {
	client *localapi.Client
	server string
	out    io.Writer

	token *localapi.Token
	err   error // why the last request for a token failed
}

// TokenSource hands the SDK the token that is there, if any.
func (v *valet) TokenSource(context.Context) (oauth2.TokenSource, error) {
	if v.token == nil {
		return nil, nil // the SDK's way to say: send none
	}
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: v.token.AccessToken.Reveal(), TokenType: v.token.TokenType}), nil
}

// Authorize passes a 401's or 403's challenge on to Valet Key.
func (v *valet) Authorize(ctx context.Context, _ *http.Request, resp *http.Response) error {
	resp.Body.Close()
	if v.err != nil {
		return v.err // the SDK tries an older protocol next; the person has answered already
	}
	req := localapi.TokenRequest{
		Resource: v.server, Challenges: resp.Header.Values("WWW-Authenticate"), Reason: "list your notes",
		Client: &localapi.ClientInfo{Name: "vkdemo", Version: "1.0.0"},
	}
	if v.token != nil && resp.StatusCode == http.StatusUnauthorized {
		req.Refused = v.token.AccessToken.SHA256()
	}
	fmt.Fprintln(v.out, "The server wants a token. The host asks Valet Key, and Valet Key asks you.")
	v.token, v.err = v.client.Token(ctx, req)
	if v.err != nil {
		return v.err
	}
	until := "the server refuses it"
	if !v.token.ExpiresAt.IsZero() {
		until = v.token.ExpiresAt.Local().Format("15:04:05")
	}
	fmt.Fprintf(v.out, "Valet Key gave a token: account %s, scope %s, good until %s.\n", v.token.Account, v.token.Scope, until)
	return nil
}

// cause prefers what Valet Key said over what the SDK made of it.
func (v *valet) cause(err error) error {
	if v.err != nil {
		return fmt.Errorf("no token from Valet Key: %w", v.err)
	}
	return err
}

// result is what a tool answered.
type result struct {
	words string
	notes demo.NoteList
}

func call(ctx context.Context, session *mcp.ClientSession, tool string, arguments any) (*result, error) {
	if arguments == nil {
		arguments = map[string]any{}
	}
	answer, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", tool, err)
	}
	var r result
	for _, content := range answer.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			r.words += text.Text
		}
	}
	if answer.IsError {
		return nil, errors.New(tool + " answered: " + r.words)
	}
	raw, err := json.Marshal(answer.StructuredContent)
	if err != nil {
		return nil, fmt.Errorf("%s answered something strange: %w", tool, err)
	}
	if err := json.Unmarshal(raw, &r.notes); err != nil {
		return nil, fmt.Errorf("%s answered something strange: %w", tool, err)
	}
	return &r, nil
}

func printNotes(out io.Writer, answer *result) {
	fmt.Fprintf(out, "list_notes answers, for %s:\n", answer.notes.Account)
	notes := slices.SortedFunc(slices.Values(answer.notes.Notes), func(a, b demo.Note) int { return b.Added.Compare(a.Added) })
	for _, note := range notes {
		fmt.Fprintf(out, "  %s  %s\n", note.Added.Local().Format("2 Jan 15:04"), note.Text)
	}
}
