//go:build e2e && linux

package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/internal/demo"
)

// TestHeadlessLeaks follows every secret of a sign-in through a whole life with a real keychain: what the programs print,
// what lies in files, and the arguments and environments of all processes hold none of them. A token on vk's standard
// output is the answer to a host, and the only way out.
func TestHeadlessLeaks(t *testing.T) {
	t.Parallel()
	h := newHeadless(t)
	h.keychain()
	watch := newWatch()
	site := newHeadlessSite(t, func(cfg *demo.IssuerConfig) { cfg.AuthMethods = []string{demo.AuthBasic} }, nil)
	watched := func(p *headlessProcess, code int) *headlessProcess {
		t.Helper()
		watch.follow(p.Process.Pid)
		if got := p.wait(); got != code {
			t.Fatalf("%q: exit code %d, want %d\n%s", p.Args, got, code, p.err.String())
		}
		watch.said("standard error of "+p.Args[0], p.err.String())
		return p
	}
	vk := func(code int, args ...string) *headlessProcess {
		t.Helper()
		return watched(h.run(h.command(program(t, "vk"), args...)), code)
	}
	app := h.run(h.appCommand("--keystore", "keychain", "--policy", h.write("policy.json", headlessEveryone)))
	watch.follow(app.Process.Pid)
	h.ready(app)

	vk(0, "signin", site.server)
	token := vk(0, "token", site.server)
	watched(h.run(h.command(program(t, "vkdemo"), "host", "--server", site.server, "--add", "a note")), 0)
	for _, verb := range [][]string{{"list", "--json"}, {"show", site.server}, {"status"}} {
		p := vk(0, verb...)
		watch.said("vk "+verb[0], p.out.String())
	}
	app.Process.Signal(os.Interrupt)
	app.wait()

	// A second life: the token comes from the refresh token in the keychain. Then the issuer ends it, and says more than
	// it should.
	again := h.run(h.appCommand("--keystore", "keychain", "--policy", h.path("policy.json")))
	watch.follow(again.Process.Pid)
	h.ready(again)
	vk(0, "token", site.server)
	vk(0, "forget", site.server)
	site.onEdit(func(r *http.Request, doc map[string]any) int {
		if r.URL.Path != demo.TokenPath {
			return 0
		}
		_, secret, _ := r.BasicAuth()
		doc["error"], doc["error_description"] = "invalid_grant", fmt.Sprint(r.PostForm, secret)
		return http.StatusBadRequest
	})
	vk(7, "token", site.server)
	again.Process.Signal(os.Interrupt)
	again.wait()

	for _, p := range []*headlessProcess{app, again} {
		watch.said("Valet Key's output", p.out.String()+p.err.String())
	}
	secrets := site.known()
	for _, kind := range []string{"code", "code_verifier", "access_token", "refresh_token", "client_secret", "registration_access_token"} {
		if !slices.Contains(slices.Collect(maps.Values(secrets)), kind) {
			t.Errorf("no %s went by", kind)
		}
	}
	if secrets[strings.TrimSpace(token.out.String())] != "access_token" {
		t.Error("the token that vk printed is not known here")
	}
	for _, leak := range watch.leaks(secrets, h.dir) {
		t.Error(leak)
	}
}
