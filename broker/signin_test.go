package broker

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/quirk"
)

func TestSignInAsksAndGivesNobodyConsent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		h.person = yes("", "files:read")
		h.open()
		defer func() { h.broker.Close() }()
		grant, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(grant.Scopes, []string{"files:read"}) || len(grant.Consents) != 0 || grant.State != localapi.StateReady || !grant.Renewable {
			t.Errorf("grant = %+v", grant)
		}
		if q := h.questions()[0]; q.Kind != face.KindSignIn || !q.SignIn || len(q.Scopes) != 2 || q.Scopes[0].Required {
			t.Errorf("question = %+v", q)
		}
		h.person = no
		if _, err := h.token(host("vk")); !errors.Is(err, localapi.ErrConsentDenied) {
			t.Errorf("signing in must not let the program that asked for it have tokens: %v", err)
		}
	})
}

func TestSecondAccount(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		h.world.Account = "bob"
		if _, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL, Account: "work"}); err != nil {
			t.Fatal(err)
		}
		if grants, _ := h.broker.Grants(t.Context(), nil); len(grants.Grants) != 2 {
			t.Fatalf("grants = %+v", grants.Grants)
		}
		if h.issuer.Count("/register") != 1 {
			t.Error("the registration was not used for the second account")
		}
		mine := h.mustToken(host("claude"))
		work, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Account: "work"})
		if err != nil || mine.Account != "default" || work.Account != "work" {
			t.Fatalf("accounts %q and %q, err %v", mine.Account, work.Account, err)
		}
		if access, ok := h.issuer.Inspect(work.AccessToken.Reveal()); !ok || access.Account != "bob" {
			t.Errorf("the token is for %+v", access)
		}
	})
}

func TestHostsThatWantASignInAtOnceShareIt(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		var wg sync.WaitGroup
		for _, name := range []string{"claude", "cursor", "codex"} {
			wg.Go(func() {
				if token, err := h.token(host(name)); err != nil || h.good(token) != 200 {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wg.Wait()
		if h.browsers != 1 {
			t.Errorf("%d browsers, want 1", h.browsers)
		}
	})
}

// TestAbandonedSignIn runs on the real clock: a bubble's stands still while the listener for the browser is open.
func TestAbandonedSignIn(t *testing.T) {
	h := newHouse(t)
	var reopened []string
	h.config = func(c *Config) {
		c.OpenURL = func(_ context.Context, url string) error { reopened = append(reopened, url); return nil }
	}
	h.open()
	defer func() { h.broker.Close() }()
	h.issuer.Fault("/authorize", oauthtest.Hang())
	done := make(chan error, 1)
	go func() { _, err := h.token(host("claude")); done <- err }()
	var in []face.SignIn
	for len(in) == 0 || in[0].URL == "" {
		time.Sleep(time.Millisecond)
		in = h.broker.State().SignIns
	}
	if in[0].Host != "claude" || in[0].Server != serverURL || !strings.HasPrefix(in[0].URL, issuerID) {
		t.Errorf("sign-in = %+v", in[0])
	}
	if err := h.broker.Wish(t.Context(), face.WishOpenURL{ID: in[0].ID}); err != nil || !slices.Equal(reopened, []string{in[0].URL}) {
		t.Errorf("opened again: %v (%v)", reopened, err)
	}
	if err := h.broker.Wish(t.Context(), face.WishCancel{ID: in[0].ID}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, localapi.ErrSignInRequired) {
		t.Errorf("err = %v", err)
	}
	h.issuer.Fault("/authorize", nil)
	h.mustToken(host("claude"))
}

func TestConsentOutlivesTheHostThatHungUp(t *testing.T) {
	h := newHouse(t).open() // on the real clock, as above
	defer func() { h.broker.Close() }()
	arrived, goOn := make(chan struct{}, 1), make(chan struct{})
	h.issuer.Fault("/authorize", oauthtest.Times(1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		arrived <- struct{}{}
		<-goOn
		next.ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := h.broker.Token(ctx, host("claude"), localapi.TokenRequest{Resource: serverURL})
		done <- err
	}()
	<-arrived
	cancel()
	<-done
	close(goOn)
	for len(h.broker.State().SignIns) > 0 {
		time.Sleep(time.Millisecond)
	}
	h.person = forbidden(t)
	h.mustToken(host("claude"))
}

func TestPersonDeclinesAtTheIssuer(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.world.Decline = true
		if _, err := h.token(host("claude")); !errors.Is(err, localapi.ErrConsentDenied) {
			t.Errorf("err = %v", err)
		}
		if grants, _ := h.broker.Grants(t.Context(), nil); len(grants.Grants) != 0 {
			t.Errorf("grants = %+v", grants.Grants)
		}
	})
}

func TestRunningConsentEndsWithTheProgram(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		h.person = yes(localapi.ModeRunning)
		h.open()
		defer func() { h.broker.Close() }()
		first, second := host("claude"), host("claude")
		second.Host.Instance = "2:claude"
		h.mustToken(first)
		h.mustToken(first)
		if n := len(h.questions()); n != 1 {
			t.Errorf("%d questions while it ran", n)
		}
		h.mustToken(second)
		if n := len(h.questions()); n != 2 {
			t.Error("another run of the program was not asked about")
		}
	})
}

func TestClosedIssuerNeedsAClientID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, oauthtest.StaticClients(demo.Client{ID: "desk-1", RedirectURIs: oauthflow.RedirectURIs()}))
		h.issuer.Metadata(func(doc map[string]any) { delete(doc, "registration_endpoint") })
		h.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
			if q.Kind == face.KindClientID {
				return face.Answer{Answered: true, Allow: true, ClientID: " desk-1 "}, nil
			}
			return always(ctx, q)
		}
		h.open()
		defer func() { h.broker.Close() }()
		h.mustToken(host("claude"))
		q := h.questions()[1]
		if q.Kind != face.KindClientID || q.Issuer != issuerID || !strings.Contains(strings.Join(q.Notes, ""), oauthflow.RedirectURIs()[0]) {
			t.Errorf("question = %+v", q)
		}
		if _, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL}); err != nil {
			t.Fatal(err)
		}
		h.restart()
		asked := len(h.questions())
		h.mustToken(host("claude"))
		if len(h.questions()) != asked+1 {
			t.Error("the client ID was not kept")
		}
	})
}

func TestClientsAreUsedAtTheirOwnIssuerOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, oauthtest.StaticClients(demo.Client{ID: "desk-1", Secret: secret.New("s3cret"), AuthMethod: "client_secret_basic", RedirectURIs: oauthflow.RedirectURIs()})).open()
		defer func() { h.broker.Close() }()
		req := localapi.RegistrationRequest{Resource: serverURL, Sent: client.Send(client.Client{ClientID: "desk-1", Secret: secret.New("s3cret")})}
		h.person = no
		if _, err := h.broker.Register(t.Context(), host("vk"), req); !errors.Is(err, localapi.ErrConsentDenied) {
			t.Fatalf("err = %v", err)
		}
		time.Sleep(2 * time.Minute)
		h.person = always
		if registered, err := h.broker.Register(t.Context(), host("vk"), req); err != nil || registered.Issuer != issuerID {
			t.Fatalf("registered %+v, err %v", registered, err)
		}
		h.mustToken(host("claude"))
		if n := h.issuer.Count("/register"); n != 0 {
			t.Errorf("%d dynamic registrations although there is a client", n)
		}
		other := h.world.AddIssuer("https://login.example.net")
		h.world.AddServer("https://tools.example.org/mcp", other.ID())
		if _, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: "https://tools.example.org/mcp"}); err != nil {
			t.Fatal(err)
		}
		for _, r := range slices.Concat(other.Requests("/authorize"), other.Requests("/token")) {
			if r.Get("client_id") == "desk-1" {
				t.Error("a client went to another issuer")
			}
		}
		if _, err := h.broker.Register(t.Context(), host("vk"), localapi.RegistrationRequest{Resource: serverURL, Sent: client.Send(client.Client{Issuer: other.ID(), ClientID: "x"})}); !errors.Is(err, localapi.ErrBadRequest) {
			t.Errorf("an issuer the server does not name: err = %v", err)
		}
	})
}

func TestSeveralIssuers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		second := h.world.AddIssuer("https://login.example.net")
		third := h.world.AddIssuer("https://id.example.org", oauthtest.ClientDocuments())
		h.world.AddServer("https://two.example.com/mcp", "https://broken.example", second.ID())
		h.world.AddServer("https://three.example.com/mcp", second.ID(), third.ID())
		h.world.AddServer("https://four.example.com/mcp", third.ID(), issuerID)
		h.open()
		defer func() { h.broker.Close() }()
		for _, test := range []struct{ url, want, why string }{
			{"https://two.example.com/mcp", second.ID(), "the first that answers"},
			{"https://four.example.com/mcp", third.ID(), "one that takes a metadata document"},
			{"https://three.example.com/mcp", second.ID(), "one with a sign-in"},
		} {
			token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: test.url})
			if err != nil || token.Issuer != test.want {
				t.Errorf("%s: issuer %+v, want %s: %s (%v)", test.url, token, test.want, test.why, err)
			}
		}
	})
}

func TestServerUnderAnotherAddress(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.world.AddServer("https://mcp.example.com/mcp/v2", issuerID).Metadata(func(doc map[string]any) { doc["resource"] = serverURL })
		h.mustToken(host("claude"))
		h.person = forbidden(t)
		token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: "https://mcp.example.com/mcp/v2"})
		if err != nil || token.Resource != serverURL || h.browsers != 1 {
			t.Errorf("token %+v, %d browsers, err %v", token, h.browsers, err)
		}
	})
}

func TestBadRequests(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for _, req := range []localapi.TokenRequest{
			{},
			{Resource: "mcp.example.com"},
			{Resource: "ftp://mcp.example.com"},
			{Resource: "https://user:pass@mcp.example.com"},
			{Resource: "http://mcp.example.com/mcp"},
			{Resource: serverURL, Scopes: []string{"two words"}},
			{Resource: serverURL, Scopes: []string{""}},
			{Resource: serverURL, Scopes: slices.Repeat([]string{"s"}, 201)},
			{Resource: serverURL, MinValidS: -1},
			{Resource: serverURL, Interaction: "maybe"},
			{Resource: serverURL, Refused: "abc"},
			{Resource: serverURL, Account: "a\x1b[31m"},
			{Resource: serverURL, Challenges: slices.Repeat([]string{"Bearer"}, 17)},
		} {
			if _, err := h.broker.Token(t.Context(), host("claude"), req); !errors.Is(err, localapi.ErrBadRequest) {
				t.Errorf("%+v: err = %v", req, err)
			}
		}
		synctest.Wait()
		if len(h.questions()) != 0 {
			t.Error("a bad request reached the person")
		}
	})
}

func TestServersThatCannotBeUsed(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(h *house)
		want  error
		words string
		hint  string
	}{
		{"unreachable", func(h *house) { h.server.Fault("", oauthtest.Dropped()) }, localapi.ErrUnavailable, "", "check the address"},
		{"metadata speaks of another", func(h *house) {
			h.server.Metadata(func(doc map[string]any) { doc["resource"] = "https://evil.example/mcp" })
		}, localapi.ErrDiscovery, "evil.example", "the server's owner"},
		{"issuer says it is another", func(h *house) {
			h.issuer.Metadata(func(doc map[string]any) { doc["issuer"] = "https://evil.example" })
		}, localapi.ErrDiscovery, "evil.example", "the issuer's owner"},
		{"no issuer metadata", func(h *house) { h.issuer.Fault(demo.MetadataPath, oauthtest.Status(404)) }, localapi.ErrDiscovery, "", "RFC 8414"},
		{"no PKCE", func(h *house) {
			h.issuer.Metadata(func(doc map[string]any) { doc["code_challenge_methods_supported"] = []string{"plain"} })
		}, localapi.ErrDiscovery, "PKCE", "PKCE"},
		{"no issuer", func(h *house) {
			h.server.Metadata(func(doc map[string]any) { delete(doc, "authorization_servers") })
		}, localapi.ErrDiscovery, "", "the server's owner"},
		{"token endpoint down", func(h *house) { h.issuer.Fault("/token", oauthtest.Status(502)) }, localapi.ErrUnavailable, "", "try again"},
		{"registration refused", func(h *house) {
			h.issuer.Fault("/register", oauthtest.OAuthError(400, "invalid_redirect_uri", "no loopback here"))
		}, localapi.ErrIssuer, "no loopback here", "the issuer's words"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHouse(t)
				test.spoil(h)
				h.open()
				defer func() { h.broker.Close() }()
				_, err := h.token(host("claude"))
				var e *localapi.Error
				if !errors.Is(err, test.want) || !errors.As(err, &e) || !strings.Contains(e.Message, test.words) || !strings.Contains(e.Hint, test.hint) {
					t.Errorf("err = %v (%+v), want %v with %q and the hint %q", err, e, test.want, test.words, test.hint)
				}
				if grants, _ := h.broker.Grants(t.Context(), nil); len(grants.Grants) != 0 {
					t.Errorf("grants = %+v", grants.Grants)
				}
			})
		})
	}
}

// TestNextSignInWhileConsentsAreKept: a sign-in that begins while the last one's consents are being written is another one,
// and the end of the last is not its end. On the real clock, as above.
func TestNextSignInWhileConsentsAreKept(t *testing.T) {
	h := newHouse(t)
	g := &gate{closed: "consents", reached: make(chan struct{}), opened: make(chan struct{})}
	h.store = consentsAt{keystore.NewMemory(), g}
	h.open()
	defer func() { h.broker.Close() }()
	done := make(chan error, 1)
	go func() { _, err := h.token(host("claude")); done <- err }()
	<-g.reached
	h.issuer.Fault("/authorize", oauthtest.Hang())
	go func() {
		_, err := h.broker.SignIn(t.Context(), host("vk"), localapi.SignInRequest{Resource: serverURL})
		done <- err
	}()
	var next []face.SignIn
	for len(next) == 0 || next[0].URL == "" {
		time.Sleep(time.Millisecond)
		next = h.broker.State().SignIns
	}
	close(g.opened)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if in := h.broker.State().SignIns; len(in) != 1 || in[0].ID != next[0].ID {
		t.Errorf("under way are %+v, want %+v", in, next)
	}
	if err := h.broker.Wish(t.Context(), face.WishCancel{ID: next[0].ID}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, localapi.ErrSignInRequired) {
		t.Errorf("cancelled: %v", err)
	}
}

// consentsAt is a keychain that stands at a gate before it writes a grant with consents.
type consentsAt struct {
	*keystore.Memory
	*gate
}

func (s consentsAt) Set(ctx context.Context, name string, value []byte) error {
	if bytes.Contains(value, []byte(`"consents":[{`)) {
		s.pass("consents")
	}
	return s.Memory.Set(ctx, name, value)
}

// TestNobodyWaitsForAFormerIssuer: the old issuer takes its time to revoke, and the new grant can be changed meanwhile.
func TestNobodyWaitsForAFormerIssuer(t *testing.T) {
	h := newHouse(t).open()
	defer func() { h.broker.Close() }()
	first := h.mustToken(host("claude"))
	other := h.world.AddIssuer("https://login.example.net")
	h.server.Metadata(func(doc map[string]any) { doc["authorization_servers"] = []string{other.ID()} })
	g := &gate{closed: "revoke", reached: make(chan struct{}), opened: make(chan struct{})}
	h.issuer.Fault("/revoke", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		g.pass("revoke")
		next.ServeHTTP(w, r)
	})
	done := make(chan error, 1)
	go func() {
		_, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{
			Resource: serverURL, Refused: first.AccessToken.SHA256(), Challenges: []string{`Bearer resource_metadata="` + h.server.MetadataURL() + `"`},
		})
		done <- err
	}()
	<-g.reached
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := h.broker.Wish(ctx, face.WishAccept{Resource: serverURL, Name: quirk.Unchecked}); err != nil {
		t.Error(err)
	}
	close(g.opened)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
