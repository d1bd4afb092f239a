package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/outbound"
	"github.com/valetkey/valetkey/peer"
)

const (
	issuerID  = "https://issuer.example.com"
	serverURL = "https://mcp.example.com/mcp"
)

// house is one Broker in an Internet in memory, with a person who answers by a function.
type house struct {
	t      *testing.T
	world  *oauthtest.World
	issuer *oauthtest.Issuer
	server *oauthtest.Server
	store  keystore.Store
	broker *Broker

	mu       sync.Mutex
	asked    []face.Question
	browsers int
	person   func(ctx context.Context, q face.Question) (face.Answer, error)
	config   func(*Config)
}

func newHouse(t *testing.T, opts ...oauthtest.IssuerOption) *house {
	h := &house{t: t, world: oauthtest.NewWorld(t), store: keystore.NewMemory(), person: always}
	h.issuer = h.world.AddIssuer(issuerID, append([]oauthtest.IssuerOption{oauthtest.AccessTTL(time.Hour)}, opts...)...)
	h.server = h.world.AddServer(serverURL, issuerID)
	return h
}

// open starts the Broker; again after a restart.
func (h *house) open() *house {
	h.t.Helper()
	out := outbound.New(outbound.Config{Base: h.world.RoundTripper()})
	cfg := Config{
		Store: h.store, Discovery: discovery.New(discovery.Config{HTTP: out.For}),
		Flow: func(onPage func(oauthflow.Request, oauthflow.Page)) *oauthflow.Flow {
			return oauthflow.New(oauthflow.Config{HTTP: out.For, OnPage: onPage, ClientName: "Valet Key", Open: func(ctx context.Context, url string) error {
				h.mu.Lock()
				h.browsers++
				h.mu.Unlock()
				return h.world.Browser(ctx, url)
			}})
		},
		OpenURL: func(context.Context, string) error { return nil },
		Ask: func(ctx context.Context, q face.Question) (face.Answer, error) {
			h.mu.Lock()
			h.asked = append(h.asked, q)
			person := h.person
			h.mu.Unlock()
			return person(ctx, q)
		},
	}
	if h.config != nil {
		h.config(&cfg)
	}
	b, err := Open(h.t.Context(), cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	h.broker = b
	return h
}

func (h *house) restart() {
	h.broker.Close()
	h.open()
}

func (h *house) questions() []face.Question {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

// the person's ways

func yes(mode string, only ...string) func(context.Context, face.Question) (face.Answer, error) {
	return func(_ context.Context, q face.Question) (face.Answer, error) {
		a := face.Answer{Answered: true, Allow: true, Mode: mode}
		for _, s := range q.Scopes {
			if len(only) == 0 || slices.Contains(only, s.Name) {
				a.Scopes = append(a.Scopes, s.Name)
			}
		}
		return a, nil
	}
}

var always = yes(localapi.ModeAlways)

func no(context.Context, face.Question) (face.Answer, error) {
	return face.Answer{Answered: true}, nil
}

func silent(ctx context.Context, _ face.Question) (face.Answer, error) {
	<-ctx.Done()
	return face.Answer{}, nil
}

func forbidden(t *testing.T) func(context.Context, face.Question) (face.Answer, error) {
	return func(_ context.Context, q face.Question) (face.Answer, error) {
		t.Errorf("the person was asked: %s %q", q.Kind, q.Why)
		return face.Answer{}, nil
	}
}

func host(name string) *peer.Peer {
	return &peer.Peer{Host: peer.Host{Key: "exe:/usr/bin/" + name, Base: "exe:/usr/bin/" + name, Name: name, Level: peer.SystemPath, Instance: "1:" + name}}
}

func (h *house) token(from *peer.Peer, scopes ...string) (*localapi.Token, error) {
	return h.broker.Token(h.t.Context(), from, localapi.TokenRequest{Resource: serverURL, Scopes: scopes})
}

func (h *house) mustToken(from *peer.Peer, scopes ...string) *localapi.Token {
	h.t.Helper()
	token, err := h.token(from, scopes...)
	if err != nil {
		h.t.Fatalf("token for %s: %v", from.Host.Name, err)
	}
	return token
}

// refreshes counts the refreshes that reached the issuer.
func (h *house) refreshes() int {
	n := 0
	for _, r := range h.issuer.Requests("/token") {
		if r.Get("grant_type") == "refresh_token" {
			n++
		}
	}
	return n
}

// good reports what the server says of a token.
func (h *house) good(token *localapi.Token) int {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, serverURL, strings.NewReader("{}"))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken.Reveal())
	resp, err := (&http.Client{Transport: h.world.RoundTripper()}).Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// bubble runs f with a clock that jumps over waits.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// inHouse runs f in a bubble, with a Broker that is open and a person who always says yes.
func inHouse(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		h := newHouse(t).open()
		defer func() { h.broker.Close() }() // the last one, after restarts
		f(t, h)
	})
}

func TestFirstTokenAsksOnceAndSignsInOnce(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		token := h.mustToken(host("claude"))
		if token.Resource != serverURL || token.Issuer != issuerID || token.Account != "default" || token.TokenType != "Bearer" {
			t.Errorf("token = %+v", token)
		}
		if got := h.good(token); got != http.StatusOK {
			t.Errorf("the server answered %d to the token", got)
		}
		q := h.questions()[0]
		if q.Kind != face.KindConsent || !q.SignIn || q.Host.Name != "claude" || q.Issuer != issuerID || len(q.Scopes) == 0 {
			t.Errorf("question = %+v", q)
		}
		again := h.mustToken(host("claude"))
		if !again.AccessToken.Equal(token.AccessToken) || len(h.questions()) != 1 || h.browsers != 1 {
			t.Errorf("the second request asked %d questions and opened %d browsers", len(h.questions()), h.browsers)
		}

		other := h.mustToken(host("cursor"))
		if len(h.questions()) != 2 || h.questions()[1].SignIn || h.browsers != 1 {
			t.Error("the second host must need a consent and nothing else")
		}
		if h.good(other) != http.StatusOK {
			t.Error("the second host's token is no good")
		}
	})
}

func TestResourceParameterEverywhere(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		time.Sleep(2 * time.Hour)
		h.mustToken(host("claude"))
		for _, path := range []string{"/authorize", "/token"} {
			for _, r := range h.issuer.Requests(path) {
				if path == "/authorize" && r.Get("client_id") == "" {
					continue // the form the browser posts back
				}
				if got := r["resource"]; !slices.Equal(got, []string{serverURL}) {
					t.Errorf("%s was sent resource=%q", path, got)
				}
			}
		}
		if h.refreshes() != 1 {
			t.Errorf("%d refreshes, want 1", h.refreshes())
		}
	})
}

func TestRestartNeedsNoBrowser(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, oauthtest.RefreshTTL(30*24*time.Hour)).open()
		first := h.mustToken(host("claude"))
		for day := range 5 {
			time.Sleep(24 * time.Hour)
			h.restart()
			h.person = forbidden(t)
			token := h.mustToken(host("claude"))
			if token.AccessToken.Equal(first.AccessToken) || h.good(token) != http.StatusOK {
				t.Errorf("day %d: the token is not fresh", day)
			}
		}
		h.broker.Close()
		if h.browsers != 1 {
			t.Errorf("%d browsers, want 1", h.browsers)
		}
	})
}

func TestThousandAskersAtExpiryRefreshOnce(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		time.Sleep(2 * time.Hour)
		h.issuer.Fault("/token", oauthtest.Slow(time.Second))
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if _, err := h.token(host("claude")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if h.refreshes() != 1 {
			t.Errorf("%d refreshes, want exactly 1", h.refreshes())
		}
	})
}

func TestHangingUpLosesNoRotatedToken(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		time.Sleep(2 * time.Hour)
		h.issuer.Fault("/token", oauthtest.Times(1, oauthtest.SlowAnswer(10*time.Second)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		h.broker.Token(ctx, host("claude"), localapi.TokenRequest{Resource: serverURL})
		time.Sleep(time.Minute)
		h.restart() // what counts is in the keychain
		time.Sleep(2 * time.Hour)
		h.person = forbidden(t)
		if token := h.mustToken(host("claude")); h.good(token) != http.StatusOK {
			t.Error("the token is no good")
		}
	})
}

func TestAgeingTokenIsServedWhileItIsRenewed(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.mustToken(host("claude"))
		time.Sleep(50 * time.Minute)
		if !h.mustToken(host("claude")).AccessToken.Equal(first.AccessToken) {
			t.Error("the request waited for a refresh although the token had ten minutes to live")
		}
		synctest.Wait()
		if h.mustToken(host("claude")).AccessToken.Equal(first.AccessToken) || h.refreshes() != 1 {
			t.Errorf("the token was not renewed ahead (%d refreshes)", h.refreshes())
		}
	})
}

func TestMinValid(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		time.Sleep(35 * time.Minute)
		token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, MinValidS: 1700})
		if err != nil || time.Until(token.ExpiresAt) < 1700*time.Second || h.refreshes() != 1 {
			t.Errorf("token lives %v, %d refreshes, err %v", time.Until(token.ExpiresAt), h.refreshes(), err)
		}
		// More than the issuer ever gives must not refresh at every call.
		for range 3 {
			if _, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, MinValidS: 86400}); err != nil {
				t.Fatal(err)
			}
		}
		if h.refreshes() != 1 {
			t.Errorf("%d refreshes, want 1", h.refreshes())
		}
	})
}

func TestIssuerEndsTheSignIn(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		time.Sleep(2 * time.Hour)
		h.issuer.Fault("/token", oauthtest.Times(1, oauthtest.OAuthError(400, "invalid_grant", "gone")))
		_, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionNone})
		if !errors.Is(err, localapi.ErrSignInRequired) {
			t.Fatalf("err = %v, want sign-in required", err)
		}
		grants, _ := h.broker.Grants(t.Context(), nil)
		if g := grants.Grants[0]; g.State != localapi.StateSignIn || g.Problem == "" || g.Renewable || len(g.Consents) != 1 {
			t.Errorf("grant = %+v", g)
		}
		registrations := h.issuer.Count("/register")
		token := h.mustToken(host("claude"))
		if h.good(token) != http.StatusOK || h.browsers != 2 {
			t.Errorf("signing in again: %d browsers", h.browsers)
		}
		if last := h.questions()[len(h.questions())-1]; last.Kind != face.KindSignIn {
			t.Errorf("asked %s, want %s: the consent still holds", last.Kind, face.KindSignIn)
		}
		if h.issuer.Count("/register") != registrations {
			t.Error("the registration was not kept")
		}
	})
}

func TestIssuerAwayCostsNothing(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		h.person = forbidden(t)
		time.Sleep(50 * time.Minute)
		h.issuer.Fault("/token", oauthtest.Status(http.StatusServiceUnavailable))
		h.mustToken(host("claude")) // still good, although renewing ahead fails
		synctest.Wait()
		time.Sleep(time.Hour)
		_, err := h.token(host("claude"))
		if !errors.Is(err, localapi.ErrUnavailable) {
			t.Fatalf("err = %v, want unavailable", err)
		}
		if grants, _ := h.broker.Grants(t.Context(), nil); grants.Grants[0].State != localapi.StateUnavailable {
			t.Errorf("state = %s", grants.Grants[0].State)
		}
		h.issuer.Fault("/token", nil)
		if h.good(h.mustToken(host("claude"))) != http.StatusOK {
			t.Error("the token is no good")
		}
		if grants, _ := h.broker.Grants(t.Context(), nil); grants.Grants[0].State != localapi.StateReady {
			t.Errorf("state = %s", grants.Grants[0].State)
		}
	})
}

func TestLivingTokenIsServedWhenTheIssuerIsAway(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.mustToken(host("claude"))
		time.Sleep(35 * time.Minute)
		h.issuer.Fault("/token", oauthtest.Status(http.StatusServiceUnavailable))
		token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, MinValidS: 1700})
		if err != nil || !token.AccessToken.Equal(first.AccessToken) {
			t.Errorf("token %v, err %v: less than was asked for is better than nothing", token, err)
		}
	})
}

func TestEachHostGetsWhatItWasAllowed(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"), "read", "write")
		h.person = yes(localapi.ModeAlways, "read")
		token := h.mustToken(host("cursor"), "read", "write")
		if token.Scope != "read" || h.browsers != 1 {
			t.Errorf("cursor was allowed read and got %q (%d browsers)", token.Scope, h.browsers)
		}
		h.person = forbidden(t)
		if wide := h.mustToken(host("claude")); wide.Scope != "read write" {
			t.Errorf("claude got %q", wide.Scope)
		}
		if one := h.mustToken(host("claude"), "write"); one.Scope != "write" {
			t.Errorf("claude asked for write and got %q", one.Scope)
		}
		if again := h.mustToken(host("cursor")); !again.AccessToken.Equal(token.AccessToken) {
			t.Error("the narrow token is not kept")
		}
	})
}

func TestIssuerThatDoesNotNarrow(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"), "read", "write")
		narrow := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.ParseForm()
			r.Form.Del("scope")
			r.PostForm.Del("scope")
			next.ServeHTTP(w, r)
		}
		h.issuer.Fault("/token", narrow)
		h.person = yes(localapi.ModeAlways, "read")
		h.token(host("cursor"), "read")
		last := h.questions()[len(h.questions())-1]
		if len(last.Scopes) != 2 || !last.Scopes[0].Required || !strings.Contains(last.Why, "does not issue tokens for less") {
			t.Fatalf("question = %+v", last)
		}
		h.person = always // to the wider token
		if token, err := h.token(host("zed"), "read"); err != nil || token.Scope != "read write" {
			t.Errorf("token %+v, err %v", token, err)
		}
		if h.refreshes() > 2 {
			t.Errorf("%d refreshes: the wide token must be kept", h.refreshes())
		}
	})
}

func TestStepUp(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.mustToken(host("claude"), "read")
		token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{
			Resource: serverURL, Refused: first.AccessToken.SHA256(),
			Challenges: []string{`Bearer error="insufficient_scope", scope="write", resource_metadata="` + h.server.MetadataURL() + `"`},
		})
		if err != nil {
			t.Fatal(err)
		}
		if token.Scope != "read write" || h.browsers != 2 {
			t.Errorf("scope %q after %d browsers", token.Scope, h.browsers)
		}
		last := h.questions()[len(h.questions())-1]
		if want := (face.Scope{Name: "write", Required: true, New: true, Checked: true}); last.Scopes[0] != want || !last.SignIn {
			t.Errorf("question = %+v", last)
		}
		h.person = forbidden(t)
		if again := h.mustToken(host("claude"), "read"); again.Scope != "read" {
			t.Errorf("scope %q, want what was asked for", again.Scope)
		}
	})
}

// TestStepUpToNothing: a server that wants more and does not say what gets no refresh and no sign-in for it.
func TestStepUpToNothing(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		token := h.mustToken(host("claude"), "read")
		for range 3 {
			again, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{
				Resource: serverURL, Refused: token.AccessToken.SHA256(), Challenges: []string{`Bearer error="insufficient_scope"`},
			})
			if err != nil || !again.AccessToken.Equal(token.AccessToken) {
				t.Fatalf("another token, or none: %v", err)
			}
		}
		if h.refreshes() != 0 || h.browsers != 1 {
			t.Errorf("%d refreshes, %d browsers", h.refreshes(), h.browsers)
		}
	})
}

func TestRefusedToken(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		refuse := func(token *localapi.Token) *localapi.Token {
			t.Helper()
			next, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{
				Resource: serverURL, Refused: token.AccessToken.SHA256(),
				Challenges: []string{`Bearer error="invalid_token", resource_metadata="` + h.server.MetadataURL() + `"`},
			})
			if err != nil {
				t.Fatal(err)
			}
			if next.AccessToken.Equal(token.AccessToken) {
				t.Fatal("the same token again")
			}
			return next
		}
		first := h.mustToken(host("claude"))
		second := refuse(first)
		if h.refreshes() != 1 || h.browsers != 1 {
			t.Errorf("%d refreshes, %d browsers", h.refreshes(), h.browsers)
		}
		if late := refuse(first); !late.AccessToken.Equal(second.AccessToken) || h.refreshes() != 1 {
			t.Error("a second host that reports the same token must get the new one")
		}
		refuse(second) // refreshing did not help: only signing in can
		if h.browsers != 2 || h.refreshes() != 1 {
			t.Errorf("%d browsers, %d refreshes", h.browsers, h.refreshes())
		}
	})
}

// TestServerWantsAnotherSignIn: a token that is good but for how the person signed in leads to a sign-in as the server
// wants it, at once (RFC 9470).
func TestServerWantsAnotherSignIn(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.mustToken(host("claude"))
		token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{
			Resource: serverURL, Refused: first.AccessToken.SHA256(),
			Challenges: []string{`Bearer error="insufficient_user_authentication", acr_values="gold silver", max_age="300"`},
		})
		if err != nil || token.AccessToken.Equal(first.AccessToken) || h.refreshes() != 0 {
			t.Fatalf("token %+v, %d refreshes, %v", token, h.refreshes(), err)
		}
		p := pages(h.issuer)
		if len(p) != 2 || p[0].Has("acr_values") || p[0].Has("max_age") || p[1].Get("acr_values") != "gold silver" || p[1].Get("max_age") != "300" {
			t.Errorf("pages %v", p)
		}
		if last := h.questions()[1]; last.Kind != face.KindSignIn || !strings.Contains(last.Why, "wants you to sign in again") {
			t.Errorf("question %+v", last)
		}
	})
}

// TestIssuersThatGiveLittle: tokens that nobody can read, and no refresh token, are as good as any while they live.
func TestIssuersThatGiveLittle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, oauthtest.Opaque(), oauthtest.NoRefresh()).open()
		defer func() { h.broker.Close() }()
		first := h.mustToken(host("claude"))
		if h.good(first) != http.StatusOK || strings.Contains(first.AccessToken.Reveal(), ".") {
			t.Error("the token is no good, or can be read")
		}
		time.Sleep(2 * time.Hour)
		_, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Interaction: localapi.InteractionNone})
		if !errors.Is(err, localapi.ErrSignInRequired) || h.refreshes() != 0 {
			t.Errorf("err %v, %d refreshes", err, h.refreshes())
		}
		if second := h.mustToken(host("claude")); h.good(second) != http.StatusOK || h.browsers != 2 {
			t.Errorf("%d browsers", h.browsers)
		}
	})
}

// TestIssuerSaysWhenToComeBack: a refresh ahead of time that failed is not tried again before then (RFT-9).
func TestIssuerSaysWhenToComeBack(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.mustToken(host("claude"))
		time.Sleep(50 * time.Minute)
		h.issuer.Fault("/token", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		for range 5 { // over 100 s
			if !h.mustToken(host("claude")).AccessToken.Equal(first.AccessToken) {
				t.Error("another token")
			}
			synctest.Wait()
			time.Sleep(25 * time.Second)
		}
		if h.refreshes() != 1 {
			t.Errorf("%d refreshes, want 1", h.refreshes())
		}
	})
}

func TestServerChangesItsIssuer(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.mustToken(host("claude"))
		other := h.world.AddIssuer("https://login.example.net")
		h.server.Metadata(func(doc map[string]any) { doc["authorization_servers"] = []string{other.ID()} })
		challenge := []string{`Bearer error="invalid_token", resource_metadata="` + h.server.MetadataURL() + `"`}
		token, err := h.broker.Token(t.Context(), host("claude"), localapi.TokenRequest{Resource: serverURL, Refused: first.AccessToken.SHA256(), Challenges: challenge})
		if err != nil {
			t.Fatal(err)
		}
		if token.Issuer != other.ID() {
			t.Errorf("issuer %s", token.Issuer)
		}
		if last := h.questions()[1]; last.Kind != face.KindSignIn || last.Issuer != other.ID() || len(last.Notes) == 0 {
			t.Errorf("the person was shown %+v", last)
		}
		if h.refreshes() != 0 || other.Count("/register") != 1 {
			t.Error("the old refresh token or registration went to the new issuer")
		}
		grants, _ := h.broker.Grants(t.Context(), nil)
		if len(grants.Grants) != 1 || grants.Grants[0].Issuer != other.ID() {
			t.Errorf("grants = %+v", grants.Grants)
		}
	})
}

// TestChallengeWithAnotherAnswer: a server that points to its metadata with any other status may have changed its issuer;
// if not, nothing happens, and not at each answer (CHL-8).
func TestChallengeWithAnotherAnswer(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		first := h.mustToken(host("claude"))
		request := localapi.TokenRequest{Resource: serverURL, Challenges: []string{`Bearer resource_metadata="` + h.server.MetadataURL() + `"`}}
		looked := h.server.Count(oauthtest.ResourcePath)
		for range 5 {
			if token, err := h.broker.Token(t.Context(), host("claude"), request); err != nil || !token.AccessToken.Equal(first.AccessToken) {
				t.Fatalf("token %+v, %v", token, err)
			}
		}
		if n := h.server.Count(oauthtest.ResourcePath) - looked; n != 1 {
			t.Errorf("the metadata was read %d times, want 1", n)
		}
		time.Sleep(time.Minute)
		other := h.world.AddIssuer("https://login.example.net")
		h.server.Metadata(func(doc map[string]any) { doc["authorization_servers"] = []string{other.ID()} })
		token, err := h.broker.Token(t.Context(), host("claude"), request)
		if err != nil || token.Issuer != other.ID() || h.browsers != 2 {
			t.Errorf("token %+v, %d browsers, %v", token, h.browsers, err)
		}
	})
}

func TestForget(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.mustToken(host("claude"))
		h.person = no
		if _, err := h.broker.Forget(t.Context(), host("claude"), localapi.ForgetRequest{Resource: serverURL}); !errors.Is(err, localapi.ErrConsentDenied) {
			t.Fatalf("err = %v", err)
		}
		h.person = always
		forgotten, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL})
		if err != nil || len(forgotten.Grants) != 1 || len(forgotten.NotRevoked) != 0 || h.issuer.Count("/revoke") == 0 {
			t.Fatalf("forgotten = %+v, err %v, %d revocations", forgotten, err, h.issuer.Count("/revoke"))
		}
		h.restart()
		if grants, _ := h.broker.Grants(t.Context(), nil); len(grants.Grants) != 0 {
			t.Errorf("grants = %+v", grants.Grants)
		}
		if _, err := h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL}); !errors.Is(err, localapi.ErrUnknownServer) {
			t.Errorf("err = %v", err)
		}
		h.mustToken(host("claude"))
		h.issuer.Fault("/revoke", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.FormValue("token_type_hint") == "access_token" {
				oauthtest.OAuthError(http.StatusBadRequest, "unauthorized_client", "not this")(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
		forgotten, err = h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL})
		if err != nil || len(forgotten.NotRevoked) != 1 || !strings.Contains(forgotten.NotRevoked[0], "took the sign-in back, but a token") {
			t.Errorf("forgotten = %+v, err %v", forgotten, err)
		}
		h.mustToken(host("claude"))
		h.issuer.Fault("/revoke", oauthtest.Status(500))
		if forgotten, err = h.broker.Forget(t.Context(), host("vk"), localapi.ForgetRequest{Resource: serverURL}); err != nil || len(forgotten.NotRevoked) != 1 {
			t.Errorf("forgotten = %+v, err %v", forgotten, err)
		}
	})
}

func TestPolicyDecidesWithoutAsking(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t)
		h.person = forbidden(t)
		h.config = func(c *Config) {
			c.Policy = func(q face.Question) (face.Answer, string, bool) {
				if q.Host.Name != "claude" {
					return face.Answer{Answered: true}, "no entry for this host", true
				}
				return face.Answer{Answered: true, Allow: true, Mode: localapi.ModeOnce, Scopes: []string{"read"}}, "entry 1", true
			}
		}
		h.open()
		defer func() { h.broker.Close() }()
		for range 20 { // no bound on questions applies to a policy
			if token := h.mustToken(host("claude"), "read", "write"); token.Scope != "read" {
				t.Fatalf("scope %q", token.Scope)
			}
		}
		if _, err := h.token(host("cursor")); !errors.Is(err, localapi.ErrConsentDenied) || !strings.Contains(err.Error(), "policy") {
			t.Errorf("err = %v", err)
		}
		for _, interaction := range []string{localapi.InteractionNone, localapi.InteractionAsk} { // what is written down needs nobody to be asked
			quiet := localapi.TokenRequest{Resource: serverURL, Scopes: []string{"read"}, Interaction: interaction}
			if token, err := h.broker.Token(t.Context(), host("claude"), quiet); err != nil || token.Scope != "read" {
				t.Errorf("interaction %s: %v", interaction, err)
			}
			if _, err := h.broker.Token(t.Context(), host("cursor"), quiet); !errors.Is(err, localapi.ErrConsentDenied) {
				t.Errorf("interaction %s, another host: %v", interaction, err)
			}
		}
		if grants, _ := h.broker.Grants(t.Context(), nil); len(grants.Grants[0].Consents) != 0 {
			t.Error("the policy widened the record")
		}
	})
}

func TestNoSecretAnywhereElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		h := newHouse(t)
		h.config = func(c *Config) { c.StateDir = dir }
		h.open()
		defer func() { h.broker.Close() }()
		token := h.mustToken(host("claude"))
		time.Sleep(2 * time.Hour)
		h.mustToken(host("claude"))
		state, err := json.Marshal(h.broker.State())
		if err != nil {
			t.Fatal(err)
		}
		grants, err := h.broker.Grants(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		listed, err := json.Marshal(grants)
		if err != nil {
			t.Fatal(err)
		}
		refresh := h.broker.ledger.Grants()[0].Record().Refresh.Reveal()
		h.broker.Close()
		everything := string(state) + string(listed) + readAll(t, dir)
		if refresh == "" || !strings.Contains(everything, "claude") {
			t.Fatal("the test looks in the wrong place")
		}
		for _, secret := range []string{token.AccessToken.Reveal(), refresh} {
			if strings.Contains(everything, secret) {
				t.Error("a secret is in state, lists or the activity log")
			}
		}
	})
}
