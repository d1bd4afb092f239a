package app

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// asked is a view with a clock and a record of its answers.
type asked struct {
	*questionView
	time    time.Time
	answers []face.Answer
}

func ask(t *testing.T, q face.Question) *asked {
	inVariant(t, theme.VariantLight)
	a := &asked{time: noon}
	a.questionView = newQuestionView(q, 0, func() time.Time { return a.time }, func(answer face.Answer) { a.answers = append(a.answers, answer) })
	w := test.NewTempWindow(t, a.content)
	w.SetPadded(false)
	w.Resize(a.size())
	a.focus = w.Canvas().Focus
	return a
}

// armed is a question with the window's focus for long enough.
func armed(t *testing.T, q face.Question) *asked {
	a := ask(t, q)
	a.arm.focus(true, a.time)
	a.time = a.time.Add(armingDelay)
	a.tick()
	return a
}

func (a *asked) press(id string) { a.find(id).TypedKey(&fyne.KeyEvent{Name: fyne.KeySpace}) }

func TestAnswers(t *testing.T) {
	client := question(face.KindClientID)
	client.ClientID = " abc "
	ways := question(face.KindSignIn)
	ways.SignIn, ways.Via, ways.Vias = true, face.ViaBrowser, []string{face.ViaBrowser, face.ViaDevice}
	several := question(face.KindSignIn)
	several.Issuers = []string{several.Issuer, "https://two.example"}
	all := []string{"issues:read", "issues:write", offlineAccess}
	tests := map[string]struct {
		q     face.Question
		press []string
		want  face.Answer
	}{
		"deny":              {consent(), []string{"deny"}, face.Answer{Answered: true}},
		"wrong account":     {consent(), []string{"deny-more", "wrong-account"}, face.Answer{Answered: true, WrongAccount: true}},
		"did not start it":  {consent(), []string{"deny-more", "pause"}, face.Answer{Answered: true, Pause: true}},
		"once":              {consent(), []string{"allow"}, face.Answer{Answered: true, Allow: true, Mode: localapi.ModeOnce, Scopes: all}},
		"while it runs":     {consent(), []string{"allow-more", "allow-running"}, face.Answer{Answered: true, Allow: true, Mode: localapi.ModeRunning, Scopes: all}},
		"for an hour":       {consent(), []string{"allow-more", "allow-hour"}, face.Answer{Answered: true, Allow: true, Mode: localapi.ModeHour, Scopes: all}},
		"always":            {consent(), []string{"allow-more", "allow-always"}, face.Answer{Answered: true, Allow: true, Mode: localapi.ModeAlways, Scopes: all}},
		"fewer scopes":      {consent(), []string{"scope-1", "scope-3", "allow"}, face.Answer{Answered: true, Allow: true, Mode: localapi.ModeOnce, Scopes: []string{"issues:read"}}},
		"more scopes":       {consent(), []string{"scope-2", "allow"}, face.Answer{Answered: true, Allow: true, Mode: localapi.ModeOnce, Scopes: []string{"issues:read", "issues:write", "profile", offlineAccess}}},
		"required stays":    {consent(), []string{"scope-0", "allow"}, face.Answer{Answered: true, Allow: true, Mode: localapi.ModeOnce, Scopes: all}},
		"details, then yes": {consent(), []string{"details", "details", "allow"}, face.Answer{Answered: true, Allow: true, Mode: localapi.ModeOnce, Scopes: all}},
		"sign in":           {question(face.KindSignIn), []string{"allow"}, face.Answer{Answered: true, Allow: true}},
		"proposed way":      {ways, []string{"allow"}, face.Answer{Answered: true, Allow: true, Via: face.ViaBrowser}},
		"another device":    {ways, []string{"device", "allow"}, face.Answer{Answered: true, Allow: true, Via: face.ViaDevice}},
		"and back":          {ways, []string{"device", "device", "allow"}, face.Answer{Answered: true, Allow: true, Via: face.ViaBrowser}},
		"proposed issuer":   {several, []string{"issuer-0", "allow"}, face.Answer{Answered: true, Allow: true, Issuer: several.Issuer}},
		"another issuer":    {several, []string{"issuer-1", "issuer-1", "allow"}, face.Answer{Answered: true, Allow: true, Issuer: "https://two.example"}},
		"forget":            {question(face.KindForget), []string{"allow"}, face.Answer{Answered: true, Allow: true}},
		"register":          {question(face.KindRegister), []string{"allow"}, face.Answer{Answered: true, Allow: true}},
		"client ID":         {client, []string{"allow"}, face.Answer{Answered: true, Allow: true, ClientID: "abc"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := armed(t, test.q)
			for _, id := range test.press {
				a.press(id)
			}
			if len(a.answers) != 1 || !reflect.DeepEqual(a.answers[0], test.want) {
				t.Errorf("answers %+v\nwant    %+v", a.answers, test.want)
			}
		})
	}
}

func TestClientSecretGoesWithTheAnswer(t *testing.T) {
	a := armed(t, question(face.KindClientID))
	a.press("allow")
	if len(a.answers) != 0 || !a.yes[0].Disabled() {
		t.Fatalf("without a client ID: %+v", a.answers)
	}
	a.clientID.SetText("abc")
	a.secret.SetText("canary")
	a.press("allow")
	if len(a.answers) != 1 || a.answers[0].ClientSecret.Reveal() != "canary" {
		t.Errorf("answers %+v", a.answers)
	}
}

func TestNothingSaysYesBeforeItIsArmed(t *testing.T) {
	yes := []string{"allow", "allow-running", "allow-hour", "allow-always"}
	a := ask(t, consent())
	for range 30 {
		for _, id := range yes {
			a.press(id)
			a.find(id).Tapped(nil)
		}
	}
	if len(a.answers) > 0 {
		t.Fatalf("without the window's focus: %+v", a.answers)
	}
	a.arm.focus(true, a.time)
	for _, id := range yes {
		a.time = a.time.Add(200 * time.Millisecond)
		a.press(id)
	}
	if len(a.answers) > 0 {
		t.Fatalf("in the first second: %+v", a.answers)
	}
	a.press("deny")
	if len(a.answers) != 1 {
		t.Error("Deny was not live")
	}
}

// A first click can reach a window whose focus nobody told us of. It must not count, but the one a second later must.
func TestTouchWithoutKnownFocus(t *testing.T) {
	a := ask(t, consent())
	a.touched = func() { a.arm.focus(true, a.time) }
	a.press("allow")
	a.time = a.time.Add(2 * armingDelay)
	if len(a.answers) > 0 {
		t.Fatal("the first click counted")
	}
	a.press("allow")
	if len(a.answers) != 1 {
		t.Error("the later one did not")
	}
}

func TestKeys(t *testing.T) {
	for name, q := range questions() {
		t.Run(name, func(t *testing.T) {
			a := armed(t, q)
			for _, c := range a.controls {
				for _, key := range []fyne.KeyName{fyne.KeyReturn, fyne.KeyEnter, fyne.KeyY, fyne.KeyA} {
					c.TypedKey(&fyne.KeyEvent{Name: key})
				}
				c.TypedRune('y')
			}
			for _, f := range a.fields {
				f.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
			}
			if len(a.answers) > 0 {
				t.Fatalf("Enter answered: %+v", a.answers)
			}
			for _, m := range a.menus {
				if m.open() {
					t.Fatal("Enter opened a menu")
				}
			}
			for _, c := range a.controls {
				c.TypedKey(&fyne.KeyEvent{Name: fyne.KeyEscape})
			}
			for _, f := range a.fields {
				f.TypedKey(&fyne.KeyEvent{Name: fyne.KeyEscape})
			}
			if len(a.answers) != len(a.controls)+len(a.fields) {
				t.Errorf("Escape answered %d times of %d", len(a.answers), len(a.controls)+len(a.fields))
			}
			for _, answer := range a.answers {
				if answer.Answered {
					t.Errorf("Escape said %+v", answer)
				}
			}
		})
	}
}

func TestEscapeClosesAMenuFirst(t *testing.T) {
	a := armed(t, consent())
	a.press("allow-more")
	a.find("allow-always").TypedKey(&fyne.KeyEvent{Name: fyne.KeyEscape})
	if len(a.answers) > 0 || a.menus[1].open() {
		t.Errorf("answers %+v, menu open %v", a.answers, a.menus[1].open())
	}
}

func TestTabOrderEndsAtTheButtons(t *testing.T) {
	inVariant(t, theme.VariantLight)
	_, w := showQuestion(t, consent())
	var order []string
	w.Canvas().Unfocus()
	for {
		w.Canvas().FocusNext()
		id := idOf(w.Canvas().Focused())
		if slices.Contains(order, id) {
			break
		}
		order = append(order, id)
	}
	want := []string{"scope-1", "scope-2", "scope-3", "details", "deny", "deny-more", "allow", "allow-more"}
	if !slices.Equal(order, want) {
		t.Errorf("order %q\nwant  %q", order, want)
	}
}

func TestOnlyOfferedModesAreShown(t *testing.T) {
	q := consent()
	q.Modes = []string{localapi.ModeOnce}
	for _, c := range ask(t, q).controls {
		if strings.HasPrefix(c.id, "allow-") {
			t.Errorf("%s is shown", c.id)
		}
	}
}

func TestAllAndNoneLeaveRequiredScopes(t *testing.T) {
	q := consent()
	for i := range 200 {
		q.Scopes = append(q.Scopes, face.Scope{Name: fmt.Sprint("scope ", i), New: true})
	}
	a := armed(t, q)
	a.press("none")
	if got := a.checked(); !slices.Equal(got, []string{"issues:read"}) {
		t.Errorf("none: %q", got)
	}
	a.press("all")
	if got := len(a.checked()); got != 204 {
		t.Errorf("all: %d", got)
	}
}

func TestNoScopeTickedSaysWhyThereIsNoYes(t *testing.T) {
	q := consent()
	q.Scopes = []face.Scope{{Name: "a", Checked: true}}
	a := armed(t, q)
	a.press("scope-0")
	a.press("allow")
	if len(a.answers) > 0 || !a.yes[0].Disabled() || !strings.Contains(a.status.String(), "tick at least one") {
		t.Errorf("answers %+v, status %q", a.answers, a.status)
	}
	a.press("scope-0")
	a.press("allow")
	if len(a.answers) != 1 {
		t.Error("after ticking it again there is no yes")
	}
}

func TestStatusLine(t *testing.T) {
	a := ask(t, consent())
	a.later = 3
	a.tick()
	for _, want := range []string{"1:47 left", "3 more waiting", "click into this window"} {
		if !strings.Contains(a.status.String(), want) {
			t.Errorf("%q lacks %q", a.status, want)
		}
	}
	a.time = a.time.Add(time.Hour)
	a.tick()
	if !strings.Contains(a.status.String(), "0:00 left") {
		t.Errorf("after the deadline: %q", a.status)
	}
}

// hostile are questions whose texts were made to break the window.
func hostile() map[string]face.Question {
	long := strings.Repeat("w", 300)
	manyScopes, longAll, emptyAll := consent(), consent(), face.Question{Kind: face.KindConsent, Modes: []string{localapi.ModeOnce}}
	for i := range 200 {
		manyScopes.Scopes = append(manyScopes.Scopes, face.Scope{Name: fmt.Sprint(long, i), New: true, Required: i%2 == 0})
	}
	longAll.Host = peer.Host{Name: long, Facts: long + "/" + long, Key: long, Process: peer.Process{PID: 1 << 22, Exe: "/" + long,
		Args: slices.Repeat([]string{long}, 30)}, Chain: slices.Repeat([]peer.Process{{PID: 1, Exe: long}}, 12)}
	longAll.ClientName, longAll.ServerName, longAll.Account, longAll.Reason, longAll.Why = long, long, long, long, long
	longAll.Server = "https://" + strings.Repeat("sub.", 60) + "example.com/" + long + "?" + long
	longAll.Resource, longAll.Issuer = longAll.Server+"/r", "https://user@xn--"+long+".example"
	longAll.Scopes = []face.Scope{{Name: ""}, {Name: strings.Repeat("a b ", 90)}, {Name: long, Required: true, New: true}}
	longAll.Notes = []string{long, "line\nbreak\tand tab"}
	return map[string]face.Question{"200 scopes": manyScopes, "long": longAll, "empty": emptyAll,
		"no URL": {Kind: face.KindConsent, Server: "%zz", Issuer: "://", Resource: "\x00", Modes: []string{"other mode"}}}
}

func TestHostileTextStaysInsideTheWindow(t *testing.T) {
	for name, q := range hostile() {
		kinds := []string{face.KindConsent, face.KindSignIn, face.KindForget, face.KindRegister, face.KindClientID}
		if len(q.Scopes) > 100 {
			kinds = kinds[:1]
		}
		for _, kind := range kinds {
			t.Run(name+" "+kind, func(t *testing.T) {
				q.Kind = kind
				a := ask(t, q)
				a.press("details")
				size := a.size()
				if size.Height > windowMost {
					t.Errorf("height %v", size.Height)
				}
				if min := a.content.MinSize(); min.Height > 600 || min.Width > questionWidth {
					t.Errorf("cannot be made smaller than %v", min)
				}
				at := fyne.CurrentApp().Driver().AbsolutePositionForObject(a.deny)
				if at.Y+a.deny.Size().Height > size.Height || at.X < 0 {
					t.Errorf("Deny is at %v of %v", at, size)
				}
				eachText(a.content, fyne.Position{}, func(text *canvas.Text, at fyne.Position) {
					if right := at.X + text.MinSize().Width; right > size.Width+1 || at.X < 0 {
						t.Errorf("%q reaches from %v to %v of %v", text.Text, at.X, right, size.Width)
					}
				})
			})
		}
	}
}

// eachText walks what is visible.
func eachText(o fyne.CanvasObject, at fyne.Position, do func(*canvas.Text, fyne.Position)) {
	if !o.Visible() {
		return
	}
	at = at.Add(o.Position())
	var children []fyne.CanvasObject
	switch o := o.(type) {
	case *canvas.Text:
		do(o, at)
	case *fyne.Container:
		children = o.Objects
	case *field: // scrolls its text itself
	case fyne.Widget:
		children = test.WidgetRenderer(o).Objects()
	}
	for _, child := range children {
		eachText(child, at, do)
	}
}
