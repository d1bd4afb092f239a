package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	maxNotes    = 100 // per account
	maxAccounts = 100
	maxNoteText = 500 // bytes
)

// toolScopes is what each tool needs; a tool that is missing here needs nothing of its own.
var toolScopes = map[string]string{"list_notes": ScopeRead, "add_note": ScopeWrite}

// Note is one note.
type Note struct {
	Text  string    `json:"text"`
	Added time.Time `json:"added"`
}

// notebook holds the notes of all accounts, in memory.
type notebook struct {
	mu    sync.Mutex
	notes map[string][]Note
}

// NoteList is what list_notes answers.
type NoteList struct {
	Account string `json:"account"`
	Notes   []Note `json:"notes"`
}

type addNote struct {
	Text string `json:"text" jsonschema:"what to write down, up to 500 bytes"`
}

type noteAdded struct {
	Note  Note `json:"note"`
	Total int  `json:"total"`
}

type identity struct {
	Account string    `json:"account"`
	Issuer  string    `json:"issuer"`
	Client  string    `json:"client"`
	Scopes  []string  `json:"scopes"`
	Expires time.Time `json:"expires"`
}

type nothing struct{}

// newNotes makes the MCP server with its tools.
func newNotes(name string) *mcp.Server {
	book := &notebook{notes: map[string][]Note{}}
	s := mcp.NewServer(&mcp.Implementation{Name: "demo-notes", Title: name, Version: "1.0.0"}, &mcp.ServerOptions{
		Instructions: "A notebook for each account. list_notes reads it, add_note writes to it, whoami tells whose it is.",
	})
	mcp.AddTool(s, &mcp.Tool{Name: "list_notes", Description: "Lists your notes. Needs the scope notes:read."}, book.list)
	mcp.AddTool(s, &mcp.Tool{Name: "add_note", Description: "Writes a note. Needs the scope notes:write."}, book.add)
	mcp.AddTool(s, &mcp.Tool{Name: "whoami", Description: "Tells who you are to this server."}, whoami)
	return s
}

func (b *notebook) list(_ context.Context, req *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, NoteList, error) {
	info, err := caller(req)
	if err != nil {
		return nil, NoteList{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	notes := slices.Clone(b.of(info.UserID))
	var text strings.Builder
	for i, note := range notes {
		fmt.Fprintf(&text, "%d. %s\n", i+1, note.Text)
	}
	return textResult(text.String()), NoteList{info.UserID, notes}, nil
}

func (b *notebook) add(_ context.Context, req *mcp.CallToolRequest, in addNote) (*mcp.CallToolResult, noteAdded, error) {
	info, err := caller(req)
	if err != nil {
		return nil, noteAdded{}, err
	}
	if in.Text == "" || len(in.Text) > maxNoteText {
		return nil, noteAdded{}, fmt.Errorf("a note has 1 to %d bytes", maxNoteText)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	notes := b.of(info.UserID)
	if len(notes) >= maxNotes {
		return nil, noteAdded{}, errors.New("the notebook is full")
	}
	note := Note{in.Text, time.Now().UTC().Truncate(time.Second)}
	b.notes[info.UserID] = append(notes, note)
	total := len(notes) + 1
	return textResult(fmt.Sprintf("Noted. You have %d notes.", total)), noteAdded{note, total}, nil
}

// of returns an account's notes; a new account finds a few. The caller holds the lock.
func (b *notebook) of(account string) []Note {
	if b.notes[account] == nil {
		if len(b.notes) >= maxAccounts {
			clear(b.notes)
		}
		now := time.Now().UTC().Truncate(time.Second)
		b.notes[account] = []Note{
			{"Water the tomatoes on Tuesday", now.Add(-50 * time.Hour)},
			{"Ask Robin for the bread recipe", now.Add(-27 * time.Hour)},
			{"Library books are due on the 14th", now.Add(-3 * time.Hour)},
		}
	}
	return b.notes[account]
}

func whoami(_ context.Context, req *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, identity, error) {
	info, err := caller(req)
	if err != nil {
		return nil, identity{}, err
	}
	me := identity{Account: info.UserID, Scopes: info.Scopes, Expires: info.Expiration.UTC()}
	me.Issuer, _ = info.Extra["issuer"].(string)
	me.Client, _ = info.Extra["client_id"].(string)
	return textResult("You are " + me.Account + ", as " + me.Issuer + " says."), me, nil
}

// caller is who calls a tool, if the token is good for it.
func caller(req *mcp.CallToolRequest) (*auth.TokenInfo, error) {
	if req.Extra == nil || req.Extra.TokenInfo == nil {
		return nil, errors.New("nobody is signed in")
	}
	info := req.Extra.TokenInfo
	if scope := toolScopes[req.Params.Name]; scope != "" && !slices.Contains(info.Scopes, scope) {
		return nil, fmt.Errorf("the token lacks the scope %s", scope)
	}
	return info, nil
}

func textResult(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}
