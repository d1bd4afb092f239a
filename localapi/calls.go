package localapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
)

// calls are the calls of the API by path.
var calls = map[string]*call{
	"/v1/token":   post(Backend.Token),
	"/v1/explain": post(Backend.Explain),
	"/v1/signin":  post(Backend.SignIn),
	"/v1/forget":  post(Backend.Forget),
	"/v1/client":  post(Backend.Register),
	"/v1/open":    post(Backend.Open),
	"/v1/grants":  get(Backend.Grants),
	"/v1/status":  get(func(b Backend, ctx context.Context, _ *peer.Peer) (*Status, error) { return b.Status(ctx) }),
}

// call is one call of the API: how it is made, from the body of the request to the body of the answer.
type call struct {
	method string
	make   func(ctx context.Context, b Backend, from *peer.Peer, body []byte) ([]byte, error)
}

func get[Answer any](ask func(Backend, context.Context, *peer.Peer) (*Answer, error)) *call {
	return &call{http.MethodGet, func(ctx context.Context, b Backend, from *peer.Peer, _ []byte) ([]byte, error) {
		answer, err := ask(b, ctx, from)
		return encode(answer, err)
	}}
}

func post[Request request, Answer any](ask func(Backend, context.Context, *peer.Peer, Request) (*Answer, error)) *call {
	foreign := sync.OnceValue(foreignFields[Request]) // not at start: clients never need it, and vk must start fast
	return &call{http.MethodPost, func(ctx context.Context, b Backend, from *peer.Peer, body []byte) ([]byte, error) {
		req, err := decode[Request](body, foreign())
		if err != nil {
			return nil, err
		}
		answer, err := ask(b, ctx, from, req)
		return encode(answer, err)
	}}
}

func encode[Answer any](answer *Answer, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if answer == nil {
		return nil, fmt.Errorf("the backend returned neither an answer nor an error (%T)", answer)
	}
	if token, ok := any(answer).(*Token); ok {
		return token.wire().encode()
	}
	return json.Marshal(answer)
}

// request is the body of a call. check says what is wrong with it as far as that can be seen without knowing anything.
type request interface {
	TokenRequest | SignInRequest | ForgetRequest | RegistrationRequest | OpenRequest
	check() error
}

// decode reads the body of a call. Fields nobody knows are ignored, so that hosts can be newer than the app; a field
// that belongs to another call is a mistake the host's author wants to hear of.
func decode[Request request](body []byte, foreign []string) (Request, error) {
	var req Request
	if err := json.Unmarshal(body, &req); err != nil {
		return req, badJSON(err)
	}
	if name := foreignField(body, foreign); name != "" {
		return req, Errorf(ErrBadRequest, "the field %q belongs to another call", name)
	}
	return req, req.check()
}

// badJSON says what is wrong with a body in our own words: the decoder's own may quote the body.
func badJSON(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return Errorf(ErrBadRequest, "the field %q must be %s", strings.TrimPrefix(kind.Field, "Sent."), jsonName(kind.Type))
	case errors.As(err, &kind):
		return Errorf(ErrBadRequest, "the body must be a JSON object")
	case errors.As(err, &syntax):
		return Errorf(ErrBadRequest, "the body is not JSON (at byte %d)", syntax.Offset)
	}
	return Errorf(ErrBadRequest, "the body is not what this call expects")
}

func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// foreignField finds a field of another call in the body, or "". Names are looked for as bytes first, so that an
// ordinary body is not decoded twice.
func foreignField(body []byte, foreign []string) string {
	suspect := func(name string) bool { return bytes.Contains(body, []byte(name)) }
	if !slices.ContainsFunc(foreign, suspect) {
		return ""
	}
	var fields map[string]json.RawMessage
	json.Unmarshal(body, &fields) // has been decoded once, so it can be
	for _, name := range foreign {
		if _, ok := fields[name]; ok {
			return name
		}
	}
	return ""
}

// foreignFields lists the fields of all calls that Request has not.
func foreignFields[Request request]() []string {
	own := fieldNames(reflect.TypeFor[Request]())
	var foreign []string
	for _, t := range []reflect.Type{
		reflect.TypeFor[TokenRequest](), reflect.TypeFor[SignInRequest](), reflect.TypeFor[ForgetRequest](), reflect.TypeFor[RegistrationRequest](),
	} {
		for _, name := range fieldNames(t) {
			if !slices.Contains(own, name) && !slices.Contains(foreign, name) {
				foreign = append(foreign, name)
			}
		}
	}
	return foreign
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if t.Field(i).Anonymous {
			names = append(names, fieldNames(t.Field(i).Type)...)
			continue
		}
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// maxMinValidS bounds min_valid_s: a token that must live longer than a day is a mistake in the host.
const maxMinValidS = 24 * 60 * 60

// MaxRerunS bounds rerun_s: later than that, a program that asks again has a reason of its own.
const MaxRerunS = 60

func (r TokenRequest) check() error {
	switch {
	case r.Resource == "":
		return missing("resource")
	case !slices.Contains([]string{"", InteractionAuto, InteractionNone, InteractionAsk}, r.Interaction):
		return Errorf(ErrBadRequest, "interaction must be %q, %q or %q", InteractionAuto, InteractionNone, InteractionAsk)
	case r.MinValidS < 0 || r.MinValidS > maxMinValidS:
		return Errorf(ErrBadRequest, "min_valid_s must lie between 0 and %d", maxMinValidS)
	case r.RerunS < 0 || r.RerunS > MaxRerunS:
		return Errorf(ErrBadRequest, "rerun_s must lie between 0 and %d", MaxRerunS)
	case r.Refused != "" && !isSHA256(r.Refused):
		return Errorf(ErrBadRequest, "refused must be the SHA-256 of the refused token, as 64 lower-case hex digits").
			WithHint("never send the token itself")
	case r.Proof != nil && (r.Proof.Method == "" || r.Proof.URL == ""):
		return Errorf(ErrBadRequest, "proof needs the method and the url of the request")
	}
	return nil
}

func (r SignInRequest) check() error {
	if r.Resource == "" {
		return missing("resource")
	}
	_, err := r.Settings()
	return err
}

// Settings reads r.Quirks.
func (r SignInRequest) Settings() (set []quirk.Quirk, err error) {
	for _, s := range r.Quirks {
		q, err := quirk.ParseSetting(s)
		if err != nil {
			return nil, Errorf(ErrBadRequest, "the quirk %.200q %v", s, err)
		}
		set = append(set, q)
	}
	return set, nil
}

func (r ForgetRequest) check() error {
	if r.Resource == "" {
		return missing("resource")
	}
	return nil
}

func (OpenRequest) check() error { return nil }

func (r RegistrationRequest) check() error {
	switch {
	case r.Resource == "" && r.Issuer == "":
		return missing("resource")
	case r.Remove && (r.ClientID != "" || r.Enterprise != nil):
		return Errorf(ErrBadRequest, "a client ID is set or removed, not both at once")
	case r.Remove:
		return nil
	}
	_, err := r.Set()
	return err
}

// Set is the client that r sets, or what is wrong with it.
func (r RegistrationRequest) Set() (client.Client, error) {
	c := r.Sent.Client()
	return c, BadClient(c.Check())
}

// BadClient is what [client.Client.Check] found, as it is told over the socket; nil when it found nothing.
func BadClient(err error) error {
	fault, ok := errors.AsType[*client.Fault](err)
	if !ok {
		return err
	}
	switch fault.Kind {
	case client.NoClientID:
		return missing("client_id")
	case client.NoIssuer:
		return missing("enterprise.issuer")
	case client.NoClientThere:
		return missing("enterprise.client_id")
	}
	return Errorf(ErrBadRequest, "%s", fault).WithHint("%s", clientHints[fault.Kind])
}

var clientHints = map[client.Kind]string{
	client.BadClientID:      "copy it from the issuer's own page",
	client.TwoAssertions:    "leave grant_type and assertion_file out",
	client.NoAssertion:      "name the file that your platform keeps fresh: vk client with --assertion-file",
	client.NoSecret:         "give it one on standard input: vk client with --secret-stdin or --key-stdin",
	client.UnknownGrantType: "use " + client.GrantClientCredentials + ", or leave it out",
}

func missing(field string) error { return Errorf(ErrBadRequest, "the field %q is missing", field) }

// isSHA256 reports whether s has the form that secret.Text's SHA256 gives.
func isSHA256(s string) bool {
	var sum [32]byte
	if len(s) != 2*len(sum) || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.Decode(sum[:], []byte(s))
	return err == nil
}
