package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/outbound"
)

const (
	mcp       = "https://mcp.example.com/mcp"
	mcpPath   = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
	mcpRoot   = "https://mcp.example.com/.well-known/oauth-protected-resource"
	elsewhere = "https://cdn.example.net/custom/prm.json"
)

// prm is a document for id, with more members if wanted.
func prm(id string, more ...string) string {
	return fmt.Sprintf(`{"resource":%q,"authorization_servers":["https://auth.example.com"]%s}`, id, strings.Join(append([]string{""}, more...), ","))
}

func bearer(metadata string) []Challenge {
	return ParseChallenges([]string{`Bearer resource_metadata="` + metadata + `"`})
}

// Algorithm 1: where the metadata is looked for, and in which order.
func TestResourcePlaces(t *testing.T) {
	const wk = "/.well-known/oauth-protected-resource"
	tests := []struct {
		server     string
		challenges []Challenge
		want       []string
	}{
		{"https://example.com/public/mcp", nil, []string{"https://example.com" + wk + "/public/mcp", "https://example.com" + wk}},
		{"https://example.com", nil, []string{"https://example.com" + wk}},
		{"https://example.com/", nil, []string{"https://example.com" + wk}},
		{"https://example.com/mcp/", nil, []string{"https://example.com" + wk + "/mcp/", "https://example.com" + wk}},
		{"https://example.com/mcp?tenant=7", nil, []string{"https://example.com" + wk + "/mcp?tenant=7", "https://example.com" + wk}},
		{"https://example.com?tenant=7", nil, []string{"https://example.com" + wk + "?tenant=7", "https://example.com" + wk}},
		{"https://example.com/?tenant=7", nil, []string{"https://example.com" + wk + "?tenant=7", "https://example.com" + wk}},
		{"https://example.com:8443/a", nil, []string{"https://example.com:8443" + wk + "/a", "https://example.com:8443" + wk}},
		{"https://example.com/a%2Fb#part", nil, []string{"https://example.com" + wk + "/a%2Fb", "https://example.com" + wk}},
		{"http://localhost:3000/mcp", nil, []string{"http://localhost:3000" + wk + "/mcp", "http://localhost:3000" + wk}},
		{mcp, bearer(elsewhere), []string{elsewhere}},
		{mcp, ParseChallenges([]string{`Basic realm="x", DPoP resource_metadata="` + elsewhere + `", Bearer resource_metadata="https://late.example"`}), []string{elsewhere}},
		{mcp, ParseChallenges([]string{`Bearer scope="a"`}), []string{mcpPath, mcpRoot}},
	}
	for _, tt := range tests {
		w, c := newWeb(nil)
		challenges := tt.challenges
		if challenges == nil {
			challenges = []Challenge{{Scheme: "bearer"}}
		}
		_, _, err := c.Resource(background, tt.server, challenges)
		is := ErrUnpublished
		if len(tt.want) == 1 && tt.want[0] == elsewhere {
			is = ErrNotFound // a server that names a place is of no older revision
		}
		check(t, err, is, tt.want...)
		var want []string
		for _, u := range tt.want {
			want = append(want, "GET "+u)
		}
		same(t, tt.server, w.took(), want)
	}
}

// Algorithm 2: is this document mine?
func TestSpeaksFor(t *testing.T) {
	tests := []struct {
		id, server string
		ok, prefix bool
	}{
		{"https://mcp.example.com/mcp", mcp, true, false},
		{"https://mcp.example.com", mcp, true, true},
		{"https://mcp.example.com/", mcp, true, true},
		{"https://mcp.example.com/mcp/", mcp, true, true},
		{"https://mcp.example.com/mcp", mcp + "/", true, true},
		{"https://MCP.Example.com/mcp", mcp, true, false},
		{"HTTPS://mcp.example.com:443/mcp", mcp, true, false},
		{"https://mcp.example.com", "https://mcp.example.com/", true, false},
		{"https://mcp.example.com/", "https://mcp.example.com", true, false},
		{"https://mcp.example.com/a", "https://mcp.example.com/a/b/c", true, true},
		{"https://mcp.example.com:8443/a", "https://mcp.example.com:8443/a", true, false},
		{"https://mcp.example.com/mcp?t=7", mcp + "?t=7", true, false},
		{"https://mcp.example.com/mcp", mcp + "?t=7", true, true},
		{"http://localhost:3000/mcp", "http://localhost:3000/mcp", true, false},

		{"https://mcp.example.com/mc", mcp, false, false},
		{"https://mcp.example.com/mcp2", mcp, false, false},
		{"https://mcp.example.com/mcp/deeper", mcp, false, false},
		{"https://mcp.example.com/MCP", mcp, false, false},
		{"https://mcp.example.com/%6dcp", mcp, false, false},
		{"https://mcp.example.com/mcp?t=8", mcp + "?t=7", false, false},
		{"https://mcp.example.com/mcp?t=8", mcp, false, false},
		{"https://mcp.example.com:8443/mcp", mcp, false, false},
		{"http://mcp.example.com/mcp", mcp, false, false},
		{"https://example.com/mcp", mcp, false, false},
		{"https://a.mcp.example.com/mcp", mcp, false, false},
		{"https://mcp.example.com.evil.example/mcp", mcp, false, false},
		{"https://evil@mcp.example.com/mcp", mcp, false, false},
		{"https://mcp.example.com/mcp#a", mcp, false, false},
		{"https://mcp.example.com/mcp#", mcp, false, false},
		{"https://mcp.example.com/mcp/..", mcp, false, false},
		{"/mcp", mcp, false, false},
		{"mcp.example.com", mcp, false, false},
		{"urn:mcp", mcp, false, false},
		{"", mcp, false, false},
	}
	for _, tt := range tests {
		_, c := newWeb(map[string]answer{"GET " + elsewhere: doc(prm(tt.id))})
		r, _, err := c.Resource(background, tt.server, bearer(elsewhere))
		if !tt.ok {
			is := ErrMismatch
			if tt.id == "" {
				is = ErrInvalid
			}
			check(t, err, is, elsewhere)
			continue
		}
		if err != nil || r.ID != tt.id || r.Prefix != tt.prefix || r.Server != tt.server || r.metadataURL != elsewhere {
			t.Errorf("%q for %q: %+v, %v, want prefix %v", tt.id, tt.server, r, err, tt.prefix)
		}
	}
}

func TestResourceFlow(t *testing.T) {
	const post, path, root = "POST " + mcp, "GET " + mcpPath, "GET " + mcpRoot
	unauthorized := func(challenge ...string) answer {
		a := status(401)
		for _, c := range challenge {
			a.header = append(a.header, "WWW-Authenticate", c)
		}
		return a
	}
	pointing := unauthorized(`Bearer resource_metadata="`+elsewhere+`", scope="a b"`, `Basic realm="x"`)
	tests := []struct {
		name  string
		web   map[string]answer
		asked []string
		where string // MetadataURL; "": error
		is    error
		says  []string
	}{
		{"challenge points", map[string]answer{post: pointing, "GET " + elsewhere: doc(prm(mcp))},
			[]string{post, "GET " + elsewhere}, elsewhere, nil, nil},
		{"path well-known, root untouched", map[string]answer{post: unauthorized("Bearer"), path: doc(prm(mcp)), root: doc(prm(mcp))},
			[]string{post, path}, mcpPath, nil, nil},
		{"root well-known", map[string]answer{post: unauthorized("Bearer"), path: status(410), root: doc(prm("https://mcp.example.com"))},
			[]string{post, path, root}, mcpRoot, nil, nil},
		{"401 without header", map[string]answer{post: unauthorized(), path: doc(prm(mcp))}, []string{post, path}, mcpPath, nil, nil},
		{"400 that points", map[string]answer{post: status(400, "WWW-Authenticate", `DPoP resource_metadata="`+elsewhere+`"`), "GET " + elsewhere: doc(prm(mcp))},
			[]string{post, "GET " + elsewhere}, elsewhere, nil, nil},
		{"403 that points", map[string]answer{post: status(403, "WWW-Authenticate", `Bearer resource_metadata="`+elsewhere+`"`), "GET " + elsewhere: doc(prm(mcp))},
			[]string{post, "GET " + elsewhere}, elsewhere, nil, nil},
		{"open probe, metadata all the same", map[string]answer{post: doc(`{}`), path: doc(prm(mcp))}, []string{post, path}, mcpPath, nil, nil},
		{"probe redirected, not followed", map[string]answer{post: status(307, "Location", mcp+"/"), path: doc(prm(mcp))}, []string{post, path}, mcpPath, nil, nil},
		{"metadata redirected within the origin", map[string]answer{post: unauthorized(), path: status(302, "Location", "/prm"), "GET https://mcp.example.com/prm": doc(prm(mcp))},
			[]string{post, path, "GET https://mcp.example.com/prm"}, mcpPath, nil, nil},
		{"JSON under another name", map[string]answer{post: unauthorized(), path: {200, prm(mcp), []string{"Content-Type", "text/plain"}, nil}},
			[]string{post, path}, mcpPath, nil, nil},
		{"page first, metadata at the root", map[string]answer{post: unauthorized(), path: page, root: doc(prm(mcp))},
			[]string{post, path, root}, mcpRoot, nil, nil},

		{"nothing found", map[string]answer{post: unauthorized("Bearer"), root: status(403)}, []string{post, path, root}, "", ErrUnpublished,
			[]string{"resource metadata of " + mcp + ": server publishes no metadata", mcp + ": answered HTTP 401", mcpPath + ": answered HTTP 404", mcpRoot + ": answered HTTP 403"}},
		{"does not ask", map[string]answer{post: doc(`{}`)}, []string{post, path, root}, "", ErrNoSignIn, []string{"HTTP 200, not asking for a sign-in"}},
		{"no server at all", nil, []string{post, path, root}, "", ErrNoSignIn, []string{mcp + ": answered HTTP 404"}},
		{"does not ask, pages everywhere", map[string]answer{post: page, path: page, root: page}, []string{post, path, root}, "", ErrNoSignIn, []string{"answered with text/html"}},
		{"other schemes only", map[string]answer{post: unauthorized(`Basic realm="x", Negotiate`)}, []string{post, path, root}, "", ErrOtherScheme, nil},
		{"other schemes, but metadata", map[string]answer{post: unauthorized(`Basic realm="x"`), path: doc(prm(mcp))}, []string{post, path}, mcpPath, nil, nil},
		{"event streams everywhere, unread", map[string]answer{post: doc(`{}`), path: stream, root: stream}, []string{post, path, root}, "", ErrNoSignIn, []string{"text/event-stream, not with metadata"}},
		{"asks, event streams everywhere", map[string]answer{post: unauthorized(), path: stream, root: stream}, []string{post, path, root}, "", ErrInvalid, nil},
		{"asks, pages everywhere", map[string]answer{post: unauthorized(), path: page, root: page}, []string{post, path, root}, "", ErrInvalid, []string{"text/html, not with metadata"}},
		{"asks, redirects to another origin", map[string]answer{post: unauthorized(), path: status(302, "Location", "https://www.example.com/"), root: status(404)},
			[]string{post, path, root}, "", ErrInvalid, []string{"redirects to another origin, https://www.example.com"}},
		{"pointed-at place is empty: no other is asked", map[string]answer{post: pointing, path: doc(prm(mcp))}, []string{post, "GET " + elsewhere}, "", ErrNotFound, nil},
		{"pointed-at place is a page", map[string]answer{post: pointing, "GET " + elsewhere: page, path: doc(prm(mcp))}, []string{post, "GET " + elsewhere}, "", ErrInvalid, nil},

		{"found but for another: stop", map[string]answer{post: unauthorized(), path: doc(prm("https://evil.example")), root: doc(prm(mcp))},
			[]string{post, path}, "", ErrMismatch, []string{"the document speaks for https://evil.example, not for " + mcp}},
		{"found but no JSON: stop", map[string]answer{post: unauthorized(), path: doc(`{"resource":`), root: doc(prm(mcp))},
			[]string{post, path}, "", ErrInvalid, []string{"not a JSON object"}},
		{"found but no object: stop", map[string]answer{post: unauthorized(), path: doc(`null`), root: doc(prm(mcp))}, []string{post, path}, "", ErrInvalid, nil},
		{"found but empty: stop", map[string]answer{post: unauthorized(), path: doc(`{}`), root: doc(prm(mcp))}, []string{post, path}, "", ErrInvalid, []string{"resource is missing"}},
		{"found but too large: stop", map[string]answer{post: unauthorized(), path: doc(strings.Repeat(" ", outbound.MaxBody) + prm(mcp)), root: doc(prm(mcp))},
			[]string{post, path}, "", ErrInvalid, []string{"mcp.example.com answered with more than"}},
		{"5xx: stop", map[string]answer{post: unauthorized(), path: status(503), root: doc(prm(mcp))}, []string{post, path}, "", ErrUnreachable, []string{"answered HTTP 503"}},
		{"429: stop", map[string]answer{post: unauthorized(), path: status(429), root: doc(prm(mcp))}, []string{post, path}, "", ErrUnreachable, nil},
		{"network error: stop", map[string]answer{post: unauthorized(), path: down, root: doc(prm(mcp))}, []string{post, path}, "", ErrUnreachable, []string{"connection refused"}},
		{"server down", map[string]answer{post: down}, []string{post}, "", ErrUnreachable, []string{"server of " + mcp + ": unreachable"}},
		{"server broken", map[string]answer{post: status(500), path: doc(prm(mcp))}, []string{post}, "", ErrUnreachable, nil},
		{"points inwards", map[string]answer{post: unauthorized(`Bearer resource_metadata="https://10.0.0.8/prm"`)}, []string{post}, "", ErrInvalid,
			[]string{"mcp.example.com is on the Internet but its metadata leads to a private address 10.0.0.8"}},
		{"points to plain http", map[string]answer{post: unauthorized(`Bearer resource_metadata="http://mcp.example.com/prm"`)}, []string{post}, "", ErrInvalid, []string{"plain http"}},
		{"points nowhere", map[string]answer{post: unauthorized(`Bearer resource_metadata="/prm"`)}, []string{post}, "", ErrInvalid, nil},
		{"points with a password", map[string]answer{post: unauthorized(`Bearer resource_metadata="https://a:b@mcp.example.com/prm"`)}, []string{post}, "", ErrInvalid, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, c := newWeb(tt.web)
			r, challenges, err := c.Resource(background, mcp, nil)
			check(t, err, tt.is, tt.says...)
			if err == nil && (r.metadataURL != tt.where || r.Server != mcp) || (err == nil) == (r == nil) {
				t.Errorf("resource %+v, want it from %s", r, tt.where)
			}
			same(t, "asked", w.took(), tt.asked)
			if want := ParseChallenges(http.Header(map[string][]string{"W": headerOf(tt.web[post])}).Values("W")); !reflect.DeepEqual(challenges, want) && !errors.Is(err, ErrUnreachable) {
				t.Errorf("challenges %#v, want %#v", challenges, want)
			}
		})
	}
}

func headerOf(a answer) (values []string) {
	for i := 0; i < len(a.header); i += 2 {
		if a.header[i] == "WWW-Authenticate" {
			values = append(values, a.header[i+1])
		}
	}
	return values
}

func TestProbe(t *testing.T) {
	w, c := newWeb(map[string]answer{"POST " + mcp: status(503)})
	_, _, err := c.Resource(background, mcp, nil)
	check(t, err, ErrUnreachable)
	var m struct {
		JSONRPC string `json:"jsonrpc"`
		ID      int    `json:"id"`
		Method  string `json:"method"`
		Params  struct {
			Meta map[string]any `json:"_meta"`
		} `json:"params"`
	}
	if err := json.Unmarshal([]byte(w.body), &m); err != nil {
		t.Fatal(err)
	}
	if m.JSONRPC != "2.0" || m.ID == 0 || m.Method != w.header.Get("Mcp-Method") || m.Params.Meta["io.modelcontextprotocol/clientCapabilities"] == nil ||
		m.Params.Meta["io.modelcontextprotocol/protocolVersion"] != w.header.Get("MCP-Protocol-Version") {
		t.Errorf("the headers do not fit the body: %v, %s", w.header, w.body)
	}
	info, _ := m.Params.Meta["io.modelcontextprotocol/clientInfo"].(map[string]any)
	if info["name"] != "valetkey" || info["version"] != "test" {
		t.Errorf("it names itself %v", info)
	}
	if w.header.Get("Authorization") != "" || w.header.Get("Accept") != "application/json, text/event-stream" || w.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", w.header)
	}
}

func TestServerAddress(t *testing.T) {
	w, c := newWeb(nil)
	for _, server := range []string{"", "mcp.example.com", "https://ann:hunter2@mcp.example.com", "https://127.1/", "http://mcp.example.com", "https://169.254.169.254"} {
		_, _, err := c.Resource(background, server, nil)
		check(t, err, ErrInvalid, "server of ")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the password: %v", err)
		}
		_, err = c.Issuer(background, server, "https://auth.example.com")
		check(t, err, ErrInvalid, "server of ")
	}
	if asked := w.took(); asked != nil {
		t.Errorf("asked %q", asked)
	}
}

func TestResourceDocument(t *testing.T) {
	long := strings.Repeat("a", maxText+1)
	many := `["https://i/0"`
	for i := range maxAsked {
		many += fmt.Sprintf(`,"https://i/%d"`, i+1)
	}
	tests := []struct {
		name, body string
		is         error
		says       string
		want       Resource // without Server, ID and MetadataURL
	}{
		{"all we read", prm(mcp, `"resource_name":"Example\nFiles\u202e"`, `"scopes_supported":["b","a","b","not one",""]`, `"bearer_methods_supported":["body","header"]`, `"other":{"x":[1]}`),
			nil, "", Resource{Name: "Example Files", Issuers: []string{"https://auth.example.com"}, Scopes: []string{"b", "a"}}},
		{"several issuers, byte for byte, each once", `{"resource":"` + mcp + `","authorization_servers":["https://A.example/","https://a.example","https://A.example/",""]}`,
			nil, "", Resource{Issuers: []string{"https://A.example/", "https://a.example"}}},
		{"escaped", strings.Replace(prm(mcp), "mcp.", `\u006dcp.`, 1), nil, "", Resource{Issuers: []string{"https://auth.example.com"}}},
		{"null is absent", prm(mcp, `"scopes_supported":null`, `"resource_name":null`, `"bearer_methods_supported":null`, `"dpop_bound_access_tokens_required":null`),
			nil, "", Resource{Issuers: []string{"https://auth.example.com"}}},
		{"long name", prm(mcp, `"resource_name":"`+strings.Repeat("n", 300)+`"`), nil, "", Resource{Name: strings.Repeat("n", 99) + "…", Issuers: []string{"https://auth.example.com"}}},
		{"binding not required", prm(mcp, `"dpop_bound_access_tokens_required":false`), nil, "", Resource{Issuers: []string{"https://auth.example.com"}}},

		{"names are exact", `{"RESOURCE":"` + mcp + `","authorization_servers":["https://a.example"]}`, ErrInvalid, "resource is missing", Resource{}},
		{"issuer names are exact", `{"resource":"` + mcp + `","Authorization_Servers":["https://a.example"]}`, ErrInvalid, "names no issuer", Resource{}},
		{"no issuers", `{"resource":"` + mcp + `"}`, ErrInvalid, "authorization_servers names no issuer", Resource{}},
		{"empty issuers", `{"resource":"` + mcp + `","authorization_servers":[]}`, ErrInvalid, "names no issuer", Resource{}},
		{"blank issuers", `{"resource":"` + mcp + `","authorization_servers":[""]}`, ErrInvalid, "names no issuer", Resource{}},
		{"too many issuers", `{"resource":"` + mcp + `","authorization_servers":` + many + `]}`, ErrInvalid, "more than 32 issuers", Resource{}},
		{"issuers no list", `{"resource":"` + mcp + `","authorization_servers":"https://a.example"}`, ErrInvalid, "authorization_servers is not a list of strings", Resource{}},
		{"resource no string", `{"resource":["` + mcp + `"],"authorization_servers":["https://a.example"]}`, ErrInvalid, "resource is not a string", Resource{}},
		{"no header method", prm(mcp, `"bearer_methods_supported":["body"]`), ErrInvalid, "bearer_methods_supported leaves out", Resource{}},
		{"no method", prm(mcp, `"bearer_methods_supported":[]`), ErrInvalid, "bearer_methods_supported leaves out", Resource{}},
		{"DPoP required", prm(mcp, `"dpop_bound_access_tokens_required":true`), nil, "", Resource{Issuers: []string{"https://auth.example.com"}, Bound: true, Bindable: true}},
		{"DPoP as well", prm(mcp, `"dpop_signing_alg_values_supported":["ES256"]`), nil, "", Resource{Issuers: []string{"https://auth.example.com"}, Bindable: true}},
		{"DPoP and no bearer method", prm(mcp, `"dpop_bound_access_tokens_required":true`, `"bearer_methods_supported":[]`), nil, "", Resource{Issuers: []string{"https://auth.example.com"}, Bound: true, Bindable: true}},
		{"client certificate required", prm(mcp, `"tls_client_certificate_bound_access_tokens":true`), ErrInvalid, "client certificate", Resource{}},
		{"flag no flag", prm(mcp, `"dpop_bound_access_tokens_required":"true"`), ErrInvalid, "is not true or false", Resource{}},
		{"too many scopes", prm(mcp, `"scopes_supported":[`+strings.Repeat(`"a",`, maxList)+`"a"]`), ErrInvalid, "more than 1000 entries", Resource{}},
		{"too long a name", prm(mcp, `"resource_name":"`+long+`"`), ErrInvalid, "longer than", Resource{}},
		{"too long a scope", prm(mcp, `"scopes_supported":["`+long+`"]`), ErrInvalid, "an entry of more than", Resource{}},
		{"text after the object", prm(mcp) + "x", ErrInvalid, "not a JSON object", Resource{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, c := newWeb(map[string]answer{"GET " + elsewhere: doc(tt.body)})
			r, _, err := c.Resource(background, mcp, bearer(elsewhere))
			check(t, err, tt.is, tt.says)
			if tt.is == nil && err == nil {
				tt.want.Server, tt.want.ID, tt.want.metadataURL = mcp, mcp, elsewhere
				if !reflect.DeepEqual(*r, tt.want) {
					t.Errorf("got %+v\nwant %+v", *r, tt.want)
				}
			}
		})
	}
}

// The whole way over real connections, on this computer.
func TestRealServer(t *testing.T) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	serve := func(at, body string) {
		mux.HandleFunc("GET "+at, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, body)
		})
	}
	mux.HandleFunc("POST /mcp", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("WWW-Authenticate", `Basic realm="x"`)
		w.Header().Add("WWW-Authenticate", `Bearer scope="files:read", resource_metadata="`+srv.URL+`/prm"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	serve("/prm", `{"resource":"`+srv.URL+`/mcp","authorization_servers":["`+srv.URL+`/as"]}`)
	serve("/.well-known/openid-configuration/as", asm(srv.URL+"/as"))
	out := outbound.New(outbound.Config{})
	defer out.Close()
	c := New(Config{HTTP: out.For})
	r, challenges, err := c.Resource(t.Context(), srv.URL+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(challenges) != 2 || !slices.Equal(challenges[1].Scopes(), []string{"files:read"}) || r.ID != srv.URL+"/mcp" {
		t.Errorf("%+v, %#v", r, challenges)
	}
	i, err := c.Issuer(t.Context(), srv.URL+"/mcp", r.Issuers[0])
	if err != nil || i.TokenEndpoint != srv.URL+"/as/token" {
		t.Errorf("%+v, %v", i, err)
	}
}

// The server's words reach the person only in a form that cannot mislead.
func TestErrorsShowNoTricks(t *testing.T) {
	_, c := newWeb(map[string]answer{"GET " + elsewhere: doc(prm("https://evil.example/\u202e" + strings.Repeat("x", 1000)))})
	_, _, err := c.Resource(background, mcp, bearer(elsewhere))
	check(t, err, ErrMismatch)
	if strings.ContainsRune(err.Error(), '\u202e') || len(err.Error()) > 900 {
		t.Errorf("%q", err)
	}
	_, _, err = c.Resource(background, mcp, []Challenge{{Scheme: "bearer", params: map[string]string{"resource_metadata": "https://a\u202e.example/" + strings.Repeat("x", 5000)}}})
	check(t, err, ErrInvalid, "longer than")
	if strings.ContainsRune(err.Error(), '\u202e') || len(err.Error()) > 900 {
		t.Errorf("%q", err)
	}
}

func TestResourceCache(t *testing.T) {
	tests := []struct {
		name   string
		header []string
		after  time.Duration
		again  bool // the document is fetched again after that time
	}{
		{"nothing said, soon", nil, defaultFreshness - 1, false},
		{"nothing said, later", nil, defaultFreshness, true},
		{"max-age, soon", []string{"Cache-Control", "max-age=3600"}, time.Hour - 1, false},
		{"max-age, later", []string{"Cache-Control", "max-age=3600"}, time.Hour, true},
		{"max-age less than the default", []string{"Cache-Control", "private, max-age=10"}, 10 * time.Second, true},
		{"the private cache's age counts", []string{"Cache-Control", "s-maxage=3600, max-age=10"}, 10 * time.Second, true},
		{"max-age without bound", []string{"Cache-Control", "max-age=2147483647"}, maxFreshness, true},
		{"aged on the way", []string{"Cache-Control", "max-age=3600", "Age", "3590"}, 10 * time.Second, true},
		{"max-age=0", []string{"Cache-Control", "max-age=0"}, 0, true},
		{"no-store", []string{"Cache-Control", "no-store"}, 0, true},
		{"no-store in a second field", []string{"Cache-Control", "max-age=3600", "Cache-Control", "no-store"}, 0, true},
		{"no-cache", []string{"Cache-Control", "no-cache, max-age=3600"}, 0, true},
		{"Vary: *", []string{"Vary", "*"}, 0, true},
		{"Expires: 0", []string{"Expires", "0"}, 0, true},
		{"Pragma: no-cache", []string{"Pragma", "no-cache"}, 0, true},
		{"unreadable", []string{"Cache-Control", `max-age="`}, 0, true},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			w, c := newWeb(map[string]answer{"POST " + mcp: status(401), "GET " + mcpPath: doc(prm(mcp), tt.header...)})
			get := func(challenges []Challenge) *Resource {
				r, _, err := c.Resource(background, mcp, challenges)
				if err != nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				return r
			}
			first := get(nil)
			first.Issuers[0] = "spoiled by the caller"
			w.took()
			time.Sleep(tt.after)
			if r := get(nil); r.Issuers[0] != "https://auth.example.com" {
				t.Errorf("%s: %+v", tt.name, r)
			}
			want := []string{"POST " + mcp}
			if tt.again {
				want = append(want, "GET "+mcpPath)
			}
			same(t, tt.name, w.took(), want)
			get([]Challenge{{Scheme: "bearer"}}) // PRM-20: a new challenge goes past the cache
			same(t, tt.name+", challenged", w.took(), []string{"GET " + mcpPath})
		})
	}
}

func TestNewChallengeReplacesTheCached(t *testing.T) {
	w, c := newWeb(map[string]answer{"GET " + mcpPath: doc(prm(mcp), "Cache-Control", "max-age=3600"), "POST " + mcp: status(401),
		"GET https://auth.example.com/.well-known/oauth-authorization-server": doc(asm("https://auth.example.com"))})
	challenged := []Challenge{{Scheme: "bearer"}}
	issuer := func() *Issuer {
		i, err := c.Issuer(background, mcp, "https://auth.example.com")
		check(t, err, nil)
		return i
	}
	_, _, err := c.Resource(background, mcp, challenged)
	check(t, err, nil)
	issuer()
	w.took()
	issuer()
	same(t, "issuer, cached", w.took(), nil)

	w.set("GET "+mcpPath, doc(strings.Replace(prm(mcp), "auth.example", "new.example", 1)))
	_, _, err = c.Resource(background, mcp, challenged)
	check(t, err, nil)
	r, _, err := c.Resource(background, mcp, nil)
	if err != nil || r.Issuers[0] != "https://new.example.com" {
		t.Errorf("after a migration: %+v, %v", r, err)
	}
	w.set("GET "+mcpPath, doc(prm(mcp)))
	_, _, err = c.Resource(background, mcp, challenged)
	check(t, err, nil)
	w.took()
	issuer()
	same(t, "issuer, after a challenge", w.took(), []string{"GET https://auth.example.com/.well-known/oauth-authorization-server"})

	w.set("GET "+mcpPath, doc(prm("https://evil.example")))
	_, _, err = c.Resource(background, mcp, challenged)
	check(t, err, ErrMismatch)
	_, _, err = c.Resource(background, mcp, nil)
	check(t, err, ErrMismatch) // and does not live on in the cache

	// What was fetched for one server is not shown to another, which might not reach it.
	w.took()
	_, _, err = c.Resource(background, "https://other.example/mcp", bearer(mcpPath))
	check(t, err, ErrMismatch)
	same(t, "other server", w.took(), []string{"GET " + mcpPath})
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cache[int]
		for i := range 3 * maxCached {
			c.put(fmt.Sprint(i), i, time.Now().Add(time.Hour))
			if v, ok := c.get(fmt.Sprint(i)); !ok || v != i || len(c.entries) > maxCached {
				t.Fatalf("entry %d: %d, %v, of %d", i, v, ok, len(c.entries))
			}
		}
		time.Sleep(time.Hour)
		c.put("last", 1, time.Now().Add(time.Hour))
		if len(c.entries) != 1 {
			t.Errorf("%d entries, want the fresh one", len(c.entries))
		}
		c.put("last", 2, time.Time{})
		if _, ok := c.get("last"); ok {
			t.Error("a stale value was kept")
		}
	})
}
