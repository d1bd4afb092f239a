package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

var update = flag.Bool("update", false, "rewrite the golden files and scripts in testdata")

func TestMain(m *testing.M) {
	if os.Getenv(startVar) == "" && os.Getenv("VK_TEST_START") == "" { // no test may start the app of who runs it
		os.Setenv(startVar, "/nonexistent/agent.sock")
	}
	testscript.Main(m, map[string]func(){"vk": main})
}

// TestScripts runs the real vk against a real socket. Their own commands:
//
//	app FILE    starts an app that answers as FILE says: {"CALL": ANSWER, "CALL": {"error": ERROR}, "CALL": {"wait": true}}
//	asked TEXT  waits for the app's next request and compares it with TEXT
//	quit        ends the app
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("VK_SOCK", filepath.Join(env.WorkDir, "run", "agent.sock"))
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			a := &app{}
			env.Values["app"] = a
			env.Defer(a.quit)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"app": func(ts *testscript.TestScript, _ bool, args []string) {
				var answers map[string]json.RawMessage
				ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &answers))
				ts.Check(ts.Value("app").(*app).start(ts.Getenv("VK_SOCK"), answers))
			},
			"asked": func(ts *testscript.TestScript, _ bool, args []string) {
				select {
				case got := <-ts.Value("app").(*app).asked:
					if got != args[0] {
						ts.Fatalf("asked %s", got)
					}
				case <-time.After(20 * time.Second):
					ts.Fatalf("nothing was asked")
				}
			},
			"quit": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("app").(*app).quit() },
		},
	})
}

// app is an app whose answers are written down beforehand.
type app struct {
	answers map[string]json.RawMessage
	asked   chan string // each request
	discard bool        // nobody reads asked
	stop    func()
}

func (a *app) start(addr string, answers map[string]json.RawMessage) error {
	ln, err := localapi.Listen(addr)
	if err != nil {
		return err
	}
	a.answers, a.asked = answers, make(chan string, 100)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		localapi.Serve(ctx, ln, localapi.ServerConfig{Backend: a, Version: "1.2.3", Identify: func(net.Conn) (*peer.Peer, error) { return &peer.Peer{}, nil }})
		close(served)
	}()
	a.stop = func() { cancel(); <-served; ln.Close() }
	return nil
}

func (a *app) quit() {
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
}

// written gives the answer written for a call.
func written[Answer any](ctx context.Context, a *app, call string, req any) (*Answer, error) {
	if !a.discard {
		said, _ := json.Marshal(req)
		a.asked <- call + " " + string(said)
	}
	var special struct {
		Error *localapi.Error
		Wait  bool
	}
	answer := new(Answer)
	if err := errors.Join(json.Unmarshal(a.answers[call], &special), json.Unmarshal(a.answers[call], answer)); err != nil {
		return nil, err
	}
	switch {
	case special.Error != nil:
		return nil, special.Error
	case special.Wait:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return answer, nil
}

func (a *app) Token(ctx context.Context, _ *peer.Peer, r localapi.TokenRequest) (*localapi.Token, error) {
	return written[localapi.Token](ctx, a, "token", r)
}
func (a *app) Explain(ctx context.Context, _ *peer.Peer, r localapi.TokenRequest) (*localapi.Explained, error) {
	return written[localapi.Explained](ctx, a, "explain", r)
}
func (a *app) SignIn(ctx context.Context, _ *peer.Peer, r localapi.SignInRequest) (*localapi.Grant, error) {
	return written[localapi.Grant](ctx, a, "signin", r)
}
func (a *app) Forget(ctx context.Context, _ *peer.Peer, r localapi.ForgetRequest) (*localapi.Forgotten, error) {
	return written[localapi.Forgotten](ctx, a, "forget", r)
}
func (a *app) Register(ctx context.Context, _ *peer.Peer, r localapi.RegistrationRequest) (*localapi.Registered, error) {
	return written[localapi.Registered](ctx, a, "client", r)
}
func (a *app) Open(ctx context.Context, _ *peer.Peer, r localapi.OpenRequest) (*localapi.Opened, error) {
	return written[localapi.Opened](ctx, a, "open", r)
}
func (a *app) Grants(ctx context.Context, _ *peer.Peer) (*localapi.Grants, error) {
	return written[localapi.Grants](ctx, a, "grants", nil)
}
func (a *app) Status(ctx context.Context) (*localapi.Status, error) {
	return written[localapi.Status](ctx, a, "status", nil)
}

// serve starts an app for a test that runs vk in its own process, and returns its address.
func (a *app) serve(t testing.TB, answers map[string]string) func() (string, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vk")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	raw := map[string]json.RawMessage{}
	for call, answer := range answers {
		raw[call] = json.RawMessage(answer)
	}
	addr := filepath.Join(dir, "agent.sock")
	must(t, a.start(addr, raw))
	t.Cleanup(a.quit)
	return func() (string, error) { return addr, nil }
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func noApp() (string, error) { return "/nonexistent/agent.sock", nil }

// TestGolden compares what vk prints, at a fixed time, with testdata/*.golden.
func TestGolden(t *testing.T) {
	version = "1.2.3"
	defer func() { version = "" }()
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return noon.Add(d).Format(time.RFC3339) }
	full := `{"server":"https://mcp.example.com/mcp","resource":"https://mcp.example.com/mcp","name":"Example\u001b[31m Files","issuer":"https://issuer.example.com",
		"account":"work","scopes":["files:read","files:write"],"state":"ready","renewable":true,
		"registration":{"client_id":"my-id","source":"pre-registered","grant_type":"urn:ietf:params:oauth:grant-type:jwt-bearer","enterprise":"https://login.example.org"},
		"signed_in_at":"` + at(-72*time.Hour) + `","refreshed_at":"` + at(-8*time.Minute) + `","expires_at":"` + at(52*time.Minute) + `","consents":[
		{"host":"exe:/usr/bin/claude","host_name":"claude","level":` + level(peer.SystemPath) + `,"scopes":["files:read"],"mode":"always","given_at":"` + at(-72*time.Hour) + `"},
		{"host":"script:/usr/bin/python3|/home/u/agent.py#ab12","host_name":"agent.py","level":` + level(peer.SelfReported) + `,"scopes":["files:read","files:write"],"mode":"hour","given_at":"` + at(0) + `","expires_at":"` + at(30*time.Minute) + `"}]}`
	poor := `{"server":"https://MCP.example.com:443/mcp/","resource":"https://mcp.example.com/mcp","issuer":"https://other.example","account":"","scopes":[],
		"state":"sign_in","problem":"the issuer no longer accepts the refresh token","renewable":false,"consents":[],
		"quirks":[{"name":"audience","value":"acc\u001b[31mount"}],"check":{"result":"accepted","at":"` + at(0) + `","findings":[]}}`
	other := `{"server":"http://127.0.0.1:8080/mcp","resource":"http://127.0.0.1:8080/mcp","issuer":"http://127.0.0.1:9090","account":"home","scopes":["a"],"state":"unsaved","renewable":true,"registration":{"client_id":"dyn-1","source":"dynamic"},"expires_at":"` + at(-time.Minute) + `","consents":[]}`
	open := `{"server":"https://open.example/mcp","resource":"https://open.example/mcp","issuer":"","account":"default","scopes":[],"state":"ready","renewable":false,"consents":[]}`
	unpublished := `{"server":"https://old.example/mcp","resource":"https://old.example/mcp","issuer":"https://old.example","unpublished":true,"account":"default","scopes":["a"],"state":"ready","renewable":true,"consents":[]}`
	a := &app{}
	address := a.serve(t, map[string]string{
		"grants": `{"grants":[` + strings.Join([]string{full, poor, other, open, unpublished}, ",") + `]}`,
		"status": `{"version":"1.2.3","pid":4711,"face":"window","keychain":"ok","servers":3,"sign_ins_needed":1,"waiting":0}`,
		"token":  `{"access_token":"tok.en","token_type":"Bearer","expires_at":"` + at(time.Hour) + `","scope":"a b","resource":"r","issuer":"i","account":"<work>"}`,
		"explain": `{"resource":"https://mcp.example.com/mcp","issuer":"https://issuer.example.com","account":"work","scope":"a b","expires_at":"` + at(time.Hour) + `","check":{
			"result":"wrong","at":"` + at(0) + `","findings":[
			{"name":"signature","result":"passed","text":"The token is signed by its issuer."},
			{"name":"expiry","result":"unknown","text":"The token does not say when it ends.","expected":"later than now"},
			{"name":"audience","result":"failed","text":"The token is for another server.","expected":"https://mcp.example.com/mcp","found":"acc\u001b[31mount"},
			{"name":"issuer","result":"accepted","text":"As you accepted.","expected":"https://a","found":"https://a/"},
			{"name":"scope","result":"passed","text":"The token has no scope that was not asked for."}]}}`,
		"signin": poor,
		"client": `{"issuer":"https://issuer.example.com","client_id":"my-id"}`,
		"forget": `{"grants":[` + full + `,` + poor + `],"not_revoked":["https://other.example has no revocation endpoint"]}`,
	})
	for _, args := range []string{
		"help", "help token", "help signin", "help list", "help show", "help forget", "help status", "help client", "help version", "help help", "help headers", "help bridge", "help connect", "help disconnect", "help import", "help doctor", "help start", "help completion",
		"list", "list --json", "show https://mcp.example.com/mcp", "show --json http://127.0.0.1:8080/mcp", "show https://unknown.example/mcp", "show local-8080", "show example", "show mcp.example.com", "show nothing", "token --json example",
		"show https://open.example/mcp", "show https://old.example/mcp",
		"status", "status --json", "token --json https://mcp.example.com/mcp",
		"token --explain https://mcp.example.com/mcp", "token --explain --json https://mcp.example.com/mcp", "forget https://mcp.example.com/mcp",
		"forget --json https://mcp.example.com/mcp", "signin --json https://mcp.example.com/mcp", "client --json https://mcp.example.com/mcp --client-id my-id", "version --json",
	} {
		t.Run(args, func(t *testing.T) {
			var out, errs bytes.Buffer
			p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, address: address, now: func() time.Time { return noon }}
			if err := p.dispatch(t.Context(), strings.Fields(args)); err != nil {
				p.complain(err)
			}
			got := out.String() + "--- stderr\n" + errs.String()
			if strings.ContainsRune(got, 0x1b) {
				t.Errorf("an escape sequence of a server reaches the terminal: %q", got)
			}
			name := strings.NewReplacer(" ", "-", "--", "", "https://", "", "http://", "", "/", "-", ":", "-").Replace(args) + ".golden"
			golden(t, filepath.Join("testdata", name), got)
		})
	}
}

// level is a level as JSON.
func level(l peer.Level) string {
	b, _ := json.Marshal(l)
	return string(b)
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s (-update accepts):\n got:\n%s\nwant:\n%s", path, got, want)
	}
}

// TestExitCodes: every code of the socket ends vk with the exit code of house and help.
func TestExitCodes(t *testing.T) {
	for code, want := range map[string]int{
		"internal": 1, "bad_request": 2, "unknown_server": 2, "consent_required": 3, "consent_denied": 3, "sign_in_required": 4,
		"locked": 5, "discovery": 6, "issuer": 7, "unavailable": 8, "unsupported_version": 8, "audience": 9, "from_the_future": 1,
	} {
		a := &app{}
		address := a.serve(t, map[string]string{"token": `{"error":{"code":"` + code + `","message":"so it is","hint":"do this","retry_after_s":60}}`})
		var out, errs bytes.Buffer
		got := run(t.Context(), []string{"token", "https://mcp.example.com/mcp"}, strings.NewReader(""), &out, &errs, address)
		if got != want || out.Len() > 0 {
			t.Errorf("%s: exit %d, want %d; stdout %q", code, got, want, out.String())
		}
		if want := "vk: so it is\n  do this\n  wait 60 s before you try again\n"; errs.String() != want {
			t.Errorf("%s: says %q", code, errs.String())
		}
	}
}

// TestNames: a name means a server only where it can mean no other.
func TestNames(t *testing.T) {
	const linear, evil, port = "https://mcp.linear.app/mcp", "https://linear.evil.example/mcp", "https://mcp.linear.app:8443/sse"
	for name, c := range map[string]struct {
		known []string
		arg   string
		want  string // "": an error that says says
		says  []string
	}{
		"a URL is not looked up":      {nil, "https://new.example/mcp", "https://new.example/mcp", nil},
		"short name":                  {[]string{linear, "https://mcp.sentry.dev/mcp"}, "linear", linear, nil},
		"in capitals":                 {[]string{linear}, "Linear", linear, nil},
		"several accounts are one":    {[]string{linear, linear + "/"}, "linear", linear, nil},
		"two servers":                 {[]string{linear, evil}, "linear", "", []string{"linear could be any of these servers: " + linear + ", " + evil, "URL"}},
		"host tells two apart":        {[]string{linear, evil}, "mcp.linear.app", linear, nil},
		"host with its port":          {[]string{linear, port}, "mcp.linear.app:8443", port, nil},
		"without the scheme":          {[]string{linear, "https://mcp.linear.app/other"}, "mcp.linear.app/mcp", linear, nil},
		"a part of a name is no name": {[]string{linear}, "lin", "", []string{"knows no server called lin", "one of these names: linear"}},
		"one letter too many":         {[]string{linear, "https://mcp.sentry.dev/mcp"}, "linnear", "", []string{"knows no server called linnear", "did you mean linear? "}},
		"an address without https":    {[]string{linear}, "mcp.new.example/mcp", "https://mcp.new.example/mcp", nil},
		"a host and port":             {nil, "localhost:8080", "https://localhost:8080", nil},
		"nothing known":               {nil, "linear", "", []string{"knows no server called linear", "vk signin URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			var grants localapi.Grants
			for _, server := range c.known {
				grants.Grants = append(grants.Grants, localapi.Grant{Server: server, Name: "nothing", Consents: []localapi.Consent{}})
			}
			answer, _ := json.Marshal(grants)
			a := &app{discard: true}
			p := &program{address: a.serve(t, map[string]string{"grants": string(answer)})}
			got, err := p.server(t.Context(), c.arg)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Fatalf("%s, %v", got, err)
			}
			for _, words := range c.says {
				if !strings.Contains(err.Error()+hintOf(err), words) {
					t.Errorf("says %v%s, not %q", err, hintOf(err), words)
				}
			}
		})
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"start", "status", "list", "linear", "token"}
	for typed, want := range map[string]string{
		"tokne": "token", "toke": "token", "stauts": "status", "stat": "status", "TOKEN": "token", "lsit": "list", "line": "linear", "x": "", "": "", "tok en": "token", "quite other": "", "ab": "",
	} {
		if got := didYouMean(typed, known...); got != "did you mean "+want+"? " && got+want != "" {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
}

// TestCompletionIsQuick: an app that does not answer at once is not waited for.
func TestCompletionIsQuick(t *testing.T) {
	if completeLimit > 300*time.Millisecond {
		t.Errorf("a person may wait %v", completeLimit)
	}
	for i, args := range [][]string{{"token", ""}, {"token", "--account", ""}, {"connect", "cursor", ""}} {
		a, status := &app{discard: true}, `{"wait":true}`
		if i > 0 {
			status = `{"version":"1.2.3","keychain":"ok"}`
		}
		address := a.serve(t, map[string]string{"status": status, "grants": `{"wait":true}`})
		var out, errs bytes.Buffer
		begin := time.Now()
		code := run(t.Context(), append([]string{"__complete"}, args...), nil, &out, &errs, address)
		if code != 0 || out.String() != ":4\n" {
			t.Errorf("%q: exit %d, %q, %q", args, code, out.String(), errs.String())
		}
		if took := time.Since(begin); took > quickLimit/4 { // the limit itself is above; a busy machine may add to it
			t.Errorf("%q took %v", args, took)
		}
	}
}

// TestServerWords: what is completed means one server, and begins with what was typed.
func TestServerWords(t *testing.T) {
	var grants []localapi.Grant
	for _, server := range []string{"https://mcp.linear.app/mcp", "https://mcp.linear.app/mcp/", "https://mcp.sentry.dev/mcp", "https://sentry.evil.example/\u202emcp"} {
		grants = append(grants, localapi.Grant{Server: server})
	}
	for typed, want := range map[string]string{
		"":              "linear mcp.sentry.dev sentry.evil.example",
		"lin":           "linear",
		"sentry":        "sentry.evil.example",
		"mcp.l":         "mcp.linear.app",
		"https://mcp.s": "https://mcp.sentry.dev/mcp",
		"x":             "",
	} {
		var got []string
		for _, w := range serverWords(grants, typed) {
			word, means, _ := strings.Cut(w, "\t")
			got = append(got, word)
			if strings.ContainsRune(w, 0x202e) || means == "" {
				t.Errorf("%q", w)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

// TestVerbose: the cause behind a sentence is said on demand, in every place for the flag; otherwise only how to see it.
func TestVerbose(t *testing.T) {
	a := &app{discard: true}
	answers := a.serve(t, map[string]string{"status": `{"error":{"code":"locked","message":"the keychain is locked","hint":"unlock it"}}`})
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	hangsUp := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", hangsUp)
	must(t, err)
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	for _, c := range []struct {
		args, addr string
		says       []string
		not        string
	}{
		{"status", "", []string{"vk: the keychain is locked\n  unlock it\n"}, "code"},
		{"status --verbose", "", []string{"  unlock it\n  code: locked, exit code 5\n  request: "}, "cause"},
		{"--verbose status", "", []string{"  code: locked, exit code 5\n"}, "cause"},
		{"status", hangsUp, []string{"before it had answered\n  try again\n"}, "cause"},
		{"status --verbose", hangsUp, []string{"before it had answered\n  try again\n  cause: ", "code: unavailable, exit code 8\n"}, "request"},
		{"connect nohost x --verbose", hangsUp, []string{"code: bad_request, exit code 2\n"}, "cause"},
	} {
		address := answers
		if c.addr != "" {
			address = func() (string, error) { return c.addr, nil }
		}
		var out, errs bytes.Buffer
		run(t.Context(), strings.Fields(c.args), nil, &out, &errs, address)
		for _, words := range c.says {
			if !strings.Contains(errs.String(), words) {
				t.Errorf("vk %s: %q, not %q", c.args, errs.String(), words)
			}
		}
		if strings.Contains(errs.String(), c.not) {
			t.Errorf("vk %s: %q", c.args, errs.String())
		}
	}
}

func TestMayStart(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"X11":                {map[string]string{"DISPLAY": ":0"}, true},
		"Wayland":            {map[string]string{"WAYLAND_DISPLAY": "wayland-0"}, true},
		"no display":         {nil, false},
		"a socket of theirs": {map[string]string{"DISPLAY": ":0", "VK_SOCK": "/x/agent.sock"}, false},
	} {
		if got := mayStart(func(name string) string { return c.env[name] }); got != (c.want && runtime.GOOS == "linux") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAppEnv(t *testing.T) {
	got := appEnv([]string{"HOME=/h", "OPENAI_API_KEY=s3cret", "XDG_RUNTIME_DIR=/r", "LD_PRELOAD=/x.so", "LC_ALL=C", "HOMEX=1", "XDG", "DISPLAY=:0"})
	if want := []string{"HOME=/h", "XDG_RUNTIME_DIR=/r", "LC_ALL=C", "DISPLAY=:0"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestUsage(t *testing.T) {
	for args, says := range map[string]string{
		"":                                  "vk: vk needs a verb\n  run: vk help\n",
		"tokne":                             "vk: there is no verb \"tokne\"\n  did you mean token? run: vk help\n",
		"help tokne":                        "vk: there is no verb \"tokne\"\n  did you mean token? run: vk help\n",
		"login a":                           "vk: there is no verb \"login\"\n  did you mean signin? run: vk help\n",
		"xyzzy":                             "vk: there is no verb \"xyzzy\"\n  run: vk help\n",
		"connect cursor https://a --json":   "vk: --json goes with --list only\n  run: vk help connect\n",
		"connect curser https://a":          "vk: there is no app called \"curser\"\n  did you mean cursor? run: vk help connect\n",
		"--bogus list":                      "vk: there is no verb \"--bogus\"\n  run: vk help\n",
		"help a b":                          "vk: vk help takes at most one argument\n  run: vk help help\n",
		"token":                             "vk: vk token takes one argument, the URL or NAME of a server\n  run: vk help token\n",
		"token a b":                         "vk: vk token takes one argument, the URL or NAME of a server\n  run: vk help token\n",
		"list a":                            "vk: vk list takes no argument\n  run: vk help list\n",
		"token a --bogus":                   "vk: unknown flag: --bogus\n  run: vk help token\n",
		"token a --min-valid 5":             "vk: invalid argument \"5\" for \"--min-valid\" flag: time: missing unit in duration \"5\"\n  run: vk help token\n",
		"token a --min-valid=-5s":           "vk: --min-valid cannot be negative\n  run: vk help token\n",
		"client a":                          "vk: vk client needs --client-id\n  run: vk help client\n",
		"bridge http://mcp.example.com/mcp": "vk: plain http is only for a server on this computer, which mcp.example.com is not\n  write the address with https://\n",
		"bridge https://mcp.example.com --timeout -1s":                                              "vk: --timeout cannot be negative\n  run: vk help bridge\n",
		"client a --client-id x --secret-stdin --key-stdin":                                         "vk: standard input can hold one key and nothing else\n  run: vk help client\n",
		"client a --client-id x --enterprise-client-id y":                                           "vk: which enterprise? name its issuer with --enterprise\n  run: vk help client\n",
		"client a --client-id x --enterprise https://e":                                             "vk: --enterprise needs --enterprise-client-id\n  run: vk help client\n",
		"client a --client-id x --enterprise https://e --enterprise-client-id y --assertion-file f": "vk: --enterprise can't be combined with --grant-type or --assertion-file\n  run: vk help client\n",
		"client a --client-id x --remove":                                                           "vk: --remove can be combined only with --issuer\n  run: vk help client\n",
		"client a --client-id x --grant-type client_credentials --assertion-file f":                 "vk: --assertion-file can't be combined with --grant-type\n  run: vk help client\n",
		"client a --client-id x --secret-stdin":                                                     "vk: standard input has no client secret\n  run: vk help client\n",
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), strings.NewReader("\n"), &out, &errs, noApp); code != 2 || out.Len() > 0 || errs.String() != says {
			t.Errorf("vk %s: exit %d, stdout %q, stderr %q", args, code, out.String(), errs.String())
		}
	}
	for _, args := range []string{"-h", "--help", "help", "token -h", "-h token", "version", "--version"} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), nil, &out, &errs, noApp); code != 0 || out.Len() == 0 || errs.Len() > 0 {
			t.Errorf("vk %s: exit %d, stdout %q, stderr %q", args, code, out.String(), errs.String())
		}
	}
}

func TestInterrupt(t *testing.T) {
	a := &app{}
	address := a.serve(t, map[string]string{"token": `{"wait":true}`})
	ctx, interrupt := context.WithCancel(t.Context())
	go func() { <-a.asked; interrupt() }()
	var errs bytes.Buffer
	if code := run(ctx, []string{"token", "https://mcp.example.com/mcp"}, nil, io.Discard, &errs, address); code != 130 || errs.String() != "vk: interrupted\n" {
		t.Errorf("exit %d, %q", code, errs.String())
	}
}

func TestNoAddress(t *testing.T) {
	var errs bytes.Buffer
	bad := func() (string, error) { return "", localapi.Errorf(localapi.ErrBadRequest, "no address") }
	if code := run(t.Context(), []string{"status"}, nil, io.Discard, &errs, bad); code != 2 {
		t.Errorf("exit %d, %q", code, errs.String())
	}
}

func TestReadSecrets(t *testing.T) {
	long := strings.Repeat("x", maxSecret)
	for in, want := range map[string]string{
		"s3cret": "s3cret", "s3cret\n": "s3cret", "s3cret\r\n": "s3cret", " a b \n\n": " a b \n", long: long, long + "\r\n": long, long + "x": "", "": "", "\n": "",
	} {
		got, err := readSecrets(t.Context(), strings.NewReader(in), io.Discard, "client secret")
		if (err == nil) != (want != "") || err == nil && (len(got) != 1 || got[0].Reveal() != want) {
			t.Errorf("%.20q: %d, %v", in, len(got), err)
		}
	}
	for in, want := range map[string]string{
		"one\ntwo\n": "one two", "one\r\ntwo": "one two", long + "\n" + long + "\n": long + " " + long, "one\n": "", "\ntwo\n": "", "": "",
	} {
		got, err := readSecrets(t.Context(), strings.NewReader(in), io.Discard, "client secret", "client secret at the enterprise")
		if (err == nil) != (want != "") || err == nil && (len(got) != 2 || got[0].Reveal()+" "+got[1].Reveal() != want) {
			t.Errorf("%.20q: %d, %v", in, len(got), err)
		}
	}
	never, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := readSecrets(ctx, never, io.Discard, "client secret"); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted read: %v", err)
	}
}

func TestRelative(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "now", -time.Millisecond: "now", time.Millisecond: "in 1 s", 89 * time.Second: "in 89 s", 90 * time.Second: "in 2 min", 52 * time.Minute: "in 52 min",
		-8 * time.Minute: "8 min ago", 89 * time.Minute: "in 89 min", 2 * time.Hour: "in 2 h", -26 * time.Hour: "26 h ago", 36 * time.Hour: "in 2 days", -100 * 24 * time.Hour: "100 days ago",
	} {
		if got := relative(now.Add(d), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := relative(time.Time{}, now); got != "-" {
		t.Errorf("no time: %q", got)
	}
}

func TestNotice(t *testing.T) {
	r, w := io.Pipe()
	p := &program{stderr: w}
	over := p.notice(time.Millisecond)
	line := make([]byte, 100)
	n, _ := r.Read(line)
	if got := string(line[:n]); got != "waiting for your answer in Valet Key…\n" {
		t.Errorf("%q", got)
	}
	over()

	var quick bytes.Buffer
	(&program{stderr: &quick}).notice(time.Hour)()
	if quick.Len() > 0 {
		t.Errorf("%q", quick.String())
	}
}
