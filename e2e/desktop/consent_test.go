//go:build e2e && linux

package desktop

import (
	"strings"
	"testing"

	"github.com/valetkey/valetkey/e2e/rig"
)

// TestThePersonLetsAHostIn goes the whole way once: question, clicks, browser, token, tool.
func TestThePersonLetsAHostIn(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	person := d.Browser()

	asked := d.VK("token", server.URL, "--reason", "list your notes")
	w := d.window(titleQuestion)
	w.photo("question")
	w.click("allow") // too early: it gives the window the focus, and no more
	w.photo("question-arming")
	w.waitArmed("allow")
	if !w.open() || !asked.Running() {
		t.Fatal("a click before the window was armed counted")
	}
	a.noPage()
	w.photo("question-armed")
	w.click("allow-more")
	w.photo("question-menu")
	w.click("allow-always")
	w.waitGone()

	words := person.SignIn(a.page())
	person.Photo("callback-page")
	if !strings.Contains(words, strings.TrimPrefix(strings.TrimSuffix(server.URL, "/mcp"), "http://")) {
		t.Errorf("the page at the end does not name the server: %q", words)
	}
	server.CallTool(asked.Must())

	t.Run("the same host is let in again without a question", func(t *testing.T) {
		server.CallTool(d.VK("token", server.URL).Must())
		a.noWindow()
		a.noPage()
	})
	t.Run("another host is a question but no sign-in", func(t *testing.T) {
		host := d.demoHost(server.URL)
		w := d.window(titleQuestion)
		w.focus()
		w.waitArmed("allow")
		w.photo("question-second-host")
		w.click("allow")
		if said := host.Must(); !strings.Contains(said, "list_notes answers, for ann") {
			t.Errorf("the second host's tool call: %s", said)
		}
		a.noPage()
	})
	for _, kind := range []string{"code", "verifier", "access token", "refresh token", "registration token"} {
		if len(issuer.Happened(func(e rig.Event) bool { return e.Event == "secret" && e.Kind == kind })) == 0 {
			t.Errorf("no %s is known, so none was looked for where it does not belong", kind)
		}
	}
	if n := issuer.SignIns(); n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
	hosts := d.Grants()[0].Consents
	if len(hosts) != 1 || hosts[0].HostName != "desktop.test" || hosts[0].Mode != "always" {
		t.Errorf("consents kept: %+v", hosts)
	}
}

func TestThePersonSaysNoByKeyboard(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	a := d.valetkey()

	asked := d.VK("token", server.URL)
	w := d.window(titleQuestion)
	w.focus()
	w.waitArmed("allow")
	d.key("Return", "KP_Enter")
	w.photo("question-after-enter") // also a moment for what must not happen
	if !w.open() || !asked.Running() {
		t.Fatal("Enter answered the question")
	}
	d.key("space") // Deny has the focus
	asked.Fails(3, "the person said no")
	w.waitGone()

	t.Run("who asks the same again is refused without a window", func(t *testing.T) {
		d.VK("token", server.URL).Fails(3, "the person said no to this a moment ago")
		a.noWindow()
	})
	for name, leave := range map[string]func(*window){
		"a closed window is no answer": (*window).close,
		"Escape is no answer":          func(w *window) { w.focus(); d.key("Escape") },
	} {
		t.Run(name, func(t *testing.T) {
			host := d.demoHost(server.URL)
			w := d.window(titleQuestion)
			leave(w)
			host.Fails(3, "the person did not answer")
			w.waitGone()
		})
	}
	a.noPage()
	if len(d.Grants()) != 0 {
		t.Errorf("there is a grant now: %+v", d.Grants())
	}
}

func TestThePersonClosesTheBrowserAndCancels(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	d.panel()
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	icon := a.icon()
	person := d.Browser()

	for name, cancel := range map[string]func(){
		"in the tray": func() { icon.click("Signing in to", "Cancel") },
		"in the main window": func() {
			icon.click("Open Valet Key")
			w := d.window(titleMain)
			w.click("page-waiting")
			w.photo("main-waiting")
			w.click("cancel")
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked := d.VK("token", server.URL)
			a.allowAlways()
			person.OpenAndCloseTab(a.page())
			icon.waitFor("Signing in to")
			cancel()
			asked.Fails(4, "vk signin")
		})
	}
	server.CallTool(a.letIn(d.VK("token", server.URL), person))
}

// TestAQuestionLeavesTheFocusWhereItIs has the person type into another window while a host asks.
func TestAQuestionLeavesTheFocusWhereItIs(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	d.valetkey()
	d.Start("xmessage", "-title", "another program", "The person works here.")
	other := d.window("another program")
	other.focus()

	d.VK("token", server.URL)
	w := d.window(titleQuestion)
	w.photo("question-unfocused")
	if active := strings.TrimSpace(d.output("xdotool", "getactivewindow")); active != other.id {
		t.Fatalf("the window %s has the focus now, not the person's %s (the question is %s)", active, other.id, w.id)
	}
	d.key("space") // of a person who writes; Deny would take it
	w.photo("question-unfocused")
	if !w.open() {
		t.Error("a key meant for another window answered the question")
	}
}
