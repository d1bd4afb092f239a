package broker

import (
	"context"
	"strings"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/broker/signin"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/words"
)

// Register answers POST /v1/client: when the person agrees, their client is used at the issuer from now on, or no longer.
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
	t, r, err := b.registering(ctx, w.url, req)
	if err != nil {
		return nil, err
	}
	q := w.question(face.KindRegister, t.Record())
	q.ClientID = r.ClientID
	q.Why = "The program named above asked that this client ID be used at this issuer from now on."
	q.Notes = signin.Notes(r, t.Issuer)
	if req.Remove {
		q.Why = "The program named above asked that the client ID you set for this issuer be removed."
	}
	if _, _, err := b.ask(ctx, q); err != nil {
		return nil, err
	}
	return b.setClient(ctx, w, t, r)
}

// registering finds out what req is about: where its client belongs, and the client. The zero Registration is one to be
// removed. No file that req names is read and no enterprise asked, because the person has not agreed yet.
func (b *Broker) registering(ctx context.Context, server string, req localapi.RegistrationRequest) (*signin.Target, client.Client, error) {
	var r client.Client
	if err := b.ledger.Load(ctx); err != nil {
		return nil, r, err
	}
	if !req.Remove {
		var err error
		if r, err = req.Set(); err == nil {
			err = checkKeys(r)
		}
		if err != nil {
			return nil, r, err
		}
	}
	t, err := b.signIns.DiscoverAt(ctx, server, req.Issuer)
	if err != nil {
		return nil, r, err
	}
	if _, ok := b.signIns.Written(t.Issuer.ID); ok {
		return nil, r, localapi.Errorf(localapi.ErrBadRequest, "the policy file names the client at %s", t.Issuer.ID).
			WithHint("change it there: what stands in the policy file comes first")
	}
	if req.Remove {
		if _, ok := b.signIns.PreRegistered(t.Issuer.ID); !ok {
			return nil, r, localapi.Errorf(localapi.ErrBadRequest, "no client ID is set for %s", t.Issuer.ID)
		}
		return t, r, nil
	}
	r.Issuer = t.Issuer.ID
	return t, r, nil
}

// setClient keeps what registering returned, or removes what was kept.
func (b *Broker) setClient(ctx context.Context, w *want, t *signin.Target, r client.Client) (*localapi.Registered, error) {
	rule := "client ID set for "
	if r.ClientID == "" {
		rule = "client ID removed for "
		if err := b.ledger.DropClient(ctx, t.Issuer.ID); err != nil {
			return nil, err
		}
	} else {
		if err := b.findNamed(ctx, r); err != nil {
			return nil, err
		}
		if err := b.ledger.SetClient(ctx, r, t.Server); err != nil {
			return nil, err
		}
	}
	b.activity.add(face.Entry{Time: time.Now(), Event: "register", RequestID: w.id, Host: w.from.Host.Name, HostKey: w.from.Host.Key, Resource: t.Resource.ID, Decision: "done", Rule: rule + t.Issuer.ID})
	b.cfg.OnChange()
	return &localapi.Registered{Issuer: t.Issuer.ID, ClientID: r.ClientID}, nil
}

// findNamed looks whether the file or the enterprise that r names is there: a mistake shows now, and not when a host waits.
func (b *Broker) findNamed(ctx context.Context, r client.Client) error {
	if r.AssertionFile != "" {
		_, err := b.assertion(r, localapi.ErrBadRequest)
		return err
	}
	return b.enterprise.Find(ctx, &oauthflow.Request{Registration: r})
}

// askClient asks the person for a client ID at an issuer that registers nobody, and keeps it.
func (b *Broker) askClient(ctx context.Context, t *signin.Target, issuer string) (client.Client, error) {
	answer, _, err := b.ask(ctx, face.Question{
		Kind: face.KindClientID, Host: peer.Host{Name: "Valet Key"}, Server: t.Server, ServerName: t.Resource.Name, Issuer: issuer,
		Why:   words.Sentence(words.Host(issuer) + " does not let programs register themselves, so it needs a client ID that you or your administrator created there"),
		Notes: []string{"Register a native (desktop) application there with the redirect URIs " + strings.Join(oauthflow.RedirectURIs(), ", ") + "."},
	})
	if err != nil {
		return client.Client{}, err
	}
	r := client.Client{Issuer: issuer, ClientID: strings.TrimSpace(answer.ClientID), Secret: answer.ClientSecret, Source: client.SourcePreRegistered}
	if err := localapi.BadClient(r.Check()); err != nil {
		return client.Client{}, err
	}
	return r, b.ledger.SetClient(ctx, r, t.Server)
}

// checkKeys looks whether the keys of a client that the person entered are ones that can sign. The way it authenticates
// follows from the issuer's metadata when it is used (oauthflow).
func checkKeys(c client.Client) error {
	if !c.Key.Empty() {
		if _, err := oauthflow.ParseKey(c.Key); err != nil {
			return localapi.Errorf(localapi.ErrBadRequest, "%s", err).WithHint("give the file that holds it, as the issuer made it")
		}
	}
	if c.Enterprise != nil {
		return checkKeys(c.Enterprise.Client)
	}
	return nil
}

// vouch puts into request's registration who this is, where it must say so: what the platform wrote, or who the person
// is at their enterprise. page says that they know that one opens.
func (b *Broker) vouch(ctx context.Context, request *oauthflow.Request, account string, page bool) error {
	if err := b.enterprise.Find(ctx, request); err != nil {
		return err
	}
	if r := &request.Registration; r.AssertionFile != "" && r.Assertion.Empty() {
		var err error
		r.Assertion, err = b.assertion(*r, localapi.ErrUnavailable)
		return err
	}
	return b.enterprise.Identify(ctx, request, account, page)
}

// forgetIdentity ends what the person is at rec's enterprise, if no other grant needs it.
func (b *Broker) forgetIdentity(ctx context.Context, rec ledger.Record) error {
	r, _ := b.signIns.PreRegistered(rec.Issuer)
	return b.enterprise.Forget(ctx, rec, r)
}

// assertion reads what r's file says of who this is. A file that cannot be used is named in an error of that kind, never
// quoted.
func (b *Broker) assertion(r client.Client, kind error) (secret.Text, error) {
	if b.cfg.ReadAssertion == nil {
		return secret.Text{}, localapi.Errorf(localapi.ErrUnavailable, "this Valet Key reads no files that say who it is")
	}
	text, err := b.cfg.ReadAssertion(r.AssertionFile)
	if err != nil {
		return text, localapi.Errorf(kind, "the file %s, which is to say who this is, cannot be used: %v", r.AssertionFile, err).
			WithHint("your platform must write it there, as a JWT; or name another file: vk client with --assertion-file")
	}
	return text, nil
}
