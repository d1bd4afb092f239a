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
	"github.com/valetkey/valetkey/localapi/mcpauth"
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
	client := localapi.NewClient(addr)
	defer client.Close()
	key := &valet{out: stdout, Handler: mcpauth.New(client, localapi.TokenRequest{
		Resource: *server, Reason: "list your notes", Client: &localapi.ClientInfo{Name: "vkdemo", Version: "1.0.0"},
	})}

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

// valet is mcpauth's handler, and tells what happens.
type valet struct {
	*mcpauth.Handler
	out io.Writer

	told string // the token that was told of
	err  error  // why the last request for a token failed
}

// TokenSource tells of a token that was not there before.
func (v *valet) TokenSource(ctx context.Context) (oauth2.TokenSource, error) {
	source, err := v.Handler.TokenSource(ctx)
	if source == nil || err != nil {
		return source, err
	}
	token, err := source.Token()
	if err != nil || token.AccessToken == v.told {
		return source, err
	}
	v.told = token.AccessToken
	until := "the server refuses it"
	if !token.Expiry.IsZero() {
		until = token.Expiry.Local().Format("15:04:05")
	}
	fmt.Fprintf(v.out, "Valet Key gave a token: account %s, scope %s, good until %s.\n", token.Extra("account"), token.Extra("scope"), until)
	return source, nil
}

// Authorize tells that the server wants a token, or another one.
func (v *valet) Authorize(ctx context.Context, req *http.Request, resp *http.Response) error {
	if v.err == nil { // else the SDK tries an older protocol, after the person has answered
		fmt.Fprintln(v.out, "The server wants a token. The host asks Valet Key, and Valet Key asks you.")
	}
	v.err = v.Handler.Authorize(ctx, req, resp)
	return v.err
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
