package keystore

import (
	"context"
	"errors"

	"golang.org/x/sys/windows"
)

const (
	itemLimit       = 2560 // CRED_MAX_CREDENTIAL_BLOB_SIZE
	asksUnannounced = false
	unlockHint      = "sign in to Windows and try again"
)

func explain(_ context.Context, _ func(string) string, _ request, err error) error {
	if errors.Is(err, windows.ERROR_NO_SUCH_LOGON_SESSION) {
		return &Error{kind: ErrUnavailable, reason: "this logon session has no Credential Manager",
			Hint: "run in a session with a password sign-in, or with --keystore memory, which forgets all sign-ins when it stops"}
	}
	return refused(err)
}
