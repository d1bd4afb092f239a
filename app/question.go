package app

import (
	"fmt"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
)

const (
	questionWidth = 500
	questionLeast = 120 // height of the part that scrolls, at least
	questionMost  = 480 // at first
	windowMost    = 690 // of the whole window at first: it fits a screen of 768 lines
	scopesMost    = 216 // height of a list of scopes before it scrolls by itself
	manyScopes    = 7
)

// questionView is the content of the window that asks one question. It has no clock and no window of its own: tick
// tells it the time, reply takes the answer.
type questionView struct {
	q     face.Question
	arm   arming
	now   func() time.Time
	reply func(face.Answer)
	focus func(fyne.Focusable) // moves the focus inside the window

	// touched is called before a press on a yes that comes without the window's focus known: the desktop can give
	// it in the very moment of a click in which nothing inside had it, and then nobody is told.
	touched func()

	content fyne.CanvasObject
	scroll  *container.Scroll
	status  *prose
	left    *meter
	later   int // questions that wait behind this one

	deny     *button
	yes      []*button // only live when armed
	ticks    []*tick   // one per scope, in the question's order
	issuers  []*tick   // one per issuer to choose among
	device   *tick     // sign in there; nil when there is no choice
	clientID *field
	secret   *field
	menus    []*menu
	controls []*control
	fields   []*field
}

// newQuestionView draws q. later is how many questions wait behind it.
func newQuestionView(q face.Question, later int, now func() time.Time, reply func(face.Answer)) *questionView {
	v := &questionView{q: q, later: later, now: now, reply: reply, focus: func(fyne.Focusable) {}, touched: func() {}}
	v.status = text()
	v.left = newMeter()
	head := pad(18, 20, 12, 20, v.header())
	var body *fyne.Container
	body, v.scroll = scrolling(questionLeast, questionMost, pad(2, 20, 14, 20, vbox(12, v.parts()...)))
	footer := vbox(0, v.left, pad(10, 17, 14, 17, vbox(8, pad(0, 3, 0, 3, v.status), v.buttons())))
	frame := container.New(&sandwich{}, head, body, over(newBlock(colorSurface, "", 0), footer))
	layers := []fyne.CanvasObject{newBlock(theme.ColorNameBackground, "", 0), frame}
	for _, m := range v.menus {
		layers = append(layers, m.layer)
	}
	v.content = over(layers...)
	v.tick()
	return v
}

// size is what the window asks for at first.
func (v *questionView) size() fyne.Size {
	return fyne.NewSize(questionWidth, min(heightFor(v.content, questionWidth), windowMost))
}

// tick draws what depends on the time and the focus.
func (v *questionView) tick() {
	now := v.now()
	progress := v.arm.progress(now)
	for _, b := range v.yes {
		if able := v.complete(); able == b.Disabled() {
			setAble(b, able)
		}
		if b.armed != progress {
			b.armed = progress
			b.Refresh()
		}
	}
	words := []span{small(countdown(v.q.Deadline.Sub(now)) + " left")}
	if v.later > 0 {
		words = append(words, small(" · "+fmt.Sprintf("%d more waiting", v.later)))
	}
	switch {
	case !v.complete():
		words = append(words, small(" · "+v.missing()))
	case !v.arm.focused:
		words = append(words, small(" · click into this window to allow"))
	case progress < 1:
		words = append(words, small(" · one moment"))
	}
	if joined(words) != v.status.String() {
		v.status.set(words...)
	}
	if whole := v.q.Deadline.Sub(v.q.Asked); whole > 0 {
		v.left.set(float32(v.q.Deadline.Sub(now)) / float32(whole))
	}
}

func setAble(b *button, able bool) {
	if able {
		b.Enable()
	} else {
		b.Disable()
	}
}

// complete reports whether a yes would say enough.
func (v *questionView) complete() bool { return v.missing() == "" }

func (v *questionView) missing() string {
	if v.clientID != nil && strings.TrimSpace(v.clientID.Text) == "" {
		return "type the client ID"
	}
	if len(v.ticks) > 0 && len(v.checked()) == 0 {
		return "tick at least one scope to allow"
	}
	return ""
}

// checked are the names of the ticked scopes.
func (v *questionView) checked() (names []string) {
	for i, t := range v.ticks {
		if t.checked {
			names = append(names, v.q.Scopes[i].Name)
		}
	}
	return names
}

// allow answers yes if the buttons are armed.
func (v *questionView) allow(mode string) {
	if !v.arm.focused {
		v.touched()
	}
	if !v.complete() || !v.arm.click(v.now()) {
		v.tick()
		return
	}
	a := face.Answer{Answered: true, Allow: true, Mode: mode, Scopes: v.checked(), Issuer: v.issuer()}
	if v.device != nil {
		a.Via = v.via()
	}
	if v.clientID != nil {
		a.ClientID = strings.TrimSpace(v.clientID.Text)
		if s := strings.TrimSpace(v.secret.Text); s != "" {
			a.ClientSecret = secret.New(s)
		}
	}
	v.reply(a)
}

// dismiss is Escape and the window's own close button: nobody answered.
func (v *questionView) dismiss() {
	for _, m := range v.menus {
		if m.open() {
			m.close()
			return
		}
	}
	v.reply(face.Answer{})
}

// own connects a control with the window's keys.
func (v *questionView) own(c *control) {
	c.onEscape = v.dismiss
	v.controls = append(v.controls, c)
}

func (v *questionView) button(id, text string, w weight, press func()) *button {
	b := newButton(id, text, w, press)
	v.own(&b.control)
	return b
}

// yesButton makes a button that is live only when armed.
func (v *questionView) yesButton(id, text string, w weight, mode string) *button {
	b := v.button(id, text, w, func() { v.allow(mode) })
	v.yes = append(v.yes, b)
	return b
}

// buttons is the lowest row: Deny with its menu at the left, what says yes at the right.
func (v *questionView) buttons() fyne.CanvasObject {
	no := "Deny"
	if v.q.Kind == face.KindClientID || v.q.Own() && v.q.Kind == face.KindSignIn {
		no = "Cancel"
	}
	v.deny = v.button("deny", no, ordinary, func() { v.reply(face.Answer{Answered: true}) })
	left := hbox(0, -1, v.deny)
	if entries := v.denyEntries(); len(entries) > 0 {
		left.Add(v.menu("deny-more", "", ordinary, false, entries))
	}
	right := hbox(2, -1)
	if v.q.Kind != face.KindConsent {
		right.Add(v.yesButton("allow", yesWord(v.q, v.via()), primary, ""))
		return hbox(8, 1, left, fixed(1, 1), right)
	}
	var entries []fyne.CanvasObject
	for i, mode := range v.q.Modes {
		if i == 0 {
			right.Add(v.yesButton("allow", "Allow "+modeWord(mode), primary, mode))
			continue
		}
		entries = append(entries, v.yesButton("allow-"+mode, capital(modeWord(mode)), entry, mode))
	}
	if len(entries) > 0 {
		right.Add(v.menu("allow-more", "Allow", ordinary, true, entries))
	}
	return hbox(8, 1, left, fixed(1, 1), right)
}

func yesWord(q face.Question, via string) string {
	switch q.Kind {
	case face.KindSignIn:
		if via != face.ViaBrowser {
			return "Sign in"
		}
		return "Sign in with browser"
	case face.KindForget:
		return "Forget"
	case face.KindRegister:
		if q.ClientID == "" {
			return "Remove it"
		}
		return "Use this client ID"
	case face.KindClientID:
		return "Continue"
	case face.KindQuirk:
		return "Accept for this server"
	}
	return "Allow"
}

func (v *questionView) denyEntries() (entries []fyne.CanvasObject) {
	if v.q.Kind == face.KindClientID || v.q.Own() {
		return nil
	}
	if v.q.Kind == face.KindConsent && v.q.Account != "" {
		entries = append(entries, v.button("wrong-account", "Wrong account", entry, func() {
			v.reply(face.Answer{Answered: true, WrongAccount: true})
		}))
	}
	return append(entries, v.button("pause", "I did not start this: pause "+hostName(v.q.Host), entry, func() {
		v.reply(face.Answer{Answered: true, Pause: true})
	}))
}

// menu makes a button that opens entries above the footer.
func (v *questionView) menu(id, text string, w weight, right bool, entries []fyne.CanvasObject) *button {
	m := &menu{right: right, view: v, first: entries[0].(*button)}
	m.opener = v.button(id, text, w, func() {
		if m.open() {
			m.close()
			return
		}
		m.layer.Show()
		v.focus(m.first)
	}).withIcon(theme.MenuDropUpIcon())
	m.opener.tail = text != ""
	panel := newBlock(colorSurface, colorBorder, 10)
	panel.lifted = true
	m.layer = container.New(m, newShade(m.close), over(panel, pad(5, 5, 5, 5, vbox(0, entries...))))
	m.layer.Hide()
	v.menus = append(v.menus, m)
	return m.opener
}

// menu is a list of entries over the window's content. Fyne's own would be another layer of focus, so that opening it
// looked like losing the window's focus, which disarms.
type menu struct {
	view   *questionView
	opener *button
	first  *button
	right  bool
	layer  *fyne.Container
}

func (m *menu) open() bool { return m.layer.Visible() }

func (m *menu) close() {
	m.layer.Hide()
	m.view.focus(m.opener)
}

// MinSize asks for nothing: a menu lies over what is there.
func (m *menu) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.Size{} }

func (m *menu) heightFor([]fyne.CanvasObject, float32) float32 { return 0 }

func (m *menu) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	objects[0].Resize(size)
	panel := objects[1].MinSize()
	panel.Width = min(panel.Width, size.Width-40)
	x := float32(20)
	if m.right {
		x = size.Width - 20 - panel.Width
	}
	objects[1].Move(fyne.NewPos(x, size.Height-62-panel.Height))
	objects[1].Resize(panel)
}

// sandwich keeps the first and the last object at their height and gives the middle one the rest.
type sandwich struct{ got width }

func (l *sandwich) heightFor(objects []fyne.CanvasObject, width float32) (h float32) {
	for _, o := range objects {
		h += heightFor(o, width)
	}
	return h
}

func (l *sandwich) MinSize(objects []fyne.CanvasObject) fyne.Size {
	w := l.got.orFirst()
	return fyne.NewSize(max(widest(objects), 360),
		heightFor(objects[0], w)+objects[1].MinSize().Height+heightFor(objects[2], w))
}

func (l *sandwich) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	l.got = width(size.Width)
	top, bottom := heightFor(objects[0], size.Width), heightFor(objects[2], size.Width)
	heights := []float32{top, size.Height - top - bottom, bottom}
	var y float32
	for i, o := range objects {
		o.Move(fyne.NewPos(0, y))
		o.Resize(fyne.NewSize(size.Width, heights[i]))
		y += heights[i]
	}
}
