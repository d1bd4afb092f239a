package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

const (
	startLimit  = 5 * time.Second       // for the app to answer once it was started
	startGlance = 20 * time.Millisecond // between two looks whether it does
)

const startHelp = `Starts Valet Key in the background if it isn't running, and waits until it answers. vk
looks for valetkey in its own folder, then in PATH.

On a Linux desktop, vk token, vk bridge and vk headers do this by themselves, except
after you quit Valet Key or where VK_SOCK is set. Use --no-start to prevent it.`

// startVar is set by who runs the app at an address of their own, and starts it in their own way.
const startVar = "VK_SOCK"

// mayStart reports whether the app is to be started for a host that needs it.
func mayStart(getenv func(string) string) bool {
	return getenv(startVar) == "" && sessionHere(getenv) == nil
}

// startApart has another vk start the app. That one ends, and the app is then nobody's child: a host that ends ends
// what it started, and would find the app below the vk that it runs.
func startApart(addr string) error {
	if localapi.WasQuit(addr) {
		return localapi.NotRunning("you quit it")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit+time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "start")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		words, hint, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		e := localapi.NotRunning(err.Error())
		if words != "" {
			e.Message = strings.TrimPrefix(words, "vk: ")
		}
		if hint != "" {
			e.Hint = strings.TrimSpace(hint)
		}
		return e
	}
	return nil
}

type start struct{ *program }

func newStart(p *program) *cobra.Command {
	return verb("start", "start Valet Key if it isn't running", startHelp, 0, 0, start{p}.run)
}

func (v start) run(ctx context.Context, _ []string) error {
	addr, err := v.address()
	if err != nil {
		return err
	}
	switch answers, err := appAnswers(ctx, addr); {
	case answers:
		return v.print("Valet Key is already running\n")
	case err != nil:
		return err
	}
	if err := sessionHere(os.Getenv); err != nil {
		return localapi.Errorf(localapi.ErrUnavailable, "vk can't start Valet Key here: %v", err).WithHint("start valetkey yourself; valetkey --headless asks in a terminal")
	}
	app, err := appProgram()
	if err != nil {
		return err
	}
	if err := launch(ctx, app, addr); err != nil {
		return err
	}
	return v.print("Valet Key is running\n")
}

// appAnswers looks once whether the app answers. An app that is not there, or not yet, is no error.
func appAnswers(ctx context.Context, addr string) (bool, error) {
	c := localapi.NewClient(addr)
	c.Wait = 0
	defer c.Close()
	_, err := c.Status(ctx)
	if errors.Is(err, localapi.ErrNotRunning) {
		return false, nil
	}
	return err == nil, err
}

// appProgram is the app's executable: the one beside vk, else the one in PATH.
func appProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if beside := filepath.Join(filepath.Dir(self), "valetkey"); canRun(hosts.Env{}, beside) {
		return beside, nil
	}
	if named := hosts.Which("valetkey"); named != "" {
		return named, nil
	}
	return "", localapi.Errorf(localapi.ErrUnavailable, "Valet Key is not running, and there is no valetkey beside vk or in PATH").WithHint("install it there, or start it yourself")
}

// launch starts the app, with nothing of ours but a part of the environment, and waits until it answers.
func launch(ctx context.Context, app, addr string) error {
	cmd := exec.Command(app, "--background")
	cmd.Env, cmd.Dir = appEnv(os.Environ()), string(filepath.Separator)
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return localapi.Errorf(localapi.ErrUnavailable, "Valet Key couldn't be started: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if answers, err := appAnswers(ctx, addr); answers || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case err := <-ended: // nil: another one was faster, and is about to answer
			if err != nil {
				return localapi.Errorf(localapi.ErrUnavailable, "Valet Key started but ended at once: %v", err).WithHint("to see why, run in a terminal: %s", app)
			}
		case <-time.After(startGlance):
		case <-ctx.Done():
			return localapi.Errorf(localapi.ErrUnavailable, "Valet Key started but didn't answer within %s", words(startLimit)).WithHint("try again in a moment; to see what it says, run in a terminal: %s", app)
		}
	}
}

// kept are the variables that the app gets: where it is and how it is shown, not what a host keeps in its own. A star
// stands for the rest of a name.
var kept = []string{
	"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", startVar,
	"DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_*", "DBUS_SESSION_BUS_ADDRESS", "DESKTOP_SESSION", "GNOME_*", "KDE_*", "GSETTINGS_*", "FYNE_*", "NO_AT_BRIDGE",
	"BROWSER", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
}

func appEnv(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return !slices.ContainsFunc(kept, func(k string) bool {
			stem, open := strings.CutSuffix(k, "*")
			return name == k || open && strings.HasPrefix(name, stem)
		})
	})
}
