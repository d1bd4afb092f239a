package broker_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/valetkey/valetkey/broker"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/internal/oauthtest"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/outbound"
	"github.com/valetkey/valetkey/peer"
)

// What an earlier program left in the keychain is read by every later one: testdata/kept/README.md says what lies there.

var keep = flag.String("keep", "", "write what this program keeps to a new directory of that name in testdata/kept")

const (
	enterprise = "https://idp.example.org"
	elsewhere  = "https://other.example.org"
	document   = "https://valetkey.example.net/client.json"
	identity   = "/run/fake/identity"
)

// streetNames are the servers of a street, each with an issuer of its own: https://NAME.example.com/mcp and
// https://issuer.NAME.example.com. How they differ stands in newStreet.
var streetNames = []string{
	"always", "audience", "bound", "chosen", "company", "deaf", "device", "document", "dynamic", "ended", "issuer", "key", "old", "open",
	"prefix", "public", "robot", "secret", "silent", "slash", "unchecked", "wide", "workload",
}

func serverOf(name string) string { return "https://" + name + ".example.com/mcp" }

func issuerOf(name string) string {
	if name == "old" {
		return "https://old.example.com"
	}
	return "https://issuer." + name + ".example.com"
}

// vault is a keychain that can tell what is in it.
type vault struct {
	*keystore.Memory
	mu    sync.Mutex
	items map[string]string
}

func newVault(t *testing.T, items map[string]json.RawMessage) *vault {
	v := &vault{Memory: keystore.NewMemory(), items: map[string]string{}}
	for name, item := range items {
		if err := v.Set(t.Context(), name, item); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func (v *vault) Set(ctx context.Context, name string, value []byte) error {
	v.mu.Lock()
	v.items[name] = string(value)
	v.mu.Unlock()
	return v.Memory.Set(ctx, name, value)
}

func (v *vault) Delete(ctx context.Context, name string) error {
	v.mu.Lock()
	delete(v.items, name)
	v.mu.Unlock()
	return v.Memory.Delete(ctx, name)
}

func (v *vault) all() map[string]json.RawMessage {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := map[string]json.RawMessage{}
	for name, item := range v.items {
		all[name] = json.RawMessage(item)
	}
	return all
}

// posted is what an issuer was sent, as far as it does not change from run to run.
type posted struct {
	To   string            `json:"to"`
	Form map[string]string `json:"form"`
	Auth string            `json:"auth,omitempty"` // of HTTP Basic
	Key  string            `json:"key,omitempty"`  // thumbprint of that of the proof
}

// street is the broker in an Internet of servers and issuers that play by a script: their tokens are signed, and
// everything else that they give is plainly made up.
type street struct {
	t      *testing.T
	world  *oauthtest.World
	vault  *vault
	key    *ecdsa.PrivateKey
	era    string // put into what is given, to tell runs apart
	broker *broker.Broker

	mu     sync.Mutex
	posts  []posted
	given  int
	asked  map[string]url.Values // by issuer: the last page
	dead   bool                  // the issuer "ended" takes no refresh token
	person func(ctx context.Context, q face.Question) (face.Answer, error)
}

func newStreet(t *testing.T, era string, items map[string]json.RawMessage) *street {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &street{t: t, world: oauthtest.NewWorld(t), vault: newVault(t, items), key: key, era: era, asked: map[string]url.Values{}}
	for _, name := range streetNames {
		s.build(name)
	}
	idp := s.world.AddIssuer(enterprise)
	s.script(idp, "idp")
	return s.open()
}

func (s *street) build(name string) {
	var differs []oauthtest.IssuerOption
	if name == "key" {
		differs = append(differs, oauthtest.AuthMethod("private_key_jwt"))
	}
	issuer := s.world.AddIssuer(issuerOf(name), differs...)
	server := s.world.AddServer(serverOf(name), issuerOf(name))
	s.script(issuer, name)
	issuerSays, serverSays := map[string]any{}, map[string]any{}
	switch name {
	case "document":
		issuerSays["client_id_metadata_document_supported"] = true
	case "public", "secret", "key", "robot", "workload", "company":
		issuer.Fault(demo.RegisterPath, oauthtest.Status(http.StatusForbidden))
	case "open":
		server.Fault("", oauthtest.Body(`{"jsonrpc":"2.0","id":1,"result":{}}`))
		server.Fault(oauthtest.ResourcePath, oauthtest.Status(http.StatusNotFound))
	case "old":
		server.Fault(oauthtest.ResourcePath, oauthtest.Status(http.StatusNotFound))
		server.Challenge("Bearer")
	case "bound":
		serverSays["dpop_bound_access_tokens_required"] = true
		issuerSays["dpop_signing_alg_values_supported"] = []string{"ES256"}
	case "chosen":
		serverSays["dpop_signing_alg_values_supported"] = []string{"ES256"}
		issuerSays["dpop_signing_alg_values_supported"] = []string{"ES256"}
	case "device":
		issuerSays["device_authorization_endpoint"] = issuerOf(name) + "/device"
		issuer.Fault("/device", oauthtest.Body(`{"device_code":"fake-device-code","user_code":"FAKE-CODE","verification_uri":"`+issuerOf(name)+`/go","expires_in":600,"interval":1}`))
	case "prefix":
		serverSays["resource"] = "https://prefix.example.com"
	case "silent":
		issuerSays["code_challenge_methods_supported"] = nil
	case "slash":
		serverSays["authorization_servers"] = []string{issuerOf(name) + "/"}
	}
	edit := func(says map[string]any) func(map[string]any) {
		return func(doc map[string]any) {
			maps.Copy(doc, says)
			maps.DeleteFunc(doc, func(_ string, v any) bool { return v == nil })
		}
	}
	issuer.Metadata(edit(issuerSays))
	server.Metadata(edit(serverSays))
}

// script makes an issuer play by the script.
func (s *street) script(issuer *oauthtest.Issuer, name string) {
	issuer.Fault(demo.AuthorizePath, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		q := r.URL.Query()
		s.mu.Lock()
		s.asked[name] = q
		s.mu.Unlock()
		back := url.Values{"code": {"fake-code"}, "state": {q.Get("state")}, "iss": {issuer.ID()}}
		if name == "deaf" && q.Has("resource") {
			back = url.Values{"error": {"invalid_target"}, "state": {q.Get("state")}, "iss": {issuer.ID()}}
		}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
	})
	issuer.Fault(demo.RegisterPath, oauthtest.Body(`{"client_id":"fake-client-of-`+name+`","client_secret":"fake-client-secret","client_secret_expires_at":4102444800,`+
		`"token_endpoint_auth_method":"client_secret_basic","registration_client_uri":"`+issuer.ID()+`/register/1","registration_access_token":"fake-management-token"}`))
	issuer.Fault(demo.RegisterPath+"/1", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { s.note(r) })
	issuer.Fault(demo.RevocationPath, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { s.note(r) })
	issuer.Fault(demo.JWKSPath, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: "fake", Algorithm: "ES256", Use: "sig"}}})
	})
	issuer.Fault(demo.TokenPath, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		s.note(r)
		s.mu.Lock()
		s.given++
		n, dead := s.given, s.dead
		s.mu.Unlock()
		way := r.PostFormValue("grant_type")
		if name == "ended" && dead && way == "refresh_token" {
			oauthtest.OAuthError(http.StatusBadRequest, "invalid_grant", "x")(w, r, next)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.answer(name, issuer.ID(), way, r, n))
	})
}

func (s *street) answer(name, issuer, way string, r *http.Request, n int) map[string]any {
	s.mu.Lock()
	page := s.asked[name]
	s.mu.Unlock()
	if strings.HasSuffix(way, ":token-exchange") {
		return map[string]any{"access_token": "fake-assertion", "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag", "token_type": "N_A"}
	}
	scope := r.PostFormValue("scope")
	if way == "authorization_code" {
		scope = page.Get("scope")
	}
	switch {
	case strings.HasSuffix(way, ":device_code"), name == "wide" && way == "refresh_token":
		scope = "files:read files:write offline_access"
	case name == "always" && scope == "":
		scope = "files:read files:write email"
	case name == "always":
		scope += " email"
	}
	claims := map[string]any{
		"iss": issuer, "aud": serverOf(name), "sub": "fake-person", "scope": scope, "jti": fmt.Sprint(n),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	key := s.key
	switch name {
	case "audience", "deaf":
		claims["aud"] = elsewhere
	case "issuer":
		claims["iss"] = elsewhere
	case "prefix":
		claims["aud"] = "https://prefix.example.com"
	case "unchecked":
		key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	answer := map[string]any{"access_token": s.sign(key, claims), "token_type": "Bearer", "expires_in": 3600, "scope": scope}
	if name == "bound" || name == "chosen" {
		answer["token_type"] = "DPoP"
	}
	if name == "idp" {
		answer["id_token"] = oauthtest.IDToken(enterprise, "fake-client-there", func(claims map[string]any) {
			if way == "authorization_code" {
				claims["nonce"] = page.Get("nonce")
			}
		})
	}
	if way == "authorization_code" || way == "refresh_token" || strings.HasSuffix(way, ":device_code") {
		answer["refresh_token"] = fmt.Sprintf("fake-%s-refresh-token-%d-of-%s", s.era, n, name)
	}
	return answer
}

func (s *street) sign(key *ecdsa.PrivateKey, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "fake"))
	if err != nil {
		s.t.Error(err)
		return ""
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		s.t.Error(err)
	}
	return token
}

// note remembers what was posted.
func (s *street) note(r *http.Request) {
	r.ParseForm()
	p := posted{To: r.Method + " " + r.Host + r.URL.Path, Form: map[string]string{}}
	for name, values := range r.PostForm {
		switch p.Form[name] = strings.Join(values, " | "); name {
		case "code_verifier", "redirect_uri":
			p.Form[name] = "some"
		case "client_assertion":
			p.Form[name] = s.claimed(values[0])
		case "token":
			if strings.Count(values[0], ".") == 2 {
				p.Form[name] = "an access token"
			}
		}
	}
	if id, words, ok := r.BasicAuth(); ok {
		p.Auth = id + ":" + words
	} else if auth := r.Header.Get("Authorization"); auth != "" {
		p.Auth = auth
	}
	if proof := r.Header.Get("DPoP"); proof != "" {
		parsed, err := jwt.ParseSigned(proof, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			s.t.Error(err)
			return
		}
		sum, err := parsed.Headers[0].JSONWebKey.Thumbprint(crypto.SHA256)
		if err != nil {
			s.t.Error(err)
		}
		p.Key = base64.RawURLEncoding.EncodeToString(sum)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts = append(s.posts, p)
}

// claimed is what an assertion says, and which key signed it.
func (s *street) claimed(assertion string) string {
	parsed, err := jwt.ParseSigned(assertion, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		s.t.Error(err)
		return ""
	}
	var claims jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		s.t.Error(err)
	}
	return fmt.Sprintf("signed with %s by %s, for %s", parsed.Headers[0].KeyID, claims.Issuer, claims.Audience)
}

// open starts the broker; again after a restart.
func (s *street) open() *street {
	s.t.Helper()
	out := outbound.New(outbound.Config{Base: s.world.RoundTripper()})
	b, err := broker.Open(s.t.Context(), broker.Config{
		Store: s.vault, Discovery: discovery.New(discovery.Config{HTTP: out.For}),
		Flow: func(onPage func(oauthflow.Request, oauthflow.Page)) *oauthflow.Flow {
			return oauthflow.New(oauthflow.Config{HTTP: out.For, OnPage: onPage, ClientName: "Valet Key", ClientMetadataURL: document, Open: s.world.Browser})
		},
		ReadAssertion: func(path string) (secret.Text, error) {
			if path != identity {
				return secret.Text{}, os.ErrNotExist
			}
			return secret.New("fake-identity-of-a-workload"), nil
		},
		Ask: func(ctx context.Context, q face.Question) (face.Answer, error) {
			s.mu.Lock()
			person := s.person
			s.mu.Unlock()
			return person(ctx, q)
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.broker = b
	return s
}

func (s *street) restart() {
	s.broker.Close()
	s.open()
}

// agrees says yes to everything, for as long as mode says, and knows a client ID.
func agrees(mode string) func(context.Context, face.Question) (face.Answer, error) {
	return func(_ context.Context, q face.Question) (face.Answer, error) {
		a := face.Answer{Answered: true, Allow: true, Mode: mode}
		for _, scope := range q.Scopes {
			a.Scopes = append(a.Scopes, scope.Name)
		}
		switch {
		case q.Kind == face.KindClientID:
			a.ClientID = "fake-client-of-" + strings.Split(q.Server, ".")[0][len("https://"):]
		case q.SignIn && slices.Contains(q.Vias, face.ViaDevice):
			a.Via = face.ViaDevice
		}
		return a, nil
	}
}

func (s *street) asksNobody(_ context.Context, q face.Question) (face.Answer, error) {
	s.t.Errorf("the person was asked: %s %q", q.Kind, q.Why)
	return face.Answer{}, nil
}

func program(name string) *peer.Peer {
	key := "exe:/usr/bin/" + name
	return &peer.Peer{Host: peer.Host{Key: key, Base: key, Name: name, Level: peer.SystemPath, Instance: "1:" + name}}
}

// get asks for a token as a program does, quietly or not. A server that asks for no sign-in is only forwarded to.
func (s *street) get(program *peer.Peer, name, account, interaction string, scopes ...string) (*localapi.Token, error) {
	req := localapi.TokenRequest{Resource: serverOf(name), Account: account, Scopes: scopes, Interaction: interaction}
	if name == "bound" || name == "chosen" {
		req.Proof = &localapi.Proof{Method: "POST", URL: serverOf(name)}
	}
	if name == "open" {
		return s.broker.Forward(s.t.Context(), program, req, nil)
	}
	return s.broker.Token(s.t.Context(), program, req)
}

func (s *street) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(5 * time.Minute) // no more questions at once than a program may ask
}

// live fills an empty keychain with one record of each kind.
func (s *street) live() {
	const read, write = "files:read", "files:write"
	vk := program("vk")
	register := func(name string, req localapi.RegistrationRequest) {
		s.t.Helper()
		req.Resource, req.ClientID = serverOf(name), "fake-client-of-"+name
		_, err := s.broker.Register(s.t.Context(), vk, req)
		s.must(err)
	}
	signIn := func(name, account string, quirks ...string) {
		s.t.Helper()
		_, err := s.broker.SignIn(s.t.Context(), vk, localapi.SignInRequest{Resource: serverOf(name), Account: account, Quirks: quirks})
		s.must(err)
	}
	wish := func(id, name string) {
		s.t.Helper()
		s.must(s.broker.Wish(s.t.Context(), face.WishAccept{Name: id, Resource: serverOf(name)}))
	}
	s.person = agrees(localapi.ModeAlways)
	register("secret", localapi.RegistrationRequest{Sent: client.Send(client.Client{Secret: secret.New("fake-client-secret")})})
	register("key", localapi.RegistrationRequest{Sent: client.Send(client.Client{Key: secret.New(fakeKey(s.t)), KeyID: "fake-key-id"})})
	register("robot", localapi.RegistrationRequest{Sent: client.Send(client.Client{Secret: secret.New("fake-client-secret"), GrantType: "client_credentials"})})
	register("workload", localapi.RegistrationRequest{Sent: client.Send(client.Client{AssertionFile: identity})})
	register("company", localapi.RegistrationRequest{Sent: client.Send(client.Client{Secret: secret.New("fake-client-secret"), Enterprise: &client.Enterprise{Client: client.Client{
		Issuer: enterprise, ClientID: "fake-client-there", Secret: secret.New("fake-client-secret-there"),
	}}})})
	signIn("chosen", "", "dpop", "parameters=access_type=offline&audience=fake")
	signIn("dynamic", "")
	signIn("dynamic", "") // what it replaces is kept for its revocation
	for _, name := range streetNames {
		if name == "unchecked" {
			signIn(name, "")
			wish("unchecked", name)
		}
		_, err := s.get(program("claude"), name, "", localapi.InteractionAuto, read, write)
		s.must(err)
	}
	signIn("document", "work")

	// A program with less, for an hour, where the issuer narrows and where it does not.
	s.person = agrees(localapi.ModeHour)
	for _, name := range []string{"always", "dynamic", "wide"} {
		_, err := s.get(program("cursor"), name, "", localapi.InteractionAuto, read)
		s.must(err)
	}
	s.person = s.asksNobody
	s.mu.Lock()
	s.dead = true
	s.mu.Unlock()
	time.Sleep(2 * time.Hour)
	if _, err := s.get(program("claude"), "ended", "", localapi.InteractionNone, read); !errors.Is(err, localapi.ErrSignInRequired) {
		s.t.Fatalf("ended: %v", err)
	}
	_, err := s.get(program("claude"), "secret", "", localapi.InteractionNone, read, write)
	s.must(err) // a refresh
}

func fakeKey(t *testing.T) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// use does with every grant what programs and the person do with it, and returns what that sent to issuers: a token for
// everything that is granted, one for the second program, and the end of it all.
func (s *street) use(grants []localapi.Grant) []posted {
	s.person = s.asksNobody
	s.dead = true
	for _, g := range grants {
		name := strings.Split(g.Server, ".")[0][len("https://"):]
		for _, c := range g.Consents {
			token, err := s.get(program(c.HostName), name, g.Account, localapi.InteractionNone, c.Scopes...)
			switch {
			case name == "ended":
				if !errors.Is(err, localapi.ErrSignInRequired) {
					s.t.Errorf("%s: %v", name, err)
				}
			case err != nil:
				s.t.Errorf("%s, for %s: %v", name, c.HostName, err)
			case token.Resource != g.Resource || token.Issuer != g.Issuer || token.Account != g.Account || (token.TokenType == "DPoP") != g.Bound || token.AccessToken.Empty() != (name == "open"):
				s.t.Errorf("%s, for %s: %+v", name, c.HostName, token)
			}
		}
	}
	return s.posts
}

// keptIn reads a file of a golden directory.
func keptIn[T any](t *testing.T, dir, name string) (v T) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func writeKept(t *testing.T, dir, name string, v any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// asJSON is v as a reader of its JSON sees it.
func asJSON[T any](t *testing.T, v any) (seen T) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &seen)
	}
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// TestKeep writes a golden directory, with -keep. A directory that is there is never written again.
func TestKeep(t *testing.T) {
	if *keep == "" {
		t.Skip("no -keep")
	}
	dir := filepath.Join("testdata", "kept", *keep)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var items map[string]json.RawMessage
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "old", nil)
		s.live()
		s.broker.Close()
		items = s.vault.all()
		writeKept(t, dir, "keychain.json", items)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, "new", items)
		defer func() { s.broker.Close() }()
		grants, err := s.broker.Grants(t.Context(), program("vk"))
		s.must(err)
		writeKept(t, dir, "grants.json", grants.Grants)
		writeKept(t, dir, "posts.json", s.use(grants.Grants))
		s.posts = nil
		writeKept(t, dir, "forgotten.json", s.forget(grants.Grants))
	})
}

// forget forgets every server, and returns what that sent to issuers.
func (s *street) forget(grants []localapi.Grant) []posted {
	s.person = agrees("")
	for _, g := range grants {
		time.Sleep(5 * time.Minute)
		if _, err := s.broker.Forget(s.t.Context(), program("vk"), localapi.ForgetRequest{Resource: g.Server, Account: g.Account}); err != nil {
			s.t.Errorf("forget %s: %v", g.Server, err)
		}
	}
	return s.posts
}

// eachKept runs f in a bubble for each golden directory.
func eachKept(t *testing.T, f func(t *testing.T, dir string, items map[string]json.RawMessage)) {
	dirs, err := filepath.Glob(filepath.Join("testdata", "kept", "*", ""))
	if err != nil {
		t.Fatal(err)
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return strings.HasSuffix(dir, ".md") })
	if len(dirs) == 0 {
		t.Fatal("nothing is kept")
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			items := keptIn[map[string]json.RawMessage](t, dir, "keychain.json")
			for name, item := range items { // they lie indented in the file, and compact in a keychain
				var b bytes.Buffer
				if err := json.Compact(&b, item); err != nil {
					t.Fatal(err)
				}
				items[name] = b.Bytes()
			}
			synctest.Test(t, func(t *testing.T) { f(t, dir, items) })
		})
	}
}

// TestKeptIsRead: what an earlier program kept is listed as it was, used without asking anybody, and sent to issuers in
// the same words; and what is saved then differs in nothing but the new refresh token.
func TestKeptIsRead(t *testing.T) {
	eachKept(t, func(t *testing.T, dir string, items map[string]json.RawMessage) {
		s := newStreet(t, "new", items)
		defer func() { s.broker.Close() }()
		s.person = agrees(localapi.ModeAlways)
		listed, err := s.broker.Grants(t.Context(), program("vk"))
		s.must(err)
		kept := keptIn[[]map[string]any](t, dir, "grants.json")
		if grants := asJSON[[]map[string]any](t, listed.Grants); len(grants) != len(kept) {
			t.Errorf("%d grants, want %d", len(grants), len(kept))
		} else {
			for i := range kept {
				same(t, kept[i]["server"], grants[i], kept[i])
			}
		}
		if now := s.vault.all(); !reflect.DeepEqual(now, items) {
			t.Error("reading changed the keychain")
		}

		posts, want := s.use(listed.Grants), keptIn[[]posted](t, dir, "posts.json")
		for i := range max(len(posts), len(want)) {
			if i >= len(posts) || i >= len(want) || !reflect.DeepEqual(posts[i], want[i]) {
				t.Fatalf("posted\n%+v\nwant\n%+v", posts[min(i, len(posts)):], want[min(i, len(want)):])
			}
		}

		now := s.vault.all()
		for name, item := range items {
			before, after := asJSON[map[string]any](t, item), asJSON[map[string]any](t, now[name])
			for _, m := range []map[string]any{before, after} {
				delete(m, "refreshed_at")
				if token, _ := m["refresh_token"].(string); token != "" {
					m["refresh_token"] = strings.Contains(token, "fake-")
				}
			}
			same(t, name, after, before)
			if len(after) != len(before) {
				t.Errorf("%s became\n%s\nwas\n%s", name, now[name], item)
			}
		}

		s.posts = nil
		forgotten, wantForgotten := s.forget(listed.Grants), keptIn[[]posted](t, dir, "forgotten.json")
		if !reflect.DeepEqual(forgotten, wantForgotten) {
			t.Errorf("forgetting posted\n%+v\nwant\n%+v", forgotten, wantForgotten)
		}
		for name := range s.vault.all() {
			if strings.HasPrefix(name, "grant-") || strings.HasPrefix(name, "identity-") {
				t.Errorf("%s is left", name)
			}
		}
	})
}

// same compares the members that were kept with what they are now.
func same(t *testing.T, what any, now, kept map[string]any) {
	t.Helper()
	for member, value := range kept {
		if !reflect.DeepEqual(now[member], value) {
			t.Errorf("%s: %s is %v, was %v", what, member, now[member], value)
		}
	}
}

// TestUnknownMembersAreRead: within one format, a program of another day may have written members that nobody here knows.
func TestUnknownMembersAreRead(t *testing.T) {
	eachKept(t, func(t *testing.T, dir string, items map[string]json.RawMessage) {
		for name, item := range items {
			items[name] = json.RawMessage(strings.Replace(string(item), `{"v":1,`, `{"v":1,"unheard_of":{"a":[1]},`, 1))
		}
		s := newStreet(t, "new", items)
		defer func() { s.broker.Close() }()
		grants, err := s.broker.Grants(t.Context(), program("vk"))
		s.must(err)
		if posts, want := s.use(grants.Grants), keptIn[[]posted](t, dir, "posts.json"); !reflect.DeepEqual(posts, want) {
			t.Errorf("posted\n%+v\nwant\n%+v", posts, want)
		}
		if told := s.broker.State().Keychain; told != "ok" {
			t.Errorf("the person is told %q", told)
		}
	})
}

// TestKeptClientsAreUsed: a client that the person entered is used for the next sign-in, and so is what they set.
func TestKeptClientsAreUsed(t *testing.T) {
	eachKept(t, func(t *testing.T, _ string, items map[string]json.RawMessage) {
		s := newStreet(t, "new", items)
		defer func() { s.broker.Close() }()
		s.person = func(ctx context.Context, q face.Question) (face.Answer, error) {
			if q.Kind != face.KindSignIn {
				t.Errorf("%s: asked %s: %s", q.Server, q.Kind, q.Why)
			}
			return agrees(localapi.ModeAlways)(ctx, q)
		}
		for _, name := range streetNames {
			if name == "open" {
				continue
			}
			time.Sleep(5 * time.Minute)
			req := localapi.SignInRequest{Resource: serverOf(name)}
			if name == "document" {
				req.Account = "default"
			}
			grant, err := s.broker.SignIn(t.Context(), program("vk"), req)
			if err != nil || grant.State != localapi.StateReady {
				t.Errorf("%s: %+v, %v", name, grant, err)
				continue
			}
			want := "fake-client-of-" + name
			if name == "document" {
				want = document
			}
			if grant.Registration.ClientID != want {
				t.Errorf("%s: signed in with %s", name, grant.Registration.ClientID)
			}
		}
		if sent := s.asked["chosen"]; sent.Get("access_type") != "offline" || sent.Get("audience") != "fake" {
			t.Errorf("what was set is not sent: %v", sent)
		}
		if sent := s.asked["deaf"]; sent.Has("resource") {
			t.Errorf("what the issuer refuses is sent: %v", sent)
		}
	})
}

// TestKeptIsWritten: this program lives as the earlier one did, and keeps all that it kept.
func TestKeptIsWritten(t *testing.T) {
	eachKept(t, func(t *testing.T, _ string, items map[string]json.RawMessage) {
		s := newStreet(t, "old", nil)
		s.live()
		s.broker.Close()
		now := s.vault.all()
		for name, item := range items {
			same(t, name, steady(asJSON[map[string]any](t, now[name])), steady(asJSON[map[string]any](t, item)))
		}
		if len(now) < len(items) {
			t.Errorf("%d items, want %d", len(now), len(items))
		}
	})
}

// steady is of, an item, with what differs from run to run told only as there: moments, keys, and the ID token.
func steady(of map[string]any) map[string]any {
	for name, value := range of {
		switch value := value.(type) {
		case map[string]any:
			steady(value)
		case []any:
			for _, v := range value {
				if v, ok := v.(map[string]any); ok {
					steady(v)
				}
			}
		case string:
			if _, err := time.Parse(time.RFC3339, value); err == nil || name == "key" || name == "dpop_key" || name == "id_token" {
				of[name] = value != ""
			}
		}
	}
	return of
}

// newer is an item as a program of a later format may write it.
func newer(item json.RawMessage) json.RawMessage {
	return json.RawMessage(strings.Replace(string(item), `{"v":1,`, `{"v":2,"unheard_of":{"a":[1]},`, 1))
}

// TestNewerIsLeftAlone: a record of a newer format is not used, not written over, not deleted, and the person is told its
// name. The others work.
func TestNewerIsLeftAlone(t *testing.T) {
	eachKept(t, func(t *testing.T, _ string, items map[string]json.RawMessage) {
		var names []string
		for name, item := range items {
			of := asJSON[map[string]any](t, item)
			if of["issuer"] == issuerOf("secret") || of["issuer"] == issuerOf("dynamic") || of["enterprise"] != nil && of["sub"] != nil {
				items[name] = newer(item)
				names = append(names, name)
			}
		}
		if len(names) != 4 {
			t.Fatalf("newer are %v", names)
		}
		s := newStreet(t, "new", items)
		defer func() { s.broker.Close() }()
		s.person = agrees(localapi.ModeAlways)
		grants, err := s.broker.Grants(t.Context(), program("vk"))
		s.must(err)
		for _, g := range grants.Grants {
			if g.Server == serverOf("secret") || g.Server == serverOf("dynamic") {
				t.Errorf("%s is listed", g.Server)
			}
		}
		told := s.broker.State().Keychain
		for _, name := range names {
			if !strings.HasPrefix(name, "identity-") && !strings.Contains(told, name+": it was written by a newer Valet Key") {
				t.Errorf("%s is not named in %q", name, told)
			}
		}
		for _, name := range []string{"secret", "dynamic", "company"} {
			if _, err := s.get(program("claude"), name, "", localapi.InteractionAuto, "files:read"); err == nil || !strings.Contains(err.Error(), "newer Valet Key") {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := s.broker.SignIn(t.Context(), program("vk"), localapi.SignInRequest{Resource: serverOf(name)}); err == nil || !strings.Contains(err.Error(), "newer Valet Key") {
				t.Errorf("signing in to %s: %v", name, err)
			}
			s.broker.Forget(t.Context(), program("vk"), localapi.ForgetRequest{Resource: serverOf(name)})
		}
		s.broker.Register(t.Context(), program("vk"), localapi.RegistrationRequest{Resource: serverOf("secret"), Sent: client.Send(client.Client{ClientID: "another"})})
		s.broker.Register(t.Context(), program("vk"), localapi.RegistrationRequest{Resource: serverOf("secret"), Remove: true})
		if _, err := s.get(program("claude"), "public", "", localapi.InteractionNone, "files:read"); err != nil {
			t.Errorf("one that is not newer: %v", err)
		}
		s.restart()
		now := s.vault.all()
		for _, name := range names {
			if string(now[name]) != string(items[name]) {
				t.Errorf("%s became %s", name, now[name])
			}
			if !strings.Contains(string(now["index"]), name) {
				t.Errorf("%s is struck off the index", name)
			}
		}
	})
}

// TestNewerIndexIsLeftAlone: who cannot read what there is writes nothing.
func TestNewerIndexIsLeftAlone(t *testing.T) {
	eachKept(t, func(t *testing.T, _ string, items map[string]json.RawMessage) {
		items["index"] = newer(items["index"])
		s := newStreet(t, "new", items)
		defer func() { s.broker.Close() }()
		s.person = agrees(localapi.ModeAlways)
		if _, err := s.broker.Grants(t.Context(), program("vk")); err == nil {
			t.Error("grants are listed")
		}
		if told := s.broker.State().Keychain; !strings.Contains(told, "newer Valet Key") {
			t.Errorf("the person is told %q", told)
		}
		for _, name := range streetNames {
			if _, err := s.get(program("claude"), name, "", localapi.InteractionAuto, "files:read"); err == nil {
				t.Errorf("%s: a token", name)
			}
		}
		if now := s.vault.all(); !reflect.DeepEqual(now, items) {
			t.Error("the keychain was changed")
		}
	})
}
