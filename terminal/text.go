package terminal

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/untrusted"
	"github.com/valetkey/valetkey/peer"
)

// Bounds of what others wrote, in characters of one line.
const (
	maxText   = 500
	maxReason = 200
	maxArgs   = 20 // of one process, in the details
)

// text makes s fit for a terminal: one line, in which no character steers the terminal or the order of others. What
// comes here was cleaned before; this door is shut for itself all the same.
func text(s string) string { return untrusted.Text(s, maxText) }

// quoted marks a stranger's words as such: they cannot end the quotation themselves.
func quoted(s string, limit int) string {
	return `"` + strings.ReplaceAll(untrusted.Text(s, limit), `"`, "'") + `"`
}

// text is the whole question: what is asked first, whose words they are, what a yes means, then the choices. Plain
// lines, no drawing: a screen reader reads them in order.
func (d *dialog) text(now time.Time) string {
	q := d.q
	var b strings.Builder
	line := func(label, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", label, value)
		}
	}
	fmt.Fprintf(&b, "QUESTION: %s\n", headline(q))
	if aboutProgram(q) {
		line("Program", strings.Trim(text(q.Host.Name)+", "+text(q.Host.Facts), ", "))
	}
	if q.ClientName != "" {
		line("It calls itself", quoted(q.ClientName, maxReason))
	}
	line("Server", urlText(q.Server))
	if q.ServerName != "" {
		line("The server calls itself", quoted(q.ServerName, maxReason))
	}
	line("Resource", urlText(q.Resource))
	line("Issuer", urlText(d.issuer))
	for _, issuer := range q.Issuers {
		if issuer != d.issuer {
			line("Another issuer you can choose", urlText(issuer))
		}
	}
	line("Account", text(q.Account))
	line("Client ID", text(q.ClientID))
	b.WriteString(d.scopeText())
	if q.Reason != "" {
		line("Reason, in the program's own words", quoted(q.Reason, maxReason))
	}
	line("Why you are asked", text(q.Why))
	for _, note := range q.Notes {
		line("Note", text(note))
	}
	q.Via = d.via
	line("A yes means", consequence(q))
	if !q.Deadline.IsZero() {
		line("Time to answer", fmt.Sprintf("%d seconds", max(0, int(q.Deadline.Sub(now).Round(time.Second).Seconds()))))
	}
	b.WriteString(d.choiceText())
	return strings.TrimSuffix(b.String(), "\n")
}

func headline(q face.Question) string {
	who, server := text(q.Host.Name), siteOf(q.Server)
	as := ""
	if q.Account != "" {
		as = " as " + text(q.Account)
	}
	if q.Own() && q.Kind == face.KindSignIn {
		return fmt.Sprintf("Sign in to %s%s?", server, as)
	}
	if q.Kind == face.KindQuirk {
		before, about, after := q.QuirkTitle()
		if q.SignIn { // it is about the issuer or the server, for all accounts
			as = ""
		}
		return fmt.Sprintf("%s%s%s%s. Do you accept it?", before, siteOf(about), after, as)
	}
	if who == "" {
		who = "An unknown program"
	}
	switch q.Kind {
	case face.KindSignIn:
		return fmt.Sprintf("%s asks you to sign in to %s%s.", who, server, as)
	case face.KindForget:
		return fmt.Sprintf("%s asks to forget %s%s.", who, server, as)
	case face.KindRegister:
		verb := "set"
		if q.ClientID == "" {
			verb = "remove"
		}
		return fmt.Sprintf("%s asks to %s the client ID for %s.", who, verb, siteOf(q.Issuer))
	case face.KindClientID:
		return fmt.Sprintf("%s needs a client ID before you can sign in to %s.", siteOf(q.Issuer), server)
	}
	return fmt.Sprintf("%s wants to use %s%s.", who, server, as)
}

// meaning is what a plain yes does, for the list of choices.
func meaning(q face.Question) string {
	switch q.Kind {
	case face.KindSignIn:
		return "sign in"
	case face.KindForget:
		return "forget it"
	case face.KindQuirk:
		return "accept it for this server"
	}
	if q.ClientID == "" {
		return "remove it"
	}
	return "set it"
}

func consequence(q face.Question) string {
	var says string
	switch {
	case q.Kind == face.KindRegister && q.ClientID == "":
		says = "Valet Key no longer uses the client ID you set; it registers itself at this issuer if it can, or asks you for another."
	case q.Kind == face.KindQuirk && q.SignIn:
		says = "the sign-in goes on, and you are not asked about this again for this server. A no ends it here."
	case q.Issuer == "" && q.Kind == face.KindConsent:
		says = "the program may use this server through Valet Key; there is no token."
	case q.Issuer == "" && q.Kind == face.KindForget:
		says = "programs that use this server through Valet Key have to ask again; there is no sign-in to revoke."
	}
	if says != "" {
		return says
	}
	switch q.Kind {
	case face.KindConsent:
		says = "the program gets an access token for this server only; your refresh token stays in Valet Key."
	case face.KindForget:
		says = "your sign-in is deleted here and revoked at the issuer; every program that uses this server needs you to sign in again."
	case face.KindRegister, face.KindClientID:
		says = "Valet Key uses this client ID whenever you sign in at this issuer."
	case face.KindQuirk:
		says = "tokens like this are handed out for this server from now on, and you are not asked again. A no keeps them here."
	case face.KindSignIn:
		says = "you sign in to this server; which program may use it is asked apart from that."
	}
	if q.SignIn {
		says += " " + wayWords(q.Via)
	}
	return says
}

// wayWords say how the person gets to the page of a sign-in.
func wayWords(via string) string {
	switch via {
	case face.ViaAddress:
		return "Then you are shown an address, to sign in to the issuer with a browser."
	case face.ViaDevice:
		return "Then you are shown an address and a code, to sign in to the issuer on any device."
	}
	return "Then you sign in to the issuer with a browser."
}

func (d *dialog) scopeText() string {
	if len(d.on) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("Scopes, which you switch on or off by typing their number:\n")
	for i, s := range d.q.Scopes {
		fmt.Fprintf(&b, "  %d  %s: %s", i+1, text(s.Name), onOff(d.on[i]))
		if s.Required {
			b.WriteString(", required by the server")
		}
		if s.New {
			b.WriteString(", new")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (d *dialog) choiceText() string {
	var b strings.Builder
	b.WriteString("Type a letter and press Enter:\n")
	for _, c := range d.choices {
		fmt.Fprintf(&b, "  %s  %s\n", c.key, c.label)
	}
	return b.String()
}

// details are the facts behind the name, and the question's state as it stands.
func (d *dialog) details() string {
	h := d.q.Host
	var b strings.Builder
	fmt.Fprintf(&b, "Details. How the program was recognised: %s.\n", h.Level)
	if h.Key != "" {
		fmt.Fprintf(&b, "Consent is kept under: %s\n", text(h.Key))
	} else {
		b.WriteString("Consent cannot be kept for this program.\n")
	}
	chain := h.Chain
	if len(chain) == 0 && h.Process.PID != 0 {
		chain = []peer.Process{h.Process}
	}
	for i, p := range chain {
		label := "Started by"
		if i == 0 {
			label = "Process"
		}
		fmt.Fprintf(&b, "%s: %s, process %d\n", label, orUnknown(text(p.Exe)), p.PID)
		if len(p.Args) > 0 {
			fmt.Fprintf(&b, "  arguments, reported by the program itself: %s\n", arguments(p.Args))
		}
	}
	b.WriteString(d.scopeText())
	b.WriteString(d.choiceText())
	return b.String()
}

func orUnknown(exe string) string {
	if exe == "" {
		return "unknown program"
	}
	return exe
}

func arguments(args []string) string {
	more := ""
	if len(args) > maxArgs {
		more, args = fmt.Sprintf(" and %d more", len(args)-maxArgs), args[:maxArgs]
	}
	return text(strings.Join(args, " ")) + more
}

// siteOf is the host of a URL, in ASCII so that no letter passes for another.
func siteOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return text(rawURL)
	}
	ascii, err := idna.Lookup.ToASCII(u.Hostname())
	if err != nil {
		return text(u.Host)
	}
	if u.Port() != "" {
		ascii += ":" + u.Port()
	}
	return text(ascii)
}

// urlText is a URL as it is; when its host has letters beyond ASCII, it says how the host is spelt both ways.
func urlText(rawURL string) string {
	shown := text(rawURL)
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return shown
	}
	ascii, errA := idna.Lookup.ToASCII(u.Hostname())
	letters, errU := idna.Lookup.ToUnicode(u.Hostname())
	if errA == nil && errU == nil && ascii != letters {
		return fmt.Sprintf("%s (in ASCII %s, in letters %s)", shown, text(ascii), text(letters))
	}
	return shown
}
