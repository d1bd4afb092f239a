package terminal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

// Stages of a dialog.
const (
	choosing       = iota
	typingClientID // after "c"
	typingSecret
)

// dialog is one question and how far its answer has come. It touches no terminal.
type dialog struct {
	q       face.Question
	choices []choice
	on      []bool // scopes
	issuer  string // where to sign in
	via     string // and how, face.Via…
	stage   int
	answer  face.Answer
}

// choice is one letter that the person may type.
type choice struct {
	key    string
	label  string
	answer face.Answer // what it means, when it answers
	reply  string      // said afterwards
}

func newDialog(q face.Question) *dialog {
	d := &dialog{q: q, choices: choices(q), on: make([]bool, len(q.Scopes)), issuer: q.Issuer, via: q.Via}
	for i, s := range q.Scopes {
		d.on[i] = s.Checked || s.Required
	}
	return d
}

const (
	keyClient  = "c"
	keyDetails = "?"
	keyIssuer  = "i"
	keyDevice  = "v"
)

func choices(q face.Question) []choice {
	yes := func(mode string) face.Answer { return face.Answer{Answered: true, Allow: true, Mode: mode} }
	list := []choice{{"d", "deny", face.Answer{Answered: true}, "Denied."}}
	switch q.Kind {
	case face.KindConsent:
		for _, mode := range q.Modes {
			switch mode {
			case localapi.ModeOnce:
				list = append(list, choice{"o", "allow once", yes(mode), "Allowed once"})
			case localapi.ModeRunning:
				list = append(list, choice{"r", "allow while the program runs", yes(mode), "Allowed while the program runs"})
			case localapi.ModeHour:
				list = append(list, choice{"h", "allow for 1 hour", yes(mode), "Allowed for 1 hour"})
			case localapi.ModeAlways:
				list = append(list, choice{"a", "always allow", yes(mode), "Allowed always"})
			}
		}
		if q.Account != "" {
			list = append(list, choice{"w", "deny: this is the wrong account", face.Answer{Answered: true, WrongAccount: true}, "Denied: the wrong account."})
		}
	case face.KindClientID:
		list = append(list, choice{key: keyClient, label: "give a client ID"})
	default:
		list = append(list, choice{"y", "yes, " + meaning(q), yes(""), "Allowed"})
	}
	if len(q.Issuers) > 1 {
		list = append(list, choice{key: keyIssuer, label: "sign in at another issuer"})
	}
	if len(q.Vias) > 1 {
		list = append(list, choice{key: keyDevice, label: "change how you sign in: here, or on another device"})
	}
	if aboutProgram(q) {
		list = append(list, choice{"p", "deny, and pause this program: I did not start this", face.Answer{Answered: true, Pause: true}, "Denied, and the program is paused."},
			choice{key: keyDetails, label: "details"})
	}
	return list
}

// aboutProgram reports whether a program asks, rather than the person or Valet Key itself.
func aboutProgram(q face.Question) bool { return q.Host.Name != "" && q.Kind != face.KindClientID }

// prompt is what to show before a line is read; hidden is true for a secret.
func (d *dialog) prompt() (text string, hidden bool) {
	switch d.stage {
	case typingClientID:
		return "Client ID (Enter alone goes back): ", false
	case typingSecret:
		return "Client secret, which is not shown while you type (Enter alone when there is none): ", true
	}
	return "Your answer (" + d.keys() + "): ", false
}

func (d *dialog) keys() string {
	var keys []string
	for _, c := range d.choices {
		keys = append(keys, c.key)
	}
	last := len(keys) - 1
	return strings.Join(keys[:last], ", ") + " or " + keys[last]
}

// take takes one line and returns what to say to it. done: d.answer is the person's answer. Nothing is a default: an
// empty line answers nothing.
func (d *dialog) take(line string) (reply string, done bool) {
	switch d.stage {
	case typingClientID:
		return d.takeClientID(strings.TrimSpace(line)), false
	case typingSecret:
		return d.takeSecret(line)
	}
	line = strings.ToLower(strings.TrimSpace(line))
	if line == "" {
		return "Nothing was answered. Type one of the letters and press Enter.\n", false
	}
	if _, err := strconv.Atoi(line); err == nil && len(d.on) > 0 {
		return d.toggle(line), false
	}
	i := slices.IndexFunc(d.choices, func(c choice) bool { return c.key == line })
	if i < 0 {
		return "That is none of the choices.\n" + d.choiceText(), false
	}
	switch c := d.choices[i]; c.key {
	case keyDetails:
		return d.details(), false
	case keyIssuer:
		return d.nextIssuer(), false
	case keyDevice:
		d.via = next(d.q.Vias, d.via)
		return wayWords(d.via) + "\n", false
	case keyClient:
		d.stage = typingClientID
		return "", false
	default:
		return d.decide(c)
	}
}

func (d *dialog) decide(c choice) (reply string, done bool) {
	if !c.answer.Allow {
		d.answer = c.answer
		return c.reply + "\n", true
	}
	var names, shown []string
	for i, s := range d.q.Scopes {
		if d.on[i] {
			names, shown = append(names, s.Name), append(shown, text(s.Name))
		}
	}
	if len(d.on) > 0 && len(names) == 0 {
		return "All scopes are off, so there is nothing to allow. Switch one on by its number, or deny.\n", false
	}
	d.answer = c.answer
	d.answer.Scopes = names
	if len(d.q.Issuers) > 1 {
		d.answer.Issuer = d.issuer
	}
	if len(d.q.Vias) > 1 {
		d.answer.Via = d.via
	}
	if len(shown) > 0 {
		c.reply += ": " + strings.Join(shown, ", ")
	}
	return c.reply + ".\n", true
}

func (d *dialog) toggle(number string) string {
	n, _ := strconv.Atoi(number)
	if n < 1 || n > len(d.on) {
		return fmt.Sprintf("There is no scope %s. They are numbered 1 to %d.\n", number, len(d.on))
	}
	s := d.q.Scopes[n-1]
	if s.Required {
		return fmt.Sprintf("%s is required by the server and stays on. To refuse it, deny.\n", text(s.Name))
	}
	d.on[n-1] = !d.on[n-1]
	return fmt.Sprintf("%d  %s is now %s.\n", n, text(s.Name), onOff(d.on[n-1]))
}

// nextIssuer goes round among the issuers.
func (d *dialog) nextIssuer() string {
	d.issuer = next(d.q.Issuers, d.issuer)
	return fmt.Sprintf("You would sign in at %s now (%d of %d).\n", urlText(d.issuer), slices.Index(d.q.Issuers, d.issuer)+1, len(d.q.Issuers))
}

// next is the element of all after now, the first after the last.
func next(all []string, now string) string { return all[(slices.Index(all, now)+1)%len(all)] }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (d *dialog) takeClientID(line string) string {
	switch {
	case line == "":
		d.stage = choosing
		return ""
	case !client.Text(line):
		return fmt.Sprintf("A client ID is at most %d characters long, without accents or control characters. Try again.\n", client.MaxText)
	}
	d.answer.ClientID, d.stage = line, typingSecret
	return ""
}

func (d *dialog) takeSecret(line string) (reply string, done bool) {
	if !client.Text(line) {
		return fmt.Sprintf("\nA client secret is at most %d characters long, without accents or control characters. Try again.\n", client.MaxText), false
	}
	d.answer = face.Answer{Answered: true, Allow: true, ClientID: d.answer.ClientID, ClientSecret: secret.New(line)}
	if line == "" {
		return fmt.Sprintf("\nClient ID %s, without a secret.\n", d.answer.ClientID), true
	}
	return fmt.Sprintf("\nClient ID %s, with a secret.\n", d.answer.ClientID), true
}
