package app

import (
	"net/url"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/localapi"
)

// The hosts that are installed on this computer: which servers each has, a switch for each, and what a switch writes.

// link is a server that a program has, or could have.
type link struct {
	server string
	name   string // in the program's file; "": it does not have it
	known  bool   // the person is signed in to it
}

// links are the servers of a program: the person's own in their order, then others it has.
func (v *mainDrawing) links(p face.Program) []link {
	var all []link
	add := func(server string, known bool) {
		found := false
		for _, l := range all {
			found = found || localapi.SameServer(l.server, server)
		}
		if found {
			return
		}
		had := namesOf(p, server)
		for _, name := range had {
			all = append(all, link{server, name, known})
		}
		if len(had) == 0 {
			all = append(all, link{server, "", known})
		}
	}
	for _, g := range v.s.Grants {
		add(g.Server, true)
	}
	for _, c := range p.Servers {
		add(c.Server, false)
	}
	return all
}

// namesOf is what a program calls a server that it has; it may have it several times.
func namesOf(p face.Program, server string) (names []string) {
	for _, c := range p.Servers {
		if localapi.SameServer(c.Server, server) {
			names = append(names, c.Name)
		}
	}
	return names
}

// programs is the part of the page of hosts about what is installed.
func (v *mainDrawing) programs() fyne.CanvasObject {
	title := vbox(3, text(sized(sizeSection, strong("Programs on this computer"))...))
	rows := vbox(12, pad(10, 0, 0, 0, title))
	if p := v.problem(keyLook); p != nil {
		rows.Add(p)
		return rows
	}
	if len(v.s.Programs) == 0 {
		if v.busy[keyLook] {
			rows.Add(card(text(muted("Looking for programs…"))))
			return rows
		}
		rows.Add(empty(theme.SearchIcon(), "No program found", muted("None of the programs that Valet Key knows is installed here. Others can "+
			"run “vk bridge” with a server's address, or ask over the socket.")))
		return rows
	}
	about := "Switch a server on, and it is written into the program's own file. That allows nothing yet: when the program first " +
		"uses the server, Valet Key asks you."
	if len(v.s.Grants) == 0 {
		about = "Once you have signed in to a server, switch it on here for the programs that shall have it."
	}
	title.Add(text(small(about)))
	var list []fyne.CanvasObject
	for i, p := range v.s.Programs {
		if i > 0 {
			list = append(list, ruler())
		}
		list = append(list, v.program(p))
	}
	rows.Add(card(vbox(10, list...)))
	return rows
}

// program is one program with a switch for each server.
func (v *mainDrawing) program(p face.Program) fyne.CanvasObject {
	about := vbox(2, text(strong(p.Name)), text(small(p.File)))
	if p.Problem != "" {
		about.Add(text(span{text: "Cannot be read: " + p.Problem, color: theme.ColorNameWarning, size: sizeSmall}))
	}
	var switches []fyne.CanvasObject
	for _, l := range v.links(p) {
		switches = append(switches, v.serverSwitch(p, l))
	}
	if len(switches) == 0 && p.Problem == "" {
		switches = append(switches, pad(togglePad, 0, togglePad, 6, text(muted("no server yet"))))
	}
	rows := vbox(10, beside(14, 1, over(fixed(programWide, 1), about), pad(-togglePad, 0, -togglePad, 0, vbox(0, switches...))))
	if e := v.s.Edit; e != nil && e.Program == p.Key {
		rows.Add(v.edit(*e))
	}
	return rows
}

// programWide is the width of a program's name and file, beside its switches.
const programWide = 190

// serverSwitch is the switch of a server in a program's row.
func (v *mainDrawing) serverSwitch(p face.Program, l link) fyne.CanvasObject {
	words := []span{plain(hostOf(l.server)), muted(pathOf(l.server))}
	if l.name != "" {
		words = append(words, muted(" as "+l.name))
	}
	label := vbox(0, text(words...))
	if !l.known {
		label.Add(text(small("you are not signed in to it")))
	}
	return v.toggle(p, l, label)
}

// programsOf are the switches of all programs for one server.
func (v *mainDrawing) programsOf(server string) fyne.CanvasObject {
	var all []fyne.CanvasObject
	for _, p := range v.s.Programs {
		names := namesOf(p, server)
		for _, name := range names {
			words := []span{plain(p.Name)}
			if len(names) > 1 {
				words = append(words, muted(" as "+name))
			}
			all = append(all, v.toggle(p, link{server, name, true}, text(words...)))
		}
		if len(names) == 0 {
			all = append(all, v.toggle(p, link{server, "", true}, text(plain(p.Name))))
		}
	}
	switch {
	case len(all) == 0 && v.busy[keyLook]:
		return text(muted("looking for programs…"))
	case len(all) == 0:
		return text(muted("none found on this computer"))
	}
	return pad(-togglePad, 0, -togglePad, -6, container.New(&grid{least: 160}, all...))
}

// toggle is the switch of a server in a program. While a change of it is on offer it shows what would be then.
func (v *mainDrawing) toggle(p face.Program, l link, label fyne.CanvasObject) *toggle {
	key := strings.Join([]string{"switch", p.Key, l.server, l.name}, "\n")
	t := newToggle(key, l.name != "", label, func() {
		if l.name == "" {
			v.on.wish(key, face.WishConnect{Program: p.Key, Server: l.server})
		} else {
			v.on.wish(key, face.WishDisconnect{Program: p.Key, Server: l.server, Name: l.name})
		}
	})
	if e := v.s.Edit; e != nil && !e.Done && e.Failed == nil && e.Program == p.Key && localapi.SameServer(e.Server, l.server) &&
		e.Remove == t.on && (!e.Remove || e.Name == l.name) {
		t.on, t.pending = !t.on, true
	}
	if v.busy[key] {
		t.Disable()
	}
	return t
}

// pathOf is what follows the host in a URL.
func pathOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	if u.RawQuery != "" {
		return u.EscapedPath() + "?" + u.RawQuery
	}
	return strings.TrimSuffix(u.EscapedPath(), "/")
}

// edit shows a change of a program's file: what will be written, was written, or cannot be.
func (v *mainDrawing) edit(e face.Edit) fyne.CanvasObject {
	name := e.Program
	for _, p := range v.s.Programs {
		if p.Key == e.Program {
			name = p.Name
		}
	}
	drop := func(word string, w weight) *button {
		return v.act("drop\n"+e.ID, word, word, w, face.WishDrop{ID: e.ID})
	}
	switch {
	case e.Done:
		return banner(colorTint, theme.ConfirmIcon(), theme.ColorNameHyperlink, beside(8, 0, vbox(2, doneWords(e, name)...), drop("Close", quiet)))
	case e.Failed != nil:
		return v.editFailed(e, drop)
	}
	rows := vbox(8)
	if e.Remove {
		rows.Add(text(plain("These lines go out of "), mono(e.File)))
	} else {
		rows.Add(text(plain("These lines go into "), mono(e.File)))
	}
	rows.Add(code(e.Lines))
	switch {
	case e.Runs != "":
		rows.Add(text(small("With them " + name + " runs this program, whenever it wants to use the server:")))
		rows.Add(code(e.Runs))
	case e.Socket != "":
		rows.Add(text(small("With them " + name + " connects to Valet Key, at " + e.Socket + ".")))
	}
	if e.Backup != "" {
		rows.Add(text(small("The file as it is now is kept as " + e.Backup + ".")))
	}
	word, busy, w := "Write", "Writing…", primary
	if e.Remove {
		word, busy, w = "Take out", "Taking out…", danger
	}
	write := "write\n" + e.ID
	rows.Add(hbox(4, 0, fixed(1, 1), drop("Cancel", ordinary), v.act(write, word, busy, w, face.WishWrite{ID: e.ID})))
	if p := v.problem(write); p != nil {
		rows.Add(p)
	}
	return over(newBlock(colorSunken, "", 8), pad(10, 12, 10, 12, rows))
}

func doneWords(e face.Edit, name string) []fyne.CanvasObject {
	if e.Remove {
		return []fyne.CanvasObject{text(strong(name), plain(" no longer has "), strong(e.Name), plain(". "+e.Restart)),
			text(small("What you allowed it before stays allowed until you revoke it."))}
	}
	return []fyne.CanvasObject{text(strong(name), plain(" has "+hostOf(e.Server)+" now, as "), strong(e.Name), plain(". "+e.Restart)),
		text(small("When it first uses the server, Valet Key asks you whether it may."))}
}

// editFailed says why a change cannot be made, and gives what the person may put into the file.
func (v *mainDrawing) editFailed(e face.Edit, drop func(string, weight) *button) fyne.CanvasObject {
	words := vbox(2, text(plain(capital(e.Failed.Message)+".")))
	if e.Failed.Hint != "" {
		words.Add(text(small(capital(e.Failed.Hint) + ".")))
	}
	rows := vbox(8, words)
	buttons := hbox(4, 0, fixed(1, 1))
	if e.Block != "" {
		rows.Add(text(small("Or put this into " + e.File + " yourself:")))
		rows.Add(code(e.Block))
		buttons.Add(newButton("copy\n"+e.ID, "Copy", ordinary, func() { v.on.copy(e.Block) }))
	}
	buttons.Add(drop("Close", quiet))
	rows.Add(buttons)
	return banner(colorWash, theme.WarningIcon(), theme.ColorNameWarning, rows)
}

// code shows lines as they are written, exactly.
func code(lines string) fyne.CanvasObject {
	rows := vbox(0)
	for row := range strings.Lines(lines) {
		row = strings.ReplaceAll(strings.TrimRight(row, "\r\n"), "\t", "    ")
		words := strings.TrimLeft(row, " ")
		words = strings.ReplaceAll(words, "  ", " \u00a0") // prose makes one of several spaces, and none at its edge
		row = strings.Repeat("\u00a0", len(row)-len(strings.TrimLeft(row, " "))) + untrusted.Visible(words)
		rows.Add(text(span{text: row, size: sizeSmall, style: fyne.TextStyle{Monospace: true}}))
	}
	return over(newBlock(colorSurface, colorBorder, 6), pad(7, 10, 7, 10, rows))
}
