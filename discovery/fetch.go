package discovery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/cachecontrol/cacheobject"

	"github.com/valetkey/valetkey/outbound"
)

// Bounds of what we read from a document; the bytes of the whole are bounded by package outbound.
const (
	maxText = maxURL // bytes of one string
	maxList = 1000   // entries of one list; some issuers list hundreds of scopes

	defaultFreshness = 5 * time.Minute // of a document that comes without a word on caching
	maxFreshness     = 24 * time.Hour  // whatever the server says
)

// miss is an address where there is no metadata, so that the next one is to be asked. Anything else that is wrong ends
// the discovery: sliding on from a broken or unreachable document would let an attacker choose a weaker one.
type miss struct {
	text  string
	clean bool // a plain 4xx; not a web page or a redirect in the document's place
	json  bool // it claims to be JSON but is not
}

func (m *miss) Error() string { return m.text }

// fetch gets one metadata document (RFC 9728 §3.1, RFC 8414 §3.1) and the time until which it is fresh. The error is a
// *miss or a *detail.
func fetch(ctx context.Context, hc *http.Client, address string) (*document, time.Time, error) {
	var never time.Time
	if len(address) > maxURL {
		return nil, never, &detail{ErrInvalid, fmt.Errorf("the address is longer than %d bytes", maxURL)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, never, &detail{ErrInvalid, inner(err)}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set(versionHeader, protocolVersion)
	resp, err := hc.Do(req)
	if errors.Is(err, outbound.ErrRedirect) {
		return nil, never, &miss{text: inner(err).Error()}
	}
	if err != nil {
		return nil, never, unreachable(err)
	}
	defer resp.Body.Close()
	if err := checkStatus(resp); err != nil {
		return nil, never, err
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	other := &miss{text: fmt.Sprintf("answered with %s, not with metadata", shown(cmp.Or(kind, "something unnamed")))}
	if kind == "text/event-stream" { // of a server that takes every GET for one of MCP: it may have no end
		return nil, never, other
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, never, unreachable(err)
	}
	doc, err := decode(body)
	if err != nil {
		if kind == "application/json" || strings.HasSuffix(kind, "+json") {
			return nil, never, &miss{text: err.Error(), json: true}
		}
		return nil, never, other
	}
	return doc, freshUntil(req, resp), nil
}

// checkStatus takes 200 only. What says "not now" is no miss: nothing was learned.
func checkStatus(resp *http.Response) error {
	status := statusText(resp)
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return &detail{ErrUnreachable, errors.New(status)}
	case code >= 400:
		return &miss{text: status, clean: true}
	}
	return &miss{text: status}
}

func statusText(resp *http.Response) string {
	return fmt.Sprintf("answered HTTP %d", resp.StatusCode)
}

// unreachable tells what the rules refused, and will refuse again, from what the network did not bring.
func unreachable(err error) error {
	if _, ok := errors.AsType[*detail](err); ok {
		return err
	}
	err = inner(err)
	for _, refused := range []error{outbound.ErrURL, outbound.ErrScheme, outbound.ErrAddress, outbound.ErrRedirect, outbound.ErrTooLarge} {
		if errors.Is(err, refused) {
			return &detail{ErrInvalid, err}
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no answer in time: %w", err)
	}
	return &detail{ErrUnreachable, err}
}

// freshUntil says how long the response may be used again: RFC 9111 §4.2, for a private cache. The zero time means not
// at all.
func freshUntil(req *http.Request, resp *http.Response) time.Time {
	var never time.Time
	h := resp.Header.Clone()
	if cc := h.Values("Cache-Control"); len(cc) > 1 {
		h.Set("Cache-Control", strings.Join(cc, ", ")) // the library reads the first only
	}
	reasons, until, _, obj, err := cacheobject.UsingRequestResponseWithObject(req, resp.StatusCode, h, true)
	if err != nil || len(reasons) > 0 || obj.RespDirectives.NoCachePresent || strings.Contains(strings.Join(h.Values("Vary"), ","), "*") {
		return never
	}
	now := time.Now()
	if until.IsZero() {
		if h.Get("Expires") != "" || h.Get("Pragma") != "" { // an Expires that is no date means: past (RFC 9111 §5.3)
			return never
		}
		until = now.Add(defaultFreshness)
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		until = until.Add(-time.Duration(age) * time.Second)
	}
	if latest := now.Add(maxFreshness); until.After(latest) {
		return latest
	}
	return until
}

// document is a JSON object whose members are read by exact name: encoding/json would also take "ISSUER" for "issuer".
type document struct {
	members map[string]json.RawMessage
	err     error // of the first member that is not what it must be
}

func decode(body []byte) (*document, error) {
	d := &document{}
	err := json.Unmarshal(body, &d.members)
	if err != nil || d.members == nil {
		return nil, errors.New("the document is not a JSON object")
	}
	return d, nil
}

func (d *document) read(name string, into any, what string) {
	raw, ok := d.members[name]
	if ok && d.err == nil && json.Unmarshal(raw, into) != nil {
		d.refuse(name, "is not "+what)
	}
}

func (d *document) refuse(name, format string, args ...any) {
	if d.err == nil {
		d.err = &detail{ErrInvalid, fmt.Errorf("%s "+format, append([]any{name}, args...)...)}
	}
}

// text returns a string; "" when it is absent.
func (d *document) text(name string) (s string) {
	d.read(name, &s, "a string")
	if len(s) > maxText {
		d.refuse(name, "is longer than %d bytes", maxText)
	}
	return s
}

// flag returns a boolean; false when it is absent.
func (d *document) flag(name string) (b bool) {
	d.read(name, &b, "true or false")
	return b
}

// list returns a list of strings; nil when it is absent, not nil when it is empty.
func (d *document) list(name string) (l []string) {
	d.read(name, &l, "a list of strings")
	if len(l) > maxList {
		d.refuse(name, "has more than %d entries", maxList)
	}
	for _, s := range l {
		if len(s) > maxText {
			d.refuse(name, "has an entry of more than %d bytes", maxText)
		}
	}
	return l
}

// endpoint returns the URL of an endpoint, "" when it is absent. It must be https; an issuer on this computer, whose
// own identifier is plain http, may have plain http endpoints here (OAuth 2.1, "Communication Security").
func (d *document) endpoint(name string, issuer *url.URL) string {
	s := d.text(name)
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		d.refuse(name, "is not a URL: %w", inner(err))
	case u.Scheme == "http" && issuer.Scheme == "http" && isLocal(issuer) && isLocal(u):
	case u.Scheme != "https":
		d.refuse(name, "is not an https address: %s", shown(s))
	}
	switch {
	case d.err != nil:
	case u.Hostname() == "":
		d.refuse(name, "names no host")
	case u.User != nil:
		d.refuse(name, "holds a user name")
	case strings.Contains(s, "#"):
		d.refuse(name, "has a fragment")
	}
	return s
}
