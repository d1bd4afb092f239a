// Package broker is the head of Valet Key: it alone holds refresh tokens, and it alone decides which host may have
// which token now.
//
// A grant is what the person gave us for one server: (resource, issuer, account). Each is one record in the keychain,
// and that record is the only truth about it. In memory stand the access tokens that are alive, one per grant and set
// of scopes, and the questions that wait for the person. The order of things that must not be lost is always the same:
// the record is written, then memory learns of it, then the host.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/valetkey/valetkey/broker/asking"
	"github.com/valetkey/valetkey/broker/enterprise"
	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/broker/signin"
	"github.com/valetkey/valetkey/broker/tokens"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/quirk"
	"github.com/valetkey/valetkey/words"
)

// Config is what a Broker needs. Store, Discovery and Flow are required.
type Config struct {
	Store     keystore.Store
	Discovery *discovery.Client
	Flow      func(onPage func(oauthflow.Request, oauthflow.Page)) *oauthflow.Flow

	// Ask puts a question to the person and returns when it is answered, when ctx ends (the question is withdrawn) or
	// when nobody can be asked (an error that says so). nil: there is nobody to ask.
	Ask func(ctx context.Context, q face.Question) (face.Answer, error)

	// Policy decides a question at once from what the person wrote down beforehand; rule says why. decided is false when
	// the policy says nothing about it, and then the person is asked. nil: there is no policy.
	Policy func(q face.Question) (answer face.Answer, rule string, decided bool)

	// Clients finds a client that the person registered with an issuer beforehand. nil: none.
	Clients func(issuer string) (client.Client, bool)

	// ReadAssertion reads a file that says who this computer or workload is, a JWT that only the person and the system can
	// change. nil: there are none.
	ReadAssertion func(path string) (secret.Text, error)

	// Settings are what the person set for a server beforehand, by its resource: quirks that anybody may [quirk.Set]. nil: nothing.
	Settings func(resource string) []quirk.Quirk

	// Probe tells whether the keychain can be used, without disturbing the person. nil: it always can.
	Probe func(ctx context.Context) error

	// OnChange is called after anything that State shows has changed, from any goroutine; it must not block. nil: nobody
	// looks.
	OnChange func()

	// OpenURL opens the page of a sign-in again, for the person's wish. nil: it cannot be done.
	OpenURL func(ctx context.Context, url string) error

	// Show opens the main window, and returns when it is on the screen. nil: there is none.
	Show func() error

	// Windows says why no window can be shown, and what to install. nil: it is not known, as when it returns nil.
	Windows func() *localapi.Error

	Face     string       // who asks, for status: "window", "terminal", "policy"
	Version  string       // of the program
	Socket   string       // shown to the person
	StateDir string       // where the activity log goes; "" keeps it in memory only
	Log      *slog.Logger // nil: discarded
}

// Broker decides. It implements localapi.Backend. Its methods are safe for concurrent use.
type Broker struct {
	cfg        Config
	ledger     *ledger.Ledger
	tokens     *tokens.Tokens
	enterprise *enterprise.Identities
	consents   *consents
	uses       *uses
	signIns    *signin.SignIns
	desk       *asking.Desk
	activity   *activity
	life
}

// life is what ends with the Broker.
type life struct {
	ctx  context.Context // ends with Close
	stop context.CancelFunc
	jobs sync.WaitGroup
}

// Open starts a Broker. The keychain is read in the background, because it may be locked: whoever comes first waits.
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	if cfg.Store == nil || cfg.Discovery == nil || cfg.Flow == nil {
		return nil, errors.New("broker: Store, Discovery and Flow are required")
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func() {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	log, err := openActivity(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, activity: log, consents: newConsents(), uses: newUses()}
	b.ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	flow := cfg.Flow(func(req oauthflow.Request, page oauthflow.Page) { b.signIns.ShowPage(req, page) })
	b.desk = asking.New(b.ctx, asking.Config{Ask: cfg.Ask, OnChange: cfg.OnChange, Settled: b.noteSettled, Halted: b.halted})
	b.ledger = ledger.Open(b.ctx, ledger.Config{Store: cfg.Store, Changed: cfg.OnChange, Gone: b.gone, Log: cfg.Log})
	b.enterprise = enterprise.New(enterprise.Config{Flow: flow, Discovery: cfg.Discovery, Ledger: b.ledger, Log: cfg.Log})
	b.signIns = signin.New(b.ctx, signin.Config{
		Flow: flow, Discovery: cfg.Discovery, Ledger: b.ledger, WrittenClient: cfg.Clients, WrittenQuirks: cfg.Settings,
		Ask: func(ctx context.Context, q face.Question) (face.Answer, error) {
			answer, _, err := b.ask(ctx, q)
			return answer, err
		},
		AskClient: b.askClient, Vouch: b.vouch, Disowned: b.enterprise.Disowned,
		Vouched: func(ours client.Client, account string) bool { return !b.enterprise.OpensPage(b.ctx, ours, account) },
		Opens:   cfg.OpenURL != nil, Log: b.activity.add, Changed: cfg.OnChange,
	})
	b.tokens = tokens.New(b.ctx, tokens.Config{
		Flow: flow, Discovery: cfg.Discovery, Settled: b.signIns.Quirks, Unknown: b.signIns.Unknown,
		Obtain: func(ctx context.Context, rec ledger.Record, request oauthflow.Request) (*oauthflow.Tokens, string, error) {
			return b.obtain(ctx, flow, rec, request)
		},
		Log: b.activity.add, Changed: cfg.OnChange,
	})
	b.jobs.Go(func() {
		if err := b.ledger.Load(keystore.Quiet(b.ctx)); err != nil && b.ctx.Err() == nil {
			b.cfg.Log.Warn("the keychain could not be read at start", "error", err)
		}
	})
	return b, nil
}

// Close ends what is under way: questions and sign-ins are given up, a refresh that was posted is finished and saved.
func (b *Broker) Close() {
	b.stop()
	b.jobs.Wait()
	b.signIns.Wait()
	b.desk.Close() // after all that may ask
	b.tokens.Wait()
	b.ledger.Wait()
	b.activity.close()
}

// obtain gets new tokens for a client that gets them by itself. It is the person's own, and what they say of it now counts,
// not what the record remembers.
func (b *Broker) obtain(ctx context.Context, flow *oauthflow.Flow, rec ledger.Record, request oauthflow.Request) (*oauthflow.Tokens, string, error) {
	now, ok := b.signIns.PreRegistered(rec.Issuer)
	if !ok || now.GrantType != rec.Registration.GrantType || now.ClientID != rec.Registration.ClientID || ledger.EnterpriseOf(now) != rec.Enterprise() {
		return nil, "", localapi.Errorf(localapi.ErrSignInRequired, "the client %s at %s, which signs in by itself, was taken away", rec.Registration.ClientID, words.Host(rec.Issuer)).
			WithHint("set it again, or run vk forget %s and sign in another way", rec.Server)
	}
	request.Registration = now
	err := b.vouch(ctx, &request, rec.Account, false)
	if errors.Is(err, enterprise.ErrSignIn) {
		return nil, enterprise.ErrSignIn.Error(), err
	}
	if err != nil {
		return nil, "", err
	}
	got, err := flow.Obtain(ctx, request)
	if b.enterprise.Disowned(ctx, request.Registration, rec.Account, err) {
		return nil, enterprise.ErrSignIn.Error(), fmt.Errorf("%w: %w", enterprise.ErrSignIn, err)
	}
	return got, "", err
}
