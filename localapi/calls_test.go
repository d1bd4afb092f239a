package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/peer"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares got with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s (-update accepts):\n got %s\nwant %s", path, got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	noon      = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	fullGrant = Grant{
		Server: "https://mcp.example.com/mcp", Resource: "https://mcp.example.com/mcp", Name: "Example", Issuer: "https://issuer.example.com",
		Account: "work", Scopes: []string{"files:read"}, State: StateReady, Problem: "p", Renewable: true,
		SignedInAt: noon, RefreshedAt: noon, ExpiresAt: noon,
		Consents: []Consent{{Host: "exe:/usr/bin/claude", HostName: "claude", Level: peer.SystemPath, Scopes: []string{"files:read"}, Mode: ModeHour, GivenAt: noon, ExpiresAt: noon}},
	}
)

// TestCalls sends every field of every call to the other side and back.
func TestCalls(t *testing.T) {
	by := &ClientInfo{Name: "claude-code", Version: "2.1"}
	tokenReq := TokenRequest{Resource: "https://mcp.example.com/mcp", Account: "work", Scopes: []string{"a", "b"}, MinValidS: 60, Interaction: InteractionNone,
		Reason: "list <issues>", Challenges: []string{`Bearer scope="a b"`}, Refused: secret.New("old").SHA256(), Client: by}
	token := Token{AccessToken: secret.New("a.b.c"), TokenType: "Bearer", ExpiresAt: noon, Scope: "a b", Resource: "r", Issuer: "i", Account: "work"}
	signInReq := SignInRequest{Resource: "r", Account: "a", Scopes: []string{"s"}, Reason: "because", Client: by}
	forgetReq := ForgetRequest{Resource: "r", Account: "a", Client: by}
	forgotten := Forgotten{Grants: []Grant{fullGrant}, NotRevoked: []string{"it would not"}}
	registration := RegistrationRequest{Resource: "r", Sent: client.Send(client.Client{Issuer: "i", ClientID: "id", Secret: secret.New("s3")}), Client: by}
	registered := Registered{Issuer: "i", ClientID: "id"}
	status := Status{Version: "1", APIMinor: 0, PID: 7, Face: "window", Keychain: "ok", Servers: 3, SignIns: 2, Waiting: 1}

	from := &peer.Peer{Host: peer.Host{Name: "claude"}}
	var ids sync.Map
	same := func(ctx context.Context, p *peer.Peer, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the backend was asked %+v, want %+v", got, want)
		}
		if p != from {
			t.Errorf("%T: the peer is %+v", want, p)
		}
		if _, twice := ids.LoadOrStore(RequestID(ctx), true); twice || RequestID(ctx) == "" {
			t.Errorf("%T: request id %q", want, RequestID(ctx))
		}
	}
	backend := &fake{
		token: func(ctx context.Context, p *peer.Peer, r TokenRequest) (*Token, error) {
			same(ctx, p, r, tokenReq)
			return &token, nil
		},
		signIn: func(ctx context.Context, p *peer.Peer, r SignInRequest) (*Grant, error) {
			same(ctx, p, r, signInReq)
			return &fullGrant, nil
		},
		forget: func(ctx context.Context, p *peer.Peer, r ForgetRequest) (*Forgotten, error) {
			same(ctx, p, r, forgetReq)
			return &forgotten, nil
		},
		register: func(ctx context.Context, p *peer.Peer, r RegistrationRequest) (*Registered, error) {
			same(ctx, p, r, registration)
			return &registered, nil
		},
		grants: func(ctx context.Context, p *peer.Peer) (*Grants, error) {
			same(ctx, p, 0, 0)
			return &Grants{[]Grant{fullGrant}}, nil
		},
		status: func(ctx context.Context) (*Status, error) { same(ctx, from, 0, 0); return &status, nil },
	}
	c := newTestClient(t, start(t, ServerConfig{Backend: backend, Identify: func(net.Conn) (*peer.Peer, error) { return from, nil }}, doorBounds))
	ctx := t.Context()
	check := func(got any, err error, want any) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("answered %+v, %v; want %+v", got, err, want)
		}
	}
	a, err := c.Token(ctx, tokenReq)
	check(a, err, &token)
	b, err := c.SignIn(ctx, signInReq)
	check(b, err, &fullGrant)
	d, err := c.Forget(ctx, forgetReq)
	check(d, err, &forgotten)
	e, err := c.Register(ctx, registration)
	check(e, err, &registered)
	f, err := c.Grants(ctx)
	check(f, err, &Grants{[]Grant{fullGrant}})
	g, err := c.Status(ctx)
	check(g, err, &status)
	must(t, c.Open(ctx))
	if RequestID(t.Context()) != "" {
		t.Error("a request id outside of a call")
	}
}

// TestErrors sends every error across and looks at it from both sides.
func TestErrors(t *testing.T) {
	var answer error
	addr := start(t, ServerConfig{Backend: &fake{token: func(context.Context, *peer.Peer, TokenRequest) (*Token, error) {
		return nil, answer
	}}}, doorBounds)
	c := newTestClient(t, addr)
	var wire bytes.Buffer
	id := regexp.MustCompile(`"request_id":"[0-9a-f]{8}-[0-9]+"`)
	for _, r := range rows {
		sent := &Error{Kind: r.err, Message: "what is so: <" + r.code + ">", Hint: "what to do", RetryAfter: 1500 * time.Millisecond, Err: errors.New("inner cause")}
		answer = fmt.Errorf("wrapped: %w", sent)
		_, err := c.Token(t.Context(), TokenRequest{Resource: "x"})
		var got *Error
		if !errors.As(err, &got) {
			t.Fatalf("%s: %v", r.code, err)
		}
		for _, other := range rows {
			if errors.Is(err, other.err) != (other.err == r.err) {
				t.Errorf("%s: errors.Is(%v) = %v", r.code, other.err, errors.Is(err, other.err))
			}
		}
		if got.Message != sent.Message || got.Hint != sent.Hint || got.RetryAfter != 2*time.Second || got.RequestID == "" || got.Code() != r.code || ExitCode(err) != r.exit {
			t.Errorf("%s: got %+v", r.code, got)
		}
		if sent.RequestID != "" {
			t.Errorf("%s: the backend's error was changed", r.code)
		}
		resp, body, err := raw(t, addr, lines("POST /v1/token HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 16", "", `{"resource":"x"}`))
		must(t, err)
		if resp.StatusCode != r.status || resp.Header.Get("Retry-After") != "2" || !strings.Contains(body, resp.Header.Get(headerRequestID)) {
			t.Errorf("%s: %d %v %s", r.code, resp.StatusCode, resp.Header, body)
		}
		if strings.Contains(body, "inner") {
			t.Errorf("%s: the cause left the app: %s", r.code, body)
		}
		fmt.Fprintf(&wire, "%d %s", resp.StatusCode, id.ReplaceAllString(body, `"request_id":"ID"`))
	}
	golden(t, "errors.golden", wire.Bytes())
}

func TestRetryAfter(t *testing.T) {
	for d, want := range map[time.Duration]int{-time.Hour: 0, 0: 0, time.Nanosecond: 1, time.Second: 1, time.Second + 1: 2, 1 << 62: 86400} {
		if got := (&Error{RetryAfter: d}).retryAfterS(); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
	for s, want := range map[string]time.Duration{"-5": 0, "3": 3 * time.Second, "9223372036854775807": 24 * time.Hour} {
		var e Error
		if err := json.Unmarshal([]byte(`{"code":"from_the_future","retry_after_s":`+s+`}`), &e); err != nil || e.RetryAfter != want || e.Kind != ErrInternal {
			t.Errorf("%s: %+v, %v", s, e, err)
		}
	}
}

func TestExitCode(t *testing.T) {
	for want, err := range map[int]error{
		0: nil,
		1: errors.New("anything"),
		5: fmt.Errorf("wrapped: %w", ErrLocked),
		8: &Error{Kind: ErrUnavailable, Err: ErrLocked}, // the kind counts, not the cause
	} {
		if got := ExitCode(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestGuards(t *testing.T) {
	addr := start(t, ServerConfig{Backend: &fake{
		status: statusOK,
		token:  func(context.Context, *peer.Peer, TokenRequest) (*Token, error) { return &Token{}, nil },
	}}, doorBounds)
	const local, isJSON = "Host: localhost", "Content-Type: application/json"
	post := func(body string, head ...string) string {
		return lines(append(append([]string{"POST /v1/token HTTP/1.1"}, head...), fmt.Sprintf("Content-Length: %d", len(body)), "", body)...)
	}
	get := func(path string, head ...string) string {
		return lines(append(append([]string{"GET " + path + " HTTP/1.1"}, head...), "", "")...)
	}
	for name, c := range map[string]struct {
		request string
		status  int
		says    string
	}{
		"plain":             {get("/v1/status", local), 200, `"version":"1.2.3"`},
		"our own host name": {get("/v1/status", "Host: valetkey"), 200, ""},
		"curl's headers":    {get("/v1/status?x=1", local, "User-Agent: curl/8", "Accept: */*"), 200, ""},
		"http/1.0":          {lines("GET /v1/status HTTP/1.0", local, "", ""), 200, ""},
		"http/1.0 hostless": {lines("GET /v1/status HTTP/1.0", "", ""), 403, "Host header"},
		"http/1.1 hostless": {get("/v1/status"), 400, ""},
		"another host":      {get("/v1/status", "Host: evil.example"), 403, "Host header"},
		"a port":            {get("/v1/status", "Host: localhost:80"), 403, "Host header"},
		"origin":            {get("/v1/status", local, "origin: null"), 403, "carry Origin"},
		"referer":           {get("/v1/status", local, "Referer: https://evil.example/"), 403, "carry Referer"},
		"sec-fetch":         {get("/v1/status", local, "sec-fetch-mode: cors"), 403, "carry Sec-Fetch-Mode"},
		"sec-fetch unknown": {get("/v1/status", local, "Sec-Fetch-Future: x"), 403, "carry Sec-Fetch-Future"},
		"browser post":      {post(`{"resource":"x"}`, local, isJSON, "Origin: http://localhost"), 403, "carry Origin"},
		"newer version":     {get("/v2/status", local), 404, `"code":"unsupported_version"`},
		"supported list":    {get("/v2", local), 404, `"supported":["v1"]`},
		"no version":        {get("/status", local), 404, `"code":"bad_request"`},
		"no such call":      {get("/v1/tokens", local), 404, "there is no call /v1/tokens"},
		"unclean path":      {get("/v1//status", local), 404, "bad_request"},
		"long path":         {get("/"+strings.Repeat("ü", 900), local), 404, "…"},
		"wrong method":      {get("/v1/token", local), 405, "/v1/token is called with POST"},
		"options":           {lines("OPTIONS /v1/status HTTP/1.1", local, "", ""), 405, "GET"},
		"text":              {post(`{"resource":"x"}`, local, "Content-Type: text/plain"), 415, "application/json"},
		"a form":            {post(`resource=x`, local, "Content-Type: application/x-www-form-urlencoded"), 415, ""},
		"no content type":   {post(`{"resource":"x"}`, local), 415, ""},
		"charset":           {post(`{"resource":"x"}`, local, "content-type: Application/JSON; charset=utf-8"), 200, ""},
		"chunked":           {lines("POST /v1/token HTTP/1.1", local, isJSON, "Transfer-Encoding: chunked", "", "10", `{"resource":"x"}`, "0", "", ""), 200, ""},
		"no body":           {post("", local, isJSON), 400, "is not JSON"},
		"not json":          {post("resource", local, isJSON), 400, "is not JSON (at byte 1)"},
		"half json":         {post(`{"resource":"x"`, local, isJSON), 400, "is not JSON"},
		"two objects":       {post(`{"resource":"x"}{}`, local, isJSON), 400, "is not JSON"},
		"a list":            {post(`[]`, local, isJSON), 400, "must be a JSON object"},
		"null":              {post(`null`, local, isJSON), 400, `the field \"resource\" is missing`},
		"wrong type":        {post(`{"resource":7}`, local, isJSON), 400, `the field \"resource\" must be a string`},
		"wrong list":        {post(`{"resource":"x","scopes":"a"}`, local, isJSON), 400, `the field \"scopes\" must be a list`},
		"wrong number":      {post(`{"resource":"x","min_valid_s":1e99}`, local, isJSON), 400, `the field \"min_valid_s\" must be a whole number`},
		"wrong object":      {post(`{"resource":"x","client":1}`, local, isJSON), 400, `the field \"client\" must be an object`},
		"no resource":       {post(`{"scopes":[]}`, local, isJSON), 400, `the field \"resource\" is missing`},
		"interaction":       {post(`{"resource":"x","interaction":"never"}`, local, isJSON), 400, "interaction must be"},
		"min valid":         {post(`{"resource":"x","min_valid_s":-1}`, local, isJSON), 400, "min_valid_s must"},
		"long valid":        {post(`{"resource":"x","min_valid_s":86401}`, local, isJSON), 400, "min_valid_s must"},
		"rerun":             {post(`{"resource":"x","rerun_s":61}`, local, isJSON), 400, "rerun_s must"},
		"refused token":     {post(`{"resource":"x","refused":"eyJ"}`, local, isJSON), 400, "never send the token itself"},
		"foreign field":     {post(`{"resource":"x","client_id":"y"}`, local, isJSON), 400, `the field \"client_id\" belongs to another call`},
		"unknown field":     {post(`{"resource":"x","from_the_future":{"client_id":1}}`, local, isJSON), 200, ""},
		"64 KiB":            {post(`{"resource":"`+strings.Repeat("x", 64<<10-15)+`"}`, local, isJSON), 200, ""},
		"over 64 KiB":       {post(`{"resource":"`+strings.Repeat("x", 64<<10-14)+`"}`, local, isJSON), 413, "larger than 64 KiB"},
		"chunks too large":  {lines("POST /v1/token HTTP/1.1", local, isJSON, "Transfer-Encoding: chunked", "", "10001", strings.Repeat("x", 0x10001), "0", "", ""), 413, "larger than 64 KiB"},
		"32 KiB of headers": {get("/v1/status", local, "X: "+strings.Repeat("x", 32<<10-60)), 200, ""},
		"more headers":      {get("/v1/status", local, "X: "+strings.Repeat("x", 32<<10)), 431, ""},
		"no http at all":    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body, err := raw(t, addr, c.request)
			must(t, err)
			if resp.StatusCode != c.status || !strings.Contains(body, c.says) {
				t.Errorf("%d %s; want %d %s", resp.StatusCode, body, c.status, c.says)
			}
			if !strings.HasPrefix(body, "{") {
				return // net/http's own refusal
			}
			for header, want := range map[string]string{headerVersion: "1.2.3", headerAPIMinor: "0", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Type": "application/json"} {
				if got := resp.Header.Get(header); got != want {
					t.Errorf("%s: %q", header, got)
				}
			}
			if allow := resp.Header.Get("Allow"); (resp.StatusCode == http.StatusMethodNotAllowed) != (allow != "") {
				t.Errorf("Allow: %q", allow)
			}
			var answer struct{ Error Error }
			if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode >= 400 && (answer.Error.Message == "" || answer.Error.RequestID == "") {
				t.Errorf("%s: %v", body, err)
			}
		})
	}
}

func TestForeignFields(t *testing.T) {
	for got, want := range map[string]string{
		fmt.Sprint(foreignFields[TokenRequest]()):        "[device quirks issuer client_id key_id grant_type assertion_file enterprise client_secret private_key remove]",
		fmt.Sprint(foreignFields[SignInRequest]()):       "[min_valid_s interaction challenges refused proof rerun_s issuer client_id key_id grant_type assertion_file enterprise client_secret private_key remove]",
		fmt.Sprint(foreignFields[ForgetRequest]()):       "[scopes min_valid_s interaction reason challenges refused proof rerun_s device quirks issuer client_id key_id grant_type assertion_file enterprise client_secret private_key remove]",
		fmt.Sprint(foreignFields[OpenRequest]()):         "[resource account scopes min_valid_s interaction reason challenges refused proof rerun_s client device quirks issuer client_id key_id grant_type assertion_file enterprise client_secret private_key remove]",
		fmt.Sprint(foreignFields[RegistrationRequest]()): "[account scopes min_valid_s interaction reason challenges refused proof rerun_s device quirks]",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for body, says := range map[string]string{
		`{"issuer":"i","client_id":""}`: `"client_id" is missing`,
		`{"client_id":"x"}`:             `"resource" is missing`,
		`{"issuer":"i","client_id":"x","client_secret":{"canary-5c1d":1}}`: "not what this call expects",
		`{"issuer":"i","client_id":5}`:                                     `the field "client_id" must be a string`,
		`{"issuer":"i","client_id":"x","enterprise":{"issuer":5}}`:         `the field "enterprise.issuer" must be a string`,
		`{"issuer":"i","client_id":"x","enterprise":{"client_id":"y"}}`:    `the field "enterprise.issuer" is missing`,
		`{"issuer":"i","client_id":"x","enterprise":{"issuer":"y"}}`:       `the field "enterprise.client_id" is missing`,
		`{"issuer":"i","client_id":"x","grant_type":"password"}`:           `the grant type "password" is not known`,
	} {
		if _, err := decode[RegistrationRequest]([]byte(body), nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestLeak sends canaries through every call, right and wrong: they may show in the answer with the token only.
func TestLeak(t *testing.T) {
	const canary = "canary-5c1d"
	var log bytes.Buffer
	addr := start(t, ServerConfig{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Backend: &fake{
		token: func(_ context.Context, _ *peer.Peer, r TokenRequest) (*Token, error) {
			token := &Token{AccessToken: secret.New(canary)}
			switch r.Resource {
			case "plain":
				return nil, fmt.Errorf("with %v", token)
			case "panic":
				panic(token)
			}
			return token, nil
		},
		register: func(_ context.Context, _ *peer.Peer, r RegistrationRequest) (*Registered, error) {
			return nil, fmt.Errorf("with %v", r)
		},
	}}, doorBounds)
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/v1/token", `{"resource":"x"}`, 200},
		{"/v1/token", `{"resource":"plain"}`, 500},
		{"/v1/token", `{"resource":"panic"}`, 500},
		{"/v1/token", `{"resource":"x","refused":"` + canary + `"}`, 400},
		{"/v1/token", `{"resource":"x","interaction":"` + canary + `"}`, 400},
		{"/v1/token", `{"resource":"x","client_secret":"` + canary + `"}`, 400},
		{"/v1/client", `{"resource":"x","client_id":"i","client_secret":"` + canary + `"}`, 500},
		{"/v1/client", `{"resource":"x","client_secret":"` + canary + `"}`, 400},
		{"/v1/client", `{"resource":"x","client_secret":["` + canary + `"]}`, 400},
		{"/v1/client", `{"resource":"x","client_secret":"` + canary, 400},
		{"/v1/client", canary, 400},
	} {
		resp, body, err := raw(t, addr, lines("POST "+c.path+" HTTP/1.1", "Host: localhost", "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(c.body)), "", c.body))
		must(t, err)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d %s", c.body, resp.StatusCode, body)
		}
		if strings.Contains(body, canary) != (c.status == http.StatusOK) {
			t.Errorf("%s: answered %s", c.body, body)
		}
	}
	if strings.Contains(log.String(), canary) || log.Len() == 0 {
		t.Errorf("the log:\n%s", log.String())
	}
}

func TestStrangers(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"another server": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"access_token":"x"}`)) },
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(headerVersion, "1")
			w.Write(bytes.Repeat([]byte("x"), maxAnswer+1))
		},
		"no json": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(headerVersion, "1")
			w.Write([]byte("hello"))
		},
		"no error": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(headerVersion, "1")
			w.WriteHeader(http.StatusTeapot)
		},
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example/", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr := socketAddr(t)
			ln, err := Listen(addr)
			must(t, err)
			server := &http.Server{Handler: handler}
			done := make(chan struct{})
			go func() { server.Serve(ln); close(done) }()
			defer func() { server.Close(); <-done; ln.Close() }()
			_, err = newTestClient(t, addr).Token(t.Context(), TokenRequest{Resource: "x"})
			if e := new(Error); !errors.As(err, &e) || e.Message == "" {
				t.Errorf("got %v", err)
			}
			t.Log(err)
		})
	}
}

// FuzzDecode: whatever the body, the answer is a request that passed its check or an *Error of kind ErrBadRequest that
// does not quote the body.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{`{"resource":"x","scopes":["a"],"client":{"name":"n"}}`, `{"resource":"x","client_secret":"CANARY"}`, `null`, `[]`, `{"RESOURCE":1e400}`, ``, "\xff"} {
		f.Add([]byte(body))
	}
	foreign := [][]string{foreignFields[TokenRequest](), foreignFields[SignInRequest](), foreignFields[ForgetRequest](), foreignFields[RegistrationRequest]()}
	f.Fuzz(func(t *testing.T, body []byte) {
		token, err := decode[TokenRequest](body, foreign[0])
		checkDecoded(t, token, err)
		signIn, err := decode[SignInRequest](body, foreign[1])
		checkDecoded(t, signIn, err)
		forget, err := decode[ForgetRequest](body, foreign[2])
		checkDecoded(t, forget, err)
		registration, err := decode[RegistrationRequest](body, foreign[3])
		checkDecoded(t, registration, err)
	})
}

func checkDecoded[Request request](t *testing.T, req Request, err error) {
	if err == nil {
		again, _ := json.Marshal(req)
		if _, err := decode[Request](again, foreignFields[Request]()); err != nil {
			t.Errorf("%s decodes once only: %v", again, err)
		}
		return
	}
	if e := new(Error); !errors.As(err, &e) || !errors.Is(err, ErrBadRequest) || len(e.Message) > 200 || strings.Contains(e.Message, "CANARY") {
		t.Errorf("%T: %v", req, err)
	}
}
