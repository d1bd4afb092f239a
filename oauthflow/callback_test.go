package oauthflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
)

// Algorithm 3 of the checklist, RFC 9207 §2.4, on answers with a code and on errors alike.
func TestIssuerTable(t *testing.T) {
	const issuer = "https://issuer.example.com/Tenant"
	absent := ""
	for _, c := range []struct {
		announced bool
		iss       string
		accept    bool
	}{
		{true, issuer, true},
		{true, absent, false},
		{true, "https://attacker.example.com", false},
		{false, issuer, true},
		{false, absent, true},
		{false, "https://attacker.example.com", false},
		// Nothing is normalised.
		{true, issuer + "/", false},
		{true, "https://issuer.example.com:443/Tenant", false},
		{true, "https://issuer.example.com/tenant", false},
		{true, "HTTPS://issuer.example.com/Tenant", false},
		{true, "https://issuer.example.com/%54enant", false},
		{true, " " + issuer, false},
	} {
		for _, kind := range []string{"code", "error"} {
			p := &pending{state: "s", issuer: issuer, issRequired: c.announced}
			q := url.Values{"state": {"s"}, kind: {"value"}, "error_description": {"words of a stranger"}}
			if c.iss != absent {
				q.Set("iss", c.iss)
			}
			a, ours := p.read(q.Encode())
			var refused *Error
			switch {
			case !ours:
				t.Errorf("%+v: ignored", c)
			case !c.accept:
				if !errors.Is(a.err, ErrIssMismatch) || !a.code.Empty() || errors.As(a.err, &refused) ||
					strings.Contains(a.err.Error(), "stranger") || strings.Contains(a.err.Error(), "attacker") {
					t.Errorf("%+v, %s: %v", c, kind, a.err)
				}
			case kind == "code" && (a.err != nil || a.code.Reveal() != "value"),
				kind == "error" && (!errors.As(a.err, &refused) || refused.Code != "value" || !a.code.Empty()):
				t.Errorf("%+v, %s: %v", c, kind, a.err)
			}
		}
	}
	// An empty iss is there, and is not the issuer.
	p := &pending{state: "s", issuer: issuer}
	if a, _ := p.read("state=s&code=c&iss="); !errors.Is(a.err, ErrIssMismatch) {
		t.Errorf("empty iss: %v", a.err)
	}
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		query string
		ours  bool
		want  string // in the error; "" means a code
	}{
		{"state=s&code=c", true, ""},
		{"state=s&code=c&unknown=1&unknown=2", true, ""},
		{"code=c&state=%73", true, ""},
		{"", false, ""},
		{"code=c", false, ""},
		{"state=&code=c", false, ""},
		{"state=S&code=c", false, ""},
		{"state=s2&code=c", false, ""},
		{"state=s&state=s&code=c", false, ""},
		{"state=x&error=access_denied", false, ""},
		{"state=s&code=%zz", false, ""},
		{"state=s&code=c;iss=x", false, ""},
		{"state=s&code=c&code=d", true, "code more than once"},
		{"state=s&code=c&iss=https://i&iss=https://i", true, "iss more than once"},
		{"state=s&error=a&error=b", true, "error more than once"},
		{"state=s", true, "no code"},
		{"state=s&code=", true, "no code"},
		{"state=s&code=c&error=server_error", true, "server_error"},
		{"state=s&error=x%0Ay%E2%80%AEz", true, "x yz"},
	} {
		p := &pending{state: "s", issuer: "https://i"}
		a, ours := p.read(c.query)
		if ours != c.ours || (ours && c.want == "") != (!a.code.Empty()) || (c.want != "") != (a.err != nil) {
			t.Errorf("%s: ours %v, code %v, error %v", c.query, ours, !a.code.Empty(), a.err)
		}
		if a.err != nil && !strings.Contains(a.err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.query, a.err, c.want)
		}
	}
}

// get asks the callback as anybody can; host "" means the right one.
func get(ctx context.Context, method, address, host string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, "", err
	}
	req.Host = host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// callbackOf is where an authorization URL has the browser come back to, and the state it has to bring.
func callbackOf(t *testing.T, address string) (back *url.URL, state string) {
	u, err := url.Parse(address)
	if err != nil {
		t.Error(err)
		return &url.URL{}, ""
	}
	back, err = url.Parse(u.Query().Get("redirect_uri"))
	if err != nil {
		t.Error(err)
		return &url.URL{}, ""
	}
	return back, u.Query().Get("state")
}

// Whatever others send while a sign-in waits is turned away and ends nothing.
func TestForeignRequestsAreIgnored(t *testing.T) {
	r := newRig(t)
	r.cfg.Open = func(ctx context.Context, address string) error {
		place, state := callbackOf(t, address)
		back := place.String()
		good := "?code=stolen&state=" + state
		for _, c := range []struct {
			method, url, host string
			status            int
		}{
			{"GET", back + "?code=x&state=wrong", "", 400},
			{"GET", back + "?error=access_denied&state=wrong", "", 400},
			{"GET", back + "?error=access_denied", "", 400},
			{"GET", back + "?code=x&state=" + state + "&state=" + state, "", 400},
			{"GET", back, "", 400},
			{"GET", back + good, "attacker.example.com", 404},
			{"GET", back + good, "localhost:" + place.Port(), 404},
			{"GET", strings.TrimSuffix(back, callbackPath) + "/" + good, "", 404},
			{"GET", back + "/" + good, "", 404},
			{"GET", strings.Replace(back, "callback", "%63allback", 1) + good, "", 404},
			{"POST", back + good, "", 404},
			{"HEAD", back + good, "", 404},
			{"OPTIONS", back + good, "", 404},
			{"GET", strings.TrimSuffix(back, callbackPath) + "/favicon.ico", "", 404},
		} {
			resp, body, err := get(ctx, c.method, c.url, c.host)
			if err != nil {
				t.Error(err)
				continue
			}
			if resp.StatusCode != c.status || strings.Contains(body, state) || strings.Contains(body, "stolen") || strings.Contains(body, "denied") {
				t.Errorf("%s %s (%s): %d %s", c.method, c.url, c.host, resp.StatusCode, body)
			}
		}
		// A connection that says nothing, and one that says too much.
		quiet, err := net.Dial("tcp", place.Host)
		if err != nil {
			return err
		}
		defer quiet.Close()
		huge := back + "?code=" + strings.Repeat("x", 1<<20) + "&state=" + state
		if resp, _, err := get(ctx, "GET", huge, ""); err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("huge: %d", resp.StatusCode) // an error is as good: the connection was closed under the sender
		}
		return r.world.Browser(ctx, address)
	}
	start := time.Now()
	if _, tokens := r.signIn(); tokens.Access.Empty() {
		t.Error("no token")
	}
	if took := time.Since(start); took > closeGrace {
		t.Errorf("a silent connection held the sign-in for %v", took)
	}
}

// answerWith plays the browser's last step by hand; wait returns when the page has come.
func (r *rig) answerWith(edit func(state string) string, page *string, status *int) (wait func()) {
	shown := make(chan struct{})
	r.cfg.Open = func(ctx context.Context, address string) error {
		defer close(shown)
		back, state := callbackOf(r.t, address)
		resp, body, err := get(ctx, "GET", back.String()+"?"+edit(state), "")
		if err != nil {
			r.t.Error(err)
			return err
		}
		*page, *status = body, resp.StatusCode
		h := resp.Header
		csp := h.Get("Content-Security-Policy")
		if h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(csp, "default-src 'none'") ||
			strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" {
			r.t.Errorf("headers %v", h)
		}
		return nil
	}
	return func() { <-shown }
}

func TestPages(t *testing.T) {
	iss := "&iss=" + url.QueryEscape(issuerID)
	words := "&error_description=" + url.QueryEscape("<script>reflected</script>")
	for _, c := range []struct {
		name  string
		query string // after state
		fault oauthtest.FaultFunc
		want  string
		is    error
	}{
		{"done", "&code=c" + iss, oauthtest.Body(`{"access_token":"at","token_type":"Bearer"}`), "You are signed in", nil},
		{"denied", "&error=access_denied" + iss + words, nil, "Not signed in", nil},
		{"refused", "&error=server_error" + iss + words, nil, "The sign-in did not work", nil},
		{"wrong issuer", "&code=c&iss=https://attacker.example.com", nil, "This answer was not accepted", ErrIssMismatch},
		{"wrong issuer's error", "&error=access_denied&iss=https://attacker.example.com" + words, nil, "This answer was not accepted", ErrIssMismatch},
		{"nameless error", "&error=access_denied" + words, nil, "This answer was not accepted", ErrIssMismatch},
		{"exchange refused", "&code=c" + iss, oauthtest.OAuthError(400, "invalid_grant", "reflected"), "The sign-in did not work", nil},
		{"exchange down", "&code=c" + iss, oauthtest.Status(503), "The sign-in did not work", ErrUnavailable},
		{"exchange lost", "&code=c" + iss, oauthtest.Lost(), "The sign-in did not work", ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			var page string
			var status int
			wait := r.answerWith(func(state string) string { return "state=" + state + c.query }, &page, &status)
			r.issuer.Fault(demo.TokenPath, c.fault)
			_, _, err := r.flow().SignIn(t.Context(), r.req)
			wait()
			if (err == nil) != (c.name == "done") || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v", err)
			}
			if n, max := r.issuer.Count(demo.TokenPath), 1; n > max || c.fault == nil && n > 0 {
				t.Errorf("%d token requests", n)
			}
			for _, want := range []string{c.want, "mcp.example.com", "issuer.example.com", "Example Files"} {
				if !strings.Contains(page, want) {
					t.Errorf("the page lacks %q: %s", want, page)
				}
			}
			if strings.Contains(page, "reflected") || strings.Contains(page, "attacker") || status != 200 {
				t.Errorf("%d %s", status, page)
			}
		})
	}
}

// The browser waits for the exchange, but not for ever; who comes second is told that it is over.
func TestSlowExchange(t *testing.T) {
	cb := &callback{place: place{"127.0.0.1", 1, callbackPath}}
	synctest.Test(t, func(t *testing.T) {
		p := &pending{state: "s", issuer: "https://i", answers: make(chan answer, 1), outcome: make(chan pageKind, 1)}
		cb.waiting = p
		ask := func() string {
			w := &recordedPage{header: http.Header{}}
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1:1/callback?state=s&code=c", nil)
			if err != nil {
				t.Fatal(err)
			}
			cb.ServeHTTP(w, req)
			return w.body.String()
		}
		first := make(chan string)
		start := time.Now()
		go func() { first <- ask() }()
		synctest.Wait()
		if second := ask(); !strings.Contains(second, "This sign-in is over") || len(p.answers) != 1 {
			t.Errorf("second: %s", second)
		}
		if page := <-first; !strings.Contains(page, "Almost there") || time.Since(start) != pageHold {
			t.Errorf("after %v: %s", time.Since(start), page)
		}
	})
}

type recordedPage struct {
	header http.Header
	body   strings.Builder
}

func (w *recordedPage) Header() http.Header         { return w.header }
func (w *recordedPage) WriteHeader(int)             {}
func (w *recordedPage) Write(b []byte) (int, error) { return w.body.Write(b) }

// A context that ends after the browser came back does not lose the code.
func TestExchangeOutlivesTheCaller(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		cancel()
		next.ServeHTTP(w, req)
	})
	if _, tokens, err := r.flow().SignIn(ctx, r.req); err != nil || tokens.Refresh.Empty() {
		t.Errorf("%v", err)
	}
}

func TestAuthorizationURL(t *testing.T) {
	for _, c := range []struct{ endpoint, want string }{
		{"https://issuer.example.com/authorize", "https://issuer.example.com/authorize?"},
		{"https://issuer.example.com/authorize?tenant=a%2fb&x=", "https://issuer.example.com/authorize?tenant=a%2fb&x=&"},
		{"https://issuer.example.com/authorize?client_id=theirs&%73tate=theirs&resource=theirs&p=1", "https://issuer.example.com/authorize?p=1&"},
		{"http://127.0.0.1:9/authorize", "http://127.0.0.1:9/authorize?"},
		{"https://issuer.example.com/a`b?x=a b\"c'd`e`<f>|$(g)", "https://issuer.example.com/a%60b?x=a%20b%22c%27d%60e%60%3Cf%3E%7C$(g)&"},
		{"http://issuer.example.com/authorize", ""},
		{"javascript:alert(1)", ""},
		{"file:///etc/passwd", ""},
		{"https://user:pw@issuer.example.com/", ""},
		{"https://issuer.example.com/#x", ""},
		{"https:opaque", ""},
		{"https://issuer.example.com/\n", ""},
	} {
		r := newRig(t)
		r.req.Issuer.AuthorizationEndpoint = c.endpoint
		params := authorizationParams(r.req, client.Client{ClientID: "ours"}, &pending{state: "s", redirectURI: "http://127.0.0.1:1/cb"}, "v")
		got, _, err := pageFrom(t.Context(), nil, r.req, client.Client{ClientID: "ours"}, params)
		if (err != nil) != (c.want == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, %v", c.endpoint, got, err)
		}
		if err != nil {
			continue
		}
		u, err := url.Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range u.Query() {
			if len(values) != 1 || values[0] == "theirs" {
				t.Errorf("%s: %s is %q", c.endpoint, name, values)
			}
		}
	}
}

func TestRedirectURIs(t *testing.T) {
	uris := RedirectURIs()
	if len(uris) != len(callbackPorts) {
		t.Fatal(uris)
	}
	for i, uri := range uris {
		if want := fmt.Sprintf("http://127.0.0.1:%d/callback", callbackPorts[i]); uri != want {
			t.Errorf("%s, want %s: these are registered at issuers and never change", uri, want)
		}
	}
}
