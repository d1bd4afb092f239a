package app

import (
	"fmt"
	"strings"
	"testing"

	"fyne.io/fyne/v2"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
)

// placesOf are the rectangles of the controls in a window, by name.
func placesOf(t *testing.T, b *bench, title string) map[string][4]int {
	t.Helper()
	found := map[string][4]int{}
	for line := range strings.Lines(b.places()) {
		var window, id string
		var at [4]int
		if _, err := fmt.Sscanf(line, "%q %q %d %d %d %d\n", &window, &id, &at[0], &at[1], &at[2], &at[3]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if window == title {
			found[id] = at
		}
	}
	return found
}

func TestPlacesOfAQuestion(t *testing.T) {
	b := newBench(t)
	q := ask2("a")
	b.take(face.Message{Question: &q})
	at := placesOf(t, b, "Valet Key asks")
	if at["deny"][0] >= at["allow"][0] || at["allow"][2] > questionWidth || at["allow"][1] >= at["allow"][3] {
		t.Errorf("deny and allow are at %v and %v", at["deny"], at["allow"])
	}
	if _, shown := at["allow-always"]; shown {
		t.Error("an entry of a closed menu has a place")
	}
	b.ask.view.find("allow-more").Tapped(nil)
	if entry := placesOf(t, b, "Valet Key asks")["allow-always"]; entry[3] == 0 || entry[3] > at["allow"][1] {
		t.Errorf("the entry of the open menu is at %v, above the buttons at %v", entry, at["allow"])
	}
}

func TestPlacesOfTheMainWindow(t *testing.T) {
	b := newBench(t)
	s := face.State{}
	for i := range 30 {
		s.Grants = append(s.Grants, localapi.Grant{Server: fmt.Sprintf("https://%d.example.com/mcp", i), Resource: fmt.Sprintf("https://%d.example.com/mcp", i), Issuer: "https://login.example.net"})
	}
	b.take(face.Message{State: &s})
	b.take(face.Message{Page: face.PageServers})
	forget := func(i int) string { return "forget-ask\n" + grantKey(s.Grants[i]) }
	at := placesOf(t, b, "Valet Key")
	first := at[forget(0)]
	if first[3] == 0 || at[keyQuit][3] == 0 {
		t.Errorf("the first server's button is at %v, and the one to quit at %v", first, at[keyQuit])
	}
	if _, seen := at[forget(29)]; seen {
		t.Error("a control that is scrolled out of sight has a place")
	}
	b.main.scroll.ScrollToOffset(fyne.NewPos(0, 20))
	if again := placesOf(t, b, "Valet Key")[forget(0)]; again[1] != first[1]-20 {
		t.Errorf("scrolled down by 20, what was at %v is at %v", first, again)
	}
}
