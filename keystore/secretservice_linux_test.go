//go:build e2e

package keystore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	ss "github.com/zalando/go-keyring/secret_service"
)

// secretService is a keychain on a bus that misbehaves on demand, as no real one does.
type secretService struct {
	conn *dbus.Conn

	mu    sync.Mutex
	items map[string]ss.Secret // by the name in the item's attributes
	then  func()               // what the prompt is for
	shown int                  // prompts so far
	behaviour
}

type behaviour struct {
	locked bool
	guards bool        // each item is locked too, for each client anew, as KeePassXC can be told to
	asks   bool        // creating an item takes a prompt
	prompt func() bool // what comes of a prompt: true, it was answered; nil: nobody ever answers
	noise  bool        // another signal comes instead of the prompt's
}

func (s *secretService) behave(b behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour = b
}

func (s *secretService) prompts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown
}

const promptPath, sessionPath = "/org/freedesktop/secrets/prompt/p1", "/org/freedesktop/secrets/session/s1"

func newSecretService(t *testing.T, d *desktop) *secretService {
	t.Helper()
	s := &secretService{conn: d.conn, items: make(map[string]ss.Secret)}
	collection := dbus.ObjectPath(loginCollection)
	s.export(t, secretsPath, secretsService, map[string]any{
		"OpenSession": func(string, dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
			return dbus.MakeVariant(""), sessionPath, nil
		},
		"Unlock":    s.unlock,
		"ReadAlias": func(string) (dbus.ObjectPath, *dbus.Error) { return collection, nil },
	})
	s.properties(t, secretsPath, func() any { return []dbus.ObjectPath{collection} })
	s.export(t, sessionPath, "org.freedesktop.Secret.Session", map[string]any{"Close": func() *dbus.Error { return nil }})
	s.export(t, collection, "org.freedesktop.Secret.Collection", map[string]any{"CreateItem": s.create, "SearchItems": s.search})
	s.properties(t, collection, func() any {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.locked
	})
	s.export(t, promptPath, "org.freedesktop.Secret.Prompt", map[string]any{"Prompt": s.show})
	reply, err := s.conn.RequestName(secretsName, dbus.NameFlagDoNotQueue)
	if err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("own the name: %v, %v", reply, err)
	}
	return s
}

func (s *secretService) export(t *testing.T, path dbus.ObjectPath, iface string, methods map[string]any) {
	t.Helper()
	if err := s.conn.ExportMethodTable(methods, path, iface); err != nil {
		t.Fatal(err)
	}
}

// properties gives an object one property, whatever its name.
func (s *secretService) properties(t *testing.T, path dbus.ObjectPath, value func() any) {
	t.Helper()
	s.export(t, path, "org.freedesktop.DBus.Properties", map[string]any{
		"Get": func(string, string) (dbus.Variant, *dbus.Error) { return dbus.MakeVariant(value()), nil },
	})
}

func (s *secretService) unlock(objects []dbus.ObjectPath) ([]dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.locked {
		return objects, "/", nil
	}
	s.then = func() { s.locked = false }
	return nil, promptPath, nil
}

func (s *secretService) create(properties map[string]dbus.Variant, secret ss.Secret, _ bool) (dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	attributes := properties["org.freedesktop.Secret.Item.Attributes"].Value().(map[string]string)
	keep := func() { s.items[attributes["username"]] = secret }
	if s.asks {
		s.then = keep
		return "/", promptPath, nil
	}
	keep()
	return "/", "/", nil
}

func (s *secretService) search(attributes map[string]string) ([]dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := attributes["username"]
	secret, ok := s.items[name]
	if !ok {
		return nil, nil
	}
	path := dbus.ObjectPath(loginCollection + "/" + name)
	guarded := dbus.MakeVariant(s.guards)
	s.conn.ExportMethodTable(map[string]any{
		"GetSecret": func(dbus.ObjectPath) (ss.Secret, *dbus.Error) { return secret, nil },
	}, path, "org.freedesktop.Secret.Item")
	s.conn.ExportMethodTable(map[string]any{
		"Get": func(string, string) (dbus.Variant, *dbus.Error) { return guarded, nil },
	}, path, "org.freedesktop.DBus.Properties")
	return []dbus.ObjectPath{path}, nil
}

func (s *secretService) show(string) *dbus.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown++
	if s.noise {
		s.conn.Emit(promptPath, "org.freedesktop.Secret.Prompt.Noise")
		return nil
	}
	if s.prompt == nil {
		return nil
	}
	answered := s.prompt()
	unlocked := []dbus.ObjectPath{}
	if answered {
		s.then()
		unlocked = []dbus.ObjectPath{loginCollection}
	}
	s.conn.Emit(promptPath, "org.freedesktop.Secret.Prompt.Completed", !answered, dbus.MakeVariant(unlocked))
	return nil
}

func yes() bool { return true }
func no() bool  { return false }

// go-keyring alone says yes to each of these saves.
func TestPromptsThatStoreNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		prompt func() bool
		noise  bool
	}{
		{"dismissed", no, false},
		{"another signal instead of an answer", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesktop(t, false)
			s := newSecretService(t, d)
			ctx, k := context.Background(), d.keychain()
			mustSet(t, k, "name", []byte("old"))
			s.behave(behaviour{asks: true, prompt: c.prompt, noise: c.noise})
			mustFail(t, ErrUnavailable, "did not keep it", func() error { return k.Set(ctx, "name", []byte("new")) })
			mustHave(t, k, "name", []byte("old"))
			s.behave(behaviour{asks: true, prompt: yes})
			mustSet(t, k, "name", []byte("new"))
			mustHave(t, k, "name", []byte("new"))
		})
	}
}

func TestPromptNeverAnswered(t *testing.T) {
	d := newDesktop(t, false)
	s := newSecretService(t, d)
	k := d.keychain()
	k.cfg.deadline = time.Second
	s.behave(behaviour{asks: true})
	mustFail(t, ErrTimeout, "did not answer", func() error { return k.Set(context.Background(), "name", []byte("new")) })
}

func TestUnlockDialog(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name   string
		prompt func() bool
		reason string
	}{
		{"answered", yes, ""},
		{"dismissed", no, "stayed locked"},
		{"unanswered", nil, "nobody answered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesktop(t, false)
			s := newSecretService(t, d)
			k := d.keychain()
			k.cfg.unlockDeadline = time.Second
			mustSet(t, k, "name", []byte("value"))
			s.behave(behaviour{locked: true, prompt: c.prompt})
			mustFail(t, ErrLocked, "locked", func() error { return k.Probe(ctx) })
			mustFail(t, ErrLocked, "locked", func() error { _, err := k.Get(Quiet(ctx), "name"); return err })
			if s.prompts() != 0 {
				t.Fatal("a dialog was shown to a quiet call")
			}
			if c.reason == "" {
				k.cfg.unlockDeadline = 20 * time.Second
				mustHave(t, k, "name", []byte("value"))
			} else {
				mustFail(t, ErrLocked, c.reason, func() error { _, err := k.Get(ctx, "name"); return err })
			}
			if s.prompts() != 1 {
				t.Errorf("%d dialogs", s.prompts())
			}
		})
	}
}

// A keychain that asks about each item gets the person's time, not the machine's.
func TestGuardedItem(t *testing.T) {
	d := newDesktop(t, false)
	s := newSecretService(t, d)
	k := d.keychain()
	mustSet(t, k, "name", []byte("value"))
	s.behave(behaviour{guards: true})
	if _, err := k.Get(Quiet(context.Background()), "name"); !errors.Is(err, ErrLocked) {
		t.Errorf("quiet: %v", err)
	}
	mustHave(t, k, "name", []byte("value"))
}
