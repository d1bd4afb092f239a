package broker

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// Bounds of a token request.
const (
	defaultMinValid = 60 * time.Second
	maxScopes       = 200
	maxChallenges   = 16
	maxReason       = 200 // characters
	maxAccount      = 64  // characters
)

// defaultAccount is the label of the first account at a server, unless the person gave it another.
const defaultAccount = "default"

// want is what a program asks for, checked. It does not change; what happens to it is an attempt.
type want struct {
	asker
	url        string // canonical form of what the host called the resource
	account    string
	scopes     ledger.Scopes // the host asked for these
	demanded   ledger.Scopes // the server's insufficient_scope challenge asked for these
	challenges []discovery.Challenge
	proof      *localapi.Proof // the request the token is for, where the host named it
	minValid   time.Duration
	quiet      bool          // nobody may be asked
	forward    func(error)   // the gateway asks, for one request of the host; see Forward. nil: the host holds the token
	explain    bool          // the token stays here; only what was found in it leaves
	refused    string        // SHA-256 of the token that a server turned down
	rerun      time.Duration // within which asking again means that the last token was turned down; 0: never
}

// asker is who asks, and what they say of themselves.
type asker struct {
	from       *peer.Peer
	clientName string
	reason     string
	id         string // of the request
}

func newWant(ctx context.Context, from *peer.Peer, req localapi.TokenRequest) (*want, error) {
	url, err := canonical(req.Resource)
	if err != nil {
		return nil, err
	}
	if err := bounded(req); err != nil {
		return nil, err
	}
	if req.Refused != "" {
		if sum, err := hex.DecodeString(req.Refused); err != nil || len(sum) != 32 {
			return nil, localapi.Errorf(localapi.ErrBadRequest, "refused must be the SHA-256 of a token, as 64 hex digits")
		}
	}
	account, err := accountLabel(req.Account)
	if err != nil {
		return nil, err
	}
	w := &want{
		asker: asker{from: from, reason: untrusted.Text(req.Reason, maxReason), id: localapi.RequestID(ctx)},
		url:   url, account: account, scopes: ledger.ScopeSet(req.Scopes),
		challenges: discovery.ParseChallenges(req.Challenges), proof: req.Proof,
		minValid: cmp.Or(time.Duration(req.MinValidS)*time.Second, defaultMinValid),
		quiet:    req.Interaction == localapi.InteractionNone || req.Interaction == localapi.InteractionAsk,
		refused:  strings.ToLower(req.Refused), rerun: time.Duration(req.RerunS) * time.Second,
	}
	if req.Client != nil {
		w.clientName = untrusted.Text(strings.TrimSpace(req.Client.Name+" "+req.Client.Version), 60)
	}
	tooNarrow := false
	for _, c := range w.challenges {
		if c.Code() == "insufficient_scope" { // RFC 6750 §3.1; the only challenge that asks for a step-up
			tooNarrow = true
			w.demanded = ledger.ScopeSet(w.demanded, c.Scopes())
		}
	}
	if tooNarrow && len(w.demanded) == 0 {
		w.refused = "" // the token is good, and no renewal or sign-in brings scopes that nobody names (STP-9)
	}
	return w, nil
}

// bounded refuses what no host may ask for.
func bounded(req localapi.TokenRequest) error {
	for _, s := range req.Scopes {
		if !ledger.ValidScope(s) {
			return localapi.Errorf(localapi.ErrBadRequest, "%q is not a scope (RFC 6749, section 3.3)", untrusted.Text(s, 80))
		}
	}
	switch {
	case len(req.Scopes) > maxScopes:
		return localapi.Errorf(localapi.ErrBadRequest, "%d scopes are too many; %d is the limit", len(req.Scopes), maxScopes)
	case len(req.Challenges) > maxChallenges:
		return localapi.Errorf(localapi.ErrBadRequest, "%d challenges are too many; %d is the limit", len(req.Challenges), maxChallenges)
	case req.MinValidS < 0:
		return localapi.Errorf(localapi.ErrBadRequest, "min_valid_s is negative")
	case req.RerunS < 0 || req.RerunS > localapi.MaxRerunS:
		return localapi.Errorf(localapi.ErrBadRequest, "rerun_s must lie between 0 and %d", localapi.MaxRerunS)
	case !slices.Contains([]string{"", localapi.InteractionAuto, localapi.InteractionNone, localapi.InteractionAsk}, req.Interaction):
		return localapi.Errorf(localapi.ErrBadRequest, "interaction is %q; it must be \"auto\", \"none\" or \"ask\"", untrusted.Text(req.Interaction, 20))
	}
	return nil
}

func accountLabel(label string) (string, error) {
	if clean := untrusted.Text(label, maxAccount); clean != label {
		return "", localapi.Errorf(localapi.ErrBadRequest, "the account label must be at most %d printable characters", maxAccount)
	}
	return label, nil
}

// canonical is discovery.Canonical with an error for the host.
func canonical(url string) (string, error) {
	c, err := discovery.Canonical(url)
	if err != nil {
		return "", localapi.Errorf(localapi.ErrBadRequest, "%v", err).WithHint("give the server's URL, such as https://mcp.example.com/mcp")
	}
	return c, nil
}

// set is the set of scopes that w is about, given what its host was allowed.
func (w *want) set(allowed, granted ledger.Scopes, consented bool) ledger.Scopes {
	base := ledger.ScopeSet(w.scopes, w.demanded)
	switch {
	case len(w.demanded) > 0:
		return ledger.ScopeSet(base, allowed) // a step-up must not lose what the host had
	case len(base) > 0:
		return base
	case consented:
		return allowed
	}
	return granted
}

// question starts a question of w about a grant.
func (w *want) question(kind string, rec ledger.Record) face.Question {
	return face.Question{
		Kind: kind, Host: w.from.Host, ClientName: w.clientName, Server: rec.Server, ServerName: rec.Name, Resource: rec.Resource,
		Issuer: rec.Issuer, Unpublished: rec.Unpublished, Account: rec.Account, Reason: w.reason,
	}
}
