//go:build e2e && linux

package desktop

import (
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

// TestAQuestionFitsTheScreen: whatever the screen and the scale, a person can deny with the mouse.
func TestAQuestionFitsTheScreen(t *testing.T) {
	for name, c := range map[string]struct {
		screen, scale, dpi string
		wide               int // pixels, at least
	}{
		"small":               {"800x600", "1", "", 450},
		"150 %":               {"1366x768", "1.5", "", 675},
		"200 %":               {"1920x1080", "2", "", 900},
		"200 % by Xft.dpi":    {"1920x1080", "", "192", 900},
		"nobody says a scale": {"1280x800", "", "", 450},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesktopOn(t, c.screen, c.scale)
			if c.dpi != "" {
				d.must("xprop", "-root", "-f", "RESOURCE_MANAGER", "8s", "-set", "RESOURCE_MANAGER", "Xft.dpi:\t"+c.dpi)
			}
			d.keyring(password)
			server := rig.NewServer(t, d.Issuer())
			d.valetkey()
			asked := d.VK("token", server.URL)
			w := d.window(titleQuestion)
			w.focus()
			w.photo("question-fits")
			rig.Until(t, "a window that is as wide as a question needs", func() bool {
				width, _ := w.size()
				return width >= c.wide
			})
			w.click("deny")
			asked.Fails(3, "the person said no")
			w.waitGone()
		})
	}
}
