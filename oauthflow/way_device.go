package oauthflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/internal/untrusted"
)

const (
	grantDevice = "urn:ietf:params:oauth:grant-type:device_code" // RFC 8628 §3.4

	pollInterval = 5 * time.Second // also what slow_down adds: RFC 8628 §3.2, §3.5
	maxInterval  = time.Minute     // between polls of an issuer that cannot be reached, or that names more
	maxUserCode  = 64              // runes
)

// byDevice lets the person sign in on another device, where no browser is (RFC 8628).
type byDevice struct{}

// deviceSignIn is one that waits for the person.
type deviceSignIn struct {
	code     secret.Text // ours; the person's is in page
	page     Page
	interval time.Duration
	life     time.Duration
	asked    time.Time
}

func (byDevice) tokens(ctx context.Context, f *Flow, web *http.Client, req Request) (client.Client, *Tokens, error) {
	reg, d, err := f.askDevice(ctx, web, req)
	if err != nil {
		return reg, nil, ended(ctx, err)
	}
	req.Registration = reg
	f.tell(req, d.page)
	tokens, err := f.poll(ctx, web, req, d)
	return reg, tokens, ended(ctx, err)
}

// askDevice gets a code for the person. An earlier dynamic registration that the issuer does not know, or made for browsers
// only, is made anew, once.
func (f *Flow) askDevice(ctx context.Context, web *http.Client, req Request) (client.Client, *deviceSignIn, error) {
	reg, err := f.known(req)
	if err == nil && reg.ClientID == "" {
		reg, err = f.registerDevice(ctx, web, req)
	}
	if err != nil {
		return reg, nil, err
	}
	earlier := req
	req.Registration = reg
	d, err := f.authorizeDevice(ctx, web, req)
	if refused := (*Error)(nil); errors.As(err, &refused) && renewable(earlier, reg) &&
		(refused.Code == "invalid_client" || refused.Code == "unauthorized_client") {
		if req.Registration, err = f.registerDevice(ctx, web, earlier); err == nil {
			d, err = f.authorizeDevice(ctx, web, req)
		}
	}
	return req.Registration, d, err
}

// registerDevice makes a registration that is good for browsers too: it is the issuer's one and only.
func (f *Flow) registerDevice(ctx context.Context, web *http.Client, req Request) (client.Client, error) {
	var closed error
	if req.Issuer.RegistrationEndpoint != "" {
		reg, err := f.registerDynamic(ctx, web, req, RedirectURIs(), deviceGrants)
		if err == nil || !registrationClosed(err) {
			return reg, err
		}
		closed = err
	}
	return askClient(ctx, req, closed)
}

// authorizeDevice asks the issuer for a code that the person enters on its page (RFC 8628 §3.1, §3.2).
func (f *Flow) authorizeDevice(ctx context.Context, web *http.Client, req Request) (*deviceSignIn, error) {
	const step = "device authorization"
	form := url.Values{"client_id": {req.Registration.ClientID}}
	req.addTo(form)
	asked := time.Now()
	r, err := postForm(ctx, web, req, step, req.Issuer.DeviceEndpoint, form)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error      string          `json:"error"`
		DeviceCode secret.Text     `json:"device_code"`
		UserCode   string          `json:"user_code"`
		Page       string          `json:"verification_uri"`
		ExpiresIn  json.RawMessage `json:"expires_in"`
		Interval   json.RawMessage `json:"interval"`
	}
	err = json.Unmarshal(r.body, &answer)
	if r.status != http.StatusOK || answer.Error != "" {
		return nil, r.refusal(req.Issuer, step)
	}
	page, pageErr := pageAddress(answer.Page)
	userCode := untrusted.Text(answer.UserCode, maxUserCode)
	switch {
	case err != nil || answer.DeviceCode.Empty():
		return nil, r.unusable(req.Issuer, step, "no device code")
	case userCode == "" || userCode != answer.UserCode:
		return nil, r.unusable(req.Issuer, step, "no code that a person could enter")
	case pageErr != nil:
		return nil, fmt.Errorf("sign-in at %s: %w", req.Issuer.ID, pageErr)
	}
	page.RawQuery = escapeQuery(page.RawQuery)
	d := &deviceSignIn{code: answer.DeviceCode, page: Page{page.String(), userCode}, interval: pollInterval, life: maxTimeout, asked: asked}
	if life := seconds(answer.ExpiresIn); life > 0 {
		d.life = min(life, maxTimeout)
	}
	if named := seconds(answer.Interval); named > 0 {
		d.interval = min(named, maxInterval)
	}
	return d, nil
}

// poll asks for the tokens until the person has decided, or the time is over (RFC 8628 §3.4, §3.5).
func (f *Flow) poll(ctx context.Context, web *http.Client, req Request, d *deviceSignIn) (*Tokens, error) {
	const step = "token"
	timed, cancel := context.WithDeadline(ctx, d.asked.Add(d.life))
	defer cancel()
	for {
		select {
		case <-time.After(d.interval):
		case <-timed.Done():
			return nil, abandoned(ctx, d.life, nil)
		}
		// A poll may bring the tokens, and only once.
		r, err := postToken(context.WithoutCancel(ctx), web, req.decided(), step, grantDevice, url.Values{"device_code": {d.code.Reveal()}})
		var tokens *Tokens
		if err == nil {
			tokens, err = r.readTokens(req, step)
		}
		refused, said := errors.AsType[*Error](err)
		switch {
		case errors.Is(err, ErrUnavailable):
			d.interval = min(2*d.interval, maxInterval)
		case said && refused.Code == "authorization_pending":
		case said && refused.Code == "slow_down":
			d.interval += pollInterval
		case said && refused.Code == "expired_token":
			return nil, fmt.Errorf("%w: %w", ErrAbandoned, err)
		default:
			return tokens, err
		}
	}
}
