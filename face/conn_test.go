package face

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

type readOnly struct{ io.Reader }

func (readOnly) Write(b []byte) (int, error) { return len(b), nil }
func (readOnly) Close() error                { return nil }

func TestMessagesSurviveTheWire(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	messages := []Message{
		{Question: &Question{ID: "q", Kind: KindConsent, Asked: at, Deadline: at, Scopes: []Scope{{Name: "a\nb"}},
			Host: peer.Host{Name: "claude", Level: peer.Signed, Process: peer.Process{PID: 1, Start: 1 << 63, Args: []string{"x"}}}}},
		{Withdraw: "q"},
		{State: &State{Version: "1", Grants: []localapi.Grant{{Server: "s", ExpiresAt: at,
			Consents: []localapi.Consent{{Host: "h", Level: peer.Path, GivenAt: at}}}}}},
		{Page: PageHosts},
		{Quit: true},
		{Result: &Result{Call: 7}},
		{Result: &Result{7, localapi.Errorf(localapi.ErrIssuer, "no").WithHint("ask")}},
		{Answer: &Answered{"q", Answer{Answered: true, ClientID: "c", ClientSecret: secret.New("canary")}}},
		{Answer: &Answered{ID: "q"}},
		{Wish: &Wanted{7, WishSignIn{Server: "https://x"}}},
		{Wish: &Wanted{8, WishClient{Server: "https://x", Registration: localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "c", Secret: secret.New("canary"), Enterprise: &client.Enterprise{Client: client.Client{Issuer: "https://e", ClientID: "d", Key: secret.New("canary\nkey")}}})}}}},
	}
	for i, w := range wishes {
		messages = append(messages, Message{Wish: &Wanted{uint64(i), w}})
	}
	r, w := io.Pipe()
	from, to := NewConn(readOnly{r}), NewConn(struct {
		io.Reader
		io.WriteCloser
	}{nil, w})
	go func() {
		for _, m := range messages {
			to.Send(m)
		}
		to.Close()
	}()
	for _, want := range messages {
		got, err := from.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	if _, err := from.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestReceiveRefuses(t *testing.T) {
	tests := map[string]struct {
		line string
		err  error
	}{
		"no JSON":       {"hello\n", nil},
		"nothing set":   {"{}\n", nil},
		"two set":       {`{"quit":true,"page":"hosts"}` + "\n", nil},
		"too large":     {strings.Repeat(" ", maxMessage) + "\n", ErrTooLarge},
		"never ends":    {strings.Repeat(" ", 4*maxMessage), ErrTooLarge},
		"cut off":       {`{"quit":true}`, io.EOF},
		"a wish's":      {`{"wish":{"call":1,"kind":"client","wish":{"registration":{"client_secret":["canary"]}}}}` + "\n", nil},
		"no such wish":  {`{"wish":{"call":1,"kind":"canary","wish":{}}}` + "\n", nil},
		"no kind":       {`{"wish":{"call":1,"wish":{"id":"x"}}}` + "\n", nil},
		"no wish":       {`{"wish":{"call":1,"kind":"cancel"}}` + "\n", nil},
		"null":          {`{"wish":{"call":1,"kind":"cancel","wish":null}}` + "\n", nil},
		"another's":     {`{"wish":{"call":1,"kind":"cancel","wish":{"id":"x","host":"canary"}}}` + "\n", nil},
		"a field more":  {`{"wish":{"call":1,"kind":"cancel","wish":{"id":"x"},"and":"canary"}}` + "\n", nil},
		"secret's type": {`{"answer":{"id":"q","client_secret":["canary"]}}` + "\n", nil},
	}
	for name, test := range tests {
		_, err := NewConn(readOnly{strings.NewReader(test.line)}).Receive()
		if err == nil || test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s quotes the input: %v", name, err)
		}
	}
}

func TestOnlyTheAnswerCarriesASecret(t *testing.T) {
	a := Answer{Answered: true, ClientSecret: secret.New("canary")}
	if b, _ := json.Marshal(a); strings.Contains(string(b), "canary") {
		t.Errorf("an Answer alone shows it: %s", b)
	}
	if b, _ := json.Marshal(Answered{"q", a}); !strings.Contains(string(b), "canary") {
		t.Errorf("the pair does not carry it: %s", b)
	}
}

func TestOffered(t *testing.T) {
	q := Question{Modes: []string{localapi.ModeOnce}, Scopes: []Scope{{Name: "read", Required: true}, {Name: "write"}}}
	q.Issuers = []string{"https://one.example", "https://two.example"}
	q.Vias = []string{ViaBrowser, ViaDevice}
	tests := map[string]struct {
		kind string
		a    Answer
		ok   bool
	}{
		"no":                     {KindConsent, Answer{Answered: true}, true},
		"nobody":                 {KindConsent, Answer{}, true},
		"yes":                    {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read"}}, true},
		"other mode":             {KindConsent, Answer{Answered: true, Allow: true, Mode: "always", Scopes: []string{"read"}}, false},
		"other scope":            {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read", "admin"}}, false},
		"without required scope": {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"write"}}, false},
		"no client ID":           {KindClientID, Answer{Answered: true, Allow: true, Scopes: []string{"read"}}, false},
		"client ID":              {KindClientID, Answer{Answered: true, Allow: true, ClientID: "x", Scopes: []string{"read"}}, true},
		"way":                    {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read"}, Via: ViaDevice}, true},
		"no such way":            {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read"}, Via: ViaAddress}, false},
		"issuer":                 {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read"}, Issuer: "https://two.example"}, true},
		"other issuer":           {KindConsent, Answer{Answered: true, Allow: true, Mode: "once", Scopes: []string{"read"}, Issuer: "https://evil.example"}, false},
	}
	for name, test := range tests {
		q.Kind = test.kind
		if err := q.Offers(test.a); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHugeStateLosesOldActivityOnly(t *testing.T) {
	s := State{Version: "1"}
	for i := range 200 {
		s.Activity = append(s.Activity, Entry{Rule: strings.Repeat("r", 20_000), PID: i})
	}
	line, err := encode(Message{State: &s})
	if err != nil || len(line) > maxMessage {
		t.Fatalf("%d bytes, %v", len(line), err)
	}
	m, err := NewConn(readOnly{strings.NewReader(string(line))}).Receive()
	if err != nil || len(m.State.Activity) != 50 || m.State.Activity[0].PID != 0 {
		t.Errorf("%d entries, %v; want the newest 50", len(m.State.Activity), err)
	}
}
