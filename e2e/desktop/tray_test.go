//go:build e2e && linux

package desktop

import (
	"fmt"
	"image"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/valetkey/valetkey/e2e/rig"
)

const watcherName = "org.kde.StatusNotifierWatcher"

// trayIcon is our icon as the panel knows it.
type trayIcon struct {
	a    *resident
	item dbus.BusObject
}

// icon waits until the panel has registered the icon of a.
func (a *resident) icon() *trayIcon {
	a.d.T.Helper()
	icon := &trayIcon{a: a}
	rig.Until(a.d.T, "the icon is registered with the panel", func() bool {
		icon.item = a.registered()
		return icon.item != nil
	})
	return icon
}

// registered finds the icon of a among those that the panel knows; nil: it is none of them.
func (a *resident) registered() dbus.BusObject {
	var items []string
	if property(a.d.bus.Object(watcherName, "/StatusNotifierWatcher"), watcherName+".RegisteredStatusNotifierItems", &items) != nil {
		return nil
	}
	for _, item := range items {
		name, path, _ := strings.Cut(item, "/")
		if a.d.pidOf(name) == a.Process.Process.Pid {
			return a.d.bus.Object(name, dbus.ObjectPath("/"+path))
		}
	}
	return nil
}

func property(o dbus.BusObject, name string, into any) error {
	v, err := o.GetProperty(name)
	if err != nil {
		return err
	}
	return v.Store(into)
}

// row is one line of the menu.
type row struct {
	ID       int32
	Props    map[string]dbus.Variant
	Children []dbus.Variant
}

func (r row) label() string {
	label, _ := r.Props["label"].Value().(string)
	return strings.ReplaceAll(label, "__", "_")
}

func (r row) rows(t testing.TB) (rows []row) {
	t.Helper()
	for _, v := range r.Children {
		var child row
		if err := dbus.Store([]any{v.Value()}, &child); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, child)
	}
	return rows
}

// menu reads the menu as the panel does.
func (i *trayIcon) menu() (dbus.BusObject, row) {
	t := i.a.d.T
	t.Helper()
	var path dbus.ObjectPath
	if err := property(i.item, "org.kde.StatusNotifierItem.Menu", &path); err != nil {
		t.Fatal(err)
	}
	menu := i.a.d.bus.Object(i.item.Destination(), path)
	var revision uint32
	var root row
	if err := menu.Call("com.canonical.dbusmenu.GetLayout", 0, int32(0), int32(-1), []string{}).Store(&revision, &root); err != nil {
		t.Fatal(err)
	}
	return menu, root
}

// labels are all lines of the menu, those of a submenu after a slash.
func (i *trayIcon) labels() (all []string) {
	t := i.a.d.T
	t.Helper()
	_, root := i.menu()
	for _, r := range root.rows(t) {
		all = append(all, r.label())
		for _, sub := range r.rows(t) {
			all = append(all, r.label()+"/"+sub.label())
		}
	}
	return all
}

// waitFor waits until a line of the menu begins so.
func (i *trayIcon) waitFor(begins string) {
	i.a.d.T.Helper()
	rig.Until(i.a.d.T, "the tray's menu says “"+begins+"…”", func() bool {
		for _, l := range i.labels() {
			if strings.HasPrefix(l, begins) {
				return true
			}
		}
		return false
	})
}

// click chooses a line by how it begins, and in its submenu the one named then, as the panel does.
func (i *trayIcon) click(begins string, then ...string) {
	t := i.a.d.T
	t.Helper()
	menu, r := i.menu()
	for _, want := range append([]string{begins}, then...) {
		found := false
		for _, child := range r.rows(t) {
			if strings.HasPrefix(child.label(), want) {
				r, found = child, true
				break
			}
		}
		if !found {
			t.Fatalf("the tray's menu has no line %q: %q", want, i.labels())
		}
	}
	if err := menu.Call("com.canonical.dbusmenu.Event", 0, r.ID, "clicked", dbus.MakeVariant(""), uint32(0)).Err; err != nil {
		t.Fatal(err)
	}
}

// difference is the rectangle in which two pictures of the screen differ.
func difference(a, b image.Image) (box image.Rectangle) {
	for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
		for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
			if !same(a.At(x, y), b.At(x, y)) {
				box = box.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return box
}

func TestThePersonUsesTheTray(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	d.panel()
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	before := d.look()
	a := d.valetkey()
	icon := a.icon()
	icon.waitFor("No servers yet")
	var at image.Rectangle
	rig.Until(t, "the icon is on the screen", func() bool {
		at = difference(before, d.look())
		return at.Dx() >= 12 && at.Dy() >= 12
	})

	asked := d.VK("token", server.URL)
	icon.waitFor("desktop.test asks for 127.0.0.1:")
	a.allowAlways()
	page := a.page()
	icon.waitFor("Signing in to 127.0.0.1:")
	d.Browser().SignIn(page)
	asked.Must()

	name := strings.TrimPrefix(server.URL, "http://")
	icon.waitFor(name + ": ready, token until ")
	d.must("xdotool", "mousemove", "--sync", fmt.Sprint((at.Min.X+at.Max.X)/2), fmt.Sprint((at.Min.Y+at.Max.Y)/2), "click", "1")
	rig.Until(t, "the panel shows the menu", func() bool {
		return strings.Contains(d.output("xwininfo", "-root", "-tree"), `"xfce4-panel"`) && menuOpen(before, d.look())
	})
	d.photo("tray-menu")
	d.key("Escape")

	icon.click("Open Valet Key")
	d.window(titleMain).photo("main-window")
	icon.click("Quit")
	if code := a.Wait(); code != 0 {
		t.Errorf("Quit ends it with exit code %d", code)
	}
	rig.Until(t, "the windows are gone", func() bool { return len(d.windows(titleMain)) == 0 })
}

// menuOpen tells whether something hangs from the panel.
func menuOpen(before, now image.Image) bool {
	box := difference(before, now)
	return box.Max.Y > 100
}

func TestValetKeyWorksWithoutATrayAndShowsItsIconWhenOneComes(t *testing.T) {
	d := newDesktop(t)
	d.keyring(password)
	issuer := d.Issuer()
	server := rig.NewServer(t, issuer)
	a := d.valetkey()
	if !strings.Contains(a.Said(), "there is no tray now") {
		t.Errorf("without a tray it says nothing of it:\n%s", a.Said())
	}
	server.CallTool(a.letIn(d.VK("token", server.URL), d.Browser()))

	panel := d.panel()
	a.icon().waitFor(strings.TrimPrefix(server.URL, "http://") + ": ready")
	panel.Kill()
	rig.Until(t, "the tray is gone", func() bool { return !rig.Owned(d.bus, watcherName) })
	d.VK("token", server.URL).Must()
	d.panel()
	a.icon().waitFor(strings.TrimPrefix(server.URL, "http://") + ": ready")
}
