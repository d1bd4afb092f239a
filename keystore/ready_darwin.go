package keystore

import (
	"context"
	"errors"
	"os/exec"
)

const (
	// go-keyring hands `security` one line of at most 4,096 bytes: our text once more in base64, the names and the words
	// of the command. 2,560 bytes of text with the longest names make about 3,700.
	itemLimit = 2560

	// Whether a call makes macOS ask the person shows only when it has happened.
	asksUnannounced = true

	unlockHint = "unlock the login keychain and try again"
)

// explain reads the exit status of /usr/bin/security: the low byte of an OSStatus of <Security/SecBase.h>.
func explain(_ context.Context, _ func(string) string, _ request, err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return refused(err)
	}
	switch exit.ExitCode() {
	case 36: // errSecInteractionNotAllowed, -25308: no display to ask on, as over SSH
		return &Error{kind: ErrLocked, reason: "the keychain is locked and cannot ask for its password in this session", Hint: unlockHint}
	case 51, 128: // errSecAuthFailed, -25293; userCanceledErr, -128
		return &Error{kind: ErrLocked, reason: "the keychain stayed locked: its dialog was dismissed or answered wrongly", Hint: unlockHint}
	case 37, 50: // errSecNoDefaultKeychain, -25307; errSecNoSuchKeychain, -25294
		return &Error{kind: ErrUnavailable, reason: "this account has no default keychain",
			Hint: "create one in Keychain Access, or run with --keystore memory, which forgets all sign-ins when it stops"}
	}
	return refused(err)
}
