package quirk

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Bounds of the quirk parameters.
const (
	maxParameters = 10
	maxParameter  = 512 // bytes, of a name or a value
)

// protocolParameters are those by which OAuth and OpenID Connect work: what Valet Key puts there is not for anybody to
// change, and what it leaves out would change who is asked for what, or where the answer goes.
var protocolParameters = []string{
	"acr_values", "actor_token", "actor_token_type", "assertion", "authorization_details", "claims", "client_assertion", "client_assertion_type",
	"client_id", "client_secret", "code", "code_challenge", "code_challenge_method", "code_verifier", "device_code", "dpop_jkt", "error",
	"grant_type", "id_token_hint", "iss", "max_age", "nonce", "password", "redirect_uri", "refresh_token", "registration", "request",
	"request_uri", "requested_token_type", "resource", "response_mode", "response_type", "scope", "state", "subject_token",
	"subject_token_type", "username",
}

// prompts are the values of OpenID Connect's prompt that may be added to ours. With "none" nobody would see a page.
var prompts = []string{"consent", "login", "select_account"}

// checkParameters says what is wrong with a value that parseParameters reads.
func checkParameters(value string) error {
	_, err := parseParameters(value)
	return err
}

// joinParameters writes parameters that were given as NAME=VALUE each as they stand in an address.
func joinParameters(args []string) string {
	var parts []string
	for _, arg := range args {
		if name, value, _ := strings.Cut(arg, "="); arg != "" {
			parts = append(parts, url.QueryEscape(name)+"="+url.QueryEscape(value))
		}
	}
	return strings.Join(parts, "&")
}

// parseParameters reads a value that has the form of a query ("access_type=offline"). The error says what is wrong with
// it, as the end of a sentence.
func parseParameters(value string) (url.Values, error) {
	parameters, err := url.ParseQuery(value)
	if err != nil {
		return nil, errors.New("cannot be read: names and values are written as in an address, NAME=VALUE&NAME=VALUE")
	}
	if len(parameters) == 0 || len(parameters) > maxParameters {
		return nil, fmt.Errorf("must hold between 1 and %d parameters", maxParameters)
	}
	for name, values := range parameters {
		switch {
		case name == "" || len(name) > maxParameter || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, errors.New("has a parameter whose name is empty, too long, or not plain letters")
		case slices.Contains(protocolParameters, name):
			return nil, fmt.Errorf("must not hold %s: Valet Key sets that itself", name)
		case len(values) > 1:
			return nil, fmt.Errorf("holds %s more than once", name)
		case values[0] == "" || len(values[0]) > maxParameter || strings.ContainsFunc(values[0], func(r rune) bool { return r < ' ' || r > '~' }):
			return nil, fmt.Errorf("has a value for %s that is empty, longer than %d characters, or not plain letters", name, maxParameter)
		case name == "prompt" && slices.ContainsFunc(strings.Fields(values[0]), func(p string) bool { return !slices.Contains(prompts, p) }):
			return nil, fmt.Errorf("has a prompt other than %s", strings.Join(prompts, ", "))
		}
	}
	return parameters, nil
}
