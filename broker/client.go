package broker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/peer"
)

// Register answers POST /v1/client: when the person agrees, their client ID is used at the issuer from now on.
func (b *Broker) Register(ctx context.Context, from *peer.Peer, req localapi.RegistrationRequest) (*localapi.Registered, error) {
	w, err := newWant(ctx, from, localapi.TokenRequest{Resource: req.Resource, Client: req.Client})
	if err != nil {
		return nil, err
	}
	registered, err := b.register(ctx, w, req)
	if err != nil {
		return nil, b.explain(err, w.url)
	}
	return registered, nil
}

func (b *Broker) register(ctx context.Context, w *want, req localapi.RegistrationRequest) (*localapi.Registered, error) {
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	r, err := preRegistration(req.Issuer, req)
	if err != nil {
		return nil, err
	}
	t, err := b.discoverFor(ctx, w.url, req.Issuer)
	if err != nil {
		return nil, err
	}
	r.Issuer = t.issuer.ID
	q := w.question(face.KindRegister, t.record())
	q.ClientID = r.ClientID
	q.Why = "The program named above asked that this client ID be used at this issuer from now on."
	if r.Unattended() {
		q.Notes = append(q.Notes, "This client gets tokens by itself ("+r.GrantType+"): nobody signs in, and what it may do was decided at the issuer.")
	}
	if _, _, err := b.ask(ctx, q); err != nil {
		return nil, err
	}
	if err := b.saveClient(ctx, client{Issuer: r.Issuer, Server: t.server, Registration: keepRegistration(r)}); err != nil {
		return nil, err
	}
	b.activity.add(face.Entry{Time: time.Now(), Event: "register", RequestID: w.id, Host: w.from.Host.Name, HostKey: w.from.Host.Key, Resource: t.resource.ID, Decision: "done", Rule: "client ID set for " + r.Issuer})
	b.cfg.OnChange()
	return &localapi.Registered{Issuer: r.Issuer, ClientID: r.ClientID}, nil
}

// discoverFor is discover with the issuer named by the person; "" leaves the choice.
func (b *Broker) discoverFor(ctx context.Context, server, issuer string) (*target, error) {
	t, err := b.discover(ctx, server, nil)
	if err != nil || issuer == "" || t.issuer.ID == issuer {
		return t, err
	}
	for _, id := range t.resource.Issuers {
		if id == issuer {
			t.issuer, err = b.cfg.Discovery.Issuer(ctx, server, issuer)
			return t, err
		}
	}
	return nil, localapi.Errorf(localapi.ErrBadRequest, "%s does not name %s as its issuer; it names %s", hostOf(server), issuer, strings.Join(t.resource.Issuers, ", ")).
		WithHint("name one of those, or none")
}

// askClient asks the person for a client ID at an issuer that registers nobody, and keeps it.
func (b *Broker) askClient(ctx context.Context, t *target, issuer string) (oauthflow.Registration, error) {
	answer, _, err := b.ask(ctx, face.Question{
		Kind: face.KindClientID, Host: peer.Host{Name: "Valet Key"}, Server: t.server, ServerName: t.resource.Name, Issuer: issuer,
		Why:   sentence(hostOf(issuer) + " does not let programs register themselves, so it needs a client ID that you or your administrator created there"),
		Notes: []string{"Register a native (desktop) application there with the redirect URIs " + strings.Join(oauthflow.RedirectURIs(), ", ") + "."},
	})
	if err != nil {
		return oauthflow.Registration{}, err
	}
	r, err := preRegistration(issuer, localapi.RegistrationRequest{ClientID: answer.ClientID, ClientSecret: answer.ClientSecret})
	if err != nil {
		return oauthflow.Registration{}, err
	}
	return r, b.saveClient(ctx, client{Issuer: issuer, Server: t.server, Registration: keepRegistration(r)})
}

// preRegistration checks a client that the person entered. The way it authenticates follows from the issuer's metadata
// when it is used (oauthflow), so only the kind is fixed here.
func preRegistration(issuer string, req localapi.RegistrationRequest) (oauthflow.Registration, error) {
	id := strings.TrimSpace(req.ClientID)
	if id == "" || len(id) > 1024 || untrusted.Text(id, 1024) != id {
		return oauthflow.Registration{}, localapi.Errorf(localapi.ErrBadRequest, "the client ID is empty or not printable").
			WithHint("copy it from the issuer's own page")
	}
	if req.ClientSecret.Len() > 4096 {
		return oauthflow.Registration{}, localapi.Errorf(localapi.ErrBadRequest, "the client secret is longer than 4096 characters")
	}
	r := oauthflow.Registration{
		Issuer: issuer, ClientID: id, Secret: req.ClientSecret, Source: oauthflow.SourcePreRegistered,
		GrantType: req.GrantType, Key: req.PrivateKey, KeyID: req.KeyID,
	}
	if !r.Key.Empty() {
		if _, err := oauthflow.ParseKey(r.Key); err != nil {
			return oauthflow.Registration{}, localapi.Errorf(localapi.ErrBadRequest, "%s", err).WithHint("give the file that holds it, as the issuer made it")
		}
	}
	switch {
	case r.GrantType == "":
	case r.GrantType != oauthflow.GrantClientCredentials:
		return oauthflow.Registration{}, localapi.Errorf(localapi.ErrBadRequest, "the grant type %q cannot be set here", untrusted.Text(r.GrantType, 100)).
			WithHint("use %s, or a policy file", oauthflow.GrantClientCredentials)
	case r.Secret.Empty() && r.Key.Empty():
		return oauthflow.Registration{}, localapi.Errorf(localapi.ErrBadRequest, "the grant type %s needs a client secret or a private key", r.GrantType).
			WithHint("give it one on standard input: vk client with --secret-stdin or --key-stdin")
	}
	return r, nil
}

func (b *Broker) saveClient(ctx context.Context, c client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := b.records.saveClient(ctx, c)
	b.noteKeychain(err)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clients = append(slices.DeleteFunc(b.clients, func(o client) bool { return o.Issuer == c.Issuer }), c)
	return nil
}
