package broker

import (
	"context"
	"errors"

	"github.com/valetkey/valetkey/broker/enterprise"
	"github.com/valetkey/valetkey/broker/ledger"
	"github.com/valetkey/valetkey/broker/signin"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/words"
)

// explain turns any error into one for the socket: what is so, and what to do about it. server is what it was about;
// "" for none. The cause stays reachable on this side.
func (b *Broker) explain(err error, server string) error {
	var ready *localapi.Error
	if errors.As(err, &ready) || errors.Is(err, context.Canceled) && !errors.Is(err, oauthflow.ErrAbandoned) {
		return err
	}
	e := localapi.Errorf(localapi.ErrInternal, "%v", err).WithHint("this is a fault of Valet Key; its log says more")
	e.Err = err
	for _, part := range []func(*localapi.Error, error, string) bool{explainKeychain, explainDiscovery, explainIssuer} {
		if part(e, err, server) {
			return e
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Kind, e.Hint = localapi.ErrUnavailable, "try again"
	}
	return e
}

func explainKeychain(e *localapi.Error, err error, _ string) bool { return ledger.Explain(e, err) }

func explainDiscovery(e *localapi.Error, err error, server string) bool {
	var found *discovery.Error
	if !errors.As(err, &found) {
		return false
	}
	e.Kind = localapi.ErrDiscovery
	host, owner := words.Host(server), "the server's owner"
	if found.Step == "issuer metadata" {
		owner = "the issuer's owner"
	}
	switch {
	case found.Step == "server" && len(found.Tried) == 0 && errors.Is(err, discovery.ErrInvalid): // the address itself is at fault
		e.Kind, e.Hint = localapi.ErrBadRequest, "give the server's URL, such as https://mcp.example.com/mcp"
	case errors.Is(err, discovery.ErrUnreachable):
		e.Kind, e.Hint = localapi.ErrUnavailable, "check the address and your connection, then try again"
	case errors.Is(err, discovery.ErrNoSignIn):
		e.Hint = host + " asks for no sign-in: hosts can use it without a token"
	case errors.Is(err, discovery.ErrOtherScheme):
		e.Hint = host + " does not use OAuth: put its own credentials into the host"
	case errors.Is(err, discovery.ErrNotFound) && found.Step == "issuer metadata":
		e.Hint = owner + " must publish its metadata (RFC 8414)"
	case errors.Is(err, discovery.ErrNotFound), errors.Is(err, discovery.ErrUnpublished):
		e.Hint = "check the URL; if it is right, the server's owner must publish its metadata (RFC 9728)"
	case errors.Is(err, discovery.ErrMismatch):
		e.Hint = "do not sign in there; tell " + owner + " what its metadata says"
	case errors.Is(err, discovery.ErrNoPKCE):
		e.Hint = "the issuer must support PKCE with S256 (RFC 7636); tell its owner"
	default:
		e.Hint = "tell " + owner + " what its metadata says"
	}
	return true
}

func explainIssuer(e *localapi.Error, err error, server string) bool {
	var refused *oauthflow.Error
	if errors.As(err, &refused) && refused.Step == oauthflow.StepEnterprise && !errors.Is(err, oauthflow.ErrUnavailable) {
		e.Kind, e.Hint = localapi.ErrIssuer, enterpriseHint(refused)
		return true
	}
	switch {
	case errors.Is(err, enterprise.ErrSignIn):
		e.Kind, e.Hint = localapi.ErrSignInRequired, "run vk signin "+server
	case errors.Is(err, oauthflow.ErrIdentity):
		e.Kind, e.Hint = localapi.ErrIssuer, "try again; if it happens again, ask your enterprise's administrator"
	case errors.Is(err, oauthflow.ErrUnavailable):
		e.Kind, e.Hint = localapi.ErrUnavailable, "nothing was lost; try again"
		if errors.As(err, &refused) {
			e.RetryAfter = refused.RetryAfter
		}
	case errors.Is(err, oauthflow.ErrAbandoned):
		e.Kind, e.Hint = localapi.ErrSignInRequired, "run vk signin "+server+" to try again"
	case errors.Is(err, oauthflow.ErrNoRegistration):
		e.Kind, e.Hint = localapi.ErrIssuer, "register a native application with the issuer, then run vk client "+server+" --client-id ID"
	case errors.Is(err, oauthflow.ErrIssMismatch):
		e.Kind, e.Hint = localapi.ErrIssuer, "nothing was accepted; try again, and if it happens again do not use this server"
	case errors.Is(err, oauthflow.ErrCallback):
		e.Kind, e.Hint = localapi.ErrUnavailable, "close the program that holds the ports, then try again"
	case errors.Is(err, oauthflow.ErrPKCEUnlisted): // at an enterprise: elsewhere the person was asked
		e.Kind, e.Hint = localapi.ErrDiscovery, "the issuer must publish code_challenge_methods_supported with S256 (RFC 7636); tell its administrator"
	case errors.Is(err, oauthflow.ErrTokenType):
		e.Kind, e.Hint = localapi.ErrIssuer, "tell the issuer's owner"
	case errors.As(err, &refused) && refused.Code == "access_denied":
		e.Kind, e.Hint = localapi.ErrConsentDenied, "sign in again and allow it there"
	case errors.As(err, &refused) && refused.Code == "invalid_client":
		e.Kind, e.Hint = localapi.ErrIssuer, "if you entered a client ID for this issuer, look at the issuer's page whether it is right and has a secret, and enter both again: vk client "+server+" --client-id ID --secret-stdin"
	case signin.RefusedResource(err):
		e.Kind, e.Hint = localapi.ErrIssuer, "the issuer must make out tokens to the server (RFC 8707); or sign in again and accept the quirk no-resource when Valet Key asks"
	case errors.As(err, &refused):
		e.Kind, e.Hint = localapi.ErrIssuer, "the issuer's words are above; its administrator can tell more"
	default:
		return false
	}
	return true
}

// enterpriseHint says what can be done about an enterprise's no. There is no page to fall back on (EMA §7.2).
func enterpriseHint(refused *oauthflow.Error) string {
	switch refused.Code {
	case "invalid_grant", "insufficient_user_authentication":
		return "your enterprise does not take the ID token, which may have run out: try again to sign in there, or renew the file that id_token_file names"
	case "invalid_client", "unauthorized_client":
		return "your enterprise does not take this client: look whether its ID and secret there are right, and set them again with vk client, or in the policy file"
	}
	return "your enterprise decided this, and nothing here can change it: ask its administrator"
}
