package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valetkey/valetkey/internal/demo"
	"github.com/valetkey/valetkey/localapi"
)

// world is what the figures are measured in: a folder of its own, the programs that make built, the floors, and a demo
// issuer with its servers in this process.
type world struct {
	dir  string
	self string // this program; the host that vk is started by
	host string // a copy of it: the host that asks over the socket itself

	quick bool // each figure is taken once

	refreshes atomic.Int64 // refresh requests that reached an issuer
	closers   []func() error

	socket, echo string    // where valetkey and the floor beside it listen
	app          int       // valetkey's process
	resource     string    // a server whose token lives long
	streams      string    // a server that streams
	remote       string    // a server in a process of its own
	brief        []string  // servers whose tokens live for briefTTL
	expired      time.Time // when the tokens of those have run out
	rest         rest
}

// briefTTL is how long a token lives whose expiry is waited for.
const briefTTL = 12 * time.Second

// crowds is how many times a crowd asks, each time for another server.
const crowds = 3

func newWorld(quick bool) (*world, error) {
	for _, name := range []string{"valetkey", "valetkey-window", "vk", "vkdemo"} {
		if _, err := os.Stat(filepath.Join("bin", name)); err != nil {
			return nil, fmt.Errorf("%w (make bench builds and runs everything)", err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "vkbench")
	if err != nil {
		return nil, err
	}
	w := &world{self: self, quick: quick, closers: []func() error{func() error { return os.RemoveAll(dir) }}}
	if w.dir, err = filepath.EvalSymlinks(dir); err == nil {
		w.self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// times is n, or once if that is enough.
func (w *world) times(n int) int {
	if w.quick {
		return 1
	}
	return n
}

// close ends what was started, the last first.
func (w *world) close() (err error) {
	for i := len(w.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, w.closers[i]())
	}
	w.closers = nil
	return err
}

// build makes the floors and the host.
func (w *world) build(ctx context.Context) error {
	for _, name := range []string{"echo", "ask", "pipe", "tray/plain", "tray/linked"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", w.path(name), "./e2e/bench/testdata/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	program, err := os.ReadFile(w.self)
	if err != nil {
		return err
	}
	w.host = w.path("bench-host")
	return os.WriteFile(w.host, program, 0o755)
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// startSocket starts issuers, servers, valetkey and the floor beside it, and has somebody sign in to all servers.
func (w *world) startSocket(ctx context.Context) (err error) {
	if w.resource, err = w.serve(0, nil); err != nil {
		return err
	}
	if w.streams, err = w.serve(0, streamer); err != nil {
		return err
	}
	for range w.times(crowds) {
		resource, err := w.serve(briefTTL, nil)
		if err != nil {
			return err
		}
		w.brief = append(w.brief, resource)
	}
	if w.socket, w.app, err = w.startApp(ctx, os.Environ(), "headless", "--headless"); err != nil {
		return err
	}
	for _, resource := range append(w.brief, w.resource) {
		if _, err := w.ask(ctx, order{Do: doToken, Ours: w.socket, Resource: resource}); err != nil {
			return fmt.Errorf("sign in to %s: %w", resource, err)
		}
	}
	w.expired = time.Now().Add(briefTTL)
	return w.startEcho(ctx)
}

// serve runs an issuer and a server that trusts it, and returns the server's resource; ttl 0 is the issuer's own choice.
// What around makes of the server is what answers; nil leaves it as it is.
func (w *world) serve(ttl time.Duration, around func(http.Handler) http.Handler) (resource string, err error) {
	at := [2]net.Listener{}
	for i := range at {
		if at[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return "", err
		}
		w.closers = append(w.closers, func() error { at[i].Close(); return nil })
	}
	issuer, err := demo.NewIssuer(demo.IssuerConfig{
		ID: "http://" + at[0].Addr().String(), AccessTTL: ttl, Accounts: []string{"alice"},
		Scopes: map[string]string{demo.ScopeRead: "Read your notes", demo.ScopeWrite: "Write new notes"},
	})
	if err != nil {
		return "", err
	}
	resource = "http://" + at[1].Addr().String() + "/mcp"
	server, err := demo.NewServer(demo.ServerConfig{Resource: resource, Issuer: issuer.ID()})
	if err != nil {
		return "", err
	}
	go http.Serve(at[0], http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.ParseForm() == nil && r.PostForm.Get("grant_type") == "refresh_token" {
			w.refreshes.Add(1)
		}
		issuer.ServeHTTP(rw, r)
	}))
	if around == nil {
		around = func(h http.Handler) http.Handler { return h }
	}
	go http.Serve(at[1], around(server))
	return resource, nil
}

// allowAll is the person at valetkey's terminal: "always allow", to every question there will be.
const allowAll = "a\na\na\na\na\na\na\na\na\na\n"

// startApp starts valetkey, under a name for its files, and waits for its socket.
func (w *world) startApp(ctx context.Context, env []string, name string, args ...string) (socket string, pid int, err error) {
	dir := w.path("of-" + name)
	bin, err := filepath.Abs("bin")
	if err != nil {
		return "", 0, err
	}
	socket = filepath.Join(dir, "run", "agent.sock")
	cmd := exec.Command(filepath.Join(bin, "valetkey"), append(args, "--keystore", "memory",
		"--state-dir", filepath.Join(dir, "state"), "--browser", filepath.Join(bin, "vkdemo")+" browser --yes")...)
	cmd.Env, cmd.Stdin = append(env, "VK_SOCK="+socket), strings.NewReader(allowAll)
	if err := w.start(name, cmd); err != nil {
		return "", 0, err
	}
	client := localapi.NewClient(socket)
	defer client.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err = client.Status(ctx); err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return socket, cmd.Process.Pid, w.withLog(name, err)
		}
	}
}

// policy writes a file that allows the hosts of this program everything.
func (w *world) policy() (path string, err error) {
	path = w.path("policy.json")
	return path, os.WriteFile(path, fmt.Appendf(nil, `{"consents":[{"host":"exe:%s","resource":"*","scopes":["*"]}]}`, w.host), 0o600)
}

// startEcho starts the floor of the socket, whose answers are as long as a token's.
func (w *world) startEcho(ctx context.Context) error {
	model, err := w.ask(ctx, order{Do: doToken, Ours: w.socket, Resource: w.resource})
	if err != nil {
		return err
	}
	w.echo = w.path("echo.sock")
	cmd := exec.Command(w.path("echo"), w.echo)
	cmd.Stdin = strings.NewReader(blank(model.Answer))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := w.start("echo", cmd); err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return w.withLog("echo", err)
	}
	return nil
}

// start starts a program whose standard error is kept in case it is needed, and which ends with the world.
func (w *world) start(name string, cmd *exec.Cmd) error {
	log, err := os.Create(w.logPath(name))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	w.closers = append(w.closers, func() error {
		cmd.Process.Signal(os.Interrupt)
		patience := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		defer patience.Stop()
		cmd.Wait() // how it ended says nothing any more
		return nil
	})
	return nil
}

func (w *world) logPath(name string) string {
	return w.path(strings.ReplaceAll(name, "/", "-") + ".log")
}

// withLog adds to an error what the program said.
func (w *world) withLog(name string, err error) error {
	if err == nil {
		return nil
	}
	log, _ := os.ReadFile(w.logPath(name))
	return fmt.Errorf("%w; %s said:\n%s", err, name, log)
}

// pause waits for d, if it is not over.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
