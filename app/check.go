package app

import (
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

// checkWords is what came of looking at g's last token, in a sentence, and its colour.
func checkWords(g localapi.Grant) (string, fyne.ThemeColorName) {
	switch g.Check.Result {
	case localapi.CheckVerified:
		return "verified: signature, expiry, audience, issuer and scopes are right", theme.ColorNameSuccess
	case localapi.CheckAccepted:
		return "as you accepted it", theme.ColorNameSuccess
	case localapi.CheckOpaque:
		return "cannot be read, so nothing in it was checked", colorMuted
	case localapi.CheckUnknown:
		return "not all of it could be checked", theme.ColorNameWarning
	}
	if quirk.Effects(g.Quirks).Unchecked {
		return "wrong, and handed out because you switched the checks off", theme.ColorNameError
	}
	return "wrong, so no program gets it", theme.ColorNameError
}

// checkFacts shows the result of the last check, what the person accepted and set, and what they may set.
func (v *mainDrawing) checkFacts(g localapi.Grant) []fyne.CanvasObject {
	if g.Issuer == "" {
		return nil // the server asks for no sign-in: there are no tokens
	}
	var rows []fyne.CanvasObject
	if c := g.Check; c != nil {
		words, ink := checkWords(g)
		values := []fyne.CanvasObject{text(span{text: capital(words), color: ink}), text(small("looked at " + clock(c.At, v.now)))}
		for _, f := range c.Findings {
			if f.Result == localapi.FindingPassed || f.Result == localapi.FindingAccepted {
				continue
			}
			values = append(values, text(plain(f.Text)))
			if f.Expected != "" && f.Result == localapi.FindingFailed {
				values = append(values, text(small("expected "), mono(f.Expected), small(", found "), mono(orUnknown(f.Found))))
			}
		}
		rows = append(rows, fact("Token", values...))
	}
	if g.Prefix {
		rows = append(rows, fact("Note", text(plain("The server's metadata speaks for all of "+g.Resource+", so its tokens are good there too. "+
			"Valet Key tolerates this without asking."))))
	}
	for _, q := range g.Quirks {
		label := "Accepted"
		if q.Is(quirk.Set) {
			label = "Set by you"
		}
		key := "take-back\n" + q.Name + "\n" + grantKey(g)
		values := []fyne.CanvasObject{beside(8, 0, pad(7, 0, 0, 0, text(mono(q.Name), muted("  since "+clock(q.AcceptedAt, v.now)))),
			v.act(key, "Take back", "Taking back…", ordinary, face.WishTakeBack{Name: q.Name, Resource: g.Resource, Account: g.Account})),
			text(plain(q.Meaning()))}
		if p := v.problem(key); p != nil {
			values = append(values, p)
		}
		rows = append(rows, lowered(label, values...))
	}
	if g.Bound && g.Bindable && !quirk.Has(g.Quirks, quirk.DPoP) {
		rows = append(rows, fact(quirk.Quirk{Name: quirk.DPoP}.Setting().Label, text(plain("tokens are bound to a key, which stays in Valet Key (DPoP)"))))
	}
	for _, r := range quirk.Settings() {
		if !quirk.Has(g.Quirks, r.Name) && (!r.BindableOnly || g.Bindable && !g.Bound) {
			rows = append(rows, v.setting(g, r))
		}
	}
	return rows
}

// setting is where the person sets a quirk of their own accord: at once, after a question that says what it means, or
// with a value that they type.
func (v *mainDrawing) setting(g localapi.Grant, r quirk.Row) fyne.CanvasObject {
	key, words := r.Name+"\n"+grantKey(g), r.Setting()
	wish := face.WishAccept{Name: r.Name, Resource: g.Resource, Account: g.Account}
	if words.Sure != "" && v.confirm == key {
		return v.sure(key, words.Sure+" "+quirk.Quirk{Name: r.Name}.Meaning(), words.SureAction, words.Busy, wish)
	}
	if f := v.fields[key]; f != nil {
		return v.settingValue(f, key, words, wish)
	}
	button := fyne.CanvasObject(newButton(key+"\nask", words.Action, quiet, func() { v.on.confirm(key) }))
	switch {
	case r.Form != "":
		button = newButton(key+"\nask", words.Action, quiet, func() { v.on.edit(key, words.Example) })
	case words.Sure == "":
		button = v.act(key, words.Action, words.Busy, quiet, wish)
	}
	values := []fyne.CanvasObject{beside(8, 0, pad(7, 0, 0, 0, text(plain(words.Off))), button)}
	if p := v.problem(key); p != nil {
		values = append(values, p)
	}
	return lowered(words.Label, values...)
}

// settingValue is where the person types the value of a setting.
func (v *mainDrawing) settingValue(f *field, key string, words quirk.Setting, wish face.WishAccept) fyne.CanvasObject {
	set := newButton(key, "Set", ordinary, func() {
		wish.Value = strings.TrimSpace(f.Text)
		v.on.wish(key, wish)
	})
	if v.busy[key] {
		set.text = words.Busy
		set.Disable()
	}
	values := []fyne.CanvasObject{hbox(6, 0, f, set), text(small(words.Help))}
	if p := v.problem(key); p != nil {
		values = append(values, p)
	}
	return lowered(words.Label, values...)
}

// lowered is a fact whose first value stands beside a button.
func lowered(what string, values ...fyne.CanvasObject) fyne.CanvasObject {
	return beside(10, 1, over(fixed(82, 1), pad(7, 0, 0, 0, text(muted(what)))), vbox(1, values...))
}
