package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// startDemo runs vkdemo serve and returns the URLs it prints.
func startDemo(t *testing.T) (issuer, server string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"serve"}, in, io.Discard)
		in.Close()
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	for _, name := range []string{"issuer ", "server "} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), name) {
			t.Fatalf("serve printed %q, want %q and a URL", lines.Text(), name)
		}
		issuer, server = server, strings.TrimPrefix(lines.Text(), name)
	}
	return issuer, server
}

func TestServeKeepsToThisComputer(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "192.0.2.1:0", ":0", "localhost", "example.com:80"} {
		if err := run(t.Context(), []string{"serve", "--issuer-addr", addr}, io.Discard, io.Discard); err == nil {
			t.Errorf("serve took %q", addr)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		good bool
		want string
	}{
		{nil, false, "vkdemo plays"}, {[]string{"dance"}, false, "vkdemo plays"}, {[]string{"--help"}, true, "vkdemo plays"},
		{[]string{"host"}, false, "--server"}, {[]string{"browser"}, false, "vkdemo browser URL"},
		{[]string{"serve", "--help"}, true, "--issuer-addr"}, {[]string{"serve", "--dance"}, false, "unknown flag: --dance"},
	} {
		var out bytes.Buffer
		err := run(t.Context(), tt.args, &out, &out)
		if (err == nil) != tt.good || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%v: %v\n%s", tt.args, err, &out)
		}
	}
}

// grantor stands where Valet Key stands: it signs in at the issuer with a browser and hands out what it gets.
type grantor struct {
	localapi.Backend
	t        *testing.T
	issuer   string
	requests []localapi.TokenRequest
	refusal  error
}

func (g *grantor) Token(ctx context.Context, _ *peer.Peer, req localapi.TokenRequest) (*localapi.Token, error) {
	g.requests = append(g.requests, req)
	if g.refusal != nil {
		return nil, g.refusal
	}
	if req.Interaction == localapi.InteractionNone {
		return nil, localapi.Errorf(localapi.ErrSignInRequired, "nobody was asked")
	}
	scope := "notes:read"
	if strings.Contains(strings.Join(req.Challenges, ","), "notes:write") {
		scope += " notes:write"
	}
	token, err := signIn(ctx, g.issuer, req.Resource, scope, []string{"browser", "--yes", "--account", "carol"})
	if err != nil {
		return nil, err
	}
	return &localapi.Token{AccessToken: secret.New(token), TokenType: "Bearer", Scope: scope, Resource: req.Resource, Issuer: g.issuer, Account: "carol"}, nil
}

// loud are the requests that may ask the person.
func (g *grantor) loud() (asked []localapi.TokenRequest) {
	for _, req := range g.requests {
		if req.Interaction != localapi.InteractionNone {
			asked = append(asked, req)
		}
	}
	return asked
}

// signIn walks the code flow by hand, with vkdemo's own browser.
func signIn(ctx context.Context, issuer, resource, scope string, browser []string) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	redirect := "http://" + listener.Addr().String() + "/callback"
	codes := make(chan string, 1)
	callback := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		codes <- r.URL.Query().Get("code")
		fmt.Fprint(w, "<title>Signed in</title><p>You can close this page.</p>")
	})}
	go callback.Serve(listener)
	defer callback.Close()

	registration := fmt.Sprintf(`{"client_name":"Test","application_type":"native","redirect_uris":[%q],"token_endpoint_auth_method":"none"}`, redirect)
	client, err := postJSON(ctx, issuer+demo.RegisterPath, "application/json", registration)
	if err != nil {
		return "", err
	}
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	var out bytes.Buffer
	err = run(ctx, append(browser, issuer+demo.AuthorizePath+"?"+url.Values{
		"response_type": {"code"}, "client_id": {client["client_id"].(string)}, "redirect_uri": {redirect}, "scope": {scope},
		"resource": {resource}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}.Encode()), &out, io.Discard)
	if err != nil {
		return "", fmt.Errorf("browser: %w\n%s", err, &out)
	}
	for _, want := range []string{"Test asks to use", "carol   (answered by vkdemo", "Signed in"} {
		if !strings.Contains(out.String(), want) {
			return "", fmt.Errorf("the browser did not show %q:\n%s", want, &out)
		}
	}
	code := <-codes
	if strings.Contains(out.String(), code) {
		return "", fmt.Errorf("the browser showed the code:\n%s", &out)
	}
	tokens, err := postJSON(ctx, issuer+demo.TokenPath, "application/x-www-form-urlencoded", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {redirect},
		"client_id": {client["client_id"].(string)}, "resource": {resource}}.Encode())
	if err != nil {
		return "", err
	}
	return tokens["access_token"].(string), nil
}

func postJSON(ctx context.Context, address, kind, body string) (map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode >= 400 {
		return nil, fmt.Errorf("HTTP %d: %v %v", resp.StatusCode, out, err)
	}
	return out, nil
}

// serveSocket puts a backend behind a real socket and points the host at it.
func serveSocket(t *testing.T, backend localapi.Backend) {
	t.Helper()
	t.Setenv("VK_SOCK", socketAddress(t))
	addr, err := localapi.Address()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := localapi.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- localapi.Serve(ctx, listener, localapi.ServerConfig{
			Backend: backend, Version: "test", Identify: func(net.Conn) (*peer.Peer, error) { return &peer.Peer{}, nil },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("socket: %v", err)
		}
		listener.Close()
	})
}

func TestHost(t *testing.T) {
	issuer, server := startDemo(t)
	backend := &grantor{t: t, issuer: issuer}
	serveSocket(t, backend)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"host", "--server", server}, &out, io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"Valet Key gave a token: account carol, scope notes:read", "list_notes answers, for carol:", "Water the tomatoes"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &out)
		}
	}
	asked := backend.loud()
	if len(asked) != 1 || asked[0].Resource != server || asked[0].Refused != "" || !strings.Contains(strings.Join(asked[0].Challenges, ""), `scope="notes:read"`) {
		t.Errorf("requests %+v", asked)
	}

	// A tool that needs more: the 403's challenge goes to Valet Key, and the host carries on.
	backend.requests = nil
	out.Reset()
	if err := run(t.Context(), []string{"host", "--server", server, "--add", "Buy string"}, &out, io.Discard); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if !strings.Contains(out.String(), "add_note answers: Noted.") || !strings.Contains(out.String(), "Buy string") || len(backend.loud()) != 2 {
		t.Errorf("requests %+v\n%s", backend.loud(), &out)
	}
}

func TestHostIsToldNo(t *testing.T) {
	issuer, server := startDemo(t)
	backend := &grantor{t: t, issuer: issuer, refusal: localapi.Errorf(localapi.ErrConsentDenied, "the person said no")}
	serveSocket(t, backend)
	err := run(t.Context(), []string{"host", "--server", server}, io.Discard, io.Discard)
	if localapi.ExitCode(err) != 3 || !strings.Contains(err.Error(), "the person said no") {
		t.Errorf("got %v", err)
	}
	if len(backend.loud()) != 1 {
		t.Errorf("the host asked %d times after a No", len(backend.loud()))
	}
}

// At a form, a person types: a choice, an empty line for the preset, a wrong number, an end of input.
func TestTerminalAsks(t *testing.T) {
	form := func() *demo.Form {
		return &demo.Form{Values: url.Values{"account": {"alice"}, "request": {"r"}}, Choices: map[string][]string{"account": {"alice", "bob"}},
			Texts: map[string]string{"other": "Another name"}, Buttons: []demo.Button{{Name: "answer", Value: "allow", Text: "Allow"}, {Name: "answer", Value: "cancel", Text: "Cancel"}}}
	}
	for _, tt := range []struct {
		name, typed, want string
		wrong             bool
	}{
		{"preset", "\n1\n", "account=alice&answer=allow&request=r", false},
		{"other choice", "bob\n2\n", "account=bob&answer=cancel&request=r", false},
		{"typed name", "carol\n1\n", "account=alice&answer=allow&other=carol&request=r", false},
		{"wrong numbers", "\n\nyes\n3\n2\n", "account=alice&answer=cancel&request=r", false},
		{"end of input", "bob\n", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			term := &terminal{ctx: t.Context(), in: bufio.NewReader(strings.NewReader(tt.typed)), out: io.Discard}
			values, err := term.fill(form())
			if (err != nil) != tt.wrong || !tt.wrong && values.Encode() != tt.want {
				t.Errorf("got %s %v, want %s", values.Encode(), err, tt.want)
			}
		})
	}
}

func TestBrowserShowsErrors(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "<h1>No\x1b[2J tea</h1>")
	}))
	defer site.Close()
	var out bytes.Buffer
	err := run(t.Context(), []string{"browser", "--yes", site.URL}, &out, io.Discard)
	if err == nil || !strings.Contains(out.String(), "No[2J tea") || slices.Contains(out.Bytes(), 0x1b) {
		t.Errorf("%v\n%q", err, &out)
	}
}
