package broker

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// Grants answers GET /v1/grants.
func (b *Broker) Grants(ctx context.Context, _ *peer.Peer) (*localapi.Grants, error) {
	if err := b.load(ctx); err != nil {
		return nil, b.explain(err, "")
	}
	return &localapi.Grants{Grants: b.shownGrants()}, nil
}

func (b *Broker) shownGrants() []localapi.Grant {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []localapi.Grant{}
	for _, g := range b.grants {
		out = append(out, g.shown(now))
	}
	slices.SortStableFunc(out, func(a, b localapi.Grant) int { return strings.Compare(a.Server, b.Server) })
	return out
}

// shown is g without its secrets. Callers hold Broker.mu.
func (g *grant) shown(now time.Time) localapi.Grant {
	r := g.record.clone()
	out := localapi.Grant{
		Server: r.Server, Resource: r.Resource, Name: r.Name, Issuer: r.Issuer, Unpublished: r.Unpublished, Account: r.Account, Scopes: r.Granted,
		State: localapi.StateReady, Renewable: r.renewable(), SignedInAt: r.SignedInAt, RefreshedAt: r.RefreshedAt,
		Consents: []localapi.Consent{}, Prefix: r.Prefix, Quirks: r.Quirks, Check: g.check,
		Bound: !r.Key.Empty(), Bindable: r.Bindable,
	}
	if ours := r.Registration.Public(); !r.open() {
		out.Registration = &ours
	}
	if out.Scopes == nil {
		out.Scopes = []string{}
	}
	alive := false
	for _, h := range g.held {
		alive = alive || h.lives(0)
		if h.expiry.After(out.ExpiresAt) {
			out.ExpiresAt = h.expiry
		}
	}
	for _, c := range r.Consents {
		if c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt) {
			out.Consents = append(out.Consents, c)
		}
	}
	for _, c := range g.running {
		if !c.over(now) {
			out.Consents = append(out.Consents, c.Consent)
		}
	}
	switch {
	case r.Problem != "":
		out.State, out.Problem = localapi.StateSignIn, words.Sentence(r.Problem)
	case r.open(): // nothing can be missing
	case !out.Renewable && !alive:
		out.State, out.Problem = localapi.StateSignIn, "No token is left, and the issuer gave no refresh token to get another."
	case g.unsaved:
		out.State, out.Problem = localapi.StateUnsaved, "The keychain did not take the newest refresh token yet. Keep Valet Key running and unlock the keychain."
	case g.down != "":
		out.State, out.Problem = localapi.StateUnavailable, g.down
	}
	return out
}

// Status answers GET /v1/status. It names nobody.
func (b *Broker) Status(ctx context.Context) (*localapi.Status, error) {
	if b.cfg.Probe != nil {
		b.noteKeychain(b.cfg.Probe(ctx))
	}
	grants := b.shownGrants()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &localapi.Status{
		Version: b.cfg.Version, APIMinor: localapi.APIMinor, PID: os.Getpid(), Face: b.cfg.Face, Keychain: b.keychain,
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
		return nil, localapi.Errorf(localapi.ErrUnavailable, "this Valet Key has no window").WithHint("vk list and vk show tell what it knows")
	}
	if err := b.cfg.Show(); err != nil {
		return nil, b.explain(err, "")
	}
	return &localapi.Opened{}, nil
}

// State is everything a window or the tray draws, as of now.
func (b *Broker) State() face.State {
	grants := b.shownGrants()
	waiting, paused := b.desk.Waiting(), b.desk.Pauses()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := face.State{
		Version: b.cfg.Version, Socket: b.cfg.Socket, Keychain: b.keychain, Grants: grants,
		Waiting: waiting, SignIns: []face.SignIn{}, Paused: paused, Activity: b.activity.shown(),
	}
	if b.keychain == keychainOK && len(b.problems) > 0 {
		s.Keychain = strings.Join(b.problems, " ")
	}
	for _, in := range b.signIns {
		s.SignIns = append(s.SignIns, in.SignIn)
	}
	slices.SortFunc(s.SignIns, func(a, b face.SignIn) int { return a.Started.Compare(b.Started) })
	return s
}
