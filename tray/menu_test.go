package tray

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) // a Saturday

// text writes a menu down: one line a row, with what a click does.
func text(rows []item, indent string) string {
	var b strings.Builder
	for _, i := range rows {
		b.WriteString(indent + i.label)
		if i.line {
			b.WriteString("---")
		}
		if i.open {
			b.WriteString(" > open")
		}
		if i.wish != nil {
			fmt.Fprintf(&b, " > %T%+v", i.wish, i.wish)
		}
		b.WriteString("\n" + text(i.sub, indent+"  "))
	}
	return b.String()
}

const foot = "---\nOpen Valet Key > open\nQuit > face.WishQuit{}\n"

func signInRows(again, server, account string) string {
	return fmt.Sprintf("  %s > face.WishSignIn{Server:%s Account:%s}\n  Forget… > open\n", again, server, account)
}

func TestMenu(t *testing.T) {
	claude := peer.Host{Name: "claude"}
	const mcp = "https://mcp.example.com/mcp"
	tests := []struct {
		name  string
		state face.State
		want  string
	}{
		{"before the first state", face.State{}, "No servers yet\n" + foot},
		{"nothing that shows windows", face.State{Keychain: "ok", Windows: noWindows},
			"No windows: valetkey-window is not installed\nPlease install it beside valetkey, then restart Valet Key\n" + foot},
		{"a token held", face.State{Keychain: "ok", Grants: []localapi.Grant{
			{Server: mcp, Account: "work", State: localapi.StateReady, ExpiresAt: noon.Add(52 * time.Minute)}}},
			"mcp.example.com/mcp: ready, token until 12:52\n" + signInRows("Sign in again", mcp, "work") + foot},
		{"a token that ends tomorrow", face.State{Grants: []localapi.Grant{
			{Server: mcp, State: localapi.StateReady, ExpiresAt: noon.Add(24 * time.Hour)}}},
			"mcp.example.com/mcp: ready, token until Sun 12:00\n" + signInRows("Sign in again", mcp, "") + foot},
		{"a token that ends next month", face.State{Grants: []localapi.Grant{
			{Server: mcp, State: localapi.StateReady, ExpiresAt: noon.Add(20 * 24 * time.Hour)}}},
			"mcp.example.com/mcp: ready, token until 11 Dec 2026\n" + signInRows("Sign in again", mcp, "") + foot},
		{"a token that has expired is renewed when asked for", face.State{Grants: []localapi.Grant{
			{Server: mcp, State: localapi.StateReady, ExpiresAt: noon}}},
			"mcp.example.com/mcp: ready\n" + signInRows("Sign in again", mcp, "") + foot},
		{"two accounts are told apart, and who needs the person comes first", face.State{Grants: []localapi.Grant{
			{Server: mcp, Account: "work", State: localapi.StateReady},
			{Server: "https://b.example/", Account: "me", State: localapi.StateUnavailable},
			{Server: mcp, Account: "home", State: localapi.StateSignIn},
			{Server: "https://c.example", Account: "me", State: localapi.StateUnsaved}}},
			"mcp.example.com/mcp as home: sign in again\n" + signInRows("Sign in", mcp, "home") +
				"c.example: not saved in the keychain\n" + signInRows("Sign in again", "https://c.example", "me") +
				"mcp.example.com/mcp as work: ready\n" + signInRows("Sign in again", mcp, "work") +
				"b.example: issuer cannot be reached\n" + signInRows("Sign in again", "https://b.example/", "me") + foot},
		{"what waits", face.State{Waiting: []face.Question{
			{Kind: face.KindConsent, Host: claude, Server: mcp},
			{Kind: face.KindSignIn, Host: claude, Server: mcp},
			{Kind: face.KindSignIn, Server: mcp},
			{Kind: face.KindForget, Host: claude, Server: mcp},
			{Kind: face.KindRegister, Host: claude, Issuer: "https://auth.example.com", ClientID: "x"},
			{Kind: face.KindQuirk, Host: claude, Server: mcp},
			{Kind: face.KindClientID, Issuer: "https://auth.example.com"}}},
			"claude asks for mcp.example.com/mcp… > open\n" +
				"claude asks to sign in to mcp.example.com/mcp… > open\n" +
				"Sign in to mcp.example.com/mcp… > open\n" +
				"claude asks to forget mcp.example.com/mcp… > open\n" +
				"claude asks to set a client ID for auth.example.com… > open\n" +
				"Something is wrong with the tokens for mcp.example.com/mcp… > open\n" +
				"auth.example.com needs a client ID… > open\n" + foot},
		{"a sign-in under way", face.State{SignIns: []face.SignIn{{ID: "s1", Server: mcp}}},
			"Signing in to mcp.example.com/mcp\n" +
				"  Open the page again > face.WishOpenURL{ID:s1}\n" +
				"  Cancel > face.WishCancel{ID:s1}\n" + foot},
		{"pauses: one that holds, one without an end, one that is over", face.State{Paused: []face.Paused{
			{Host: "exe:/usr/bin/a", Name: "a", Until: noon.Add(5 * time.Minute)},
			{Host: "exe:/usr/bin/b", Name: "b"},
			{Host: "exe:/usr/bin/c", Name: "c", Until: noon}}},
			"No servers yet\n" +
				"a is paused until 12:05\n  Resume now > face.WishResume{Host:exe:/usr/bin/a}\n" +
				"b is paused\n  Resume now > face.WishResume{Host:exe:/usr/bin/b}\n" + foot},
		{"keychain", face.State{Keychain: "The keychain is locked."}, "Keychain: The keychain is locked. > open\n" + foot},
		{"names that would mislead", face.State{Waiting: []face.Question{
			{Host: peer.Host{Name: "cl\u202eau\x1b[2Jde\n\tx"}, Server: "https://exаmple.com/mcp"},
			{Host: claude, Server: "https://" + strings.Repeat("good.example.", 8) + "evil.example/mcp"},
			{Host: claude, Server: "https://evil.example/" + strings.Repeat("good.example/", 8)},
			{Host: claude, Server: "not a URL"}}},
			"clau[2Jde x asks for xn--exmple-4nf.com/mcp… > open\n" +
				"claude asks for ….example.good.example.good.example.evil.example… > open\n" +
				"claude asks for evil.example/good.example/good.example/good.exa… > open\n" +
				"claude asks for not a URL… > open\n" + foot},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := text(menu(test.state, noon), ""); got != test.want {
				t.Errorf("menu:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestMenuIsBounded(t *testing.T) {
	var s face.State
	for n := range 100 {
		s.Grants = append(s.Grants, localapi.Grant{Server: fmt.Sprintf("https://s%02d.example/", n), State: localapi.StateReady})
		s.Paused = append(s.Paused, face.Paused{Name: "p"})
		s.SignIns = append(s.SignIns, face.SignIn{Server: "https://s.example"})
		s.Waiting = append(s.Waiting, face.Question{Host: peer.Host{Name: strings.Repeat("w", 500)}, Server: "https://" + strings.Repeat("s", 500)})
	}
	s.Grants[77].State = localapi.StateSignIn
	rows := menu(s, noon)
	if want := 4*maxRows + 3; len(rows) != want {
		t.Errorf("%d rows, want %d", len(rows), want)
	}
	all := text(rows, "")
	if !strings.Contains(all, "89 more… > open") || !strings.Contains(all, "s77.example: sign in again") {
		t.Errorf("no row for what was left out, or the server that needs the person was left out:\n%s", all)
	}
	for _, r := range rows {
		if n := len([]rune(r.label)); n > maxLabel {
			t.Errorf("a label of %d characters", n)
		}
	}
}

var noWindows = localapi.Errorf(localapi.ErrUnavailable, "valetkey-window is not installed").WithHint("install it beside valetkey, then restart Valet Key")

func TestLookAndTooltip(t *testing.T) {
	grant := func(state string) localapi.Grant { return localapi.Grant{State: state} }
	one := []face.Question{{}}
	tests := []struct {
		state   face.State
		look    look
		tooltip string
	}{
		{face.State{}, normal, "Valet Key"},
		{face.State{Keychain: "ok", Grants: []localapi.Grant{grant(localapi.StateReady)}}, normal, "Valet Key: 1 server"},
		{face.State{Keychain: "ok", Grants: []localapi.Grant{grant(localapi.StateUnavailable), grant(localapi.StateReady)}}, normal, "Valet Key: 2 servers"},
		{face.State{Grants: []localapi.Grant{grant(localapi.StateSignIn)}}, problem, "Valet Key: 1 server needs you to sign in again"},
		{face.State{Grants: []localapi.Grant{grant(localapi.StateUnsaved)}}, problem, "Valet Key: 1 server"},
		{face.State{Keychain: "Locked."}, problem, "Valet Key: Locked."},
		{face.State{Keychain: "ok", Windows: noWindows}, problem, "Valet Key: no windows: valetkey-window is not installed"},
		{face.State{Keychain: "Locked.", Waiting: one}, attention, "Valet Key: 1 question waits for you"},
		{face.State{Waiting: append(one, one...)}, attention, "Valet Key: 2 questions wait for you"},
	}
	for _, test := range tests {
		if l, tip := lookOf(test.state), tooltip(test.state); l != test.look || tip != test.tooltip {
			t.Errorf("%+v: look %d, tooltip %q, want %d, %q", test.state, l, tip, test.look, test.tooltip)
		}
	}
}

func TestNextChange(t *testing.T) {
	at := func(minutes ...int) (s face.State) {
		for n, m := range minutes {
			if n%2 == 0 {
				s.Grants = append(s.Grants, localapi.Grant{ExpiresAt: noon.Add(time.Duration(m) * time.Minute)})
			} else {
				s.Paused = append(s.Paused, face.Paused{Until: noon.Add(time.Duration(m) * time.Minute)})
			}
		}
		return s
	}
	never := face.State{Grants: []localapi.Grant{{}}, Paused: []face.Paused{{}}}
	for _, test := range []struct {
		state face.State
		want  time.Time
	}{
		{face.State{}, time.Time{}}, {never, time.Time{}}, {at(0, -1), time.Time{}},
		{at(5), noon.Add(5 * time.Minute)}, {at(5, 3, -1), noon.Add(3 * time.Minute)}, {at(2, 3, 9), noon.Add(2 * time.Minute)},
	} {
		got := nextChange(test.state, noon)
		if !got.Equal(test.want) {
			t.Errorf("%+v: %v, want %v", test.state, got, test.want)
		}
		if !got.IsZero() && text(menu(test.state, noon), "") == text(menu(test.state, got), "") {
			t.Errorf("%+v: the menu does not change at %v", test.state, got)
		}
	}
}

func TestIconFallsBack(t *testing.T) {
	all := New(Config{Icon: []byte("n"), IconAttention: []byte("a"), IconProblem: []byte("p")})
	few := New(Config{Icon: []byte("n")})
	for l, want := range map[look]string{normal: "n", attention: "a", problem: "p"} {
		if got := string(all.icon(l)); got != want {
			t.Errorf("look %d: icon %q, want %q", l, got, want)
		}
		if got := string(few.icon(l)); got != "n" {
			t.Errorf("look %d without an icon of its own: %q", l, got)
		}
	}
}
