package client

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valetkey/valetkey/internal/secret"
)

// file is a file that only the person can change or read, whatever the umask is.
func file(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSecretFile(t *testing.T) {
	for content, good := range map[string]bool{
		"s": true, "s\n": true, "s\r\n": true, "a b": true, "": false, "\n": false, "a\nb": false, "ä": false, "\x00": false,
		strings.Repeat("x", MaxText): true, strings.Repeat("x", MaxText+1): false, strings.Repeat("\n", 4097): false,
	} {
		s, _, err := ReadSecret(file(t, content))
		if good != (err == nil) || good && s.Reveal() != strings.TrimRight(content, "\r\n") {
			t.Errorf("%.20q: %v", content, err)
		}
		if err != nil && content != "" && len(content) > 2 && strings.Contains(err.Error(), content) {
			t.Errorf("the error quotes the secret: %v", err)
		}
	}
}

// jwtFile is what a platform writes: a JWT about subject.
func jwtFile(subject string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(`{"sub":"`+subject+`"}`)) + "." + encode([]byte("sig")) + "\n"
}

// Only what has the form of a JWT leaves a file by this door: no key, no password, no other token.
func TestReadAssertion(t *testing.T) {
	for content, good := range map[string]bool{
		jwtFile("one"):                    true,
		strings.TrimSpace(jwtFile("one")): true,
		"":                                false,
		"canary":                          false,
		"canary.canary.canary":            false,
		"e30.e30.c2ln.c2ln":               false,
		"e30.ImNhbmFyeSI.c2ln":            false, // a string, and no claims
		"e30.e30.canary canary":           false,
		jwtFile("one") + jwtFile("two"):   false,
		"-----BEGIN PRIVATE KEY-----\nMAA=\n----": false,
	} {
		text, _, err := ReadAssertion(file(t, content))
		if good != (err == nil) || good && text.Reveal() != strings.TrimSpace(content) || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%.30q: %v", content, err)
		}
	}
}

// TestOneRuleForFiles: whoever names a file, the same is asked of it. What others read is no secret, and what they change says nothing.
func TestOneRuleForFiles(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"
	for name, kind := range map[string]struct {
		content string
		read    func(string) (secret.Text, os.FileInfo, error)
		private bool
	}{
		"secret":    {"s", ReadSecret, true},
		"key":       {key, ReadKey, true},
		"assertion": {jwtFile("one"), ReadAssertion, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, kind.content)
			for _, test := range []struct {
				mode os.FileMode
				good bool
			}{{0o600, true}, {0o400, true}, {0o640, !kind.private}, {0o644, !kind.private}, {0o620, false}, {0o602, false}} {
				if err := os.Chmod(path, test.mode); err != nil {
					t.Fatal(err)
				}
				if _, _, err := kind.read(path); test.good != (err == nil) {
					t.Errorf("mode %o: %v", test.mode, err)
				}
			}
			if err := os.Chmod(filepath.Dir(path), 0o770); err != nil {
				t.Fatal(err)
			}
			if _, _, err := kind.read(path); err == nil {
				t.Error("read where others can put another file in its place")
			}
		})
	}
	for content, good := range map[string]bool{key: true, "": false, "-----BEGIN ": false, "canary": false, strings.Repeat("x", 16<<10) + key: false} {
		if _, _, err := ReadKey(file(t, content)); good != (err == nil) || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("key %.20q: %v", content, err)
		}
	}
}
