//go:build e2e && linux

package e2e

import (
	"strings"
	"testing"
)

// TestThePersonLetsAHostIn goes the whole way once: question, clicks, browser, token, tool.
func TestThePersonLetsAHostIn(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.newIssuer()
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	person := d.browser()

	asked := a.vk("token", server.url, "--reason", "list your notes")
	w := d.window(titleQuestion)
	w.photo("question")
	w.click(spotAllowOnce) // too early: it gives the window the focus, and no more
	w.photo("question-arming")
	w.waitArmed(spotAllowOnceEnd)
	if !w.open() || !asked.pending() {
		t.Fatal("a click before the window was armed counted")
	}
	a.noPage()
	w.photo("question-armed")
	w.click(spotAllowMore)
	w.photo("question-menu")
	w.click(spotAlways)
	w.waitGone()

	words := person.signIn(a.page())
	person.photo("callback-page")
	if !strings.Contains(words, strings.TrimPrefix(strings.TrimSuffix(server.url, "/mcp"), "http://")) {
		t.Errorf("the page at the end does not name the server: %q", words)
	}
	server.callTool(asked.must())

	t.Run("the same host is let in again without a question", func(t *testing.T) {
		server.callTool(a.vk("token", server.url).must())
		a.noWindow()
		a.noPage()
	})
	t.Run("another host is a question but no sign-in", func(t *testing.T) {
		host := a.demoHost(server.url)
		w := d.window(titleQuestion)
		w.focus()
		w.waitArmed(spotAllowOnceEnd)
		w.photo("question-second-host")
		w.click(spotAllowOnce)
		if said := host.must(); !strings.Contains(said, "list_notes answers, for ann") {
			t.Errorf("the second host's tool call: %s", said)
		}
		a.noPage()
	})
	for _, kind := range []string{"code", "verifier", "access token", "refresh token", "registration token"} {
		if len(issuer.happened(func(e event) bool { return e.Event == "secret" && e.Kind == kind })) == 0 {
			t.Errorf("no %s is known, so none was looked for where it does not belong", kind)
		}
	}
	if n := issuer.signIns(); n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
	hosts := a.grants()[0].Consents
	if len(hosts) != 1 || hosts[0].HostName != "e2e.test" || hosts[0].Mode != "always" {
		t.Errorf("consents kept: %+v", hosts)
	}
}

func TestThePersonSaysNoByKeyboard(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.newIssuer()
	server := newMCPServer(t, issuer)
	a := d.valetkey()

	asked := a.vk("token", server.url)
	w := d.window(titleQuestion)
	w.focus()
	w.waitArmed(spotAllowOnceEnd)
	d.key("Return", "KP_Enter")
	w.photo("question-after-enter") // also a moment for what must not happen
	if !w.open() || !asked.pending() {
		t.Fatal("Enter answered the question")
	}
	d.key("space") // Deny has the focus
	asked.fails(3, "the person said no")
	w.waitGone()

	t.Run("who asks the same again is refused without a window", func(t *testing.T) {
		a.vk("token", server.url).fails(3, "the person said no to this a moment ago")
		a.noWindow()
	})
	for name, leave := range map[string]func(*window){
		"a closed window is no answer": (*window).close,
		"Escape is no answer":          func(w *window) { w.focus(); d.key("Escape") },
	} {
		t.Run(name, func(t *testing.T) {
			host := a.demoHost(server.url)
			w := d.window(titleQuestion)
			leave(w)
			host.fails(3, "the person did not answer")
			w.waitGone()
		})
	}
	a.noPage()
	if len(a.grants()) != 0 {
		t.Errorf("there is a grant now: %+v", a.grants())
	}
}

func TestThePersonClosesTheBrowserAndCancels(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	d.panel()
	issuer := d.newIssuer()
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	icon := a.icon()
	person := d.browser()

	for name, cancel := range map[string]func(){
		"in the tray": func() { icon.click("Signing in to", "Cancel") },
		"in the main window": func() {
			icon.click("Open Valet Key")
			w := d.window(titleMain)
			w.click(spotPageWaiting)
			w.photo("main-waiting")
			w.click(spotCancelSignIn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked := a.vk("token", server.url)
			a.allowAlways()
			person.openAndCloseTab(a.page())
			icon.waitFor("Signing in to")
			cancel()
			asked.fails(4, "vk signin")
		})
	}
	server.callTool(a.letIn(a.vk("token", server.url), person))
}

// TestAQuestionLeavesTheFocusWhereItIs has the person type into another window while a host asks.
func TestAQuestionLeavesTheFocusWhereItIs(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.newIssuer()
	server := newMCPServer(t, issuer)
	a := d.valetkey()
	d.start("xmessage", nil, "-title", "another program", "The person works here.")
	other := d.window("another program")
	other.focus()

	a.vk("token", server.url)
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
