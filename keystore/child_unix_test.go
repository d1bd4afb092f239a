//go:build unix

package keystore

import (
	"context"
	"errors"
	"testing"
)

// What the child started dies with it.
func TestGrandchildIsKilled(t *testing.T) {
	address, arrived, dead := witness(t)
	k := NewKeychain(KeychainConfig{Command: child("breeding", address)})
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { _, err := k.Get(ctx, "name"); result <- err }()
	arrived()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	dead()
}
