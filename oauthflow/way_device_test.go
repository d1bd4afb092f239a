package oauthflow

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
)

const (
	devicePath   = "/device"
	deviceAnswer = `{"device_code":"device-secret","user_code":"WDJB-MJHT","verification_uri":"https://issuer.example.com/activate?x=1","expires_in":60,"interval":7}`
	deviceTokens = `{"access_token":"at","refresh_token":"rt","token_type":"Bearer","expires_in":600}`
)

// onDevice makes the issuer let people sign in on other devices, and this flow use that. Each poll gets the next of the
// answers, the last one again and again.
func (r *rig) onDevice(answers ...oauthtest.FaultFunc) (pages *[]Page, polls *[]time.Time) {
	r.req.Issuer.DeviceEndpoint = issuerID + devicePath
	r.issuer.Fault(devicePath, oauthtest.Body(deviceAnswer))
	pages, polls = &[]Page{}, &[]time.Time{}
	r.cfg.Device = true
	r.cfg.OnPage = func(_ Request, p Page) { *pages = append(*pages, p) }
	r.cfg.Open = func(context.Context, string) error {
		r.t.Error("a browser was opened here")
		return nil
	}
	r.issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		n := len(*polls)
		*polls = append(*polls, time.Now())
		answers[min(n, len(answers)-1)](w, req, next)
	})
	return pages, polls
}

func says(code string) oauthtest.FaultFunc { return oauthtest.OAuthError(400, code, "") }

func TestDeviceSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		pages, polls := r.onDevice(says("authorization_pending"), says("slow_down"), says("authorization_pending"), oauthtest.Body(deviceTokens))
		start := time.Now()
		reg, tokens := r.signIn()

		if want := []Page{{"https://issuer.example.com/activate?x=1", "WDJB-MJHT"}}; !slices.Equal(*pages, want) {
			t.Errorf("pages %q", *pages)
		}
		asked := r.one(devicePath)
		r.want(asked, "client_id", reg.ClientID)
		r.want(asked, "scope", "files:read offline_access")
		r.want(asked, "resource", serverURL)
		var after []time.Duration
		for _, at := range *polls {
			after = append(after, at.Sub(start))
		}
		// The issuer's 7 s, and 5 more once it found that too fast.
		if want := []time.Duration{7 * time.Second, 14 * time.Second, 26 * time.Second, 38 * time.Second}; !slices.Equal(after, want) {
			t.Errorf("polled after %v, want %v", after, want)
		}
		for _, poll := range r.issuer.Requests(demo.TokenPath) {
			r.want(poll, "grant_type", grantDevice)
			r.want(poll, "device_code", "device-secret")
			r.want(poll, "client_id", reg.ClientID)
			r.want(poll, "resource", serverURL)
		}
		if tokens.Access.Reveal() != "at" || tokens.Refresh.Reveal() != "rt" {
			t.Errorf("tokens %+v", tokens)
		}
		if got := r.one(demo.RegisterPath)["grant_types"]; !slices.Equal(got, []string{"authorization_code", "refresh_token", grantDevice}) {
			t.Errorf("registered for %q", got)
		}
	})
}

// An issuer that the person lets off the resource is not told of it (RFC 8707).
func TestDeviceUnbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.onDevice(oauthtest.Body(deviceTokens))
		r.req.Unbound = true
		r.signIn()
		if asked, polled := r.one(devicePath), r.one(demo.TokenPath); asked.Has("resource") || polled.Has("resource") {
			t.Errorf("asked with %q, polled with %q", asked["resource"], polled["resource"])
		}
	})
}

// Without Config.Device the browser is used, and the registration is for no more than that (TestWholeLife). With it, an
// issuer without the endpoint is signed in to by browser all the same.
func TestDeviceOnlyWhereItIsWantedAndOffered(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		r := newRig(t)
		r.cfg.Device = wanted
		if !wanted {
			r.req.Issuer.DeviceEndpoint = issuerID + devicePath
		}
		r.signIn()
		if got := r.one(demo.RegisterPath)["grant_types"]; slices.Contains(got, grantDevice) || len(r.urls) != 1 || r.issuer.Count(devicePath) != 0 {
			t.Errorf("wanted %t: registered for %q, %d pages", wanted, got, len(r.urls))
		}
	}
}

func TestDeviceEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		polls oauthtest.FaultFunc
		is    error
		says  string
		after time.Duration
		count int
	}{
		{"denied", says("access_denied"), nil, "access_denied", 7 * time.Second, 1},
		{"expired there", says("expired_token"), ErrAbandoned, "expired_token", 7 * time.Second, 1},
		{"expired here", says("authorization_pending"), ErrAbandoned, "no answer came within 1m0s", 60 * time.Second, 8},
		{"expired here, with 200", oauthtest.Body(`{"error":"authorization_pending"}`), ErrAbandoned, "no answer came within 1m0s", 60 * time.Second, 8},
		{"too fast for ever", says("slow_down"), ErrAbandoned, "within 1m0s", 60 * time.Second, 4}, // 7, 19, 36, 58
		{"another refusal", says("invalid_grant"), nil, "invalid_grant", 7 * time.Second, 1},
		{"away", oauthtest.Status(503), ErrAbandoned, "within 1m0s", 60 * time.Second, 3}, // 7, 21, 49
		{"no token", oauthtest.Body(`{}`), nil, "no usable access token", 7 * time.Second, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				_, polls := r.onDevice(tt.polls)
				start := time.Now()
				reg, tokens, err := r.flow().SignIn(t.Context(), r.req)
				if tokens != nil || err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%v", err)
				}
				if took := time.Since(start); took != tt.after || len(*polls) != tt.count {
					t.Errorf("%d polls, ended after %v", len(*polls), took)
				}
				if reg.ClientID == "" {
					t.Error("the registration is lost")
				}
			})
		})
	}
}

func TestDeviceCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		_, polls := r.onDevice(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
			cancel() // the person gives up while a poll is under way, which brings the tokens
			oauthtest.Body(deviceTokens)(w, req, next)
		})
		if _, tokens, err := r.flow().SignIn(ctx, r.req); err != nil || tokens == nil {
			t.Errorf("what the last poll brought is lost: %v", err)
		}
		if len(*polls) != 1 {
			t.Errorf("%d polls", len(*polls))
		}
		start := time.Now()
		if _, _, err := r.flow().SignIn(ctx, r.req); !errors.Is(err, ErrAbandoned) || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// What the issuer answers is shown to the person and followed: nothing odd gets there.
func TestDeviceAnswers(t *testing.T) {
	with := func(old, now string) string { return strings.Replace(deviceAnswer, old, now, 1) }
	for _, tt := range []struct{ name, body, says string }{
		{"no JSON", "<html>", "no device code"},
		{"a refusal with 200", `{"error":"device_flow_disabled"}`, "device_flow_disabled"},
		{"no device code", with("device_code", "x"), "no device code"},
		{"no user code", with("user_code", "x"), "no code that a person could enter"},
		{"hidden characters", with("WDJB", `\u202eWDJB`), "no code that a person could enter"},
		{"endless user code", with("WDJB", strings.Repeat("W", 100)), "no code that a person could enter"},
		{"no page", with("verification_uri", "x"), "not opened"},
		{"script", with("https://issuer.example.com/activate", "javascript:alert(1)"), "not opened"},
		{"plain http", with("https://", "http://"), "not opened"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			pages, polls := r.onDevice(says("access_denied"))
			r.issuer.Fault(devicePath, oauthtest.Body(tt.body))
			_, _, err := r.flow().SignIn(t.Context(), r.req)
			if err == nil || !strings.Contains(err.Error(), tt.says) || len(*pages)+len(*polls) > 0 {
				t.Errorf("%v, %d pages, %d polls", err, len(*pages), len(*polls))
			}
		})
	}
	for expires, want := range map[string]time.Duration{`"expires_in":60,`: time.Minute, "": maxTimeout, `"expires_in":864000,`: maxTimeout, `"expires_in":"90",`: 90 * time.Second} {
		r := newRig(t)
		r.onDevice(says("access_denied"))
		r.issuer.Fault(devicePath, oauthtest.Body(with(`"expires_in":60,"interval":7`, expires+`"other":1`)))
		web, err := r.flow().client(t.Context(), r.req)
		if err != nil {
			t.Fatal(err)
		}
		r.req.Registration = client.Client{Issuer: issuerID, ClientID: "c", AuthMethod: methodNone}
		if d, err := r.flow().authorizeDevice(t.Context(), web, r.req); err != nil || d.life != want || d.interval != pollInterval {
			t.Errorf("%s: %+v, %v", expires, d, err)
		}
	}
}

// A registration that the issuer forgot, or that was made for browsers only, is made anew; the person's own is not.
func TestDeviceRegistration(t *testing.T) {
	for _, code := range []string{"invalid_client", "unauthorized_client"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.onDevice(oauthtest.Body(deviceTokens))
			r.req.Registration = client.Client{Issuer: issuerID, ClientID: "old", AuthMethod: methodNone, Source: client.SourceDynamic, RedirectURIs: RedirectURIs()}
			r.issuer.Fault(devicePath, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
				if req.FormValue("client_id") == "old" {
					says(code)(w, req, next)
					return
				}
				oauthtest.Body(deviceAnswer)(w, req, next)
			})
			if reg, _ := r.signIn(); reg.ClientID == "old" || r.issuer.Count(demo.RegisterPath) != 1 {
				t.Errorf("%s: registered %d times", code, r.issuer.Count(demo.RegisterPath))
			}
			r.req.Registration = client.Client{Issuer: issuerID, ClientID: "old", AuthMethod: methodNone, Source: client.SourcePreRegistered}
			var refused *Error
			if reg, _, err := r.flow().SignIn(t.Context(), r.req); !errors.As(err, &refused) || refused.Code != code || refused.Step != "device authorization" || reg.ClientID != "old" {
				t.Errorf("%s: %v", code, err)
			}
		})
	}
	t.Run("the person's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.onDevice(oauthtest.Body(deviceTokens))
			r.req.Issuer.RegistrationEndpoint = ""
			r.req.AskClient = func(context.Context, string) (client.Client, error) {
				return client.Client{ClientID: "mine", Secret: secret.New("hunter2")}, nil
			}
			reg, _ := r.signIn()
			for _, path := range []string{devicePath, demo.TokenPath} { // authenticated at both: RFC 8628 §3.1
				user, password, _ := (&http.Request{Header: r.issuer.Seen(path)[0].Header}).BasicAuth()
				if reg.ClientID != "mine" || user != "mine" || password != "hunter2" {
					t.Errorf("%s: as %q", path, user)
				}
			}
		})
	})
}

func TestDeviceErrorsHoldNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.onDevice(oauthtest.OAuthError(400, "invalid_grant", "no device-secret here"))
		if _, _, err := r.flow().SignIn(t.Context(), r.req); err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "device-secret") {
			t.Errorf("%v", err)
		}
	})
}
