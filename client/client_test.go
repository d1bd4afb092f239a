package client

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/internal/secret"
)

const canary = "canary-91d2"

// whole is a client with every field set.
func whole() Client {
	return Client{
		Issuer: "https://i.example", ClientID: "id", Secret: secret.New(canary), AuthMethod: "client_secret_basic", RedirectURIs: []string{"http://127.0.0.1/cb"},
		SecretExpiry: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Source: SourcePreRegistered, GrantType: GrantJWTBearer, Key: secret.New(canary), KeyID: "k",
		Assertion: secret.New(canary), AssertionFile: "/run/identity", ManagementURI: "https://i.example/m", ManagementToken: secret.New(canary),
		Enterprise: &Enterprise{Client: Client{Issuer: "https://e.example", ClientID: "there", Secret: secret.New(canary), Source: SourcePreRegistered}, TokenEndpoint: "https://e.example/t", IDToken: secret.New(canary)},
	}
}

func TestNothingShowsASecret(t *testing.T) {
	c := whole()
	var out strings.Builder
	slog.New(slog.NewJSONHandler(&out, nil)).Info("set", "client", c, "sealed", fmt.Sprintf("%+v", Seal(c)), "sent", fmt.Sprintf("%#v", Send(c)), "public", c.Public())
	b, err := json.Marshal(c)
	if shown := out.String() + string(b); err != nil || strings.Contains(shown, canary) || !strings.Contains(shown, "[secret]") {
		t.Errorf("%s, %v", shown, err)
	}
}

// What the keychain holds is read by every later version.
func TestSealed(t *testing.T) {
	c := whole()
	const want = `{"client_id":"id","client_secret":"canary-91d2","auth_method":"client_secret_basic","redirect_uris":["http://127.0.0.1/cb"],` +
		`"secret_expiry":"2030-01-02T03:04:05Z","source":"pre-registered","grant_type":"urn:ietf:params:oauth:grant-type:jwt-bearer","key":"canary-91d2","key_id":"k",` +
		`"assertion_file":"/run/identity","management_uri":"https://i.example/m","management_token":"canary-91d2",` +
		`"enterprise":{"issuer":"https://e.example","client_id":"there"}}`
	b, err := json.Marshal(Seal(c))
	if err != nil || string(b) != want {
		t.Fatalf("%s, %v", b, err)
	}
	var got Sealed
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	c.Assertion = secret.Text{}
	c.Enterprise = &Enterprise{Client: Client{Issuer: "https://e.example", ClientID: "there"}}
	if at := got.At("https://i.example"); !reflect.DeepEqual(at, c) {
		t.Errorf("got %+v\nwant %+v", at, c)
	}
	if b, err := json.Marshal(Seal(Client{Issuer: "x"})); string(b) != `{"client_id":"","auth_method":"","source":""}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestExpired(t *testing.T) {
	for at, want := range map[time.Time]bool{{}: false, time.Now().Add(time.Hour): false, time.Now(): true} {
		if (Client{SecretExpiry: at}).Expired() != want {
			t.Errorf("%v: not %v", at, want)
		}
	}
}

func TestSent(t *testing.T) {
	e := &Enterprise{Client: Client{Issuer: "https://e.example", ClientID: "there", Key: secret.New("k"), KeyID: "1", Source: SourcePreRegistered}}
	for wire, c := range map[string]Client{
		`{"client_id":"a"}`: {ClientID: "a"},
		`{"issuer":"https://i.example","client_id":"a","grant_type":"client_credentials","client_secret":"s"}`:                                               {Issuer: "https://i.example", ClientID: "a", Secret: secret.New("s"), GrantType: GrantClientCredentials},
		`{"client_id":"a","key_id":"1","assertion_file":"/f","private_key":"k"}`:                                                                             {ClientID: "a", Key: secret.New("k"), KeyID: "1", GrantType: GrantJWTBearer, AssertionFile: "/f"},
		`{"client_id":"a","enterprise":{"issuer":"https://e.example","client_id":"there","key_id":"1","private_key":"k"}}`:                                   {ClientID: "a", GrantType: GrantJWTBearer, Enterprise: e},
		`{"client_id":"a","grant_type":"urn:ietf:params:oauth:grant-type:jwt-bearer"}`:                                                                       {ClientID: "a", GrantType: GrantJWTBearer},
		`{"client_id":"a","grant_type":"client_credentials","enterprise":{"issuer":"https://e.example","client_id":"there","key_id":"1","private_key":"k"}}`: {ClientID: "a", GrantType: GrantClientCredentials, Enterprise: e},
	} {
		c.Source = SourcePreRegistered
		if b, err := json.Marshal(Send(c)); string(b) != wire {
			t.Errorf("wrote %s, %v\nwant  %s", b, err, wire)
		}
		var got Sent
		if err := json.Unmarshal([]byte(wire), &got); err != nil || !reflect.DeepEqual(got.Client(), c) {
			t.Errorf("%s: got %+v, %v", wire, got.Client(), err)
		}
	}
}

func TestCheck(t *testing.T) {
	s := secret.New("s")
	long := secret.New(strings.Repeat("x", maxSecret+1))
	with := func(e Enterprise) Client { return Client{ClientID: "a", GrantType: GrantJWTBearer, Enterprise: &e} }
	there := Client{Issuer: "https://e.example", ClientID: "there"}
	for name, c := range map[string]struct {
		client Client
		kind   Kind // 0: nothing is wrong
		there  bool
	}{
		"public":                     {Client{ClientID: "a"}, 0, false},
		"with a secret":              {Client{ClientID: "a", Secret: s}, 0, false},
		"with a key":                 {Client{ClientID: "a", Key: s, KeyID: "1"}, 0, false},
		"no ID":                      {Client{Secret: s}, NoClientID, false},
		"hidden characters":          {Client{ClientID: "a\u202e"}, BadClientID, false},
		"a long ID":                  {Client{ClientID: strings.Repeat("x", MaxText+1)}, BadClientID, false},
		"a long secret":              {Client{ClientID: "a", Secret: long}, longSecret, false},
		"secret and key":             {Client{ClientID: "a", Secret: s, Key: s}, TwoWays, false},
		"a key ID alone":             {Client{ClientID: "a", Secret: s, KeyID: "1"}, KeyIDAlone, false},
		"by itself, secret":          {Client{ClientID: "a", Secret: s, GrantType: GrantClientCredentials}, 0, false},
		"by itself, key":             {Client{ClientID: "a", Key: s, GrantType: GrantClientCredentials}, 0, false},
		"by itself, nothing":         {Client{ClientID: "a", GrantType: GrantClientCredentials}, NoSecret, false},
		"by itself, file":            {Client{ClientID: "a", Secret: s, GrantType: GrantClientCredentials, AssertionFile: "/f"}, AssertionAlone, false},
		"another grant type":         {Client{ClientID: "a", Secret: s, GrantType: "password"}, UnknownGrantType, false},
		"a file":                     {Client{ClientID: "a", GrantType: GrantJWTBearer, AssertionFile: "/f"}, 0, false},
		"a file and a secret":        {Client{ClientID: "a", Secret: s, GrantType: GrantJWTBearer, AssertionFile: "/f"}, 0, false},
		"what a file held":           {Client{ClientID: "a", GrantType: GrantJWTBearer, Assertion: s}, 0, false},
		"no file":                    {Client{ClientID: "a", Secret: s, GrantType: GrantJWTBearer}, NoAssertion, false},
		"a file alone":               {Client{ClientID: "a", AssertionFile: "/f"}, AssertionAlone, false},
		"a relative file":            {Client{ClientID: "a", GrantType: GrantJWTBearer, AssertionFile: "f"}, RelativeFile, false},
		"enterprise":                 {with(Enterprise{Client: there}), 0, false},
		"enterprise, ID token":       {with(Enterprise{Client: there, TokenEndpoint: "https://e.example/t", IDToken: s}), 0, false},
		"enterprise, endpoint alone": {with(Enterprise{Client: there, TokenEndpoint: "https://e.example/t"}), EndpointAlone, true},
		"enterprise, no issuer":      {with(Enterprise{Client: Client{ClientID: "there"}}), NoIssuer, true},
		"enterprise, no ID":          {with(Enterprise{Client: Client{Issuer: "https://e.example"}}), NoClientThere, true},
		"enterprise, two ways":       {with(Enterprise{Client: Client{Issuer: "https://e.example", ClientID: "there", Secret: s, Key: s}}), TwoWays, true},
		"enterprise and a file":      {Client{ClientID: "a", GrantType: GrantJWTBearer, AssertionFile: "/f", Enterprise: &Enterprise{Client: there}}, TwoAssertions, false},
		"enterprise by itself":       {Client{ClientID: "a", Secret: s, GrantType: GrantClientCredentials, Enterprise: &Enterprise{Client: there}}, TwoAssertions, false},
		"enterprise by browser":      {Client{ClientID: "a", Enterprise: &Enterprise{Client: there}}, TwoAssertions, false},
	} {
		err := c.client.Check()
		if c.kind == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if f, ok := err.(*Fault); !ok || f.Kind != c.kind || f.There != c.there || f.Error() == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
