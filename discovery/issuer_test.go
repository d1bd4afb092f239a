package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/outbound"
)

// asm is a document of the issuer id, with more members if wanted.
func asm(id string, more ...string) string {
	at := strings.TrimSuffix(id, "/")
	return fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"code_challenge_methods_supported":["plain","S256"]%s}`,
		id, at+"/authorize", at+"/token", strings.Join(append([]string{""}, more...), ","))
}

// Algorithm 1: where an issuer's metadata is looked for, and in which order.
func TestIssuerPlaces(t *testing.T) {
	const oauth, openID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	const a = "https://auth.example.com"
	tests := []struct {
		id   string
		want []string
	}{
		{a, []string{a + oauth, a + openID}},
		{a + "/", []string{a + oauth, a + openID}},
		{a + ":8443", []string{a + ":8443" + oauth, a + ":8443" + openID}},
		{a + "/tenant1", []string{a + oauth + "/tenant1", a + openID + "/tenant1", a + "/tenant1" + openID, a + "/tenant1" + oauth}},
		{a + "/t1/", []string{a + oauth + "/t1", a + openID + "/t1", a + "/t1" + openID, a + "/t1" + oauth}},
		{a + "/t1//", []string{a + oauth + "/t1/", a + openID + "/t1/", a + "/t1/" + openID, a + "/t1/" + oauth}},
		{a + "/a%2Fb/c", []string{a + oauth + "/a%2Fb/c", a + openID + "/a%2Fb/c", a + "/a%2Fb/c" + openID, a + "/a%2Fb/c" + oauth}},
	}
	for _, tt := range tests {
		var all []string
		for _, u := range tt.want {
			all = append(all, "GET "+u)
		}
		w, c := newWeb(nil)
		_, err := c.Issuer(background, mcp, tt.id)
		check(t, err, ErrNotFound, tt.want...)
		same(t, tt.id, w.took(), all)
		for i, u := range all { // found at each of the places, with the identifier as it was given
			w, c := newWeb(map[string]answer{u: doc(asm(tt.id))})
			got, err := c.Issuer(background, mcp, tt.id)
			if err != nil || got.ID != tt.id || got.metadataURL != tt.want[i] {
				t.Errorf("%s at %s: %+v, %v", tt.id, u, got, err)
			}
			same(t, tt.id, w.took(), all[:i+1])
		}
	}
}

func TestIssuerFlow(t *testing.T) {
	const id = "https://auth.example.com"
	const oauth, openID = "GET " + id + "/.well-known/oauth-authorization-server", "GET " + id + "/.well-known/openid-configuration"
	tests := []struct {
		name  string
		web   map[string]answer
		asked []string
		is    error
		says  []string
	}{
		{"first", map[string]answer{oauth: doc(asm(id)), openID: doc(asm(id))}, []string{oauth}, nil, nil},
		{"page, then found", map[string]answer{oauth: page, openID: doc(asm(id))}, []string{oauth, openID}, nil, nil},
		{"broken JSON, then found", map[string]answer{oauth: doc("{"), openID: doc(asm(id))}, []string{oauth, openID}, nil, nil},
		{"403, then found", map[string]answer{oauth: status(403), openID: doc(asm(id))}, []string{oauth, openID}, nil, nil},
		{"redirect elsewhere, then found", map[string]answer{oauth: status(301, "Location", "https://www.example.com"), openID: doc(asm(id))}, []string{oauth, openID}, nil, nil},
		{"another's, then found", map[string]answer{oauth: doc(asm("https://evil.example")), openID: doc(asm(id))}, []string{oauth, openID}, nil, nil},
		{"another's, then nothing", map[string]answer{oauth: doc(asm("https://evil.example"))}, []string{oauth, openID}, ErrMismatch,
			[]string{"issuer metadata of " + id + ": metadata speaks of something else", "the document speaks for https://evil.example, not for " + id, "HTTP 404"}},
		{"another's, then a page", map[string]answer{oauth: doc(asm(id + "/")), openID: page}, []string{oauth, openID}, ErrMismatch, nil},
		{"no issuer", map[string]answer{oauth: doc(`{}`)}, []string{oauth, openID}, ErrMismatch, []string{"speaks for no issuer"}},
		{"pages", map[string]answer{oauth: page, openID: page}, []string{oauth, openID}, ErrInvalid, []string{"text/html"}},
		{"5xx: stop", map[string]answer{oauth: status(502), openID: doc(asm(id))}, []string{oauth}, ErrUnreachable, []string{"HTTP 502"}},
		{"429: stop", map[string]answer{oauth: status(429), openID: doc(asm(id))}, []string{oauth}, ErrUnreachable, nil},
		{"network error: stop", map[string]answer{oauth: down, openID: doc(asm(id))}, []string{oauth}, ErrUnreachable, []string{"connection refused"}},
		{"ours without PKCE: stop", map[string]answer{oauth: doc(strings.Replace(asm(id), `"S256"`, `"s256"`, 1)), openID: doc(asm(id))}, []string{oauth}, ErrNoPKCE,
			[]string{"issuer does not support PKCE S256"}},
		{"ours but not usable: stop", map[string]answer{oauth: doc(strings.Replace(asm(id), "token_endpoint", "x", 1)), openID: doc(asm(id))}, []string{oauth}, ErrInvalid,
			[]string{"token_endpoint is missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, c := newWeb(tt.web)
			i, err := c.Issuer(background, mcp, id)
			check(t, err, tt.is, tt.says...)
			if (err == nil) == (i == nil) || err == nil && i.ID != id {
				t.Errorf("issuer %+v", i)
			}
			same(t, "asked", w.took(), tt.asked)
		})
	}
}

// ASM-5: the identifier is compared byte for byte.
func TestIssuerIdentity(t *testing.T) {
	const id = "https://auth.example.com/t1"
	for _, said := range []string{id + "/", "https://AUTH.example.com/t1", "https://auth.example.com:443/t1", "https://auth.example.com/T1", "https://auth.example.com/%741",
		"https://auth.example.com", "http://auth.example.com/t1", id + "#", id + " ", ""} {
		_, c := newWeb(map[string]answer{"GET https://auth.example.com/.well-known/oauth-authorization-server/t1": doc(asm(said))})
		_, err := c.Issuer(background, mcp, id)
		check(t, err, ErrMismatch, "not for "+id)
	}
}

func TestIssuerIdentifier(t *testing.T) {
	w, c := newWeb(nil)
	for _, id := range []string{"", "auth.example.com", "http://auth.example.com", "http://10.0.0.1", "ftp://auth.example.com", "https://", "https://auth.example.com?x", "https://auth.example.com?",
		"https://auth.example.com/#", "https://a:b@auth.example.com", "https://auth.example.com/../x", "https://auth.example.com/%2e%2e/x", "https://a b", "https://a/" + strings.Repeat("a", maxURL)} {
		_, err := c.Issuer(background, mcp, id)
		check(t, err, ErrInvalid, "issuer")
	}
	for _, id := range []string{"https://10.0.0.8", "https://127.0.0.1:8080", "http://localhost:8080"} { // well formed, but out of reach
		_, err := c.Issuer(background, mcp, id)
		check(t, err, ErrInvalid, "mcp.example.com is on the Internet but")
	}
	if asked := w.took(); asked != nil {
		t.Errorf("asked %q", asked)
	}
}

func TestIssuerDocument(t *testing.T) {
	const id, here = "https://auth.example.com", "http://localhost:9000"
	with := func(id, name, value string) string { return asm(id, fmt.Sprintf("%q:%s", name, value)) }
	tests := []struct {
		name, server, id, body string
		is                     error
		says                   string
		want                   Issuer // besides ID, endpoints to sign in, and MetadataURL
	}{
		{"the least", mcp, id, asm(id), nil, "", Issuer{}},
		{"all we read", mcp, id, asm(id, `"registration_endpoint":"https://r.example/r"`, `"revocation_endpoint":"https://auth.example.com/rev?x=1"`, `"jwks_uri":"https://k.example/k"`,
			`"scopes_supported":["openid","offline_access"]`, `"token_endpoint_auth_methods_supported":["none"]`, `"grant_types_supported":["authorization_code","refresh_token"]`,
			`"client_id_metadata_document_supported":true`, `"authorization_response_iss_parameter_supported":true`, `"response_types_supported":["token","code"]`,
			`"protected_resources":["https://else.example","`+mcp+`"]`, `"other":1`),
			nil, "", Issuer{RegistrationEndpoint: "https://r.example/r", RevocationEndpoint: "https://auth.example.com/rev?x=1", keysEndpoint: "https://k.example/k",
				Scopes: []string{"openid", "offline_access"}, AuthMethods: []string{"none"}, grantTypes: []string{"authorization_code", "refresh_token"},
				ClientMetadataDocuments: true, IssParameter: true}},
		{"null is absent", mcp, id, asm(id, `"registration_endpoint":null`, `"grant_types_supported":null`, `"client_id_metadata_document_supported":null`), nil, "", Issuer{}},
		{"serves the server's origin", mcp, id, with(id, "protected_resources", `["https://mcp.example.com"]`), nil, "", Issuer{}},
		{"does not list the server", mcp, id, with(id, "protected_resources", `["https://else.example/mcp"]`), nil, "", Issuer{Unlisted: true}},
		{"lists nothing", mcp, id, with(id, "protected_resources", `[]`), nil, "", Issuer{}},
		{"pushing is optional", mcp, id, with(id, "require_pushed_authorization_requests", "false"), nil, "", Issuer{}},
		{"pushing is offered", mcp, id, with(id, "pushed_authorization_request_endpoint", `"https://auth.example.com/par"`), nil, "", Issuer{PushEndpoint: "https://auth.example.com/par"}},
		{"devices", mcp, id, with(id, "device_authorization_endpoint", `"https://auth.example.com/device"`), nil, "", Issuer{DeviceEndpoint: "https://auth.example.com/device"}},
		{"pushing is required", mcp, id, asm(id, `"pushed_authorization_request_endpoint":"https://auth.example.com/par"`, `"require_pushed_authorization_requests":true`), nil, "",
			Issuer{PushEndpoint: "https://auth.example.com/par", PushRequired: true}},
		{"empty response types", mcp, id, with(id, "response_types_supported", "[]"), nil, "", Issuer{}},
		{"all on this computer", "http://localhost:3000", here, with(here, "registration_endpoint", `"http://127.0.0.1:9000/r"`), nil, "", Issuer{RegistrationEndpoint: "http://127.0.0.1:9000/r"}},

		{"no PKCE list", mcp, id, strings.Replace(asm(id), "code_challenge_methods_supported", "x", 1), nil, "", Issuer{PKCEUnlisted: true}},
		{"no PKCE S256", mcp, id, strings.Replace(asm(id), `,"S256"`, ``, 1), ErrNoPKCE, "without S256", Issuer{}},
		{"empty PKCE list", mcp, id, strings.Replace(asm(id), `"plain","S256"`, ``, 1), ErrNoPKCE, "without S256", Issuer{}},
		{"no authorization endpoint", mcp, id, strings.Replace(asm(id), "authorization_endpoint", "x", 1), ErrInvalid, "authorization_endpoint is missing", Issuer{}},
		{"names are exact", mcp, id, strings.Replace(asm(id), "authorization_endpoint", "Authorization_endpoint", 1), ErrInvalid, "authorization_endpoint is missing", Issuer{}},
		{"plain http", mcp, id, strings.Replace(asm(id), id+"/token", "http://auth.example.com/token", 1), ErrInvalid, "token_endpoint is not an https address", Issuer{}},
		{"plain http here for an issuer there", mcp, id, strings.Replace(asm(id), id+"/authorize", "http://127.0.0.1/authorize", 1), ErrInvalid, "authorization_endpoint is not an https", Issuer{}},
		{"plain http there for an issuer here", "http://localhost:3000", here, strings.Replace(asm(here), here+"/token", "http://auth.example.com/token", 1), ErrInvalid, "token_endpoint is not", Issuer{}},
		{"script", mcp, id, strings.Replace(asm(id), id+"/authorize", "javascript:alert(1)", 1), ErrInvalid, "authorization_endpoint is not an https", Issuer{}},
		{"no host", mcp, id, strings.Replace(asm(id), id+"/authorize", "https:///authorize", 1), ErrInvalid, "authorization_endpoint names no host", Issuer{}},
		{"no URL", mcp, id, strings.Replace(asm(id), id+"/authorize", "https://%zz", 1), ErrInvalid, "authorization_endpoint is not a URL", Issuer{}},
		{"relative", mcp, id, strings.Replace(asm(id), id+"/authorize", "/authorize", 1), ErrInvalid, "authorization_endpoint is not an https", Issuer{}},
		{"fragment", mcp, id, strings.Replace(asm(id), id+"/authorize", id+"/authorize#x", 1), ErrInvalid, "authorization_endpoint has a fragment", Issuer{}},
		{"user name", mcp, id, strings.Replace(asm(id), id+"/authorize", "https://a@auth.example.com/", 1), ErrInvalid, "authorization_endpoint holds a user name", Issuer{}},
		{"bad registration endpoint", mcp, id, with(id, "registration_endpoint", `"http://auth.example.com/r"`), ErrInvalid, "registration_endpoint is not", Issuer{}},
		{"bad revocation endpoint", mcp, id, with(id, "revocation_endpoint", `7`), ErrInvalid, "revocation_endpoint is not a string", Issuer{}},
		{"no code flow", mcp, id, with(id, "response_types_supported", `["token"]`), ErrInvalid, "response_types_supported leaves out", Issuer{}},
		{"pushing is required nowhere", mcp, id, with(id, "require_pushed_authorization_requests", "true"), ErrInvalid, "no pushed_authorization_request_endpoint", Issuer{}},
		{"pushing in the clear", mcp, id, with(id, "pushed_authorization_request_endpoint", `"http://auth.example.com/par"`), ErrInvalid, "is not an https address", Issuer{}},
		{"methods no list", mcp, id, with(id, "token_endpoint_auth_methods_supported", `"none"`), ErrInvalid, "is not a list of strings", Issuer{}},
		{"flag no flag", mcp, id, with(id, "authorization_response_iss_parameter_supported", `"yes"`), ErrInvalid, "is not true or false", Issuer{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := tt.id + "/.well-known/oauth-authorization-server"
			_, c := newWeb(map[string]answer{"GET " + at: doc(tt.body)})
			i, err := c.Issuer(background, tt.server, tt.id)
			check(t, err, tt.is, tt.says)
			if tt.is == nil && err == nil {
				tt.want.ID, tt.want.metadataURL = tt.id, at
				tt.want.AuthorizationEndpoint, tt.want.TokenEndpoint = tt.id+"/authorize", tt.id+"/token"
				if !reflect.DeepEqual(*i, tt.want) {
					t.Errorf("got %+v\nwant %+v", *i, tt.want)
				}
			}
		})
	}
}

func TestIssuerCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const id = "https://auth.example.com"
		const at = "GET " + id + "/.well-known/oauth-authorization-server"
		w, c := newWeb(map[string]answer{at: doc(asm(id, `"grant_types_supported":["authorization_code"]`), "Cache-Control", "max-age=60")})
		for range 3 {
			i, err := c.Issuer(background, mcp, id)
			if err != nil || i.grantTypes[0] != "authorization_code" {
				t.Fatalf("%+v, %v", i, err)
			}
			i.grantTypes[0] = "spoiled by the caller"
		}
		same(t, "fresh", w.took(), []string{at})
		_, err := c.Issuer(background, "https://other.example", id)
		check(t, err, nil)
		same(t, "on behalf of another server", w.took(), []string{at})
		time.Sleep(time.Minute)
		_, err = c.Issuer(background, mcp, id)
		check(t, err, nil)
		same(t, "stale", w.took(), []string{at})
	})
}

func TestMetadataRequests(t *testing.T) {
	const id = "https://auth.example.com"
	w, c := newWeb(map[string]answer{"GET " + id + "/.well-known/oauth-authorization-server": doc(asm(id))})
	_, err := c.Issuer(background, mcp, id)
	check(t, err, nil)
	if w.header.Get("Accept") != "application/json" || w.header.Get("MCP-Protocol-Version") != protocolVersion || w.header.Get("Authorization") != "" || w.header.Get("Cookie") != "" {
		t.Errorf("headers %v", w.header)
	}
}

// The caller's end and the network's are both unreachable, and can be told apart.
func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(background)
	cancel()
	c := New(Config{HTTP: outbound.New(outbound.Config{Base: hang{}}).For})
	_, _, err := c.Resource(ctx, mcp, nil)
	check(t, err, ErrUnreachable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v does not tell of the cancellation", err)
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := c.Issuer(background, mcp, "https://auth.example.com")
		check(t, err, ErrUnreachable, "no answer in time")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != outbound.Timeout {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

type hang struct{}

func (hang) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func FuzzMetadata(f *testing.F) {
	const id = "https://auth.example.com"
	f.Add([]byte(prm(mcp, `"resource_name":"x"`, `"scopes_supported":["a"]`)), "max-age=60", "60")
	f.Add([]byte(asm(id, `"registration_endpoint":"https://r.example"`, `"protected_resources":["x"]`)), `no-cache="a", private`, "-1")
	f.Add([]byte(`{"resource":"https://mcp.example.com","authorization_servers":[null]}`), "max-age=99999999999999999999", "x")
	f.Add([]byte(`[]`), `"`, "")
	server, err := parseServer(mcp)
	if err != nil {
		f.Fatal(err)
	}
	u, err := url.Parse(id)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, caching, age string) {
		until := freshUntil(&http.Request{Method: "GET"}, &http.Response{StatusCode: 200, Header: http.Header{"Cache-Control": {caching}, "Age": {age}}})
		if until.After(time.Now().Add(maxFreshness)) {
			t.Errorf("fresh until %v for %q, %q", until, caching, age)
		}
		d, err := decode(body)
		if err != nil {
			return
		}
		if r, err := d.resource(place{mcpPath, mcp}, server); err == nil {
			if len(r.Issuers) == 0 || !strings.HasPrefix(strings.ToLower(r.ID), "https://mcp.example.com") || len([]rune(r.Name)) > maxName {
				t.Errorf("%s: %+v", body, r)
			}
		} else if _, ok := errors.AsType[*detail](err); !ok {
			t.Errorf("%s: error %T", body, err)
		}
		d, _ = decode(body)
		if i, err := d.issuer(id, u, server); err == nil {
			for _, e := range []string{i.AuthorizationEndpoint, i.TokenEndpoint, i.RegistrationEndpoint, i.RevocationEndpoint, i.keysEndpoint} {
				if e != "" && !strings.HasPrefix(strings.ToLower(e), "https://") || strings.Contains(e, "#") {
					t.Errorf("%s: endpoint %q", body, e)
				}
			}
			if i.ID != id || i.TokenEndpoint == "" || i.AuthorizationEndpoint == "" {
				t.Errorf("%s: %+v", body, i)
			}
		} else if _, ok := errors.AsType[*detail](err); !ok {
			t.Errorf("%s: error %T", body, err)
		}
	})
}

// Both signs that an issuer takes an enterprise's word count.
func TestTakesAssertions(t *testing.T) {
	const id = "https://auth.example.com"
	for more, want := range map[string]bool{
		`"grant_types_supported":["authorization_code"]`:                                          false,
		`"grant_types_supported":["urn:ietf:params:oauth:grant-type:jwt-bearer"]`:                 true,
		`"authorization_grant_profiles_supported":["urn:ietf:params:oauth:grant-profile:id-jag"]`: true,
		`"authorization_grant_profiles_supported":["urn:example:other"]`:                          false,
	} {
		_, c := newWeb(map[string]answer{"GET " + id + "/.well-known/oauth-authorization-server": doc(asm(id, more))})
		i, err := c.Issuer(background, mcp, id)
		if err != nil || i.TakesAssertions() != want {
			t.Errorf("%s: %v, %v", more, i, err)
		}
	}
}
