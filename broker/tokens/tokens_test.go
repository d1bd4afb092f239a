package tokens

import (
	"log/slog"
	"testing"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/oauthflow"
)

// TestNothingIsKeptOfWhatIsGone: a request may still be about a grant when it is forgotten, and notes what it learns of it.
func TestNothingIsKeptOfWhatIsGone(t *testing.T) {
	tokens := New(t.Context(), Config{Changed: func() {}})
	l := ledger.Open(t.Context(), ledger.Config{Store: keystore.NewMemory(), Changed: func() {}, Gone: tokens.Drop, Log: slog.New(slog.DiscardHandler)})
	turn, _ := l.Claim(ledger.Record{Server: "https://one.example.com", Resource: "https://one.example.com", Issuer: "https://issuer.example.com", Account: "default"})
	key, err := dpop.New()
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Text()
	if err != nil {
		t.Fatal(err)
	}
	turn.Keep(t.Context(), func(r *ledger.Record) {
		r.SignedIn(client.Client{ClientID: "one"}, secret.New("refresh"))
		r.Key.Text = text
	})
	turn.Introduce()
	g, got := turn.Grant(), &oauthflow.Tokens{Access: secret.New("access")}
	tokens.SignedIn(g, nil, got, nil, nil)
	if _, err := turn.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	turn.Give()
	tokens.LookDue(g)
	tokens.noteDown(g, keystore.ErrLocked)
	tokens.let(g)
	if _, err := tokens.Key(g); err != nil {
		t.Error(err)
	}
	tokens.SignedIn(g, key, got, nil, nil)
	if _, held := tokens.Held(g, nil); held || len(tokens.live) != 0 {
		t.Errorf("%d are alive, a token is held: %v", len(tokens.live), held)
	}
}
