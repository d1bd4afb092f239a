package app

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
)

// mainWindow shows the newest state. It is drawn anew as a whole; what must outlive that is in memory, the fields and
// the scroll position.
type mainWindow struct {
	desk   *desk
	win    fyne.Window
	memory memory
	scroll *container.Scroll
	page   string    // on screen, for which scroll's position holds
	drawn  time.Time // the minute on screen
	fit    fitted

	first   fyne.CanvasObject // hears of the first frame
	painted bool              // it was
	awaited []string          // pages of which the resident process hears then
}

// memory is what the main window knows that is not in the state.
type memory struct {
	page    string
	confirm string                     // the action that asks "are you sure?" now
	open    map[string]bool            // cards that show their details
	busy    map[string]bool            // actions under way
	failed  map[string]*localapi.Error // actions that went wrong, until tried again
	address *field                     // of the server to add
	fields  map[string]*field          // of actions that take what the person types
	forms   map[string]*clientForm     // the open ones
}

// actions is what the main window's controls do. Keys name one control or card.
type actions struct {
	wish    func(key string, w face.Wish)
	turn    func(page string)
	confirm func(key string) // "": no question any more
	toggle  func(key string)
	edit    func(key, hint string) // opens the field of an action
	add     func()
	form    func(key string) // opens or closes a form
	redraw  func()           // after a choice in one

	setClient func(key string, g localapi.Grant) // as the form says
	copy      func(text string)
	raise     func() // the window of the question
}

func (d *desk) open(page string) {
	if d.main != nil {
		d.main.turn(page)
		d.main.win.RequestFocus()
		if d.main.painted {
			d.shown(page)
		} else {
			d.main.awaited = append(d.main.awaited, page)
		}
		return
	}
	m := &mainWindow{desk: d, win: d.app.NewWindow("Valet Key"), memory: newMemory(), awaited: []string{page}}
	m.first = firstFrame(func() {
		m.painted = true
		for _, page := range m.awaited {
			d.shown(page)
		}
	})
	d.main = m
	m.memory.address.OnSubmitted = func(string) { m.add() }
	m.memory.address.OnChanged = func(string) { delete(m.memory.failed, keyAdd) }
	m.win.SetPadded(false)
	m.turn(page)
	m.win.CenterOnScreen()
	m.win.SetCloseIntercept(m.close)
	d.takeFocus(true)
	m.win.Show()
	m.fit = d.fit(m.win, fyne.NewSize(880, 600))
	m.look()
}

func (m *mainWindow) close() {
	d := m.desk
	if e := d.state.Edit; e != nil { // shown and not answered, so the answer is no
		d.wish(face.WishDrop{ID: e.ID}, func(*localapi.Error) {})
	}
	d.main = nil
	m.win.Close()
	d.rest()
}

func newMemory() memory {
	return memory{open: map[string]bool{}, busy: map[string]bool{}, failed: map[string]*localapi.Error{}, fields: map[string]*field{}, forms: map[string]*clientForm{},
		address: newField(keyAdd, "https://mcp.example.com/mcp", false)}
}

func (m *mainWindow) turn(page string) {
	m.memory.page, m.memory.confirm = page, ""
	m.redraw()
}

func (m *mainWindow) actions() actions {
	return actions{
		wish: m.wish, turn: m.turn, add: m.add, redraw: m.redraw, form: m.form,
		setClient: func(key string, g localapi.Grant) {
			m.setClient(key, face.WishClient{Server: g.Server, Account: g.Account}, g.Issuer)
		},
		confirm: func(key string) { m.memory.confirm = key; m.redraw() },
		toggle:  func(key string) { m.memory.open[key] = !m.memory.open[key]; m.redraw() },
		edit: func(key, hint string) {
			f := newField("field\n"+key, hint, false)
			m.memory.fields[key] = f
			m.redraw()
			m.win.Canvas().Focus(f)
		},
		copy: func(text string) { m.desk.app.Clipboard().SetContent(text) },
		raise: func() {
			if m.desk.ask != nil {
				m.desk.ask.win.RequestFocus()
			}
		},
	}
}

// wish does an action and redraws when it is over.
func (m *mainWindow) wish(key string, w face.Wish) {
	m.memory.confirm = ""
	m.memory.busy[key] = true
	delete(m.memory.failed, key)
	m.redraw()
	m.desk.wish(w, func(err *localapi.Error) {
		delete(m.memory.busy, key)
		if err != nil {
			m.memory.failed[key] = err
		} else if key == keyAdd {
			m.memory.address.SetText("")
		}
		if err == nil {
			delete(m.memory.fields, key)
			delete(m.memory.forms, key)
		}
		m.redraw()
	})
}

// look has the resident process look for programs and read their files, which others may have written meanwhile.
func (m *mainWindow) look() {
	if m.memory.busy[keyLook] {
		return
	}
	m.memory.busy[keyLook] = true
	m.desk.wish(face.WishLook{}, func(err *localapi.Error) {
		delete(m.memory.busy, keyLook)
		delete(m.memory.failed, keyLook)
		if err != nil {
			m.memory.failed[keyLook] = err
		}
		m.redraw()
	})
}

// add signs in to the server typed in.
func (m *mainWindow) add() {
	address, err := checkAddress(m.memory.address.Text)
	if err != nil {
		m.memory.failed[keyAdd] = err
		m.redraw()
		return
	}
	switch {
	case m.memory.busy[keyAdd]:
	case m.memory.forms[keyAdd] != nil:
		m.setClient(keyAdd, face.WishClient{Server: address}, "")
	default:
		m.wish(keyAdd, face.WishSignIn{Server: address})
	}
}

// form opens the form of that key with the focus in it, or closes it: then nothing that was typed stays.
func (m *mainWindow) form(key string) {
	delete(m.memory.failed, key)
	if m.memory.forms[key] != nil {
		delete(m.memory.forms, key)
		m.redraw()
		return
	}
	f := newClientForm(key)
	m.memory.forms[key] = f
	m.redraw()
	if first := m.memory.address; key == keyAdd && first.Text == "" {
		m.win.Canvas().Focus(first)
		return
	}
	m.win.Canvas().Focus(f.id)
}

// setClient does w with what the form says, at issuer ("": the server's own).
func (m *mainWindow) setClient(key string, w face.WishClient, issuer string) {
	ours, err := m.memory.forms[key].client()
	if err != nil {
		m.memory.failed[key], _ = errors.AsType[*localapi.Error](err)
		m.redraw()
		return
	}
	ours.Issuer = issuer
	w.Registration = localapi.RegistrationRequest{Sent: client.Send(ours)}
	m.wish(key, w)
}

// checkAddress tells early what can be told without asking the server.
func checkAddress(typed string) (string, *localapi.Error) {
	wrong := func(words string) (string, *localapi.Error) {
		return "", localapi.Errorf(localapi.ErrBadRequest, "%s", words)
	}
	if strings.TrimSpace(typed) == "" {
		return wrong("Type the address of an MCP server first.")
	}
	typed = localapi.TypedServer(typed)
	u, err := url.Parse(typed)
	switch {
	case err != nil || u.Hostname() == "" || strings.ContainsAny(typed, " \t"):
		return wrong("This is not the address of a server. It looks like https://mcp.example.com/mcp.")
	case u.Scheme != "https" && u.Scheme != "http":
		return wrong("The address of an MCP server begins with https://.")
	case u.User != nil:
		return wrong("The address must not hold a name or a password.")
	}
	return typed, nil
}

func (m *mainWindow) tick() {
	m.fit.tick(m.desk.now())
	if now := m.desk.now().Truncate(time.Minute); !now.Equal(m.drawn) {
		m.redraw()
	}
}

// redraw draws the newest state, and keeps the focus and the scroll position.
func (m *mainWindow) redraw() {
	if m.desk.main != m {
		return // closed while a wish was under way
	}
	now := m.desk.now()
	m.drawn = now.Truncate(time.Minute)
	var offset float32
	if m.scroll != nil && m.page == m.memory.page {
		offset = m.scroll.Offset.Y
	}
	focused := idOf(m.win.Canvas().Focused())
	content, scroll := mainView(m.desk.state, m.memory, m.actions(), now)
	m.page = m.memory.page
	if m.painted {
		m.win.SetContent(content)
	} else {
		m.win.SetContent(container.New(&atBirth{func() {}}, content, m.first))
	}
	scroll.ScrollToOffset(fyne.NewPos(0, offset))
	m.scroll = nil // the focus only comes back
	if o := findID(content, focused); o != nil {
		m.win.Canvas().Focus(o)
	}
	m.scroll = scroll
	each(scroll.Content, func(o fyne.Focusable) bool {
		switch o := o.(type) {
		case *button:
			o.onFocus = m.reveal
		case *tick:
			o.onFocus = m.reveal
		case *toggle:
			o.onFocus = m.reveal
		case *field:
			o.onFocus = m.reveal
		}
		return false
	})
}

// revealed is left between a control and the edge of the page that it was scrolled in from.
const revealed = 12

// reveal scrolls the page so that the control which gained the focus is seen: the Tab key goes on below its edge.
func (m *mainWindow) reveal(o fyne.Focusable, gained bool) {
	object, ok := o.(fyne.CanvasObject)
	if !ok || !gained || m.scroll == nil {
		return
	}
	driver := fyne.CurrentApp().Driver()
	top := driver.AbsolutePositionForObject(object).Y - driver.AbsolutePositionForObject(m.scroll.Content).Y
	bottom := top + object.Size().Height
	switch seen := m.scroll.Offset.Y; {
	case top-revealed < seen:
		m.scroll.ScrollToOffset(fyne.NewPos(0, max(top-revealed, 0)))
	case bottom+revealed > seen+m.scroll.Size().Height:
		m.scroll.ScrollToOffset(fyne.NewPos(0, bottom+revealed-m.scroll.Size().Height))
	}
}
