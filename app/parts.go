package app

import (
	"fmt"
	"slices"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/peer"
)

// The parts of a question's window, from the top down.

// header names who asks, for what, and how sure we are of who it is.
func (v *questionView) header() fyne.CanvasObject {
	q := v.q
	if q.Kind == face.KindClientID {
		return beside(14, 1, tile(strings.ToUpper(hostOf(q.Issuer)), colorTint, theme.ColorNameHyperlink),
			vbox(6, text(titleSpans(q)...), text(small("needed to sign in to "+ending(hostOf(q.Server))))))
	}
	if q.Kind == face.KindQuirk {
		words := "Valet Key looked at a token before it was handed out"
		if q.SignIn {
			words = "found while you were signing in"
		}
		return beside(14, 1, tile(strings.ToUpper(hostOf(q.Server)), colorWash, theme.ColorNameWarning), vbox(6, text(titleSpans(q)...), text(small(words))))
	}
	if q.Own() {
		return beside(14, 1, tile(strings.ToUpper(hostOf(q.Server)), colorTint, theme.ColorNameHyperlink), vbox(6, text(titleSpans(q)...), text(small("as you asked"))))
	}
	fill, color := colorTint, theme.ColorNameHyperlink
	if weak(q.Host.Level) {
		fill, color = colorWash, theme.ColorNameWarning
	}
	facts := vbox(4, beside(8, 1, chip(levelWord(q.Host.Level), fill, color), text(small(shorten(q.Host.Facts, 2*titleMost)))))
	if q.ClientName != "" && !strings.EqualFold(q.ClientName, q.Host.Name) {
		facts.Add(text(small("calls itself “" + shorten(q.ClientName, titleMost) + "”")))
	}
	return beside(14, 1, tile(strings.ToUpper(hostName(q.Host)), fill, color), vbox(6, text(titleSpans(q)...), facts))
}

func titleSpans(q face.Question) []span {
	who, server := strong(hostName(q.Host)), strong(ending(hostOf(q.Server)))
	as := []span{}
	if a := asAccount(q.Account); a != "" {
		as = append(as, plain(" as "), span{text: shorten(q.Account, titleMost), style: fyne.TextStyle{Italic: true}})
	}
	var spans []span
	switch q.Kind {
	case face.KindSignIn:
		spans = append([]span{who, plain(" asks you to sign in to "), server}, as...)
		if q.Own() {
			spans = append([]span{plain("Sign in to "), server}, as...)
		}
	case face.KindForget:
		spans = append([]span{who, plain(" wants Valet Key to forget "), server}, as...)
	case face.KindRegister:
		verb := " wants to set the client ID used at "
		if q.ClientID == "" {
			verb = " wants to remove the client ID used at "
		}
		spans = []span{who, plain(verb), strong(ending(hostOf(q.Issuer)))}
	case face.KindClientID:
		spans = []span{strong(ending(hostOf(q.Issuer))), plain(" needs a client ID")}
	case face.KindQuirk:
		before, about, after := q.QuirkTitle()
		spans = []span{plain(before), strong(ending(hostOf(about))), plain(after)}
	default:
		spans = append([]span{who, plain(" wants to use "), server}, as...)
	}
	return sized(sizeTitle, spans...)
}

// parts is what stands between header and buttons.
func (v *questionView) parts() []fyne.CanvasObject {
	q := v.q
	var parts []fyne.CanvasObject
	add := func(o fyne.CanvasObject) {
		if o != nil {
			parts = append(parts, o)
		}
	}
	add(v.lead())
	if len(q.Issuers) > 1 {
		add(v.issuerChoice())
	}
	if q.Kind == face.KindClientID {
		add(v.entries())
	}
	if len(q.Scopes) > 0 {
		add(v.scopes())
	}
	add(v.where())
	for _, note := range q.Notes {
		add(banner(colorWash, theme.WarningIcon(), theme.ColorNameWarning, text(plain(note))))
	}
	if q.Reason != "" {
		add(over(newBlock(colorSunken, "", 8), pad(9, 12, 9, 12, vbox(2, text(plain("“"+q.Reason+"”")),
			text(small("the reason "+hostName(q.Host)+" gives, in its own words"))))))
	}
	if q.Kind == face.KindConsent && q.Issuer != "" {
		add(pad(0, 2, 0, 2, text(small("If you allow it, "+hostName(q.Host)+" gets an access token for this server only. "+
			"Your refresh token stays here."))))
	}
	add(v.details())
	return parts
}

// lead says what a yes does, where the title does not.
func (v *questionView) lead() fyne.CanvasObject {
	q := v.q
	switch {
	case q.Kind == face.KindForget && q.Issuer == "":
		return text(plain("Programs that use this server through Valet Key would have to ask again. There is no sign-in to revoke."))
	case q.Kind == face.KindForget:
		return text(plain("Valet Key deletes this sign-in, asks "), strong(ending(hostOf(q.Issuer))), plain(" to revoke it, and no "+
			"program can use it any more. To use the server again you sign in again."))
	case q.Kind == face.KindRegister && q.ClientID == "":
		return text(plain("Sign-ins at "), strong(ending(hostOf(q.Issuer))), plain(" would no longer use the client ID you set: Valet Key registers "+
			"itself there, if it can, or asks you for another."))
	case q.Kind == face.KindRegister:
		return text(plain("A client ID is the name under which Valet Key is known to an issuer. From now on sign-ins at "),
			strong(ending(hostOf(q.Issuer))), plain(" would use this one. Allow it only if it is yours."))
	case q.Kind == face.KindQuirk && q.SignIn:
		return text(plain(q.Why + " If you accept it, the sign-in goes on; you are not asked about it again for this server, and the " +
			"server's page shows it. If you do not, the sign-in ends here."))
	case q.Kind == face.KindQuirk:
		return text(plain(q.Why + " Valet Key hands such a token to no program unless you accept it for this server. If you do, you are not " +
			"asked again, and the server's page shows it."))
	case q.Kind == face.KindClientID:
		return text(plain("This issuer does not register programs by itself. In its developer settings, create an OAuth " +
			"client of the kind “desktop” or “native”, then copy its client ID to here."))
	case q.SignIn:
		return v.way()
	}
	return nil
}

// way says how the person gets to the page of the sign-in, and lets them choose another way.
func (v *questionView) way() fyne.CanvasObject {
	words := text(v.waySpans()...)
	says := banner(colorTint, theme.LoginIcon(), theme.ColorNameHyperlink, words)
	if len(v.q.Vias) < 2 {
		return says
	}
	label := vbox(1, text(plain("Sign in on another device")), text(small("You are shown an address and a code to enter there, on your phone for example.")))
	v.device = newTick("device", v.q.Via == face.ViaDevice, label, func() {
		words.set(v.waySpans()...)
		for _, b := range v.yes {
			if b.id == "allow" && v.q.Kind == face.KindSignIn {
				b.text = yesWord(v.q, v.via())
				b.Refresh()
			}
		}
		v.scroll.Content.Refresh()
		v.scroll.Refresh()
	})
	v.own(&v.device.control)
	return vbox(4, says, v.device)
}

func (v *questionView) waySpans() []span {
	at := strong(ending(hostOf(v.q.Issuer)))
	if len(v.q.Issuers) > 1 {
		at = plain("the issuer you choose")
	}
	before, after := "your browser opens so that you can sign in at ", "."
	switch v.via() {
	case face.ViaAddress:
		before = "you are shown an address to open in a browser, where you sign in at "
	case face.ViaDevice:
		before, after = "you are shown an address and a code, with which you sign in at ", " on any device."
	}
	return []span{plain("If you agree, " + before), at, plain(after)}
}

// via is how the person gets to the page of the sign-in, as chosen now.
func (v *questionView) via() string {
	switch {
	case v.device == nil:
		return v.q.Via
	case v.device.checked:
		return face.ViaDevice
	}
	i := slices.IndexFunc(v.q.Vias, func(via string) bool { return via != face.ViaDevice })
	return v.q.Vias[max(i, 0)]
}

// issuerChoice is where to sign in, one of several.
func (v *questionView) issuerChoice() fyne.CanvasObject {
	rows := []fyne.CanvasObject{pad(0, 0, 0, 8, text(strong("Sign in at")))}
	for i, issuer := range v.q.Issuers {
		label := vbox(1, append([]fyne.CanvasObject{text(urlSpans(issuer)...)}, spelled(issuer)...)...)
		t := newTick(fmt.Sprint("issuer-", i), issuer == v.q.Issuer, label, func() {
			for other, box := range v.issuers {
				box.checked = other == i
				box.Refresh()
			}
		})
		t.round = true
		v.issuers = append(v.issuers, t)
		v.own(&t.control)
		rows = append(rows, t)
	}
	return over(newBlock(colorSurface, colorBorder, 10), pad(10, 6, 10, 6, vbox(4, rows...)))
}

// issuer is the chosen one, "" when there is no choice.
func (v *questionView) issuer() string {
	for i, t := range v.issuers {
		if t.checked {
			return v.q.Issuers[i]
		}
	}
	return ""
}

// entries are the fields of KindClientID.
func (v *questionView) entries() fyne.CanvasObject {
	v.clientID = newField("client-id", "Client ID", false)
	v.clientID.Text = v.q.ClientID
	v.secret = newField("client-secret", "Client secret, if the issuer gave you one", true)
	v.fields = []*field{v.clientID, v.secret}
	for _, f := range v.fields {
		f.onEscape = v.dismiss
		f.OnChanged = func(string) { v.tick() }
	}
	return card(vbox(6, text(strong("Client ID")), v.clientID, fixed(1, 2), text(strong("Client secret"), muted("  optional")), v.secret))
}

// scopes is the list to tick. Every name is shown as the server wrote it.
func (v *questionView) scopes() fyne.CanvasObject {
	q := v.q
	v.ticks = make([]*tick, len(q.Scopes))
	mixed, required := false, false
	for _, s := range q.Scopes {
		mixed = mixed || s.New != q.Scopes[0].New
		required = required || s.Required
	}
	var powers, own []fyne.CanvasObject
	for i, s := range q.Scopes {
		v.ticks[i] = v.scopeTick(i, mixed)
		if s.Name == offlineAccess {
			own = append(own, v.ticks[i])
		} else {
			powers = append(powers, v.ticks[i])
		}
	}
	var list fyne.CanvasObject = vbox(0, append(powers, own...)...)
	if len(q.Scopes) > manyScopes {
		list, _ = scrolling(scopesMost, scopesMost, list)
	}
	rows := []fyne.CanvasObject{v.scopesTitle(), list}
	if required {
		rows = append(rows, pad(2, 6, 0, 8, text(small("Required: the server asked for it just now and refuses the call without it."))))
	}
	return over(newBlock(colorSurface, colorBorder, 10), pad(10, 6, 10, 6, vbox(4, rows...)))
}

func (v *questionView) scopesTitle() fyne.CanvasObject {
	words := "Scopes it may use"
	if v.q.Kind == face.KindSignIn {
		words = "Scopes to sign in with"
	}
	title := pad(0, 0, 0, 8, text(strong(words)))
	if len(v.q.Scopes) <= manyScopes {
		return title
	}
	all := func(checked bool) func() {
		return func() {
			for _, t := range v.ticks {
				if !t.Disabled() {
					t.checked = checked
					t.Refresh()
				}
			}
			v.tick()
		}
	}
	total := pad(0, 0, 0, 8, text(strong(words), muted(fmt.Sprintf("  %d in all", len(v.q.Scopes)))))
	return hbox(0, 0, total, v.button("all", "All", quiet, all(true)), v.button("none", "None", quiet, all(false)))
}

func (v *questionView) scopeTick(i int, mixed bool) *tick {
	s := v.q.Scopes[i]
	name := s.Name
	if name == "" {
		name = "(a scope without a name)"
	}
	label := vbox(1, text(mono(name)))
	if s.Name == offlineAccess {
		label = vbox(1, text(plain("Stay signed in  "), mono(name)),
			text(small("Valet Key can renew the sign-in without asking you again. It gives the program no more power.")))
	}
	chips := hbox(4, -1)
	if s.New && mixed {
		chips.Add(chip("new", colorTint, theme.ColorNameHyperlink))
	}
	if s.Required {
		chips.Add(chip("required", colorSunken, colorMuted))
	}
	t := newTick(fmt.Sprint("scope-", i), s.Checked || s.Required, beside(6, 0, label, chips), v.tick)
	if s.Required {
		t.Disable()
	}
	v.own(&t.control)
	return t
}

// fact is one row of a table: what, and its value over the rest of the width.
func fact(what string, values ...fyne.CanvasObject) fyne.CanvasObject {
	name := text(muted(what))
	return beside(10, 1, over(fixed(82, 1), name), vbox(1, values...))
}

// where shows the addresses, in full.
func (v *questionView) where() fyne.CanvasObject {
	q := v.q
	rows := vbox(7)
	if q.Server != "" {
		values := []fyne.CanvasObject{text(urlSpans(q.Server)...)}
		if q.ServerName != "" {
			values = append(values, text(small("calls itself “"+q.ServerName+"”")))
		}
		rows.Add(fact("Server", append(values, spelled(q.Server)...)...))
	}
	if q.Resource != "" && q.Resource != q.Server {
		rows.Add(fact("Resource", append([]fyne.CanvasObject{text(urlSpans(q.Resource)...)}, spelled(q.Resource)...)...))
	}
	if q.Issuer != "" && len(q.Issuers) < 2 {
		rows.Add(fact("Issuer", append([]fyne.CanvasObject{text(urlSpans(q.Issuer)...)}, spelled(q.Issuer)...)...))
	}
	if q.Kind == face.KindRegister && q.ClientID != "" {
		rows.Add(fact("Client ID", text(mono(q.ClientID))))
	}
	if len(rows.Objects) == 0 {
		return nil
	}
	return card(rows)
}

// spelled is an international name as people write it: look-alike letters hide in one of the two forms.
func spelled(rawURL string) []fyne.CanvasObject {
	name := written(rawURL)
	if name == "" {
		return nil
	}
	return []fyne.CanvasObject{text(span{text: "written " + name + ": check every letter", color: theme.ColorNameWarning, size: sizeSmall})}
}

// details is closed at first.
func (v *questionView) details() fyne.CanvasObject {
	q := v.q
	rows := vbox(7, fact("Why now", text(plain(q.Why))))
	if p := q.Host.Process; p.PID != 0 {
		rows.Add(fact("Program", text(mono(orUnknown(p.Exe))), text(small(fmt.Sprintf("process %d", p.PID)))))
		if len(p.Args) > 0 {
			rows.Add(fact("Arguments", text(mono(strings.Join(p.Args, " "))), text(small("reported by the program itself"))))
		}
		rows.Add(fact("Chain", text(chainSpans(q.Host.Chain)...)))
	}
	if q.Host.Facts != "" {
		rows.Add(fact("Facts", text(plain(q.Host.Facts))))
	}
	if q.Host.Key != "" {
		rows.Add(fact("Known as", text(mono(q.Host.Key))))
	}
	box := card(rows)
	box.Hide()
	var toggle *button
	toggle = v.button("details", "Details", quiet, func() {
		if box.Visible() {
			box.Hide()
			toggle.icon = theme.MenuExpandIcon()
		} else {
			box.Show()
			toggle.icon = theme.MenuDropDownIcon()
		}
		toggle.Refresh()
		v.scroll.Content.Refresh()
		v.scroll.Refresh()
	}).withIcon(theme.MenuExpandIcon())
	return vbox(4, hbox(0, -1, toggle), box)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// chainSpans is the way from the top, as far as it could be read, down to the process that connected.
func chainSpans(chain []peer.Process) []span {
	if len(chain) == 0 {
		return []span{muted("unknown")}
	}
	var spans []span
	for _, p := range slices.Backward(chain) {
		if len(spans) > 0 {
			spans = append(spans, muted(" › "))
		}
		exe := orUnknown(p.Exe)
		spans = append(spans, plain(exe[strings.LastIndexAny(exe, `/\`)+1:]), muted(fmt.Sprintf(" (%d)", p.PID)))
	}
	return spans
}
