package app

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"

	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/quirk"
)

// bench is a desk whose resident process is the test.
type bench struct {
	*desk
	sent     chan face.Message // but for what tells that something was taken: that is counted
	taken    atomic.Int32
	greeted  atomic.Int32
	time     time.Time
	later    []func()
	notified []string
	focus    []bool
	room     fyne.Size
	looks    atomic.Int32        // wishes to look for programs; sent has the others
	unasked  map[fyne.Window]int // how often the desktop was asked to leave the focus where it is
}

func newBench(t *testing.T) *bench {
	a := inVariant(t, theme.VariantLight)
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	b := &bench{sent: make(chan face.Message, 10), time: noon, unasked: map[fyne.Window]int{}}
	conn := face.NewConn(theirs)
	go func() {
		for {
			m, err := conn.Receive()
			if err != nil {
				close(b.sent)
				return
			}
			switch {
			case m.Taken:
				b.taken.Add(1)
			case m.Hello != 0:
				b.greeted.Store(int32(m.Hello))
			case m.Wish != nil && m.Wish.Wish == (face.WishLook{}):
				b.looks.Add(1)
			default:
				b.sent <- m
			}
		}
	}()
	b.desk = &desk{app: a, conn: face.NewConn(ours), now: func() time.Time { return b.time }, ended: make(chan struct{}),
		calls:      map[uint64]func(*localapi.Error){},
		takeFocus:  func(take bool) { b.focus = append(b.focus, take) },
		leaveFocus: func(w fyne.Window) { b.unasked[w]++ },
		room:       func(fyne.Window) fyne.Size { return b.room },
		notify:     func(title, _ string) { b.notified = append(b.notified, title) },
		do:         func(f func()) { b.later = append(b.later, f) }}
	return b
}

// settle runs what was put off.
func (b *bench) settle() {
	for len(b.later) > 0 {
		f := b.later[0]
		b.later = b.later[1:]
		f()
	}
}

func (b *bench) over() bool {
	select {
	case <-b.ended:
		return true
	default:
		return false
	}
}

func (b *bench) answer(t *testing.T) *face.Answered {
	t.Helper()
	m := <-b.sent
	if m.Answer == nil {
		t.Fatalf("sent %+v", m)
	}
	return m.Answer
}

func ask2(id string) face.Question {
	q := consent()
	q.ID = id
	return q
}

func TestQuestionsAreAskedOneAfterTheOther(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"a", "b", "c"} {
		q := ask2(id)
		b.take(face.Message{Question: &q})
	}
	if len(b.notified) != 1 || b.notified[0] != "claude wants to use mcp.example.com as work" {
		t.Errorf("notified %q", b.notified)
	}
	if b.ask.view.q.ID != "a" || b.ask.view.later != 2 {
		t.Fatalf("asked %s, %d more", b.ask.view.q.ID, b.ask.view.later)
	}
	old := b.ask.view
	b.ask.view.find("deny").Tapped(nil)
	old.find("deny").Tapped(nil) // a second press while the window goes
	if a := b.answer(t); a.ID != "a" || !a.Answer.Answered || a.Answer.Allow {
		t.Errorf("answer %+v", a)
	}
	if b.ask.view.q.ID != "b" || b.ask.view.arm.focused {
		t.Errorf("then asked %s, armed %v", b.ask.view.q.ID, b.ask.view.arm.focused)
	}
	b.take(face.Message{Withdraw: "b"})
	b.take(face.Message{Withdraw: "unknown"})
	if b.ask.view.q.ID != "c" || b.over() {
		t.Errorf("after a withdrawal asked %s", b.ask.view.q.ID)
	}
	b.ask.view.dismiss()
	if a := b.answer(t); a.ID != "c" || a.Answer.Answered {
		t.Errorf("closing says %+v", a)
	}
	if !b.over() {
		t.Error("lives on without a window")
	}
	for m := range b.sent { // ends, because the pair is closed with the last window
		t.Errorf("more sent: %+v", m)
	}
	if n := b.taken.Load(); n != 3 {
		t.Errorf("%d questions said to be taken, want 3", n)
	}
	for _, take := range b.focus {
		if take {
			t.Error("a question's window may take the focus")
		}
	}
}

// TestWindowsFit: on a small or scaled screen every window has its controls inside.
func TestWindowsFit(t *testing.T) {
	const frame = 40
	for name, room := range map[string]fyne.Size{
		"800×600": fyne.NewSize(800, 600-frame), "1366×768 at 150 %": fyne.NewSize(1366/1.5, 768/1.5-frame), "1920×1080 at 200 %": fyne.NewSize(960, 540-frame),
	} {
		all := questions()
		for kind, q := range hostile() {
			all["hostile "+kind] = q
		}
		many := consent()
		many.Host.Name = strings.Repeat("a long name ", 10)
		many.Server = "https://" + strings.Repeat("long-label.", 15) + "example.com/mcp"
		for i := range 20 {
			many.Scopes = append(many.Scopes, face.Scope{Name: fmt.Sprintf("files:read:%d", i)})
		}
		all["20 scopes, long names"] = many
		for kind, q := range all {
			t.Run(name+"/"+kind, func(t *testing.T) {
				b := newBench(t)
				b.room = room
				b.take(face.Message{Question: &q})
				size := b.ask.win.Canvas().Size()
				if size.Width > room.Width || size.Height > room.Height {
					t.Errorf("the window is %v, and there is room for %v", size, room)
				}
				buttons := append([]*button{b.ask.view.deny}, b.ask.view.yes...)
				for _, m := range b.ask.view.menus {
					m.layer.Show() // its entries count as well
				}
				b.ask.view.content.Resize(size)
				for _, o := range buttons {
					from := fyne.CurrentApp().Driver().AbsolutePositionForObject(o)
					to := from.Add(o.Size())
					if from.X < 0 || from.Y < 0 || to.X > size.Width || to.Y > size.Height || o.Size().Height == 0 {
						t.Errorf("%s is at %v to %v, in a window of %v", o.id, from, to, size)
					}
				}
			})
		}
		t.Run(name+"/main window", func(t *testing.T) {
			b := newBench(t)
			b.room = room
			b.take(face.Message{Page: face.PageServers})
			if size := b.main.win.Canvas().Size(); size.Width > room.Width || size.Height > room.Height {
				t.Errorf("the window is %v, and there is room for %v", size, room)
			}
		})
	}
}

// TestAWindowKeepsItsFirstSize: a late answer of the window manager does not leave a question with its scopes out of sight; but
// what the person makes of the window later stays.
func TestAWindowKeepsItsFirstSize(t *testing.T) {
	b := newBench(t)
	q := ask2("a")
	b.take(face.Message{Question: &q})
	want := b.ask.win.Canvas().Size()
	small := fyne.NewSize(300, 200)
	b.ask.win.Resize(small)
	b.tick()
	if has := b.ask.win.Canvas().Size(); has != want {
		t.Errorf("the window is %v, want %v", has, want)
	}
	b.time = b.time.Add(fitFor)
	b.ask.win.Resize(small)
	b.tick()
	if has := b.ask.win.Canvas().Size(); has != small {
		t.Errorf("the window is %v, and the person made it %v", has, small)
	}
}

// TestTheFirstFrameIsTold: that a question or a page is on the screen is said when it was painted, once, and to who greeted.
func TestTheFirstFrameIsTold(t *testing.T) {
	b := newBench(t)
	q := ask2("a")
	b.take(face.Message{Question: &q})
	b.ask.win.Canvas().Capture() // paints it; nobody greeted
	b = newBench(t)
	b.take(face.Message{Hello: face.Protocol})
	b.take(face.Message{Question: &q})
	b.take(face.Message{Page: face.PageServers})
	b.take(face.Message{Page: face.PageHosts})
	paints := func(w fyne.Window, want ...string) {
		t.Helper()
		done := make(chan struct{})
		go func() { w.Canvas().Capture(); w.Canvas().Capture(); close(done) }()
		for _, what := range want {
			if m := <-b.sent; m.Shown != what {
				t.Errorf("sent %+v, want that %s is shown", m, what)
			}
		}
		<-done
	}
	paints(b.ask.win, "a")
	paints(b.main.win, face.PageServers, face.PageHosts)
	go b.take(face.Message{Page: face.PageActivity}) // it is on the screen already
	if m := <-b.sent; m.Shown != face.PageActivity {
		t.Errorf("sent %+v", m)
	}
	if len(b.sent) > 0 || b.greeted.Load() != face.Protocol {
		t.Errorf("sent %+v", <-b.sent)
	}
	asked := q
	asked.Deadline = noon.Add(120 * time.Second)
	b.take(face.Message{State: &face.State{Waiting: []face.Question{asked}}})
	if got := b.ask.view.q.Deadline; !got.Equal(asked.Deadline) {
		t.Errorf("the window counts down to %v", got)
	}
}

// TestAnotherVersionShowsNothing: messages of another number could mean something else.
func TestAnotherVersionShowsNothing(t *testing.T) {
	b := newBench(t)
	b.take(face.Message{Hello: face.Protocol + 1})
	if !b.over() {
		t.Error("it lives on")
	}
}

func TestWindowFocusArms(t *testing.T) {
	b := newBench(t)
	q := ask2("a")
	b.take(face.Message{Question: &q})
	v, c := b.ask.view, b.ask.win.Canvas()
	if v.arm.focused || c.Focused() != fyne.Focusable(v.deny) {
		t.Fatalf("at first focused %v, in focus %q", v.arm.focused, idOf(c.Focused()))
	}
	inside := func(what string, want bool) {
		t.Helper()
		b.settle()
		if v.arm.focused != want {
			t.Errorf("%s: focused %v", what, v.arm.focused)
		}
	}
	gain := func() { c.Focused().FocusGained() } // what Fyne does for a window
	lose := func() { c.Focused().FocusLost() }
	gain()
	inside("the window gains the focus", true)
	c.FocusNext()
	c.FocusNext()
	inside("Tab", true)
	c.Unfocus()
	inside("a click on the background", true)
	b.ask.tick()
	inside("the focus comes home", true)
	if idOf(c.Focused()) != "deny" {
		t.Errorf("home is %q", idOf(c.Focused()))
	}
	lose()
	inside("the window loses it", false)
	b.ask.tick()
	inside("time passes", false)
	gain()
	inside("it gains it again", true)
	b.left()
	inside("the program loses it", false)
	c.Unfocus()
	b.ask.tick()
	inside("the focus moves home without the window's", false)
	b.entered()
	inside("the program gains it and has one window", true)
}

func TestFocusOfAnotherWindowDoesNotArm(t *testing.T) {
	b := newBench(t)
	q := ask2("a")
	b.take(face.Message{Page: face.PageServers})
	b.take(face.Message{Question: &q})
	b.entered()
	b.settle()
	if b.ask.view.arm.focused {
		t.Error("armed by the main window's focus")
	}
	b.time = b.time.Add(time.Minute)
	b.ask.view.find("allow").Tapped(nil)
	if len(b.sent) > 0 {
		t.Fatal("the click that came first counted")
	}
	if b.ask == nil || !b.ask.view.arm.focused {
		t.Error("and starts nothing")
	}
}

func TestWishesOfTheMainWindow(t *testing.T) {
	b := newBench(t)
	s := busyState()
	b.take(face.Message{State: &s})
	b.take(face.Message{Page: face.PageServers})
	if !b.focus[0] {
		t.Error("the main window, opened by the person, may not take the focus")
	}
	m := b.main
	m.memory.address.SetText("nonsense words")
	m.add()
	if m.memory.failed[keyAdd] == nil || len(b.sent) > 0 {
		t.Error("a wrong address was not refused")
	}
	m.memory.address.SetText("mcp.example.com/mcp")
	if m.memory.failed[keyAdd] != nil {
		t.Error("typing does not take the complaint away")
	}
	m.add()
	m.add() // a second press
	sent := (<-b.sent).Wish
	if sent == nil || sent.Wish != (face.WishSignIn{Server: "https://mcp.example.com/mcp"}) || len(b.sent) > 0 {
		t.Fatalf("sent %+v", sent)
	}
	b.take(face.Message{Result: &face.Result{Call: sent.Call, Err: localapi.Errorf(localapi.ErrDiscovery, "nothing there")}})
	if m.memory.busy[keyAdd] || m.memory.failed[keyAdd] == nil || m.memory.address.Text == "" {
		t.Error("the failure is not shown, or what was typed is lost")
	}
	m.add()
	b.take(face.Message{Result: &face.Result{Call: (<-b.sent).Wish.Call}})
	if m.memory.failed[keyAdd] != nil || m.memory.address.Text != "" {
		t.Error("after success the field is not empty")
	}
}

func TestEveryActionOfTheMainWindow(t *testing.T) {
	linear := busyState().Grants[0]
	key := grantKey(linear)
	claude := "revoke\nexe:/usr/bin/claude\n" + key
	tests := []struct {
		page  string
		press []string
		want  face.Wish
	}{
		{face.PageServers, []string{"sign-in\n" + key}, face.WishSignIn{Server: linear.Server, Account: "work"}},
		{face.PageServers, []string{"more\n" + key, "forget-ask\n" + key, "forget\n" + key}, face.WishForget{Resource: linear.Resource, Account: "work"}},
		{face.PageServers, []string{"more\n" + key, "unchecked\n" + key + "\nask", "unchecked\n" + key}, face.WishAccept{Name: quirk.Unchecked, Resource: linear.Resource, Account: "work"}},
		{face.PageServers, []string{"more\n" + key, "take-back\naudience\n" + key}, face.WishTakeBack{Name: quirk.Audience, Resource: linear.Resource, Account: "work"}},
		{face.PageHosts, []string{claude + "\nask", claude}, face.WishRevoke{Resource: linear.Resource, Account: "work", Host: "exe:/usr/bin/claude"}},
		{face.PageHosts, []string{"resume\nexe:/opt/cursor/cursor"}, face.WishResume{Host: "exe:/opt/cursor/cursor"}},
		{face.PageWaiting, []string{"cancel\ns1"}, face.WishCancel{ID: "s1"}},
		{face.PageServers, []string{"more\n" + key, "dpop\n" + key}, face.WishAccept{Name: quirk.DPoP, Resource: linear.Resource, Account: "work"}},
		{face.PageWaiting, []string{"open\ns1"}, face.WishOpenURL{ID: "s1"}},
		{face.PageHosts, []string{"switch\ncodex\n" + linear.Server + "\n"}, face.WishConnect{Program: "codex", Server: linear.Server}},
		{face.PageHosts, []string{"switch\nclaude-code\n" + linear.Server + "\nlinear"}, face.WishDisconnect{Program: "claude-code", Server: linear.Server, Name: "linear"}},
		{face.PageServers, []string{"more\n" + key, "switch\ncodex\n" + linear.Server + "\n"}, face.WishConnect{Program: "codex", Server: linear.Server}},
		{face.PageHosts, []string{"write\nedit-1"}, face.WishWrite{ID: "edit-1"}},
		{face.PageHosts, []string{"drop\nedit-1"}, face.WishDrop{ID: "edit-1"}},
		{face.PageActivity, []string{keyQuit, "quit-no", keyQuit, "quit-yes"}, face.WishQuit{}},
	}
	for _, test := range tests {
		b := newBench(t)
		s := busyState()
		s.Edit = adding(false)
		s.Grants[0].Quirks = []quirk.Quirk{{Name: quirk.Audience, Value: "account"}}
		s.Grants[0].Bindable = true
		b.take(face.Message{State: &s})
		b.take(face.Message{Page: test.page})
		for _, id := range test.press {
			o := findID(b.main.win.Content(), id)
			if o == nil {
				t.Fatalf("%s: no %q", test.page, id)
			}
			o.(fyne.Tappable).Tapped(nil)
		}
		m := <-b.sent
		if m.Wish == nil || m.Wish.Wish != test.want || len(b.sent) > 0 {
			t.Errorf("%s %q: sent %+v, want %+v", test.page, test.press, m.Wish, test.want)
		}
	}
}

// TestParametersAreTyped on the server's page, and stay there while they are wrong.
func TestParametersAreTyped(t *testing.T) {
	b, key, press, sent := typing(t)
	grant := busyState().Grants[0]
	press("parameters\n" + key + "\nask")
	typed := b.main.memory.fields["parameters\n"+key]
	typed.SetText(" access_type=offline ")
	press("parameters\n" + key)
	w := sent()
	want := face.WishAccept{Name: quirk.Parameters, Value: "access_type=offline", Resource: grant.Resource, Account: grant.Account}
	if w.Wish != want {
		t.Fatalf("sent %+v", w)
	}
	b.take(face.Message{Result: &face.Result{Call: w.Call, Err: localapi.Errorf(localapi.ErrBadRequest, "no")}})
	if b.main.memory.fields["parameters\n"+key] != typed || b.main.memory.failed["parameters\n"+key] == nil {
		t.Error("what was wrong is gone")
	}
	press("parameters\n" + key)
	b.take(face.Message{Result: &face.Result{Call: sent().Call}})
	if b.main.memory.fields["parameters\n"+key] != nil {
		t.Error("the field stays after it was set")
	}
}

// typing is a main window of busyState with its first server open, and how it is used.
func typing(t *testing.T) (b *bench, key string, press func(id string), sent func() *face.Wanted) {
	b = newBench(t)
	s := busyState()
	s.Grants[0].Registration = &client.Public{ClientID: "old", Source: client.SourcePreRegistered}
	b.take(face.Message{State: &s})
	b.take(face.Message{Page: face.PageServers})
	key = grantKey(s.Grants[0])
	press = func(id string) {
		t.Helper()
		o := findID(b.main.win.Content(), id)
		if o == nil {
			t.Fatalf("no %q", id)
		}
		o.(fyne.Tappable).Tapped(nil)
	}
	press("more\n" + key)
	return b, key, press, func() *face.Wanted {
		t.Helper()
		select {
		case m := <-b.sent:
			return m.Wish
		case <-time.After(20 * time.Second):
			t.Fatal("nothing was sent")
			return nil
		}
	}
}

// TestAClientIsTyped on the server's page, in each of its kinds. What is missing is said, and nothing is sent or lost.
func TestAClientIsTyped(t *testing.T) {
	const pem = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	keyFile, openKey, noKey := filepath.Join(dir, "key.pem"), filepath.Join(dir, "open.pem"), filepath.Join(dir, "words.txt")
	for file, content := range map[string]string{keyFile: pem, openKey: pem, noKey: "canary"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(openKey, 0o640); err != nil {
		t.Fatal(err)
	}
	issuer := busyState().Grants[0].Issuer
	for name, test := range map[string]struct {
		kind   int
		typed  map[string]string
		misses string
		want   localapi.RegistrationRequest
	}{
		"by browser":        {byBrowser, map[string]string{"id": " mine "}, "", localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "mine", Issuer: issuer})}},
		"with a secret":     {byBrowser, map[string]string{"id": "mine", "secret": "s"}, "", localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "mine", Secret: secret.New("s"), Issuer: issuer})}},
		"no ID":             {byBrowser, map[string]string{"secret": "canary"}, "client ID", localapi.RegistrationRequest{}},
		"by itself":         {byItself, map[string]string{"id": "mine", "secret": "s"}, "", localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "mine", Secret: secret.New("s"), GrantType: "client_credentials", Issuer: issuer})}},
		"with a key":        {byItself, map[string]string{"id": "mine", "key-file": keyFile, "key-id": "k"}, "", localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "mine", Key: secret.New(pem), KeyID: "k", GrantType: "client_credentials", Issuer: issuer})}},
		"with nothing":      {byItself, map[string]string{"id": "mine"}, "secret", localapi.RegistrationRequest{}},
		"with both":         {byItself, map[string]string{"id": "mine", "secret": "canary", "key-file": keyFile}, "not both", localapi.RegistrationRequest{}},
		"no key there":      {byItself, map[string]string{"id": "mine", "key-file": keyFile + "x"}, "no such file", localapi.RegistrationRequest{}},
		"no key in it":      {byItself, map[string]string{"id": "mine", "key-file": noKey}, "a private key in PEM", localapi.RegistrationRequest{}},
		"a short path":      {byItself, map[string]string{"id": "mine", "key-file": "key.pem"}, "whole path", localapi.RegistrationRequest{}},
		"a directory":       {byItself, map[string]string{"id": "mine", "key-file": dir}, "not a regular file", localapi.RegistrationRequest{}},
		"others read it":    {byItself, map[string]string{"id": "mine", "key-file": openKey}, "it can be read by others (mode 640)", localapi.RegistrationRequest{}},
		"identity file":     {byIdentityFile, map[string]string{"id": "mine", "assertion-file": "/run/token"}, "", localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "mine", AssertionFile: "/run/token", Issuer: issuer})}},
		"no identity file":  {byIdentityFile, map[string]string{"id": "mine"}, "whole path", localapi.RegistrationRequest{}},
		"enterprise":        {byEnterprise, map[string]string{"id": "mine", "secret": "s", "enterprise": "https://idp.example", "enterprise-id": "there", "enterprise-secret": "z"}, "", localapi.RegistrationRequest{Sent: client.Send(client.Client{ClientID: "mine", Secret: secret.New("s"), Issuer: issuer, Enterprise: &client.Enterprise{Client: client.Client{Issuer: "https://idp.example", ClientID: "there", Secret: secret.New("z")}}})}},
		"which enterprise?": {byEnterprise, map[string]string{"id": "mine"}, "your enterprise's issuer", localapi.RegistrationRequest{}},
	} {
		t.Run(name, func(t *testing.T) {
			b, grant, press, sent := typing(t)
			key := "client\n" + grant
			press(key + "\nask")
			press(fmt.Sprintf("client-kind-%d\n%s", test.kind, key))
			form := b.main.memory.forms[key]
			for name, words := range test.typed {
				findID(b.main.win.Content(), "client-"+name+"\n"+key).(*field).SetText(words)
			}
			press(key)
			if test.misses != "" {
				err := b.main.memory.failed[key]
				if err == nil || !strings.Contains(err.Error(), test.misses) || strings.Contains(err.Error(), "canary") || len(b.sent) > 0 || b.main.memory.forms[key] != form {
					t.Errorf("%v, %d sent", err, len(b.sent))
				}
				return
			}
			w := sent()
			set, _ := w.Wish.(face.WishClient)
			got, _ := json.Marshal(set.Registration)
			want, _ := json.Marshal(test.want)
			if set.Server != busyState().Grants[0].Server || set.Account != "work" || string(got) != string(want) {
				t.Errorf("sent %T %s for %s, want %s", w.Wish, got, set.Server, want)
			}
			b.take(face.Message{Result: &face.Result{Call: w.Call, Err: localapi.Errorf(localapi.ErrBadRequest, "no")}})
			if b.main.memory.forms[key] != form || b.main.memory.failed[key] == nil {
				t.Error("what was typed is gone after a failure")
			}
			press(key)
			b.take(face.Message{Result: &face.Result{Call: sent().Call}})
			if len(b.main.memory.forms) != 0 {
				t.Error("the form stays, and what was typed in it, after it was set")
			}
		})
	}
}

func TestAClientForANewServer(t *testing.T) {
	b, _, press, sent := typing(t)
	press(keyAdd + "\nclient")
	b.main.memory.address.SetText("mcp.example.com/mcp")
	press("add-button")
	if b.main.memory.failed[keyAdd] == nil || len(b.sent) > 0 {
		t.Error("a missing client ID is not said")
	}
	press(keyAdd + "\nno")
	if len(b.main.memory.forms) != 0 || b.main.memory.failed[keyAdd] != nil {
		t.Error("a closed form leaves something behind")
	}
	press(keyAdd + "\nclient")
	b.main.memory.forms[keyAdd].id.SetText("mine")
	press("add-button")
	w := sent()
	if set, _ := w.Wish.(face.WishClient); set.Server != "https://mcp.example.com/mcp" || set.Registration.ClientID != "mine" || set.Registration.Issuer != "" {
		t.Errorf("sent %+v", w)
	}
}

func TestAClientIsRemoved(t *testing.T) {
	_, key, press, sent := typing(t)
	press("remove-client\n" + key)
	w := sent()
	if set, _ := w.Wish.(face.WishClient); !set.Registration.Remove || set.Registration.Issuer != busyState().Grants[0].Issuer {
		t.Errorf("sent %+v", w)
	}
}

// TestProgramsAreLookedFor when the main window opens and whenever the person comes back to it, one look at a time.
func TestProgramsAreLookedFor(t *testing.T) {
	b := newBench(t)
	looks := func(want int32) {
		t.Helper()
		b.wish(face.WishResume{}, func(*localapi.Error) {}) // when it was read, so was all before
		<-b.sent
		if got := b.looks.Load(); got != want {
			t.Errorf("looked %d times, want %d", got, want)
		}
	}
	q := ask2("a")
	b.take(face.Message{Question: &q})
	b.entered()
	looks(0)
	b.take(face.Message{Page: face.PageHosts})
	first := b.last
	b.entered() // while that look is under way
	looks(1)
	b.take(face.Message{Result: &face.Result{Call: first, Err: localapi.Errorf(localapi.ErrUnavailable, "no vk")}})
	if b.main.memory.failed[keyLook] == nil {
		t.Error("that it failed is not told")
	}
	b.entered()
	looks(2)
}

// TestAnUnansweredEditIsDroppedWithTheWindow: it must not wait there for the next time.
func TestAnUnansweredEditIsDroppedWithTheWindow(t *testing.T) {
	b := newBench(t)
	s := busyState()
	s.Edit = adding(false)
	b.take(face.Message{State: &s})
	b.take(face.Message{Page: face.PageHosts})
	b.main.close()
	if m := <-b.sent; m.Wish == nil || m.Wish.Wish != (face.WishDrop{ID: "edit-1"}) || !b.over() {
		t.Errorf("sent %+v", m)
	}
}

// TestCopyTheBlock puts what the person is to paste into the clipboard.
func TestCopyTheBlock(t *testing.T) {
	b := newBench(t)
	s := busyState()
	s.Edit = failing()
	b.take(face.Message{State: &s})
	b.take(face.Message{Page: face.PageHosts})
	findID(b.main.win.Content(), "copy\nedit-3").(fyne.Tappable).Tapped(nil)
	if got := b.app.Clipboard().Content(); got != s.Edit.Block {
		t.Errorf("the clipboard holds %q", got)
	}
}

func TestRedrawKeepsFocusAndPage(t *testing.T) {
	b := newBench(t)
	s := busyState()
	b.take(face.Message{State: &s})
	b.take(face.Message{Page: face.PageHosts})
	c := b.main.win.Canvas()
	c.Focus(findID(b.main.win.Content(), "page-activity"))
	b.take(face.Message{State: &s})
	if got := idOf(c.Focused()); got != "page-activity" {
		t.Errorf("the focus went to %q", got)
	}
	b.time = b.time.Add(time.Minute)
	b.tick()
	if b.main.memory.page != face.PageHosts {
		t.Errorf("page %q", b.main.memory.page)
	}
}

func TestResidentProcessEndsTheWindows(t *testing.T) {
	b := newBench(t)
	q := ask2("a")
	b.take(face.Message{Question: &q})
	b.take(face.Message{Quit: true})
	if !b.over() {
		t.Error("Quit ends nothing")
	}

	b = newBench(t)
	b.conn.Close()
	b.receive()
	b.settle()
	if !b.over() {
		t.Error("the loss of the resident process ends nothing")
	}
}

func TestOnlyAQuestionAsksToLeaveTheFocusAndOnlyBeforeItIsShown(t *testing.T) {
	b := newBench(t)
	q := ask2("a")
	b.take(face.Message{Question: &q})
	shown := b.unasked[b.ask.win]
	b.ask.win.Resize(fyne.NewSize(700, 700))
	b.take(face.Message{Page: face.PageServers})
	if shown == 0 || b.unasked[b.ask.win] != shown || len(b.unasked) != 1 {
		t.Errorf("asked %d times before it was shown, %d in all, for %d windows", shown, b.unasked[b.ask.win], len(b.unasked))
	}
}

// TestTheFocusIsSeen: a control below the edge of the page is scrolled in when it gets the focus, and one above it too.
func TestTheFocusIsSeen(t *testing.T) {
	b, _, press, _ := typing(t)
	press(keyAdd + "\nclient")
	m := b.main
	seen := func(o fyne.CanvasObject) bool {
		driver := fyne.CurrentApp().Driver()
		top := driver.AbsolutePositionForObject(o).Y - driver.AbsolutePositionForObject(m.scroll).Y
		return top >= 0 && top+o.Size().Height <= m.scroll.Size().Height
	}
	if !seen(m.memory.address) || m.scroll.Offset.Y == 0 {
		t.Errorf("the form opens out of sight, at %v", m.scroll.Offset.Y)
	}
	last := findID(m.win.Content(), "add-button")
	if seen(last.(fyne.CanvasObject)) {
		t.Fatal("the whole form is on the page, so this shows nothing")
	}
	m.win.Canvas().Focus(last)
	if !seen(last.(fyne.CanvasObject)) {
		t.Error("the button in focus is out of sight")
	}
	first := findID(m.win.Content(), "sign-in\n"+grantKey(busyState().Grants[0]))
	m.win.Canvas().Focus(first)
	if !seen(first.(fyne.CanvasObject)) {
		t.Error("the first button in focus is out of sight")
	}
}
