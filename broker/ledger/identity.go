package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/keystore"
)

// Enterprise names our client at the issuer of an enterprise.
type Enterprise struct {
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"`
}

// EnterpriseOf is the enterprise that speaks for the person to r's issuer; zero for none.
func EnterpriseOf(r client.Client) Enterprise {
	if r.Enterprise == nil {
		return Enterprise{}
	}
	return Enterprise{r.Enterprise.Issuer, r.Enterprise.ClientID}
}

// Identity is who the person is at the issuer of their enterprise, as the keychain keeps it: one for all the servers at
// whose issuers it speaks for them.
type Identity struct {
	Version  int        `json:"v"`
	At       Enterprise `json:"enterprise"`
	Account  string     `json:"account"`
	Subject  string     `json:"sub"`
	IDToken  kept       `json:"id_token"`
	Expiry   time.Time  `json:"expiry"`
	Refresh  kept       `json:"refresh_token,omitzero"`
	SignedIn time.Time  `json:"signed_in_at"`
}

func (e Enterprise) item(account string) string {
	return "identity-" + shortHash(e.Issuer, e.ClientID, account)
}

// Identity reads who the person is at, with that account; keystore.ErrNotFound when they did not sign in there.
func (l *Ledger) Identity(ctx context.Context, at Enterprise, account string) (id Identity, err error) {
	if err = l.get(ctx, at.item(account), &id); !errors.Is(err, keystore.ErrNotFound) {
		l.Note(err)
	}
	return id, err
}

// SetIdentity writes id.
func (l *Ledger) SetIdentity(ctx context.Context, id Identity) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	id.Version = recordVersion
	err := l.write(ctx, id.At.item(id.Account), id, identityLines)
	l.Note(err)
	return err
}

// DropIdentity removes who the person is at, with that account.
func (l *Ledger) DropIdentity(ctx context.Context, at Enterprise, account string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := l.remove(ctx, at.item(account), identityLines)
	l.Note(err)
	return err
}
