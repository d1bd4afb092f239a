//go:build e2e && linux

package hosts

import (
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

// hosting is a Valet Key at its usual place, an issuer that is not ours, and room for hosts. Many hosts pass nothing but
// the likes of HOME and PATH on to what they start, so that is all vk has to find Valet Key by. The usual place may be
// outside the home, in the person's runtime directory: there is one hosting at a time.
type hosting struct {
	*rig.Place
	issuer *rig.Issuer
}

func newHosting(t testing.TB, issuerArgs ...string) *hosting {
	t.Helper()
	h := &hosting{Place: rig.New(t)}
	h.Usual = true
	if conn, err := net.Dial("unix", h.Socket()); err == nil {
		conn.Close()
		t.Skip("Valet Key runs on this computer, where the hosts would look for it; quit it to run this test")
	}
	h.issuer = h.Issuer(issuerArgs...)
	h.App("--policy", h.Write("policy.json", rig.Everyone), "--browser", rig.Program(t, "vkdemo")+" browser --yes --account ada")
	return h
}

// host runs a host to its end and returns what it printed.
func (h *hosting) host(t testing.TB, name string, args ...string) string {
	t.Helper()
	p := h.Run(h.hostCommand(name, args...))
	if code := p.Wait(); code != 0 {
		t.Fatalf("%s: exit code %d\n%s\n%s", filepath.Base(name), code, p.Out.String(), p.Err.String())
	}
	return p.Out.String()
}

func (h *hosting) hostCommand(name string, args ...string) *exec.Cmd {
	cmd := h.Command(name, args...)
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(rig.Node(h.T))+":"+rig.Peer(h.T, "more/node_modules/.bin")+":/usr/bin:/bin")
	return cmd
}

// bridged are hosts that start vk bridge as the command of a server, and how each uses one.
var bridged = map[string]func(*testing.T, *hosting, hostedServer){
	"the Python SDK's client": func(t *testing.T, h *hosting, s hostedServer) {
		useAll(t, h, s, rig.Peer(t, "more/.venv/bin/python"), rig.Peer(t, "more/host.py"))
	},
	"the TypeScript SDK's client": func(t *testing.T, h *hosting, s hostedServer) {
		useAll(t, h, s, rig.Node(t), rig.Peer(t, "more/host.mjs"))
	},
	"inspector --cli": func(t *testing.T, h *hosting, s hostedServer) {
		args, _ := json.Marshal(s.simple.Args)
		rig.Contains(t, "the inspector", h.host(t, rig.Peer(t, "more/node_modules/.bin/mcp-inspector"), "--cli", rig.Program(t, "vk"), "bridge", s.url,
			"--protocol-era", "auto", "--method", "tools/call", "--tool-name", s.simple.Tool, "--tool-args-json", string(args)), []string{s.simple.text})
	},
	"mcporter": func(t *testing.T, h *hosting, s hostedServer) {
		h.VK("connect", "cursor", s.url, "--name", s.name, "--yes").Must() // mcporter reads Cursor's file
		args, _ := json.Marshal(s.simple.Args)
		rig.Contains(t, "mcporter", h.host(t, rig.Peer(t, "more/node_modules/.bin/mcporter"), "call", s.name+"."+s.simple.Tool, "--args", string(args)), []string{s.simple.text})
	},
}

// TestHostsUseServersThroughTheBridge: real hosts start vk bridge and use real servers that want tokens.
func TestHostsUseServersThroughTheBridge(t *testing.T) {
	h := newHosting(t)
	servers := h.servers()
	for _, s := range servers {
		h.VK("signin", s.url).Must()
		for name, use := range bridged {
			t.Run(name+"/"+s.name, func(t *testing.T) { use(t, h, s) })
		}
	}
	t.Run("Codex", func(t *testing.T) { codexUsesTheBridge(t, h, servers) })
}

// useAll makes every call of a server with a host that is a script in peers.
func useAll(t *testing.T, h *hosting, s hostedServer, runs, script string) {
	calls := append([]toolCall{s.simple}, s.asking...)
	wanted, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tools   []string
		Answers []struct {
			Text  string
			Asked []string
		}
	}
	out := h.host(t, runs, script, string(wanted), rig.Program(t, "vk"), "bridge", s.url)
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Answers) != len(calls) {
		t.Fatalf("it printed %q: %v", out, err)
	}
	for i, call := range calls {
		answer := got.Answers[i]
		slices.Sort(answer.Asked)
		if !slices.Contains(got.Tools, call.Tool) || !strings.Contains(answer.Text, call.text) || !slices.Equal(answer.Asked, call.asked) {
			t.Errorf("%s of %q answers %q and asked %q on the way; want %q and %q", call.Tool, got.Tools, answer.Text, answer.Asked, call.text, call.asked)
		}
	}
}
