package app

import (
	"bytes"
	"flag"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/quirk"
)

var update = flag.Bool("update", false, "write the pictures in testdata anew")

// noon is the time in every picture.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.Local)

// variant is our theme in one of its two kinds.
type variant struct {
	fyne.Theme
	kind fyne.ThemeVariant
}

func (v variant) Color(name fyne.ThemeColorName, _ fyne.ThemeVariant) color.Color {
	return v.Theme.Color(name, v.kind)
}

var variants = map[string]fyne.ThemeVariant{"light": theme.VariantLight, "dark": theme.VariantDark}

// inVariant runs f with an app of the kind.
func inVariant(t *testing.T, kind fyne.ThemeVariant) fyne.App {
	a := test.NewTempApp(t)
	a.Settings().SetTheme(variant{newTheme(), kind})
	return a
}

// golden compares a window with testdata/name; with -update it writes that file.
func golden(t *testing.T, name string, w fyne.Window) {
	t.Helper()
	if *update {
		var b bytes.Buffer
		if err := png.Encode(&b, w.Canvas().Capture()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", name), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	test.AssertImageMatches(t, name, w.Canvas().Capture())
}

func claude() peer.Host {
	return peer.Host{Key: "exe:/usr/bin/claude", Base: "exe:/usr/bin/claude", Name: "claude", Level: peer.SystemPath,
		Facts: "installed by the system at /usr/bin/claude",
		Process: peer.Process{PID: 4242, PPID: 4100, Exe: "/usr/bin/claude",
			Args: []string{"claude", "--mcp-config", "mcp.json"}},
		Chain: []peer.Process{{PID: 4250, Exe: "/usr/bin/vk"}, {PID: 4242, Exe: "/usr/bin/claude"}, {PID: 4100, Exe: "/usr/bin/bash"},
			{PID: 900, Exe: "/usr/bin/gnome-terminal-server"}}}
}

func question(kind string) face.Question {
	return face.Question{ID: "q1", Kind: kind, Host: claude(), ClientName: "Claude Code", Server: "https://mcp.example.com/mcp",
		ServerName: "Example Tracker", Resource: "https://mcp.example.com/mcp", Issuer: "https://login.example.net",
		Account: "work", Why: "claude has not used this server before.",
		Asked: noon.Add(-13 * time.Second), Deadline: noon.Add(107 * time.Second)}
}

func consent() face.Question {
	q := question(face.KindConsent)
	q.Scopes = []face.Scope{{Name: "issues:read", Required: true, New: true, Checked: true}, {Name: "issues:write", New: true, Checked: true},
		{Name: "profile"}, {Name: offlineAccess, New: true, Checked: true}}
	q.Modes = []string{localapi.ModeOnce, localapi.ModeRunning, localapi.ModeHour, localapi.ModeAlways}
	q.Reason = "List the open issues of the release, then close the ones that are done."
	return q
}

func script() peer.Host {
	return peer.Host{Name: "my-agent.py", Level: peer.SelfReported, Facts: "python3.11 running /home/ann/agents/my-agent.py",
		Process: peer.Process{PID: 77, Exe: "/usr/bin/python3.11", Args: []string{"python3", "my-agent.py"}}}
}

// questions are the kinds of windows that ask.
func questions() map[string]face.Question {
	signIn := question(face.KindSignIn)
	signIn.SignIn, signIn.Via = true, face.ViaBrowser
	several := question(face.KindSignIn)
	several.SignIn, several.Via = true, face.ViaBrowser
	several.Issuers = []string{"https://login.example.net", "https://accounts.xn--bcher-kva.example/tenants/blue"}
	several.Notes = []string{"This server works with 2 issuers. Choose the one where you have an account."}
	forget := question(face.KindForget)
	register := question(face.KindRegister)
	register.ClientID = "8f1c0a6e-valetkey-desktop"
	clientID := question(face.KindClientID)
	clientID.Host = peer.Host{}
	clientID.Notes = []string{"Give the issuer http://127.0.0.1/callback as the redirect URI; any port must be allowed."}
	wrong := question(face.KindQuirk)
	wrong.Quirk = &quirk.Quirk{Name: quirk.Audience, Value: "account"}
	wrong.Why = "The token is for another server (audience account, expected https://mcp.example.com/mcp)."
	wrong.Notes = []string{wrong.Quirk.Meaning()}
	device := signIn
	device.Via, device.Vias = face.ViaDevice, []string{face.ViaBrowser, face.ViaDevice}
	own := signIn
	own.Host, own.ClientName, own.ServerName = peer.Host{}, "", ""
	own.Scopes = []face.Scope{{Name: "issues:read", Checked: true}, {Name: offlineAccess, Checked: true}}
	pkce := question(face.KindQuirk)
	pkce.Host, pkce.ClientName, pkce.Quirk, pkce.SignIn, pkce.Via = peer.Host{}, "", &quirk.Quirk{Name: quirk.PKCEUnlisted}, true, face.ViaBrowser
	pkce.Why = "login.example.net does not say that it checks PKCE (code_challenge_methods_supported is missing from its metadata)."
	pkce.Notes = []string{pkce.Quirk.Meaning()}
	remove := question(face.KindRegister)
	enterprise := register
	enterprise.Notes = []string{"Your enterprise at https://login.example.org speaks for you, and decides what you may do here."}
	first := consent()
	first.SignIn, first.Via = true, face.ViaBrowser
	first.Host = script()
	first.ClientName = ""
	first.Modes = first.Modes[:2]
	first.Server = "https://mcp.xn--bcher-kva.co.uk:8443/mcp/v2?team=blue"
	first.Resource = "https://mcp.xn--bcher-kva.co.uk:8443/mcp"
	first.Notes = []string{"This server's metadata speaks for all of https://mcp.xn--bcher-kva.co.uk:8443, not for this path alone."}
	open := question(face.KindConsent) // a server that asks for no sign-in
	open.Issuer, open.Modes = "", consent().Modes
	open.Notes = []string{"This server asks for no sign-in. Valet Key passes on what the program says and what the server answers, without a token of yours."}
	return map[string]face.Question{"consent": consent(), "consent-open": open, "consent-sign-in": first, "sign-in": signIn, "several-issuers": several, "forget": forget,
		"register": register, "register-remove": remove, "register-enterprise": enterprise, "client-id": clientID, "quirk": wrong, "quirk-sign-in": pkce, "sign-in-device": device, "sign-in-own": own}
}

func showQuestion(t *testing.T, q face.Question) (*questionView, fyne.Window) {
	v := newQuestionView(q, 0, func() time.Time { return noon }, func(face.Answer) {})
	w := test.NewTempWindow(t, v.content)
	w.SetPadded(false)
	w.Resize(v.size())
	v.focus = w.Canvas().Focus
	w.Canvas().Focus(v.deny)
	return v, w
}

func TestPicturesOfQuestions(t *testing.T) {
	for kind, value := range variants {
		t.Run(kind, func(t *testing.T) {
			inVariant(t, value)
			for name, q := range questions() {
				v, w := showQuestion(t, q)
				v.arm.focus(true, noon.Add(-time.Minute))
				v.tick()
				golden(t, name+"-"+kind+".png", w)
			}
			v, w := showQuestion(t, consent())
			v.arm.focus(true, noon.Add(-armingDelay/2))
			v.later = 2
			v.tick()
			v.find("allow-more").Tapped(nil)
			golden(t, "consent-arming-menu-"+kind+".png", w)
			v.find("allow-more").Tapped(nil)
			v.find("details").Tapped(nil)
			v.scroll.ScrollToBottom()
			golden(t, "consent-details-"+kind+".png", w)
		})
	}
}

// find is the view's control of that name.
func (v *questionView) find(id string) *control {
	for _, c := range v.controls {
		if c.id == id {
			return c
		}
	}
	panic("no control " + id)
}

func TestPicturesOfTheMainWindow(t *testing.T) {
	first := map[string]bool{grantKey(busyState().Grants[0]): true}
	type page struct {
		state face.State
		memory
		height float32 // 0: as it opens
	}
	pages := map[string]page{
		"servers":  {busyState(), memory{page: face.PageServers}, 0},
		"hosts":    {busyState(), memory{page: face.PageHosts}, 0},
		"waiting":  {busyState(), memory{page: face.PageWaiting}, 0},
		"device":   {deviceState(), memory{page: face.PageWaiting}, 0},
		"activity": {busyState(), memory{page: face.PageActivity}, 0},
		"empty": {face.State{Version: "0.1.0", Socket: "/run/user/1000/valetkey/agent.sock", Keychain: "it is locked"},
			memory{page: face.PageServers, confirm: keyQuit, failed: map[string]*localapi.Error{keyAdd: localapi.Errorf(
				localapi.ErrDiscovery, "no MCP server answers at https://example.com").WithHint("often /mcp stands at the end")}}, 0},
		"servers-open": {busyState(), memory{page: face.PageServers, confirm: grantKey(busyState().Grants[0]), open: first}, 0},

		"server-programs":  {withPrograms(twelve(), adding(true)), memory{page: face.PageServers, open: first}, 860},
		"programs":         {withPrograms(three(), adding(false)), memory{page: face.PageHosts}, 900},
		"programs-remove":  {withPrograms(three(), removing()), memory{page: face.PageHosts}, 760},
		"programs-failed":  {withPrograms(three(), failing()), memory{page: face.PageHosts}, 960},
		"programs-done":    {withPrograms(three(), done()), memory{page: face.PageHosts}, 0},
		"programs-twelve":  {withPrograms(twelve(), nil), memory{page: face.PageHosts}, 1500},
		"programs-none":    {withPrograms(nil, nil), memory{page: face.PageHosts}, 0},
		"programs-nothing": {face.State{Version: "0.1.0", Socket: "/run/user/1000/valetkey/agent.sock", Keychain: "ok", Programs: twelve()[1:4]}, memory{page: face.PageHosts}, 0},
	}
	for name, state := range checkedStates() {
		key := grantKey(state.Grants[0])
		pages[name] = page{state, memory{page: face.PageServers, open: map[string]bool{key: true}}, 680}
	}
	linear := busyState().Grants[0]
	for kind, name := range []string{"browser", "itself", "identity-file", "enterprise"} {
		key := "client\n" + grantKey(linear)
		form := newClientForm(key)
		form.kind, form.id.Text = kind, "8f1c0a6e-valetkey"
		s := busyState()
		s.Grants = s.Grants[:1]
		s.Grants[0].Registration = &client.Public{ClientID: "dyn-1", Source: client.SourceDynamic}
		pages["client-"+name] = page{s, memory{page: face.PageServers, open: first, forms: map[string]*clientForm{key: form}}, 860}
	}
	adding := newClientForm(keyAdd)
	adding.kind = byEnterprise
	pages["client-add"] = page{face.State{Version: "0.1.0", Socket: "/run/user/1000/valetkey/agent.sock", Keychain: "ok"},
		memory{page: face.PageServers, forms: map[string]*clientForm{keyAdd: adding}, failed: map[string]*localapi.Error{
			keyAdd: localapi.Errorf(localapi.ErrBadRequest, "Name your enterprise's issuer, and the client ID that Valet Key has there.")}}, 860}
	set := busyState()
	set.Grants = set.Grants[:1]
	set.Grants[0].Registration = &client.Public{ClientID: "8f1c0a6e-valetkey", Source: client.SourcePreRegistered, GrantType: "x", Enterprise: "https://login.example.org"}
	pages["client-set"] = page{set, memory{page: face.PageServers, open: first}, 680}
	off := pages["check-wrong"]
	off.confirm = "unchecked\n" + grantKey(off.state.Grants[0])
	pages["check-off"] = off
	for kind, value := range variants {
		t.Run(kind, func(t *testing.T) {
			inVariant(t, value)
			for name, p := range pages {
				p.address = newField(keyAdd, "https://mcp.example.com/mcp", false)
				content, _ := mainView(p.state, p.memory, actions{}, noon)
				w := test.NewTempWindow(t, content)
				w.SetPadded(false)
				w.Resize(fyne.NewSize(880, max(600, p.height)))
				golden(t, "main-"+name+"-"+kind+".png", w)
			}
		})
	}
}

// deviceState is a sign-in on another device.
func deviceState() face.State {
	s := busyState()
	s.Waiting, s.SignIns[0].URL, s.SignIns[0].Code = nil, "https://sentry.example.io/device", "WDJB-MJHT"
	return s
}

// withPrograms is a person with three servers, none of whose consents last.
func withPrograms(programs []face.Program, e *face.Edit) face.State {
	s := busyState()
	s.Programs, s.Edit, s.Paused = programs, e, nil
	for i := range s.Grants {
		s.Grants[i].Consents = nil
	}
	return s
}

func three() []face.Program {
	linear := face.Connected{Name: "linear", Server: "https://mcp.linear.example.com/mcp"}
	return []face.Program{
		{Key: "claude-code", Name: "Claude Code", File: "~/.claude.json", Servers: []face.Connected{linear}},
		{Key: "codex", Name: "Codex", File: "~/.codex/config.toml", Servers: []face.Connected{{Name: "wiki", Server: "https://wiki.example.net/mcp"}}},
		{Key: "cursor", Name: "Cursor", File: "~/.cursor/mcp.json", Problem: "it is not JSON at line 3, column 7"},
	}
}

func twelve() []face.Program {
	all := three()
	for _, name := range []string{"Claude Desktop", "VS Code", "VS Code Insiders", "Gemini CLI", "Goose", "Zed", "Windsurf", "Copilot CLI", "opencode"} {
		p := face.Program{Key: name, Name: name, File: "~/.config/" + name + "/User/globalStorage/settings/mcp.json"}
		if name == "Zed" {
			p.Servers = []face.Connected{{Name: "linear", Server: "https://mcp.linear.example.com/mcp/"}, {Name: "linear-2", Server: "https://mcp.linear.example.com/mcp"}}
		}
		all = append(all, p)
	}
	return all
}

// adding is a change on offer; of a server that is a good one to look at or of another.
func adding(linear bool) *face.Edit {
	e := face.Edit{ID: "edit-1", Program: "codex", Server: "https://mcp.github.example.com/mcp", Name: "github", File: "/home/ann/.codex/config.toml",
		Lines:  "[mcp_servers.github]\nurl = \"https://mcp.github.example.com/mcp\"\nhttp_headers_helper = '\"/usr/local/bin/vk\" headers --host codex --server https://mcp.github.example.com/mcp'\nstartup_timeout_sec = 20.0\n",
		Runs:   `"/usr/local/bin/vk" headers --host codex --server https://mcp.github.example.com/mcp`,
		Backup: "/home/ann/.codex/config.toml.valetkey-backup"}
	if linear {
		e = face.Edit{ID: "edit-1", Program: "VS Code", Server: "https://mcp.linear.example.com/mcp", Name: "linear", File: "/home/ann/.config/Code/User/mcp.json",
			Lines:  "\t\t\"linear\": {\n\t\t\t\"type\": \"http\",\n\t\t\t\"url\": \"unix:///run/user/1000/valetkey/agent.sock#/mcp/mcp.linear.example.com/mcp\"\n\t\t}\n",
			Socket: "/run/user/1000/valetkey/agent.sock"}
	}
	return &e
}

func removing() *face.Edit {
	return &face.Edit{ID: "edit-2", Program: "claude-code", Server: "https://mcp.linear.example.com/mcp", Name: "linear", Remove: true, File: "/home/ann/.claude.json",
		Lines: "    \"linear\": {\n      \"type\": \"http\",\n      \"url\": \"https://mcp.linear.example.com/mcp\",\n      \"headersHelper\": \"\\\"/usr/local/bin/vk\\\" headers --host claude-code --server https://mcp.linear.example.com/mcp\"\n    }\n"}
}

func failing() *face.Edit {
	return &face.Edit{ID: "edit-3", Program: "cursor", Server: "https://mcp.linear.example.com/mcp", Name: "linear", File: "/home/ann/.cursor/mcp.json",
		Failed: localapi.Errorf(localapi.ErrBadRequest, "/home/ann/.cursor/mcp.json cannot be changed: it is not JSON at line 3, column 7").WithHint("nothing was written; mend the file and try again"),
		Block:  "{\n  \"mcpServers\": {\n    \"linear\": {\n      \"command\": \"/usr/local/bin/vk\",\n      \"args\": [\"bridge\", \"https://mcp.linear.example.com/mcp\"]\n    }\n  }\n}\n"}
}

func done() *face.Edit {
	e := adding(false)
	e.Program, e.Server, e.Name, e.Done, e.Restart = "claude-code", "https://mcp.linear.example.com/mcp", "linear", true, "Start a new session."
	return e
}

// checkedStates are servers whose last token was looked at.
func checkedStates() map[string]face.State {
	one := func(change func(g *localapi.Grant)) face.State {
		s := busyState()
		s.Grants = s.Grants[:1]
		change(&s.Grants[0])
		return s
	}
	passed := func(names ...string) (findings []localapi.Finding) {
		for _, name := range names {
			findings = append(findings, localapi.Finding{Name: name, Result: localapi.FindingPassed, Text: "This is right."})
		}
		return findings
	}
	at := noon.Add(-8 * time.Minute)
	return map[string]face.State{
		"check-verified": one(func(g *localapi.Grant) {
			g.Server, g.Prefix = g.Resource+"/v2", true
			g.Check = &localapi.Check{Result: localapi.CheckVerified, At: at,
				Findings: passed("signature", "expiry", "audience", "issuer", "scope")}
		}),
		"check-wrong": one(func(g *localapi.Grant) {
			g.Check = &localapi.Check{Result: localapi.CheckWrong, At: at, Findings: append(passed("signature", "expiry", "issuer", "scope"),
				localapi.Finding{Name: localapi.CheckAudience, Result: localapi.FindingFailed, Text: "The token is for another server.", Expected: g.Resource, Found: "account"})}
		}),
		"check-accepted": one(func(g *localapi.Grant) {
			g.Check = &localapi.Check{Result: localapi.CheckAccepted, At: at, Findings: passed("signature", "expiry", "audience", "issuer", "scope")}
			g.Quirks = []quirk.Quirk{{Name: quirk.Audience, Value: "account", AcceptedAt: noon.Add(-49 * time.Hour)},
				{Name: quirk.Unchecked, AcceptedAt: noon.Add(-2 * time.Hour)}}
		}),
		"check-set": one(func(g *localapi.Grant) {
			g.Bindable = true
			g.Quirks = []quirk.Quirk{{Name: quirk.PKCEUnlisted, AcceptedAt: noon.Add(-49 * time.Hour)},
				{Name: quirk.Parameters, Value: "access_type=offline&prompt=consent", AcceptedAt: noon.Add(-49 * time.Hour)}}
		}),
	}
}

func busyState() face.State {
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	linear, github := "https://mcp.linear.example.com/mcp", "https://mcp.github.example.com/mcp"
	return face.State{Version: "0.1.0", Socket: "/run/user/1000/valetkey/agent.sock", Keychain: "ok",
		Grants: []localapi.Grant{
			{Server: linear, Resource: linear, Name: "Linear", Issuer: "https://login.example.net", Account: "work",
				Scopes: []string{"issues:read", "issues:write"}, State: localapi.StateReady, Renewable: true,
				SignedInAt: at(-50 * time.Hour), RefreshedAt: at(-8 * time.Minute), ExpiresAt: at(52 * time.Minute),
				Consents: []localapi.Consent{
					{Host: "exe:/usr/bin/claude", HostName: "claude", Level: peer.SystemPath, Scopes: []string{"issues:read"},
						Mode: localapi.ModeAlways, GivenAt: at(-49 * time.Hour)},
					{Host: "script:/usr/bin/python3|/home/ann/agent.py#5f2c", HostName: "agent.py", Level: peer.SelfReported,
						Scopes: []string{"issues:read", "issues:write"}, Mode: localapi.ModeHour, GivenAt: at(-10 * time.Minute),
						ExpiresAt: at(50 * time.Minute)}}},
			{Server: github, Resource: github, Issuer: "https://github.example.com", Account: "default", State: localapi.StateSignIn,
				Problem: "the issuer has ended the sign-in"},
			{Server: "https://notes.example.org/mcp", Issuer: "https://notes.example.org", Account: "default",
				State: localapi.StateUnavailable, Problem: "no answer within 10 s"}},
		SignIns: []face.SignIn{{ID: "s1", Server: "https://mcp.sentry.example.io/mcp", Issuer: "https://sentry.example.io",
			Host: "claude", Started: at(-30 * time.Second), URL: "https://sentry.example.io/authorize?state=x"}},
		Paused: []face.Paused{{Host: "exe:/opt/cursor/cursor", Name: "cursor", Until: at(4 * time.Minute),
			Why: "two questions in a row stayed without an answer"}},
		Programs: three(),
		Waiting:  []face.Question{consent(), question(face.KindForget)},
		Activity: []face.Entry{
			{Time: at(-time.Minute), Event: "token", Host: "claude", Resource: linear, Account: "work", Decision: "allowed",
				Rule: "a consent covers it: always", Scopes: []string{"issues:read"}},
			{Time: at(-8 * time.Minute), Event: "refresh", Resource: linear, Account: "work", Decision: "done", Rule: "the token was about to end"},
			{Time: at(-10 * time.Minute), Event: "consent", Host: "agent.py", Resource: linear, Account: "work", Decision: "allowed",
				Mode: localapi.ModeHour, Rule: "the host had no consent for issues:write"},
			{Time: at(-25 * time.Minute), Event: "consent", Host: "cursor", Resource: github, Decision: "unanswered", Rule: "no answer within 120 s"},
			{Time: at(-26 * time.Hour), Event: "consent", Host: "cursor", Resource: github, Decision: "denied"},
			{Time: at(-50 * time.Hour), Event: "sign_in", Resource: linear, Account: "work", Decision: "done", Rule: "the person added the server"}}}
}
