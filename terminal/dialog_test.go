package terminal

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

var claude = peer.Host{
	Key: "exe:/home/me/bin/claude#aa", Base: "exe:/home/me/bin/claude", Name: "claude", Level: peer.Path,
	Facts: "at /home/me/bin/claude, a place you can write", Process: peer.Process{PID: 42, Exe: "/home/me/bin/claude"},
	Chain: []peer.Process{
		{PID: 43, Exe: "/usr/bin/vk", Args: []string{"vk", "token", "https://mcp.example.com/mcp"}},
		{PID: 42, Exe: "/home/me/bin/claude", Args: []string{"claude", "--resume"}},
		{PID: 7},
	},
}

// question is one of each kind, as the broker asks it.
func question(kind string) face.Question {
	q := face.Question{
		Kind: kind, Host: claude, ClientName: "claude-code", Server: "https://mcp.example.com/mcp", ServerName: "Example Files",
		Resource: "https://mcp.example.com/mcp", Issuer: "https://auth.example.com", Account: "work",
		Reason: "list issues", Why: "This program has not used mcp.example.com before.", Asked: noon, Deadline: noon.Add(2 * time.Minute),
	}
	switch kind {
	case face.KindConsent:
		q.Scopes = []face.Scope{{Name: "files:read", Required: true, Checked: true}, {Name: "files:write", New: true, Checked: true}, {Name: "admin"}}
		q.Modes = []string{localapi.ModeOnce, localapi.ModeRunning, localapi.ModeHour, localapi.ModeAlways}
		q.Notes = []string{"This server's metadata speaks for all of mcp.example.com."}
		q.SignIn = true
	case face.KindSignIn:
		q.SignIn = true
		q.Scopes = []face.Scope{{Name: "files:read", Checked: true}}
	case face.KindRegister:
		q.ClientID = "abc"
	case face.KindQuirk:
		q.Quirk = &quirk.Quirk{Name: quirk.Audience, Value: "account"}
		q.Why, q.Notes = "The token is for another server (audience account, expected https://mcp.example.com/mcp).", []string{q.Quirk.Meaning()}
	case face.KindClientID:
		q.Host, q.ClientName, q.Reason = peer.Host{Name: "Valet Key"}, "", ""
		q.Why = "Auth.example.com does not let programs register themselves."
	}
	return q
}

func TestQuestionText(t *testing.T) {
	hostile := question(face.KindConsent)
	hostile.Host.Name, hostile.Host.Facts = "cl\u202eaude", "at /tmp/x\x1b[2J"
	hostile.ClientName, hostile.Reason = "a\"\nQUESTION: b", strings.Repeat("x\x1b]0;t\x07", 300)
	hostile.Server, hostile.ServerName = "https://exаmple.com/mcp", "Good\r\nAccount: admin"
	hostile.Resource, hostile.Issuer, hostile.Account = "https://a/\x9b31m", "not a URL\x00", "w\u2028x"
	hostile.Scopes = []face.Scope{{Name: "a\x1b[A"}, {Name: strings.Repeat("long", 500)}}
	hostile.Notes, hostile.Why = []string{"n\x07"}, "y\u2066"
	hostile.Host.Chain = slices.Clone(hostile.Host.Chain)
	hostile.Host.Chain[0].Args = []string{"\x1b[H", strings.Repeat("z", 5000)}
	plain := face.Question{Kind: face.KindSignIn, Server: "https://mcp.example.com/", Why: "You asked to sign in to this server."}

	several := question(face.KindSignIn)
	several.Issuers = []string{several.Issuer, "https://two.example/\x1b[2J"}
	device := question(face.KindSignIn)
	device.Via, device.Vias = face.ViaDevice, []string{face.ViaAddress, face.ViaDevice}
	address := question(face.KindSignIn)
	address.Via = face.ViaAddress
	pkce := question(face.KindQuirk)
	pkce.Host, pkce.ClientName, pkce.Quirk, pkce.SignIn = peer.Host{}, "", &quirk.Quirk{Name: quirk.PKCEUnlisted}, true
	pkce.Why, pkce.Notes = "Auth.example.com does not say that it checks PKCE.", []string{pkce.Quirk.Meaning()}
	remove := question(face.KindRegister)
	remove.ClientID = ""
	open := question(face.KindConsent)
	open.Issuer, open.Scopes, open.SignIn, open.Notes = "", nil, false, []string{"This server asks for no sign-in."}
	forgetOpen := question(face.KindForget)
	forgetOpen.Issuer = ""
	tests := map[string]face.Question{
		"open": open, "forget_open": forgetOpen, "several_issuers": several, "device": device, "address": address, "quirk_sign_in": pkce, "register_remove": remove, "quirk": question(face.KindQuirk),
		"consent": question(face.KindConsent), "sign_in": question(face.KindSignIn), "forget": question(face.KindForget),
		"register": question(face.KindRegister), "client_id": question(face.KindClientID), "hostile": hostile, "nobody": plain,
	}
	for name, q := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDialog(q)
			got := d.text(noon) + "\n"
			prompt, _ := d.prompt()
			got += prompt + "\n"
			if details, done := d.take("?"); aboutProgram(q) {
				if done {
					t.Error("asking for details answered the question")
				}
				got += "\n" + details
			}
			for _, r := range got {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Fatalf("%U reached the terminal", r)
				}
			}
			golden(t, name, got)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (-update writes it anew):\n%s", file, got)
	}
}

func TestAnswers(t *testing.T) {
	yes := func(mode string, scopes ...string) face.Answer {
		return face.Answer{Answered: true, Allow: true, Mode: mode, Scopes: scopes}
	}
	few := question(face.KindConsent)
	few.Modes = []string{localapi.ModeOnce}
	optional := question(face.KindConsent)
	optional.Scopes = optional.Scopes[1:]
	bare := question(face.KindConsent)
	bare.Scopes, bare.Account = nil, ""

	several := question(face.KindSignIn)
	several.Issuers = []string{"https://zero.example", several.Issuer, "https://two.example"}
	at := func(issuer string) face.Answer {
		a := yes("", "files:read")
		a.Issuer = issuer
		return a
	}

	ways := question(face.KindSignIn)
	ways.Via, ways.Vias = face.ViaBrowser, []string{face.ViaBrowser, face.ViaDevice}
	by := func(way string) face.Answer {
		a := yes("", "files:read")
		a.Via = way
		return a
	}

	tests := []struct {
		name  string
		q     face.Question
		typed string // lines
		want  face.Answer
	}{
		{"deny", question(face.KindConsent), "d", face.Answer{Answered: true}},
		{"capitals and blanks", question(face.KindConsent), "  D ", face.Answer{Answered: true}},
		{"once", question(face.KindConsent), "o", yes(localapi.ModeOnce, "files:read", "files:write")},
		{"while it runs", question(face.KindConsent), "r", yes(localapi.ModeRunning, "files:read", "files:write")},
		{"hour", question(face.KindConsent), "h", yes(localapi.ModeHour, "files:read", "files:write")},
		{"always", question(face.KindConsent), "a", yes(localapi.ModeAlways, "files:read", "files:write")},
		{"wrong account", question(face.KindConsent), "w", face.Answer{Answered: true, WrongAccount: true}},
		{"pause", question(face.KindConsent), "p", face.Answer{Answered: true, Pause: true}},
		{"scopes off and on", question(face.KindConsent), "2,3,3,3,o", yes(localapi.ModeOnce, "files:read", "admin")},
		{"a required scope stays", question(face.KindConsent), "1,2,o", yes(localapi.ModeOnce, "files:read")},
		{"no such scope", question(face.KindConsent), "0,4,-1,99999999999999999999,o", yes(localapi.ModeOnce, "files:read", "files:write")},
		{"all scopes off allow nothing", optional, "1,o", face.Answer{}},
		{"no scopes at all", bare, "1,o", yes(localapi.ModeOnce)},
		{"no account to be wrong", bare, "w", face.Answer{}},
		{"Enter is no answer", question(face.KindConsent), ",,", face.Answer{}},
		{"a mode that is not offered", few, "a,r,h", face.Answer{}},
		{"words are no letters", question(face.KindConsent), "yes,y,allow,oo", face.Answer{}},
		{"sign in", question(face.KindSignIn), "y", yes("", "files:read")},
		{"no to a sign-in", question(face.KindSignIn), "o,d", face.Answer{Answered: true}},
		{"the proposed issuer", several, "y", at("https://auth.example.com")},
		{"another issuer", several, "i,y", at("https://two.example")},
		{"round to the first issuer", several, "i,i,y", at("https://zero.example")},
		{"the proposed way", ways, "y", by(face.ViaBrowser)},
		{"on another device", ways, "v,y", by(face.ViaDevice)},
		{"back to the browser", ways, "v,v,y", by(face.ViaBrowser)},
		{"no other way to choose", question(face.KindSignIn), "v,d", face.Answer{Answered: true}},
		{"no other issuer to choose", question(face.KindSignIn), "i,d", face.Answer{Answered: true}},
		{"forget", question(face.KindForget), "y", yes("")},
		{"register", question(face.KindRegister), "y", yes("")},
		{"quirk", question(face.KindQuirk), "y", yes("")},
		{"no quirk", question(face.KindQuirk), "d", face.Answer{Answered: true}},
		{"a client ID and secret", question(face.KindClientID), "c, my id ,s3cret", face.Answer{Answered: true, Allow: true, ClientID: "my id", ClientSecret: secret.New("s3cret")}},
		{"a client ID alone", question(face.KindClientID), "c,id,", face.Answer{Answered: true, Allow: true, ClientID: "id", ClientSecret: secret.New("")}},
		{"back, then deny", question(face.KindClientID), "c,,d", face.Answer{Answered: true}},
		{"no client ID from others' letters", question(face.KindClientID), "c,ïd," + strings.Repeat("x", client.MaxText+1) + ",id,\x1b,", face.Answer{Answered: true, Allow: true, ClientID: "id", ClientSecret: secret.New("")}},
		{"no yes without a client ID", question(face.KindClientID), "y,o,a", face.Answer{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDialog(test.q)
			var got face.Answer
			for _, line := range strings.Split(test.typed, ",") {
				reply, done := d.take(line)
				if strings.Contains(reply, "s3cret") {
					t.Error("the reply shows the secret")
				}
				if done {
					got = d.answer
				}
			}
			if !reflect.DeepEqual(plain(got), plain(test.want)) {
				t.Errorf("answer %+v, want %+v", plain(got), plain(test.want))
			}
		})
	}
}

// plain makes an answer comparable and its secret visible to a test.
func plain(a face.Answer) any {
	s := a.ClientSecret.Reveal()
	a.ClientSecret = secret.Text{}
	if len(a.Scopes) == 0 {
		a.Scopes = nil
	}
	return struct {
		face.Answer
		secret string
	}{a, s}
}

func TestLinesAreBounded(t *testing.T) {
	var l lines
	for range 100 {
		l.add([]byte(strings.Repeat("x", 1000)))
	}
	l.add([]byte("\r\na\nb"))
	l.end()
	var got []int
	for s, ok := l.next(); ok; s, ok = l.next() {
		got = append(got, len(s))
	}
	if want := []int{maxLine, 1, 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("lines of %v bytes, want %v", got, want)
	}
}
