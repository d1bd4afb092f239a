package app

import (
	"fmt"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
)

// Keys of single actions; those of servers and hosts are built from their names.
const (
	keyAdd  = "add"
	keyQuit = "quit"
	keyLook = "look"
)

// mainView draws the main window.
func mainView(s face.State, mem memory, on actions, now time.Time) (fyne.CanvasObject, *container.Scroll) {
	v := &mainDrawing{s: s, memory: mem, on: on, now: now}
	title, page := v.pageOf(mem.page)
	body, scroll := scrolling(200, 200, pad(2, 24, 20, 24, vbox(0, page)))
	head := pad(20, 24, 12, 24, text(sized(sizeTitle, strong(title))...))
	right := container.New(&sandwich{}, head, body, v.statusLine())
	return over(newBlock(theme.ColorNameBackground, "", 0), container.New(&split{left: 196}, v.sideBar(), right)), scroll
}

// mainDrawing is one drawing of the main window.
type mainDrawing struct {
	s face.State
	memory
	on  actions
	now time.Time
}

func (v *mainDrawing) pageOf(page string) (string, fyne.CanvasObject) {
	switch page {
	case face.PageHosts:
		return "Hosts", v.hosts()
	case face.PageWaiting:
		return "Waiting", v.waiting()
	case face.PageActivity:
		return "Activity", v.activity()
	}
	return "Servers", v.servers()
}

// split sets two objects side by side over the whole height.
type split struct{ left float32 }

func (l *split) MinSize(objects []fyne.CanvasObject) fyne.Size {
	right := objects[1].MinSize()
	return fyne.NewSize(l.left+max(right.Width, 460), max(right.Height, objects[0].MinSize().Height, 360)) // less squeezes the cards
}

func (l *split) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	objects[0].Resize(fyne.NewSize(l.left, size.Height))
	objects[1].Move(fyne.NewPos(l.left, 0))
	objects[1].Resize(fyne.NewSize(size.Width-l.left, size.Height))
}

// sideBar lists the pages; what ends the program is at its foot.
func (v *mainDrawing) sideBar() fyne.CanvasObject {
	item := func(page, title string, icon fyne.Resource, n int) *button {
		b := newButton("page-"+page, title, entry, func() { v.on.turn(page) }).withIcon(icon)
		b.chosen = page == v.page
		if n > 0 {
			b.badge = fmt.Sprint(n)
		}
		return b
	}
	top := vbox(1,
		pad(18, 0, 12, 13, text(sized(sizeSection, strong("Valet Key"))...)),
		item(face.PageServers, "Servers", theme.StorageIcon(), len(v.s.Grants)),
		item(face.PageHosts, "Hosts", theme.ComputerIcon(), len(hostsOf(v.s))),
		item(face.PageWaiting, "Waiting", theme.HistoryIcon(), len(v.s.Waiting)+len(v.s.SignIns)),
		item(face.PageActivity, "Activity", theme.ListIcon(), 0),
	)
	foot := vbox(2)
	if v.confirm == keyQuit {
		foot.Add(pad(0, 8, 4, 8, text(small("Without Valet Key no host gets a token. Quit it?"))))
		foot.Add(hbox(0, -1, newButton("quit-no", "Stay", quiet, func() { v.on.confirm("") }),
			newButton("quit-yes", "Quit", danger, func() { v.on.wish(keyQuit, face.WishQuit{}) })))
	} else {
		foot.Add(newButton(keyQuit, "Quit Valet Key", entry, func() { v.on.confirm(keyQuit) }).withIcon(theme.LogoutIcon()))
	}
	bar := container.New(&sandwich{}, pad(0, 8, 8, 8, top), fixed(1, 1), pad(0, 8, 10, 8, foot))
	edge := newBlock(colorBorder, "", 0)
	return over(edge, pad(0, 1, 0, 0, over(newBlock(colorSunken, "", 0), bar)))
}

// statusLine is the foot of the window: what the person may need when something is wrong.
func (v *mainDrawing) statusLine() fyne.CanvasObject {
	keychain := []fyne.CanvasObject{dot(theme.ColorNameSuccess), line(small("Keychain"))}
	if v.s.Keychain != "ok" {
		keychain = []fyne.CanvasObject{dot(theme.ColorNameError), text(span{text: "Keychain: " + v.s.Keychain, color: theme.ColorNameError, size: sizeSmall})}
	}
	rest := text(small(v.s.Socket + " · " + v.s.Version))
	var foot fyne.CanvasObject
	if v.s.Keychain == "ok" {
		foot = beside(6, 3, append(keychain, fixed(10, 1), rest)...)
	} else {
		foot = vbox(2, beside(6, 1, keychain...), rest)
	}
	return vbox(0, ruler(), pad(7, 24, 8, 24, foot))
}

// problem shows why an action failed.
func (v *mainDrawing) problem(key string) fyne.CanvasObject {
	err := v.failed[key]
	if err == nil {
		return nil
	}
	words := vbox(2, text(plain(capital(err.Message))))
	if err.Hint != "" {
		words.Add(text(small(capital(err.Hint))))
	}
	return banner(colorWash, theme.WarningIcon(), theme.ColorNameWarning, words)
}

// act is a button whose wish may be under way.
func (v *mainDrawing) act(key, word, busy string, w weight, wish face.Wish) *button {
	b := newButton(key, word, w, func() { v.on.wish(key, wish) })
	if v.busy[key] {
		b.text = busy
		b.Disable()
	}
	return b
}

// sure asks before an action that takes something away.
func (v *mainDrawing) sure(key, words, word, busy string, wish face.Wish) fyne.CanvasObject {
	return over(newBlock(colorSunken, "", 8), pad(10, 12, 10, 12, vbox(6, text(plain(words)),
		hbox(4, 0, fixed(1, 1), newButton("keep\n"+key, "Keep", ordinary, func() { v.on.confirm("") }), v.act(key, word, busy, danger, wish)))))
}

// empty is shown where a list has nothing.
func empty(icon fyne.Resource, title string, words ...span) fyne.CanvasObject {
	return card(pad(14, 8, 14, 8, beside(16, 1, symbol(icon, colorMuted, 32),
		vbox(6, text(sized(sizeSection, strong(title))...), text(words...)))))
}

func (v *mainDrawing) servers() fyne.CanvasObject {
	var page []fyne.CanvasObject // one layout at the end: Add lays all out each time
	if len(v.s.Grants) == 0 {
		page = append(page, empty(theme.StorageIcon(), "No server yet", muted("Add the address of an MCP server below. Your browser opens, "+
			"you sign in there once, and then the programs you allow can use it through Valet Key. Or just start such a program: "+
			"when it needs a server, Valet Key asks you.")))
	}
	for _, g := range v.s.Grants {
		page = append(page, v.server(g))
	}
	return vbox(12, append(page, v.addServer())...)
}

func (v *mainDrawing) addServer() fyne.CanvasObject {
	b := newButton("add-button", "Sign in", primary, v.on.add)
	if v.busy[keyAdd] {
		b.text = "Signing in…"
		b.Disable()
	}
	rows := vbox(8, text(strong("Add a server")))
	if form := v.clientForm(keyAdd); form != nil {
		rows.Add(v.address)
		rows.Add(over(newBlock(colorSunken, "", 8), pad(10, 12, 10, 12, vbox(8, text(plain("The client ID that you got from the server's issuer, and how tokens are had with it:")), form))))
		rows.Add(hbox(4, 0, fixed(1, 1), newButton(keyAdd+"\nno", "Without a client ID", ordinary, func() { v.on.form(keyAdd) }), b))
	} else {
		rows.Add(hbox(6, 0, v.address, b))
		rows.Add(hbox(0, -1, newButton(keyAdd+"\nclient", "I have a client ID for it", quiet, func() { v.on.form(keyAdd) })))
	}
	if v.busy[keyAdd] {
		rows.Add(text(small("Go on in your browser. The page “Waiting” can cancel it or open its page again.")))
	}
	if p := v.problem(keyAdd); p != nil {
		rows.Add(p)
	}
	return card(rows)
}

// grantKey names a grant in keys.
func grantKey(g localapi.Grant) string { return g.Resource + "\n" + g.Issuer + "\n" + g.Account }

// stateOf tells how a grant is, for its dot and its line.
func (v *mainDrawing) stateOf(g localapi.Grant) (fyne.ThemeColorName, string) {
	because := func(words string) string {
		if g.Problem != "" {
			return words + ": " + g.Problem
		}
		return words
	}
	switch g.State {
	case localapi.StateReady:
		if left := g.ExpiresAt.Sub(v.now); !g.ExpiresAt.IsZero() && left > 0 {
			return theme.ColorNameSuccess, "token valid for " + lasting(left)
		}
		if g.Renewable {
			return theme.ColorNameSuccess, "ready, the next token is fetched when it is needed"
		}
		return theme.ColorNameSuccess, "ready"
	case localapi.StateSignIn:
		return theme.ColorNameError, because("sign in again")
	case localapi.StateUnsaved:
		return theme.ColorNameWarning, because("not saved in the keychain yet")
	}
	return theme.ColorNameWarning, because("the issuer could not be reached")
}

func (v *mainDrawing) server(g localapi.Grant) fyne.CanvasObject {
	key := grantKey(g)
	color, state := v.stateOf(g)
	title := []span{strong(hostOf(g.Server))}
	if a := asAccount(g.Account); a != "" {
		title = append(title, muted(a))
	}
	about := vbox(3, text(sized(sizeSection, title...)...))
	about.Add(text(small(g.Server)))
	issuer := "issuer " + hostOf(g.Issuer)
	if g.Issuer == "" {
		issuer = "asks for no sign-in"
	}
	if g.Name != "" {
		issuer = "calls itself “" + g.Name + "” · " + issuer
	}
	about.Add(text(small(issuer)))
	about.Add(text(span{text: capital(state), size: sizeSmall, color: stateInk(color)}))
	if c := g.Check; c != nil && (c.Result == localapi.CheckWrong || c.Result == localapi.CheckUnknown) {
		words, ink := checkWords(g)
		about.Add(text(span{text: "The last token: " + words, size: sizeSmall, color: ink}))
	}
	buttons := hbox(0, -1)
	word, weight := "Sign in again", quiet
	if g.State == localapi.StateSignIn {
		word, weight = "Sign in", primary
	}
	if g.Issuer != "" {
		buttons.Add(v.act("sign-in\n"+key, word, "Signing in…", weight, face.WishSignIn{Server: g.Server, Account: g.Account}))
	}
	buttons.Add(newButton("forget-ask\n"+key, "Forget", quiet, func() { v.on.confirm(key) }))
	more := theme.MenuExpandIcon()
	if v.open[key] {
		more = theme.MenuDropDownIcon()
	}
	buttons.Add(newButton("more\n"+key, "", quiet, func() { v.on.toggle(key) }).withIcon(more))
	rows := vbox(10, beside(10, 1, dot(color), about, buttons))
	if v.open[key] {
		rows.Add(v.serverFacts(g))
		if e := v.s.Edit; e != nil && localapi.SameServer(e.Server, g.Server) {
			rows.Add(v.edit(*e))
		}
	}
	if v.confirm == key {
		question := "Forget this sign-in? Valet Key deletes it and asks " + hostOf(g.Issuer) + " to revoke it. " +
			"No host can use the server any more until you sign in again."
		if g.Issuer == "" {
			question = "Forget this server? Programs that use it through Valet Key have to ask again."
		}
		rows.Add(v.sure("forget\n"+key, question, "Forget", "Forgetting…",
			face.WishForget{Resource: g.Resource, Account: g.Account}))
	}
	for _, k := range []string{"sign-in\n" + key, "forget\n" + key} {
		if p := v.problem(k); p != nil {
			rows.Add(p)
		}
	}
	return card(rows)
}

// stateInk is the colour of a state's words: only what needs the person stands out.
func stateInk(color fyne.ThemeColorName) fyne.ThemeColorName {
	if color == theme.ColorNameSuccess {
		return colorMuted
	}
	return color
}

func (v *mainDrawing) serverFacts(g localapi.Grant) fyne.CanvasObject {
	rows := vbox(7, fact("Address", text(urlSpans(g.Server)...)))
	if g.Resource != g.Server {
		rows.Add(fact("Resource", text(urlSpans(g.Resource)...)))
	}
	issuer := append([]fyne.CanvasObject{text(urlSpans(g.Issuer)...)}, spelled(g.Issuer)...)
	if g.Unpublished {
		issuer = append(issuer, text(small("the server itself: it does not say who issues its tokens")))
	}
	if g.Issuer == "" {
		issuer = []fyne.CanvasObject{text(plain("none: this server asks for no sign-in"))}
	}
	rows.Add(fact("Issuer", issuer...))
	if g.Issuer != "" {
		rows.Add(fact("Scopes", scopeText(g.Scopes)))
	}
	if !g.SignedInAt.IsZero() {
		words := "signed in " + clock(g.SignedInAt, v.now)
		if !g.RefreshedAt.IsZero() {
			words += ", renewed " + clock(g.RefreshedAt, v.now)
		}
		if !g.Renewable {
			words += "; the issuer gave no refresh token, so you sign in again when the token ends"
		}
		rows.Add(fact("Sign-in", text(plain(words))))
	}
	if g.Issuer != "" {
		rows.Add(v.client(g))
	}
	var hosts []span
	for i, c := range g.Consents {
		if i > 0 {
			hosts = append(hosts, plain(", "))
		}
		hosts = append(hosts, plain(c.HostName))
	}
	if len(hosts) == 0 {
		hosts = []span{muted("none yet")}
	}
	rows.Add(fact("Hosts", text(hosts...)))
	for _, row := range v.checkFacts(g) {
		rows.Add(row)
	}
	rows.Add(fact("Programs", v.programsOf(g.Server)))
	return over(newBlock(colorSunken, "", 8), pad(10, 12, 10, 12, rows))
}

func scopeText(scopes []string) *prose {
	if len(scopes) == 0 {
		return text(muted("the server names none"))
	}
	var spans []span
	for i, s := range scopes {
		if i > 0 {
			spans = append(spans, muted(" · "))
		}
		spans = append(spans, mono(s))
	}
	return text(spans...)
}
