package oauthflow

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
)

// Algorithm 4 of the checklist: pre-registered, document, earlier dynamic, dynamic.
func TestRegistrationOrder(t *testing.T) {
	mine := client.Client{Issuer: issuerID, ClientID: "mine", Source: client.SourcePreRegistered}
	earlier := client.Client{Issuer: issuerID, ClientID: "dyn-earlier", Source: client.SourceDynamic, RedirectURIs: RedirectURIs()}
	elsewhere := earlier
	elsewhere.Issuer = "https://other.example.com"
	expired := earlier
	expired.SecretExpiry = time.Now().Add(-time.Second)
	for _, c := range []struct {
		name      string
		have      client.Client
		document  bool // we have one
		documents bool // the issuer takes them
		want      string
	}{
		{"pre-registered first", mine, true, true, "mine"},
		{"document before earlier", earlier, true, true, documentURL},
		{"document not supported", earlier, true, false, "dyn-earlier"},
		{"no document", earlier, false, true, "dyn-earlier"},
		{"another issuer's", elsewhere, false, false, ""},
		{"expired", expired, false, false, ""},
		{"document that is no more", client.Client{Issuer: issuerID, ClientID: documentURL, Source: client.SourceDocument}, false, true, ""},
		{"none", client.Client{}, false, false, ""},
		{"no source means the person's own", client.Client{Issuer: issuerID, ClientID: "mine"}, true, true, "mine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := New(Config{})
			if c.document {
				f.cfg.ClientMetadataURL = documentURL
			}
			got, err := f.known(Request{Registration: c.have, Issuer: &discovery.Issuer{ID: issuerID, ClientMetadataDocuments: c.documents}})
			if err != nil || got.ClientID != c.want {
				t.Errorf("%q, %v; want %q", got.ClientID, err, c.want)
			}
			if got.ClientID != "" && got.Issuer != issuerID {
				t.Errorf("issuer %q", got.Issuer)
			}
		})
	}
}

func TestMetadataDocument(t *testing.T) {
	r := newRig(t, oauthtest.ClientDocuments())
	r.world.Handle("https://valetkey.example.com", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{
			"client_id": documentURL, "client_name": "Valet Key", "redirect_uris": RedirectURIs(), "token_endpoint_auth_method": "none",
			"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		})
	}))
	r.cfg.ClientMetadataURL, r.req.Issuer.ClientMetadataDocuments = documentURL, true
	reg, tokens := r.signIn()
	if reg.Source != client.SourceDocument || reg.ClientID != documentURL || reg.AuthMethod != "none" || tokens.Refresh.Empty() || r.issuer.Count(demo.RegisterPath) != 0 {
		t.Errorf("registration %+v", reg)
	}
}

func TestAskClient(t *testing.T) {
	static := demo.Client{ID: "by-hand", Secret: secret.New("given"), RedirectURIs: RedirectURIs()}
	answer := func(reg client.Client, err error) func(context.Context, string) (client.Client, error) {
		return func(_ context.Context, issuer string) (client.Client, error) {
			if issuer != issuerID {
				t.Errorf("asked for %s", issuer)
			}
			return reg, err
		}
	}
	no := errors.New("the person said no")
	for _, c := range []struct {
		name     string
		endpoint bool // there is one, and it is closed
		ask      func(context.Context, string) (client.Client, error)
		want     error
	}{
		{"no endpoint", false, answer(client.Client{ClientID: "by-hand", Secret: secret.New("given")}, nil), nil},
		{"closed endpoint", true, answer(client.Client{ClientID: "by-hand", Secret: secret.New("given")}, nil), nil},
		{"nobody to ask", true, nil, ErrNoRegistration},
		{"nobody to ask, no endpoint", false, nil, ErrNoRegistration},
		{"a no", false, answer(client.Client{}, no), no},
		{"nothing", true, answer(client.Client{}, nil), ErrNoRegistration},
		{"another issuer's", true, answer(client.Client{Issuer: "https://other.example.com", ClientID: "x"}, nil), ErrNoRegistration},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, oauthtest.StaticClients(static))
			if c.endpoint {
				r.issuer.Fault(demo.RegisterPath, oauthtest.OAuthError(403, "access_denied", "closed"))
			} else {
				r.req.Issuer.RegistrationEndpoint = ""
			}
			r.req.AskClient = c.ask
			reg, _, err := r.flow().SignIn(t.Context(), r.req)
			if c.want != nil {
				if !errors.Is(err, c.want) || !errors.Is(err, ErrNoRegistration) || r.issuer.Count(demo.AuthorizePath) != 0 {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || reg.Issuer != issuerID || reg.Source != client.SourcePreRegistered || reg.AuthMethod != methodBasic {
				t.Errorf("%+v, %v", reg, err)
			}
		})
	}
}

func TestRegistrationRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault oauthtest.FaultFunc
		is    error
		code  string
	}{
		{"metadata", oauthtest.OAuthError(400, "invalid_client_metadata", "no \u202esuch\nthing"), nil, "invalid_client_metadata"},
		{"statement", oauthtest.OAuthError(400, "invalid_software_statement", "x"), nil, "invalid_software_statement"},
		{"away", oauthtest.Status(503), ErrUnavailable, ""},
		{"too many", oauthtest.Status(429), ErrUnavailable, ""},
		{"lost", oauthtest.Lost(), ErrUnavailable, ""},
		{"no JSON", oauthtest.Body("<html>"), nil, ""},
		{"no client ID", oauthtest.Body(`{"client_name":"x"}`), nil, ""},
		{"huge", oauthtest.Body(`{"client_id":"` + strings.Repeat("x", 2<<20) + `"}`), nil, ""},
		{"long client ID", oauthtest.Body(`{"client_id":"` + strings.Repeat("x", 3000) + `"}`), nil, ""},
		{"a method that we lack", oauthtest.Body(`{"client_id":"x","token_endpoint_auth_method":"tls_client_auth"}`), ErrNoRegistration, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.issuer.Fault(demo.RegisterPath, c.fault)
			_, _, err := r.flow().SignIn(t.Context(), r.req)
			var refused *Error
			if err == nil || c.is != nil && !errors.Is(err, c.is) || errors.As(err, &refused) && refused.Code != c.code {
				t.Errorf("%v", err)
			}
			if refused != nil && strings.ContainsAny(refused.description, "\u202e\n") {
				t.Errorf("description %q", refused.description)
			}
			if n := r.issuer.Count(demo.AuthorizePath); n != 0 || len(r.urls) != 0 {
				t.Error("a browser was opened")
			}
		})
	}
}

// An issuer that takes no IP addresses is asked once more with the name.
func TestLocalhostSpelling(t *testing.T) {
	r := newRig(t)
	r.issuer.Fault(demo.RegisterPath, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if strings.Contains(string(r.issuer.Seen(demo.RegisterPath)[r.issuer.Count(demo.RegisterPath)-1].Body), "127.0.0.1") {
			oauthtest.OAuthError(400, "invalid_redirect_uri", "no addresses")(w, req, next)
			return
		}
		next.ServeHTTP(w, req)
	})
	reg, _ := r.signIn()
	if r.issuer.Count(demo.RegisterPath) != 2 || !slices.Contains(reg.RedirectURIs, "http://localhost:23517/callback") {
		t.Errorf("%q", reg.RedirectURIs)
	}
	if uri := r.page(0).Get("redirect_uri"); !strings.HasPrefix(uri, "http://localhost:") {
		t.Errorf("redirect_uri %s", uri)
	}
	// And from then on that registration is used again.
	r.req.Registration = reg
	again, _ := r.signIn()
	if again.ClientID != reg.ClientID || r.issuer.Count(demo.RegisterPath) != 2 {
		t.Error("registered again")
	}
}

func TestSecretWanted(t *testing.T) {
	r := newRig(t, oauthtest.AuthMethod(methodPost))
	r.req.Issuer.AuthMethods = []string{"private_key_jwt", methodPost}
	r.issuer.Fault(demo.RegisterPath, func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		if all := r.issuer.Requests(demo.RegisterPath); all[len(all)-1].Get("token_endpoint_auth_method") == "none" {
			oauthtest.OAuthError(400, "invalid_client_metadata", "no public clients")(w, req, next)
			return
		}
		next.ServeHTTP(w, req)
	})
	if reg, _ := r.signIn(); reg.AuthMethod != methodPost || reg.Secret.Empty() {
		t.Errorf("%+v", reg)
	}
}

// REG-19: an earlier registration the issuer forgot is made anew, once; the person signs in on a second page.
func TestForgottenRegistration(t *testing.T) {
	r := newRig(t)
	reg, _ := r.signIn()
	r.req.Registration = reg
	r.issuer.Fault(demo.TokenPath, oauthtest.Times(1, oauthtest.OAuthError(401, "invalid_client", "who?")))
	fresh, tokens := r.signIn()
	if fresh.ClientID == reg.ClientID || tokens.Access.Empty() || r.issuer.Count(demo.RegisterPath) != 2 || len(r.urls) != 3 {
		t.Errorf("registrations %d, pages %d", r.issuer.Count(demo.RegisterPath), len(r.urls))
	}

	r.req.Registration = fresh
	r.issuer.Fault(demo.TokenPath, oauthtest.OAuthError(401, "invalid_client", "who?"))
	_, _, err := r.flow().SignIn(t.Context(), r.req)
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != "invalid_client" || r.issuer.Count(demo.RegisterPath) != 3 || len(r.urls) != 5 {
		t.Errorf("%v; registrations %d, pages %d", err, r.issuer.Count(demo.RegisterPath), len(r.urls))
	}
}

// A pre-registered client is the person's own: nothing is put in its place.
func TestForgottenPreRegistered(t *testing.T) {
	r := newRig(t, oauthtest.StaticClients(demo.Client{ID: "mine", RedirectURIs: RedirectURIs()}))
	r.req.Registration = client.Client{Issuer: issuerID, ClientID: "mine", Source: client.SourcePreRegistered}
	r.issuer.Fault(demo.TokenPath, oauthtest.OAuthError(401, "invalid_client", "who?"))
	if _, _, err := r.flow().SignIn(t.Context(), r.req); err == nil || r.issuer.Count(demo.RegisterPath) != 0 || len(r.urls) != 1 {
		t.Errorf("%v", err)
	}
}

// busy takes a port for the length of the test; false when another program has it already, which is as good.
func busy(t *testing.T, address string) {
	if l, err := net.Listen("tcp", address); err == nil {
		t.Cleanup(func() { l.Close() })
	}
}

// With every standard port taken, a registration that compares ports is made anew for the port that was free.
func TestAllPortsTaken(t *testing.T) {
	r := newRig(t, oauthtest.ExactRedirects())
	reg, _ := r.signIn()
	for _, p := range standardPlaces() {
		busy(t, p.address())
	}
	r.req.Registration = reg
	fresh, _ := r.signIn()
	if fresh.ClientID == reg.ClientID || r.issuer.Count(demo.RegisterPath) != 2 {
		t.Errorf("%q", fresh.RedirectURIs)
	}
}

func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		uri  string
		want place
		ok   bool
	}{
		{"http://127.0.0.1:1234/cb", place{"127.0.0.1", 1234, "/cb"}, true},
		{"http://127.0.0.1/cb", place{"127.0.0.1", 0, "/cb"}, true},
		{"http://[::1]:1234/", place{"[::1]", 1234, "/"}, true},
		{"http://localhost:1234", place{"localhost", 1234, ""}, true},
		{"https://127.0.0.1:1234/cb", place{}, false},
		{"http://192.168.1.1:1234/cb", place{}, false},
		{"http://0.0.0.0:1234/cb", place{}, false},
		{"http://example.com/cb", place{}, false},
		{"http://user@127.0.0.1:1/cb", place{}, false},
		{"http://127.0.0.1:1/cb?x=1", place{}, false},
		{"http://127.0.0.1:99999/cb", place{}, false},
		{"com.example.app:/cb", place{}, false},
		{"%", place{}, false},
	} {
		if got, ok := parsePlace(c.uri); ok != c.ok || got != c.want {
			t.Errorf("%s: %v, %v", c.uri, got, ok)
		}
	}
}

// A pre-registered client that is tied to an address of its own is served there.
func TestRegisteredElsewhere(t *testing.T) {
	for _, uri := range []string{"http://127.0.0.1/elsewhere", "http://localhost/elsewhere", "http://[::1]/elsewhere"} {
		t.Run(uri, func(t *testing.T) {
			if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
				l.Close()
			} else if strings.Contains(uri, "::1") {
				t.Skip("no IPv6 here")
			}
			reg := client.Client{ClientID: "mine", RedirectURIs: []string{uri}}
			cb, err := listen(t.Context(), reg)
			if err != nil {
				t.Fatal(err)
			}
			defer cb.close()
			p := &pending{}
			cb.expect(p, reg)
			host, _, _ := strings.Cut(strings.TrimPrefix(uri, "http://"), "/")
			if !strings.HasPrefix(p.redirectURI, "http://"+host+":") || !strings.HasSuffix(p.redirectURI, "/elsewhere") {
				t.Errorf("%s became %s", uri, p.redirectURI)
			}
		})
	}
}

func TestAuthMethod(t *testing.T) {
	with, without := secret.New("s"), secret.Text{}
	for _, c := range []struct {
		said   string
		secret secret.Text
		listed []string
		want   string
		fails  bool
	}{
		{"", without, nil, methodNone, false},
		{"", with, nil, methodBasic, false},
		{"", with, []string{methodPost}, methodPost, false},
		{"", with, []string{methodPost, methodBasic}, methodBasic, false},
		{"", without, []string{methodPost}, methodNone, false},
		{methodNone, with, []string{methodPost}, methodNone, false}, // a secret that came unasked stays here
		{methodPost, with, nil, methodPost, false},
		{methodPost, with, []string{methodBasic}, methodBasic, false},
		{methodBasic, with, []string{methodPost}, methodPost, false},
		{methodBasic, without, nil, "", true},
		{"private_key_jwt", with, nil, "", true},
	} {
		got, err := authMethod(client.Client{AuthMethod: c.said, Secret: c.secret}, &discovery.Issuer{ID: issuerID, AuthMethods: c.listed})
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%q, secret %v, listed %q: %q, %v", c.said, !c.secret.Empty(), c.listed, got, err)
		}
	}
}
