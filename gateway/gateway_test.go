package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// record is an Internet that answers everything with what it was asked.
type record struct{ urls []string }

func (i *record) RoundTrip(r *http.Request) (*http.Response, error) {
	i.urls = append(i.urls, r.URL.String())
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok")), ContentLength: -1, Request: r}, nil
}

// TestPaths: a path reaches the one server it names, or nothing.
func TestPaths(t *testing.T) {
	for path, want := range map[string]string{
		"/mcp/mcp.example.com/mcp":                 "https://mcp.example.com/mcp",
		"/mcp/mcp.example.com":                     "https://mcp.example.com",
		"/mcp/mcp.example.com/":                    "https://mcp.example.com",
		"/mcp/mcp.example.com/mcp/":                "https://mcp.example.com/mcp/",
		"/mcp/mcp.example.com:8443/mcp":            "https://mcp.example.com:8443/mcp",
		"/mcp/mcp.example.com:443/mcp":             "https://mcp.example.com/mcp",
		"/mcp/MCP.Example.COM/MCP":                 "https://mcp.example.com/MCP",
		"/mcp/b%C3%BCcher.example/mcp":             "https://xn--bcher-kva.example/mcp",
		"/mcp/xn--bcher-kva.example/mcp":           "https://xn--bcher-kva.example/mcp",
		"/mcp/mcp.example.com/mcp?tenant=a&x=%2F":  "https://mcp.example.com/mcp?tenant=a&x=%2F",
		"/mcp/mcp.example.com/mcp?":                "https://mcp.example.com/mcp",
		"/mcp/mcp.example.com?x":                   "https://mcp.example.com?x",
		"/mcp/mcp.example.com/a%2Fb":               "https://mcp.example.com/a%2Fb",
		"/mcp/mcp.example.com//mcp":                "https://mcp.example.com//mcp",
		"/mcp/mcp.example.com/x@y":                 "https://mcp.example.com/x@y",
		"/mcp/mcp.example.com/https://other.test/": "https://mcp.example.com/https://other.test/",
		"/mcp/localhost/mcp":                       "http://localhost/mcp",
		"/mcp/LocalHost:8080/mcp":                  "http://localhost:8080/mcp",
		"/mcp/127.0.0.1:8080/mcp":                  "http://127.0.0.1:8080/mcp",
		"/mcp/127.9.9.9/mcp":                       "http://127.9.9.9/mcp",
		"/mcp/[::1]:8080/mcp":                      "http://[::1]:8080/mcp",
		"/mcp/%5B::1%5D:8080/mcp":                  "",
		"/mcp/https:localhost:8443/mcp":            "https://localhost:8443/mcp",
		"/mcp/https:[::1]:8443/mcp":                "https://[::1]:8443/mcp",
		"/mcp/10.0.0.1/mcp":                        "https://10.0.0.1/mcp",
		"/mcp/localhost.example/mcp":               "https://localhost.example/mcp",

		"/mcp/":                                       "",
		"/mcp":                                        "", // there is no such call
		"/mcp//mcp.example.com/mcp":                   "",
		"/mcp///mcp":                                  "",
		"/mcp/?x=mcp.example.com":                     "",
		"/%6dcp/mcp.example.com/mcp":                  "",
		"/mcp%2Fmcp.example.com/mcp":                  "",
		"/MCP/mcp.example.com/mcp":                    "",
		"/mcp/mcp.example.com/mcp/..":                 "",
		"/mcp/mcp.example.com/../other.test":          "",
		"/mcp/mcp.example.com/./mcp":                  "",
		"/mcp/mcp.example.com/%2e%2e/x":               "",
		"/mcp/mcp.example.com/%2E./x":                 "",
		"/mcp/../v1/status":                           "",
		"/mcp/..":                                     "",
		"/mcp/user@mcp.example.com/mcp":               "",
		"/mcp/user:pass@mcp.example.com/mcp":          "",
		"/mcp/user%40mcp.example.com/mcp":             "",
		"/mcp/mcp.example.com%2Fother/mcp":            "",
		"/mcp/mcp.example.com%00.other.test/mcp":      "",
		"/mcp/mcp.example.com%0d%0aHost:%20x/mcp":     "",
		"/mcp/mcp.example.com:0/mcp":                  "",
		"/mcp/mcp.example.com:99999/mcp":              "",
		"/mcp/mcp.example.com:x/mcp":                  "",
		"/mcp/mcp.example.com:80:80/mcp":              "",
		"/mcp/:8080/mcp":                              "",
		"/mcp/mcp.example.com\\other.test/mcp":        "",
		"/mcp/https://mcp.example.com/mcp":            "",
		"/mcp/https:mcp.example.com/mcp":              "",
		"/mcp/http:localhost/mcp":                     "",
		"/mcp/0x7f000001/mcp":                         "",
		"/mcp/127.1/mcp":                              "",
		"/mcp/2130706433/mcp":                         "",
		"/mcp/::1/mcp":                                "",
		"/mcp/[::1%25lo]/mcp":                         "",
		"/mcp/" + strings.Repeat("a", 3000) + ".test": "",
	} {
		inet := &record{}
		asked := &tokens{}
		r := newRig(t, Config{Token: asked.token, HTTP: func(_ context.Context, server string) (*http.Client, error) {
			return &http.Client{Transport: inet}, nil
		}})
		resp, body := r.raw("POST "+path+" HTTP/1.1", "Host: localhost", "Content-Length: 0")
		var urls []string
		if want != "" {
			urls = []string{want}
		}
		if !slices.Equal(inet.urls, urls) || (resp.StatusCode == 200) != (want != "") || want == "" && len(asked.requests()) > 0 {
			t.Errorf("%s reached %q and was answered %d %s; want %q", path, inet.urls, resp.StatusCode, body, want)
		}
		if want != "" && asked.requests()[0].Resource != want {
			t.Errorf("%s asked for a token for %s", path, asked.requests()[0].Resource)
		}
		r.stop()
	}
}

// TestMethods: MCP's own pass, each with the token in its header and nowhere else (USE-1 to USE-3); the host's never do.
func TestMethods(t *testing.T) {
	var asked []string
	address := at(server(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method)
		if got := r.Header.Values("Authorization"); len(got) != 1 || got[0] != fmt.Sprintf("Bearer %s-%d", canary, len(asked)) {
			t.Errorf("%s carries %q", r.Method, got)
		}
		if strings.Contains(r.RequestURI, canary) {
			t.Errorf("%s %s", r.Method, r.RequestURI)
		}
	}))
	r := newRig(t, Config{Token: (&tokens{}).token})
	for _, method := range []string{"GET", "POST", "DELETE"} {
		if resp, body := r.do(method, address, "", "Authorization", "Bearer of-the-host", "Last-Event-ID", "7"); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", method, resp.StatusCode, body)
		}
	}
	for _, method := range []string{"OPTIONS", "PUT", "PATCH", "HEAD", "CONNECT", "TRACE", "X"} {
		if resp, _ := r.do(method, address, ""); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, POST, DELETE" {
			t.Errorf("%s: %d %v", method, resp.StatusCode, resp.Header)
		}
	}
	if want := []string{"GET", "POST", "DELETE"}; !slices.Equal(asked, want) {
		t.Errorf("the server was asked %v", asked)
	}
}

// TestGuards: the door's own rules hold for servers as for calls, but for the one header that Node's fetch sends.
func TestGuards(t *testing.T) {
	address := server(t, func(w http.ResponseWriter, r *http.Request) {})
	r := newRig(t, Config{Token: (&tokens{}).token})
	for header, want := range map[string]int{
		"Sec-Fetch-Mode: cors": 200, "X: y": 200,
		"Origin: null": 403, "Referer: http://localhost/": 403, "Sec-Fetch-Site: none": 403, "Sec-Fetch-Dest: empty": 403, "Sec-Fetch-User: ?1": 403,
	} {
		resp, body := r.raw("POST /mcp/"+hostport(address)+"/mcp HTTP/1.1", "Host: localhost", "Content-Length: 0", header)
		if resp.StatusCode != want || (resp.Header.Get(localapi.HeaderError) != "") != (want == 403) {
			t.Errorf("%s: %d %v %s", header, resp.StatusCode, resp.Header, body)
		}
	}
	if resp, _ := r.raw("POST /mcp/"+hostport(address)+"/mcp HTTP/1.1", "Host: evil.example", "Content-Length: 0"); resp.StatusCode != 403 {
		t.Errorf("another host: %d", resp.StatusCode)
	}
}

func TestHeaders(t *testing.T) {
	var seen *http.Request
	address := at(server(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Clone(context.Background())
		for _, line := range []string{
			"Mcp-Session-Id: s-1", "MCP-Protocol-Version: 2025-11-25", "Content-Type: application/json", "Cache-Control: no-cache", "Retry-After: 3", "X-Own: 1", "Content-Encoding: gzip",
			"Set-Cookie: a=b", "WWW-Authenticate: Bearer", "Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: Mcp-Session-Id",
			"Authentication-Info: x", "Proxy-Authenticate: Basic", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Alt-Svc: h3", "Strict-Transport-Security: max-age=1",
			"Location: /x", "Valetkey-Error: internal", "Valetkey-Request-Id: forged", "Trailer: X-T", "Upgrade: h2c",
		} {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	r := newRig(t, Config{Token: (&tokens{}).token})
	resp, body := r.do("POST", address, "{}",
		"Accept", "application/json, text/event-stream", "Content-Type", "application/json", "Mcp-Session-Id", "s-1", "MCP-Protocol-Version", "2026-07-28",
		"Mcp-Method", "tools/call", "Mcp-Name", "x", "Mcp-Param-Region", "eu", "Last-Event-ID", "7", "User-Agent", "host/1", "traceparent", "00-a", "X-MCP-Toolsets", "all", "Accept-Encoding", "br",
		"Authorization", "Bearer of-the-host", "Cookie", "a=b", "Proxy-Authorization", "Basic x", "DPoP", "x", "Sec-Fetch-Mode", "cors", "Sec-Ch-Ua", "x",
		"Connection", "x-named, keep-alive", "X-Named", "1", "Keep-Alive", "1", "TE", "trailers", "Upgrade", "websocket", "Expect", "100-continue", "Forwarded", "for=x", "X-Forwarded-For", "x", "Valetkey-Any", "x")
	if resp.StatusCode != http.StatusAccepted || body != "" {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	want := http.Header{
		"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"}, "Mcp-Session-Id": {"s-1"}, "Mcp-Protocol-Version": {"2026-07-28"},
		"Mcp-Method": {"tools/call"}, "Mcp-Name": {"x"}, "Mcp-Param-Region": {"eu"}, "Last-Event-Id": {"7"}, "User-Agent": {"host/1"}, "Traceparent": {"00-a"}, "X-Mcp-Toolsets": {"all"},
		"Accept-Encoding": {"br"}, "Content-Length": {"2"}, "Authorization": {"Bearer " + canary + "-1"},
	}
	if !reflect.DeepEqual(seen.Header, want) {
		t.Errorf("the server saw\n%v, want\n%v", seen.Header, want)
	}
	if "http://"+seen.Host+"/mcp" != strings.Replace(address, "http://localhost/mcp/", "http://", 1) {
		t.Errorf("the server was called %s", seen.Host)
	}
	for _, name := range []string{"Date", "Content-Length", "Valetkey-Version", "Valetkey-Api-Minor", "Valetkey-Request-Id"} {
		if name == "Valetkey-Request-Id" && resp.Header.Get(name) == "forged" {
			t.Error("the server's word passes for the app's")
		}
		resp.Header.Del(name)
	}
	want = http.Header{
		"Mcp-Session-Id": {"s-1"}, "Mcp-Protocol-Version": {"2025-11-25"}, "Content-Type": {"application/json"}, "Cache-Control": {"no-cache"}, "Retry-After": {"3"}, "X-Own": {"1"}, "Content-Encoding": {"gzip"},
	}
	if !reflect.DeepEqual(resp.Header, want) {
		t.Errorf("the host saw\n%v, want\n%v", resp.Header, want)
	}
	r.do("GET", address, "")
	if got := seen.Header; got.Get("User-Agent") != "Go-http-client/1.1" { // the host's library says so
		t.Errorf("the server saw %v", got)
	}
}

const (
	invalid = `Bearer error="invalid_token"`
	narrow  = `Bearer error="insufficient_scope", scope="b a"`
	points  = `Bearer resource_metadata="https://mcp.example.com/prm"`
	call    = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"add","arguments":{}}}`
)

// TestRefusals is Algorithm 6: which answers of a server lead to another token, how often, and what the host gets.
func TestRefusals(t *testing.T) {
	type reply struct {
		status    int
		challenge string
	}
	unauthorized, tooNarrow, good := reply{401, invalid}, reply{403, narrow}, reply{200, ""}
	denied := localapi.Errorf(localapi.ErrConsentDenied, "the person said no")
	for name, c := range map[string]struct {
		replies []reply
		give    func(n int, req localapi.TokenRequest) (string, error)
		status  int
		code    string // of an error in place of the server's answer
		says    string
		sent    int
	}{
		"good":                           {[]reply{good}, nil, 200, "", "", 1},
		"refused once":                   {[]reply{unauthorized, good}, nil, 200, "", "", 2},
		"refused twice":                  {[]reply{unauthorized, unauthorized, good}, nil, 200, "", "", 3},
		"refused for ever":               {[]reply{unauthorized, unauthorized, unauthorized}, nil, 200, "sign_in_required", "turned down every token", 3},
		"refused without a challenge":    {[]reply{{401, ""}, good}, nil, 200, "", "", 2},
		"no other token":                 {[]reply{unauthorized}, func(int, localapi.TokenRequest) (string, error) { return "same", nil }, 200, "sign_in_required", "turned down every token", 1},
		"too narrow":                     {[]reply{tooNarrow, good}, nil, 200, "", "", 2},
		"too narrow twice":               {[]reply{tooNarrow, tooNarrow, good}, nil, 200, "", "", 3},
		"too narrow for ever":            {[]reply{tooNarrow, tooNarrow, tooNarrow}, nil, 200, "consent_denied", "also after asking: a b", 3},
		"no wider token":                 {[]reply{tooNarrow}, func(int, localapi.TokenRequest) (string, error) { return "same", nil }, 200, "consent_denied", "also after asking: a b", 1},
		"too narrow, it does not say of": {[]reply{{403, `Bearer error="insufficient_scope"`}}, func(int, localapi.TokenRequest) (string, error) { return "same", nil }, 200, "consent_denied", "does not say which", 1},
		"refused, then too narrow":       {[]reply{unauthorized, tooNarrow, unauthorized, tooNarrow, good}, nil, 200, "", "", 5},
		"denied at first":                {nil, func(int, localapi.TokenRequest) (string, error) { return "", denied }, 200, "consent_denied", "the person said no", 0},
		"step-up denied": {[]reply{tooNarrow}, func(n int, _ localapi.TokenRequest) (string, error) {
			if n > 1 {
				return "", denied
			}
			return "t", nil
		}, 200, "consent_denied", "the person said no", 1},
		"forbidden":             {[]reply{{403, ""}}, nil, 403, "", "", 1},
		"forbidden, invalid":    {[]reply{{403, invalid}}, nil, 403, "", "", 1},
		"forbidden, no bearer":  {[]reply{{403, `Basic error="insufficient_scope"`}}, nil, 403, "", "", 1},
		"bad request":           {[]reply{{400, narrow}}, nil, 400, "", "", 1},
		"points, nothing new":   {[]reply{{400, points}}, func(int, localapi.TokenRequest) (string, error) { return "same", nil }, 400, "", "", 1},
		"points, another token": {[]reply{{400, points}, good}, nil, 200, "", "", 2},
		"points for ever":       {[]reply{{403, points}, {403, points}}, nil, 403, "", "", 2},
		"points, then refused":  {[]reply{{400, points}, unauthorized, good}, nil, 200, "", "", 3},
		"points, signed in in vain": {[]reply{{400, points}}, func(n int, _ localapi.TokenRequest) (string, error) {
			if n > 1 {
				return "", denied
			}
			return "t", nil
		}, 200, "consent_denied", "the person said no", 1},
		"not found":    {[]reply{{404, ""}}, nil, 404, "", "", 1},
		"gone":         {[]reply{{410, ""}}, nil, 410, "", "", 1},
		"server error": {[]reply{{500, invalid}}, nil, 500, "", "", 1},
		"unavailable":  {[]reply{{503, ""}}, nil, 503, "", "", 1},
		"accepted":     {[]reply{{202, ""}}, nil, 202, "", "", 1},
		"not modified": {[]reply{{304, ""}}, nil, 304, "", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var bodies, used []string
			address := at(server(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				bodies, used = append(bodies, string(body)), append(used, r.Header.Get("Authorization"))
				if len(bodies) > len(c.replies) {
					t.Fatalf("asked %d times", len(bodies))
				}
				reply := c.replies[len(bodies)-1]
				if reply.challenge != "" {
					w.Header().Set("WWW-Authenticate", reply.challenge)
				}
				w.WriteHeader(reply.status)
			}))
			asked := &tokens{give: c.give}
			r := newRig(t, Config{Token: asked.token})
			resp, body := r.do("POST", address, call, "Content-Type", "application/json")
			if resp.StatusCode != c.status || len(bodies) != c.sent || resp.Header.Get(localapi.HeaderError) != c.code || resp.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("%d after %d requests: %v %s", resp.StatusCode, len(bodies), resp.Header, body)
			}
			if c.code != "" {
				if a := r.read(body); string(a.ID) != "7" || !strings.HasPrefix(a.Error.Message, "Valet Key: ") || !strings.Contains(a.Error.Message, c.says) || a.Error.Code > -31000 || a.Error.Data.Code() != c.code {
					t.Errorf("%s", body)
				}
			}
			for i := range bodies {
				if bodies[i] != call {
					t.Errorf("request %d carried %q", i, bodies[i])
				}
				if i == 0 {
					continue
				}
				// The token that did not do is named to the broker, with the server's own words.
				req, last := asked.requests()[i], strings.TrimPrefix(used[i-1], "Bearer ")
				want := secret.New(last).SHA256()
				if c.replies[i-1].challenge == points {
					want = "" // it did not turn the token down
				}
				if req.Refused != want || len(req.Challenges) > 0 && req.Challenges[0] != c.replies[i-1].challenge {
					t.Errorf("token request %d: %+v", i, req)
				}
				if used[i] == used[i-1] {
					t.Errorf("request %d carried the same token again", i)
				}
				if step := c.replies[i-1].challenge == narrow; (req.Reason == "tools/call add") != step {
					t.Errorf("token request %d: reason %q", i, req.Reason)
				}
			}
		})
	}
}

// TestBudget: after step-ups in vain the same operation asks nobody for a while; others are not held up by it.
func TestBudget(t *testing.T) {
	sent := 0
	address := at(server(t, func(w http.ResponseWriter, r *http.Request) {
		sent++
		w.Header().Set("WWW-Authenticate", narrow)
		w.WriteHeader(403)
	}))
	asked := &tokens{}
	r := newRig(t, Config{Token: asked.token})
	for i, c := range []struct {
		body string
		sent int
	}{{call, 3}, {call, 1}, {strings.Replace(call, "add", "remove", 1), 3}, {call, 1}} {
		sent = 0
		resp, body := r.do("POST", address, c.body)
		if sent != c.sent || resp.Header.Get(localapi.HeaderError) != "consent_denied" {
			t.Errorf("call %d: sent %d times, %s", i, sent, body)
		}
		if wait := r.read(body).Error.Data.RetryAfter; wait > coolDown || wait < coolDown-time.Minute || resp.Header.Get("Retry-After") == "" {
			t.Errorf("call %d: %s", i, body)
		}
	}
}

// TestErrors: what is answered in place of a server, to each kind of message.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		method, body string
		err          error
		status       int
		says         string // %s stands for the error
	}{
		"request":         {"POST", `{"jsonrpc":"2.0","id":1,"method":"initialize"}`, localapi.ErrSignInRequired, 200, `{"jsonrpc":"2.0","id":1,"error":%s}`},
		"string id":       {"POST", ` {"jsonrpc":"2.0","id":"a\"b","method":"x","params":[1]}`, localapi.ErrConsentRequired, 200, `{"jsonrpc":"2.0","id":"a\"b","error":%s}`},
		"large id":        {"POST", `{"id":12345678901234567890,"method":"x"}`, localapi.ErrLocked, 200, `{"jsonrpc":"2.0","id":12345678901234567890,"error":%s}`},
		"batch":           {"POST", "\n[" + `{"id":1,"method":"a"},{"method":"b"},{"id":2,"result":{}},{"id":3,"method":"c"}]`, localapi.ErrUnavailable, 200, `[{"jsonrpc":"2.0","id":1,"error":%s},{"jsonrpc":"2.0","id":3,"error":%[1]s}]`},
		"notification":    {"POST", `{"method":"notifications/initialized"}`, localapi.ErrConsentDenied, 403, `{"jsonrpc":"2.0","error":%s}`},
		"null id":         {"POST", `{"id":null,"method":"x"}`, localapi.ErrConsentDenied, 403, `{"jsonrpc":"2.0","error":%s}`},
		"object id":       {"POST", `{"id":{},"method":"x"}`, localapi.ErrConsentDenied, 403, `{"jsonrpc":"2.0","error":%s}`},
		"answer":          {"POST", `{"id":1,"result":{}}`, localapi.ErrSignInRequired, 403, `{"jsonrpc":"2.0","error":%s}`},
		"no notification": {"POST", `[{"method":"x"}]`, localapi.ErrIssuer, 502, `{"jsonrpc":"2.0","error":%s}`},
		"no JSON":         {"POST", `{"id":1,"method":"x"`, localapi.ErrAudience, 403, `{"jsonrpc":"2.0","error":%s}`},
		"empty":           {"POST", ``, localapi.ErrUnavailable, 503, `{"jsonrpc":"2.0","error":%s}`},
		"stream":          {"GET", ``, localapi.ErrSignInRequired, 403, `{"jsonrpc":"2.0","error":%s}`},
		"end":             {"DELETE", ``, localapi.ErrConsentRequired, 403, `{"jsonrpc":"2.0","error":%s}`},
	} {
		t.Run(name, func(t *testing.T) {
			asked := &tokens{give: func(int, localapi.TokenRequest) (string, error) {
				e := localapi.Errorf(c.err, "it is so").WithHint("do this")
				e.RetryAfter = 1500 * time.Millisecond
				return "", e
			}}
			r := newRig(t, Config{Token: asked.token})
			resp, body := r.do(c.method, at("https://mcp.example.com/mcp"), c.body)
			kind := localapi.Errorf(c.err, "")
			hint := "do this"
			if c.method != "POST" { // nobody is asked for these; the next message does that
				hint = "send a message first (POST): the person is asked about that, and not about a " + c.method
			}
			problem := fmt.Sprintf(`{"code":%d,"message":"Valet Key: it is so; %s","data":{"code":%q,"message":"it is so","hint":%[2]q,"retry_after_s":2,"request_id":%[4]q}}`,
				-31000-kind.HTTPStatus(), hint, kind.Code(), resp.Header.Get("Valetkey-Request-Id"))
			if want := fmt.Sprintf(c.says, problem) + "\n"; body != want || resp.StatusCode != c.status {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, body, c.status, want)
			}
			if h := resp.Header; h.Get("Content-Type") != "application/json" || h.Get(localapi.HeaderError) != kind.Code() || h.Get("Cache-Control") != "no-store" || h.Get("Retry-After") != "2" {
				t.Errorf("%v", h)
			}
			if interaction := asked.requests()[0].Interaction; (interaction == localapi.InteractionNone) != (c.method != "POST") {
				t.Errorf("interaction %q", interaction)
			}
		})
	}
}

// TestOwnMistakes are logged and told without their details.
func TestOwnMistakes(t *testing.T) {
	var log strings.Builder
	r := newRig(t, Config{Log: logTo(&log), Token: (&tokens{give: func(int, localapi.TokenRequest) (string, error) { return "", errors.New("disk on fire") }}).token})
	resp, body := r.do("POST", at("https://mcp.example.com/mcp"), call)
	if resp.StatusCode != 200 || resp.Header.Get(localapi.HeaderError) != "internal" || strings.Contains(body, "fire") || !strings.Contains(log.String(), "disk on fire") {
		t.Errorf("%d %s; logged %s", resp.StatusCode, body, log.String())
	}
}

// TestOnlyBehindTheDoor: without somebody who was named nothing is forwarded.
func TestOnlyBehindTheDoor(t *testing.T) {
	g := New(Config{Token: func(context.Context, *peer.Peer, localapi.TokenRequest, func(error)) (*localapi.Token, error) {
		t.Error("a token was asked for")
		return nil, errUnused
	}})
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest("POST", "/mcp/mcp.example.com/mcp", nil))
	if w.Code != 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestTokenStaysWithItsResource: USE-5.
func TestTokenStaysWithItsResource(t *testing.T) {
	sent := 0
	address := server(t, func(http.ResponseWriter, *http.Request) { sent++ })
	here := "http://" + hostport(address)
	for resource, code := range map[string]string{
		here: "", here + "/": "", address: "", strings.ToUpper(here[:4]) + here[4:]: "",
		"https://" + hostport(address): "audience", "http://localhost:1": "audience", "https://mcp.example.com/mcp": "audience", "": "audience", "%": "audience",
	} {
		sent = 0
		r := newRig(t, Config{Token: func(context.Context, *peer.Peer, localapi.TokenRequest, func(error)) (*localapi.Token, error) {
			return &localapi.Token{AccessToken: secret.New(canary), Resource: resource}, nil
		}})
		resp, body := r.do("POST", at(address), call)
		if resp.Header.Get(localapi.HeaderError) != code || (sent == 1) != (code == "") {
			t.Errorf("%s: %s, sent %d times", resource, body, sent)
		}
	}
}
