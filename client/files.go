package client

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"strings"

	"github.com/valetkey/valetkey/internal/owned"
	"github.com/valetkey/valetkey/internal/secret"
)

// MaxText bounds a client ID and a client secret, in bytes.
const MaxText = 2048

// Text reports whether s may be a client ID or secret: *VSCHAR (RFC 6749, appendices A.1 and A.2).
func Text(s string) bool {
	return len(s) <= MaxText && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// The files that hold what a client authenticates with are read here and nowhere else, so that one rule holds for them all:
// only the person and the system can change them, nobody else can read a secret or a key, and each has the form of what
// it is to hold. No error quotes any of it. The FileInfo is that of the file which was read.

// ReadSecret reads a file that holds a client secret alone, on one line.
func ReadSecret(path string) (secret.Text, os.FileInfo, error) {
	content, info, err := owned.ReadPrivate(path, 4096)
	if err != nil {
		return secret.Text{}, nil, err
	}
	s := strings.TrimRight(string(content), "\r\n")
	if s == "" || !Text(s) {
		return secret.Text{}, nil, errors.New("it must hold the secret alone, on one line of printable ASCII")
	}
	return secret.New(s), info, nil
}

// ReadKey reads a file that holds a private key in PEM.
func ReadKey(path string) (secret.Text, os.FileInfo, error) {
	content, info, err := owned.ReadPrivate(path, 16<<10) // twice a large one
	if err != nil {
		return secret.Text{}, nil, err
	}
	if block, _ := pem.Decode(content); block == nil {
		return secret.Text{}, nil, errors.New("it must hold a private key in PEM (-----BEGIN PRIVATE KEY-----)")
	}
	return secret.New(string(content)), info, nil
}

// ReadAssertion reads a file in which the platform says who this machine or workload is, or who the person is: one JWT.
// Platforms let others read such files, so only who may change one counts. That it has the form of a JWT (RFC 7519 §3.1)
// keeps another file of the person's from being sent to an issuer by mistake.
func ReadAssertion(path string) (secret.Text, os.FileInfo, error) {
	content, info, err := owned.Read(path, 64<<10)
	if err != nil {
		return secret.Text{}, nil, err
	}
	s := strings.TrimRight(string(content), "\r\n")
	if !isJWT(s) {
		return secret.Text{}, nil, errors.New("it must hold one JWT and nothing else")
	}
	return secret.New(s), info, nil
}

func isJWT(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return false
	}
	for _, part := range parts[:2] {
		var object map[string]json.RawMessage
		if b, err := base64.RawURLEncoding.DecodeString(part); err != nil || json.Unmarshal(b, &object) != nil {
			return false
		}
	}
	_, err := base64.RawURLEncoding.DecodeString(parts[2])
	return err == nil
}
