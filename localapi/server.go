package localapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/valetkey/valetkey/peer"
)

// ServerConfig is what Serve needs.
type ServerConfig struct {
	Backend  Backend                            // answers the calls; required
	Identify func(net.Conn) (*peer.Peer, error) // names who connected, before a byte is read; required
	MCP      http.Handler                       // answers what lies under MCPPrefix; nil: nothing does
	Version  string                             // the program's, for the Valetkey-Version header
	Log      *slog.Logger                       // nil: nothing is logged
}

// bounds are the limits of the door. Tests shorten the times; nothing else changes them.
type bounds struct {
	conns  int           // connections at once; more wait in the system's queue
	header int           // bytes of request line and headers
	body   int64         // bytes of a body
	read   time.Duration // for the headers, and again for the body
	write  time.Duration // for the answer, once it is there
	idle   time.Duration // of a connection between two requests
	drain  time.Duration // for calls in progress when Serve is told to end
}

var doorBounds = bounds{conns: 256, header: 32 << 10, body: 64 << 10, read: 10 * time.Second, write: 10 * time.Second, idle: time.Minute, drain: 3 * time.Second}

// Serve answers calls on ln until ctx ends, and returns nil then. It takes over ln as far as accepting goes, but a
// [Listener] keeps its claim until its Close. When ctx ends, so does the context of every call in progress; Serve
// waits a few seconds for those calls to return. Any other return is an error of ln.
//
// There is no limit on how long a call may take: it may wait for the person. That is the Backend's to bound.
func Serve(ctx context.Context, ln net.Listener, cfg ServerConfig) error {
	return serve(ctx, ln, cfg, doorBounds)
}

func serve(ctx context.Context, ln net.Listener, cfg ServerConfig, limit bounds) error {
	if cfg.Backend == nil || cfg.Identify == nil {
		return errors.New("localapi: ServerConfig needs a Backend and Identify")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	door := &door{Listener: ln, identify: cfg.Identify, log: cfg.Log, slots: make(chan struct{}, limit.conns), closing: make(chan struct{})}
	server := &http.Server{
		Handler:           newHandler(cfg, limit),
		MaxHeaderBytes:    max(1, limit.header-4<<10), // net/http adds 4 KiB of its own
		ReadHeaderTimeout: limit.read,                 // not ReadTimeout: that one ends the context of a call that waits
		IdleTimeout:       limit.idle,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withVisitor,
		ConnState:         door.watch,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(door) }()
	select {
	case err := <-failed:
		server.Close()
		return err
	case <-ctx.Done():
	}
	drained, stop := context.WithTimeout(context.Background(), limit.drain)
	defer stop()
	if server.Shutdown(drained) != nil {
		server.Close()
	}
	<-failed
	return nil
}

// door is a listener that lets in no more connections than it has slots, and whose connections name their peer before
// they let anybody read a byte.
type door struct {
	net.Listener
	identify func(net.Conn) (*peer.Peer, error)
	log      *slog.Logger
	slots    chan struct{}
	closing  chan struct{}
	close    sync.Once
}

// Accept waits for a slot and then for a connection.
func (d *door) Accept() (net.Conn, error) {
	select {
	case d.slots <- struct{}{}:
	case <-d.closing:
		return nil, net.ErrClosed
	}
	conn, err := d.Listener.Accept()
	if err != nil {
		<-d.slots
		return nil, err
	}
	return &visitor{Conn: conn, door: d}, nil
}

// visitor is a connection whose peer is named by the first Read. That is the first thing net/http does with it, in the
// connection's own goroutine: at once, and in the way of no other connection, as reading a large program for the first
// time takes a while. Handing it from one goroutine to another instead costs more than all else here.
type visitor struct {
	net.Conn
	door  *door
	named sync.Once
	peer  *peer.Peer // nil unless somebody was let in; written before the first Read returns
}

// Read names the peer before it reads. Whoever cannot be named is dropped without a word: that is what net/http makes of
// a connection that ends before its first byte.
func (v *visitor) Read(b []byte) (int, error) {
	v.named.Do(func() {
		from, err := v.door.identify(v.Conn)
		if err != nil {
			v.door.log.Warn("connection refused", "err", err)
			return
		}
		v.peer = from
	})
	if v.peer == nil {
		return 0, io.EOF
	}
	return v.Conn.Read(b)
}

// CloseWrite lets net/http end a refusal so that the host can read it before the connection is gone.
func (v *visitor) CloseWrite() error {
	if conn, ok := v.Conn.(interface{ CloseWrite() error }); ok {
		return conn.CloseWrite()
	}
	return nil
}

// Close stops accepting; a Listener of ours keeps its claim.
func (d *door) Close() error {
	d.close.Do(func() { close(d.closing) })
	if l, ok := d.Listener.(*Listener); ok {
		return l.stop()
	}
	return d.Listener.Close()
}

// watch lets go of the peer when the last call of its connection has returned; not when the connection is closed,
// because a call may still be looking at the peer then.
func (d *door) watch(conn net.Conn, state http.ConnState) {
	if state != http.StateClosed {
		return
	}
	if from := conn.(*visitor).peer; from != nil {
		from.Close()
	}
	<-d.slots
}

type visitorKey struct{}

func withVisitor(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, visitorKey{}, conn)
}

// peerOf is who makes the call that ctx belongs to.
func peerOf(ctx context.Context) *peer.Peer {
	return ctx.Value(visitorKey{}).(*visitor).peer
}
