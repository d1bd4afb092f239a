package broker

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// TestHelperConnects is the program that connects and ends; it is run by goneProcess.
func TestHelperConnects(t *testing.T) {
	address := os.Getenv("VK_TEST_CONNECT")
	if address == "" {
		t.Skip("only as a child of TestPeerThatChangedGetsNothing")
	}
	conn, err := net.Dial("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.Read(make([]byte, 1)) // until it has been looked at
}

// goneProcess is a peer that was identified while it ran and has ended since.
func goneProcess(t *testing.T) *peer.Peer {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	child := exec.Command(os.Args[0], "-test.run=^TestHelperConnects$")
	child.Env = append(os.Environ(), "VK_TEST_CONNECT="+ln.Addr().String())
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p, err := peer.New().Of(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if err := p.Check(); err != nil {
		t.Fatalf("while it runs: %v", err)
	}
	conn.Close()
	child.Wait()
	return p
}

func TestPeerThatChangedGetsNothing(t *testing.T) {
	h := newHouse(t).open()
	defer func() { h.broker.Close() }()
	h.mustToken(host("claude"))
	gone := goneProcess(t)
	gone.Host = host("claude").Host
	if token, err := h.token(gone); !errors.Is(err, localapi.ErrConsentDenied) || token != nil {
		t.Errorf("token %v, err %v", token, err)
	}
}
