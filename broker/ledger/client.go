package ledger

import (
	"context"
	"slices"

	"github.com/valetkey/valetkey/client"
)

// entered is a client that the person entered, as the keychain keeps it.
type entered struct {
	Version      int           `json:"v"`
	Issuer       string        `json:"issuer"`
	Server       string        `json:"server,omitempty"` // the server it was entered for
	Registration client.Sealed `json:"registration"`
	Enterprise   client.Sealed `json:"enterprise,omitzero"` // at the issuer that Registration.Enterprise names
}

func clientItem(issuer string) string { return "client-" + shortHash(issuer) }

// whole is the client that SetClient was given.
func (e entered) whole() client.Client {
	r := e.Registration.At(e.Issuer)
	if at := r.Enterprise; at != nil {
		r.Enterprise = &client.Enterprise{Client: e.Enterprise.At(at.Issuer)}
	}
	return r
}

// Client is the client that the person entered for issuer.
func (l *Ledger) Client(issuer string) (client.Client, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.clients {
		if c.Issuer == issuer {
			return c.whole(), true
		}
	}
	return client.Client{}, false
}

// ClientIssuers are the issuers for which the person entered a client for server.
func (l *Ledger) ClientIssuers(server string) (issuers []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.clients {
		if c.Server == server {
			issuers = append(issuers, c.Issuer)
		}
	}
	return issuers
}

// SetClient keeps r, which the person entered for server, in place of what there was for its issuer.
func (l *Ledger) SetClient(ctx context.Context, r client.Client, server string) error {
	c := entered{Version: recordVersion, Issuer: r.Issuer, Server: server, Registration: client.Seal(r)}
	if r.Enterprise != nil {
		c.Enterprise = client.Seal(r.Enterprise.Client)
	}
	return l.changeClient(ctx, r.Issuer, func(ctx context.Context) error { return l.write(ctx, clientItem(r.Issuer), c, clientLines) }, c)
}

// DropClient removes the client at issuer.
func (l *Ledger) DropClient(ctx context.Context, issuer string) error {
	return l.changeClient(ctx, issuer, func(ctx context.Context) error { return l.remove(ctx, clientItem(issuer), clientLines) })
}

// changeClient has the keychain changed by write, and only then memory, where now is what there is for issuer.
func (l *Ledger) changeClient(ctx context.Context, issuer string, write func(context.Context) error, now ...entered) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := write(ctx)
	l.Note(err)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients = append(slices.DeleteFunc(slices.Clone(l.clients), func(c entered) bool { return c.Issuer == issuer }), now...)
	return nil
}
