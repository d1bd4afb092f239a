package enterprise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/outbound"
)

const issuer = "https://idp.example.org"

// hooks stand in for what Identities call; each is called with a name first.
type hooks struct {
	keystore.Store
	call func(string) error
}

func (h hooks) Get(ctx context.Context, name string) ([]byte, error) {
	h.call("Get")
	return h.Store.Get(ctx, name)
}

func (h hooks) Set(ctx context.Context, name string, value []byte) error {
	if err := h.call("Set"); err != nil {
		return err
	}
	return h.Store.Set(ctx, name, value)
}

// RoundTrip is an enterprise that renews every identity.
func (h hooks) RoundTrip(req *http.Request) (*http.Response, error) {
	answer := map[string]any{"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token", "code_challenge_methods_supported": []string{"S256"}}
	if req.Method == http.MethodPost {
		h.call("Flow")
		answer = map[string]any{"access_token": "x", "token_type": "Bearer", "refresh_token": "next", "id_token": oauthtest.IDToken(issuer, "there", nil)}
	} else {
		h.call("Discovery")
	}
	body, err := json.Marshal(answer)
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: req,
	}, err
}

func (h hooks) Enabled(context.Context, slog.Level) bool { return true }
func (h hooks) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h hooks) WithGroup(string) slog.Handler            { return h }
func (h hooks) Handle(context.Context, slog.Record) error {
	return h.call("Log")
}

// open returns Identities, and what lies under them. The person is known as "old", whose ID token ran out, and as "good".
func open(t *testing.T, call func(string) error) (*Identities, hooks) {
	t.Helper()
	var seeded atomic.Bool
	h := hooks{keystore.NewMemory(), func(name string) error {
		if !seeded.Load() {
			return nil
		}
		return call(name)
	}}
	l := ledger.Open(t.Context(), ledger.Config{Store: h, Changed: func() {}, Gone: func(*ledger.Grant) {}, Log: slog.New(slog.DiscardHandler)})
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := outbound.New(outbound.Config{Base: h})
	for account, until := range map[string]time.Duration{"old": -time.Hour, "good": time.Hour} {
		id := ledger.Identity{At: ledger.Enterprise{Issuer: issuer, ClientID: "there"}, Account: account, Subject: "ada", Expiry: time.Now().Add(until)}
		id.IDToken.Text, id.Refresh.Text = secret.New("id of "+account), secret.New("refresh of "+account)
		if err := l.SetIdentity(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	seeded.Store(true)
	return New(Config{
		Flow: oauthflow.New(oauthflow.Config{HTTP: out.For}), Discovery: discovery.New(discovery.Config{HTTP: out.For}), Ledger: l, Log: slog.New(h),
	}), h
}

func request() *oauthflow.Request {
	return &oauthflow.Request{
		Enterprise: &discovery.Issuer{ID: issuer, TokenEndpoint: issuer + "/token"},
		Registration: client.Client{Issuer: "https://issuer.example.com", ClientID: "here", GrantType: client.GrantJWTBearer, Enterprise: &client.Enterprise{
			Client: client.Client{Issuer: issuer, ClientID: "there", Secret: secret.New("hidden-words")},
		}},
	}
}

func TestIdentify(t *testing.T) {
	renewed := 0
	i, _ := open(t, func(name string) error {
		if name == "Flow" {
			renewed++
		}
		return nil
	})
	for _, test := range []struct {
		account, idToken string
		opensPage        bool
		renewed          int
	}{
		{"good", "id of good", false, 0},
		{"old", "e30.", false, 1},
		{"old", "e30.", false, 1}, // the renewed one is kept
		{"nobody", "", true, 1},
	} {
		r := request()
		if got := i.OpensPage(t.Context(), r.Registration, test.account); got != test.opensPage {
			t.Errorf("%s: opens a page: %v", test.account, got)
		}
		before := r.Registration.Enterprise
		err := i.Identify(t.Context(), r, test.account, false)
		if errors.Is(err, ErrSignIn) != test.opensPage || renewed != test.renewed || !strings.HasPrefix(r.Registration.Enterprise.IDToken.Reveal(), test.idToken) {
			t.Errorf("%s: %v; %d renewals", test.account, err, renewed)
		}
		if !before.IDToken.Empty() {
			t.Errorf("%s: the caller's own client was written to", test.account)
		}
	}
}

// TestOneRenewal: those who come while an identity is renewed wait for it, and take what came.
func TestOneRenewal(t *testing.T) {
	var renewed atomic.Int32
	i, _ := open(t, func(name string) error {
		if name == "Flow" {
			renewed.Add(1)
			time.Sleep(10 * time.Millisecond)
		}
		return nil
	})
	done := make(chan error)
	for range 10 {
		go func() { done <- i.Identify(t.Context(), request(), "old", false) }()
	}
	for range 10 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := renewed.Load(); n != 1 {
		t.Errorf("%d renewals", n)
	}
}

// TestNothingWaitsForAFunction: while a call of one identity is stuck, nothing that is about another waits for it.
func TestNothingWaitsForAFunction(t *testing.T) {
	for _, name := range []string{"Get", "Set", "Flow", "Discovery", "Log"} {
		t.Run(name, func(t *testing.T) {
			stuck, over := make(chan struct{}), make(chan struct{})
			var first atomic.Bool
			i, _ := open(t, func(called string) error {
				if called == name && first.CompareAndSwap(false, true) {
					close(stuck)
					<-over
				}
				if called == "Set" && name == "Log" {
					return keystore.ErrLocked
				}
				return nil
			})
			ended := make(chan error, 1)
			go func() {
				r := request()
				if name == "Discovery" {
					r.Enterprise = nil
					if err := i.Find(t.Context(), r); err != nil {
						ended <- err
						return
					}
				}
				ended <- i.Identify(t.Context(), r, "old", false)
			}()
			<-stuck

			done := make(chan struct{})
			go func() {
				defer close(done)
				r := request()
				r.Registration.Enterprise.TokenEndpoint = issuer + "/token"
				if err := errors.Join(i.Find(t.Context(), r), i.Identify(t.Context(), r, "good", false)); err != nil {
					t.Error(err)
				}
				i.OpensPage(t.Context(), r.Registration, "good")
				i.OpensPage(t.Context(), r.Registration, "old")
				r.Registration.Enterprise.IDToken = secret.New("another")
				i.Disowned(t.Context(), r.Registration, "good", &oauthflow.Error{Step: oauthflow.StepEnterprise, Code: "invalid_grant"})
				i.Forget(t.Context(), ledger.Record{}, client.Client{})
			}()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Error("something waits")
			}
			close(over)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
