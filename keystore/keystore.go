// Package keystore keeps small secrets under a name: in the keychain of the operating system, or in memory.
//
// [Keychain] trusts nothing it was told: each call to the keychain runs in a child process that can be killed, each
// write is read back by another child, and a value too large for one keychain item is split so that a crash at any
// moment leaves the old value or the new one.
package keystore

import (
	"context"
	"errors"
	"fmt"
)

// Store keeps secrets by name. Names are short ASCII; values are any bytes up to 64 KiB.
//
// A Set that returns nil is durable: it was read back. A Set that fails leaves the earlier value readable, or, when the
// keychain took the new one too late to say so, the new one: never neither, never a mixture. Get of a name that was
// never set returns ErrNotFound; Delete of one returns nil. After a Delete that failed, Delete again also removes what
// the first one left. Every call ends by itself within the store's deadline, or earlier with ctx. Calls are safe for
// concurrent use.
//
// A name is 1 to 128 characters out of letters, digits and "._-/:@"; two names must differ in more than the case of
// their letters, because the Windows keychain does not see that.
type Store interface {
	Get(ctx context.Context, name string) ([]byte, error)
	Set(ctx context.Context, name string, value []byte) error
	Delete(ctx context.Context, name string) error
}

// The errors of a Store, to be told apart with errors.Is.
var (
	ErrNotFound    = errors.New("not in the keychain")
	ErrLocked      = errors.New("the keychain is locked")
	ErrUnavailable = errors.New("there is no keychain")
	ErrTimeout     = errors.New("the keychain did not answer in time")

	// ErrUnreadable is about one value: what is stored under its name is damaged, or a newer program wrote it. Set
	// replaces a damaged value and refuses to replace a newer one.
	ErrUnreadable = errors.New("the value in the keychain cannot be read")
)

// Error is a failure with its circumstances: Kind is one of the errors above and what errors.Is finds, Reason says in
// one sentence what is so, Hint what the person can do about it ("" when there is nothing to say). No part of it holds
// a secret.
type Error struct {
	kind   error
	reason string
	Hint   string
}

func (e *Error) Error() string { return e.reason }

// Unwrap returns Kind.
func (e *Error) Unwrap() error { return e.kind }

const (
	maxValue = 64 << 10
	maxName  = 128
)

func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("a keychain name has 1 to %d characters, this one %d", maxName, len(name))
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-', c == '/', c == ':', c == '@':
		default:
			return fmt.Errorf("a keychain name must not contain %q", c)
		}
	}
	return nil
}

func checkValue(value []byte) error {
	if len(value) > maxValue {
		return fmt.Errorf("a value in the keychain has at most %d bytes, this one %d", maxValue, len(value))
	}
	return nil
}
