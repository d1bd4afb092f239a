package app

import (
	"fmt"
	"slices"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// use is one consent of a host.
type use struct {
	grant   localapi.Grant
	consent localapi.Consent
}

// hostRow is a host with all that it may use.
type hostRow struct {
	key, name string
	level     peer.Level
	uses      []use
	paused    *face.Paused
}

// hostsOf gathers the hosts from the consents and the pauses, by name.
func hostsOf(s face.State) []hostRow {
	var rows []hostRow
	row := func(key, name string) *hostRow {
		for i := range rows {
			if rows[i].key == key {
				return &rows[i]
			}
		}
		rows = append(rows, hostRow{key: key, name: name})
		return &rows[len(rows)-1]
	}
	for _, g := range s.Grants {
		for _, c := range g.Consents {
			r := row(c.Host, c.HostName)
			r.level = c.Level
			r.uses = append(r.uses, use{g, c})
		}
	}
	for i, p := range s.Paused {
		row(p.Host, p.Name).paused = &s.Paused[i]
	}
	slices.SortStableFunc(rows, func(a, b hostRow) int { return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	return rows
}

func (v *mainDrawing) hosts() fyne.CanvasObject {
	var page []fyne.CanvasObject
	for _, r := range hostsOf(v.s) {
		page = append(page, v.host(r))
	}
	if len(page) == 0 {
		page = append(page, empty(theme.ComputerIcon(), "No host has access", muted("When a program asks for a server and you allow it for "+
			"longer than once, it is listed here, and you can take its access back.")))
	}
	return vbox(12, append(page, v.programs())...)
}

func (v *mainDrawing) host(r hostRow) fyne.CanvasObject {
	head := vbox(3, text(sized(sizeSection, strong(r.name))...))
	if r.key != r.name {
		head.Add(text(small(r.key)))
	}
	fill, ink := colorTint, theme.ColorNameHyperlink
	if weak(r.level) {
		fill, ink = colorWash, theme.ColorNameWarning
	}
	top := beside(10, 0, head)
	if len(r.uses) > 0 {
		top.Add(chip(levelWord(r.level), fill, ink))
	}
	rows := vbox(10, top)
	if p := r.paused; p != nil {
		key := "resume\n" + r.key
		rows.Add(banner(colorWash, theme.MediaPauseIcon(), theme.ColorNameWarning, beside(8, 0,
			vbox(1, text(strong("Not listened to until "+clock(p.Until, v.now))), text(small(p.Why))),
			v.act(key, "Resume now", "Resuming…", ordinary, face.WishResume{Host: p.Host}))))
		if o := v.problem(key); o != nil {
			rows.Add(o)
		}
	}
	for _, u := range r.uses {
		rows.Add(ruler())
		rows.Add(v.use(r, u))
	}
	return card(rows)
}

func (v *mainDrawing) use(r hostRow, u use) fyne.CanvasObject {
	key := "revoke\n" + r.key + "\n" + grantKey(u.grant)
	until := modeWord(u.consent.Mode)
	if !u.consent.ExpiresAt.IsZero() {
		until = "until " + clock(u.consent.ExpiresAt, v.now)
	}
	about := vbox(2, text(strong(hostOf(u.grant.Server)), muted(asAccount(u.grant.Account))), scopeText(u.consent.Scopes),
		text(small(fmt.Sprintf("%s, allowed %s", until, clock(u.consent.GivenAt, v.now)))))
	rows := vbox(6, beside(8, 0, about, newButton(key+"\nask", "Revoke", quiet, func() { v.on.confirm(key) })))
	if v.confirm == key {
		rows.Add(v.sure(key, "Take back what "+r.name+" may use at "+hostOf(u.grant.Server)+"? A token it already holds lives until "+
			"it ends. The next time it asks, you are asked.", "Revoke", "Revoking…", face.WishRevoke{
			Resource: u.grant.Resource, Account: u.grant.Account, Host: r.key}))
	}
	if p := v.problem(key); p != nil {
		rows.Add(p)
	}
	return rows
}

func (v *mainDrawing) waiting() fyne.CanvasObject {
	if len(v.s.Waiting)+len(v.s.SignIns) == 0 {
		return empty(theme.HistoryIcon(), "Nothing waits for you", muted("Questions of programs and sign-ins in your browser are listed here while they are open."))
	}
	var page []fyne.CanvasObject
	for _, s := range v.s.SignIns {
		page = append(page, v.signIn(s))
	}
	for i, q := range v.s.Waiting {
		about := vbox(3, text(sized(sizeSection, titleSpans(q)...)...),
			text(small("asked "+clock(q.Asked, v.now)+", answers count until "+clock(q.Deadline, v.now))))
		rows := beside(10, 0, about)
		if i == 0 {
			rows.Add(newButton("raise", "Show", ordinary, v.on.raise))
		} else {
			rows.Add(pad(4, 0, 0, 0, line(small("in line"))))
		}
		page = append(page, card(rows))
	}
	return vbox(12, page...)
}

// signIn is a browser flow under way.
func (v *mainDrawing) signIn(s face.SignIn) fyne.CanvasObject {
	by := "you started it " + clock(s.Started, v.now)
	if s.Host != "" {
		by = s.Host + " wanted it, started " + clock(s.Started, v.now)
	}
	cancel, open := "cancel\n"+s.ID, "open\n"+s.ID
	buttons := hbox(2, -1)
	if s.URL != "" {
		if s.Code == "" {
			buttons.Add(v.act(open, "Open page again", "Opening…", ordinary, face.WishOpenURL{ID: s.ID}))
		}
		buttons.Add(newButton("copy\n"+s.ID, "Copy link", ordinary, func() { v.on.copy(s.URL) }))
	}
	buttons.Add(v.act(cancel, "Cancel", "Cancelling…", quiet, face.WishCancel{ID: s.ID}))
	where := "In your browser"
	if s.Code != "" {
		where = "In a browser on any device"
	}
	rows := vbox(8, text(sized(sizeSection, plain("Signing in to "), strong(hostOf(s.Server)))...),
		text(small(where+", at "+hostOf(s.Issuer)+"; "+by+".")))
	if s.Code != "" {
		rows.Add(text(plain("Open " + s.URL + " there, and enter this code:")))
		rows.Add(text(sized(sizeTitle, mono(s.Code))...))
	}
	rows.Add(buttons)
	for _, key := range []string{cancel, open} {
		if p := v.problem(key); p != nil {
			rows.Add(p)
		}
	}
	return card(rows)
}

func (v *mainDrawing) activity() fyne.CanvasObject {
	if len(v.s.Activity) == 0 {
		return empty(theme.ListIcon(), "Nothing happened yet", muted("Every decision is listed here: who asked for what, what was answered, and which rule decided."))
	}
	var page []fyne.CanvasObject
	for i, e := range v.s.Activity {
		if i > 0 {
			page = append(page, ruler())
		}
		about := vbox(1, text(sentence(e)...))
		if e.Rule != "" {
			about.Add(text(small(capital(e.Rule))))
		}
		if len(e.Scopes) > 0 {
			about.Add(text(small(strings.Join(e.Scopes, " · "))))
		}
		page = append(page, beside(10, 2, over(fixed(88, 1), pad(2, 0, 0, 0, text(small(clock(e.Time, v.now))))), pad(5, 0, 0, 0, dot(inkOf(e.Decision))), about))
	}
	return card(vbox(9, page...))
}

// inkOf is the colour of a decision.
func inkOf(decision string) fyne.ThemeColorName {
	switch decision {
	case "denied", "failed":
		return theme.ColorNameError
	case "unanswered":
		return theme.ColorNameWarning
	}
	return theme.ColorNameSuccess
}
