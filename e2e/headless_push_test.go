//go:build e2e && linux

package e2e

import "testing"

// TestHeadlessPushedRequest signs in at oidc-provider, which takes pushed authorization requests, or nothing else.
func TestHeadlessPushedRequest(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"offered": nil, "required": {"--require-pushed"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHeadless(t)
			issuer := h.newIssuer(args...)
			server := newMCPServer(t, issuer)
			h.app("--policy", h.write("policy.json", headlessEveryone), "--browser", program(t, "vkdemo")+" browser --yes --account alice")
			server.callTool(h.must("token", server.url))
			pushed := func() int { return len(issuer.happened(func(e event) bool { return e.Event == "pushed" && e.OK })) }
			headlessWait(t, "the issuer tells of it", func() bool { return issuer.signIns() == 1 && pushed() == 1 })
		})
	}
}
