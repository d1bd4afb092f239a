package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/valetkey/valetkey/broker"
	"github.com/valetkey/valetkey/client"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/gateway"
	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/internal/owned"
	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/outbound"
	"github.com/valetkey/valetkey/peer"
	"github.com/valetkey/valetkey/windows"
)

// resident is the process that stays: broker, socket and tray. It ends with ctx, or when the person quits.
func resident(ctx context.Context, opts *options) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := peer.Harden(); err != nil {
		log.Warn("other programs of yours may be able to read this one's memory", "error", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program's own file: %w", err)
	}
	program, noWindow := windows.Find(os.Getenv, self)
	if noWindow != nil && opts.background {
		return noWindow
	}
	if opts.stateDir == "" {
		opts.stateDir = localapi.StateDir(os.Getenv)
	}
	if err := owned.Directory(opts.stateDir); err != nil {
		return hinted(fmt.Errorf("the state directory %w", err), "name another one with --state-dir")
	}
	address, err := localapi.Address()
	if err != nil {
		return err
	}
	door, err := localapi.Listen(address)
	if errors.Is(err, localapi.ErrRunning) && opts.background {
		return nil
	} else if errors.Is(err, localapi.ErrRunning) {
		return openRunning(ctx, address)
	} else if err != nil {
		return err
	}
	defer door.Close()
	store, probe, release, err := opts.store(self)
	if err != nil {
		return err
	}
	defer release()
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	leave := func() {
		if err := door.MarkQuit(); err != nil {
			log.Warn("a program may start Valet Key again", "error", err)
		}
		quit()
	}
	changed := make(bell, 1)
	screen := newScreen(opts, program, noWindow, leave, changed.ring, hosts.NewSwitches(os.Getenv, self, address), log)
	defer screen.Close()
	out := outbound.New(outbound.Config{Proxy: http.ProxyFromEnvironment, UserAgent: "valetkey/" + version})
	cfg := broker.Config{
		Store: store, Probe: probe,
		Discovery:     discovery.New(discovery.Config{HTTP: out.For, Version: version}),
		Flow:          opts.flow(screen, out, log),
		ReadAssertion: readAssertion, OnChange: changed.ring, OpenURL: opts.opener(), Windows: screen.trouble,
		Version: version, Socket: address, StateDir: opts.stateDir, Log: log,
	}
	if err := deciders(&cfg, screen, opts.policy); err != nil {
		return err
	}
	head, err := broker.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer head.Close()
	screen.head.Store(head)
	log.Info("Valet Key is running", "socket", address, "asks", cfg.Face, "version", version)

	var group errgroup.Group
	group.Go(func() error {
		defer quit() // without its socket the program is of no use
		return localapi.Serve(ctx, door, localapi.ServerConfig{
			Backend: head, MCP: gateway.New(gateway.Config{Token: head.Forward, HTTP: out.Stream, Log: log}),
			Identify: peer.New().Of, Version: version, Log: log,
		})
	})
	group.Go(func() error { follow(ctx, changed, head, screen); return nil })
	screen.Run(ctx)
	<-ctx.Done()
	return group.Wait()
}

// flow is how the person signs in: pages open as o says, and f tells them of those that do not.
func (o *options) flow(f face.Face, out *outbound.Client, log *slog.Logger) func(onPage func(oauthflow.Request, oauthflow.Page)) *oauthflow.Flow {
	return func(onPage func(oauthflow.Request, oauthflow.Page)) *oauthflow.Flow {
		return oauthflow.New(oauthflow.Config{
			HTTP: out.For, Open: o.opener(), OnPage: o.tell(onPage, f),
			Paste: func(ctx context.Context, r oauthflow.Request, take func(string) error) { f.Paste(ctx, r.Server, take) },
			OnUnopened: func(r oauthflow.Request, url string, err error) {
				log.Warn("the browser could not be opened", "error", err)
				f.ShowPage(r.Server, url, "")
			},
			Device:            o.browsesBy(browserDevice),
			ClientMetadataURL: o.clientMetadataURL,
			ClientName:        "Valet Key", SoftwareVersion: version,
		})
	}
}

func readAssertion(path string) (secret.Text, error) {
	text, _, err := client.ReadAssertion(path)
	return text, err
}

// store is where sign-ins are kept, and how to find out whether it can be used. Until release is called, no other
// Valet Key of this user can have the same: each would write over what the other had learned.
func (o *options) store(self string) (store keystore.Store, probe func(context.Context) error, release func(), err error) {
	if o.keystore == "memory" {
		return keystore.NewMemory(), nil, func() {}, nil
	}
	dir := localapi.StateDir(os.Getenv) // not --state-dir: the keychain is one for all of them
	switch release, err = keystore.Claim(dir, o.service); {
	case errors.Is(err, keystore.ErrClaimed):
		return nil, nil, nil, hinted(errors.New("another Valet Key, on another socket, uses the keychain"), "end it first, or keep this one apart with --keychain-service NAME or --keystore memory")
	case err != nil:
		return nil, nil, nil, hinted(err, "make "+dir+" writable, or use --keystore memory")
	}
	if runtime.GOOS == "linux" {
		self = "/proc/self/exe" // also after an update has put another file in its place
	}
	keychain := keystore.NewKeychain(keystore.KeychainConfig{Command: []string{self, roleKeychain}, Service: o.service})
	return keychain, keychain.Probe, release, nil
}

// bell is how the head tells that the state changed. It holds one ring, and who rings never waits.
type bell chan struct{}

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// follow redraws what shows the state after it changed. A burst of changes is drawn once.
func follow(ctx context.Context, changed bell, head *broker.Broker, s *screen) {
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return
		}
		s.draw(head)
	}
}

// openRunning is what starting the program again means: its window opens.
func openRunning(ctx context.Context, address string) error {
	client := localapi.NewClient(address)
	defer client.Close()
	if err := client.Open(ctx); err != nil {
		return hinted(fmt.Errorf("another Valet Key runs, and its window cannot be opened: %w", err), "vk status and vk list tell about it")
	}
	fmt.Println("Valet Key is already running; its window is open now.")
	return nil
}
