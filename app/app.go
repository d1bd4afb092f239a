// Package app is the windows: one that asks the person a question, and the main one with servers, hosts, what waits
// and what happened. It draws what the resident process sends and sends back what the person does; it holds no rules.
//
// Everything in it runs on Fyne's main goroutine, except where it says fyne.Do.
package app

import (
	"image"
	"sync"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
)

// Config is what Run needs.
type Config struct {
	App  fyne.App   // new; its icon and its ID are the program's
	Conn *face.Conn // to the resident process

	// TakeFocus tells the driver whether the next window shown may ask the desktop for the focus. nil: the driver does
	// as it likes. Fyne has no call for it; with its driver it is glfw.WindowHint(glfw.FocusOnShow, …), possible only
	// in the program that links the driver.
	TakeFocus func(bool)

	// LeaveFocus asks the desktop to leave the focus where it is when a window appears. It is called when the desktop knows
	// the window and does not show it yet, and before that in vain. nil: the desktop does as it likes.
	LeaveFocus func(fyne.Window)

	// Room is how large a window may be that is on the screen, in units of its canvas; a zero side is not known. nil: no side is.
	Room func(fyne.Window) fyne.Size

	// Places hears again and again where the controls of the windows are (see desk.places). nil: nobody does. A test
	// that drives the windows finds them by their names so.
	Places func(lines string)
}

// tickEvery is how often what depends on the time is drawn anew.
const tickEvery = 100 * time.Millisecond

// Run shows what the resident process asks for. It returns when the last window was closed or the resident process is
// gone. It must be called from the main goroutine.
func Run(cfg Config) {
	cfg.App.Settings().SetTheme(newTheme())
	d := &desk{app: cfg.App, conn: cfg.Conn, takeFocus: cfg.TakeFocus, leaveFocus: cfg.LeaveFocus, room: cfg.Room, hear: cfg.Places, now: time.Now, do: fyne.Do, ended: make(chan struct{}),
		calls: map[uint64]func(*localapi.Error){}}
	if d.takeFocus == nil {
		d.takeFocus = func(bool) {}
	}
	if d.leaveFocus == nil {
		d.leaveFocus = func(fyne.Window) {}
	}
	if d.room == nil {
		d.room = func(fyne.Window) fyne.Size { return fyne.Size{} }
	}
	d.notify = func(title, words string) {
		go cfg.App.SendNotification(fyne.NewNotification(title, words)) // waits for the desktop's notification service
	}
	cfg.App.Lifecycle().SetOnEnteredForeground(d.entered)
	cfg.App.Lifecycle().SetOnExitedForeground(d.left)
	go d.receive()
	go d.beat()
	cfg.App.Run()
	d.end()
	cfg.Conn.Close()
}

// desk holds the windows that are open and what they show.
type desk struct {
	app        fyne.App
	conn       *face.Conn
	takeFocus  func(bool)
	leaveFocus func(fyne.Window)
	room       func(fyne.Window) fyne.Size
	hear       func(places string) // nil: nobody wants to know
	notify     func(title, words string)
	now        func() time.Time
	do         func(func())
	ended      chan struct{} // closed when the last window closes

	state face.State
	queue []face.Question // the first is the one in the window
	ask   *questionWindow // nil: none is asked
	main  *mainWindow     // nil: not open

	foreground bool // one of our windows has the focus
	greeted    bool // the resident process is of this version, and hears what is on the screen

	calls map[uint64]func(*localapi.Error) // wishes under way
	last  uint64
}

// receive hands over what the resident process says, until it is gone.
func (d *desk) receive() {
	for {
		m, err := d.conn.Receive()
		select {
		case <-d.ended:
			return
		default:
		}
		if err != nil {
			d.do(d.quit)
			return
		}
		d.do(func() { d.take(m) })
	}
}

// beat ticks until the end.
func (d *desk) beat() {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-d.ended:
			return
		case <-t.C:
			fyne.DoAndWait(d.tick) // waits, so that ticks never pile up
		}
	}
}

func (d *desk) tick() {
	if d.ask != nil {
		d.ask.tick()
	}
	if d.main != nil {
		d.main.tick()
	}
	if d.hear != nil {
		d.hear(d.places())
	}
}

// entered hears that a window of ours got the focus, but not which.
func (d *desk) entered() {
	d.foreground = true
	if d.ask != nil && d.main == nil {
		d.ask.focused(true)
	}
	if d.main != nil {
		d.main.look()
	}
}

// left hears that no window of ours has the focus, or that it moves from one to another.
func (d *desk) left() {
	d.foreground = false
	if d.ask != nil {
		d.ask.focused(false)
	}
}

func (d *desk) take(m face.Message) {
	switch {
	case m.Hello != 0:
		d.greeted = m.Hello == face.Protocol
		d.conn.Send(face.Message{Hello: face.Protocol})
		if !d.greeted {
			d.quit()
		}
	case m.State != nil:
		d.state = *m.State
		d.timed()
		if d.main != nil {
			d.main.redraw()
		}
	case m.Question != nil:
		d.queue = append(d.queue, *m.Question)
		d.next()
		d.conn.Send(face.Message{Taken: true})
	case m.Withdraw != "":
		d.drop(m.Withdraw)
	case m.Page != "":
		d.open(m.Page)
		d.conn.Send(face.Message{Taken: true})
	case m.Result != nil:
		if done := d.calls[m.Result.Call]; done != nil {
			delete(d.calls, m.Result.Call)
			done(m.Result.Err)
		}
	case m.Quit:
		d.quit()
	}
}

// timed takes over when the time to answer ends: it begins when the question is on the screen.
func (d *desk) timed() {
	if d.ask == nil {
		return
	}
	for _, q := range d.state.Waiting {
		if q.ID == d.ask.view.q.ID {
			d.ask.view.q.Deadline = q.Deadline
		}
	}
}

// shown says that a question or a page was painted. A Valet Key from before it greeted its windows takes no such word.
func (d *desk) shown(what string) {
	if d.greeted {
		d.conn.Send(face.Message{Shown: what})
	}
}

// next shows the first question of the queue, if it is not the one shown, and closes the window of another. The new
// window opens first: without any window Fyne ends.
func (d *desk) next() {
	old := d.ask
	switch {
	case len(d.queue) == 0:
		d.ask = nil
	case old != nil && old.view.q.ID == d.queue[0].ID:
		old.view.later = len(d.queue) - 1
		return
	default:
		d.ask = d.newQuestionWindow(d.queue[0], len(d.queue)-1)
	}
	if old != nil {
		old.win.Close()
	}
	d.rest()
}

// drop takes a question out of the queue.
func (d *desk) drop(id string) {
	for i, q := range d.queue {
		if q.ID == id {
			d.queue = append(d.queue[:i:i], d.queue[i+1:]...)
			break
		}
	}
	d.next()
}

// reply sends the answer to the question in the window.
func (d *desk) reply(id string, a face.Answer) {
	if d.ask == nil || d.ask.view.q.ID != id {
		return // a second press on its way
	}
	d.conn.Send(face.Message{Answer: &face.Answered{ID: id, Answer: a}})
	d.drop(id)
}

// rest ends the program when no window is open.
func (d *desk) rest() {
	if d.ask == nil && d.main == nil {
		d.quit()
	}
}

// quit says at once that this process ends: whatever the way out takes, nobody waits for it, and it is ended by force.
func (d *desk) quit() {
	d.end()
	d.conn.Close()
	d.app.Quit()
}

// end stops what could still call Fyne.
func (d *desk) end() {
	select {
	case <-d.ended:
	default:
		close(d.ended)
	}
}

// wish sends what the person wants; done hears what became of it.
func (d *desk) wish(w face.Wish, done func(*localapi.Error)) {
	d.last++
	d.calls[d.last] = done
	if err := d.conn.Send(face.Message{Wish: &face.Wanted{Call: d.last, Wish: w}}); err != nil {
		d.quit()
	}
}

// questionWindow is a window around a questionView.
type questionWindow struct {
	win   fyne.Window
	view  *questionView
	watch *focusWatch
	fit   fitted
}

func (d *desk) newQuestionWindow(q face.Question, later int) *questionWindow {
	w := &questionWindow{win: d.app.NewWindow("Valet Key asks")}
	w.view = newQuestionView(q, later, d.now, func(a face.Answer) { d.reply(q.ID, a) })
	if top, ok := w.win.(desktop.Window); ok {
		top.RequestAlwaysOnTop()
	}
	w.win.SetPadded(false)
	birth := &atBirth{func() { d.leaveFocus(w.win) }}
	w.win.SetContent(container.New(birth, w.view.content, firstFrame(func() { d.shown(q.ID) })))
	w.win.CenterOnScreen()
	w.win.SetCloseIntercept(func() { d.reply(q.ID, face.Answer{}) })

	w.watch = &focusWatch{canvas: w.win.Canvas(), home: w.view.deny, changed: w.focused, later: d.do}
	w.view.focus = w.win.Canvas().Focus
	w.view.touched = func() {
		if d.foreground { // it came through our window, so that one has the focus
			w.focused(true)
		}
	}
	for _, c := range w.view.controls {
		c.onFocus = w.watch.hear
	}
	for _, f := range w.view.fields {
		f.onFocus = w.watch.hear
	}
	w.win.Canvas().SetOnTypedKey(func(e *fyne.KeyEvent) { // only while nothing has the focus
		if e.Name == fyne.KeyEscape {
			w.view.dismiss()
		}
	})
	w.watch.rest()
	d.takeFocus(false)
	w.win.Show()
	birth.do = func() {}
	w.fit = d.fit(w.win, w.view.size())
	d.notify(titleOf(q), "Valet Key asks you. Answer in its window.")
	return w
}

// fitted gives a window its first size until it has kept it for a while: on a busy desktop the window manager's answer to how
// the window began comes late, and brings that size back.
type fitted struct {
	win  fyne.Window
	size fyne.Size
	end  time.Time
}

// fitFor is how long a window manager may take.
const fitFor = 5 * time.Second

func (f *fitted) tick(now time.Time) {
	if has := f.win.Canvas().Size(); now.Before(f.end) && (has.Width < f.size.Width-1 || has.Height < f.size.Height-1) {
		f.win.Resize(f.size)
		f.win.CenterOnScreen()
	}
}

// fit gives a window the size it asks for at first, as far as there is room. It must be on the screen: before, Fyne does not
// know its scale, and comes back later to a size that it was given.
func (d *desk) fit(w fyne.Window, size fyne.Size) fitted {
	room := d.room(w)
	if room.Width > 0 {
		size.Width = min(size.Width, room.Width)
	}
	if room.Height > 0 {
		size.Height = min(size.Height, room.Height)
	}
	w.Resize(size)
	w.CenterOnScreen()
	return fitted{w, size, d.now().Add(fitFor)}
}

// atBirth shows one object and does something whenever that is measured. Fyne measures a window's content after it has
// made the window and before it shows it, and gives no other way in between.
type atBirth struct{ do func() }

// MinSize is called by Fyne.
func (l *atBirth) MinSize(objects []fyne.CanvasObject) fyne.Size {
	l.do()
	return objects[0].MinSize()
}

// Layout is called by Fyne.
func (l *atBirth) Layout(objects []fyne.CanvasObject, size fyne.Size) { objects[0].Resize(size) }

// firstFrame is an object that nobody sees and that calls do once, when a window with it is painted.
func firstFrame(do func()) fyne.CanvasObject {
	once := sync.OnceFunc(do)
	o := canvas.NewRaster(func(int, int) image.Image {
		once()
		return image.NewAlpha(image.Rect(0, 0, 1, 1))
	})
	o.Resize(fyne.NewSize(1, 1))
	return o
}

// titleOf is a question's title without its styles.
func titleOf(q face.Question) string { return joined(titleSpans(q)) }

func (w *questionWindow) focused(gained bool) {
	w.view.arm.focus(gained, w.view.now())
	w.view.tick()
}

func (w *questionWindow) tick() {
	w.fit.tick(w.view.now())
	w.watch.rest()
	w.view.tick()
}
