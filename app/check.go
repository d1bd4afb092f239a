package app

import (
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
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
	if _, off := localapi.FindQuirk(g.Quirks, localapi.QuirkUnchecked); off {
		return "wrong, and handed out because you switched the checks off", theme.ColorNameError
	}
	return "wrong, so no program gets it", theme.ColorNameError
}

// checkFacts shows the result of the last check, what the person accepted, and the switch that turns the checks off.
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
	off := false
	for _, q := range g.Quirks {
		off = off || q.Name == localapi.QuirkUnchecked
		label := "Accepted"
		if q.Chosen() {
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
	if _, wanted := localapi.FindQuirk(g.Quirks, localapi.QuirkDPoP); g.Bindable && !wanted {
		rows = append(rows, v.key(g))
	}
	if _, set := localapi.FindQuirk(g.Quirks, localapi.QuirkParameters); !set {
		rows = append(rows, v.parameters(g))
	}
	if !off {
		rows = append(rows, v.switchOff(g))
	}
	return rows
}

// key is how a server's tokens are bound, where it takes bound ones (RFC 9449), and the switch for that.
func (v *mainDrawing) key(g localapi.Grant) fyne.CanvasObject {
	if g.Bound {
		return fact("Key", text(plain("tokens are bound to a key, which stays in Valet Key (DPoP)")))
	}
	key := "dpop\n" + grantKey(g)
	values := []fyne.CanvasObject{beside(8, 0, pad(7, 0, 0, 0, text(plain("tokens are good for whoever has them"))),
		v.act(key, "Bind to a key", "Setting…", quiet, v.setting(g, localapi.QuirkDPoP, "")))}
	if p := v.problem(key); p != nil {
		values = append(values, p)
	}
	return lowered("Key", values...)
}

// parameters is where the person adds to what the issuer is sent.
func (v *mainDrawing) parameters(g localapi.Grant) fyne.CanvasObject {
	key := "parameters\n" + grantKey(g)
	f := v.fields[key]
	if f == nil {
		return lowered("Also send", beside(8, 0, pad(7, 0, 0, 0, text(plain("nothing besides what MCP knows of"))),
			newButton(key+"\nask", "Add", quiet, func() { v.on.edit(key, "access_type=offline") })))
	}
	set := newButton(key, "Set", ordinary, func() { v.on.wish(key, v.setting(g, localapi.QuirkParameters, strings.TrimSpace(f.Text))) })
	if v.busy[key] {
		set.text = "Setting…"
		set.Disable()
	}
	values := []fyne.CanvasObject{hbox(6, 0, f, set), text(small("A parameter that the issuer's documentation tells you to send, as NAME=VALUE; " +
		"several are joined by “&”. It counts from the next sign-in."))}
	if p := v.problem(key); p != nil {
		values = append(values, p)
	}
	return lowered("Also send", values...)
}

func (v *mainDrawing) setting(g localapi.Grant, name, value string) face.Wish {
	return face.WishAccept{Name: name, Value: value, Resource: g.Resource, Account: g.Account}
}

// lowered is a fact whose first value stands beside a button.
func lowered(what string, values ...fyne.CanvasObject) fyne.CanvasObject {
	return beside(10, 1, over(fixed(82, 1), pad(7, 0, 0, 0, text(muted(what)))), vbox(1, values...))
}

// switchOff is the deliberate switch: it says what it means before it does anything.
func (v *mainDrawing) switchOff(g localapi.Grant) fyne.CanvasObject {
	key := "unchecked\n" + grantKey(g)
	if v.confirm == key {
		return v.sure(key, "Hand out tokens of this server that fail the checks? "+localapi.Quirk{Name: localapi.QuirkUnchecked}.Meaning(),
			"Switch the checks off", "Switching off…",
			face.WishAccept{Name: localapi.QuirkUnchecked, Resource: g.Resource, Account: g.Account})
	}
	values := []fyne.CanvasObject{beside(8, 0, pad(7, 0, 0, 0, text(plain("on: a token that is wrong stays here"))),
		newButton(key+"\nask", "Switch off", quiet, func() { v.on.confirm(key) }))}
	if p := v.problem(key); p != nil {
		values = append(values, p)
	}
	return lowered("Checks", values...)
}
