package face

import (
	"errors"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/localapi"
)

func TestNobody(t *testing.T) {
	var out strings.Builder
	n := Nobody{&out}
	if a, err := n.Ask(t.Context(), Question{}); err == nil || a.Answered {
		t.Errorf("answered %+v, %v", a, err)
	}
	if err := n.Open(); !errors.Is(err, localapi.ErrUnavailable) {
		t.Errorf("opened: %v", err)
	}
	n.ShowPage("https://mcp.example.com", "https://auth.example.com/a", "")
	n.ShowPage("https://mcp.example.com", "https://auth.example.com/d", "AB-CD")
	const want = "To sign in to https://mcp.example.com, open https://auth.example.com/a\n" +
		"To sign in to https://mcp.example.com, open https://auth.example.com/d and enter AB-CD\n"
	if out.String() != want {
		t.Errorf("told\n%s", out.String())
	}
}
