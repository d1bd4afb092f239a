package oauthflow

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"slices"
	"strings"

	"github.com/pkg/browser"
	"mvdan.cc/sh/v3/shell"
)

// SplitBrowser splits a command as a shell does; "" is none. Nothing in it is run by a shell, and variables are not replaced.
func SplitBrowser(command string) (argv []string, err error) {
	if command == "" {
		return nil, nil
	}
	argv, err = shell.Fields(command, func(name string) string { return "$" + name })
	if err != nil || len(argv) == 0 {
		return nil, fmt.Errorf("--browser %q cannot be split into words", command)
	}
	return argv, nil
}

// Browser returns what opens a page with a command, the address as its last argument; without one, in the default browser. It
// may block as long as the browser lives.
func Browser(argv []string) func(ctx context.Context, url string) error {
	if argv == nil {
		// A browser's words would end up on this program's output, and in a log.
		browser.Stdout, browser.Stderr = io.Discard, io.Discard
		return func(_ context.Context, url string) error { return browser.OpenURL(url) }
	}
	return func(ctx context.Context, url string) error {
		cmd := exec.CommandContext(ctx, argv[0], append(argv[1:len(argv):len(argv)], url)...)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", argv[0], err)
		}
		return nil
	}
}

// IsClientID reports whether a URL may be a client ID: draft-ietf-oauth-client-id-metadata-document-00, section 3. A query
// is allowed there and advised against.
func IsClientID(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path == "" || u.Path == "/" || strings.ContainsAny(raw, "?#") {
		return false
	}
	segments := strings.Split(u.Path, "/")
	return !slices.Contains(segments, ".") && !slices.Contains(segments, "..")
}
