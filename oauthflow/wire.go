package oauthflow

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/dpop"
	"github.com/valetkey/valetkey/internal/untrusted"
)

const (
	maxReply      = 1 << 20
	maxRetryAfter = 24 * time.Hour
)

// reply is an HTTP answer, read to its end and bounded.
type reply struct {
	status int
	header http.Header
	body   []byte
	whole  bool // false: there was more than maxReply, and body is empty
	sent   *http.Request
}

// send posts body to one of the issuer's endpoints, once. Errors of the network, 5xx and 429 are ErrUnavailable; every
// other status is in the reply.
func send(ctx context.Context, web *http.Client, issuer *discovery.Issuer, step, endpoint, contentType string, body io.Reader, sign func(*http.Request) error) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, body)
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", step, issuer.ID, err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	if sign != nil {
		if err := sign(req); err != nil {
			return nil, fmt.Errorf("%s at %s: %w", step, issuer.ID, err)
		}
	}
	resp, err := web.Do(req)
	if err != nil {
		return nil, unreachable(issuer, step, err)
	}
	r, err := readReply(resp)
	if err != nil {
		return nil, unreachable(issuer, step, err)
	}
	return r, r.unavailable(issuer, step)
}

// readReply reads resp and closes it.
func readReply(resp *http.Response) (*reply, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return nil, err
	}
	r := &reply{status: resp.StatusCode, header: resp.Header, body: body, whole: true, sent: resp.Request}
	if len(body) > maxReply {
		r.body, r.whole = nil, false
	}
	return r, nil
}

// unreachable says that nothing was decided, as far as we know: the request may or may not have arrived.
func unreachable(issuer *discovery.Issuer, step string, err error) error {
	return fmt.Errorf("%s at %s: %w: %w", step, issuer.ID, ErrUnavailable, err)
}

// unavailable is the error of a status that decides nothing, else nil.
func (r *reply) unavailable(issuer *discovery.Issuer, step string) error {
	if r.status < 500 && r.status != http.StatusTooManyRequests {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, r.refusal(issuer, step))
}

// registered are the codes of RFC 6749 §5.2 for what some issuers answer under names of their own. What follows from a
// refusal hangs on the code: under a name that nobody knows, a dead refresh token would never lead to a sign-in.
var registered = map[string]string{
	"bad_refresh_token":            "invalid_grant",
	"bad_verification_code":        "invalid_grant",
	"incorrect_client_credentials": "invalid_client",
}

// refusal is the issuer's error answer (RFC 6749 §5.2, RFC 7591 §3.2.2; of RFC 9470 the parameters) as an error.
func (r *reply) refusal(issuer *discovery.Issuer, step string) *Error {
	var answer struct {
		Code        string          `json:"error"`
		Description string          `json:"error_description"`
		ACRValues   any             `json:"acr_values"`
		MaxAge      json.RawMessage `json:"max_age"` // a number, or a string that holds one
	}
	e := &Error{Step: step, issuer: issuer.ID, status: r.status, RetryAfter: retryAfter(r.header)}
	if json.Unmarshal(r.body, &answer) == nil {
		echo := r.echo()
		e.Code = cmp.Or(registered[answer.Code], untrusted.Text(echo.Replace(answer.Code), maxErrorCode))
		e.description = untrusted.Text(echo.Replace(answer.Description), maxErrorText)
		acrValues, _ := answer.ACRValues.(string)
		e.ACRValues, e.MaxAge, _ = discovery.Reauthentication(e.Code, echo.Replace(acrValues), strings.Trim(string(answer.MaxAge), `"`))
	}
	return e
}

// echo takes out of an issuer's words the secrets that were posted to it: some issuers repeat them, and words get into
// logs.
func (r *reply) echo() *strings.Replacer {
	var secrets []string
	if r.sent != nil && r.sent.GetBody != nil {
		if body, err := r.sent.GetBody(); err == nil {
			content, _ := io.ReadAll(body) // our own, from memory
			form, _ := url.ParseQuery(string(content))
			for _, name := range []string{"code", "code_verifier", "device_code", "refresh_token", "token", "client_secret", "assertion", "client_assertion", "state", "subject_token"} {
				secrets = append(secrets, form[name]...)
			}
		}
		if _, password, ok := r.sent.BasicAuth(); ok {
			decoded, _ := url.QueryUnescape(password) // RFC 6749 §2.3.1
			secrets = append(secrets, password, decoded)
		}
	}
	var pairs []string
	for _, s := range secrets {
		if s != "" {
			pairs = append(pairs, s, "…", url.QueryEscape(s), "…")
		}
	}
	return strings.NewReplacer(pairs...)
}

// unusable is the error of an answer that is no refusal and yet of no use.
func (r *reply) unusable(issuer *discovery.Issuer, step, with string) error {
	if !r.whole {
		with = "more than 1 MiB"
	}
	return fmt.Errorf("%w, with %s", &Error{Step: step, issuer: issuer.ID, status: r.status}, with)
}

// wantsNonce takes in what the issuer says of nonces, and reports whether the request is to be sent again with the new
// one. It was not carried out, so nothing is used twice (RFC 9449 §8).
func (r *reply) wantsNonce(key *dpop.Key) bool {
	var answer struct {
		Code string `json:"error"`
	}
	if r.status != http.StatusOK {
		json.Unmarshal(r.body, &answer)
	}
	return key.Again(&http.Response{StatusCode: r.status, Header: r.header, Request: r.sent}, answer.Code)
}

// retryAfter reads the header of that name, seconds or a date (RFC 9110 §10.2.3).
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if n, err := strconv.ParseInt(value, 10, 32); err == nil && n > 0 {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil && time.Until(at) > 0 {
		return min(time.Until(at), maxRetryAfter)
	}
	return 0
}

// seconds reads a JSON number, or a string that holds one, as seconds; 0 when it is neither or not positive.
func seconds(raw json.RawMessage) time.Duration {
	n, err := strconv.ParseFloat(strings.Trim(string(raw), `" `), 64)
	if err != nil || !(n > 0) {
		return 0
	}
	const most = 1 << 33 // 272 years: what a Duration can hold
	return time.Duration(math.Min(n, most)) * time.Second
}
