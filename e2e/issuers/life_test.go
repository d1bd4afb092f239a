//go:build e2e && linux

package issuers

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

// life is a grant at a real issuer from its first sign-in to its end, as the shipped programs live it: valetkey
// with a policy file, vk and vk bridge as hosts, and a person with Chromium.
type life struct {
	*rig.Place
	server  string            // URL of the MCP server
	through func(page string) // takes the person from the page that Valet Key opens to the callback page
	reads   tool              // works with what the first sign-in asks for
	writes  tool              // needs one scope more
	issuer  string            // as the server names it

	pages  <-chan string
	person *rig.Browser
}

// tool is a tool of an MCP server, with what it is called with.
type tool struct {
	name      string
	arguments map[string]any
}

// The tools of an [rig.Server].
var (
	listNotes = tool{"list_notes", map[string]any{}}
	addNote   = tool{"add_note", map[string]any{"text": "from the step-up"}}
)

// newLife starts a browser and Valet Key with a policy and more flags.
func newLife(h *rig.Place, policy string, flags ...string) *life {
	h.T.Helper()
	opener, pages := h.Opener()
	l := &life{Place: h, reads: listNotes, writes: addNote, pages: pages, person: h.Browser()}
	l.through = func(page string) { l.person.SignIn(page) }
	h.App(append([]string{"--policy", h.Write("policy.json", policy), "--browser", opener}, flags...)...)
	return l
}

// signingIn does what makes Valet Key open a page, and is the person there meanwhile.
func (l *life) signingIn(what func()) {
	l.T.Helper()
	done := make(chan struct{})
	go func() { defer close(done); what() }()
	select {
	case page := <-l.pages:
		l.through(page)
	case <-done:
		l.T.Fatal("no page was opened for the sign-in")
	case <-time.After(rig.Patience):
		l.T.Fatal("no page was opened for the sign-in, and no answer came")
	}
	select {
	case <-done:
	case <-time.After(rig.Patience):
		l.T.Fatal("the sign-in did not lead to an answer")
	}
}

// begin is the first sign-in; a token for a host comes of it.
func (l *life) begin() (token string) {
	l.T.Helper()
	vk := l.VK("token", l.server)
	l.signingIn(func() { token = vk.Must() })
	if said := vk.Err.String(); said != "" {
		l.T.Fatalf("vk token says %s", said)
	}
	l.works(token)
	return token
}

// works has the server take a token.
func (l *life) works(token string) {
	l.T.Helper()
	if err := rig.CallWith(l.server, token, l.reads.name, l.reads.arguments); err != nil {
		l.T.Fatal(err)
	}
}

// renewed is a host whose token was refused: it gets another one, by a refresh and without the person. scopes are what
// it then must have.
func (l *life) renewed(refused string, scopes ...string) {
	l.T.Helper()
	got := l.quietly(localapi.TokenRequest{Refused: secret.New(refused).SHA256()})
	if got.AccessToken.Reveal() == refused {
		l.T.Fatal("the refused token came again")
	}
	if l.covers(got, scopes) {
		l.works(got.AccessToken.Reveal())
	}
}

// narrowed is a host that wants a token for less than what was granted, and gets it by a refresh. It returns the scopes
// of that token, which are more at an issuer that does not narrow.
func (l *life) narrowed(scopes ...string) []string {
	l.T.Helper()
	got := l.quietly(localapi.TokenRequest{Scopes: scopes})
	if l.covers(got, scopes) {
		l.works(got.AccessToken.Reveal())
	}
	return strings.Fields(got.Scope)
}

func (l *life) covers(token *localapi.Token, scopes []string) bool {
	l.T.Helper()
	for _, s := range scopes {
		if !slices.Contains(strings.Fields(token.Scope), s) {
			l.T.Errorf("the token is for %q, without %s", token.Scope, s)
			return false
		}
	}
	return true
}

// quietly asks for a token as a host for which the person is not to be disturbed.
func (l *life) quietly(req localapi.TokenRequest) *localapi.Token {
	l.T.Helper()
	client := l.Client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(l.T.Context(), rig.Patience)
	defer cancel()
	req.Resource, req.Interaction = l.server, localapi.InteractionNone
	got, err := client.Token(ctx, req)
	if err != nil {
		l.T.Fatalf("no token without the person: %v", err)
	}
	return got
}

// stepUp has a host behind vk bridge call the tool that needs more: the server asks for a wider scope, the person goes
// through the browser once more, and the call that waited for it succeeds.
func (l *life) stepUp() {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(l.T.Context(), 3*rig.Patience)
	defer cancel()
	host, err := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil).Connect(ctx,
		&mcp.CommandTransport{Command: l.Command(rig.Program(l.T, "vk"), "bridge", l.server)}, nil)
	if err != nil {
		l.T.Fatalf("connect through vk bridge: %v", err)
	}
	defer host.Close()
	if _, err := host.CallTool(ctx, &mcp.CallToolParams{Name: l.reads.name, Arguments: l.reads.arguments}); err != nil {
		l.T.Fatalf("call %s through vk bridge: %v", l.reads.name, err)
	}
	var answer *mcp.CallToolResult
	l.signingIn(func() {
		answer, err = host.CallTool(ctx, &mcp.CallToolParams{Name: l.writes.name, Arguments: l.writes.arguments})
	})
	if err != nil || answer.IsError {
		l.T.Fatalf("call %s through vk bridge: %v, %+v", l.writes.name, err, answer)
	}
}

// holds checks what Valet Key says it has: one grant at the issuer, for all of these scopes.
func (l *life) holds(scopes ...string) {
	l.T.Helper()
	grants := l.Grants()
	if len(grants) != 1 || grants[0].Issuer != l.issuer || grants[0].Resource != l.server {
		l.T.Fatalf("grants %+v, want one at %s for %s", grants, l.issuer, l.server)
	}
	for _, s := range scopes {
		if !slices.Contains(grants[0].Scopes, s) {
			l.T.Errorf("granted are %q, without %s", grants[0].Scopes, s)
		}
	}
}

// end forgets the grant and returns what vk says of the issuer's part in it.
func (l *life) end() string {
	l.T.Helper()
	select {
	case <-l.pages:
		l.T.Error("a page was opened that nobody needed")
	default:
	}
	vk := l.VK("forget", l.server)
	if out := vk.Must(); !strings.HasPrefix(out, "forgot "+l.server) {
		l.T.Fatalf("vk forget says %s", out)
	}
	if left := l.Grants(); len(left) > 0 {
		l.T.Errorf("still there: %+v", left)
	}
	return strings.TrimSpace(vk.Err.String())
}
