//go:build e2e && linux

package headless

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
	"github.com/valetkey/valetkey/internal/demo"
)

// TestHeadlessLeaks follows every secret of a sign-in through a whole life with a real keychain: what the programs print,
// what lies in files, and the arguments and environments of all processes hold none of them. A token on vk's standard
// output is the answer to a host, and the only way out.
func TestHeadlessLeaks(t *testing.T) {
	t.Parallel()
	h := rig.New(t)
	h.Keyring(h.SessionBus(), "correct horse")
	watch := h.Watch
	site := newDemoSite(t, func(cfg *demo.IssuerConfig) { cfg.AuthMethods = []string{demo.AuthBasic} }, nil)
	watched := func(p *rig.Process, code int) *rig.Process {
		t.Helper()
		watch.Follow(p.Process.Pid)
		if got := p.Wait(); got != code {
			t.Fatalf("%q: exit code %d, want %d\n%s", p.Args, got, code, p.Err.String())
		}
		watch.Said("standard error of "+p.Args[0], p.Err.String())
		return p
	}
	vk := func(code int, args ...string) *rig.Process {
		t.Helper()
		return watched(h.Start(rig.Program(t, "vk"), args...), code)
	}
	app := h.Run(h.AppCommand("--keystore", "keychain", "--policy", h.Write("policy.json", rig.Everyone)))
	watch.Follow(app.Process.Pid)
	h.Ready(app)

	vk(0, "signin", site.server)
	token := vk(0, "token", site.server)
	watched(h.Start(rig.Program(t, "vkdemo"), "host", "--server", site.server, "--add", "a note"), 0)
	for _, verb := range [][]string{{"list", "--json"}, {"show", site.server}, {"status"}} {
		p := vk(0, verb...)
		watch.Said("vk "+verb[0], p.Out.String())
	}
	app.Process.Signal(os.Interrupt)
	app.Wait()

	// A second life: the token comes from the refresh token in the keychain. Then the issuer ends it, and says more than
	// it should.
	again := h.Run(h.AppCommand("--keystore", "keychain", "--policy", h.Path("policy.json")))
	watch.Follow(again.Process.Pid)
	h.Ready(again)
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
	again.Wait()

	for _, p := range []*rig.Process{app, again} {
		watch.Said("Valet Key's output", p.Out.String()+p.Err.String())
	}
	secrets := site.known()
	for _, kind := range []string{"code", "code_verifier", "access_token", "refresh_token", "client_secret", "registration_access_token"} {
		if !slices.Contains(slices.Collect(maps.Values(secrets)), kind) {
			t.Errorf("no %s went by", kind)
		}
	}
	if secrets[strings.TrimSpace(token.Out.String())] != "access_token" {
		t.Error("the token that vk printed is not known here")
	}
	for _, leak := range watch.Leaks(secrets, h.Dir) {
		t.Error(leak)
	}
}
