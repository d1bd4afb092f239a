// Command linked is the same bare tray program with all in its file that valetkey has in its own: what that alone costs.
package main

import (
	"context"
	"os"

	"github.com/valetkey/valetkey/broker"
	"github.com/valetkey/valetkey/discovery"
	"github.com/valetkey/valetkey/e2e/bench/testdata/tray"
	"github.com/valetkey/valetkey/keystore"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/oauthflow"
	"github.com/valetkey/valetkey/outbound"
	"github.com/valetkey/valetkey/peer"
)

func main() {
	if len(os.Args) > 1 { // never: the linker must not know
		out := outbound.New(outbound.Config{})
		b, _ := broker.Open(context.Background(), broker.Config{
			Store: keystore.NewKeychain(keystore.KeychainConfig{}), Discovery: discovery.New(discovery.Config{HTTP: out.For}),
			Flow: func(func(oauthflow.Request, oauthflow.Page)) *oauthflow.Flow {
				return oauthflow.New(oauthflow.Config{HTTP: out.For})
			},
		})
		localapi.Serve(context.Background(), nil, localapi.ServerConfig{Backend: b, Identify: peer.New().Of})
	}
	tray.Run()
}
