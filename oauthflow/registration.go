package oauthflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/internal/secret"
)

// Token endpoint authentication methods that we can do (RFC 7591 §2).
const (
	methodNone  = "none"
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
	methodKey   = "private_key_jwt"
)

const softwareID = "valetkey"

// prepare finds or makes the registration and the place the browser will come back to. The place comes first: a new
// registration names it.
func (f *Flow) prepare(ctx context.Context, web *http.Client, req Request) (client.Client, *callback, error) {
	reg, err := f.known(req)
	if err != nil {
		return reg, nil, err
	}
	if reg.ClientID == "" && req.Issuer.RegistrationEndpoint == "" {
		if reg, err = askClient(ctx, req, nil); err != nil {
			return reg, nil, err
		}
	}
	cb, err := listen(ctx, reg)
	if err != nil {
		return reg, nil, err
	}
	// An earlier dynamic registration for other addresses than the one that was free is made anew: many issuers compare
	// ports although RFC 8252 §7.3 says not to.
	fits := reg.Source != client.SourceDynamic || cb.registeredIn(reg) || req.Issuer.RegistrationEndpoint == ""
	if reg.ClientID != "" && fits {
		return reg, cb, nil
	}
	dynamic, err := f.registerDynamic(ctx, web, req, cb.uris(), browserGrants)
	if err == nil {
		return dynamic, cb, nil
	}
	cb.close()
	switch {
	case !registrationClosed(err):
		return dynamic, nil, err
	case req.Issuer.Assumed: // a client ID would help nobody: there may be no issuer at all
		return dynamic, nil, fmt.Errorf("%w %s: the server publishes no metadata, and its origin does not register programs: %w", ErrNoRegistration, req.Issuer.ID, err)
	}
	if reg, err = askClient(ctx, req, err); err != nil {
		return reg, nil, err
	}
	cb, err = listen(ctx, reg)
	return reg, cb, err
}

// known is the registration that needs nobody: the person's own for this issuer, our metadata document, or an earlier
// dynamic one. The zero Client means there is none. The order is the MCP specification's (Client Registration
// Approaches).
func (f *Flow) known(req Request) (client.Client, error) {
	have, issuer := req.Registration, req.Issuer
	if have.ClientID != "" && have.Source != client.SourceDynamic && have.Source != client.SourceDocument {
		if err := req.ownRegistration(); err != nil {
			return client.Client{}, err
		}
		have.Source = client.SourcePreRegistered
		var err error
		have.AuthMethod, err = authMethod(have, issuer)
		return have, err
	}
	if f.cfg.ClientMetadataURL != "" && issuer.ClientMetadataDocuments {
		return client.Client{
			Issuer:       issuer.ID,
			ClientID:     f.cfg.ClientMetadataURL,
			AuthMethod:   methodNone,
			RedirectURIs: RedirectURIs(),
			Source:       client.SourceDocument,
		}, nil
	}
	if have.ClientID != "" && have.Source == client.SourceDynamic && have.Issuer == issuer.ID && !have.Expired() {
		return have, nil
	}
	return client.Client{}, nil
}

// askClient has the person give a client ID; closed is why the issuer does not register us, nil when it offers no way.
func askClient(ctx context.Context, req Request, closed error) (client.Client, error) {
	fail := func(err error) (client.Client, error) {
		if err == nil {
			return client.Client{}, fmt.Errorf("%w %s", ErrNoRegistration, req.Issuer.ID)
		}
		return client.Client{}, fmt.Errorf("%w %s: %w", ErrNoRegistration, req.Issuer.ID, err)
	}
	if req.AskClient == nil {
		return fail(closed)
	}
	reg, err := req.AskClient(ctx, req.Issuer.ID)
	switch {
	case err != nil:
		return fail(err)
	case reg.ClientID == "":
		return fail(errors.New("no client ID was given"))
	case reg.Issuer != "" && reg.Issuer != req.Issuer.ID:
		return fail(fmt.Errorf("the client ID that was given belongs to %s", reg.Issuer))
	}
	reg.Issuer, reg.Source = req.Issuer.ID, client.SourcePreRegistered
	reg.AuthMethod, err = authMethod(reg, req.Issuer)
	return reg, err
}

// authMethod is how reg authenticates at the token endpoint (RFC 7591 §2, RFC 8414 §2): with its key if it has one, else
// as the issuer or the person said if it can be done, else what the secret and the issuer's list lead to.
func authMethod(reg client.Client, issuer *discovery.Issuer) (string, error) {
	said, s, listed := reg.AuthMethod, reg.Secret, issuer.AuthMethods
	if !reg.Key.Empty() {
		if listed != nil && !slices.Contains(listed, methodKey) {
			return "", fmt.Errorf("%w %s: it takes no client authentication with a key (%s)", ErrNoRegistration, issuer.ID, methodKey)
		}
		return methodKey, nil
	}
	if listed == nil {
		listed = []string{methodBasic} // RFC 8414 §2: the default
	}
	switch said {
	case methodNone:
		return methodNone, nil
	case methodBasic, methodPost:
		if s.Empty() {
			return "", fmt.Errorf("%w %s: it wants %s and gave no secret", ErrNoRegistration, issuer.ID, said)
		}
		if issuer.AuthMethods == nil || slices.Contains(listed, said) {
			return said, nil
		}
	case "":
	default:
		return "", fmt.Errorf("%w %s: it wants client authentication by %.40q", ErrNoRegistration, issuer.ID, said)
	}
	if s.Empty() {
		return methodNone, nil
	}
	if !slices.Contains(listed, methodBasic) && slices.Contains(listed, methodPost) {
		return methodPost, nil
	}
	return methodBasic, nil
}

// Grant types of dynamic registrations: no more than what is used (OAuth 2.1: least privilege).
var (
	browserGrants = []string{"authorization_code", "refresh_token"}
	deviceGrants  = append(browserGrants[:2:2], grantDevice)
)

// clientMetadata is what a dynamic registration says of us (RFC 7591 §2; application_type is OpenID Connect's, and its
// absence would mean "web", which refuses loopback addresses).
type clientMetadata struct {
	ClientName      string   `json:"client_name,omitempty"`
	ApplicationType string   `json:"application_type"`
	RedirectURIs    []string `json:"redirect_uris"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	SoftwareID      string   `json:"software_id"`
	SoftwareVersion string   `json:"software_version,omitempty"`
}

// registerDynamic registers us at the issuer, with one second try when it turns down a spelling that another one may
// cure (OpenID Connect Registration, RFC 7591 §3.2.2).
func (f *Flow) registerDynamic(ctx context.Context, web *http.Client, req Request, uris, grantTypes []string) (client.Client, error) {
	m := clientMetadata{
		ClientName:      f.cfg.ClientName,
		ApplicationType: "native",
		RedirectURIs:    uris,
		GrantTypes:      grantTypes,
		ResponseTypes:   []string{"code"},
		AuthMethod:      methodNone,
		SoftwareID:      softwareID,
		SoftwareVersion: f.cfg.SoftwareVersion,
	}
	reg, err := register(ctx, web, req.Issuer, m)
	var refused *Error
	if !errors.As(err, &refused) {
		return reg, err
	}
	switch refused.Code {
	case "invalid_redirect_uri":
		m.RedirectURIs = localhostURIs(uris)
	case "invalid_client_metadata":
		// An issuer that lists its methods without "none" may know no public clients.
		if i := slices.IndexFunc(req.Issuer.AuthMethods, secretMethod); i >= 0 && !slices.Contains(req.Issuer.AuthMethods, methodNone) {
			m.AuthMethod = req.Issuer.AuthMethods[i]
		} else {
			return reg, err
		}
	default:
		return reg, err
	}
	if again, errAgain := register(ctx, web, req.Issuer, m); errAgain == nil {
		return again, nil
	}
	return reg, err
}

func secretMethod(method string) bool { return method == methodBasic || method == methodPost }

// register is one POST to the registration endpoint (RFC 7591 §3). What the issuer answers holds, also where it differs
// from what was asked for (§3.2.1).
func register(ctx context.Context, web *http.Client, issuer *discovery.Issuer, m clientMetadata) (client.Client, error) {
	const step = "registration"
	body, err := json.Marshal(m)
	if err != nil {
		return client.Client{}, err
	}
	r, err := send(ctx, web, issuer, step, issuer.RegistrationEndpoint, "application/json", bytes.NewReader(body), nil)
	if err != nil {
		return client.Client{}, err
	}
	if r.status != http.StatusCreated && r.status != http.StatusOK {
		return client.Client{}, r.refusal(issuer, step)
	}
	var answer struct {
		ClientID         string          `json:"client_id"`
		Secret           secret.Text     `json:"client_secret"`
		SecretExpiresAt  json.RawMessage `json:"client_secret_expires_at"`
		RedirectURIs     []string        `json:"redirect_uris"`
		AuthMethod       string          `json:"token_endpoint_auth_method"`
		ManagementURI    string          `json:"registration_client_uri"`
		ManagementSecret secret.Text     `json:"registration_access_token"`
	}
	if err := json.Unmarshal(r.body, &answer); err != nil {
		return client.Client{}, r.unusable(issuer, step, "an answer that is no registration")
	}
	if answer.ClientID == "" || len(answer.ClientID) > client.MaxText {
		return client.Client{}, r.unusable(issuer, step, "no usable client ID")
	}
	reg := client.Client{
		Issuer:          issuer.ID,
		ClientID:        answer.ClientID,
		Secret:          answer.Secret,
		RedirectURIs:    answer.RedirectURIs,
		Source:          client.SourceDynamic,
		ManagementURI:   answer.ManagementURI,
		ManagementToken: answer.ManagementSecret,
	}
	if len(reg.RedirectURIs) == 0 {
		reg.RedirectURIs = m.RedirectURIs
	}
	if at := seconds(answer.SecretExpiresAt); at > 0 && !reg.Secret.Empty() {
		reg.SecretExpiry = time.Unix(int64(at/time.Second), 0)
	}
	reg.AuthMethod = answer.AuthMethod
	reg.AuthMethod, err = authMethod(reg, issuer)
	return reg, err
}

// registrationClosed reports whether the issuer registers nobody, or not us: then the person may know a client ID.
func registrationClosed(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Step != "registration" {
		return false
	}
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return true
	}
	return false
}

// localhostURIs spells the loopback address by name, for issuers that know no other.
func localhostURIs(uris []string) []string {
	named := make([]string, 0, len(uris))
	for _, uri := range uris {
		if u, err := url.Parse(uri); err == nil {
			u.Host = strings.Replace(u.Host, u.Hostname(), "localhost", 1)
			uri = strings.Replace(u.String(), "[localhost]", "localhost", 1)
		}
		named = append(named, uri)
	}
	return named
}
