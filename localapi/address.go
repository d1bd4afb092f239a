package localapi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// addressVar moves the socket, for the app and for its clients.
const addressVar = "VK_SOCK"

// Address is where the app listens and where clients find it: VK_SOCK, else
//
//   - Linux: $XDG_RUNTIME_DIR/valetkey/agent.sock, else /run/user/UID/valetkey/agent.sock where /run/user/UID exists
//     (some hosts clear the environment of what they start), else ~/.local/state/valetkey/run/agent.sock
//   - macOS: ~/Library/Caches/valetkey/agent.sock, or where that is too long $TMPDIR/valetkey-UID/agent.sock
//   - Windows: \\.\pipe\valetkey.HASH, the first 16 hex digits of the SHA-256 of the user's SID
//
// The error is an *Error of kind ErrBadRequest: the environment gives no usable address.
func Address() (string, error) { return systemAddress(os.Getenv) }

// StateDir is where what is kept between runs lies, unless the person says otherwise; it may not be there yet.
func StateDir(getenv func(string) string) string {
	home := getenv("HOME")
	switch runtime.GOOS {
	case "windows":
		return filepath.Join(getenv("LocalAppData"), "Valet Key")
	case "darwin":
		return filepath.Join(home, "Library", "Application Support", "Valet Key")
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "valetkey")
	}
	return filepath.Join(home, ".local", "state", "valetkey")
}

// Room for a path in sockaddr_un, less the NUL that ends it.
const (
	linuxPathLimit  = 108 - 1
	darwinPathLimit = 104 - 1
)

// linuxAddress is Address on Linux as a function of what it depends on.
func linuxAddress(getenv func(string) string, uid int, isDir func(string) bool) (string, error) {
	if moved := getenv(addressVar); moved != "" {
		return socketPath(addressVar, moved, linuxPathLimit)
	}
	// The XDG base directory specification tells us to ignore a relative path.
	if dir := getenv("XDG_RUNTIME_DIR"); path.IsAbs(dir) {
		return socketPath("XDG_RUNTIME_DIR", path.Join(dir, "valetkey/agent.sock"), linuxPathLimit)
	}
	if dir := fmt.Sprintf("/run/user/%d", uid); isDir(dir) {
		return socketPath("uid", dir+"/valetkey/agent.sock", linuxPathLimit)
	}
	home, err := homeDir(getenv)
	if err != nil {
		return "", err
	}
	return socketPath("HOME", path.Join(home, ".local/state/valetkey/run/agent.sock"), linuxPathLimit)
}

// darwinAddress is Address on macOS as a function of what it depends on.
func darwinAddress(getenv func(string) string, uid int) (string, error) {
	if moved := getenv(addressVar); moved != "" {
		return socketPath(addressVar, moved, darwinPathLimit)
	}
	home, err := homeDir(getenv)
	if err != nil {
		return "", err
	}
	if addr := path.Join(home, "Library/Caches/valetkey/agent.sock"); len(addr) <= darwinPathLimit {
		return addr, nil
	}
	tmp := getenv("TMPDIR")
	if !path.IsAbs(tmp) {
		tmp = "/tmp"
	}
	return socketPath("TMPDIR", path.Join(tmp, fmt.Sprintf("valetkey-%d/agent.sock", uid)), darwinPathLimit)
}

const pipePrefix = `\\.\pipe\`

// windowsAddress is Address on Windows as a function of what it depends on. The SID is hashed because pipe names can
// be listed by everyone.
func windowsAddress(getenv func(string) string, sid string) (string, error) {
	if moved := getenv(addressVar); moved != "" {
		if name, ok := strings.CutPrefix(moved, pipePrefix); !ok || name == "" || strings.Contains(name, `\`) || len(moved) > 256 {
			return "", Errorf(ErrBadRequest, "%s is not the name of a pipe: %s", addressVar, moved).
				WithHint(`write it as %sNAME`, pipePrefix)
		}
		return moved, nil
	}
	sum := sha256.Sum256([]byte(sid))
	return pipePrefix + "valetkey." + hex.EncodeToString(sum[:8]), nil
}

// socketPath returns addr, made of the variable origin, if a socket can have it.
func socketPath(origin, addr string, limit int) (string, error) {
	switch {
	case !path.IsAbs(addr):
		return "", Errorf(ErrBadRequest, "%s is not an absolute path: %s", origin, addr).WithHint("write it from the root: /…/agent.sock")
	case strings.ContainsRune(addr, 0):
		return "", Errorf(ErrBadRequest, "%s holds a NUL character", origin)
	case len(addr) > limit:
		return "", Errorf(ErrBadRequest, "the path of the socket is %d bytes long, and this system allows %d: %s", len(addr), limit, addr).
			WithHint("set %s to a shorter path", addressVar)
	}
	return path.Clean(addr), nil
}

func homeDir(getenv func(string) string) (string, error) {
	home := getenv("HOME")
	if !path.IsAbs(home) {
		return "", Errorf(ErrBadRequest, "HOME is not set to an absolute path, so the socket has no address").
			WithHint("set HOME, or set %s to the path of the socket", addressVar)
	}
	return home, nil
}
