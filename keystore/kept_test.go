package keystore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What an earlier program laid out in a keychain is read by every later one: testdata/kept/README.md says what lies there.

var keep = flag.String("keep", "", "write how this program lays values out to a new file of that name in testdata/kept")

// kept is a golden file.
type kept struct {
	Values map[string]string `json:"values"` // what was set last, by name
	Items  map[string]string `json:"items"`  // what that made of the keychain
}

// TestKeep writes a golden file, with -keep, as on Windows and macOS, where items are small. A file that is there is never
// written again.
func TestKeep(t *testing.T) {
	if *keep == "" {
		t.Skip("no -keep")
	}
	r := &ring{items: map[string]string{}}
	k := r.keychain()
	k.limit = 2560
	large := func(n int, words string) string { return strings.Repeat(words, n/len(words)) }
	values := map[string]string{}
	set := func(name, value string) {
		mustSet(t, k, name, []byte(value))
		values[name] = value
	}
	set("empty", "")
	set("small", `{"v":1,"fake":"value"}`)
	set("large", large(5000, "fake value of the first generation. "))
	set("larger", large(3000, "fake value of the first generation. "))
	set("larger", large(6000, "fake value of the second generation. "))
	set("largest", large(9000, "fake value of many pieces. "))
	set("shrunk", large(3000, "fake value of the first generation. "))
	set("shrunk", "fake value that fits now")
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "\t")
	if err := e.Encode(kept{values, r.items}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "kept", *keep+".json")
	if _, err := os.Stat(path); err == nil {
		t.Fatalf("%s is there", path)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestKeptIsRead: through real children, values that were laid out in small items are read, replaced and deleted, whole
// and with nothing left over, also where items may be large.
func TestKeptIsRead(t *testing.T) {
	ctx := context.Background()
	paths, err := filepath.Glob("testdata/kept/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("nothing is kept: %v", err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var was kept
		if err := json.Unmarshal(content, &was); err != nil {
			t.Fatal(err)
		}
		lay := func(t *testing.T) (dir string, k *Keychain) {
			dir = t.TempDir()
			for item, text := range was.Items {
				if _, err := files(dir).do(ctx, request{Op: opSet, Service: "valetkey", Item: item, Text: text}); err != nil {
					t.Fatal(err)
				}
			}
			return dir, NewKeychain(KeychainConfig{Command: child("files", dir)})
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			dir, k := lay(t)
			for name, value := range was.Values {
				mustHave(t, k, name, []byte(value))
				if name == "small" {
					continue
				}
				mustSet(t, k, name, []byte("another fake value"))
				mustHave(t, NewKeychain(KeychainConfig{Command: child("files", dir)}), name, []byte("another fake value"))
				if err := k.Delete(ctx, name); err != nil {
					t.Errorf("delete %s: %v", name, err)
				}
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("%d items are left, want that of the value that was not touched; %v", len(left), err)
			}
		})
		t.Run(filepath.Base(path)+", newer", func(t *testing.T) {
			for item, text := range was.Items {
				if !strings.Contains(item, "#") {
					was.Items[item] = strings.Replace(text, `{"v":1,`, `{"v":2,"unheard_of":[1],`, 1)
				}
			}
			dir, k := lay(t)
			for name := range was.Values {
				if _, err := k.Get(ctx, name); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "newer Valet Key") {
					t.Errorf("get %s: %v", name, err)
				}
				if err := k.Set(ctx, name, []byte("x")); !errors.Is(err, ErrUnreadable) {
					t.Errorf("set %s: %v", name, err)
				}
				if err := k.Delete(ctx, name); !errors.Is(err, ErrUnreadable) {
					t.Errorf("delete %s: %v", name, err)
				}
			}
			for item, text := range was.Items {
				if now, err := files(dir).do(ctx, request{Op: opGet, Service: "valetkey", Item: item}); err != nil || now != text {
					t.Errorf("%s became %q, %v", item, now, err)
				}
			}
		})
	}
}
