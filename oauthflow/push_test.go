package oauthflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
)

const pushPath = "/par"

// pushing makes the issuer take pushed requests: its sign-in page knows only what was left there.
func (r *rig) pushing(expiresIn int) {
	r.req.Issuer.PushEndpoint = issuerID + pushPath
	pushed := map[string]url.Values{}
	r.issuer.Fault(pushPath, func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
		if err := req.ParseForm(); err != nil {
			r.t.Error(err)
		}
		reference := fmt.Sprintf("urn:ietf:params:oauth:request_uri:%d&x=1", len(pushed))
		pushed[reference] = req.PostForm
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]any{"request_uri": reference, "expires_in": expiresIn})
	})
	r.issuer.Fault(demo.AuthorizePath, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if req.Method == http.MethodGet {
			form, ok := pushed[req.URL.Query().Get("request_uri")]
			if !ok || form.Get("client_id") != req.URL.Query().Get("client_id") {
				http.Error(w, "no such request", http.StatusBadRequest)
				return
			}
			req = req.Clone(req.Context())
			req.URL.RawQuery = form.Encode()
		}
		next.ServeHTTP(w, req)
	})
}

// names are the parameters of the address that the browser was sent to last.
func (r *rig) names() []string {
	r.t.Helper()
	if len(r.urls) == 0 {
		r.t.Fatal("no page was named")
	}
	u, err := url.Parse(r.urls[len(r.urls)-1])
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for name := range u.Query() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestPushedRequest(t *testing.T) {
	r := newRig(t)
	r.pushing(0)
	r.req.Issuer.PushRequired = true
	r.req.Issuer.AuthorizationEndpoint += "?tenant=7&scope=theirs&request_uri=theirs"
	r.req.ACRValues = "phr"
	_, tokens := r.signIn()
	if tokens.Access.Empty() || tokens.Refresh.Empty() {
		t.Errorf("tokens %+v", tokens)
	}
	pushed := r.one(pushPath)
	for name, want := range map[string]string{
		"response_type": "code", "code_challenge_method": "S256", "resource": serverURL, "scope": "files:read offline_access",
		"prompt": "consent", "acr_values": "phr", "client_id": r.page(0).Get("client_id"),
	} {
		r.want(pushed, name, want)
	}
	for _, name := range []string{"state", "redirect_uri", "code_challenge"} {
		if pushed.Get(name) == "" {
			t.Errorf("no %s was pushed", name)
		}
	}
	if got := r.names(); !slices.Equal(got, []string{"client_id", "request_uri", "tenant"}) {
		t.Errorf("the browser carries %q", got)
	}
	r.want(r.page(0), "request_uri", "urn:ietf:params:oauth:request_uri:0&x=1")
}

// We are to the endpoint for pushed requests who we are to the token endpoint (RFC 9126 §2).
func TestPushAuthentication(t *testing.T) {
	for _, method := range []string{methodBasic, methodPost} {
		r := newRig(t, oauthtest.AuthMethod(method))
		r.pushing(0)
		reg, _ := r.signIn()
		seen := r.issuer.Seen(pushPath)[0]
		user, password, basic := (&http.Request{Header: seen.Header}).BasicAuth()
		if method == methodPost {
			user, password = seen.Values.Get("client_id"), seen.Values.Get("client_secret")
		}
		if reg.AuthMethod != method || basic != (method == methodBasic) || user != reg.ClientID || password != reg.Secret.Reveal() {
			t.Errorf("%s: basic %t, as %q", method, basic, user)
		}
	}
}

// With a key the pushed request carries its proof, for that address, also after the issuer asked for a nonce.
func TestPushIsProven(t *testing.T) {
	r := newRig(t)
	r.pushing(0)
	key, err := dpop.New()
	if err != nil {
		t.Fatal(err)
	}
	r.req.Key = key
	var nonces []string
	r.issuer.Fault(pushPath, func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
		var proof struct {
			URL    string `json:"htu"`
			Method string `json:"htm"`
			Nonce  string `json:"nonce"`
		}
		signed, err := jwt.ParseSigned(req.Header.Get("DPoP"), []jose.SignatureAlgorithm{jose.ES256})
		if err != nil || signed.UnsafeClaimsWithoutVerification(&proof) != nil {
			t.Errorf("the proof: %v", err)
		}
		if proof.URL != issuerID+pushPath || proof.Method != http.MethodPost {
			t.Errorf("the proof is for %s %s", proof.Method, proof.URL)
		}
		nonces = append(nonces, proof.Nonce)
		if proof.Nonce == "" {
			w.Header().Set("DPoP-Nonce", "n1")
			oauthtest.OAuthError(400, "use_dpop_nonce", "")(w, req, nil)
			return
		}
		oauthtest.OAuthError(400, "access_denied", "enough was seen")(w, req, nil)
	})
	r.req.Issuer.PushRequired = true
	var refused *Error
	if _, _, err := r.flow().SignIn(t.Context(), r.req); !errors.As(err, &refused) || refused.Code != "access_denied" {
		t.Errorf("%v", err)
	}
	if !slices.Equal(nonces, []string{"", "n1"}) {
		t.Errorf("nonces %q", nonces)
	}
}

// An issuer that only offers it may fail at it; at one that requires it there is no other way.
func TestFailedPush(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault oauthtest.FaultFunc
		is    error
		says  string
	}{
		{"away", oauthtest.Dropped(), ErrUnavailable, "pushed request at " + issuerID},
		{"5xx", oauthtest.Status(503), ErrUnavailable, "HTTP 503"},
		{"not there", oauthtest.Status(404), nil, "HTTP 404"},
		{"refused", oauthtest.OAuthError(400, "invalid_request", "no pushing for public clients"), nil, "no pushing for public clients"},
		{"client unknown", oauthtest.OAuthError(401, "invalid_client", "who?"), nil, "invalid_client"},
		{"no JSON", oauthtest.Body("<html>"), nil, "no usable request_uri"},
		{"no reference", oauthtest.Body(`{"expires_in":60}`), nil, "no usable request_uri"},
		{"endless reference", oauthtest.Body(`{"request_uri":"` + strings.Repeat("a", maxReference+1) + `"}`), nil, "no usable request_uri"},
		{"redirect", func(w http.ResponseWriter, req *http.Request, _ http.Handler) {
			http.Redirect(w, req, issuerID+"/elsewhere", http.StatusTemporaryRedirect)
		}, nil, "HTTP 307"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.req.Issuer.PushEndpoint = issuerID + pushPath
			r.issuer.Fault(pushPath, tt.fault)
			r.signIn()
			if got := r.names(); !slices.Contains(got, "code_challenge") || slices.Contains(got, "request_uri") {
				t.Errorf("the browser carries %q", got)
			}
			r.req.Issuer.PushRequired = true
			pages := len(r.urls)
			_, _, err := r.flow().SignIn(t.Context(), r.req)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
			if len(r.urls) != pages || r.issuer.Count("/elsewhere") > 0 {
				t.Error("the browser was sent on all the same")
			}
		})
	}
}

// An issuer that forgot our registration says so before any page is opened.
func TestPushFindsForgottenRegistration(t *testing.T) {
	r := newRig(t)
	reg, _ := r.signIn()
	r.pushing(0)
	r.urls, r.req.Registration = nil, reg
	r.issuer.Fault(demo.RegisterPath, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		r.pushing(0)
		next.ServeHTTP(w, req)
	})
	r.issuer.Fault(pushPath, oauthtest.OAuthError(401, "invalid_client", "forgotten"))
	again, _ := r.signIn()
	if again.ClientID == reg.ClientID || len(r.urls) != 1 {
		t.Errorf("registration %s after %s, %d pages", again.ClientID, reg.ClientID, len(r.urls))
	}
}

// The issuer's words do not bring out what was posted.
func TestPushEchoesNoSecret(t *testing.T) {
	r := newRig(t)
	r.req.Issuer.PushEndpoint, r.req.Issuer.PushRequired = issuerID+pushPath, true
	r.req.Registration = client.Client{Issuer: issuerID, ClientID: "c", Secret: secret.New("hunter2"), AuthMethod: methodPost, Source: client.SourcePreRegistered}
	r.issuer.Fault(pushPath, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		req.ParseForm()
		oauthtest.OAuthError(400, "invalid_request", req.PostForm.Get("client_secret")+" "+req.PostForm.Get("state"))(w, req, next)
	})
	_, _, err := r.flow().SignIn(t.Context(), r.req)
	if state := r.one(pushPath).Get("state"); err == nil || state == "" || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), state) {
		t.Errorf("%v", err)
	}
}

// A person who opens the page late finds one that is still good.
func TestPushIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.pushing(60)
		flow, p := r.flow(), &pending{answers: make(chan answer, 1)}
		reg := client.Client{Issuer: issuerID, ClientID: "c", AuthMethod: methodNone}
		client, err := flow.client(t.Context(), r.req)
		if err != nil {
			t.Fatal(err)
		}
		flow.cfg.Open = nil
		flow.cfg.OnPage = func(_ Request, page Page) {
			if r.urls = append(r.urls, page.URL); len(r.urls) == 3 {
				p.answers <- answer{code: secret.New("late")}
			}
		}
		start := time.Now()
		code, err := flow.wait(t.Context(), r.req, p, func(ctx context.Context) (string, time.Duration, error) {
			return pageFrom(ctx, client, r.req, reg, url.Values{"client_id": {"c"}, "state": {"s"}})
		})
		if err != nil || code.Reveal() != "late" || time.Since(start) != 2*time.Minute || r.urls[0] == r.urls[1] || r.urls[1] == r.urls[2] {
			t.Errorf("%v after %v: %q", err, time.Since(start), r.urls)
		}
	})
}
