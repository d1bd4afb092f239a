package broker

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// Grants answers GET /v1/grants.
func (b *Broker) Grants(ctx context.Context, _ *peer.Peer) (*localapi.Grants, error) {
	if err := b.ledger.Load(ctx); err != nil {
		return nil, b.explain(err, "")
	}
	return &localapi.Grants{Grants: b.shownGrants()}, nil
}

func (b *Broker) shownGrants() []localapi.Grant {
	out := []localapi.Grant{}
	for _, g := range b.ledger.Grants() {
		out = append(out, b.shown(g))
	}
	slices.SortStableFunc(out, func(a, b localapi.Grant) int { return strings.Compare(a.Server, b.Server) })
	return out
}

// shown is g without its secrets.
func (b *Broker) shown(g *ledger.Grant) localapi.Grant {
	r, live := g.Record(), b.tokens.Shown(g)
	out := localapi.Grant{
		Server: r.Server, Resource: r.Resource, Name: r.Name, Issuer: r.Issuer, Unpublished: r.Unpublished, Account: r.Account, Scopes: r.Granted,
		State: localapi.StateReady, Renewable: r.Renewable(), ExpiresAt: live.ExpiresAt, SignedInAt: r.SignedInAt, RefreshedAt: r.RefreshedAt,
		Consents: []localapi.Consent{}, Prefix: r.Prefix, Quirks: r.Quirks, Check: live.Check,
		Bound: !r.Key.Empty(), Bindable: r.Bindable,
	}
	if ours := r.Registration.Public(); !r.Open() {
		out.Registration = &ours
	}
	if out.Scopes == nil {
		out.Scopes = []string{}
	}
	now := time.Now()
	for _, c := range r.Consents {
		if c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt) {
			out.Consents = append(out.Consents, c)
		}
	}
	out.Consents = append(out.Consents, b.consents.shown(g)...)
	switch {
	case r.Problem != "":
		out.State, out.Problem = localapi.StateSignIn, words.Sentence(r.Problem)
	case r.Open(): // nothing can be missing
	case !out.Renewable && !live.Alive:
		out.State, out.Problem = localapi.StateSignIn, "No token is left, and the issuer gave no refresh token to get another."
	case g.Unsaved():
		out.State, out.Problem = localapi.StateUnsaved, "The keychain did not take the newest refresh token yet. Keep Valet Key running and unlock the keychain."
	case live.Down != "":
		out.State, out.Problem = localapi.StateUnavailable, live.Down
	}
	return out
}

// Status answers GET /v1/status. It names nobody.
func (b *Broker) Status(ctx context.Context) (*localapi.Status, error) {
	if b.cfg.Probe != nil {
		b.ledger.Note(b.cfg.Probe(ctx))
	}
	grants := b.shownGrants()
	keychain, _ := b.ledger.Keychain()
	s := &localapi.Status{
		Version: b.cfg.Version, APIMinor: localapi.APIMinor, PID: os.Getpid(), Face: b.cfg.Face, Keychain: keychain, Windows: b.windows(),
		Servers: len(grants), Waiting: len(b.desk.Waiting()),
	}
	for _, g := range grants {
		if g.State == localapi.StateSignIn {
			s.SignIns++
		}
	}
	return s, nil
}

// Open answers POST /v1/open: it shows the person the main window. Showing it decides nothing, so anyone may ask; a
// window that is open already is only brought to the page.
func (b *Broker) Open(context.Context, *peer.Peer, localapi.OpenRequest) (*localapi.Opened, error) {
	if b.cfg.Show == nil {
		return nil, face.ErrNoWindow
	}
	if err := b.cfg.Show(); err != nil {
		return nil, b.explain(err, "")
	}
	return &localapi.Opened{}, nil
}

// windows says why no window can be shown; nil: they can, or there are none.
func (b *Broker) windows() *localapi.Error {
	if b.cfg.Windows == nil {
		return nil
	}
	return b.cfg.Windows()
}

// Shown hears from the face that the question with that ID is on the screen.
func (b *Broker) Shown(id string) { b.desk.Shown(id) }

// State is everything a window or the tray draws, as of now.
func (b *Broker) State() face.State {
	grants := b.shownGrants()
	keychain, problems := b.ledger.Keychain()
	s := face.State{
		Version: b.cfg.Version, Socket: b.cfg.Socket, Keychain: keychain, Windows: b.windows(), Grants: grants,
		Waiting: b.desk.Waiting(), SignIns: b.signIns.Shown(), Paused: b.desk.Pauses(), Activity: b.activity.shown(),
	}
	if keychain == ledger.KeychainOK && len(problems) > 0 {
		s.Keychain = strings.Join(problems, " ")
	}
	return s
}
