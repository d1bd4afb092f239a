package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/broker"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/terminal"
)

// TestWhoDecides: the policy file comes first, and decides alone where the face reaches nobody.
func TestWhoDecides(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	person, nobody := terminal.New(terminal.Config{In: os.Stdin, Out: io.Discard}), face.Nobody{Out: io.Discard}
	for _, test := range []struct {
		face                 face.Face
		policy               string
		name                 string
		asks, decides, alone bool
	}{
		{person, "", "terminal", true, false, false},
		{person, path, "terminal", true, true, false},
		{nobody, "", "nobody", false, false, false},
		{nobody, path, "policy", false, true, true},
	} {
		var cfg broker.Config
		if err := deciders(&cfg, test.face, test.policy); err != nil {
			t.Fatal(err)
		}
		if cfg.Face != test.name || (cfg.Ask != nil) != test.asks || (cfg.Policy != nil) != test.decides || (cfg.Clients != nil) != test.decides || (cfg.Settings != nil) != test.decides {
			t.Errorf("%s with policy %q: %+v", test.face.Name(), test.policy, cfg)
		}
		if cfg.Policy != nil {
			if _, _, decided := cfg.Policy(face.Question{Kind: face.KindForget}); decided != test.alone {
				t.Errorf("%s: what the file does not say is decided by it: %v", test.name, decided)
			}
		}
	}
	if err := deciders(&broker.Config{}, person, path+"x"); err == nil || !strings.Contains(say(err), "start without --policy") {
		t.Errorf("without its file: %v", err)
	}
}
