package oauthflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
)

func TestReadTokens(t *testing.T) {
	const never = time.Duration(0)
	asked := []string{"asked", "asked,so"}
	for _, c := range []struct {
		name   string
		status int
		body   string
		is     error
		code   string // of an *Error
		life   time.Duration
		scopes []string
	}{
		{"plain", 200, `{"access_token":"at","token_type":"Bearer","expires_in":3600,"scope":"a b a"}`, nil, "", time.Hour, []string{"a", "b"}},
		{"commas", 200, `{"access_token":"at","token_type":"Bearer","scope":"b,asked,b"}`, nil, "", never, []string{"b", "asked"}},
		{"commas and spaces", 200, `{"access_token":"at","token_type":"Bearer","scope":"x,y asked, z"}`, nil, "", never, []string{"x,y", "asked", "z"}},
		{"a comma within", 200, `{"access_token":"at","token_type":"Bearer","scope":"asked,so a,b"}`, nil, "", never, []string{"asked,so", "a,b"}},
		{"lower case", 200, `{"access_token":"at","token_type":"bEARER"}`, nil, "", never, asked},
		{"text", 200, `{"access_token":"at","token_type":"bearer","expires_in":"3600","scope":" "}`, nil, "", time.Hour, asked},
		{"fraction", 200, `{"access_token":"at","token_type":"bearer","expires_in":3599.9,"scope":null}`, nil, "", 3599 * time.Second, asked},
		{"exponent", 200, `{"access_token":"at","token_type":"bearer","expires_in":3.6e3}`, nil, "", time.Hour, asked},
		{"endless", 200, `{"access_token":"at","token_type":"bearer","expires_in":1e300}`, nil, "", (1 << 33) * time.Second, asked},
		{"zero", 200, `{"access_token":"at","token_type":"bearer","expires_in":0}`, nil, "", never, asked},
		{"negative", 200, `{"access_token":"at","token_type":"bearer","expires_in":-5}`, nil, "", never, asked},
		{"no number", 200, `{"access_token":"at","token_type":"bearer","expires_in":{"a":1},"scope":["a"]}`, nil, "", never, asked},
		{"unknown members", 200, `{"access_token":"at","token_type":"bearer","id_token":"x","x":[1,{"y":null}]}`, nil, "", never, asked},
		{"another type", 200, `{"access_token":"at","token_type":"DPoP"}`, ErrTokenType, "", 0, nil},
		{"no type", 200, `{"access_token":"at"}`, ErrTokenType, "", 0, nil},
		{"no token", 200, `{"token_type":"Bearer"}`, errAny, "", 0, nil},
		{"header injection", 200, `{"access_token":"a\r\nX: y","token_type":"Bearer"}`, errAny, "", 0, nil},
		{"no JSON", 200, `access_token=at&token_type=bearer`, errAny, "", 0, nil},
		{"null", 200, `null`, errAny, "", 0, nil},
		{"empty", 200, ``, errAny, "", 0, nil},
		{"error with 200", 200, `{"error":"bad_verification_code","error_description":"x"}`, errAny, "invalid_grant", 0, nil},
		{"refresh token dead, with 200", 200, `{"error":"bad_refresh_token","access_token":"at","token_type":"bearer"}`, errAny, "invalid_grant", 0, nil},
		{"wrong secret, with 200", 200, `{"error":"incorrect_client_credentials"}`, errAny, "invalid_client", 0, nil},
		{"a name nobody knows, with 200", 200, `{"error":"bad_weather"}`, errAny, "bad_weather", 0, nil},
		{"error", 400, `{"error":"invalid_grant","error_description":"gone"}`, errAny, "invalid_grant", 0, nil},
		{"error without JSON", 400, `<html>`, errAny, "", 0, nil},
		{"tokens with 400", 400, `{"access_token":"at","token_type":"Bearer"}`, errAny, "", 0, nil},
		{"redirect", 302, ``, errAny, "", 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &reply{status: c.status, header: http.Header{}, body: []byte(c.body), whole: true}
				got, err := r.readTokens(Request{Issuer: &discovery.Issuer{ID: issuerID}, Scopes: asked}, "token")
				if c.is != nil {
					var refused *Error
					if err == nil || c.is != errAny && !errors.Is(err, c.is) || errors.As(err, &refused) && (refused.Code != c.code || refused.status != c.status) {
						t.Errorf("%v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got.Access.Reveal() != "at" || got.kind != "Bearer" || !slices.Equal(got.Scopes, c.scopes) {
					t.Errorf("%+v", got)
				}
				if c.life == never && !got.Expiry.IsZero() || c.life != never && time.Until(got.Expiry) != c.life {
					t.Errorf("expires %v, want in %v", got.Expiry, c.life)
				}
			})
		})
	}
}

var errAny = errors.New("any error")

// A refresh is one POST, whatever comes of it.
func TestRefreshPostsOnce(t *testing.T) {
	for _, c := range []struct {
		name        string
		fault       oauthtest.FaultFunc
		unavailable bool
	}{
		{"503", oauthtest.Status(503), true},
		{"500 with an error code", oauthtest.OAuthError(500, "invalid_grant", "x"), true},
		{"429", oauthtest.Status(429), true},
		{"lost after it was handled", oauthtest.Lost(), true},
		{"dropped", oauthtest.Dropped(), true},
		{"silence", oauthtest.Hang(), true},
		{"invalid_client", oauthtest.OAuthError(401, "invalid_client", "x"), false},
		{"invalid_grant", oauthtest.OAuthError(400, "invalid_grant", "x"), false},
		{"redirect", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, issuerID+demo.TokenPath, http.StatusTemporaryRedirect)
		}, false},
		{"garbage", oauthtest.Body("<html>"), false},
		{"endless", oauthtest.Body(`{"access_token":"` + strings.Repeat("x", 3<<20) + `"}`), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.req.Registration = client.Client{Issuer: issuerID, ClientID: "c", Source: client.SourceDynamic}
				r.issuer.Fault(demo.TokenPath, c.fault)
				start := time.Now()
				tokens, err := r.flow().Refresh(t.Context(), r.req, secret.New("rt"))
				if err == nil || tokens != nil || errors.Is(err, ErrUnavailable) != c.unavailable {
					t.Errorf("%v", err)
				}
				if n := r.issuer.Count(demo.TokenPath); n != 1 {
					t.Errorf("%d requests", n)
				}
				if took := time.Since(start); took > postTimeout {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// The same over a real connection that breaks, where net/http has retries of its own.
func TestRefreshPostsOnceOverTCP(t *testing.T) {
	var posts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/warm" {
			return
		}
		posts.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/warm") // so that the POST goes out on a connection that was kept
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	req := Request{
		Issuer:       &discovery.Issuer{ID: issuerID, TokenEndpoint: server.URL + "/token"},
		Registration: client.Client{Issuer: issuerID, ClientID: "c"},
	}
	if _, err := refreshTokens(t.Context(), server.Client(), req, secret.New("rt")); !errors.Is(err, ErrUnavailable) || posts.Load() != 1 {
		t.Errorf("%d posts: %v", posts.Load(), err)
	}
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			value string
			want  time.Duration
		}{
			{"", 0}, {"7", 7 * time.Second}, {"-7", 0}, {"soon", 0}, {"99999999999", 0}, {"9999999", maxRetryAfter},
			{time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), time.Minute},
			{time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat), 0},
		} {
			if got := retryAfter(http.Header{"Retry-After": {c.value}}); got != c.want {
				t.Errorf("%q: %v, want %v", c.value, got, c.want)
			}
		}
		r := newRig(t)
		r.req.Registration = client.Client{Issuer: issuerID, ClientID: "c"}
		r.issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(503)
		})
		_, err := r.flow().Refresh(t.Context(), r.req, secret.New("rt"))
		var refused *Error
		if !errors.Is(err, ErrUnavailable) || !errors.As(err, &refused) || refused.RetryAfter != 30*time.Second || refused.status != 503 {
			t.Errorf("%v", err)
		}
	})
}

func TestRefreshWithoutRotation(t *testing.T) {
	r := newRig(t, oauthtest.NoRotation())
	reg, tokens := r.signIn()
	r.req.Registration, r.req.Scopes = reg, nil
	fresh, err := r.flow().Refresh(t.Context(), r.req, tokens.Refresh)
	if err != nil || !fresh.Refresh.Empty() || fresh.Access.Empty() {
		t.Errorf("%+v, %v", fresh, err)
	}
	if got := r.issuer.Requests(demo.TokenPath)[1]; got.Has("scope") {
		t.Errorf("scope %q", got["scope"])
	}
}

// What x/oauth2 alone would turn down, or post twice.
func TestExchange(t *testing.T) {
	for _, c := range []struct {
		name, kind, body string
		status           int
		ok               bool
	}{
		{"fraction", "application/json", `{"access_token":"at","token_type":"Bearer","expires_in":3600.0}`, 200, true},
		{"JSON called text", "text/plain", `{"access_token":"at","token_type":"Bearer","refresh_token":"rt"}`, 200, true},
		{"refused", "application/json", `{"error":"invalid_grant"}`, 400, false},
		{"no type", "application/json", `{"access_token":"at"}`, 200, false},
		{"huge", "application/json", `{"access_token":"` + strings.Repeat("x", 2<<20) + `","token_type":"Bearer"}`, 200, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Content-Type", c.kind)
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			_, tokens, err := r.flow().SignIn(t.Context(), r.req)
			if (err == nil) != c.ok || c.ok && tokens.Access.Reveal() != "at" {
				t.Errorf("%v", err)
			}
			if n := r.issuer.Count(demo.TokenPath); n != 1 {
				t.Errorf("%d token requests", n)
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestCodeIsSentOnce: no second request passes, above all not after a failure that leaves open what the issuer did (TOK-14).
func TestCodeIsSentOnce(t *testing.T) {
	lost := errors.New("connection reset")
	for name, test := range map[string]struct {
		status int
		failed error
		is     error
	}{"answered": {200, nil, errAny}, "away": {503, nil, ErrUnavailable}, "lost": {0, lost, lost}} {
		sent := 0
		web := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			sent++
			return &http.Response{StatusCode: test.status, Body: http.NoBody, Request: r}, test.failed
		})}
		req := Request{Issuer: &discovery.Issuer{ID: issuerID, TokenEndpoint: "https://issuer.example.com/token"}}
		_, err := exchange(t.Context(), web, req, client.Client{ClientID: "c"}, &pending{verifier: secret.New("v")}, secret.New("code"))
		if err == nil || test.is != errAny && !errors.Is(err, test.is) || sent != 1 {
			t.Errorf("%s: %v after %d requests", name, err, sent)
		}
	}
}

func FuzzReadTokens(f *testing.F) {
	f.Add(200, []byte(`{"access_token":"at","token_type":"Bearer","expires_in":"1e9","scope":"a"}`))
	f.Add(400, []byte(`{"error":"invalid_grant"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		r := &reply{status: status, header: http.Header{}, body: body, whole: true}
		tokens, err := r.readTokens(Request{Issuer: &discovery.Issuer{ID: issuerID}}, "token")
		if (err == nil) != (tokens != nil) {
			t.Fatal("tokens and error")
		}
		if err == nil && (!json.Valid(body) || tokens.Access.Empty() || strings.ContainsAny(tokens.Access.Reveal(), "\r\n ")) {
			t.Fatalf("%q", body)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add("state=s&code=c&iss=https://i")
	f.Add("state=s&error=e&error_description=%00")
	f.Fuzz(func(t *testing.T, query string) {
		p := &pending{state: "s", issuer: "https://i", issRequired: true}
		a, ours := p.read(query)
		if (a.err == nil && a.code.Empty()) == ours {
			t.Fatalf("%q: ours %v, %v", query, ours, a.err)
		}
	})
}
