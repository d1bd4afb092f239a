package localapi

import (
	"context"

	"github.com/valetkey/valetkey/peer"
)

// Backend answers the calls of the socket. Every call is told who is asking. An error that is not an *Error is
// answered as ErrInternal and logged. ctx ends when the host hangs up.
type Backend interface {
	Token(ctx context.Context, from *peer.Peer, req TokenRequest) (*Token, error)
	Explain(ctx context.Context, from *peer.Peer, req TokenRequest) (*Explained, error)
	SignIn(ctx context.Context, from *peer.Peer, req SignInRequest) (*Grant, error)
	Forget(ctx context.Context, from *peer.Peer, req ForgetRequest) (*Forgotten, error)
	Register(ctx context.Context, from *peer.Peer, req RegistrationRequest) (*Registered, error)
	Open(ctx context.Context, from *peer.Peer, req OpenRequest) (*Opened, error)
	Grants(ctx context.Context, from *peer.Peer) (*Grants, error)
	Status(ctx context.Context) (*Status, error)
}
