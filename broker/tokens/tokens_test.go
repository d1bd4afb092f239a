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

// TestWhatWasFoundIsRemembered: also of a token that is held for more than it has, when the one for what it has was replaced.
func TestWhatWasFoundIsRemembered(t *testing.T) {
	tokens := New(t.Context(), Config{Changed: func() {}})
	l := ledger.Open(t.Context(), ledger.Config{Store: keystore.NewMemory(), Changed: func() {}, Gone: tokens.Drop, Log: slog.New(slog.DiscardHandler)})
	turn, _ := l.Claim(ledger.Record{Server: "https://one.example.com", Resource: "https://one.example.com", Account: "default"})
	turn.Introduce()
	turn.Give()
	g, both := turn.Grant(), ledger.Scopes{"read", "write"}
	tokens.SignedIn(g, nil, &oauthflow.Tokens{Access: secret.New("first")}, ledger.Scopes{"read"}, nil)
	alive := tokens.live[g]
	alive.held[both.Key()] = alive.held["read"]
	alive.hold(&oauthflow.Tokens{Access: secret.New("second")}, ledger.Scopes{"read"}, true)
	tok, _ := tokens.Held(g, both)
	first, _ := tokens.Check(t.Context(), g, tok)
	again, _ := tokens.Check(t.Context(), g, tok)
	if tok.Access.Reveal() != "first" || !again.At.Equal(first.At) {
		t.Errorf("%q was looked at at %v and at %v", tok.Access.Reveal(), first.At, again.At)
	}
}
