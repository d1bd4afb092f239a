//go:build e2e && linux

package headless

import (
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

// TestHeadlessPushedRequest signs in at oidc-provider, which takes pushed authorization requests, or nothing else.
func TestHeadlessPushedRequest(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"offered": nil, "required": {"--require-pushed"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := rig.New(t)
			issuer := h.Issuer(args...)
			server := rig.NewServer(t, issuer)
			h.App("--policy", h.Write("policy.json", rig.Everyone), "--browser", rig.Program(t, "vkdemo")+" browser --yes --account alice")
			server.CallTool(h.VK("token", server.URL).Must())
			pushed := func() int { return len(issuer.Happened(func(e rig.Event) bool { return e.Event == "pushed" && e.OK })) }
			rig.Until(t, "the issuer tells of it", func() bool { return issuer.SignIns() == 1 && pushed() == 1 })
		})
	}
}
