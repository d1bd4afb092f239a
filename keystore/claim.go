package keystore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// ErrClaimed says that another process uses the same items.
var ErrClaimed = errors.New("another process uses these items")

// Claim keeps every other process that claims them from the keychain's items of a service, until release is called: each would
// write over what the other had learned. dir holds a lock file for that; it is made if need be.
func Claim(dir, service string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the directory for the keychain's lock cannot be made: %w", err)
	}
	lock := flock.New(filepath.Join(dir, service+".lock"), flock.SetPermissions(0o600))
	switch mine, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("the keychain's lock cannot be taken: %w", err)
	case !mine:
		return nil, ErrClaimed
	}
	return func() { lock.Close() }, nil
}
