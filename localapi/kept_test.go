package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
)

// What crossed the socket between a host and the app of an earlier day, every later one says and understands on both
// sides: testdata/kept/README.md says what lies there.

var keep = flag.String("keep", "", "write what this program sends to a new file of that name in testdata/kept")

// keptCall is one call as it crossed the socket.
type keptCall struct {
	Call    string          `json:"call"` // method and path
	Request json.RawMessage `json:"request,omitempty"`
	Status  int             `json:"status"`
	Answer  json.RawMessage `json:"answer"`
}

// saying is a call, and what is said in it: every field of every type is in one of them.
type saying struct {
	call    string
	make    func(ctx context.Context, c *Client) (any, error)
	request any
	answer  any
	err     error
}

// sayings20261129 are those of 2026-11-29, in the order of the file.
func sayings20261129() []saying {
	at := func(hour int) time.Time { return time.Date(2026, 11, 29, hour, 0, 0, 0, time.UTC) }
	host := &ClientInfo{Name: "fake-host", Version: "1.2"}
	const mcp, id = "https://mcp.example.com/mcp", "https://issuer.example.com"
	check := Check{Result: CheckWrong, At: at(1), Findings: []Finding{
		{Name: CheckSignature, Result: FindingPassed, Text: "Signed by a key of the issuer."},
		{Name: CheckAudience, Result: FindingFailed, Text: "The token is for another server.", Expected: mcp, Found: "https://other.example.com"},
		{Name: CheckIssuer, Result: FindingAccepted, Text: "A slash more."},
		{Name: CheckExpiry, Result: FindingUnknown, Text: "It does not say."},
	}}
	grant := Grant{
		Server: mcp, Resource: "https://mcp.example.com", Name: "Fake server", Issuer: id, Unpublished: true, Account: "work", Scopes: []string{"files:read"},
		State: StateSignIn, Problem: "The issuer ended the sign-in.", Renewable: true, SignedInAt: at(2), RefreshedAt: at(3), ExpiresAt: at(4),
		Consents: []Consent{
			{Host: "exe:/usr/bin/fake", HostName: "fake", Level: peer.SystemPath, Scopes: []string{"files:read"}, Mode: ModeHour, GivenAt: at(5), ExpiresAt: at(6)},
			{Host: "exe:/home/me/fake#00", HostName: "fake", Level: peer.Path, Scopes: []string{}, Mode: ModeAlways, GivenAt: at(5)},
			{Host: "", HostName: "sh", Level: peer.Unknown, Scopes: []string{}, Mode: ModeRunning, GivenAt: at(5)},
		},
		Prefix: true, Bound: true, Bindable: true, Check: &check,
		Quirks: []quirk.Quirk{{Name: quirk.Audience, Value: "api://fake", AcceptedAt: at(7)}, {Name: quirk.Issuer, Value: "https://fake.example"}, {Name: quirk.IssuerSlash},
			{Name: quirk.NoResource}, {Name: quirk.PKCEUnlisted}, {Name: quirk.Unchecked}, {Name: quirk.Parameters, Value: "access_type=offline"}, {Name: quirk.DPoP}},
		Registration: &client.Public{ClientID: "fake-client", Source: client.SourcePreRegistered, GrantType: "urn:ietf:params:oauth:grant-type:jwt-bearer", AssertionFile: "/run/fake", Enterprise: "https://idp.example.org"},
	}
	open := Grant{Server: mcp, Resource: mcp, Account: "default", Scopes: []string{}, State: StateReady, Consents: []Consent{}}

	tokenFor := func(r TokenRequest) func(context.Context, *Client) (any, error) {
		return func(ctx context.Context, c *Client) (any, error) { return c.Token(ctx, r) }
	}
	full := TokenRequest{
		Resource: mcp, Account: "work", Scopes: []string{"files:read", "files:write"}, MinValidS: 120, Interaction: InteractionAsk, Reason: "list <files> & more",
		Challenges: []string{`Bearer error="insufficient_scope", scope="files:write"`}, Refused: secret.New("fake-token").SHA256(),
		Proof: &Proof{Method: "POST", URL: mcp, Nonce: "fake-nonce"}, RerunS: 30, Client: host,
	}
	least := TokenRequest{Resource: mcp}
	register := func(r RegistrationRequest) saying {
		return saying{"POST /v1/client", func(ctx context.Context, c *Client) (any, error) { return c.Register(ctx, r) }, r, &Registered{Issuer: id, ClientID: r.ClientID}, nil}
	}
	signIn := SignInRequest{Resource: mcp, Account: "work", Scopes: []string{"files:read"}, Reason: "because", Device: true, Quirks: []string{"parameters=access_type=offline&prompt=login", "dpop"}, Client: host}
	forget := ForgetRequest{Resource: mcp, Account: "work", Client: host}
	all := []saying{
		{"POST /v1/token", tokenFor(full), full, &Token{AccessToken: secret.New("fake.access.token"), TokenType: "DPoP", DPoP: "fake.proof.jwt", ExpiresAt: at(8), Scope: "files:read files:write", Resource: mcp, Issuer: id, Account: "work"}, nil},
		{"POST /v1/token", tokenFor(least), least, &Token{AccessToken: secret.New("fake.access.token"), TokenType: "Bearer", Resource: mcp, Issuer: id, Account: "default"}, nil},
		{"POST /v1/explain", func(ctx context.Context, c *Client) (any, error) { return c.Explain(ctx, full) }, full, &Explained{Resource: mcp, Issuer: id, Account: "work", Scope: "files:read", ExpiresAt: at(9), Check: check}, nil},
		{"POST /v1/signin", func(ctx context.Context, c *Client) (any, error) { return c.SignIn(ctx, signIn) }, signIn, &grant, nil},
		{"POST /v1/forget", func(ctx context.Context, c *Client) (any, error) { return c.Forget(ctx, forget) }, forget, &Forgotten{Grants: []Grant{open}, NotRevoked: []string{"The issuer has no revocation endpoint."}}, nil},
		register(RegistrationRequest{Resource: mcp, Sent: client.Send(client.Client{Issuer: id, ClientID: "fake-client", Secret: secret.New("fake-client-secret"), GrantType: "client_credentials"}), Client: host}),
		register(RegistrationRequest{Sent: client.Send(client.Client{Issuer: id, ClientID: "fake-client", Key: secret.New("-----BEGIN PRIVATE KEY-----\nZmFrZQ==\n-----END PRIVATE KEY-----\n"), KeyID: "fake-key-id"})}),
		register(RegistrationRequest{Resource: mcp, Sent: client.Sent{ClientID: "fake-client", GrantType: "urn:ietf:params:oauth:grant-type:jwt-bearer", AssertionFile: "/run/fake/identity"}}),
		register(RegistrationRequest{Resource: mcp, Sent: client.Send(client.Client{ClientID: "fake-client", Secret: secret.New("fake-client-secret"), Enterprise: &client.Enterprise{Client: client.Client{
			Issuer: "https://idp.example.org", ClientID: "fake-client-there", Secret: secret.New("fake-client-secret-there")}}})}),
		register(RegistrationRequest{Resource: mcp, Sent: client.Send(client.Client{ClientID: "fake-client", Enterprise: &client.Enterprise{Client: client.Client{
			Issuer: "https://idp.example.org", ClientID: "fake-client-there", Key: secret.New("-----BEGIN PRIVATE KEY-----\nZmFrZQ==\n-----END PRIVATE KEY-----\n"), KeyID: "fake-key-id-there"}}})}),
		register(RegistrationRequest{Resource: mcp, Remove: true}),
		{"POST /v1/open", func(ctx context.Context, c *Client) (any, error) { return &Opened{}, c.Open(ctx) }, OpenRequest{}, &Opened{}, nil},
		{"GET /v1/grants", func(ctx context.Context, c *Client) (any, error) { return c.Grants(ctx) }, nil, &Grants{Grants: []Grant{grant, open}}, nil},
		{"GET /v1/status", func(ctx context.Context, c *Client) (any, error) { return c.Status(ctx) }, nil, &Status{Version: "1.2.3", APIMinor: 0, PID: 7, Face: "window", Keychain: "ok", Servers: 3, SignIns: 2, Waiting: 1}, nil},
	}
	for _, kind := range []error{ErrBadRequest, ErrSignInRequired, ErrConsentRequired, ErrConsentDenied, ErrAudience, ErrLocked, ErrDiscovery, ErrIssuer,
		ErrUnavailable, ErrInternal, ErrUnknownServer, ErrVersion} {
		err := &Error{Kind: kind, Message: "what <is> so: " + kind.Error(), Hint: "what to do", RetryAfter: 90 * time.Second}
		all = append(all, saying{"POST /v1/token", tokenFor(least), least, nil, err})
	}
	return all
}

// wire is what one side of the socket was told, without what differs from call to call.
type wire struct {
	call    string
	request []byte
}

// appOf listens where an app does, notes what it is told, and answers what answer says.
func appOf(t *testing.T, answer func() (status int, body []byte)) (addr string, told func() wire) {
	addr = socketAddr(t)
	ln, err := Listen(addr)
	must(t, err)
	var mu sync.Mutex
	var last wire
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		last = wire{r.Method + " " + r.URL.Path, body}
		mu.Unlock()
		status, content := answer()
		w.Header().Set(headerVersion, "1.2.3")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		w.Write(content)
	})}
	done := make(chan struct{})
	go func() { server.Serve(ln); close(done) }()
	t.Cleanup(func() {
		server.Close()
		<-done
		ln.Close()
	})
	return addr, func() wire {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

// backendOf answers every call as now says, and notes what it is asked.
func backendOf(now *saying, asked *any) *fake {
	err := func() error {
		if now.err != nil {
			return now.err
		}
		return nil
	}
	return &fake{
		token: func(_ context.Context, _ *peer.Peer, r TokenRequest) (*Token, error) {
			*asked = r
			a, _ := now.answer.(*Token)
			return a, err()
		},
		explain: func(_ context.Context, _ *peer.Peer, r TokenRequest) (*Explained, error) {
			*asked = r
			return now.answer.(*Explained), nil
		},
		signIn: func(_ context.Context, _ *peer.Peer, r SignInRequest) (*Grant, error) {
			*asked = r
			return now.answer.(*Grant), nil
		},
		forget: func(_ context.Context, _ *peer.Peer, r ForgetRequest) (*Forgotten, error) {
			*asked = r
			return now.answer.(*Forgotten), nil
		},
		register: func(_ context.Context, _ *peer.Peer, r RegistrationRequest) (*Registered, error) {
			*asked = r
			return now.answer.(*Registered), nil
		},
		grants: func(context.Context, *peer.Peer) (*Grants, error) { *asked = nil; return now.answer.(*Grants), nil },
		status: func(context.Context) (*Status, error) { *asked = nil; return now.answer.(*Status), nil },
	}
}

// postRaw makes a call with the very bytes that are given.
func postRaw(t *testing.T, addr, call string, request []byte) (int, []byte) {
	t.Helper()
	method, path, _ := strings.Cut(call, " ")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, addr) }}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://valetkey"+path, bytes.NewReader(request))
	must(t, err)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, bytes.TrimSpace(body)
}

// withoutID takes the request's ID out of an error.
func withoutID(t *testing.T, answer []byte) []byte {
	t.Helper()
	var e struct {
		Error map[string]any `json:"error"`
	}
	if json.Unmarshal(answer, &e) != nil || e.Error == nil {
		return answer
	}
	if id, _ := e.Error["request_id"].(string); id == "" {
		t.Errorf("an error without the request's ID: %s", answer)
	}
	e.Error["request_id"] = "fake-request-id"
	b, err := json.Marshal(e)
	must(t, err)
	return b
}

// holds reports whether now says all that kept does, in the same order; it may say more.
func holds(now, kept []byte) bool {
	var within func(a, b any) bool
	within = func(a, b any) bool {
		switch b := b.(type) {
		case map[string]any:
			a, ok := a.(map[string]any)
			for name, value := range b {
				ok = ok && within(a[name], value)
			}
			return ok
		case []any:
			a, ok := a.([]any)
			return ok && slices.EqualFunc(a, b, within)
		}
		return a == b
	}
	if len(kept) == 0 {
		return len(now) == 0
	}
	var a, b any
	return json.Unmarshal(now, &a) == nil && json.Unmarshal(kept, &b) == nil && within(a, b)
}

// TestKeep writes a golden file, with -keep. A file that is there is never written again.
func TestKeep(t *testing.T) {
	if *keep == "" {
		t.Skip("no -keep")
	}
	var now saying
	var asked any
	addr := start(t, ServerConfig{Backend: backendOf(&now, &asked)}, doorBounds)
	var status int
	var answer []byte
	app, told := appOf(t, func() (int, []byte) { return status, answer })
	c := newTestClient(t, app)
	var all []keptCall
	for _, now = range sayings20261129() {
		// What the client says is heard at a socket of our own; what the server says to that, beside it.
		status, answer = http.StatusOK, []byte("{}")
		now.make(t.Context(), c)
		request := told()
		status, answer := postRaw(t, addr, request.call, request.request)
		all = append(all, keptCall{request.call, request.request, status, withoutID(t, answer)})
	}
	path := filepath.Join("testdata", "kept", *keep+".json")
	if _, err := os.Stat(path); err == nil {
		t.Fatalf("%s is there", path)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "\t")
	must(t, e.Encode(all))
	must(t, os.WriteFile(path, b.Bytes(), 0o644))
}

// TestKeptIsSpoken: with hosts of 2026-11-29 the server says what the app of that day said, and with that app the client.
func TestKeptIsSpoken(t *testing.T) {
	content, err := os.ReadFile("testdata/kept/2026-11-29.json")
	must(t, err)
	var kept []keptCall
	must(t, json.Unmarshal(content, &kept))
	sayings := sayings20261129()
	if len(kept) != len(sayings) {
		t.Fatalf("%d calls are kept of %d", len(kept), len(sayings))
	}
	compact := func(raw json.RawMessage) []byte {
		var b bytes.Buffer
		if len(raw) > 0 {
			must(t, json.Compact(&b, raw))
		}
		return b.Bytes()
	}
	var now saying
	var asked any
	addr := start(t, ServerConfig{Backend: backendOf(&now, &asked)}, doorBounds)
	var status int
	var answer []byte
	app, told := appOf(t, func() (int, []byte) { return status, answer })
	c := newTestClient(t, app)
	spoken := map[string]bool{}
	for i, k := range kept {
		now = sayings[i]
		request, want := compact(k.Request), compact(k.Answer)
		spoken[k.Call] = true

		asked = nil
		gotStatus, got := postRaw(t, addr, k.Call, request)
		if gotStatus != k.Status || !holds(withoutID(t, got), want) {
			t.Errorf("%s: answered %d\n%s\nwant %d\n%s", k.Call, gotStatus, got, k.Status, want)
		}
		if now.call != "POST /v1/open" && !reflect.DeepEqual(asked, now.request) {
			t.Errorf("%s: the backend was asked %+v, want %+v", k.Call, asked, now.request)
		}

		status, answer = k.Status, want
		back, err := now.make(t.Context(), c)
		if said := told(); said.call != k.Call || !holds(said.request, request) {
			t.Errorf("%s: the client says %s\n%s\nwant\n%s", k.Call, said.call, said.request, request)
		}
		switch {
		case now.err == nil:
			if err != nil || !reflect.DeepEqual(back, now.answer) {
				t.Errorf("%s: the client understands %+v, %v; want %+v", k.Call, back, err, now.answer)
			}
		default:
			var e *Error
			kept := now.err.(*Error)
			if !errors.As(err, &e) || !errors.Is(err, kept.Kind) || e.Message != kept.Message || e.Hint != kept.Hint || e.RetryAfter != kept.RetryAfter || e.RequestID != "fake-request-id" {
				t.Errorf("%s: the client understands %+v, want %+v", k.Call, err, now.err)
			}
		}
	}
	for path, call := range calls {
		if !spoken[call.method+" "+path] {
			t.Errorf("%s %s is not kept", call.method, path)
		}
	}
}
