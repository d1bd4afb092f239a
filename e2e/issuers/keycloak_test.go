//go:build e2e && linux

package issuers

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/demo"
)

// keycloakPatience is how long a Java program may take to start on a machine that is busy with other tests.
const keycloakPatience = 5 * time.Minute

// keycloak is Keycloak in development mode with a database in memory, and the realm of testdata/keycloak-realm.json.
type keycloak struct {
	t     testing.TB
	url   string
	realm string // the issuer
	http  *http.Client
	token string // of the administrator
	until time.Time
}

// newKeycloak starts it for an MCP server. The realm puts an audience into tokens in one of the two ways it knows: kind
// is the name of the audience mapper's setting, audience its value.
func newKeycloak(h *rig.Place, server, kind, audience string, flags ...string) *keycloak {
	h.T.Helper()
	found, err := filepath.Glob(rig.Root(h.T, "e2e", "peers", "more", "keycloak", "keycloak-*", "bin", "kc.sh"))
	if err != nil || len(found) != 1 {
		h.T.Fatalf("Keycloak is not installed in e2e/peers/more/keycloak (found %v); make test-all installs it", found)
	}
	port := fmt.Sprint(rig.FreePort(h.T))
	k := &keycloak{t: h.T, url: "http://127.0.0.1:" + port, http: &http.Client{Timeout: 30 * time.Second}}
	k.realm = k.url + "/realms/notes"
	cmd := h.Command(found[0], append([]string{"start-dev", "--http-host", "127.0.0.1", "--http-port", port,
		"--db", "dev-mem", "--cache", "local"}, flags...)...)
	cmd.Env = append(cmd.Env, "KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD=admin", "JAVA_OPTS_KC_HEAP=-Xms64m -Xmx512m")
	p := h.Run(cmd)
	h.T.Cleanup(k.http.CloseIdleConnections)
	for end := time.Now().Add(keycloakPatience); ; time.Sleep(100 * time.Millisecond) {
		if resp, err := k.http.Get(k.url + "/realms/master"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if !p.Running() || time.Now().After(end) {
			h.T.Fatalf("Keycloak did not start\n%s%s", p.Out.String(), p.Err.String())
		}
	}
	realm, err := os.ReadFile("testdata/keycloak-realm.json")
	if err != nil {
		h.T.Fatal(err)
	}
	k.admin(http.MethodPost, "/admin/realms", os.Expand(string(realm), func(name string) string {
		return map[string]string{"AUDIENCE_KIND": kind, "AUDIENCE": audience, "RESOURCE": server}[name]
	}), nil)
	return k
}

// admin is one call to Keycloak's administration, whose answer goes into answer.
func (k *keycloak) admin(method, path, body string, answer any) {
	k.t.Helper()
	if time.Now().After(k.until) { // its own tokens live for a minute
		var got struct {
			Token string `json:"access_token"`
		}
		k.call(http.MethodPost, "/realms/master/protocol/openid-connect/token", "application/x-www-form-urlencoded", url.Values{
			"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {"admin"},
		}.Encode(), &got)
		k.token, k.until = got.Token, time.Now().Add(30*time.Second)
	}
	k.call(method, path, "application/json", body, answer)
}

func (k *keycloak) call(method, path, kind, body string, answer any) {
	k.t.Helper()
	req, err := http.NewRequest(method, k.url+path, strings.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if k.token != "" {
		req.Header.Set("Authorization", "Bearer "+k.token)
	}
	resp, err := k.http.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		k.t.Fatalf("%s %s: HTTP %d, %v\n%s", method, path, resp.StatusCode, err, said)
	}
	if answer != nil {
		if err := json.Unmarshal(said, answer); err != nil {
			k.t.Fatal(err)
		}
	}
}

// events counts what happened in the realm, by type.
func (k *keycloak) events() map[string]int {
	k.t.Helper()
	var all []struct{ Type string }
	k.admin(http.MethodGet, "/admin/realms/notes/events?max=200", "", &all)
	counts := map[string]int{}
	for _, e := range all {
		counts[e.Type]++
	}
	return counts
}

// withoutOfflineTokens takes the scope out of the realm.
func (k *keycloak) withoutOfflineTokens() {
	k.t.Helper()
	var scopes []struct{ ID, Name string }
	k.admin(http.MethodGet, "/admin/realms/notes/client-scopes", "", &scopes)
	for _, s := range scopes {
		if s.Name == "offline_access" {
			k.admin(http.MethodDelete, "/admin/realms/notes/client-scopes/"+s.ID, "", nil)
			return
		}
	}
	k.t.Fatal("the realm has no scope offline_access")
}

// sessions are those of a client that can be refreshed without the browser that started them.
func (k *keycloak) sessions(client string) int {
	k.t.Helper()
	var found []struct{ ID string }
	k.admin(http.MethodGet, "/admin/realms/notes/clients?clientId="+url.QueryEscape(client), "", &found)
	if len(found) != 1 {
		k.t.Fatalf("%d clients %s", len(found), client)
	}
	var n struct{ Count int }
	k.admin(http.MethodGet, "/admin/realms/notes/clients/"+found[0].ID+"/offline-session-count", "", &n)
	return n.Count
}

// signInAtKeycloak goes through its pages: name and password unless it still knows the browser, and the question.
func signInAtKeycloak(b *rig.Browser, page string) {
	const name, yes = `#username`, `input[name=accept], button[name=accept]`
	b.Do("open Keycloak's page", chromedp.Navigate(page))
	came := func(url string) bool { return strings.Contains(url, "/callback") }
	b.At("Keycloak's first page", func(url string) bool { return came(url) || b.Has(name) || b.Has(yes) })
	if b.Has(name) {
		b.Photo("keycloak-sign-in")
		b.Do("sign in at Keycloak", chromedp.SendKeys(chromedp.CSS(name), "ann"),
			chromedp.SendKeys(chromedp.CSS(`#password`), "secret"), chromedp.Click(chromedp.CSS(`#kc-login`)))
		b.At("Keycloak's question", func(url string) bool { return came(url) || b.Has(yes) })
	}
	if b.Has(yes) {
		b.Photo("keycloak-question")
		b.Do("say yes at Keycloak", chromedp.Click(chromedp.CSS(yes)))
	}
	b.At("the callback page", came)
	b.Text("body")
}

// TestLifeAtKeycloak is Keycloak as it comes: it passes over the resource, and an audience mapper on the server's scopes
// names the audience.
func TestLifeAtKeycloak(t *testing.T) {
	listener := rig.Listen(t)
	h := rig.New(t)
	k := newKeycloak(h, rig.ServerURL(listener), "included.custom.audience", rig.ServerURL(listener))
	server := rig.Serve(t, listener, demo.ServerConfig{Issuer: k.realm, PlainJWT: true})

	t.Run("registered dynamically", func(t *testing.T) {
		l := newKeycloakLife(rig.New(t), rig.Everyone)
		// A refreshed offline token answers with all its scopes, whatever was asked for.
		keycloakLife(t, l, k, server, "email", "notes:read", "notes:write", "profile")
		if n := k.events()["CLIENT_REGISTER"]; n != 1 {
			t.Errorf("%d registrations, want 1", n)
		}
	})
	t.Run("with a client ID and a secret", func(t *testing.T) {
		before := k.events()["CLIENT_REGISTER"]
		h := rig.New(t)
		h.Write("secret", "a secret / with: signs\n")
		keycloakLife(t, newKeycloakLife(h, withClient(k.realm, "written-down", "secret")), k, server, "notes:read", "notes:write")
		if n := k.events()["CLIENT_REGISTER"] - before; n != 0 || k.sessions("written-down") != 0 {
			t.Errorf("%d registrations, and %d sessions are left", n, k.sessions("written-down"))
		}
	})
	t.Run("with a client ID that has no offline tokens", func(t *testing.T) {
		l := newLife(rig.New(t), withClient(k.realm, "never-offline", ""))
		refused := false
		l.through = func(page string) {
			signInAtKeycloak(l.person, page)
			if !strings.Contains(page, "offline_access") {
				return
			}
			refused = true // the realm lists the scope, the client may not have it: a second page comes without it
			select {
			case again := <-l.pages:
				signInAtKeycloak(l.person, again)
			case <-time.After(rig.Patience):
				t.Error("no second page came")
			}
		}
		keycloakLife(t, l, k, server, "notes:read")
		if !refused {
			t.Error("nobody asked for offline tokens")
		}
	})
}

// TestLifeAtKeycloakByResource is Keycloak with its experimental resource indicators: the audience mapper names a client,
// and the resource that is asked for must be that client's. Of the refresh of an offline token it knows no resource, so
// the realm has none.
func TestLifeAtKeycloakByResource(t *testing.T) {
	listener := rig.Listen(t)
	h := rig.New(t)
	k := newKeycloak(h, rig.ServerURL(listener), "included.client.audience", "notes-server", "--features", "resource-indicators")
	k.withoutOfflineTokens()
	server := rig.Serve(t, listener, demo.ServerConfig{Issuer: k.realm, PlainJWT: true})
	keycloakLife(t, newKeycloakLife(rig.New(t), rig.Everyone), k, server, "email", "notes:read", "profile")
}

func newKeycloakLife(h *rig.Place, policy string) *life {
	l := newLife(h, policy)
	l.through = func(page string) { signInAtKeycloak(l.person, page) }
	return l
}

// keycloakLife leads the life; narrow is what a token for notes:read alone is for. That default scopes are in each token
// takes one more refresh to learn.
func keycloakLife(t *testing.T, l *life, k *keycloak, server *rig.Server, narrow ...string) {
	l.issuer, l.server = k.realm, server.URL
	before := k.events()
	l.renewed(l.begin(), "notes:read")
	l.holds("notes:read")
	l.stepUp()
	l.holds("notes:read", "notes:write")
	if got := l.narrowed("notes:read"); !slices.Equal(slices.Sorted(slices.Values(got)), narrow) {
		t.Errorf("a token for notes:read is for %q, want %q", got, narrow)
	}
	l.renewed(l.VK("token", l.server).Must(), "notes:read", "notes:write") // with the refresh token that the narrowing left
	if said := l.end(); said != "" {
		t.Errorf("vk forget says %s", said)
	}
	after, refreshes := k.events(), 3
	if slices.Contains(narrow, "email") {
		refreshes++
	}
	for kind, want := range map[string]int{"CODE_TO_TOKEN": 2, "REFRESH_TOKEN": refreshes, "CODE_TO_TOKEN_ERROR": 0, "REFRESH_TOKEN_ERROR": 0} {
		if n := after[kind] - before[kind]; n != want {
			t.Errorf("%s happened %d times, want %d", kind, n, want)
		}
	}
	if after["REVOKE_GRANT"] == before["REVOKE_GRANT"] {
		t.Error("nothing was revoked")
	}
}
