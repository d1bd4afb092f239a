//go:build !linux && !darwin && !windows

package peer

import (
	"net"
	"os"
)

type system struct{}

func newSystem() system { return system{} }

type life struct{}

// connected, here, never names a peer.
func (n *Namer) connected(net.Conn) (*proc, error) { return nil, ErrUnsupported }

func (n *Namer) open(int) (*proc, error) { return nil, ErrUnsupported }

func (n *Namer) look(*proc) seen { return seen{} }

func (p *proc) again() (int, error) { return 0, ErrUnsupported }

func (p *proc) check() error { return ErrUnsupported }

func (p *proc) close() {}

func (p *proc) openExe() (*os.File, error) { return nil, ErrUnsupported }

func (p *proc) openScript(string) (*os.File, string, bool, error) {
	return nil, "", false, ErrUnsupported
}

func startOf(int) (uint64, error) { return 0, ErrUnsupported }

func openPath(string) (*os.File, error) { return nil, ErrUnsupported }

func idOfFile(*os.File) (fileID, error) { return fileID{}, ErrUnsupported }

func idOfPath(string) (fileID, error) { return fileID{}, ErrUnsupported }

// ServerUser returns ErrUnsupported: on this system a connection does not tell who listens.
func ServerUser(net.Conn) error { return ErrUnsupported }

// Harden returns ErrUnsupported.
func Harden() error { return ErrUnsupported }
