package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/outbound"
	"github.com/valetkey/valetkey/peer"
)

// Limits of one request (checklist: Algorithm 6, STP-4). The broker refreshes for the first refused token and has the
// person sign in for the second.
const (
	maxRefused = 2 // tokens that the server turned down with 401
	maxSteps   = 2 // tokens with more scopes

	maxChallenges = 16       // the broker takes no more
	maxDiscarded  = 64 << 10 // bytes of an answer read for the sake of its connection
)

var methods = []string{http.MethodGet, http.MethodPost, http.MethodDelete}

// exchange is one request of a host, and what became of it so far.
type exchange struct {
	gateway *Gateway
	request *http.Request
	end     context.CancelCauseFunc // ends request's context
	from    *peer.Peer
	server  string // the one server this can reach, canonical
	to      string // where the message goes: the server, or the place for messages that it named
	client  *http.Client
	message *message
	token   *localapi.Token
	old     bool   // the message goes to such a place
	named   string // the id of the place for messages that this stream named; "" for none

	connected atomic.Bool // there was a connection for the last sending, so it may have arrived
}

// run sends the message, with as many tokens as it takes, until the server's answer is one for the host.
func (x *exchange) run(w http.ResponseWriter) (*http.Response, error) {
	if err := x.prepare(w); err != nil {
		return nil, err
	}
	if err := x.fetch(localapi.TokenRequest{}); err != nil {
		return nil, err
	}
	var err error
	if x.client, err = x.gateway.cfg.HTTP(x.request.Context(), x.server); err != nil {
		return nil, x.unreachable(err)
	}
	refused, steps, looked, key := 0, 0, false, ""
	for {
		resp, err := x.send()
		if err != nil {
			return nil, err
		}
		challenges := resp.Header.Values("WWW-Authenticate")
		challenges = challenges[:min(len(challenges), maxChallenges)]
		scopes, tooNarrow := insufficient(resp.StatusCode, challenges)
		switch {
		case resp.StatusCode == http.StatusUnauthorized:
			discard(resp)
			if refused++; refused > maxRefused {
				return nil, x.refusedAll()
			}
			err = x.another(localapi.TokenRequest{Challenges: challenges, Refused: x.sum()}, x.refusedAll)
		case tooNarrow:
			discard(resp)
			key = x.budgetKey(scopes)
			if steps++; steps > maxSteps {
				x.gateway.budget.spend(key)
			}
			if wait, spent := x.gateway.budget.left(key); spent || steps > maxSteps {
				e := x.tooNarrow(scopes)
				e.RetryAfter = wait
				return nil, e
			}
			err = x.stepUp(challenges, scopes, key)
		case !looked && resp.StatusCode >= 400 && x.request.Method == http.MethodPost && pointsToMetadata(challenges):
			// RFC 9728 §5.2: the metadata may have changed, whatever the status. Most often it has not. The answer to
			// what is no message may only mean that it is not offered.
			looked = true
			last := x.token.AccessToken
			if err = x.fetch(localapi.TokenRequest{Challenges: challenges}); err == nil && (x.token.AccessToken.Equal(last) || !x.message.repeats()) {
				return resp, nil
			}
			discard(resp)
		default:
			return resp, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// prepare reads the message and finds out which server is meant.
func (x *exchange) prepare(w http.ResponseWriter) (err error) {
	r := x.request
	if x.from = localapi.Peer(r.Context()); x.from == nil {
		return errors.New("the request did not come through the door")
	}
	allowed := methods
	if strings.HasPrefix(r.URL.EscapedPath(), endpointPath) {
		allowed = []string{http.MethodPost}
	}
	if !slices.Contains(allowed, r.Method) {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return localapi.Errorf(localapi.ErrBadRequest, "MCP knows no %s here", untrusted.Text(r.Method, 20)).WithStatus(http.StatusMethodNotAllowed)
	}
	if x.message, err = readMessage(r); err != nil {
		return err
	}
	if found, err := x.place(r.URL); found {
		return err
	}
	named, err := localapi.MCPServer(r.URL)
	if err != nil {
		return err
	}
	if x.server, err = discovery.Canonical(named); err != nil {
		return localapi.Errorf(localapi.ErrBadRequest, "the path names no MCP server: %v", err).WithStatus(http.StatusNotFound)
	}
	x.to = x.server
	return nil
}

// fetch gets a token for the server, an empty one if it asks for no sign-in. Only a message is worth a question: a
// stream that a host opens, or takes up again by itself, and the end of a session are nothing that the person did.
func (x *exchange) fetch(req localapi.TokenRequest) error {
	req.Resource = x.server
	silent := x.request.Method != http.MethodPost
	if silent {
		req.Interaction = localapi.InteractionNone
	}
	token, err := x.gateway.cfg.Token(x.request.Context(), x.from, req, x.end)
	if silent && (errors.Is(err, localapi.ErrConsentRequired) || errors.Is(err, localapi.ErrSignInRequired)) {
		return x.unasked(err)
	}
	if err != nil {
		return err
	}
	if origin(token.Resource) != origin(x.server) { // a token goes to its own resource only (USE-5)
		return localapi.Errorf(localapi.ErrAudience, "the token for %s is for %s", x.name(), shown(token.Resource))
	}
	x.token = token
	return nil
}

// unasked is err for a host that has sent no message yet for which the person can be asked.
func (x *exchange) unasked(err error) error {
	var said *localapi.Error
	if !errors.As(err, &said) {
		return err
	}
	e := *said
	return e.WithHint("send a message first (POST): the person is asked about that, and not about a %s", x.request.Method)
}

// another replaces a token that did not do, for the message to be sent again. hopeless is the error when there is no
// other token.
func (x *exchange) another(req localapi.TokenRequest, hopeless func() *localapi.Error) error {
	last := x.token.AccessToken
	if err := x.fetch(req); err != nil {
		return err
	}
	switch {
	case x.token.AccessToken.Equal(last):
		return hopeless()
	case !x.message.repeats():
		return localapi.Errorf(localapi.ErrUnavailable, "%s wanted another token, and a message of more than %d MiB is not sent twice", x.name(), maxKept>>20).
			WithHint("send it again: Valet Key has that token now")
	}
	return nil
}

// sum names the token to the broker; "" when the server was to be used without one.
func (x *exchange) sum() string {
	if x.token.AccessToken.Empty() {
		return ""
	}
	return x.token.AccessToken.SHA256()
}

// stepUp asks for the scopes that the server named. The token it was too narrow for stays good for everything else.
func (x *exchange) stepUp(challenges, scopes []string, key string) error {
	req := localapi.TokenRequest{Challenges: challenges, Reason: x.message.operation(x.request.Method)}
	if len(scopes) > 0 {
		req.Refused = x.sum()
	}
	return x.another(req, func() *localapi.Error {
		x.gateway.budget.spend(key)
		return x.tooNarrow(scopes)
	})
}

func (x *exchange) budgetKey(scopes []string) string {
	host := x.from.Host
	return strings.Join([]string{host.Key, host.Instance, x.server, x.message.operation(x.request.Method), strings.Join(scopes, " ")}, "\n")
}

func pointsToMetadata(challenges []string) bool {
	return slices.ContainsFunc(discovery.ParseChallenges(challenges), func(c discovery.Challenge) bool { return c.ResourceMetadata() != "" })
}

// insufficient reports whether an answer asks for a step-up (RFC 6750 §3.1), and for which scopes.
func insufficient(status int, challenges []string) (scopes []string, ok bool) {
	if status != http.StatusForbidden {
		return nil, false
	}
	for _, c := range discovery.ParseChallenges(challenges) {
		if (c.Scheme == "bearer" || c.Scheme == "dpop") && c.Code() == "insufficient_scope" {
			ok = true
			scopes = append(scopes, c.Scopes()...)
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes), ok
}

// send sends the message with the token. The server's word to send it elsewhere is taken once, and within the origin
// only (BRG-30, RFC 9110 §15.4.8 and §15.4.9).
func (x *exchange) send() (*http.Response, error) {
	resp, err := x.sendProven(x.to)
	if err != nil {
		return nil, err
	}
	to, redirected := target(resp)
	if !redirected {
		return resp, nil
	}
	discard(resp)
	same := to != nil && to.User == nil && origin(to.String()) == origin(x.server)
	repeats := resp.StatusCode == http.StatusTemporaryRedirect || resp.StatusCode == http.StatusPermanentRedirect
	if !same || !repeats || !x.message.repeats() {
		return nil, x.redirected(resp, to)
	}
	if resp, err = x.sendProven(to.String()); err != nil {
		return nil, err
	}
	if to, redirected = target(resp); redirected {
		discard(resp)
		return nil, x.redirected(resp, to)
	}
	return resp, nil
}

// sendProven is sendTo, once more when the server wants its nonce in the proof of a bound token: that request was not
// carried out (RFC 9449 §9).
func (x *exchange) sendProven(address string) (*http.Response, error) {
	resp, err := x.sendTo(address)
	if err != nil || x.token.Binding == nil || !x.token.Binding.Again(resp, "") || !x.message.repeats() {
		return resp, err
	}
	discard(resp)
	return x.sendTo(address)
}

func (x *exchange) sendTo(address string) (*http.Response, error) {
	x.connected.Store(false)
	ctx := httptrace.WithClientTrace(x.request.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { x.connected.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, x.request.Method, address, x.message.body())
	if err != nil {
		return nil, err
	}
	if x.message.rest != nil {
		req.ContentLength = x.message.length
	}
	req.Header = requestHeader(x.request.Header)
	if err := x.authorize(req); err != nil {
		return nil, err
	}
	resp, err := x.client.Transport.RoundTrip(req) // not Do, which fails for a Location it cannot read
	if err != nil {
		return nil, x.unreachable(err)
	}
	return resp, nil
}

// authorize puts the token on req, as on every request (USE-2). A bound one is never sent as a bearer token.
func (x *exchange) authorize(req *http.Request) error {
	if x.token.AccessToken.Empty() {
		return nil // the server asks for no sign-in
	}
	if x.token.Binding != nil {
		return x.token.Binding.Sign(req, x.token.AccessToken)
	}
	req.Header.Set("Authorization", "Bearer "+x.token.AccessToken.Reveal())
	return nil
}

// target is where a redirect leads; nil when that cannot be read.
func target(resp *http.Response) (to *url.URL, redirected bool) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		to, err := resp.Location()
		if err != nil {
			return nil, true
		}
		to.Fragment, to.RawFragment = "", ""
		return to, true
	}
	return nil, false
}

// discard reads what is left of a small answer, so that its connection can be used again.
func discard(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, maxDiscarded)
	resp.Body.Close()
}

func (x *exchange) redirected(resp *http.Response, to *url.URL) *localapi.Error {
	where := "nowhere"
	if to != nil {
		where = origin(to.String())
		if where == origin(x.server) {
			where += to.EscapedPath() + " in a way that cannot be followed"
		}
	}
	return localapi.Errorf(localapi.ErrDiscovery, "%s redirects (HTTP %d) to %s, and a token is not carried there", origin(x.server), resp.StatusCode, shown(where)).
		WithHint("check the server's URL; if it has moved, use its new one")
}

func (x *exchange) refusedAll() *localapi.Error {
	if x.token.AccessToken.Empty() {
		return localapi.Errorf(localapi.ErrDiscovery, "%s wants a sign-in for this and does not say where", x.name()).
			WithHint("tell its owner: the answer must name the server's metadata (RFC 9728)")
	}
	return localapi.Errorf(localapi.ErrSignInRequired, "%s turned down every token, new ones too", x.name()).
		WithHint("run vk show %s to see what it was granted, or ask its owner", x.server)
}

func (x *exchange) tooNarrow(scopes []string) *localapi.Error {
	if len(scopes) == 0 {
		return localapi.Errorf(localapi.ErrConsentDenied, "%s wants more scopes for this and does not say which", x.name()).
			WithHint("ask the server's owner which scopes it needs")
	}
	return localapi.Errorf(localapi.ErrConsentDenied, "%s wants more for this than it was granted, also after asking: %s", x.name(), shown(strings.Join(scopes, " "))).
		WithHint("run vk show %s to see what was granted; the issuer or your account there may not allow more", x.server)
}

// withdrawn is why the person ended this exchange; nil if they did not.
func (x *exchange) withdrawn() *localapi.Error {
	var said *localapi.Error
	if !errors.As(context.Cause(x.request.Context()), &said) {
		return nil
	}
	e := *said
	return x.inDoubt(&e)
}

// inDoubt adds to an error of our own what it leaves open: the message may have arrived.
func (x *exchange) inDoubt(e *localapi.Error) *localapi.Error {
	if x.request.Method == http.MethodPost && x.connected.Load() {
		e.Hint += fmt.Sprintf("; whether %s did what was asked is not known", x.name())
	}
	return e
}

// unreachable is the error of a server that gave no answer. Of what it did send nothing is repeated: that might hold
// the token.
func (x *exchange) unreachable(err error) error {
	if ctx := x.request.Context(); ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var e *localapi.Error
	switch {
	case errors.Is(err, errCutShort):
		e = localapi.Errorf(localapi.ErrBadRequest, "the message did not arrive whole").WithStatus(http.StatusRequestTimeout)
	case errors.Is(err, outbound.ErrURL), errors.Is(err, outbound.ErrScheme), errors.Is(err, outbound.ErrAddress):
		e = localapi.Errorf(localapi.ErrBadRequest, "%v", cause(err)).WithHint("check the server's URL")
	case x.connected.Load():
		e = localapi.Errorf(localapi.ErrUnavailable, "%s closed the connection before it answered; whether it did what was asked is not known", x.name()).
			WithHint("look before you ask for the same again")
	default:
		e = localapi.Errorf(localapi.ErrUnavailable, "%s cannot be reached: %s", x.name(), shown(cause(err).Error())).
			WithHint("check the address and your connection, then try again")
	}
	e.Err = err
	return e
}

// cause is err without addresses around it: which server it is about is said.
func cause(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if network := (*net.OpError)(nil); errors.As(err, &network) {
		err = network.Err
	}
	if name := (*net.DNSError)(nil); errors.As(err, &name) {
		err = errors.New(name.Err)
	}
	return err
}

// name is the server in a sentence.
func (x *exchange) name() string {
	u, err := url.Parse(x.server)
	if err != nil {
		return x.server
	}
	return u.Host
}

// origin is the scheme, host and port of a canonical URL, or of one that a server wrote.
func origin(address string) string {
	if canonical, err := discovery.Canonical(address); err == nil {
		address = canonical
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// shown makes what a server wrote fit for a message.
func shown(s string) string { return untrusted.Text(s, 200) }
