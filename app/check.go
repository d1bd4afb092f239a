package app

import (
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
		key := "take-back\n" + q.Name + "\n" + grantKey(g)
		values := []fyne.CanvasObject{beside(8, 0, pad(7, 0, 0, 0, text(mono(q.Name), muted("  since "+clock(q.AcceptedAt, v.now)))),
			v.act(key, "Take back", "Taking back…", ordinary, face.Wish{Kind: face.WishTakeBack, ID: q.Name, Resource: g.Resource, Account: g.Account})),
			text(plain(q.Meaning()))}
		if p := v.problem(key); p != nil {
			values = append(values, p)
		}
		rows = append(rows, lowered("Accepted", values...))
	}
	if !off {
		rows = append(rows, v.switchOff(g))
	}
	return rows
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
			face.Wish{Kind: face.WishAccept, ID: localapi.QuirkUnchecked, Resource: g.Resource, Account: g.Account})
	}
	values := []fyne.CanvasObject{beside(8, 0, pad(7, 0, 0, 0, text(plain("on: a token that is wrong stays here"))),
		newButton(key+"\nask", "Switch off", quiet, func() { v.on.confirm(key) }))}
	if p := v.problem(key); p != nil {
		values = append(values, p)
	}
	return lowered("Checks", values...)
}
