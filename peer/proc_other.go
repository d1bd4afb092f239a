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
func (n *Namer) connected(net.Conn) (*proc, error) { return nil, errUnsupported }

func (n *Namer) open(int) (*proc, error) { return nil, errUnsupported }

func (n *Namer) look(*proc) seen { return seen{} }

func (p *proc) again() (int, error) { return 0, errUnsupported }

func (p *proc) check() error { return errUnsupported }

func (p *proc) close() {}

func (p *proc) openExe() (*os.File, error) { return nil, errUnsupported }

func (p *proc) openScript(string) (*os.File, string, bool, error) {
	return nil, "", false, errUnsupported
}

func startOf(int) (uint64, error) { return 0, errUnsupported }

func openPath(string) (*os.File, error) { return nil, errUnsupported }

func idOfFile(*os.File) (fileID, error) { return fileID{}, errUnsupported }

func idOfPath(string) (fileID, error) { return fileID{}, errUnsupported }

// ServerUser returns errUnsupported: on this system a connection does not tell who listens.
func ServerUser(net.Conn) error { return errUnsupported }

// Harden returns errUnsupported.
func Harden() error { return errUnsupported }
