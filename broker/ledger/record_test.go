package ledger

import (
	"fmt"
	"testing"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
)

func TestReplacedRefreshTokensAreBounded(t *testing.T) {
	var r Record
	for i := range 3 * maxReplaced {
		r.SignedIn(client.Client{ClientID: "one"}, secret.New(fmt.Sprint(i)))
	}
	if len(r.Replaced) != maxReplaced || r.Replaced[0].Reveal() != fmt.Sprint(3*maxReplaced-2) {
		t.Errorf("%d are kept, the newest first", len(r.Replaced))
	}
	r.SignedIn(r.Registration.Client, r.Refresh.Text)
	if len(r.Replaced) != maxReplaced || r.Replaced[0].Equal(r.Refresh.Text) {
		t.Error("a refresh token that came again counts as replaced")
	}
	r.SignedIn(client.Client{ClientID: "another"}, secret.New("last"))
	if len(r.Replaced) != 0 {
		t.Errorf("%d tokens of another client are kept, which this one cannot revoke", len(r.Replaced))
	}
}
