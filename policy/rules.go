package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

// allow answers q with a yes, or with an error that says what the policy lacks.
func (r rules) allow(q face.Question) (face.Answer, error) {
	switch q.Kind {
	case face.KindConsent, face.KindSignIn, face.KindForget:
	case face.KindQuirk:
		return r.allowQuirk(q)
	default:
		return face.Answer{}, errors.New("only the person can answer this question; clients in the policy file need no question")
	}
	resource := q.Resource
	if resource == "" {
		resource = q.Server
	}
	all, named, err := r.covering(q, resource)
	if err != nil {
		return face.Answer{}, err
	}
	yes := face.Answer{Answered: true, Allow: true}
	if q.Kind == face.KindConsent {
		yes.Mode = localapi.ModeOnce
	}
	for _, s := range q.Scopes {
		switch {
		case all || named[s.Name]:
			if s.Checked || s.Required {
				yes.Scopes = append(yes.Scopes, s.Name)
			}
		case s.Required:
			return face.Answer{}, fmt.Errorf("no consent there lets %s use the scope %s of %s, which the server requires", hostWord(q), s.Name, resource)
		}
	}
	switch {
	case len(q.Scopes) > 0 && len(yes.Scopes) == 0:
		return face.Answer{}, fmt.Errorf("the consents there for %s and %s cover none of the scopes asked for", hostWord(q), resource)
	case len(q.Scopes) == 0 && q.Kind == face.KindConsent && !all: // to the issuer that may mean every scope
		return face.Answer{}, fmt.Errorf(`%s asks %s for no scope by name, which needs a consent with "scopes": ["*"], or [] for a server that has none`, hostWord(q), resource)
	}
	return yes, nil
}

// covering adds up the consents for q: all scopes of resource, or those named; an error when there are none.
func (r rules) covering(q face.Question, resource string) (all bool, named map[string]bool, err error) {
	matched, unpublished := false, false
	named = map[string]bool{}
	for _, c := range r.consents {
		if !c.covers(q, resource) {
			continue
		}
		if q.Unpublished && q.Kind != face.KindForget && !c.unpublished {
			unpublished = true
			continue
		}
		matched = true
		all = all || len(c.scopes) == 0 && len(q.Scopes) == 0
		for _, s := range c.scopes {
			named[s] = true
		}
	}
	switch {
	case !matched && unpublished:
		err = fmt.Errorf(`%s names no issuer, and its consents there do not say "without_metadata": true, which takes %s for it`, resource, q.Issuer)
	case !matched:
		err = fmt.Errorf("no consent there lets %s use %s", hostWord(q), resource)
	}
	return all || named[wildcard], named, err
}

// allowQuirk answers a question about something that is wrong with a server. The yes is for once: it holds as long as it
// is written.
func (r rules) allowQuirk(q face.Question) (face.Answer, error) {
	own := q.Own() // during a sign-in, which is for any host
	for _, c := range r.consents {
		covered := c.covers(q, q.Resource) || own && c.about(q.Resource)
		if covered && slices.Contains(c.quirks, quirk.Quirk{Name: q.Quirk.Name, Value: q.Quirk.Value}) {
			return face.Answer{Answered: true, Allow: true, Mode: localapi.ModeOnce}, nil
		}
	}
	return face.Answer{}, fmt.Errorf(`no consent there for %s and %s has the quirk %q`, hostWord(q), q.Resource, q.Quirk)
}

func checkQuirk(s string) string {
	if _, err := quirk.Parse(s); err != nil {
		return err.Error()
	}
	return ""
}

func (c consentRule) covers(q face.Question, resource string) bool {
	host := c.host == wildcard || q.Host.Key != "" && (c.host == q.Host.Key || c.host == q.Host.Base)
	return host && c.about(resource)
}

func (c consentRule) about(resource string) bool {
	return c.resource == wildcard || c.resource == resource
}

// settings are what is set for the server with that resource, for all hosts: the first of each name counts.
func (r rules) settings(resource string) (set []quirk.Quirk) {
	for _, c := range r.consents {
		for _, q := range c.quirks {
			if q.Is(quirk.Set) && c.about(resource) && !quirk.Has(set, q.Name) {
				set = append(set, q)
			}
		}
	}
	return set
}

// maxName bounds how a host is called in a rule, in characters.
const maxName = 500

func hostWord(q face.Question) string {
	if q.Host.Key == "" {
		return "a program that cannot be told apart from others (" + untrusted.Text(q.Host.Name, maxName) + ")"
	}
	return q.Host.Key
}

// parse reads the file strictly: a name that is unknown, missing, doubled or spelt in other capitals could widen
// or narrow the policy without a word. Errors name the line and column.
func parse(content []byte) (rules, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	if !utf8.Valid(content) {
		return rules{}, errors.New("it is not UTF-8 text")
	}
	var r rules
	in := &reader{content: content, dec: json.NewDecoder(bytes.NewReader(content))}
	if err := in.syntax(); err != nil {
		return rules{}, err
	}
	err := in.object("the policy", fields{
		"consents": {in.list("consents", maxConsents, func() error { return in.consent(&r) }), false},
		"clients":  {in.list("clients", maxClients, func() error { return in.client(&r) }), false},
	})
	if err != nil {
		return rules{}, err
	}
	return r, nil
}

// reader takes JSON apart token by token. The syntax was checked before.
type reader struct {
	content []byte
	dec     *json.Decoder
}

// fields are the names an object may have.
type fields map[string]field

type field struct {
	read     func() error
	required bool
}

// fault is an error at the token that was read last.
func (in *reader) fault(format string, args ...any) error {
	return in.at(in.dec.InputOffset(), fmt.Sprintf(format, args...))
}

// at puts the line and column of the byte before offset in front of what is wrong.
func (in *reader) at(offset int64, what string) error {
	before := in.content[:min(max(offset-1, 0), int64(len(in.content)))]
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Errorf("line %d, column %d: %s", line, column, what)
}

// syntax checks the whole text: one JSON value and nothing after it.
func (in *reader) syntax() error {
	var raw json.RawMessage
	err := json.Unmarshal(in.content, &raw)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return in.at(syntax.Offset, "this is not JSON: "+syntax.Error())
	}
	return err
}

func (in *reader) open(delim json.Delim, what, kind string) error {
	t, err := in.dec.Token()
	if err == nil && t != delim {
		err = in.fault("%s must be %s", what, kind)
	}
	return err
}

func (in *reader) object(what string, known fields) error {
	if err := in.open('{', what, "an object, in braces"); err != nil {
		return err
	}
	seen := map[string]bool{}
	for in.dec.More() {
		t, err := in.dec.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string) // the decoder takes nothing else here
		field, ok := known[name]
		switch {
		case !ok:
			return in.fault("unknown field %q in %s; known are %s", name, what, known.names())
		case seen[name]:
			return in.fault("field %q stands twice in %s", name, what)
		}
		seen[name] = true
		if err := field.read(); err != nil {
			return err
		}
	}
	if _, err := in.dec.Token(); err != nil {
		return err
	}
	for name, field := range known {
		if field.required && !seen[name] {
			return in.fault("%s lacks the field %q", what, name)
		}
	}
	return nil
}

func (f fields) names() string {
	var names []string
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (in *reader) list(what string, limit int, element func() error) func() error {
	return func() error {
		if err := in.open('[', what, "a list, in square brackets"); err != nil {
			return err
		}
		for n := 0; in.dec.More(); n++ {
			if n == limit {
				return in.fault("%s has more than %d entries", what, limit)
			}
			if err := element(); err != nil {
				return err
			}
		}
		_, err := in.dec.Token()
		return err
	}
}

// text reads a string into s and lets check find fault with it.
func (in *reader) text(what string, s *string, check func(string) string) func() error {
	return func() error {
		t, err := in.dec.Token()
		if err != nil {
			return err
		}
		value, ok := t.(string)
		switch {
		case !ok:
			return in.fault("%s must be a string", what)
		case value == "":
			return in.fault("%s is empty", what)
		case len(value) > maxString:
			return in.fault("%s is longer than %d bytes", what, maxString)
		}
		if fault := check(value); fault != "" {
			return in.fault("%s %s", what, fault)
		}
		*s = value
		return nil
	}
}

// flag reads true or false into b.
func (in *reader) flag(what string, b *bool) func() error {
	return func() error {
		t, err := in.dec.Token()
		if err != nil {
			return err
		}
		value, ok := t.(bool)
		if !ok {
			return in.fault("%s must be true or false", what)
		}
		*b = value
		return nil
	}
}

func (in *reader) consent(r *rules) error {
	var c consentRule
	err := in.object("a consent", fields{
		"host":     {in.text("host", &c.host, checkHost), true},
		"resource": {in.text("resource", &c.resource, checkResource), true},
		"scopes": {in.list("scopes", maxScopes, func() error {
			var s string
			err := in.text("a scope", &s, checkScope)()
			c.scopes = append(c.scopes, s)
			return err
		}), true},
		"without_metadata": {in.flag("without_metadata", &c.unpublished), false},
		"quirks": {in.list("quirks", maxQuirks, func() error {
			var s string
			err := in.text("a quirk", &s, checkQuirk)()
			q, _ := quirk.Parse(s) // was checked
			c.quirks = append(c.quirks, q)
			return err
		}), false},
	})
	if err != nil {
		return err
	}
	if slices.Contains(c.scopes, wildcard) && len(c.scopes) > 1 {
		return in.fault(`scopes has "*" beside other scopes; "*" stands alone`)
	}
	r.consents = append(r.consents, c)
	return nil
}

func (in *reader) client(r *rules) error {
	c := &clientRule{Client: client.Client{Source: client.SourcePreRegistered}}
	known := in.registration(c, &c.Client)
	known["assertion_file"] = in.file(c, "assertion_file", &c.AssertionFile, &c.Assertion, client.ReadAssertion)
	known["grant_type"] = field{in.text("grant_type", &c.GrantType, checkGrantType), false}
	endOfEnterprise := int64(0)
	known["enterprise"] = field{func() error {
		err := in.enterprise(c)
		endOfEnterprise = in.dec.InputOffset()
		return err
	}, false}
	if err := in.object("a client", known); err != nil {
		return err
	}
	if c.Enterprise != nil && c.GrantType == "" {
		c.GrantType = client.GrantJWTBearer
	}
	draft := c.Client
	draft.AssertionFile = "" // its place is found with that of the policy file
	if fault, ok := errors.AsType[*client.Fault](draft.Check()); ok {
		words := cmp.Or(inFields[fault.Kind], fault.Error())
		if fault.There {
			return in.at(endOfEnterprise, words)
		}
		return in.fault("%s", words)
	}
	if slices.ContainsFunc(r.clients, func(other *clientRule) bool { return other.Issuer == c.Issuer }) {
		return in.fault("issuer %s has two clients", c.Issuer)
	}
	r.clients = append(r.clients, c)
	return nil
}

// inFields say what is wrong with a client in the names that the file has for its parts.
var inFields = map[client.Kind]string{
	client.TwoWays:        "a client has both client_secret_file and private_key_file; it authenticates one way",
	client.KeyIDAlone:     "key_id is of no use without private_key_file",
	client.NoSecret:       "grant_type " + client.GrantClientCredentials + " needs client_secret_file or private_key_file",
	client.NoAssertion:    assertionGoesWith,
	client.AssertionAlone: assertionGoesWith,
	client.TwoAssertions:  "a client with an enterprise has its assertions from there; leave grant_type and assertion_file out",
	client.EndpointAlone:  "token_endpoint goes with id_token_file; for a sign-in by browser the enterprise's metadata is needed",
}

const assertionGoesWith = "assertion_file goes with grant_type " + client.GrantJWTBearer + ", and only with it"

// registration are the fields of every client in the rule c, at the server's issuer or at an enterprise's.
func (in *reader) registration(c *clientRule, of *client.Client) fields {
	return fields{
		"issuer":             {in.text("issuer", &of.Issuer, checkURL), true},
		"client_id":          {in.text("client_id", &of.ClientID, checkClientID), true},
		"client_secret_file": in.file(c, "client_secret_file", new(string), &of.Secret, client.ReadSecret),
		"private_key_file":   in.file(c, "private_key_file", new(string), &of.Key, client.ReadKey),
		"key_id":             {in.text("key_id", &of.KeyID, checkClientID), false},
	}
}

// file is a field that names a file of c.
func (in *reader) file(c *clientRule, name string, path *string, into *secret.Text, read func(string) (secret.Text, os.FileInfo, error)) field {
	text := in.text(name, path, func(string) string { return "" })
	return field{func() error {
		err := text()
		c.files, *into = append(c.files, keptFile{name, path, into, read}), secret.New(*path)
		return err
	}, false}
}

// enterprise reads the client at the issuer of an enterprise, which speaks for c.
func (in *reader) enterprise(c *clientRule) error {
	e := &client.Enterprise{Client: client.Client{Source: client.SourcePreRegistered}}
	c.Enterprise = e
	known := in.registration(c, &e.Client)
	known["token_endpoint"] = field{in.text("token_endpoint", &e.TokenEndpoint, checkURL), false}
	known["id_token_file"] = in.file(c, "id_token_file", new(string), &e.IDToken, client.ReadAssertion)
	return in.object("an enterprise", known)
}

var hostKinds = []string{"exe:", "script:", "flatpak:", "snap:", "mac:", "win:"}

func checkHost(s string) string {
	if s == wildcard || slices.ContainsFunc(hostKinds, func(kind string) bool { return strings.HasPrefix(s, kind) && len(s) > len(kind) }) {
		return ""
	}
	return `must be "*" or begin with one of ` + strings.Join(hostKinds, " ")
}

func checkResource(s string) string {
	if s == wildcard {
		return ""
	}
	return checkURL(s)
}

func checkURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Fragment != "" {
		return "must be an https URL without a fragment" // http is for loopback, which is checked where it is used
	}
	return ""
}

// checkScope: RFC 6749 §3.3, scope-token.
func checkScope(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		return "has a character that no scope can have"
	}
	return ""
}

func checkGrantType(s string) string {
	if !slices.Contains(client.GrantTypes, s) {
		return "must be " + strings.Join(client.GrantTypes, " or ") + "; leave it out for a sign-in by browser"
	}
	return ""
}

func checkClientID(s string) string {
	if !client.Text(s) {
		return "has a character that no client ID can have"
	}
	return ""
}
