// Package secret holds text that must not be printed by accident: refresh tokens, access tokens, client secrets.
//
// A [Text] shows as "[secret]" in every fmt verb, in slog, in JSON and in any text encoder. The one way to the value
// is [Text.Reveal], and the few files that may call it are listed in imports_test.go at the top of the module.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const hidden = "[secret]"

// Text is a secret string. The zero value is an empty secret. Compare two with [Text.Equal].
//
// The value stands behind a pointer because fmt calls no method of an unexported field: it would print the string
// itself, but prints a nested pointer as an address.
type Text struct{ value *string }

// New wraps value.
func New(value string) Text { return Text{&value} }

// Reveal returns the secret itself. Call it only where the value leaves for the party it belongs to.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// Len is the number of bytes of the secret.
func (t Text) Len() int { return len(t.Reveal()) }

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t.Len() == 0 }

// Equal reports whether both hold the same secret, in time that does not depend on where they differ.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(other.Reveal())) == 1
}

// SHA256 returns the lower-case hex SHA-256 of the secret: a name for it that can be shown and compared.
func (t Text) SHA256() string {
	sum := sha256.Sum256([]byte(t.Reveal()))
	return hex.EncodeToString(sum[:])
}

func (t Text) String() string {
	if t.Empty() {
		return ""
	}
	return hidden
}

// GoString hides the value from %#v.
func (t Text) GoString() string { return t.String() }

// Format hides the value from every verb, %x and %v alike.
func (t Text) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// LogValue hides the value from slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText hides the value from text, XML and map-key encoders.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalJSON hides the value: a type that must carry it over a wire says so with an encoder of its own.
func (t Text) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// UnmarshalJSON takes the value from a JSON string.
func (t *Text) UnmarshalJSON(b []byte) error {
	var value string
	if err := json.Unmarshal(b, &value); err != nil {
		return errors.New("a secret must be a JSON string") // the decoder's own error would quote the input
	}
	*t = New(value)
	return nil
}
